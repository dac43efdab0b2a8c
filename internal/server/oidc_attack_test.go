package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"countersign/internal/oidc"
	"countersign/internal/testkit/servertest"
)

// call sends a form to an endpoint for programs, as no browser does.
func (s *shop) call(endpoint string, header http.Header, pairs ...string) shown {
	s.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.n.URL+endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.got(s.n.Browser().Do(r))
}

// RFC 9700 at the doors: whatever another site's page, an old link or a wrong client can send.
func TestAttacksOnApplications(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	c := shopClient()
	c.Auth = oidc.ByPost
	s := newShop(t, n, c)
	p := s.signIn(s.to(s.begin(), "/signin?for=app"), "ada@example.org", "ada@example.org")
	request := s.to(p, "/authorize/")

	t.Run("another site's page agrees", func(t *testing.T) { // CSRF
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.URL+request, strings.NewReader("decision=allow"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "https://evil.example")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if p := s.got(s.browser.Do(r)); p.StatusCode != http.StatusForbidden {
			t.Errorf("%d", p.StatusCode)
		}
	})
	t.Run("another browser goes on", func(t *testing.T) {
		thief := &shop{t: t, n: n, browser: n.Browser()}
		if p := thief.get(request); p.StatusCode != http.StatusGone {
			t.Errorf("%d", p.StatusCode)
		}
	})
	t.Run("open redirect", func(t *testing.T) {
		for _, at := range []string{
			"/authorize?client_id=shop&redirect_uri=" + url.QueryEscape("https://evil.example/") + "&response_type=code",
			"/authorize?client_id=shop&redirect_uri=" + url.QueryEscape(shopCallback+"/x") + "&response_type=nonsense",
			"/authorize/x/onward?to=" + url.QueryEscape("https://evil.example/"), "/authorize/x/onward?to=//evil.example",
			"/signin?for=" + url.QueryEscape("https://evil.example/"), "/signin?for=app/../../evil",
		} {
			if p := s.get(at); p.StatusCode == http.StatusSeeOther && p.Header.Get("Location") != "/" || onward.MatchString(p.body) || strings.Contains(p.body, "evil.example") {
				t.Errorf("%s: %d %q", at, p.StatusCode, p.Header.Get("Location"))
			}
		}
	})
	code := s.back(s.post(request, "decision", "allow")).Get("code")
	exchange := []string{"grant_type", "authorization_code", "code", code, "redirect_uri", shopCallback, "code_verifier", s.verifier}
	client := []string{"client_id", "shop", "client_secret", s.config.ClientSecret}
	t.Run("a client that does not prove itself", func(t *testing.T) {
		for name, c := range map[string]struct {
			header http.Header
			pairs  []string
			status int
			want   string
		}{
			"nobody":           {nil, exchange, 401, "invalid_client"},
			"without a secret": {nil, append([]string{"client_id", "shop"}, exchange...), 401, "invalid_client"},
			"by basic":         {http.Header{"Authorization": {"Basic " + basic("shop", s.config.ClientSecret)}}, exchange, 401, "invalid_client"},
			"in two ways":      {http.Header{"Authorization": {"Basic " + basic("shop", s.config.ClientSecret)}}, append(client, exchange...), 400, "invalid_request"},
			"as two":           {nil, append([]string{"client_id", "other"}, append(client, exchange...)...), 400, "invalid_request"},
			"by password":      {nil, append(client, "grant_type", "password", "username", "ada@example.org", "password", servertest.Password), 400, "unsupported_grant_type"},
		} {
			p := s.call("/oauth/token", c.header, c.pairs...)
			if p.StatusCode != c.status || !strings.Contains(p.body, `"error":"`+c.want+`"`) || (c.status == 401) != (p.Header.Get("WWW-Authenticate") != "") {
				t.Errorf("%s: %d %s", name, p.StatusCode, p.body)
			}
		}
	})
	token, _ := s.redeem(code)
	t.Run("token in the query", func(t *testing.T) { // R-OA-15
		if p := s.get("/oauth/userinfo?access_token=" + token.AccessToken); p.StatusCode != http.StatusUnauthorized || !strings.Contains(p.Header.Get("WWW-Authenticate"), `Bearer realm`) {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
		if p := s.call("/oauth/userinfo", nil, "access_token", token.AccessToken); p.StatusCode != http.StatusOK {
			t.Errorf("in a form: %d %s", p.StatusCode, p.body)
		}
	})
	t.Run("a session's token", func(t *testing.T) { // the API takes none of an application's, and the other way round
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.URL+"/api/v1/session", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token.AccessToken)
		if p := s.got(s.n.Browser().Do(r)); p.StatusCode != http.StatusUnauthorized {
			t.Errorf("%d", p.StatusCode)
		}
	})
	t.Run("a code again", func(t *testing.T) {
		if p := s.call("/oauth/token", nil, append(client, exchange...)...); p.StatusCode != http.StatusBadRequest || !strings.Contains(p.body, "invalid_grant") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
		if p := s.call("/oauth/introspect", nil, append(client, "token", token.AccessToken)...); p.body != `{"active":false}`+"\n" {
			t.Errorf("its tokens live on: %s", p.body)
		}
	})
	t.Run("as a form", func(t *testing.T) { // R-OI-07: another site may send it, and nothing but a link comes of it
		p := s.call("/authorize", http.Header{"Origin": {"https://shop.example.com"}}, "client_id", "shop", "login_hint", "ada@example.org")
		if p.StatusCode != http.StatusSeeOther || !strings.HasPrefix(p.Header.Get("Location"), "/authorize?") {
			t.Errorf("%d %q", p.StatusCode, p.Header.Get("Location"))
		}
	})
	t.Run("taken back", func(t *testing.T) {
		next, _ := s.redeem(s.answered(s.to(s.begin(), shopCallback)).Get("code"))
		if p := s.get("/applications"); !strings.Contains(p.body, "Corner Shop") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
		s.to(s.post("/applications/shop/withdraw"), "/applications?done=withdrawn")
		if _, err := s.provider.UserInfo(s.ctx, oauth2.StaticTokenSource(next)); err == nil {
			t.Error("an access token lives on")
		}
		s.to(s.begin(), "/authorize/") // and is asked anew
	})
}

func basic(id, password string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(id, password)
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")
}
