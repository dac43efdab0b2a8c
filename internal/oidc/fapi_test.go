package oidc_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/assurance"
	"countersign/internal/dpop"
	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/signin"
)

// fapi is a client that keeps to the profile, and its server.
type fapi struct{ bank }

func onFAPI(c *oidc.Client) { c.FAPI = true }

// word is what a call was refused with: an error of OAuth, or a code of ours where a browser is sent nowhere.
func word(err error) string {
	if no, ok := errors.AsType[*oidc.Refusal](err); ok {
		return no.Word
	}
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

func (f fapi) want(want string, err error) {
	f.t.Helper()
	if got := word(err); got != want {
		f.t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

// pushes pushes a form with the proof of a key.
func (f fapi) pushes(v url.Values, key dpop.Thumbprint) (string, error) {
	uri, _, err := f.Push(f.t.Context(), f.client, v, oidc.Caller{Key: key, Source: from})
	return uri, err
}

func (f fapi) pushRefused(want string, changes ...string) {
	f.t.Helper()
	_, err := f.pushes(f.query(changes...), "")
	f.want(want, err)
}

// objectRefused demands that a signed request is not taken where it is pushed.
func (f fapi) objectRefused(want string, change map[string]any) {
	f.t.Helper()
	_, err := f.pushes(form("request", f.object(change)), "")
	f.want(want, err)
}

// answered brings what was pushed, and is answered.
func (f fapi) answered(uri string, err error) url.Values {
	f.t.Helper()
	var b oidc.Begun
	if err == nil {
		b, err = f.bring("bank", uri, f.held)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	if b.Answer == "" {
		b.Answer = f.stands(b.Request).Answer
	}
	to, err := url.Parse(b.Answer)
	if err != nil || !strings.HasPrefix(b.Answer, callback+"?") || to.Query().Get("iss") != issuer {
		f.t.Fatalf("answered at %q: %v", b.Answer, err)
	}
	return to.Query()
}

func (f fapi) given(changes ...string) string {
	f.t.Helper()
	return f.answered(f.pushes(f.query(changes...), "")).Get("code")
}

// signedTo is the answer to a request that was signed and pushed.
func (f fapi) signedTo(change map[string]any, beside ...string) url.Values {
	f.t.Helper()
	return f.answered(f.pushes(form(append(beside, "request", f.object(change))...), ""))
}

// succeeds demands that a code is worth tokens.
func (f fapi) succeeds(code string) oidc.Tokens {
	f.t.Helper()
	return f.bound(redeeming(code))
}

// proves has the client prove who it is by an assertion with changes.
func (f fapi) proves(change map[string]any) error {
	f.t.Helper()
	return f.calls(oidc.Caller{Method: oidc.ByAssertion, Assertion: f.signs("", f.claims(change)), AssertionType: oidc.AssertionType})
}

func (f fapi) calls(by oidc.Caller) error {
	by.Source = from
	_, err := f.Authenticate(f.t.Context(), by)
	return err
}

// module is one of the OpenID Foundation's for FAPI 2.0 Security Profile and Message Signing, as of plan fapi2-security-profile-final and fapi2-message-signing-final.
type module struct {
	name string
	run  func(f fapi)
	not  string // why it is not run here
}

const (
	atTheDoors = "internal/server: TestAPushedRequestAndABoundToken"
	ofProofs   = "internal/dpop: TestAProofIsForOneRequest, TestOnlyTheKeysHolderMakesProofs; internal/server: TestAPushedRequestAndABoundToken"
)

// The modules, in the order of the plan.
func fapiModules() []module {
	return slices.Concat(modulesOfRequests(), modulesOfKeys(), modulesOfObjects(), modulesOfTokens(), modulesOfPushing())
}

func modulesOfRequests() []module {
	const long = 384 // characters, as the suite sends them
	return []module{
		{"discovery-end-point-verification", func(f fapi) {
			text, err := f.Describe()
			var m map[string]any
			if err = errors.Join(err, json.Unmarshal(text, &m)); err != nil {
				f.t.Fatal(err)
			}
			for name, want := range map[string]string{
				"issuer": issuer, "pushed_authorization_request_endpoint": issuer + "/oauth/par", "code_challenge_methods_supported": "[S256]", "response_types_supported": "[code]",
				"dpop_signing_alg_values_supported": "[ES256 EdDSA]", "authorization_response_iss_parameter_supported": "true", "claims_parameter_supported": "true",
			} {
				if got := fmt.Sprint(m[name]); got != want {
					f.t.Errorf("%s is %s", name, got)
				}
			}
		}, ""},
		{"happy-flow", func(f fapi) {
			out := f.succeeds(f.given())
			claims, header := f.claimsOf(out.ID)
			if info, err := f.UserInfo(f.t.Context(), out.Access, oidc.Caller{Key: mine}); err != nil || info["sub"] != claims["sub"] || header.Algorithm != "ES256" {
				f.t.Error(info, header, err)
			}
		}, ""},
		{"user-rejects-authentication", func(f fapi) {
			uri, err := f.pushes(f.query("prompt", "consent"), "")
			if err != nil {
				f.t.Fatal(err)
			}
			b, _ := f.bring("bank", uri, f.held)
			n, err := f.Decide(f.t.Context(), oidc.Ref{Request: b.Request, Browser: f.held}, oidc.Decision{Session: f.me, Source: from})
			if err != nil || !strings.Contains(n.Answer, "error=access_denied") {
				f.t.Error(n, err)
			}
		}, ""},
		{"ensure-authorization-request-without-state-success", func(f fapi) {
			v := f.answered(f.pushes(f.query("state", ""), ""))
			if f.succeeds(v.Get("code")); v.Has("state") {
				f.t.Error(v)
			}
		}, ""},
		{"ensure-authorization-request-without-nonce-success", func(f fapi) { f.succeeds(f.given("nonce", "")) }, ""},
		{"ensure-authorization-request-with-64-char-nonce-success", func(f fapi) { f.nonce(strings.Repeat("n", 64)) }, ""},
		{"ensure-other-scope-order-succeeds", func(f fapi) { f.succeeds(f.given("scope", "offline_access openid")) }, ""},
		{"test-claims-parameter-identity-claims", func(f fapi) {
			f.succeeds(f.given("claims", `{"id_token":{"email":{"essential":true},"name":null},"userinfo":{"address":null}}`))
		}, ""},
		{"ensure-authorization-request-with-long-nonce", func(f fapi) { f.nonce(strings.Repeat("n", long)) }, ""},
		{"ensure-authorization-request-with-long-state", func(f fapi) {
			if v := f.answered(f.pushes(f.query("state", strings.Repeat("s", long)), "")); len(v.Get("state")) != long {
				f.t.Error(v)
			}
		}, ""},
		{"ensure-registered-redirect-uri", func(f fapi) { f.pushRefused("invalid_request", "redirect_uri", callback+"/x") }, ""},
		{"plain-fapi-tolerate-unregistered-redirect-uri", nil, "for providers that take what is not registered; ours does not, as the module before shows"},
		{"ensure-redirect-uri-in-authorization-request", func(f fapi) { f.pushRefused("invalid_request", "redirect_uri", "") }, ""},
		{"ensure-response-type-code-idtoken-fails", func(f fapi) { f.pushRefused("unsupported_response_type", "response_type", "code id_token") }, ""},
		{"ensure-response-type-token-fails", func(f fapi) { f.pushRefused("unsupported_response_type", "response_type", "token") }, ""},
		{"ensure-unsigned-authorization-request-without-using-par-fails", func(f fapi) {
			if v := f.answer(); v.Get("error") != "invalid_request" {
				f.t.Error(v)
			}
		}, ""},
		{"ensure-server-handles-non-matching-intent-id", nil, "of UK Open Banking"},
		{"test-essential-acr-sca-claim", func(f fapi) { // of UK Open Banking: what we have no such acr for is said
			f.pushRefused("unmet_authentication_requirements", "claims", `{"id_token":{"acr":{"essential":true,"values":["urn:openbanking:psd2:sca"]}}}`)
		}, ""},
	}
}

func (f fapi) nonce(n string) {
	f.t.Helper()
	if claims, _ := f.claimsOf(f.succeeds(f.given("nonce", n)).ID); claims["nonce"] != n {
		f.t.Error(claims)
	}
}

func modulesOfKeys() []module {
	return []module{
		{"access-token-type-header-case-sensitivity", nil, atTheDoors},
		{"check-dpop-proof-nbf-exp", nil, ofProofs},
		{"ensure-dpopproof-with-iat-10seconds-before-succeeds", nil, ofProofs},
		{"ensure-dpopproof-with-iat-10seconds-after-succeeds", nil, ofProofs},
		{"ensure-mismatched-dpop-jkt-fails", func(f fapi) {
			_, err := f.pushes(f.query("dpop_jkt", string(thief)), mine)
			f.want("invalid_dpop_proof", err)
		}, ""},
		{"ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt", func(f fapi) {
			_, err := f.exchange(redeeming(f.answered(f.pushes(f.query(), mine)).Get("code")), thief)
			f.want("invalid_grant", err)
		}, ""},
		{"ensure-token-endpoint-fails-with-mismatched-dpop-jkt", func(f fapi) {
			_, err := f.exchange(redeeming(f.given("dpop_jkt", string(mine))), thief)
			f.want("invalid_grant", err)
		}, ""},
		{"ensure-dpopproof-at-par-endpoint-binding-success", func(f fapi) { f.succeeds(f.answered(f.pushes(f.query(), mine)).Get("code")) }, ""},
		{"ensure-dpop-auth-code-binding-success", func(f fapi) { f.succeeds(f.given("dpop_jkt", string(mine))) }, ""},
		{"ensure-holder-of-key-required", func(f fapi) {
			_, err := f.exchange(redeeming(f.given()), "")
			f.want("invalid_dpop_proof", err)
		}, ""},
		{"dpop-negative-tests", nil, ofProofs},
	}
}

// modulesOfObjects are those of Message Signing: the client signs its requests.
func modulesOfObjects() []module {
	const hour = 3600
	return []module{
		{"ensure-request-object-with-multiple-aud-succeeds", func(f fapi) {
			f.succeeds(f.signedTo(map[string]any{"aud": []string{"https://other.example", issuer}}).Get("code"))
		}, ""},
		{"ensure-request-object-with-nbf-8-seconds-in-the-future-is-accepted", func(f fapi) {
			f.succeeds(f.signedTo(map[string]any{"nbf": f.clock.Now().Unix() + 8}).Get("code"))
		}, ""},
		{"ensure-different-nonce-inside-and-outside-request-object", func(f fapi) {
			if claims, _ := f.claimsOf(f.succeeds(f.signedTo(nil, "nonce", "forged").Get("code")).ID); claims["nonce"] != "n-0S6" {
				f.t.Error(claims)
			}
		}, ""},
		{"ensure-different-state-inside-and-outside-request-object", func(f fapi) {
			if v := f.signedTo(nil, "state", "forged"); v.Get("state") != "signed" {
				f.t.Error(v)
			}
		}, ""},
		{"state-only-outside-request-object-not-used", func(f fapi) {
			if v := f.signedTo(map[string]any{"state": nil}, "state", "forged"); v.Has("state") {
				f.t.Error(v)
			}
		}, ""},
		{"ensure-request-object-without-exp-fails", func(f fapi) { f.objectRefused("invalid_request_object", map[string]any{"exp": nil}) }, ""},
		{"ensure-request-object-without-nbf-fails", func(f fapi) { f.objectRefused("invalid_request_object", map[string]any{"nbf": nil}) }, ""},
		{"ensure-request-object-without-redirect-uri-fails", func(f fapi) { f.objectRefused("invalid_request", map[string]any{"redirect_uri": nil}) }, ""},
		{"ensure-expired-request-object-fails", func(f fapi) {
			f.objectRefused("invalid_request_object", map[string]any{"exp": f.clock.Now().Unix() - 1})
		}, ""},
		{"ensure-request-object-with-bad-aud-fails", func(f fapi) { f.objectRefused("invalid_request_object", map[string]any{"aud": "https://x.example"}) }, ""},
		{"ensure-request-object-with-exp-over-60-fails", func(f fapi) {
			f.objectRefused("invalid_request_object", map[string]any{"exp": f.clock.Now().Unix() + hour + 600})
		}, ""},
		{"ensure-request-object-with-nbf-over-60-fails", func(f fapi) {
			f.objectRefused("invalid_request_object", map[string]any{"nbf": f.clock.Now().Unix() - hour - 600})
		}, ""},
		{"ensure-signed-request-object-with-RS256-fails", func(f fapi) {
			rsa := fapi{f.kit.bank(jose.PS256, onFAPI)}
			rsa.succeeds(rsa.signedTo(nil).Get("code"))
			rsa.alg = jose.RS256
			rsa.objectRefused("invalid_request_object", nil)
		}, ""},
		{"ensure-request-object-signature-algorithm-is-not-none", func(f fapi) {
			_, payload, _ := strings.Cut(f.object(nil), ".")
			payload, _, _ = strings.Cut(payload, ".")
			_, err := f.pushes(form("request", "eyJhbGciOiJub25lIiwidHlwIjoib2F1dGgtYXV0aHotcmVxK2p3dCJ9."+payload+"."), "")
			f.want("invalid_request_object", err)
		}, ""},
		{"ensure-request-object-with-invalid-signature-fails", func(f fapi) {
			text := f.object(nil)
			_, err := f.pushes(form("request", text[:strings.LastIndex(text, ".")+1]+strings.Repeat("A", 86)), "")
			f.want("invalid_request_object", err)
		}, ""},
		{"ensure-matching-key-in-authorization-request", func(f fapi) {
			other, _ := keyPair(f.t, jose.ES256)
			f.key = other
			f.objectRefused("invalid_request_object", nil)
		}, ""},
		{"ensure-unsigned-request-at-par-endpoint-fails", func(f fapi) {
			f.client.RequireSigned = true
			f.add(&f.client)
			f.pushRefused("invalid_request")
		}, ""},
		{"par-authorization-request-containing-request_uri", func(f fapi) {
			f.objectRefused("invalid_request_object", map[string]any{"request_uri": "https://client.example/r"})
		}, ""},
		{"par-without-duplicate-parameters", func(f fapi) { f.succeeds(f.signedTo(nil).Get("code")) }, ""},
	}
}

func modulesOfTokens() []module {
	return []module{
		{"ensure-client-id-in-token-endpoint", func(f fapi) {
			f.want("invalid_client", f.calls(oidc.Caller{Method: oidc.ByAssertion, ID: "shop", Assertion: f.signs("", f.claims(nil)), AssertionType: oidc.AssertionType}))
		}, ""},
		{"ensure-authorization-code-is-bound-to-client", func(f fapi) {
			code := f.given()
			other := f.client
			other.ID = "other"
			f.add(&other)
			_, err := f.Exchange(f.t.Context(), other, redeeming(code), oidc.Caller{Key: mine, Source: from})
			f.want("invalid_grant", err)
		}, ""},
		{"attempt-reuse-authorization-code-after-one-second", func(f fapi) {
			code := f.given()
			out := f.succeeds(code)
			f.clock.Advance(time.Second)
			_, err := f.exchange(redeeming(code), mine)
			if f.want("invalid_grant", err); f.active(out.Access) {
				f.t.Error("its tokens live on")
			}
		}, ""},
		{"ensure-token-endpoint-fails-with-expired-auth-code", func(f fapi) {
			code := f.given()
			f.clock.Advance(61 * time.Second)
			_, err := f.exchange(redeeming(code), mine)
			f.want("invalid_grant", err)
		}, ""},
		{"ensure-signed-client-assertion-with-RS256-fails", func(f fapi) {
			rsa := fapi{f.kit.bank(jose.PS256, onFAPI)}
			f.want("", rsa.proves(nil))
			rsa.alg = jose.RS256
			f.want("invalid_client", rsa.proves(nil))
		}, ""},
		{"ensure-client-assertion-in-token-endpoint", func(f fapi) { f.want("invalid_client", f.calls(oidc.Caller{Method: oidc.ByNothing, ID: "bank"})) }, ""},
		{"ensure-client-assertion-with-exp-is-5-minutes-in-past-fails", func(f fapi) {
			f.want("invalid_client", f.proves(map[string]any{"exp": f.clock.Now().Unix() - 300}))
		}, ""},
		{"ensure-client-assertion-with-wrong-aud-fails", func(f fapi) { f.want("invalid_client", f.proves(map[string]any{"aud": "https://x.example"})) }, ""},
		{"ensure-client-assertion-with-no-sub-fails", func(f fapi) { f.want("invalid_client", f.proves(map[string]any{"sub": nil})) }, ""},
		{"refresh-token", func(f fapi) {
			out := f.succeeds(f.given())
			for range 2 {
				if next := f.bound(refreshing(out.Refresh)); !next.Refresh.Empty() {
					f.t.Error("a refresh token takes turns")
				}
			}
		}, ""},
		{"ensure-pkce-code-verifier-required", func(f fapi) {
			_, err := f.exchange(form("grant_type", "authorization_code", "code", f.given(), "redirect_uri", callback), mine)
			f.want("invalid_grant", err)
		}, ""},
		{"incorrect-pkce-code-verifier-rejected", func(f fapi) {
			v := redeeming(f.given())
			v.Set("code_verifier", strings.Repeat("a", 43))
			_, err := f.exchange(v, mine)
			f.want("invalid_grant", err)
		}, ""},
	}
}

func modulesOfPushing() []module {
	reuse := func(f fapi, held secret.Token, finish bool) (string, oidc.Begun, error) {
		uri, err := f.pushes(f.query("prompt", "consent"), "")
		if err != nil {
			f.t.Fatal(err)
		}
		first, err := f.bring("bank", uri, f.held)
		if err != nil {
			f.t.Fatal(err)
		}
		if finish {
			if _, err := f.Decide(f.t.Context(), oidc.Ref{Request: first.Request, Browser: f.held}, oidc.Decision{Session: f.me, Agreed: true, Source: from}); err != nil {
				f.t.Fatal(err)
			}
		}
		again, err := f.bring("bank", uri, held)
		return first.Request, again, err
	}
	return []module{
		{"par-ensure-reused-request-uri-prior-to-auth-completion-succeeds", func(f fapi) {
			if first, again, err := reuse(f, f.held, false); err != nil || again.Request != first {
				f.t.Error(first, again, err)
			}
		}, ""},
		{"par-attempt-reuse-request_uri", func(f fapi) {
			_, _, err := reuse(f, f.held, true)
			f.want("oidc_request_ended", err)
			_, _, err = reuse(f, secret.NewToken(signin.BrowserPrefix), false)
			f.want("oidc_request_ended", err)
		}, ""},
		{"par-attempt-to-use-expired-request_uri", func(f fapi) {
			uri, _ := f.pushes(f.query(), "")
			f.clock.Advance(time.Minute)
			_, err := f.bring("bank", uri, f.held)
			f.want("oidc_request_ended", err)
		}, ""},
		{"par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted", func(f fapi) {
			f.want("", f.proves(map[string]any{"nbf": f.clock.Now().Unix() + 8}))
		}, ""},
		{"par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails", func(f fapi) {
			f.want("invalid_client", f.proves(map[string]any{"nbf": f.clock.Now().Unix() + 61}))
		}, ""},
		{"par-attempt-to-use-request_uri-for-different-client", func(f fapi) {
			uri, _ := f.pushes(f.query(), "")
			_, err := f.bring("shop", uri, f.held)
			f.want("oidc_request_ended", err)
		}, ""},
		{"par-authorization-request-containing-request_uri-form-param", func(f fapi) {
			f.pushRefused("invalid_request", "request_uri", "urn:ietf:params:oauth:request_uri:x")
		}, ""},
		{"par-attempt-invalid-http-method", nil, atTheDoors},
		{"par-ensure-pkce-required", func(f fapi) { f.pushRefused("invalid_request", "code_challenge", "", "code_challenge_method", "") }, ""},
		{"par-plain-pkce-rejected", func(f fapi) { f.pushRefused("invalid_request", "code_challenge_method", "plain") }, ""},
		{"par-test-array-as-audience-fails", func(f fapi) { f.want("invalid_client", f.proves(map[string]any{"aud": []string{issuer}})) }, ""},
		{"par-test-par-endpoint-url-as-audience-fails", func(f fapi) { f.want("invalid_client", f.proves(map[string]any{"aud": issuer + "/oauth/par"})) }, ""},
		{"par-test-token-endpoint-url-as-audience-fails", func(f fapi) { f.want("invalid_client", f.proves(map[string]any{"aud": issuer + "/oauth/token"})) }, ""},
	}
}

// FAPI 2.0 Security Profile and Message Signing, module by module: what the OpenID Foundation's suite does, done here without it.
func TestFAPI(t *testing.T) {
	const many = 73
	seen, elsewhere := map[string]bool{}, ""
	for _, name := range []string{"../dpop/dpop_test.go", "../server/oidc_bound_test.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		elsewhere += string(text)
	}
	for _, m := range fapiModules() {
		if seen[m.name] = true; (m.run == nil) == (m.not == "") {
			t.Errorf("%s: neither run nor not", m.name)
		}
		for _, one := range regexp.MustCompile(`Test\w+`).FindAllString(m.not, -1) {
			if !strings.Contains(elsewhere, "\nfunc "+one+"(") {
				t.Errorf("%s: there is no %s", m.name, one)
			}
		}
	}
	if len(seen) != many {
		t.Errorf("%d modules, want %d", len(seen), many)
	}
	each(t, func(k *kit) {
		k.m.Throttle.Exempt = append(k.m.Throttle.Exempt, prefix("192.0.2.0/24"))
		for _, m := range fapiModules() {
			if m.run == nil { // m.not says where it is tested, or why it does not apply; that is looked at above
				continue
			}
			k.t.Run(m.name, func(t *testing.T) {
				one := *k
				one.t, one.me = t, k.signIn(k.who, assurance.Password, assurance.SMS)
				m.run(fapi{one.bank(jose.ES256, onFAPI)})
			})
		}
	})
}

// What the profile does not allow cannot be registered, and what it wants is switched on with it.
func TestAClientOfFAPI(t *testing.T) {
	_, jwks := keyPair(t, jose.ES256)
	for name, spoil := range map[string]func(c *oidc.Client){
		"a secret":      func(c *oidc.Client) { c.Auth, c.Keys = oidc.ByBasic, "" },
		"public":        func(c *oidc.Client) { c.Auth, c.Keys = oidc.ByNothing, "" },
		"without PKCE":  func(c *oidc.Client) { c.WithoutPKCE = true },
		"RS256":         func(c *oidc.Client) { c.Alg = "RS256" },
		"http":          func(c *oidc.Client) { c.RedirectURIs = []string{"http://127.0.0.1/cb"} },
		"without a key": func(c *oidc.Client) { c.Keys = "" },
	} {
		c := oidc.Client{ID: "bank", Name: "Bank", RedirectURIs: []string{callback}, Auth: oidc.ByAssertion, Keys: jwks, FAPI: true}
		if spoil(&c); c.Check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
	c := oidc.Client{ID: "bank", Name: "Bank", RedirectURIs: []string{callback}, Auth: oidc.ByAssertion, Keys: jwks, FAPI: true}
	if err := c.Check(); err != nil || !c.RequirePAR || !c.DPoP {
		t.Errorf("%+v %v", c, err)
	}
}

// A device that is let in by a typed code pushes and signs nothing: whoever is held to that does not ask by it.
func TestWhoIsHeldToPushedRequestsLetsInNoDevice(t *testing.T) {
	_, jwks := keyPair(t, jose.ES256)
	for what, c := range map[string]oidc.Client{"FAPI": {FAPI: true}, "pushed": {RequirePAR: true}, "signed": {RequireSigned: true}} {
		c.ID, c.Name, c.RedirectURIs, c.Auth, c.Keys, c.Device = "bank", "Bank", []string{callback}, oidc.ByAssertion, jwks, true
		if c.Check() == nil {
			t.Errorf("%s: it is registered for devices, too", what)
		}
	}
}
