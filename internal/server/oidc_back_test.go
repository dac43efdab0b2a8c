package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"countersign/internal/testkit/servertest"
)

// link is where the link goes that has these words.
func (s *shop) link(p shown, words string) string {
	s.t.Helper()
	m := regexp.MustCompile(`<a (?:class="[a-z ]*" )?href="([^"]*)">` + regexp.QuoteMeta(words) + `</a>`).FindStringSubmatch(p.body)
	if m == nil {
		s.t.Fatalf("no link says %q:\n%s", words, p.body)
	}
	return m[1]
}

// errand is the request that a page is on the way to.
func (s *shop) errand(p shown) string {
	s.t.Helper()
	m := on.FindStringSubmatch(p.body)
	if m == nil {
		s.t.Fatalf("%d: the page does not know what it is for:\n%s", p.StatusCode, p.body)
	}
	return m[1]
}

// Whoever begins a sign-in anew that is for an application still comes to that: from the code, from a flow that is over, and from a form that was refused.
func TestASignInBegunAnewIsStillForItsApplication(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	c := shopClient()
	c.FirstParty = true
	s := newShop(t, n, c)
	p := s.get(s.to(s.begin(), "/signin?for=app"))
	request := s.errand(p)
	p = s.post("/signin", "username", "ada@example.org", "password", "this is not her password", "for", request)
	if got := s.errand(p); p.StatusCode != http.StatusUnprocessableEntity || got != request {
		t.Errorf("refused, it is for %s: %d", got, p.StatusCode)
	}
	flow := s.to(s.post("/signin", "username", "ada@example.org", "password", servertest.Password, "for", request), "/signin/")
	if got := s.errand(s.get(s.link(s.get(flow), "Start the sign-in again"))); got != request {
		t.Errorf("begun anew, it is for %s", got)
	}
	n.Code("ada@example.org") // which nobody types
	n.Clock.Advance(20 * time.Minute)
	p = s.get(flow)
	if p.StatusCode != http.StatusGone {
		t.Fatalf("after 20 minutes: %d", p.StatusCode)
	}
	again := s.to(s.get(s.link(p, "Start again")), "/signin?for=app")
	p = s.signIn(again, "ada@example.org", "ada@example.org")
	if v := s.back(s.get(s.to(p, "/authorize/"))); v.Get("code") == "" {
		t.Errorf("answered %v", v)
	}
}

// Whoever has forgotten their password on the way to an application signs in for it afterwards, if it waits still.
func TestARecoveryLeadsBackToTheApplication(t *testing.T) {
	for name, after := range map[string]time.Duration{"waits": 0, "is over": 29 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			n := servertest.Start(t, servertest.Options{})
			n.Account("ada@example.org", "+4915112345678")
			c := shopClient()
			c.FirstParty = true
			s := newShop(t, n, c)
			p := s.get(s.to(s.begin(), "/signin?for=app"))
			request := s.errand(p)
			p = s.get(s.link(p, "Forgot your password?"))
			if s.errand(p) != request || s.errand(s.get(s.link(p, "Back to sign-in"))) != request {
				t.Error("the recovery is for something else")
			}
			if p = s.post("/recover", "username", "", "for", request); s.errand(p) != request {
				t.Error("a refused form is for something else")
			}
			n.Clock.Advance(after)
			path := s.to(s.post("/recover", "username", "ada@example.org", "to", "ada@example.org", "for", request), "/recover/")
			if p = s.get(path); s.errand(s.get(s.link(p, "Use another address or number"))) != request {
				t.Error("anew, it is for something else")
			}
			n.Clock.Advance(2 * time.Minute)
			s.to(s.post(path+"/code", "way", "email", "code", n.Code("ada@example.org")), path)
			s.to(s.post(path+"/send", "way", "sms"), path)
			s.to(s.post(path+"/code", "way", "sms", "code", n.Code("+4915112345678")), path)
			const word = "a new word that nobody knows"
			p = s.post(path+"/password", "password", word, "again", word)
			to := s.link(p, "Sign in")
			if after > 0 {
				if to != "/signin" {
					t.Errorf("the application waits no longer, and %s leads there", to)
				}
				return
			}
			p = s.post("/signin", "username", "ada@example.org", "password", word, "for", s.errand(s.get(to)))
			flow := s.to(p, "/signin/")
			if strings.Contains(s.get(flow).body, "Enter the code") {
				p = s.post(flow+"/code", "code", n.Code("+4915112345678"))
			}
			if v := s.back(s.get(s.to(p, "/authorize/"))); v.Get("code") == "" {
				t.Errorf("answered %v", v)
			}
		})
	}
}

