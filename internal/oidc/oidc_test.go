package oidc_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/assurance"
	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// claimsOf verifies an ID token by the published keys, as a client does.
func (k *kit) claimsOf(token string) (claims map[string]any, header jose.Header) {
	k.t.Helper()
	text, err := k.JWKS(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		k.t.Fatal(err)
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA})
	if err != nil {
		k.t.Fatal(err)
	}
	header = signed.Signatures[0].Protected
	for _, key := range set.Key(header.KeyID) {
		if payload, err := signed.Verify(key); err == nil {
			if err := json.Unmarshal(payload, &claims); err != nil {
				k.t.Fatal(err)
			}
			return claims, header
		}
	}
	k.t.Fatalf("no published key has signed it: %s", text)
	return nil, header
}

func TestCodeFlow(t *testing.T) {
	each(t, func(k *kit) {
		v := k.answer()
		if v.Get("state") != "xyz" || v.Get("iss") != issuer || v.Get("code") == "" {
			t.Fatalf("answered %v", v)
		}
		out := k.tokens(redeeming(v.Get("code")))
		claims, header := k.claimsOf(out.ID)
		now := float64(k.clock.Now().Unix())
		for name, want := range map[string]any{
			"iss": issuer, "aud": "shop", "nonce": "n-0S6", "acr": "aal2", "iat": now, "exp": now + 600, "auth_time": float64(k.me.AuthenticatedAt.Unix()),
		} {
			if claims[name] != want {
				t.Errorf("%s is %v, want %v", name, claims[name], want)
			}
		}
		if header.Algorithm != "ES256" || fmt.Sprint(claims["amr"]) != "[pwd sms mca mfa]" || claims["at_hash"] == "" {
			t.Errorf("%v %v", header.Algorithm, claims)
		}
		info, err := k.UserInfo(t.Context(), out.Access, oidc.Caller{})
		if err != nil || info["sub"] != claims["sub"] || strings.Contains(fmt.Sprint(claims), string(k.who)) {
			t.Errorf("userinfo %v %v, claims %v", info, err, claims)
		}
		if f, err := k.Introspect(t.Context(), k.client, out.Access); err != nil || !f.Active || f.About.ACR != assurance.AAL2 || f.Client != "shop" {
			t.Errorf("introspected as %+v %v", f, err)
		}
		k.clock.Advance(10*time.Minute + time.Second)
		if k.active(out.Access) {
			t.Error("an access token lasts longer than ten minutes")
		}
		next := k.tokens(refreshing(out.Refresh))
		again, _ := k.claimsOf(next.ID)
		if _, told := again["nonce"]; told || again["sub"] != claims["sub"] || again["auth_time"] != claims["auth_time"] {
			t.Errorf("after a refresh %v", again)
		}
	})
}

// R-OA-20: a code is for a minute, for one client, one redirect URI and one verifier. What does not fit spends nothing.
func TestCodeFitsOneCallAlone(t *testing.T) {
	each(t, func(k *kit) {
		other := oidc.Client{ID: "other", Name: "Other", RedirectURIs: []string{callback}, Auth: oidc.ByNothing}
		k.add(&other)
		code := k.code()
		for name, v := range map[string]url.Values{
			"no verifier":            form("grant_type", "authorization_code", "code", code, "redirect_uri", callback),
			"another verifier":       form("grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", strings.Repeat("a", 43)),
			"another redirect URI":   form("grant_type", "authorization_code", "code", code, "redirect_uri", callback+"/", "code_verifier", verifier),
			"the challenge as plain": form("grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", challengeOf(verifier)),
		} {
			_, err := k.Exchange(t.Context(), k.client, v, oidc.Caller{Source: from})
			if k.refused("invalid_grant", err); t.Failed() {
				t.Fatal(name)
			}
		}
		_, err := k.Exchange(t.Context(), other, redeeming(code), oidc.Caller{Source: from})
		k.refused("invalid_grant", err)
		if out := k.tokens(form("grant_type", "authorization_code", "code", code, "code_verifier", verifier)); out.Access.Empty() { // as OAuth 2.1 has it
			t.Error("nothing came of it")
		}
		late := k.code()
		k.clock.Advance(time.Minute)
		k.exchangeRefused("invalid_grant", redeeming(late))
	})
}

