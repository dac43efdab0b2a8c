package oidc_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/oidc"
	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
)

// sentWith is what the application was sent by who brings headers of their own.
func (p person) sentWith(to string, own http.Header) (elsewhere, body string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, to, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header = own.Clone()
	r.Header.Set("Accept", "text/html")
	return p.answered(r)
}

// oauth2-proxy, unmodified, signs somebody in, tells the application behind it who that is and believes nobody else, signs them out here, and sees by its
// next refresh when they sign out here.
func TestOAuth2Proxy(t *testing.T) {
	bin, err := filepath.Abs("../../bin/oauth2-proxy")
	if err != nil {
		t.Fatal(err)
	}
	bin = program(t, bin)
	at := testkit.FreeAddress(t)
	site := "http://" + at
	n := servertest.Start(t, servertest.Options{})
	ada := n.Account("ada@example.org", "+4915112345678")
	token, err := n.Core().Applications.Add(t.Context(), oidc.Client{
		ID: "wiki", Name: "Wiki", RedirectURIs: []string{site + "/oauth2/callback"}, FirstParty: true, Public: true,
		Scopes: []string{"openid", "email", "offline_access"}, PostLogout: []string{site + "/bye"},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	settings := filepath.Join(dir, "proxy.cfg")
	// As docs/openid.md has it.
	if err := os.WriteFile(settings, fmt.Appendf(nil, `provider = "oidc"
oidc_issuer_url = "%[1]s"
client_id = "wiki"
client_secret = "%[2]s"
redirect_url = "%[3]s/oauth2/callback"
scope = "openid email offline_access"
code_challenge_method = "S256"
skip_provider_button = true
email_domains = ["*"]
cookie_secret = "0123456789abcdef0123456789abcdef"
cookie_secure = false
cookie_refresh = "1s"
whitelist_domains = ["%[4]s"]
http_address = "%[5]s"
upstreams = ["http://%[6]s/"]
`, n.URL, token.Reveal(), site, strings.TrimPrefix(n.URL, "http://"), at, application(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon(t, dir, at, bin, "--config", settings)

	p := person{t, n, n.Browser()}
	forged := http.Header{
		"X-Forwarded-User": {"admin"}, "X_forwarded_user": {"admin"}, "X-Forwarded-Email": {"admin@example.com"}, "X-Forwarded-Preferred-Username": {"admin"},
		"X-Forwarded-Groups": {"admin"},
	}
	out := func(what string) {
		t.Helper()
		if where, _ := p.sentWith(site+"/page", forged); !strings.HasPrefix(where, n.URL+"/authorize?") {
			t.Fatalf("%s: leads to %q", what, where)
		}
	}
	in := func() {
		t.Helper()
		_, link := p.sent(site + "/page")
		page, _ := p.do(http.MethodGet, p.signIn(link), nil)
		if h, where := p.sent(site + page); page != "/page" || h.Get("X-Forwarded-User") != string(ada) || h.Get("X-Forwarded-Email") != "ada@example.org" {
			t.Fatalf("%q leads to %q and says %v", page, where, h)
		}
	}
	out("nobody is signed in")
	in()
	if where, body := p.sentWith(site+"/page", forged); strings.Contains(body, "admin") || !strings.Contains(body, string(ada)) {
		t.Errorf("what was forged comes through: leads to %q and says %s", where, body)
	}
	// Out by the application: here, too, and nobody is asked.
	leave := n.URL + "/oauth/logout?id_token_hint={id_token}&post_logout_redirect_uri=" + url.QueryEscape(site+"/bye")
	link, _ := p.do(http.MethodGet, site+"/oauth2/sign_out?rd="+url.QueryEscape(leave), nil)
	if back, page := p.do(http.MethodGet, link, nil); back != site+"/bye" {
		t.Fatalf("logging out leads to %q, and that to %q: %s", link, back, page)
	}
	if where, _ := p.do(http.MethodGet, "/", nil); !strings.HasPrefix(where, "/signin") {
		t.Errorf("still signed in here: leads to %q", where)
	}
	out("signed out there")
	// Out from here: there, too, when it wants to refresh.
	in()
	time.Sleep(2100 * time.Millisecond) // its clock counts whole seconds
	if h, where := p.sent(site + "/page"); h.Get("X-Forwarded-Email") != "ada@example.org" {
		t.Errorf("refreshed, it leads to %q and says %v", where, h)
	}
	p.do(http.MethodPost, "/signout", nil)
	time.Sleep(2100 * time.Millisecond)
	out("signed out here")
}
