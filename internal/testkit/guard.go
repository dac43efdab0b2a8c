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
	"strings"
	"sync"
	"testing"
)

// Guard watches every answer of a server under test for contact data: whole, in part, masked,
// hashed or encoded, in bodies and in headers, and fails the test that caused it (P1, I-03).
// Nobody but the signed-in owner may be shown any, and this server shows it to nobody.
type Guard struct {
	mu      sync.Mutex
	needles map[string]string // what to look for, in lower case: what it is
}

// masks are the shapes of masked addresses and numbers, whoever's they are.
var masks = regexp.MustCompile(`(?i)[\w.+-]{0,3}[*•·x…]{2,}[\w.+-]{0,3}@|@[\w-]{0,3}[*•…]{2,}|[*•…]{2,}[ -]?\d{2,4}\b|\+\d{1,3}[ *•…-]*[*•…]{2,}`)

// Add names an address or number that no answer may contain.
func (g *Guard) Add(contact string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.needles == nil {
		g.needles = map[string]string{}
	}
	parts := []string{contact}
	if local, domain, ok := strings.Cut(contact, "@"); ok {
		parts = append(parts, local, domain)
	} else {
		digits := strings.TrimLeft(contact, "+")
		parts = append(parts, digits, digits[max(0, len(digits)-6):])
	}
	for _, p := range parts {
		for needle, kind := range Disguises(p) {
			if len(needle) >= 6 { // shorter ones occur by chance
				g.needles[needle] = kind
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
func (g *Guard) Find(text []byte) string {
	low := bytes.ToLower(text)
	g.mu.Lock()
	defer g.mu.Unlock()
	for needle, kind := range g.needles {
		if bytes.Contains(low, []byte(needle)) {
			return fmt.Sprintf("contact data %s: %q", kind, needle)
		}
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
		if found := g.Find(append(head.Bytes(), rec.body.Bytes()...)); found != "" {
			t.Errorf("%s %s answered with %s", r.Method, r.URL.Path, found)
		}
	})
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
