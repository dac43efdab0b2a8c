package testkit

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
)

// A guard that cannot fail guards nothing: each way of leaking is tried.
func TestGuardSeesContactDataInEveryDisguise(t *testing.T) {
	const mail, phone = "quillfeather@mailhaven.example", "+4915112345678"
	sum := sha256.Sum256([]byte(mail))
	g := &Guard{}
	g.Add(mail)
	g.Add(phone)
	for name, leak := range map[string]string{
		"whole": `{"email":"` + mail + `"}`, "case": "QuillFeather@MailHaven.example", "local part": "hello quillfeather", "domain": "sent to mailhaven.example",
		"number": "49 " + phone, "last digits": "ends in 345678", "url": url.QueryEscape(mail), "hex": hex.EncodeToString([]byte(mail)),
		"sha256": hex.EncodeToString(sum[:]), "sha256 b64": base64.StdEncoding.EncodeToString(sum[:]), "base64": base64.StdEncoding.EncodeToString([]byte(`{"e":"` + mail + `"}`)),
		"mask": "q***@mailhaven", "mask 2": "qu•••••r@m•••", "mask 3": "to ••42", "mask 4": "+49 *** 78", "mask 5": "xxxx@example.org", "reversed": "rehtaeflliuq",
	} {
		if g.Find([]byte(leak)) == "" {
			t.Errorf("%s: not seen in %q", name, leak)
		}
	}
	for _, fine := range []string{"", "a code was sent by text message", `{"flow":"csf_abc","ways":["sms","email"]}`, "Remember this device for 30 days"} {
		if found := g.Find([]byte(fine)); found != "" {
			t.Errorf("%q: %s", fine, found)
		}
	}
}

func TestGuardWatchesHeadersAndBodies(t *testing.T) {
	g := &Guard{}
	g.Add("quillfeather@mailhaven.example")
	for name, leak := range map[string]http.HandlerFunc{
		"header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-User", "quillfeather@mailhaven.example")
		},
		"body": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "quillfeather@mailhaven.example")
		},
	} {
		seen := &failures{TB: t}
		g.Watch(seen, leak).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		if seen.n != 1 {
			t.Errorf("%s: the leak was not reported", name)
		}
	}
}

type failures struct {
	testing.TB
	n int
}

func (f *failures) Errorf(string, ...any) { f.n++ }

// P1: the routes on which owners see their own contact data. Whatever is added here shows addresses to
// whoever holds a session, and to nobody else; at userinfo, to an application that the operator gave the scope email, and that has their token.
func TestWhereOwnersSeeTheirContactData(t *testing.T) {
	want := []string{
		"GET /security", "GET /enrol", "GET /api/v1/account", "GET /api/v1/account/addresses", "GET /api/v1/account/contacts",
		"POST /api/v1/account/passkeys/options", "POST /api/v1/account/apps",
		"POST /account/data", "POST /api/v1/account/data", "GET /oauth/userinfo",
	}
	if !slices.Equal(ownRoutes, want) {
		t.Errorf("allowed on %v, want %v", ownRoutes, want)
	}
}

func TestGuardLetsOwnersSeeTheirOwnWhereItIsAllowedOnly(t *testing.T) {
	defer func(was []string) { ownRoutes = was }(ownRoutes)
	ownRoutes = []string{"GET /own"}
	const mine, others = "quillfeather@mailhaven.example", "somebody@elsewhere.example"
	for name, c := range map[string]struct {
		path, signedIn, shows, cache string
		want                         int
	}{
		"own, allowed":       {"/own", "ada", mine, "no-store", 0},
		"own, elsewhere":     {"/page", "ada", mine, "no-store", 1},
		"own, to a stranger": {"/own", "", mine, "no-store", 1},
		"own, to another":    {"/own", "bob", mine, "no-store", 1},
		"another's":          {"/own", "ada", mine + others, "no-store", 1},
		"to be stored":       {"/own", "ada", mine, "public, max-age=60", 1},
		"masked":             {"/own", "ada", "q•••••r@m•••", "no-store", 1},
	} {
		g := &Guard{SignedIn: func(*http.Request) string { return c.signedIn }}
		g.AddOf("ada", mine)
		g.Add(others)
		mux := http.NewServeMux()
		show := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", c.cache)
			_, _ = io.WriteString(w, c.shows)
		}
		mux.HandleFunc("GET /own", show)
		mux.HandleFunc("GET /page", show)
		seen := &failures{TB: t}
		g.Watch(seen, mux).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, c.path, nil))
		if seen.n != c.want {
			t.Errorf("%s: %d failures, want %d", name, seen.n, c.want)
		}
	}
}
