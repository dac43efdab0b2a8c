package oidc_test

import (
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
)

func (k *kit) push(changes ...string) string {
	k.t.Helper()
	uri, lasts, err := k.Push(k.t.Context(), k.client, k.query(changes...), oidc.Caller{Source: from})
	if err != nil || lasts != time.Minute || !strings.HasPrefix(uri, "urn:ietf:params:oauth:request_uri:") {
		k.t.Fatalf("pushed as %q for %v: %v", uri, lasts, err)
	}
	return uri
}

// bring is what a browser brings in the place of a request, with more.
func (k *kit) bring(client, uri string, held secret.Token, more ...string) (oidc.Begun, error) {
	k.t.Helper()
	v := form(append([]string{"client_id", client, "request_uri", uri}, more...)...)
	return k.Begin(k.t.Context(), oidc.Asked{Query: v, Browser: held, Session: k.me, Source: from})
}

func (k *kit) gone(what string, err error) {
	k.t.Helper()
	if fault.Of(err).Code != "oidc_request_ended" {
		k.t.Errorf("%s: %v", what, err)
	}
}

// RFC 9126: what was pushed counts, and nothing that the browser brings beside it.
func TestAPushedRequest(t *testing.T) {
	each(t, func(k *kit) {
		uri := k.push("scope", "openid", "state", "mine", "login_hint", "ada@example.org", "client_secret", k.token.Reveal())
		k.write(func(tx *sqldb.Tx) error {
			var kept string
			err := tx.QueryRow(t.Context(), `SELECT parameters FROM oidc_pushed`).Scan(&kept)
			if strings.Contains(kept, "ada") || strings.Contains(kept, k.token.Reveal()) {
				t.Errorf("kept: %s", kept)
			}
			return err
		})
		b, err := k.bring("shop", uri, k.held, "scope", "openid offline_access", "state", "forged", "redirect_uri", "https://evil.example/", "prompt", "none")
		if err != nil {
			t.Fatal(err)
		}
		to, err := url.Parse(k.stands(b.Request).Answer)
		if err != nil || !strings.HasPrefix(to.String(), callback+"?") || to.Query().Get("state") != "mine" {
			t.Fatalf("answered at %s, %v", to, err)
		}
		if out := k.tokens(redeeming(to.Query().Get("code"))); len(out.Scopes) != 1 || !out.Refresh.Empty() {
			t.Errorf("got %v", out.Scopes)
		}
		_, err = k.bring("shop", uri, k.held)
		k.gone("after it was answered", err)
	})
}

// A request that was pushed is for its client, for a minute, and for one browser, which may load the page anew.
func TestAPushedRequestIsTakenOnce(t *testing.T) {
	each(t, func(k *kit) {
		other := oidc.Client{ID: "other", Name: "Other", RedirectURIs: []string{callback}}
		k.add(&other)
		late, uri := k.push("prompt", "consent"), k.push("prompt", "consent")
		_, err := k.bring("other", uri, k.held)
		k.gone("by another client's name", err)
		_, err = k.bring("shop", uri[:len(uri)-1]+"x", k.held)
		k.gone("by a name that nothing has", err)
		b, err := k.bring("shop", uri, k.held)
		if err != nil || b.Request == "" {
			t.Fatalf("%+v %v", b, err)
		}
		again, err := k.bring("shop", uri, k.held)
		if err != nil || again != b {
			t.Errorf("the same browser gets %+v, %v", again, err)
		}
		_, err = k.bring("shop", uri, secret.NewToken(signin.BrowserPrefix))
		k.gone("in another browser", err)
		k.clock.Advance(time.Minute)
		_, err = k.bring("shop", late, k.held)
		k.gone("after a minute", err)
		if _, err := k.bring("nobody", uri, k.held); fault.Of(err).Code != "oidc_request_invalid" {
			t.Errorf("of nobody: %v", err)
		}
	})
}

// Of many browsers that bring one request, at two nodes, one goes on.
func TestManyBrowsersBringOneRequest(t *testing.T) {
	each(t, func(k *kit) {
		k.m.Throttle.Exempt = append(k.m.Throttle.Exempt, prefix("192.0.2.0/24"))
		uri := k.push("prompt", "consent")
		nodes := []*oidc.Service{k.Service, provider(k.m)}
		var won atomic.Int32
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				v := form("client_id", "shop", "request_uri", uri)
				_, err := nodes[i%2].Begin(t.Context(), oidc.Asked{Query: v, Browser: secret.NewToken(signin.BrowserPrefix), Session: k.me, Source: from})
				if err == nil {
					won.Add(1)
				} else if fault.Of(err).Code != "oidc_request_ended" {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Errorf("%d browsers go on", won.Load())
		}
	})
}

