package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"countersign/internal/oidc"
	"countersign/internal/testkit/servertest"
)

// A customer signs in at Countersign and comes back; somebody else's answer, or the same one again, opens nothing.
func TestTheShop(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	var s *shop
	at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handler().ServeHTTP(w, r) }))
	t.Cleanup(at.Close)
	token, err := n.Core().Applications.Add(t.Context(), oidc.Client{ID: "shop", Name: "Corner Shop", RedirectURIs: []string{at.URL + "/callback"}, FirstParty: true})
	if err != nil {
		t.Fatal(err)
	}
	if s, err = newShop(t.Context(), config{n.URL, "shop", token.Reveal(), at.URL}); err != nil {
		t.Fatal(err)
	}
	n.Account("ada@example.org")
	browser := n.Browser()
	do := func(method, to string, form url.Values) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, to, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		if form != nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		a, err := browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = a.Body.Close() }()
		text, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a, string(text)
	}
	follow := func(a *http.Response, text string) (*http.Response, string) {
		t.Helper()
		for range 12 {
			to, err := a.Location()
			if err != nil { // a page; some lead on by themselves
				_, rest, found := strings.Cut(text, `content="0;url=`)
				where, _, _ := strings.Cut(rest, `"`)
				if !found {
					return a, text
				}
				if to, err = a.Request.URL.Parse(strings.ReplaceAll(where, "&amp;", "&")); err != nil {
					t.Fatal(err)
				}
			}
			a, text = do("GET", to.String(), nil)
		}
		t.Fatal("redirects lead nowhere")
		return nil, ""
	}
	door, form := follow(do("GET", at.URL+"/signin", nil))
	if door.Request.URL.Path != "/signin" || door.Request.URL.Host == strings.TrimPrefix(at.URL, "http://") {
		t.Fatalf("the shop leads to %s", door.Request.URL)
	}
	_, rest, _ := strings.Cut(form, `name="for" value="`)
	on, _, _ := strings.Cut(rest, `"`)
	asked, _ := do("POST", n.URL+"/signin", url.Values{"username": {"ada@example.org"}, "password": {servertest.Password}, "for": {on}})
	where, err := asked.Location()
	if err != nil {
		t.Fatal(err, asked.Status)
	}
	if _, text := follow(do("POST", n.URL+where.Path+"/code", url.Values{"code": {n.Code("ada@example.org")}})); !strings.Contains(text, "What you proved: aal1") {
		t.Fatalf("back at the shop: %s", text)
	}
	if a, _ := do("GET", at.URL+"/callback?code=x&state=y", nil); a.StatusCode != http.StatusBadRequest {
		t.Errorf("an answer that nobody asked for: %s", a.Status)
	}
	if _, text := follow(do("POST", at.URL+"/signout", url.Values{})); !strings.Contains(text, "Sign in") {
		t.Errorf("after signing out: %s", text)
	}
}
