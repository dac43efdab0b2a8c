package server_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"countersign/internal/platform/config"
	"countersign/internal/registration"
	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
)

// open is a node where everybody may open an account, and is asked for everything.
func open(t *testing.T, change func(*config.Config)) *servertest.Node {
	t.Helper()
	return servertest.Start(t, servertest.Options{Config: func(c *config.Config) {
		c.Registration.Mode = "open"
		if change != nil {
			change(c)
		}
	}})
}

// An app opens an account, is remembered, and signs in with the password alone.
func TestAnAppOpensAnAccount(t *testing.T) {
	n := open(t, func(c *config.Config) {
		c.Registration.Claims, c.Registration.ClaimLabels = []string{"given_name!", "team"}, []string{"team=Team", "team:de=Mannschaft"}
		c.Registration.TermsURL, c.Registration.TermsVersion = "https://terms.example.net/7", "7"
	})
	n.Guard.Add("ada@example.org")
	a := &app{t: t, node: n}
	asked := a.want(200, a.call("GET", "/api/v1/registration", "")).text
	for _, want := range []string{`"mode":"open"`, `"password_min_length":15`, `"terms":{"url":"https://terms.example.net/7","version":"7"}`, `{"name":"given_name","required":true},{"name":"team","required":false,"label":"Team","labels":{"de":"Mannschaft"}}`} {
		if !strings.Contains(asked, want) {
			t.Errorf("asked: %s lacks %s", asked, want)
		}
	}
	begun := a.want(201, a.call("POST", "/api/v1/registration", `{"address":"Ada@Example.org","language":"fr"}`))
	if begun.Step != "code" {
		t.Fatal(begun.text)
	}
	a.code("code_refused", a.call("POST", "/api/v1/registration/code", `{"flow":"`+begun.Flow+`","code":"000000"}`))
	a.code("resend_too_soon", a.call("POST", "/api/v1/registration/send", `{"flow":"`+begun.Flow+`"}`))
	a.code("step_out_of_order", a.call("POST", "/api/v1/registration/finish", `{"flow":"`+begun.Flow+`","password":"x"}`))
	proved := a.want(200, a.call("POST", "/api/v1/registration/code", `{"flow":"`+begun.Flow+`","code":"`+n.Code("ada@example.org")+`"}`))
	key := testkit.NewKey(t)
	b64 := base64.RawURLEncoding.EncodeToString
	remember := `,"remember":{"public_key":"` + b64(key.Public()) + `","signature":"` + b64(key.Sign("remember", n.URL, proved.Nonce)) + `","name":"Ada's phone"}`
	finish := func(rest string) answer {
		return a.call("POST", "/api/v1/registration/finish", `{"flow":"`+begun.Flow+`",`+rest+`}`)
	}
	for _, c := range []struct{ rest, code string }{
		{`"password":"short","claims":{"given_name":"Ada"},"terms":"7"`, "password_too_short"},
		{`"password":"walrus kettle umbrella 9","terms":"7"`, "claim_missing"},
		{`"password":"walrus kettle umbrella 9","claims":{"given_name":"Ada","admin":"yes"},"terms":"7"`, "claim_malformed"},
		{`"password":"walrus kettle umbrella 9","claims":{"given_name":"Ada"},"terms":"6"`, "terms_not_accepted"},
		{`"password":"walrus kettle umbrella 9","claims":{"given_name":"Ada"},"terms":"7"` + strings.Replace(remember, b64(key.Public()), b64(testkit.NewKey(t).Public()), 1), "device_key_malformed"},
	} {
		a.code(c.code, finish(c.rest))
	}
	done := a.want(201, finish(`"password":"walrus kettle umbrella 9","claims":{"given_name":"Ada"},"terms":"7"`+remember))
	a.token = done.Session.Token
	if text := a.want(200, a.call("GET", "/api/v1/devices", "")).text; !strings.Contains(text, "Ada's phone") {
		t.Errorf("devices: %s", text)
	}
	a.token = ""
	again := a.want(201, a.call("POST", "/api/v1/signin", `{"identifier":"ada@example.org","devices":["`+done.Device.Handle+`"]}`))
	in := a.want(200, a.call("POST", "/api/v1/signin/password", `{"flow":"`+again.Flow+`","password":"walrus kettle umbrella 9","device":{"handle":"`+
		done.Device.Handle+`","signature":"`+b64(key.Sign("recognise", n.URL, again.Nonce))+`"}}`))
	if in.Step != "done" {
		t.Error(in.text)
	}
}