// What could not be brought cannot be pushed, and is said at once.
func TestRefusalsOfPushedRequests(t *testing.T) {
	each(t, func(k *kit) {
		for name, c := range map[string]struct {
			change []string
			want   string
		}{
			"another redirect URI":  {[]string{"redirect_uri", "https://evil.example/"}, "invalid_request"},
			"no redirect URI":       {[]string{"redirect_uri", ""}, "invalid_request"},
			"another client":        {[]string{"client_id", "other"}, "invalid_request"},
			"a request of a URI":    {[]string{"request_uri", "https://evil.example/r"}, "invalid_request"},
			"one that was pushed":   {[]string{"request_uri", k.push()}, "invalid_request"},
			"no PKCE":               {[]string{"code_challenge", "", "code_challenge_method", ""}, "invalid_request"},
			"plain PKCE":            {[]string{"code_challenge_method", "plain"}, "invalid_request"},
			"implicit":              {[]string{"response_type", "token"}, "unsupported_response_type"},
			"scopes of somebody's":  {[]string{"scope", "admin"}, "invalid_scope"},
			"a parameter of 5000 B": {[]string{"state", strings.Repeat("x", 5000)}, "invalid_request"},
		} {
			_, _, err := k.Push(t.Context(), k.client, k.query(c.change...), oidc.Caller{Source: from})
			if k.refused(c.want, err); t.Failed() {
				t.Fatal(name)
			}
		}
	})
}

// A client that pushes its requests has no other way: what a browser brings of itself may be anybody's.
func TestAClientThatPushes(t *testing.T) {
	each(t, func(k *kit) {
		k.client.RequirePAR = true
		k.add(&k.client)
		if v := k.answer(); v.Get("error") != "invalid_request" || v.Get("code") != "" {
			t.Errorf("answered %v", v)
		}
		b, err := k.bring("shop", k.push(), k.held)
		if err != nil || !strings.Contains(k.stands(b.Request).Answer, "code=") {
			t.Errorf("%+v %v", b, err)
		}
		// An operator who takes the redirect URI away takes it from what was pushed before as well.
		uri := k.push()
		c := k.client
		c.RedirectURIs = []string{"https://new.example.com/callback"}
		k.add(&c)
		if b, err := k.bring("shop", uri, k.held); fault.Of(err).Code != "oidc_redirect_unregistered" {
			t.Errorf("%+v %v", b, err)
		}
	})
}

// Public clients push too, and a browser's worth of requests is all that one network may.
func TestPushingHasALimit(t *testing.T) {
	each(t, func(k *kit) {
		public := oidc.Client{ID: "app", Name: "App", RedirectURIs: []string{callback}, Auth: oidc.ByNothing}
		k.add(&public)
		var last error
		for range 70 {
			_, _, last = k.Push(t.Context(), public, k.query("client_id", "app"), oidc.Caller{Source: from})
		}
		if fault.Of(last).Kind != fault.TooMany {
			t.Errorf("after seventy: %v", last)
		}
		k.push()
	})
}

// P9: what a browser brings that is no request is counted as one that is.
func TestBringingWhatWasNotPushedIsLimited(t *testing.T) {
	each(t, func(k *kit) {
		for range 60 {
			_, err := k.bring("shop", "urn:ietf:params:oauth:request_uri:"+secret.NewToken("csp").Reveal(), k.held)
			k.gone("a name that nothing has", err)
		}
		if _, err := k.bring("shop", "urn:ietf:params:oauth:request_uri:"+secret.NewToken("csp").Reveal(), k.held); fault.Of(err).Kind != fault.TooMany {
			t.Errorf("the sixty-first in a moment: %v", err)
		}
	})
}

// OpenID Connect Core section 3.1.2.1: languages are asked for in a link, in what was pushed and in what was signed, and not beside it. No list of them is kept
// that is longer than other parameters.
func TestTheLanguagesThatAreAskedFor(t *testing.T) {
	each(t, func(k *kit) {
		k.me = session.Session{}
		want := func(what, locales string, b oidc.Begun, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(what, err)
			}
			if got := k.stands(b.Request).Locales; got != locales {
				t.Errorf("%s: %q, want %q", what, got, locales)
			}
		}
		want("in a link", "xx de fr", k.begin("ui_locales", "xx de fr"), nil)
		want("nowhere", "", k.begin(), nil)
		uri := k.push("ui_locales", "de")
		for range 2 { // the page is loaded anew
			b, err := k.bring("shop", uri, k.held, "ui_locales", "fr")
			want("pushed", "de", b, err)
		}
		if v := k.answer("ui_locales", strings.Repeat("xx ", 10_000)); v.Get("error") != "invalid_request" {
			t.Errorf("ten thousand languages: %v", v)
		}
		signs := k.bank(jose.ES256, func(*oidc.Client) {})
		b, err := signs.bringing(signs.object(map[string]any{"ui_locales": "ar"}), k.held, "ui_locales", "fr")
		want("signed", "ar", b, err)
	})
}
