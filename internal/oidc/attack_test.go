package oidc_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/signin"
)

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

// RFC 9700 section 4.1, 4.11, R-OA-01: whoever is not in the list is sent nowhere, error or not.
func TestNobodyIsSentWhereTheClientDidNotSay(t *testing.T) {
	each(t, func(k *kit) {
		for _, to := range []string{
			"", "https://evil.example/callback", callback + "/", callback + "?a=b", callback + "#x", callback + "/../evil", strings.ToUpper(callback),
			"https://shop.example.com.evil.example/callback", "https://shop.example.com@evil.example/callback", "https://shop.example.com:443/callback",
			"http://shop.example.com/callback", "//shop.example.com/callback", "javascript:alert(1)", "data:text/html,x", callback + "\x00", callback + "%2f..",
		} {
			for _, more := range [][]string{nil, {"response_type", "token"}, {"prompt", "none"}} {
				b, err := k.Begin(t.Context(), oidc.Asked{Query: k.query(append([]string{"redirect_uri", to}, more...)...), Browser: k.held, Session: k.me, Source: from})
				if fault.Of(err).Code != "oidc_redirect_unregistered" || b != (oidc.Begun{}) {
					t.Errorf("%q %v: %+v %v", to, more, b, err)
				}
			}
		}
		twice := k.query()
		twice.Add("redirect_uri", "https://evil.example/")
		if _, err := k.Begin(t.Context(), oidc.Asked{Query: twice, Browser: k.held, Source: from}); fault.Of(err).Code != "oidc_redirect_unregistered" {
			t.Errorf("two redirect URIs: %v", err)
		}
	})
}

// What is wrong with a request whose redirect URI is right is said there, with state and iss. R-OA-06, A-10.6.1: nothing but a code.
func TestRefusalsOfRequests(t *testing.T) {
	each(t, func(k *kit) {
		for name, c := range map[string]struct {
			ask  []string
			want string
		}{
			"implicit":               {[]string{"response_type", "token"}, "unsupported_response_type"},
			"hybrid":                 {[]string{"response_type", "code id_token"}, "unsupported_response_type"},
			"no response type":       {[]string{"response_type", ""}, "invalid_request"},
			"fragment":               {[]string{"response_mode", "fragment"}, "invalid_request"},
			"no PKCE":                {[]string{"code_challenge", "", "code_challenge_method", ""}, "invalid_request"},
			"plain PKCE":             {[]string{"code_challenge_method", "plain"}, "invalid_request"},
			"PKCE without a method":  {[]string{"code_challenge_method", ""}, "invalid_request"},
			"a challenge of nothing": {[]string{"code_challenge", "x"}, "invalid_request"},
			"none and login":         {[]string{"prompt", "none login"}, "invalid_request"},
			"unknown prompt":         {[]string{"prompt", "create"}, "invalid_request"},
			"no age":                 {[]string{"max_age", "-1"}, "invalid_request"},
			"no scope of its own":    {[]string{"scope", "email"}, "invalid_scope"},
			"request object":         {[]string{"request", "eyJ"}, "request_not_supported"}, // of a client that has no keys
			"request URI":            {[]string{"request_uri", "https://evil.example/r"}, "request_uri_not_supported"},
			"a forged hint":          {[]string{"id_token_hint", "eyJhbGciOiJub25lIn0.e30."}, "invalid_request"},
		} {
			if v := k.answer(c.ask...); v.Get("error") != c.want || v.Get("state") != "xyz" || v.Get("iss") != issuer || v.Get("code") != "" {
				t.Errorf("%s: answered %v, want %s", name, v, c.want)
			}
		}
		twice := k.query()
		twice.Add("scope", "openid")
		b, err := k.Begin(t.Context(), oidc.Asked{Query: twice, Browser: k.held, Session: k.me, Source: from})
		if err != nil || !strings.Contains(b.Answer, "error=invalid_request") {
			t.Errorf("a repeated parameter: %+v %v", b, err)
		}
	})
}