// what comes again ends everything that came of it: one of the two that had it is a thief.
func TestWhatComesAgainEndsItsFamily(t *testing.T) {
	each(t, func(k *kit) {
		code := k.code()
		out := k.tokens(redeeming(code))
		k.exchangeRefused("invalid_grant", redeeming(code))
		if k.active(out.Access) || k.active(out.Refresh) {
			t.Error("a code was used again, and its tokens live on")
		}
		first := k.tokens(redeeming(k.code()))
		second := k.tokens(refreshing(first.Refresh))
		if !k.active(second.Refresh) || k.active(first.Refresh) {
			t.Error("refresh tokens do not take turns")
		}
		k.exchangeRefused("invalid_grant", refreshing(first.Refresh))
		k.exchangeRefused("invalid_grant", refreshing(second.Refresh))
		if k.active(second.Access) || k.active(first.Access) {
			t.Error("a refresh token was used again, and the family's access tokens live on")
		}
	})
}

// R-OA-09: refresh tokens end after 14 days without use, and after 30 in all.
func TestRefreshTokensEnd(t *testing.T) {
	each(t, func(k *kit) {
		idle := k.tokens(redeeming(k.code()))
		used := k.tokens(redeeming(k.code()))
		day := 24 * time.Hour
		for _, wait := range []time.Duration{13 * day, 13 * day} {
			k.clock.Advance(wait)
			used = k.tokens(refreshing(used.Refresh))
		}
		k.exchangeRefused("invalid_grant", refreshing(idle.Refresh))
		k.clock.Advance(4 * day)
		k.exchangeRefused("invalid_grant", refreshing(used.Refresh))
	})
}

// Tokens end with the sessions that they were given in: ended by their holder, by a lock, by time.
func TestTokensEndWithTheSession(t *testing.T) {
	ends := map[string]func(k *kit){
		"signed out": func(k *kit) {
			k.write(func(tx *sqldb.Tx) error {
				_, err := k.Sessions.End(k.t.Context(), tx, k.who, k.me.ID)
				return err
			})
		},
		"all ended": func(k *kit) {
			k.write(func(tx *sqldb.Tx) error { return k.Sessions.EndAll(k.t.Context(), tx, k.who, "not me") })
		},
		"locked": func(k *kit) {
			k.write(func(tx *sqldb.Tx) error { return k.Accounts.Lock(k.t.Context(), tx, k.who) })
		},
		"erased": func(k *kit) {
			k.write(func(tx *sqldb.Tx) error { return k.Erase(k.t.Context(), tx, k.who) })
		},
		"client removed": func(k *kit) {
			if err := k.Remove(k.t.Context(), "shop"); err != nil {
				k.t.Fatal(err)
			}
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			each(t, func(k *kit) {
				kept, plain := k.tokens(redeeming(k.code())), k.tokens(redeeming(k.code("scope", "openid")))
				unused := k.code()
				end(k)
				if k.active(kept.Access) || k.active(kept.Refresh) || k.active(plain.Access) {
					k.t.Error("a token lives on")
				}
				k.exchangeRefused("invalid_grant", refreshing(kept.Refresh))
				k.exchangeRefused("invalid_grant", redeeming(unused))
			})
		})
	}
	t.Run("run out, with offline_access", func(t *testing.T) {
		each(t, func(k *kit) {
			kept := k.tokens(redeeming(k.code()))
			k.clock.Advance(7 * 24 * time.Hour)
			kept = k.tokens(refreshing(kept.Refresh))
			k.write(func(tx *sqldb.Tx) error { return k.Sessions.EndAll(k.t.Context(), tx, k.who, "not me") })
			k.exchangeRefused("invalid_grant", refreshing(kept.Refresh))
		})
	})
	t.Run("run out, without", func(t *testing.T) {
		each(t, func(k *kit) {
			if out := k.tokens(redeeming(k.code("scope", "openid"))); !out.Refresh.Empty() {
				k.t.Error("a refresh token that nobody asked for")
			}
			code := k.code("scope", "openid")
			k.clock.Advance(30 * time.Second)
			k.write(func(tx *sqldb.Tx) error {
				_, err := tx.Exec(k.t.Context(), `UPDATE session SET expires_at = $1 WHERE id = $2`, k.clock.Now().UnixMilli(), k.me.ID)
				return err
			})
			k.exchangeRefused("invalid_grant", redeeming(code))
		})
	})
}

