package server_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	relying "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"countersign/internal/oidc"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

const shopCallback = "https://shop.example.com/callback"

// shop is an application that speaks OpenID Connect by coreos/go-oidc and x/oauth2, unmodified.
type shop struct {
	t        *testing.T
	n        *servertest.Node
	ctx      context.Context
	provider *relying.Provider
	config   oauth2.Config
	verifier string
	browser  *http.Client
}

func newShop(t *testing.T, n *servertest.Node, c oidc.Client) *shop {
	t.Helper()
	token, err := n.Core().Applications.Add(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx := relying.ClientContext(t.Context(), &http.Client{Timeout: 30 * time.Second})
	p, err := relying.NewProvider(ctx, n.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &shop{
		t: t, n: n, ctx: ctx, provider: p, verifier: oauth2.GenerateVerifier(), browser: n.Browser(),
		config: oauth2.Config{ClientID: c.ID, ClientSecret: token.Reveal(), Endpoint: p.Endpoint(), RedirectURL: c.RedirectURIs[0], Scopes: c.Scopes},
	}
}

func shopClient() oidc.Client {
	return oidc.Client{ID: "shop", Name: "Corner Shop", RedirectURIs: []string{shopCallback}, Scopes: []string{"openid", "offline_access"}}
}

// shown is what the browser got.
type shown struct {
	*http.Response

	body string
}

func (s *shop) got(res *http.Response, err error) shown {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return shown{res, string(body)}
}

func (s *shop) get(to string) shown {
	s.t.Helper()
	if strings.HasPrefix(to, "/") {
		to = s.n.URL + to
	}
	return s.got(s.browser.Get(to))
}

func (s *shop) post(to string, pairs ...string) shown {
	s.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.n.URL+to, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", s.n.URL)
	return s.got(s.browser.Do(r))
}

func (s *shop) begin(options ...oauth2.AuthCodeOption) shown {
	s.t.Helper()
	return s.get(s.config.AuthCodeURL("state-1", append(options, oauth2.S256ChallengeOption(s.verifier), relying.Nonce("nonce-1"))...))
}

// to demands that a page leads somewhere, and goes there if that is ours.
func (s *shop) to(p shown, want string) string {
	s.t.Helper()
	where := p.Header.Get("Location")
	if p.StatusCode != http.StatusSeeOther || !strings.HasPrefix(where, want) {
		s.t.Fatalf("%d leads to %q, want %q\n%s", p.StatusCode, where, want, p.body)
	}
	return where
}

// on is the request that a page is on the way to.
var on = regexp.MustCompile(`name="for" value="(app/[0-9a-f-]{36})"`)

// signIn goes from the sign-in page to where the sign-in leads.
func (s *shop) signIn(at, name, address string) shown {
	s.t.Helper()
	p := s.get(at)
	m := on.FindStringSubmatch(p.body)
	if m == nil {
		s.t.Fatalf("the sign-in does not know what it is for: %s", p.body)
	}
	p = s.post("/signin", "username", name, "password", servertest.Password, "for", m[1])
	flow := s.to(p, "/signin/")
	return s.post(flow+"/code", "code", s.n.Code(address))
}

// back is where a page of ours leads on to by itself.
func (s *shop) back(p shown) url.Values {
	s.t.Helper()
	to := onward.FindStringSubmatch(p.body)
	if p.StatusCode != http.StatusOK || to == nil || !strings.HasPrefix(to[1], "/authorize/") || !strings.Contains(p.body, `href="`+to[1]) {
		s.t.Fatalf("%d\n%s", p.StatusCode, p.body)
	}
	return s.answered(s.to(s.get(to[1]), ""))
}

func (s *shop) answered(to string) url.Values {
	s.t.Helper()
	u, err := url.Parse(to)
	if err != nil || !strings.HasPrefix(to, s.config.RedirectURL+"?") {
		s.t.Fatalf("answered at %q: %v", to, err)
	}
	v := u.Query()
	if v.Get("iss") != s.n.URL || v.Get("state") != "state-1" {
		s.t.Errorf("answered %v", v)
	}
	return v
}

// redeem exchanges a code and verifies the ID token, as applications do.
func (s *shop) redeem(code string) (*oauth2.Token, *relying.IDToken) {
	s.t.Helper()
	token, err := s.config.Exchange(s.ctx, code, oauth2.VerifierOption(s.verifier))
	if err != nil {
		s.t.Fatal(err)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := s.provider.Verifier(&relying.Config{ClientID: s.config.ClientID, Now: s.n.Clock.Now}).Verify(s.ctx, raw)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := id.VerifyAccessToken(token.AccessToken); err != nil {
		s.t.Error(err)
	}
	return token, id
}

// An application that speaks OpenID Connect signs somebody in: through our pages, with a code by text message, and consent.
func TestAnApplicationSignsPeopleIn(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			n := servertest.Start(t, servertest.Options{Database: dbtest.NewURL(t, engine)})
			n.Account("ada@example.org")
			s := newShop(t, n, shopClient())
			p := s.signIn(s.to(s.begin(), "/signin?for=app"), "ada@example.org", "ada@example.org")
			request := s.to(p, "/authorize/")
			p = s.get(request)
			if p.StatusCode != http.StatusOK || !strings.Contains(p.body, "Corner Shop") || !strings.Contains(p.body, "shop.example.com") {
				t.Fatalf("no question: %d %s", p.StatusCode, p.body)
			}
			if csp := p.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") { // R-OA-14
				t.Errorf("it can be framed: %s", csp)
			}
			token, id := s.redeem(s.back(s.post(request, "decision", "allow")).Get("code"))
			var claims struct {
				ACR  string   `json:"acr"`
				AMR  []string `json:"amr"`
				Time int64    `json:"auth_time"`
			}
			if err := id.Claims(&claims); err != nil || id.Nonce != "nonce-1" || claims.ACR != "aal1" || !slices.Equal(claims.AMR, []string{"pwd"}) || claims.Time == 0 {
				t.Errorf("%+v %+v %v", id, claims, err)
			}
			info, err := s.provider.UserInfo(s.ctx, oauth2.StaticTokenSource(token))
			if err != nil || info.Subject != id.Subject || info.Email != "" {
				t.Errorf("userinfo %+v %v", info, err)
			}
			token.Expiry = time.Now().Add(-time.Hour)
			next, err := s.config.TokenSource(s.ctx, token).Token()
			if err != nil || next.AccessToken == token.AccessToken || next.RefreshToken == token.RefreshToken {
				t.Errorf("refreshed: %+v %v", next, err)
			}
			// From now on without a question, and without a page.
			if v := s.answered(s.to(s.begin(), shopCallback)); v.Get("code") == "" {
				t.Errorf("answered %v", v)
			}
			if v := s.answered(s.to(s.begin(oauth2.SetAuthURLParam("prompt", "none")), shopCallback)); v.Get("code") == "" {
				t.Errorf("prompt=none answers %v", v)
			}
			// Out there, out here.
			s.to(s.post("/signout"), "/signin")
			if _, err := s.provider.UserInfo(s.ctx, oauth2.StaticTokenSource(next)); err == nil || !strings.Contains(err.Error(), "401") {
				t.Errorf("signed out, and userinfo answers: %v", err)
			}
			if v := s.answered(s.to(s.begin(oauth2.SetAuthURLParam("prompt", "none")), shopCallback)); v.Get("error") != "login_required" {
				t.Errorf("signed out, and prompt=none answers %v", v)
			}
		})
	}
}

