package oidc_test

import (
	"crypto"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/signin"
)

// bank is a client that signs with a key of its own.
type bank struct {
	*kit

	alg jose.SignatureAlgorithm
	key crypto.Signer
}

// objectType is what a request object says of itself.
const objectType = "oauth-authz-req+jwt"

func (k *kit) bank(alg jose.SignatureAlgorithm, change func(*oidc.Client)) bank {
	k.t.Helper()
	key, jwks := keyPair(k.t, alg)
	k.client = oidc.Client{ID: "bank", Name: "Bank", RedirectURIs: []string{callback}, Auth: oidc.ByAssertion, Keys: jwks, FirstParty: true, Scopes: []string{"openid", "offline_access"}}
	change(&k.client)
	k.add(&k.client)
	return bank{k, alg, key}
}

// says are the claims of a request object that is in order, with changes. nil takes one away.
func (b bank) says(change map[string]any) map[string]any {
	now := b.clock.Now().Unix()
	all := map[string]any{"iss": "bank", "aud": issuer, "iat": now, "nbf": now, "exp": now + 60, "jti": secret.NewToken("cs").Reveal(), "max_age": 600}
	for name, values := range b.query("state", "signed") {
		all[name] = values[0]
	}
	maps.Copy(all, change)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

func (b bank) object(change map[string]any) string { return b.signs(objectType, b.says(change)) }

func (b bank) signs(typ jose.ContentType, claims any) string {
	b.t.Helper()
	return signed(b.t, signerOf(b.t, b.alg, b.key, typ), claims)
}

// bringing is what a browser brings with an object, and what stands beside it.
func (b bank) bringing(object string, held secret.Token, beside ...string) (oidc.Begun, error) {
	v := form(append([]string{"client_id", "bank", "request", object}, beside...)...)
	return b.Begin(b.t.Context(), oidc.Asked{Query: v, Browser: held, Session: b.me, Source: from})
}

// error is what a request is answered with at the redirect URI that stands beside its object.
func (b bank) error(object string) string {
	b.t.Helper()
	begun, err := b.bringing(object, b.held, "redirect_uri", callback)
	if err != nil {
		b.t.Fatal(err)
	}
	u, _ := url.Parse(begun.Answer)
	return u.Query().Get("error")
}

// A bad object says nothing, not even where to answer: without a redirect URI of the client's beside it the browser is sent nowhere.
func TestWhereABadRequestObjectIsAnswered(t *testing.T) {
	each(t, func(k *kit) {
		b := k.bank(jose.ES256, func(*oidc.Client) {})
		old := b.object(map[string]any{"exp": k.clock.Now().Unix()})
		if begun, err := b.bringing(old, k.held); fault.Of(err).Code != "oidc_request_invalid" {
			t.Errorf("answered %+v, %v", begun, err)
		}
		if begun, err := b.bringing(old, k.held, "redirect_uri", "https://evil.example/"); fault.Of(err).Code != "oidc_request_invalid" {
			t.Errorf("answered %+v, %v", begun, err)
		}
		if begun, err := b.bringing(old, k.held, "redirect_uri", callback); err != nil || !strings.HasPrefix(begun.Answer, callback+"?") {
			t.Errorf("answered %+v, %v", begun, err)
		}
	})
}

// RFC 9101 section 6.3: what the client has signed counts, and nothing that stands beside it.
func TestASignedRequest(t *testing.T) {
	each(t, func(k *kit) {
		b := k.bank(jose.ES256, func(*oidc.Client) {})
		begun, err := b.bringing(b.object(nil), k.held, "state", "forged", "redirect_uri", "https://evil.example/", "prompt", "none login", "scope", "x", "code_challenge", challengeOf(strings.Repeat("a", 43)))
		if err != nil || begun.Request == "" {
			t.Fatalf("%+v %v", begun, err)
		}
		to, _ := url.Parse(k.stands(begun.Request).Answer)
		if to.Query().Get("state") != "signed" {
			t.Errorf("answered %s", to)
		}
		k.tokens(redeeming(to.Query().Get("code")))
		if _, err := b.bringing(b.object(map[string]any{"redirect_uri": nil}), k.held, "redirect_uri", callback); err == nil {
			t.Error("a redirect URI beside the object is taken") // O-FAPI-27
		}
		if begun, err := b.bringing(b.object(map[string]any{"state": nil}), k.held, "state", "forged"); err != nil || strings.Contains(k.stands(begun.Request).Answer, "state=") {
			t.Errorf("a state beside the object is taken: %v", err) // O-FAPI-26
		}
	})
}

// Whatever is not from the client, for us, for this and made just now.
func TestRequestObjectsThatAreRefused(t *testing.T) {
	each(t, func(k *kit) {
		k.m.Throttle.Exempt = append(k.m.Throttle.Exempt, prefix("192.0.2.0/24"))
		b := k.bank(jose.ES256, func(*oidc.Client) {})
		other, _ := keyPair(t, jose.ES256)
		now := k.clock.Now().Unix()
		hour := int64(time.Hour.Seconds())
		good := b.object(nil)
		parts := strings.Split(good, ".")
		for name, text := range map[string]string{
			"another's signature":      bank{k, jose.ES256, other}.object(nil),
			"a JWT for something else": b.signs("JWT", b.says(nil)),
			"no typ":                   b.signs("", b.says(nil)),
			"not signed":               "eyJhbGciOiJub25lIiwidHlwIjoib2F1dGgtYXV0aHotcmVxK2p3dCJ9." + parts[1] + ".",
			"no signature":             parts[0] + "." + parts[1] + ".",
			"huge":                     b.object(map[string]any{"x": strings.Repeat("x", 8<<10)}),
			"rubbish":                  "a.b.c",
			"from somebody else":       b.object(map[string]any{"iss": "shop"}),
			"of another client":        b.object(map[string]any{"client_id": "shop"}),
			"for somebody else":        b.object(map[string]any{"aud": "https://evil.example"}),
			"for nobody":               b.object(map[string]any{"aud": nil}),
			"over":                     b.object(map[string]any{"exp": now}),
			"for ever":                 b.object(map[string]any{"exp": nil}),
			"for long":                 b.object(map[string]any{"exp": now + hour + 60}),
			"old":                      b.object(map[string]any{"nbf": now - hour - 60}),
			"to come":                  b.object(map[string]any{"nbf": now + 60}),
			"made to come":             b.object(map[string]any{"iat": now + 60}),
			"naming another":           b.object(map[string]any{"request_uri": "https://evil.example/r"}),
			"with one in it":           b.object(map[string]any{"request": good}),
			"a list for a scope":       b.object(map[string]any{"scope": []string{"openid"}}),
		} {
			if got := b.error(text); got != "invalid_request_object" {
				t.Errorf("%s: %q", name, got)
			}
		}
		for name, text := range map[string]string{
			"for several": b.object(map[string]any{"aud": []string{"https://other.example", issuer}}), // O-FAPI-04
			"8 s ahead":   b.object(map[string]any{"nbf": now + 8, "iat": now + 8}),                   // O-FAPI-11
			"bare":        b.object(map[string]any{"nbf": nil, "iat": nil, "jti": nil}),
		} {
			if got := b.error(text); got != "" {
				t.Errorf("%s: %q", name, got)
			}
		}
		k.client = oidc.Client{ID: "bank", Name: "Bank", RedirectURIs: []string{callback}}
		k.add(&k.client)
		if got := b.error(good); got != "request_not_supported" {
			t.Errorf("of a client without keys: %q", got)
		}
	})
}

// What a client has signed is good in one browser, or pushed once: who sees it in an address bar has nothing.
func TestASignedRequestIsUsedOnce(t *testing.T) {
	each(t, func(k *kit) {
		b := k.bank(jose.ES256, func(*oidc.Client) {})
		text := b.object(map[string]any{"prompt": "consent"})
		first, err := b.bringing(text, k.held)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := b.bringing(text, k.held); err != nil || again != first {
			t.Errorf("the same browser gets %+v, %v", again, err)
		}
		_, err = b.bringing(text, secret.NewToken(signin.BrowserPrefix))
		k.gone("in another browser", err)
		push := func(text string, beside ...string) error {
			_, _, err := k.Push(t.Context(), k.client, form(append(beside, "request", text)...), oidc.Caller{Source: from})
			return err
		}
		k.refused("invalid_request_object", push(text))
		next := b.object(nil)
		if err := push(next, "state", "forged"); err != nil {
			t.Error(err)
		}
		k.refused("invalid_request_object", push(next))
		_, err = b.bringing(next, k.held)
		k.gone("that was pushed", err)
		k.refused("invalid_request_object", push(b.object(map[string]any{"exp": k.clock.Now().Unix()})))
		k.refused("invalid_request", push(b.object(map[string]any{"redirect_uri": nil}), "redirect_uri", callback))
	})
}

// A client that signs its requests has made none that is not signed, wherever it comes in.
func TestAClientThatSigns(t *testing.T) {
	each(t, func(k *kit) {
		b := k.bank(jose.ES256, func(c *oidc.Client) { c.RequireSigned = true })
		if v := k.answer(); v.Get("error") != "invalid_request" {
			t.Errorf("answered %v", v)
		}
		_, _, err := k.Push(t.Context(), k.client, k.query(), oidc.Caller{Source: from})
		k.refused("invalid_request", err)
		if got := b.error(b.object(nil)); got != "" {
			t.Error(got)
		}
	})
}

// RFC 9101 section 10.8: a request object stands in an address bar. One that a library gave a sub is no proof of who calls.
func TestARequestObjectIsNoAssertion(t *testing.T) {
	each(t, func(k *kit) {
		b := k.bank(jose.ES256, func(*oidc.Client) {})
		claims := b.says(map[string]any{"sub": "bank"})
		for typ, want := range map[jose.ContentType]string{
			objectType: "invalid_client", "application/" + objectType: "invalid_client", "dpop+jwt": "invalid_client", "JWT": "", "": "", "client-authentication+jwt": "",
		} {
			claims["jti"] = secret.NewToken("cs").Reveal()
			_, err := k.Authenticate(t.Context(), oidc.Caller{
				Method: oidc.ByAssertion, ID: "bank", Assertion: b.signs(typ, claims), AssertionType: oidc.AssertionType, Source: from,
			})
			if word(err) != want {
				t.Errorf("typ %q: %v, want %q", typ, err, want)
			}
		}
	})
}
