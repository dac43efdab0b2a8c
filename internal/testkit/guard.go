package testkit

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Guard watches every answer of a server under test for contact data: whole, in part, masked,
// hashed or encoded, in bodies and in headers, and fails the test that caused it (P1, I-03).
// Nobody but the signed-in owner may be shown any, and the owner only where ownRoutes says.
type Guard struct {
	// SignedIn says whose session a request carries; nil or "" means nobody's.
	SignedIn func(*http.Request) string

	mu      sync.Mutex
	needles map[string]needle // by what to look for, in lower case
}

type needle struct {
	kind   string
	owners map[string]bool // accounts that may see it in an answer of their own
}

// ownRoutes are the routes whose answers may hold contact data of the account that is signed in, and of
// no other. Such an answer is never stored.
var ownRoutes = []string{
	"GET /security", "GET /enrol", "GET /api/v1/account", "GET /api/v1/account/addresses", "GET /api/v1/account/contacts",
	"POST /api/v1/account/passkeys/options", "POST /api/v1/account/apps",
	"POST /account/data", "POST /api/v1/account/data",
	"GET /oauth/userinfo", // with the scope email
}

// masks are the shapes of masked addresses and numbers, whoever's they are.
var masks = regexp.MustCompile(`(?i)[\w.+-]{0,3}[*•·x…]{2,}[\w.+-]{0,3}@|@[\w-]{0,3}[*•…]{2,}|[*•…]{2,}[ -]?\d{2,4}\b|\+\d{1,3}[ *•…-]*[*•…]{2,}`)

// Add names an address or number that no answer may contain.
func (g *Guard) Add(contact string) { g.AddOf("", contact) }

// AddOf names an address or number that only its owner may be shown.
func (g *Guard) AddOf(owner, contact string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.needles == nil {
		g.needles = map[string]needle{}
	}
	parts := []string{contact}
	if local, domain, ok := strings.Cut(contact, "@"); ok {
		parts = append(parts, local, domain)
	} else {
		digits := strings.TrimLeft(contact, "+")
		parts = append(parts, digits, digits[max(0, len(digits)-6):])
	}
	for _, p := range parts {
		for text, kind := range Disguises(p) {
			if len(text) < 6 { // shorter ones occur by chance
				continue
			}
			if _, known := g.needles[text]; !known {
				g.needles[text] = needle{kind, map[string]bool{}}
			}
			if owner != "" {
				g.needles[text].owners[owner] = true
			}
		}
	}
}

// Disguises are the forms in which a text may show although nobody meant it to, in lower case, and
// what each is.
func Disguises(text string) map[string]string {
	out := map[string]string{}
	put := func(kind, needle string) { out[strings.ToLower(needle)] = kind }
	put("reversed", reverse(text))
	put("URL-encoded", url.QueryEscape(text))
	put("HTML-encoded", html.EscapeString(text))
	put("in hex", hex.EncodeToString([]byte(text)))
	put("in base32", strings.TrimRight(base32.StdEncoding.EncodeToString([]byte(text)), "="))
	for _, form := range base64Forms(text) {
		put("in base64", form)
	}
	m, s1, s2, s5 := md5.Sum([]byte(text)), sha1.Sum([]byte(text)), sha256.Sum256([]byte(text)), sha512.Sum512([]byte(text))
	for _, sum := range [][]byte{m[:], s1[:], s2[:], s5[:]} {
		put("hashed", hex.EncodeToString(sum))
		put("hashed", base64.RawStdEncoding.EncodeToString(sum))
		put("hashed", base64.RawURLEncoding.EncodeToString(sum))
	}
	put("in clear", text) // the last word, since many texts need no encoding
	return out
}

// base64Forms are the three ways a text shows inside longer base64, without its uncertain ends.
func base64Forms(p string) (forms []string) {
	for shift := range 3 {
		enc := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + p))
		forms = append(forms, enc[(shift*8+5)/6:len(enc)-1])
	}
	return forms
}

func reverse(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// Find says what contact data is in text, or is empty.
func (g *Guard) Find(text []byte) string { return g.find(text, "") }

// find is Find, but for what the owner may see.
func (g *Guard) find(text []byte, owner string) string {
	low := bytes.ToLower(text)
	g.mu.Lock()
	defer g.mu.Unlock()
	for text, n := range g.needles {
		if bytes.Contains(low, []byte(text)) && !n.owners[owner] {
			return fmt.Sprintf("contact data %s: %q", n.kind, text)
		}
	}
	if !bytes.ContainsAny(text, "@*•…") { // each of the masks has one of these; looking for them all is slow
		return ""
	}
	if m := masks.Find(text); m != nil {
		return fmt.Sprintf("something masked: %q", m)
	}
	return ""
}

// Watch wraps a handler.
func (g *Guard) Watch(t testing.TB, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w}
		next.ServeHTTP(rec, r)
		var head bytes.Buffer
		_ = w.Header().Write(&head)
		all := append(head.Bytes(), rec.body.Bytes()...)
		if id := w.Header().Get("X-Request-Id"); id != "" { // random hex digits, six of which are somebody's number once in a while
			all = bytes.ReplaceAll(all, []byte(id), nil)
		}
		if found := g.find(all, g.allowed(r)); found != "" {
			t.Errorf("%s %s answered with %s", r.Method, r.URL.Path, found)
			return
		}
		if w.Header().Get("Cache-Control") != "no-store" && g.Find(all) != "" {
			t.Errorf("%s %s lets contact data be stored", r.Method, r.URL.Path)
		}
	})
}

// allowed is who may see their own contact data in the answer: nobody on most routes. The pattern is the mux's.
func (g *Guard) allowed(r *http.Request) (owner string) {
	if g.SignedIn == nil || !slices.Contains(ownRoutes, r.Pattern) {
		return ""
	}
	return g.SignedIn(r)
}

type recorder struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.body.Write(p)
	return r.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