// code demands an error's code.
func (a *app) code(want string, got answer) {
	a.t.Helper()
	if got.Code != want {
		a.t.Errorf("%s, want %s", got.text, want)
	}
}

// Closed, or for the invited alone: the API and the pages say so, and nothing else is there.
func TestAccountsAreOpenedByWhomTheOperatorLets(t *testing.T) {
	closed := servertest.Start(t, servertest.Options{Idle: true})
	a := &app{t: t, node: closed}
	a.code("registration_closed", a.call("POST", "/api/v1/registration", `{"address":"ada@example.org"}`))
	a.want(403, a.call("POST", "/api/v1/registration", `{"address":"ada@example.org"}`))
	if text := page(t, closed, "/signin", 200, "Sign in"); strings.Contains(text, "/register") {
		t.Error("the sign-in leads to what is closed")
	}
	page(t, closed, "/register", 403, "No new accounts")

	n := open(t, func(c *config.Config) { c.Registration.Mode = "invitation" })
	b := &app{t: t, node: n}
	b.code("invitation_refused", b.call("POST", "/api/v1/registration", `{"address":"ada@example.org"}`))
	token, _, err := n.Core().Registration.Invite(t.Context(), registration.NewInvitation{Address: "ada@example.org", For: time.Hour, Uses: 1})
	if err != nil {
		t.Fatal(err)
	}
	b.code("invitation_refused", b.call("POST", "/api/v1/registration", `{"address":"eve@example.org","invitation":"`+token.Reveal()+`"}`))
	b.want(201, b.call("POST", "/api/v1/registration", `{"address":"ada@example.org","invitation":"`+token.Reveal()+`"}`))
	page(t, n, "/register", 200, `name="invitation"`)
}