// RFC 9470: an application asks for more than the sign-in has proved, and gets it: with a phone the second proof counts, and
// an address alone is not enough, which the application is told.
func TestSteppingUp(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org", "+4915112345678")
	n.Account("bob@example.org")
	c := shopClient()
	c.FirstParty = true
	s := newShop(t, n, c)
	aal2 := oauth2.SetAuthURLParam("acr_values", "aal2")

	// Ada comes with a code by e-mail, if she may choose. For this she may not.
	p := s.get(s.to(s.begin(aal2), "/signin?for=app"))
	request := on.FindStringSubmatch(p.body)[1]
	flow := s.to(s.post("/signin", "username", "ada@example.org", "password", servertest.Password, "for", request), "/signin/")
	if p := s.get(flow); strings.Contains(p.body, `value="email"`) {
		t.Error("a way is offered that is not enough")
	}
	if p := s.post(flow+"/send", "way", "email"); p.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a code is sent by e-mail: %d", p.StatusCode)
	}
	p = s.post(flow+"/code", "code", n.Code("+4915112345678"))
	p = s.get(s.to(p, "/authorize/"))
	_, id := s.redeem(s.back(p).Get("code"))
	var claims struct{ ACR string }
	if err := id.Claims(&claims); err != nil || claims.ACR != "aal2" {
		t.Errorf("%+v %v", claims, err)
	}

	// Bob has an address alone. He signs in as ever, and then is asked for more.
	s = &shop{t: t, n: n, ctx: s.ctx, provider: s.provider, verifier: s.verifier, browser: n.Browser(), config: s.config}
	p = s.signIn(s.to(s.begin(), "/signin?for=app"), "bob@example.org", "bob@example.org")
	s.back(s.get(s.to(p, "/authorize/")))
	again := s.get(s.to(s.begin(aal2), "/reauth?for=app"))
	request = on.FindStringSubmatch(again.body)[1]
	flow = s.to(s.post("/reauth", "password", servertest.Password, "for", request), "/signin/")
	p = s.post(flow+"/code", "code", n.Code("bob@example.org"))
	if v := s.back(s.get(s.to(p, "/authorize/"))); v.Get("error") != "unmet_authentication_requirements" {
		t.Errorf("answered %v", v)
	}
}

