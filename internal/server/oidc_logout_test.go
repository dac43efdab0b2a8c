package server_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	relying "github.com/coreos/go-oidc/v3/oidc"

	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

const shopBye = "https://shop.example.com/bye"

// signOut sends the browser to be signed out, as a link of the application's does.
func (s *shop) signOut(pairs ...string) shown {
	s.t.Helper()
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return s.get("/oauth/logout?" + v.Encode())
}

// come signs somebody in for the application, and returns the ID token.
func (s *shop) come(name string) (raw string) {
	s.t.Helper()
	p := s.get(s.to(s.signIn(s.to(s.begin(), "/signin?for=app"), name, name), "/authorize/"))
	token, _ := s.redeem(s.back(p).Get("code"))
	raw, _ = token.Extra("id_token").(string)
	return raw
}

var regexpTo = regexp.MustCompile(`name="to" value="([^"]+)"`)

// signedIn reports whether the browser has a session.
func (s *shop) signedIn() bool {
	s.t.Helper()
	return s.get("/").StatusCode == http.StatusOK
}

// OpenID Connect RP-Initiated Logout 1.0 and Back-Channel Logout 1.0, at the doors: the application signs its user out, and is told so, as is
// every other that they use.
func TestAnApplicationSignsPeopleOut(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			told := make(chan url.Values, 8)
			ears := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost && r.ParseForm() == nil {
					told <- r.PostForm
				}
			}))
			t.Cleanup(ears.Close)
			n := servertest.Start(t, servertest.Options{Database: dbtest.NewURL(t, engine)})
			n.Account("ada@example.org")
			c := shopClient()
			c.FirstParty, c.PostLogout, c.Backchannel = true, []string{shopBye}, ears.URL+"/signed-out"
			s := newShop(t, n, c)
			if p := s.get("/.well-known/openid-configuration"); !strings.Contains(p.body, `"end_session_endpoint":"`+n.URL+`/oauth/logout"`) || !strings.Contains(p.body, `"backchannel_logout_supported":true`) {
				t.Errorf("metadata: %s", p.body)
			}
			hint := s.come("ada@example.org")

			if p := s.get("/activity"); !strings.Contains(p.body, "You let \u2068Corner Shop\u2069 know who you are") {
				t.Errorf("the activity does not name the application: %s", p.body)
			}

			// A link on a stranger's page asks, and says the same to whoever is not signed in.
			question := s.signOut("post_logout_redirect_uri", shopBye, "state", "x")
			stranger := (&shop{t: t, n: n, browser: n.Browser()}).signOut("post_logout_redirect_uri", shopBye, "state", "x")
			if question.StatusCode != http.StatusOK || !strings.Contains(question.body, "Do you want to sign out?") || question.body != stranger.body {
				t.Errorf("the question tells whether somebody is signed in:\n%s\n%s", question.body, stranger.body)
			}
			// It is a page, whose button does something, and not an answer to a program.
			if policy := question.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self'") || strings.Contains(policy, "sandbox") {
				t.Errorf("a browser takes no answer to the question: %s", policy)
			}
			if p := s.signOut("ui_locales", "xx fr-CA en"); !strings.Contains(p.body, `lang="fr"`) {
				t.Errorf("not in French: %s", p.body)
			}
			// And what it asks nobody else answers.
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.URL+"/signout/asked", strings.NewReader(""))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", "https://evil.example")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			if p := s.got(s.browser.Do(r)); p.StatusCode != http.StatusForbidden || !s.signedIn() {
				t.Errorf("another site's page answers it: %d", p.StatusCode)
			}

			// With the hint at once.
			p := s.signOut("id_token_hint", hint, "post_logout_redirect_uri", shopBye, "state", "a b")
			if to := s.to(p, shopBye); to != shopBye+"?state=a+b" || s.signedIn() {
				t.Errorf("leads to %s", to)
			}
			select {
			case form := <-told:
				token, err := s.provider.Verifier(&relying.Config{ClientID: "shop", Now: n.Clock.Now}).Verify(s.ctx, form.Get("logout_token"))
				if err != nil || token.Nonce != "" {
					t.Errorf("a logout token that does not hold, or could pass for an ID token: %+v %v", token, err)
				}
			case <-time.After(20 * time.Second):
				t.Error("the application was not told")
			}
			if to := s.to(s.signOut("id_token_hint", hint, "post_logout_redirect_uri", shopBye), shopBye); to != shopBye {
				t.Errorf("signed out already, leads to %s", to)
			}

			// Whoever is asked, and agrees, goes back by a page of ours, as the policy of forms wants.
			s.come("ada@example.org")
			p = s.signOut("client_id", "shop", "post_logout_redirect_uri", shopBye, "state", "x")
			sealed := regexpTo.FindStringSubmatch(p.body)
			if sealed == nil {
				t.Fatalf("nothing says where to: %s", p.body)
			}
			p = s.post("/signout/asked", "to", sealed[1])
			if on := onward.FindStringSubmatch(p.body); on == nil || !strings.HasPrefix(on[1], shopBye+"?state=x") || s.signedIn() {
				t.Errorf("%d %s", p.StatusCode, p.body)
			}
			// A place that nobody has sealed is none.
			s.to(s.post("/signout/asked", "to", "https://evil.example/"), "/signin?done=signed-out")
			// As a form of another site, without cookies: it comes again as a link does.
			p = s.call("/oauth/logout", http.Header{"Origin": {"https://shop.example.com"}, "Sec-Fetch-Site": {"cross-site"}}, "id_token_hint", hint, "logout_hint", "ada@example.org")
			if to := s.to(p, "/oauth/logout?id_token_hint="); strings.Contains(to, "ada") {
				t.Errorf("an address is in %s", to)
			}
		})
	}
}