func read(t *testing.T, res *http.Response) string {
	t.Helper()
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func page(t *testing.T, n *servertest.Node, path string, status int, want string) string {
	t.Helper()
	res, err := n.Browser().Get(n.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	text := read(t, res)
	if res.StatusCode != status || !strings.Contains(text, want) {
		t.Errorf("%s: %s, lacks %q:\n%s", path, res.Status, want, text)
	}
	return text
}

// newcomer is a person without JavaScript.
type newcomer struct {
	t    *testing.T
	node *servertest.Node
	http *http.Client
}

func (v *newcomer) post(path string, status int, pairs ...string) (text, to string) {
	v.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	res, err := v.http.PostForm(v.node.URL+path, form)
	if err != nil {
		v.t.Fatal(err)
	}
	text = read(v.t, res)
	if res.StatusCode != status {
		v.t.Fatalf("%s: %s\n%s", path, res.Status, text)
	}
	return text, res.Header.Get("Location")
}

func (v *newcomer) get(path string) string {
	v.t.Helper()
	res, err := v.http.Get(v.node.URL + path)
	if err != nil {
		v.t.Fatal(err)
	}
	return read(v.t, res)
}

var action = regexp.MustCompile(`action="(/register/[^"]+)"`)

// Without JavaScript, step by step, with every mistake that can be made; two browsers, one of which is late.
func TestPeopleOpenAnAccountWithoutJavaScript(t *testing.T) {
	n := open(t, func(c *config.Config) { c.Registration.Claims = []string{"name!"} })
	n.Guard.Add("ada@example.org")
	v, late := &newcomer{t, n, n.Browser()}, &newcomer{t, n, n.Browser()}
	if text := v.get("/signin"); !strings.Contains(text, `href="/register"`) {
		t.Error("the sign-in does not lead to it")
	}
	for typed, want := range map[string]string{"": "Enter your address.", " ": "Enter your address.", "ada": "does not look like an address", "ada@": "does not look like an address"} {
		if text, _ := v.post("/register", 422, "address", typed); !strings.Contains(text, want) {
			t.Errorf("%q: lacks %q", typed, want)
		}
	}
	prove := func(v *newcomer) (path string) {
		_, at := v.post("/register", 303, "address", "ada@example.org")
		if text := v.get(at); !strings.Contains(text, "It has a code for you, or it says that you already have an account.") {
			t.Fatal(text)
		}
		if text, _ := v.post(at+"/code", 422, "code", ""); !strings.Contains(text, "Enter the code from the message.") {
			t.Error("an empty code")
		}
		if text, _ := v.post(at+"/code", 422, "code", "000000"); !strings.Contains(text, "That code is not right") {
			t.Error("a wrong code")
		}
		if _, to := v.post(at+"/send", 303); to != at+"?soon" {
			t.Errorf("another message at once leads to %s", to)
		}
		if text := v.get(at + "?soon"); !strings.Contains(text, "You can have another code sent in") {
			t.Error("does not say how long to wait")
		}
		_, to := v.post(at+"/code", 303, "code", n.Code("ada@example.org"))
		if to != at {
			t.Fatalf("a right code leads to %s", to)
		}
		for _, back := range []string{"/code", "/send"} {
			if _, to := v.post(at+back, 303, "code", "123456"); to != at {
				t.Errorf("the back button leads to %s", to)
			}
		}
		return at
	}
	at, other := prove(v), prove(late)
	about := v.get(at)
	if got := action.FindStringSubmatch(about); got == nil || got[1] != at+"/finish" || strings.Contains(about, `name="terms"`) {
		t.Fatal(about)
	}
	if text, _ := v.post(at+"/finish", 422, "password", "short", "claim_name", "Ada"); !strings.Contains(text, "it needs at least 15 characters") || strings.Contains(text, "Ada") {
		t.Errorf("a short password: %s", text)
	}
	if _, to := v.post(at+"/finish", 303, "password", "walrus kettle umbrella 9", "claim_name", "Ada", "language", "de"); to != "/welcome" {
		t.Errorf("leads to %s", to)
	}
	if text := v.get("/"); !strings.Contains(text, "Where you are signed in") || !strings.Contains(text, "password, code by e-mail") {
		t.Error(text)
	}
	if text := v.get(at); !strings.Contains(text, "This registration has ended") {
		t.Errorf("afterwards: %s", text)
	}
	text, _ := late.post(other+"/finish", 409, "password", "walrus kettle umbrella 8", "claim_name", "Ada")
	if !strings.Contains(text, "This address has an account by now") {
		t.Errorf("the other: %s", text)
	}
	if text := v.get("/register"); strings.Contains(text, "<form method=\"post\" action=\"/register\"") {
		t.Error("the signed-in are asked to register")
	}
	if text, _ := late.post(at+"/finish", 410, "password", "x"); !strings.Contains(text, `href="/register"`) {
		t.Error("another browser's")
	}
}

// The owner of a known address is told, and the one who tried sees what everybody sees.
func TestTheOwnerOfAKnownAddressIsTold(t *testing.T) {
	n := open(t, nil)
	n.Account("ada@example.org")
	v := &newcomer{t, n, n.Browser()}
	_, at := v.post("/register", 303, "address", "ada@example.org")
	letter := n.Wait("ada@example.org")
	if letter.Subject != "Somebody tried to open an account with your address" || !strings.Contains(letter.Text, "You already have an account") {
		t.Errorf("%s\n%s", letter.Subject, letter.Text)
	}
	known := v.get(at)
	_, other := v.post("/register", 303, "address", "nobody@example.org")
	if free := v.get(other); strings.ReplaceAll(free, other, at) != known {
		t.Errorf("known:\n%s\nfree:\n%s", known, free)
	}
}