// english is a browser that asks for English.
type english struct{ http.RoundTripper }

func (e english) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Accept-Language", "en")
	return e.RoundTripper.RoundTrip(r)
}

var spoken = regexp.MustCompile(`<html lang="([a-z]+)"`)

// speaks demands the language of a page.
func (s *shop) speaks(what, want string, p shown) {
	s.t.Helper()
	if m := spoken.FindStringSubmatch(p.body); m == nil || m[1] != want {
		s.t.Errorf("%s: %q, want %s (%d)", what, m, want, p.StatusCode)
	}
}

// ui_locales (OpenID Connect Core section 3.1.2.1): every page on the way back to the application speaks what it asks for, unless its reader has chosen
// something else, and no page after that does.
func TestPagesSpeakTheLanguageThatAnApplicationAsksFor(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	s := newShop(t, n, shopClient())
	fresh := func() {
		s.browser = n.Browser()
		s.browser.Transport = english{&http.Transport{DisableKeepAlives: true}}
	}
	asks := func(locales string) shown { return s.begin(oauth2.SetAuthURLParam("ui_locales", locales)) }
	fresh()

	at := s.to(asks("xx de fr"), "/signin?for=app")
	p := s.get(at)
	s.speaks("the sign-in", "de", p)
	request := on.FindStringSubmatch(p.body)[1]
	s.speaks("a wrong password", "de", s.post("/signin", "username", "ada@example.org", "password", "not it at all", "for", request))
	flow := s.to(s.post("/signin", "username", "ada@example.org", "password", servertest.Password, "for", request), "/signin/")
	s.speaks("the code", "de", s.get(flow))
	to := s.to(s.post(flow+"/code", "code", n.Code("ada@example.org")), "/authorize/")
	s.speaks("consent", "de", s.get(to))
	back := s.post(to, "decision", "allow")
	s.speaks("the way back", "de", back)
	if s.back(back).Get("code") == "" {
		t.Error("no code")
	}
	s.speaks("home", "en", s.get("/"))

	fresh()
	s.to(asks("de"), "/signin?for=app")
	s.speaks("for the next application, which asks for nothing", "en", s.get(s.to(s.begin(), "/signin?for=app")))
	s.to(asks("de"), "/signin?for=app")
	s.speaks("for the next, which asks for none of ours", "en", s.get(s.to(asks("xx"), "/signin?for=app")))
	s.get("/signin?lang=es")
	s.speaks("chosen", "es", s.get(s.to(asks("de"), "/signin?for=app")))

	fresh()
	s.speaks("a request of nobody", "fr", s.get("/authorize?client_id=nobody&ui_locales=fr-CA"))
	for _, junk := range []string{" ", "\t", "-", "--de", "../../words/de", "de,fr", "DE_AT", "\u202e", "<de>", strings.Repeat("xx ", 1000) + "de"} {
		s.speaks(junk, "en", s.get(s.to(asks(junk), "/signin?for=app")))
	}
	if p := asks(strings.Repeat("xx ", 10_000)); s.answered(s.to(p, shopCallback)).Get("error") != "invalid_request" {
		t.Errorf("ten thousand languages: %d", p.StatusCode)
	}
	s.speaks("as other browsers write it", "de", s.get(s.to(asks("de-at-1901"), "/signin?for=app")))
}