// Stepping up for one application signs nobody out of another: what was given belongs to the line of sessions.
func TestTokensFollowTheLineOfSessions(t *testing.T) {
	each(t, func(k *kit) {
		out := k.tokens(redeeming(k.code("scope", "openid")))
		k.write(func(tx *sqldb.Tx) error {
			if _, err := k.Sessions.End(t.Context(), tx, k.who, k.me.ID); err != nil {
				return err
			}
			st, err := k.Sessions.Start(t.Context(), tx, session.New{Account: k.who, Methods: []assurance.Method{assurance.Password}, Origin: k.me.Origin})
			k.me.ID = st.ID
			return err
		})
		if !k.active(out.Access) {
			t.Error("proving once more who one is has ended the tokens of an application")
		}
		k.write(func(tx *sqldb.Tx) error {
			_, err := k.Sessions.End(t.Context(), tx, k.who, k.me.ID)
			return err
		})
		if k.active(out.Access) {
			t.Error("the line has ended, and a token lives on")
		}
	})
}

// R-OI-03, R-OI-04, R-SU-02, R-SU-03: what a request lacks, and what it is answered with where nobody may be asked.
func TestWhatARequestLacks(t *testing.T) {
	for name, c := range map[string]struct {
		ask  []string
		less bool // the session proved a password alone
		out  bool // nobody is signed in
		want oidc.Step
		none string // with prompt=none
	}{
		"nothing":                    {want: oidc.StepAnswer},
		"somebody signed in":         {out: true, want: oidc.StepSignIn, none: "login_required"},
		"a sign-in of its own":       {ask: []string{"prompt", "login"}, want: oidc.StepAgain},
		"a newer sign-in":            {ask: []string{"max_age", "60"}, want: oidc.StepAgain, none: "login_required"},
		"a sign-in that is new":      {ask: []string{"max_age", "600"}, want: oidc.StepAnswer},
		"consent":                    {ask: []string{"prompt", "consent"}, want: oidc.StepConsent},
		"a choice":                   {ask: []string{"prompt", "select_account"}, want: oidc.StepConsent},
		"a stronger sign-in":         {ask: []string{"acr_values", "aal2"}, less: true, want: oidc.StepAgain, none: "login_required"},
		"one that is strong enough":  {ask: []string{"acr_values", "aal2"}, want: oidc.StepAnswer},
		"the weaker of two":          {ask: []string{"acr_values", "aal3 aal1"}, less: true, want: oidc.StepAnswer},
		"what nobody knows":          {ask: []string{"acr_values", "urn:gold 2"}, less: true, want: oidc.StepAnswer},
		"an unknown parameter":       {ask: []string{"colour", "blue"}, want: oidc.StepAnswer},
		"a hint that nobody reads":   {ask: []string{"login_hint", "eve@example.org"}, want: oidc.StepAnswer},
		"an account that is not new": {ask: []string{"max_age", "0"}, want: oidc.StepAgain, none: "login_required"},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(k *kit) {
				if c.less {
					k.me = k.signIn(k.who, assurance.Password)
				}
				if c.out {
					k.me = session.Session{}
				}
				k.clock.Advance(2 * time.Minute)
				if n := k.stands(k.begin(c.ask...).Request); n.Step != c.want {
					k.t.Errorf("wants %s, want %s", n.Step, c.want)
				}
				if c.none == "" {
					return
				}
				if v := k.answer(append([]string{"prompt", "none"}, c.ask...)...); v.Get("error") != c.none || v.Get("state") != "xyz" || v.Get("iss") != issuer {
					k.t.Errorf("prompt=none answers %v, want %s", v, c.none)
				}
			})
		})
	}
}

