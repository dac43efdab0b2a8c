package oidc_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"countersign/internal/oidc"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

const (
	address = "ada@example.org"
	phone   = "+4915112345678"
)

// proving registers a client that has keys of its own, and starts it.
func proving(t *testing.T, n *servertest.Node, change func(*oidc.Client)) *foreign {
	t.Helper()
	f := run(t, "signing.js", n.URL, "bank", callback)
	c := oidc.Client{ID: "bank", Name: "Bank", RedirectURIs: []string{callback}, Scopes: []string{"openid", "offline_access"}, Auth: oidc.ByAssertion}
	f.good("keys", nil, &c.Keys)
	change(&c)
	if _, err := n.Core().Applications.Add(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	f.good("discover", nil, nil)
	return f
}

// provesMore goes from an application's link, through another proof of who is signed in, to where the application is answered.
func (p person) provesMore(link, to string) string {
	p.t.Helper()
	at, _ := p.do(http.MethodGet, link, nil)
	if !strings.HasPrefix(at, "/reauth") {
		p.t.Fatalf("leads to %s", at)
	}
	_, page := p.do(http.MethodGet, at, nil)
	m := wish.FindStringSubmatch(page)
	if m == nil {
		p.t.Fatalf("%s asks for nothing: %s", at, page)
	}
	flow, _ := p.do(http.MethodPost, "/reauth", url.Values{"password": {servertest.Password}, "for": {m[1]}})
	request, _ := p.do(http.MethodPost, flow+"/code", url.Values{"code": {p.n.Code(to)}})
	onward, _ := p.do(http.MethodGet, request, nil)
	back, _ := p.do(http.MethodGet, onward, nil)
	return back
}

// npm openid-client, as a client of FAPI 2.0: it pushes requests that it has signed, proves who it is by its key, and its tokens are bound to another.
func TestOpenIDClientByFAPI(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			n := servertest.Start(t, servertest.Options{Database: dbtest.NewURL(t, engine)})
			n.Account(address, phone)
			f := proving(t, n, func(c *oidc.Client) { c.FAPI, c.RequireSigned, c.RedirectURIs = true, true, []string{callback} })
			p := person{t, n, n.Browser()}
			var link string
			f.good("begin", map[string]any{"push": true, "sign": true, "acr_values": "aal2"}, &link)
			if u, err := url.Parse(link); err != nil || len(u.Query()) != 2 || !u.Query().Has("request_uri") {
				t.Errorf("the browser brings %s", link)
			}
			var got struct {
				Claims, Info struct{ Sub, Acr string }
				Type         string
			}
			f.good("finish", p.signIn(link), &got)
			if got.Claims.Acr != "aal2" || got.Info.Sub != got.Claims.Sub || !strings.EqualFold(got.Type, "DPoP") {
				t.Errorf("%+v", got)
			}
			for range 2 {
				var next struct {
					Type   string
					Turned bool
				}
				if f.good("refresh", nil, &next); !strings.EqualFold(next.Type, "DPoP") || next.Turned {
					t.Errorf("refreshed: %+v", next)
				}
			}
			var known struct {
				Active bool
				Type   string            `json:"token_type"`
				Bound  map[string]string `json:"cnf"`
			}
			if f.good("introspect", nil, &known); !known.Active || known.Type != "DPoP" || known.Bound["jkt"] == "" {
				t.Errorf("introspected as %+v", known)
			}
			var status int
			if f.good("bearer", nil, &status); status != http.StatusUnauthorized {
				t.Errorf("without its key the token is taken: %d", status)
			}
			for name, way := range map[string]map[string]any{"not signed": {"push": true}, "by another redirect URI": {"push": true, "sign": true, "redirect_uri": "https://evil.example/"}} {
				if a := f.ask("begin", way); a.Error != "invalid_request" {
					t.Errorf("%s: %+v", name, a)
				}
			}
			f.good("begin", map[string]any{"sign": true}, &link) // not pushed
			if back, page := p.do(http.MethodGet, link, nil); back != "" || !strings.Contains(page, "has no redirect_uri that was registered") {
				t.Errorf("what was not pushed leads to %q", back)
			}
		})
	}
}

// The same without pushing: the signed request stands in the link. And it asks for more than was proved (RFC 9470), and gets it.
func TestOpenIDClientSignsAndStepsUp(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account(address)
	f := proving(t, n, func(c *oidc.Client) { c.RequireSigned, c.FirstParty = true, true })
	p := person{t, n, n.Browser()}
	var link string
	var got struct{ Claims struct{ Acr string } }
	f.good("begin", map[string]any{"sign": true}, &link)
	at, _ := p.do(http.MethodGet, link, nil)
	_, page := p.do(http.MethodGet, at, nil)
	flow, _ := p.do(http.MethodPost, "/signin", url.Values{"username": {address}, "password": {servertest.Password}, "for": {wish.FindStringSubmatch(page)[1]}})
	request, _ := p.do(http.MethodPost, flow+"/code", url.Values{"code": {p.n.Code(address)}})
	onward, _ := p.do(http.MethodGet, request, nil)
	back, _ := p.do(http.MethodGet, onward, nil)
	if f.good("finish", back, &got); got.Claims.Acr != "aal1" {
		t.Errorf("%+v", got)
	}
	// Nothing of hers proves so much: the application is told.
	wish := map[string]any{"sign": true, "claims": `{"id_token":{"acr":{"essential":true,"values":["aal2"]}}}`}
	f.good("begin", wish, &link)
	if a := f.ask("finish", p.provesMore(link, address)); a.Error != "unmet_authentication_requirements" {
		t.Errorf("answered %+v", a)
	}
	f.good("begin", map[string]any{}, &link)
	back, _ = p.do(http.MethodGet, link, nil)
	if a := f.ask("finish", back); a.Error != "invalid_request" {
		t.Errorf("what was not signed: %+v", a)
	}
}