// Whoever is to prove more for an application is told what that takes, and may go back to it instead: then it hears of that, and nothing else changes.
func TestWhoWillNotProveMoreGoesBackToTheApplication(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("bob@example.org")
	c := shopClient()
	c.FirstParty = true
	s := newShop(t, n, c)
	p := s.signIn(s.to(s.begin(), "/signin?for=app"), "bob@example.org", "bob@example.org")
	s.back(s.get(s.to(p, "/authorize/")))

	const usual, more = "If this device is not remembered, we also send you a code.", "We also ask you for a code or a passkey, even if this device is remembered."
	n.Clock.Advance(time.Minute)
	p = s.get(s.to(s.begin(oauth2.SetAuthURLParam("max_age", "1")), "/reauth?for=app"))
	if !strings.Contains(p.body, usual) || strings.Contains(p.body, more) {
		t.Errorf("of a sign-in that is too old: %s", p.body)
	}
	p = s.get(s.to(s.begin(oauth2.SetAuthURLParam("acr_values", "aal2")), "/reauth?for=app"))
	request := s.errand(p)
	for what, p := range map[string]shown{
		"at first": p, "without a password": s.post("/reauth", "password", "", "for", request), "after a wrong one": s.post("/reauth", "password", "wrong", "for", request),
	} {
		if !strings.Contains(p.body, more) || strings.Contains(p.body, usual) || s.errand(p) != request {
			t.Errorf("%s: %s", what, p.body)
		}
	}
	m := regexp.MustCompile(`action="(/authorize/[0-9a-f-]{36})" class="beside"><button class="quiet" type="submit" name="decision" value="deny">`).FindStringSubmatch(p.body)
	if m == nil {
		t.Fatalf("no way back: %s", p.body)
	}
	other := *s
	other.browser = n.Browser()
	if p := other.post(m[1], "decision", "deny"); p.StatusCode != http.StatusGone {
		t.Errorf("another browser declines: %d", p.StatusCode)
	}
	s.to(s.post(m[1], "decision", "allow"), "/reauth?for=app") // saying yes is no proof
	s.to(s.get(m[1]+"?decision=deny"), "/reauth?for=app")      // and a link says nothing
	if v := s.back(s.post(m[1], "decision", "deny")); v.Get("error") != "access_denied" || v.Has("code") {
		t.Errorf("answered %v", v)
	}
	if p := s.get(m[1]); p.StatusCode != http.StatusGone {
		t.Errorf("declined, it goes on: %d", p.StatusCode)
	}
	if v := s.answered(s.to(s.begin(), shopCallback)); v.Get("code") == "" {
		t.Errorf("who declined is signed out: %v", v)
	}
}

// Whoever has no account yet opens one on the way to the application, and comes to it in the end.
func TestARegistrationLeadsToTheApplication(t *testing.T) {
	n := open(t, nil)
	n.Guard.Add("ada@example.org")
	c := shopClient()
	c.FirstParty = true
	s := newShop(t, n, c)
	p := s.get(s.to(s.begin(), "/signin?for=app"))
	request := s.errand(p)
	p = s.get(s.link(p, "Create an account"))
	if s.errand(p) != request || s.errand(s.get(s.link(p, "Sign in"))) != request {
		t.Error("it is for something else")
	}
	if p = s.post("/register", "address", "", "for", request); s.errand(p) != request {
		t.Error("a refused form is for something else")
	}
	at := s.to(s.post("/register", "address", "ada@example.org", "for", request), "/register/")
	for _, p := range []shown{s.get(at), s.post(at+"/code", "code", "")} {
		if s.errand(s.get(s.link(p, "Use another address"))) != request || s.errand(s.get(s.link(p, "Sign in"))) != request {
			t.Error("with the code it is for something else")
		}
	}
	s.to(s.post(at+"/code", "code", n.Code("ada@example.org")), at)
	p = s.get(s.to(s.post(at+"/finish", "password", "walrus kettle umbrella 9", "language", "en"), "/welcome"))
	if v := s.back(s.get(s.link(p, "Later"))); v.Get("code") == "" {
		t.Errorf("answered %v", v)
	}
	if to := s.link(s.get("/welcome"), "Later"); to != "/" { // the application has its answer
		t.Errorf("later leads to %s", to)
	}
	// A registration that is over begins anew for it.
	if p := s.get(at); s.link(p, "Start again") != "/register?for="+url.QueryEscape(request) {
		t.Errorf("it leads to %s", s.link(p, "Start again"))
	}
}