// After a sign-in of its own a request is content, or says that nothing stronger is to be had.
func TestAnotherSignInIsLookedAt(t *testing.T) {
	each(t, func(k *kit) {
		fresh, strong := k.begin("prompt", "login"), k.begin("acr_values", "aal3")
		k.clock.Advance(time.Second)
		k.me = k.signIn(k.who, assurance.Password, assurance.SMS)
		if n := k.stands(fresh.Request); n.Step != oidc.StepAnswer || !strings.Contains(n.Answer, "code=") {
			t.Errorf("stands at %+v", n)
		}
		if n := k.stands(strong.Request); !strings.Contains(n.Answer, "error=unmet_authentication_requirements") {
			t.Errorf("stands at %+v", n)
		}
	})
}

// holders are asked once, about what was asked for, and can say no.
func TestConsentIsRemembered(t *testing.T) {
	each(t, func(k *kit) {
		k.client = oidc.Client{ID: "blog", Name: "Blog", RedirectURIs: []string{callback}, Scopes: []string{"openid", "offline_access"}}
		k.add(&k.client)
		if v := k.answer("prompt", "none", "scope", "openid"); v.Get("error") != "consent_required" {
			t.Errorf("answered %v", v)
		}
		decide := func(request string, agreed bool) oidc.Next {
			n, err := k.Decide(t.Context(), oidc.Ref{Request: request, Browser: k.held}, oidc.Decision{Session: k.me, Agreed: agreed, Source: from})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := decide(k.begin("scope", "openid").Request, false); !strings.Contains(n.Answer, "error=access_denied") {
			t.Errorf("after a no %+v", n)
		}
		b := k.begin("scope", "openid")
		if n := k.stands(b.Request); n.Step != oidc.StepConsent || n.Name != "Blog" || n.Host != "shop.example.com" || !slices.Equal(n.Scopes, []string{"openid"}) {
			t.Fatalf("stands at %+v", n)
		}
		if n := decide(b.Request, true); !strings.Contains(n.Answer, "code=") {
			t.Errorf("after a yes %+v", n)
		}
		if _, err := k.Decide(t.Context(), oidc.Ref{Request: b.Request, Browser: k.held}, oidc.Decision{Session: k.me, Agreed: true}); fault.Of(err).Code != "oidc_request_ended" {
			t.Errorf("a request was answered twice: %v", err)
		}
		k.code("scope", "openid") // not asked again
		if n := k.stands(k.begin().Request); n.Step != oidc.StepConsent {
			t.Errorf("more was asked for than was agreed to, and the request stands at %s", n.Step)
		}
	})
}

// P6, A-2.3.4: one code, and one refresh token, a thousand times at once through two nodes.
func TestOfAThousandRedemptionsAtOnceOneIsSuccessful(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			address, ring, clock := dbtest.NewURL(t, engine), testkit.Ring(t), dbtest.NewClock()
			var nodes [2]*kit
			for i := range nodes {
				m := testkit.NewMachine(t, dbtest.Open(t, address, clock), ring)
				m.Throttle.Exempt = append(m.Throttle.Exempt, prefix("192.0.2.0/24"))
				nodes[i] = &kit{t: t, Service: provider(m), m: m, clock: clock, held: secret.NewToken(signin.BrowserPrefix)}
			}
			k := nodes[0]
			k.client = oidc.Client{ID: "shop", Name: "Shop", RedirectURIs: []string{callback}, Scopes: []string{"openid", "offline_access"}, FirstParty: true}
			k.add(&k.client)
			k.who = k.m.Account("ada@example.org")
			k.me = k.signIn(k.who, assurance.Password, assurance.SMS)
			for name, v := range map[string]url.Values{
				"code":          redeeming(k.code()),
				"refresh token": refreshing(k.tokens(redeeming(k.code())).Refresh),
			} {
				const many = 1000
				var won atomic.Int32
				var all sync.WaitGroup
				for i := range many {
					all.Go(func() {
						switch _, err := nodes[i%2].Exchange(t.Context(), k.client, v, oidc.Caller{Source: from}); {
						case err == nil:
							won.Add(1)
						case fault.Of(err).Kind == fault.Internal:
							k.refused("invalid_grant", err)
						}
					})
				}
				all.Wait()
				if won.Load() != 1 {
					t.Errorf("%s: %d of %d were successful, want 1", name, won.Load(), many)
				}
			}
		})
	}
}