// RFC 9700 section 4.8: a client that is exempt from PKCE is not let fall back to nothing: a challenge that was sent is demanded, and a
// verifier that nobody announced is refused.
func TestPKCEIsNotDowngraded(t *testing.T) {
	each(t, func(k *kit) {
		k.client = oidc.Client{ID: "old", Name: "Old", RedirectURIs: []string{callback}, FirstParty: true, WithoutPKCE: true}
		k.add(&k.client)
		bare := []string{"code_challenge", "", "code_challenge_method", ""}
		if v := k.answer(append([]string{"nonce", ""}, bare...)...); v.Get("error") != "invalid_request" {
			t.Errorf("neither PKCE nor a nonce: %v", v)
		}
		k.exchangeRefused("invalid_grant", redeeming(k.code(bare...)))
		k.exchangeRefused("invalid_grant", form("grant_type", "authorization_code", "code", k.code(), "redirect_uri", callback))
		k.exchangeRefused("invalid_grant", form("grant_type", "authorization_code", "code", k.code(bare...))) // the redirect URI holds it then
		k.tokens(form("grant_type", "authorization_code", "code", k.code(bare...), "redirect_uri", callback))
	})
}

// P3, RFC 9700 section 4.7: a request goes on in the browser that brought it, and in no other.
func TestARequestBelongsToItsBrowser(t *testing.T) {
	each(t, func(k *kit) {
		b := k.begin("prompt", "consent")
		thief := oidc.Ref{Request: b.Request, Browser: secret.NewToken(signin.BrowserPrefix)}
		if _, err := k.At(t.Context(), thief, k.me, from); fault.Of(err).Code != "oidc_request_ended" {
			t.Errorf("another browser goes on: %v", err)
		}
		if name, err := k.Name(t.Context(), thief); fault.Of(err).Code != "oidc_request_ended" || name != "" {
			t.Errorf("another browser is told of %q: %v", name, err)
		}
		if name, err := k.Name(t.Context(), oidc.Ref{Request: b.Request, Browser: k.held}); err != nil || name == "" {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := k.Decide(t.Context(), thief, oidc.Decision{Session: k.me, Agreed: true}); fault.Of(err).Code != "oidc_request_ended" {
			t.Errorf("another browser agrees: %v", err)
		}
		k.clock.Advance(31 * time.Minute)
		if _, err := k.At(t.Context(), oidc.Ref{Request: b.Request, Browser: k.held}, k.me, from); fault.Of(err).Code != "oidc_request_ended" {
			t.Errorf("after half an hour: %v", err)
		}
	})
}

// A session that has ended a moment ago gives nothing any more, and neither does somebody else's.
func TestNothingIsGivenInASessionThatEnded(t *testing.T) {
	each(t, func(k *kit) {
		b := k.begin()
		if _, err := k.m.Profile.EndSession(t.Context(), k.me, k.m.Client, k.me.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := k.At(t.Context(), oidc.Ref{Request: b.Request, Browser: k.held}, k.me, from); fault.Of(err).Code != "oidc_request_ended" {
			t.Errorf("given all the same: %v", err)
		}
	})
}

// a client proves who it is in its own way, and in no other.
func TestClientsProveWhoTheyAre(t *testing.T) {
	each(t, func(k *kit) {
		k.m.Throttle.Exempt = append(k.m.Throttle.Exempt, prefix("192.0.2.0/24"))
		public := oidc.Client{ID: "app", Name: "App", RedirectURIs: []string{"org.example.app:/callback"}, Auth: oidc.ByNothing}
		k.add(&public)
		fresh, err := k.Renew(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		good := []oidc.Caller{
			{Method: oidc.ByBasic, ID: "shop", Secret: fresh}, {Method: oidc.ByBasic, ID: "shop", Secret: k.token}, {Method: oidc.ByNothing, ID: "app"},
		}
		bad := []oidc.Caller{
			{Method: oidc.ByPost, ID: "shop", Secret: fresh},
			{Method: oidc.ByNothing, ID: "shop"},
			{Method: oidc.ByBasic, ID: "shop"},
			{Method: oidc.ByBasic, ID: "app"},
			{Method: oidc.ByBasic, ID: "shop", Secret: secret.NewToken("csk")},
			{Method: oidc.ByBasic, ID: "nobody", Secret: fresh},
			{Method: oidc.ByNothing, ID: ""},
			{Method: oidc.ByBasic, ID: "shop' OR '1'='1", Secret: fresh},
		}
		for _, by := range good {
			by.Source = from
			if c, err := k.Authenticate(t.Context(), by); err != nil || c.ID != by.ID {
				t.Errorf("%s %s: %v", by.Method, by.ID, err)
			}
		}
		for _, by := range bad {
			by.Source = from
			_, err := k.Authenticate(t.Context(), by)
			k.refused("invalid_client", err)
		}
		k.clock.Advance(24*time.Hour + time.Second)
		_, err = k.Authenticate(t.Context(), oidc.Caller{Method: oidc.ByBasic, ID: "shop", Secret: k.token, Source: from})
		k.refused("invalid_client", err)
	})
}

// P9: calls that come to nothing have a limit.
func TestFailedCallsAreLimited(t *testing.T) {
	each(t, func(k *kit) {
		var last error
		for range 100 {
			_, last = k.Authenticate(t.Context(), oidc.Caller{Method: oidc.ByBasic, ID: "shop", Secret: secret.NewToken("csk"), Source: from})
		}
		if fault.Of(last).Kind != fault.TooMany {
			t.Errorf("after a hundred: %v", last)
		}
		if _, err := k.Authenticate(t.Context(), oidc.Caller{Method: oidc.ByBasic, ID: "shop", Secret: k.token, Source: from}); err != nil {
			t.Errorf("the client itself, from the same network: %v", err)
		}
	})
}

// What may be registered. R-OA-02, R-OA-12, A-10.4.1.
func TestClientsThatCannotBe(t *testing.T) {
	for name, spoil := range map[string]func(c *oidc.Client){
		"id of an account":   func(c *oidc.Client) { c.ID = "0196f0c1-7b1a-7c3e-8f00-0123456789ab" },
		"no name":            func(c *oidc.Client) { c.Name = " " },
		"a turned name":      func(c *oidc.Client) { c.Name = "gpj.\u202eshop" },
		"plain http":         func(c *oidc.Client) { c.RedirectURIs = []string{"http://shop.example.com/"} },
		"a fragment":         func(c *oidc.Client) { c.RedirectURIs = []string{callback + "#a"} },
		"a pattern":          func(c *oidc.Client) { c.RedirectURIs = []string{"https://*.example.com/"} },
		"a user":             func(c *oidc.Client) { c.RedirectURIs = []string{"https://a@example.com/"} },
		"a script":           func(c *oidc.Client) { c.RedirectURIs = []string{"javascript:alert(1)"} },
		"an app's with one":  func(c *oidc.Client) { c.RedirectURIs = []string{"org.example:/cb"} },
		"none":               func(c *oidc.Client) { c.RedirectURIs = nil },
		"scope":              func(c *oidc.Client) { c.Scopes = []string{"admin"} },
		"alg":                func(c *oidc.Client) { c.Alg = "none" },
		"keys for nothing":   func(c *oidc.Client) { c.Keys = `{"keys":[]}` },
		"keys that are not":  func(c *oidc.Client) { c.Auth = oidc.ByAssertion },
		"a shared secret":    func(c *oidc.Client) { c.Auth, c.Keys = oidc.ByAssertion, `{"keys":[{"kty":"oct","k":"AAAA"}]}` },
		"two sectors":        func(c *oidc.Client) { c.RedirectURIs = []string{callback, "https://other.example/cb"} },
		"exempt and public":  func(c *oidc.Client) { c.WithoutPKCE, c.Auth = true, oidc.ByNothing },
		"public, and asking": func(c *oidc.Client) { c.Introspects, c.Auth = true, oidc.ByNothing },
	} {
		c := oidc.Client{ID: "shop", Name: "Shop", RedirectURIs: []string{callback}}
		spoil(&c)
		if c.Check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// RFC 8252 section 7.3: of an app on this machine the port is free, and nothing else.
func TestLoopbackPorts(t *testing.T) {
	each(t, func(k *kit) {
		k.client = oidc.Client{ID: "cli", Name: "CLI", RedirectURIs: []string{"http://127.0.0.1/cb"}, Auth: oidc.ByNothing, FirstParty: true}
		k.add(&k.client)
		for to, good := range map[string]bool{
			"http://127.0.0.1:51004/cb": true, "http://127.0.0.1/cb": true, "http://127.0.0.1:51004/other": false, "http://127.0.0.2:1/cb": false,
			"http://localhost:51004/cb": false, "https://127.0.0.1:51004/cb": false, "http://127.0.0.1:51004@evil.example/cb": false,
		} {
			_, err := k.Begin(t.Context(), oidc.Asked{Query: k.query("redirect_uri", to), Browser: k.held, Session: k.me, Source: from})
			if good != (err == nil) {
				t.Errorf("%s: %v", to, err)
			}
		}
	})
}

// RFC 8252 section 8.6: any program on the device may listen where a native app does, so what was agreed to once, or by whoever runs this,
// does not speak for the next that comes by its name.
func TestANativeAppIsAskedAboutEachTime(t *testing.T) {
	each(t, func(k *kit) {
		for i, c := range []oidc.Client{
			{ID: "cli", RedirectURIs: []string{"http://127.0.0.1/cb"}},
			{ID: "ours", RedirectURIs: []string{"http://127.0.0.1/cb"}, FirstParty: true},
			{ID: "app", RedirectURIs: []string{"com.example.app:/cb"}},
		} {
			c.Name, c.Auth = "App", oidc.ByNothing
			k.client = c
			k.add(&k.client)
			to := []string{"redirect_uri", c.RedirectURIs[0], "scope", "openid"}
			b := k.begin(to...)
			if _, err := k.Decide(t.Context(), oidc.Ref{Request: b.Request, Browser: k.held}, oidc.Decision{Session: k.me, Agreed: true, Source: from}); err != nil {
				t.Fatal(err)
			}
			if n := k.stands(k.begin(to...).Request); n.Step != oidc.StepConsent {
				t.Errorf("%d: the next request stands at %s", i, n.Step)
			}
			if v := k.answer(append(to, "prompt", "none")...); v.Get("error") != "consent_required" {
				t.Errorf("%d: without a word: %v", i, v)
			}
		}
	})
}

// The link of the page that leads back is for now: from a history or a log it leads nowhere, and nobody makes one.
func TestTheWayBackIsShort(t *testing.T) {
	each(t, func(k *kit) {
		sealed := k.Seal(callback + "?code=x")
		k.clock.Advance(4 * time.Minute)
		if to, err := k.Unseal(sealed); err != nil || to != callback+"?code=x" {
			t.Errorf("%q %v", to, err)
		}
		k.clock.Advance(time.Minute)
		_, err := k.Unseal(sealed)
		k.gone("after five minutes", err)
		for _, no := range []string{"", "x", sealed[:len(sealed)-2], sealed + "A", "https://evil.example/"} {
			if to, err := k.Unseal(no); fault.Of(err).Kind != fault.NotFound {
				t.Errorf("%q leads to %q, %v", no, to, err)
			}
		}
	})
}

// A redirect URI that an operator takes away gets nothing more, not even of requests that were under way.
func TestARedirectURIThatWasTakenAway(t *testing.T) {
	each(t, func(k *kit) {
		b := k.begin()
		c := k.client
		c.RedirectURIs = []string{"https://new.example.com/callback"}
		k.add(&c)
		if n, err := k.At(t.Context(), oidc.Ref{Request: b.Request, Browser: k.held}, k.me, from); fault.Of(err).Code != "oidc_request_ended" {
			t.Errorf("answered %+v, %v", n, err)
		}
	})
}

// an account has another name for each sector, the same in it for ever, and the hint is known by it.
func TestSubjects(t *testing.T) {
	each(t, func(k *kit) {
		subject := func(c oidc.Client) (string, string) {
			k.add(&c)
			k.client = c
			out := k.tokens(redeeming(k.code("scope", "openid", "redirect_uri", c.RedirectURIs[0])))
			claims, _ := k.claimsOf(out.ID)
			return claims["sub"].(string), out.ID
		}
		one := oidc.Client{ID: "one", Name: "One", RedirectURIs: []string{callback}, FirstParty: true}
		two, three, four := one, one, one
		two.ID, three.ID, three.Sector, four.ID, four.Public = "two", "three", "else.example", "four", true
		first, hint := subject(one)
		second, _ := subject(two)
		third, _ := subject(three)
		fourth, _ := subject(four)
		if first != second || first == third || fourth != string(k.who) || len(first) != 43 {
			t.Errorf("%s %s %s %s", first, second, third, fourth)
		}
		k.client = one
		k.clock.Advance(time.Hour)
		if v := k.answer("prompt", "none", "id_token_hint", hint); v.Get("code") == "" {
			t.Errorf("with an old token as a hint: %v", v)
		}
		k.who = k.m.Account("eve@example.org")
		k.me = k.signIn(k.who, "password")
		if v := k.answer("prompt", "none", "id_token_hint", hint); v.Get("error") != "login_required" {
			t.Errorf("about somebody else: %v", v)
		}
		k.client = two
		if v := k.answer("prompt", "none", "id_token_hint", hint); v.Get("error") != "invalid_request" {
			t.Errorf("another client's hint: %v", v)
		}
	})
}

// R-OI-11: a new key is published before it signs, and the old one for as long as tokens live that it signed.
func TestKeysTakeTurns(t *testing.T) {
	for _, alg := range []string{"ES256", "RS256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			each(t, func(k *kit) {
				k.client = oidc.Client{ID: "app", Name: "App", RedirectURIs: []string{callback}, FirstParty: true, Alg: alg}
				k.add(&k.client)
				kid := func() string {
					_, header := k.claimsOf(k.tokens(redeeming(k.code("scope", "openid"))).ID)
					if header.Algorithm != alg {
						k.t.Errorf("signed by %s, want %s", header.Algorithm, alg)
					}
					return header.KeyID
				}
				rotate := func(now bool) {
					if err := k.Rotate(t.Context(), alg, now); err != nil {
						k.t.Fatal(err)
					}
				}
				first := kid()
				k.clock.Advance(time.Hour)
				rotate(false)
				if second := kid(); second != first {
					k.t.Error("a key signs that no client has seen")
				}
				k.clock.Advance(11 * time.Minute)
				second := kid()
				if second == first {
					k.t.Error("the old key signs on")
				}
				if n := len(k.published(alg)); n != 2 {
					k.t.Errorf("%d keys are published, want both", n)
				}
				k.clock.Advance(25 * time.Hour)
				if got := k.published(alg); !cmp.Equal(got, []string{second}) {
					k.t.Errorf("published: %v", got)
				}
				k.me = k.signIn(k.who, "password")
				rotate(true)
				if third := kid(); third == second || !cmp.Equal(k.published(alg), []string{third}) {
					k.t.Errorf("a key that somebody may have is published still: %v", k.published(alg))
				}
			})
		})
	}
}

func (k *kit) published(alg string) (ids []string) {
	k.t.Helper()
	all, err := k.Keys(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	for _, one := range all {
		if one.Alg == alg {
			ids = append(ids, one.ID)
		}
	}
	return ids
}

// RFC 7009, RFC 7662: of another client's token a client learns nothing, and can end nothing.
func TestTokensAreTheirClients(t *testing.T) {
	each(t, func(k *kit) {
		other := oidc.Client{ID: "other", Name: "Other", RedirectURIs: []string{callback}}
		resource := oidc.Client{ID: "files", Name: "Files", Introspects: true}
		k.add(&other)
		k.add(&resource)
		out := k.tokens(redeeming(k.code()))
		for _, shown := range []secret.Token{out.Access, out.Refresh} {
			if f, err := k.Introspect(t.Context(), other, shown); err != nil || f.Active || f.Client != "" {
				t.Errorf("another client is told %+v %v", f, err)
			}
			if err := k.Revoke(t.Context(), other, shown, from); err != nil || !k.active(shown) {
				t.Errorf("another client ends a token: %v", err)
			}
		}
		if f, err := k.Introspect(t.Context(), resource, out.Access); err != nil || !f.Active {
			t.Errorf("a resource server is told %+v %v", f, err)
		}
		// Without the client's secret a stolen refresh token opens nothing, at a resource server either.
		if f, err := k.Introspect(t.Context(), resource, out.Refresh); err != nil || f.Active {
			t.Errorf("a resource server takes a refresh token: %+v %v", f, err)
		}
		if err := k.Revoke(t.Context(), k.client, out.Access, from); err != nil || k.active(out.Access) || !k.active(out.Refresh) {
			t.Errorf("an access token was revoked: %v", err)
		}
		more := k.tokens(refreshing(out.Refresh))
		if err := k.Revoke(t.Context(), k.client, more.Refresh, from); err != nil || k.active(more.Access) || k.active(more.Refresh) {
			t.Errorf("a refresh token was revoked: %v", err)
		}
		if _, err := k.UserInfo(t.Context(), out.Refresh, oidc.Caller{}); err == nil {
			t.Error("a refresh token is taken as an access token")
		}
	})
}

// RFC 7523: an assertion is from the client, to us alone, short, and good for one call.
func TestAssertions(t *testing.T) {
	each(t, func(k *kit) {
		k.m.Throttle.Exempt = append(k.m.Throttle.Exempt, prefix("192.0.2.0/24"))
		signer, jwks := clientKey(t, jose.ES256)
		other, _ := clientKey(t, jose.ES256)
		c := oidc.Client{ID: "bank", Name: "Bank", RedirectURIs: []string{callback}, Auth: oidc.ByAssertion, Keys: jwks}
		k.add(&c)
		const kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
		call := func(text string) error {
			_, err := k.Authenticate(t.Context(), oidc.Caller{Method: oidc.ByAssertion, Assertion: text, AssertionType: kind, Source: from})
			return err
		}
		good := signed(t, signer, k.claims(nil))
		if err := call(good); err != nil {
			t.Fatal(err)
		}
		k.refused("invalid_client", call(good)) // again
		for _, aud := range []any{issuer, issuer + "/oauth/token", []string{issuer}} {
			if err := call(signed(t, signer, k.claims(map[string]any{"aud": aud}))); err != nil {
				t.Errorf("for %v: %v", aud, err)
			}
		}
		now := k.clock.Now().Unix()
		if err := call(signed(t, signer, k.claims(map[string]any{"nbf": now + 8, "iat": now + 8}))); err != nil {
			t.Errorf("a clock that is ahead by 8 s: %v", err)
		}
		for name, change := range map[string]map[string]any{
			"for somebody else": {"aud": "https://evil.example"}, "for several": {"aud": []string{issuer, "https://evil.example"}}, "for nobody": {"aud": nil},
			"from somebody else": {"iss": "shop"}, "about somebody else": {"sub": "shop"}, "about nobody": {"sub": nil}, "without a name": {"jti": nil},
			"over": {"exp": now - 1}, "for ever": {"exp": now + 3600}, "without an end": {"exp": nil}, "to come": {"nbf": now + 61}, "made to come": {"iat": now + 61},
		} {
			err := call(signed(t, signer, k.claims(change)))
			if k.refused("invalid_client", err); t.Failed() {
				t.Fatal(name)
			}
		}
		k.refused("invalid_client", call(signed(t, other, k.claims(nil))))
		_, err := k.Authenticate(t.Context(), oidc.Caller{Method: oidc.ByAssertion, ID: "shop", Assertion: signed(t, signer, k.claims(nil)), AssertionType: kind, Source: from})
		k.refused("invalid_client", err)
	})
}

// What was never asked for is not refreshed into being, and the token is not spent by asking.
func TestRefreshedScopes(t *testing.T) {
	each(t, func(k *kit) {
		k.client.Scopes = []string{"offline_access"}
		k.add(&k.client)
		out := k.tokens(redeeming(k.code()))
		more := refreshing(out.Refresh)
		more.Set("scope", "openid")
		k.exchangeRefused("invalid_scope", more)
		if out.ID != "" || !k.active(out.Refresh) {
			t.Error("an ID token without openid, or a token that asking spent")
		}
		if _, err := k.UserInfo(t.Context(), out.Access, oidc.Caller{}); err == nil {
			t.Error("who signed in is told without openid")
		}
	})
}

func (k *kit) claims(change map[string]any) map[string]any {
	now := k.clock.Now().Unix()
	all := map[string]any{"iss": "bank", "sub": "bank", "aud": issuer, "jti": secret.NewToken("cs").Reveal(), "iat": now, "exp": now + 60}
	for name, value := range change {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}
