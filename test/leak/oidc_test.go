package leak_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/oidc"
	"countersign/internal/platform/config"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit/servertest"
)

const (
	callback = "https://shop.example.com/callback"
	verifier = "a-verifier-of-43-characters-or-more-0123456789"
)

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// application registers one that has a secret, and nobody is asked to consent to. It returns what proves the application.
func application(t testing.TB, n *servertest.Node, c oidc.Client) (known oidc.Client, basic string) {
	t.Helper()
	c.Name, c.FirstParty = "Corner Shop", true
	token, err := n.Core().Applications.Add(t.Context(), c)
	if err == nil {
		err = c.Check() // as Add has completed it
	}
	if err != nil {
		t.Fatal(err)
	}
	return c, "Basic " + base64.StdEncoding.EncodeToString([]byte(c.ID+":"+token.Reveal()))
}

func shop(id string) oidc.Client {
	return oidc.Client{ID: id, RedirectURIs: []string{callback}, Scopes: []string{"openid", "offline_access"}}
}

// asking is where the shop sends a browser; pairs are more of its parameters.
func asking(pairs ...string) url.Values {
	v := url.Values{
		"client_id": {"shop"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid"},
		"code_challenge": {challenge()}, "code_challenge_method": {"S256"}, "state": {"xyz"}, "nonce": {"abc"},
	}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// P2, A-10.2: an application that says whom it expects, and whoever reads its links, is shown the same whoever that is, from the
// request through the sign-in to the answer.
func TestALoginHintTellsNothing(t *testing.T) {
	each(t, func(t *testing.T, link string) {
		n, all := world(t, link, true)
		all = slices.DeleteFunc(all, func(s *subject) bool {
			return s.known && !slices.Contains([]string{"e-mail", "e-mail of one with a phone", "user name only", "locked, right password", "right password, with an app and backup codes", "right password, by phone"}, s.label)
		})
		application(t, n, shop("shop"))
		wish := map[*visitor]string{} // what the sign-in is for
		ask := func(pairs ...string) func(*visitor, *subject) answer {
			return func(v *visitor, s *subject) answer {
				a := v.get("/authorize?" + asking(append([]string{"login_hint", s.name}, pairs...)...).Encode())
				if to, err := url.Parse(v.path); err == nil && to.Query().Has("for") {
					wish[v] = to.Query().Get("for")
				}
				return a
			}
		}
		follow := func(v *visitor, _ *subject) answer { return v.get(v.path) }
		back := func(v *visitor, _ *subject) answer {
			return v.get("/authorize/" + strings.TrimPrefix(wish[v], "app/"))
		}
		run(t, n, all, []step{
			{label: "nobody may be asked", do: ask("prompt", "none")},
			{label: "a request that is not in order", do: ask("response_type", "token")},
			{label: "posted by a page of the application's", do: func(v *visitor, s *subject) answer {
				return v.exchange(v.request(http.MethodPost, "/authorize", "application/x-www-form-urlencoded", asking("login_hint", s.name).Encode()))
			}},
			{label: "the request", do: ask("prompt", "login", "acr_values", "aal2", "max_age", "60")},
			{label: "the sign-in's page", do: follow},
			{label: "back before anything", do: back},
			{label: "name and password", do: func(v *visitor, s *subject) answer {
				return v.form("/signin", "username", s.name, "password", s.password, "for", wish[v])
			}},
			{label: "the code's page", do: follow},
			{label: "wrong code", do: func(v *visitor, _ *subject) answer { return v.form("/signin/"+v.flow+"/code", "code", "000000") }},
			{label: "back without a sign-in", do: back},
			{label: "agreed without a sign-in", do: func(v *visitor, _ *subject) answer {
				return v.form("/authorize/"+strings.TrimPrefix(wish[v], "app/"), "decision", "allow")
			}},
			{label: "somebody else", do: func(v *visitor, _ *subject) answer {
				return v.form("/authorize/" + strings.TrimPrefix(wish[v], "app/") + "/other")
			}},
			{label: "when it is over", wait: 31 * time.Minute, do: back},
		}, byWaysOffered)
	})
}

// given is what an application holds for somebody.
type given struct{ code, access, refresh string }

// give signs somebody in for an application twice: for a code, and for one that it has exchanged.
func give(t testing.TB, n *servertest.Node, c oidc.Client, who account.ID) (g given) {
	t.Helper()
	core := n.Core()
	var me session.Session
	err := core.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		st, err := core.Sessions.Start(t.Context(), tx, session.New{Account: who, Methods: []assurance.Method{assurance.Password, assurance.SMS}})
		if err != nil {
			return err
		}
		live, err := core.Sessions.Live(t.Context(), tx, who)
		me = live[slices.IndexFunc(live, func(one session.Session) bool { return one.ID == st.ID })]
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	from, held := netip.MustParseAddr("192.0.2.7"), secret.NewToken(signin.BrowserPrefix)
	code := func() string {
		asked := asking("client_id", c.ID, "scope", "openid offline_access")
		b, err := core.Applications.Begin(t.Context(), oidc.Asked{Query: asked, Browser: held, Session: me, Source: from})
		if err != nil {
			t.Fatal(err)
		}
		next, err := core.Applications.At(t.Context(), oidc.Ref{Request: b.Request, Browser: held}, me, from)
		if err != nil {
			t.Fatal(err)
		}
		to, err := url.Parse(next.Answer)
		if err != nil || to.Query().Get("code") == "" {
			t.Fatalf("answered %q: %v", next.Answer, err)
		}
		return to.Query().Get("code")
	}
	tokens, err := core.Applications.Exchange(t.Context(), c, redeeming(code()), oidc.Caller{Source: from})
	if err != nil {
		t.Fatal(err)
	}
	return given{code: code(), access: tokens.Access.Reveal(), refresh: tokens.Refresh.Reveal()}
}

func redeeming(code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}
}

func refreshing(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

// strayed are tokens in the hands of an application that they were not given to: invented ones, and good and dead ones of another.
func strayed(t *testing.T, n *servertest.Node, of oidc.Client) (all []*subject, has map[*subject]given) {
	t.Helper()
	has = map[*subject]given{}
	add := func(label string, known bool, g given) {
		s := &subject{label: label, known: known}
		has[s], all = g, append(all, s)
	}
	invented := func() given {
		return given{secret.NewToken("csg").Reveal(), secret.NewToken("cst").Reveal(), secret.NewToken("csx").Reveal()}
	}
	account := func(name string) account.ID { return n.Account(name + "@maildomain.example") }
	add("first of all", false, invented())
	all[0].first = true
	add("too old", true, give(t, n, of, account("tooold")))
	n.Clock.Advance(31 * 24 * time.Hour)
	add("invented", false, invented())
	add("good", true, give(t, n, of, account("good")))
	revoked := give(t, n, of, account("revoked"))
	if err := n.Core().Applications.Revoke(t.Context(), of, secret.Of(revoked.refresh), netip.MustParseAddr("192.0.2.7")); err != nil {
		t.Fatal(err)
	}
	add("revoked", true, revoked)
	used := give(t, n, of, account("used"))
	for _, form := range []url.Values{refreshing(used.refresh), redeeming(used.code)} {
		if _, err := n.Core().Applications.Exchange(t.Context(), of, form, oidc.Caller{Source: netip.MustParseAddr("192.0.2.7")}); err != nil {
			t.Fatal(err)
		}
	}
	add("used", true, used)
	locked, gone := account("locked"), account("gone")
	add("of one who is locked", true, give(t, n, of, locked))
	add("of one who is erased", true, give(t, n, of, gone))
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error { return n.Core().Accounts.Lock(t.Context(), tx, locked) })
	if err == nil {
		err = n.Core().Owner.Erase(t.Context(), gone, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range all {
		s.visitor = newVisitor(t, n, fmt.Sprintf("10.170.1%02d.101", i))
	}
	return all, has
}

// I-01, RFC 7009, RFC 7662: an application that holds a code or a token that is not its own can tell from no answer whether it is good,
// whose, or was never there; and does nothing to it.
func TestNobodyCanTellWhatIsWrongWithAToken(t *testing.T) {
	each(t, func(t *testing.T, link string) {
		n := servertest.Start(t, servertest.Options{Database: link, Idle: true, Config: func(c *config.Config) {
			c.HTTP.TrustedProxies = []string{"127.0.0.0/8"}
		}})
		owner, basic := application(t, n, shop("shop"))
		_, thief := application(t, n, shop("other"))
		all, has := strayed(t, n, owner)
		for _, s := range all {
			s.visitor.header.Set("Authorization", thief)
		}
		post := func(path oidc.Endpoint, form func(g given) url.Values) func(*visitor, *subject) answer {
			return func(v *visitor, s *subject) answer {
				return v.exchange(v.request(http.MethodPost, string(path), "application/x-www-form-urlencoded", form(has[s]).Encode()))
			}
		}
		token := func(pick func(g given) string, more ...string) func(g given) url.Values {
			return func(g given) url.Values {
				v := url.Values{"token": {pick(g)}}
				if len(more) > 0 {
					v.Set("token_type_hint", more[0])
				}
				return v
			}
		}
		access, refresh := func(g given) string { return g.access }, func(g given) string { return g.refresh }
		run(t, n, all, []step{
			{label: "ask about an access token", do: post(oidc.IntrospectPath, token(access))},
			{label: "ask about a refresh token", do: post(oidc.IntrospectPath, token(refresh, "refresh_token"))},
			{label: "ask about a code", do: post(oidc.IntrospectPath, token(func(g given) string { return g.code }))},
			{label: "redeem a code", do: post(oidc.TokenPath, func(g given) url.Values { return redeeming(g.code) })},
			{label: "redeem a code without its verifier", do: post(oidc.TokenPath, func(g given) url.Values {
				v := redeeming(g.code)
				v.Del("code_verifier")
				return v
			})},
			{label: "refresh", do: post(oidc.TokenPath, func(g given) url.Values { return refreshing(g.refresh) })},
			{label: "refresh with an access token", do: post(oidc.TokenPath, func(g given) url.Values { return refreshing(g.access) })},
			{label: "revoke an access token", do: post(oidc.RevokePath, token(access))},
			{label: "revoke a refresh token", do: post(oidc.RevokePath, token(refresh, "access_token"))},
			{label: "who is it, by a refresh token", do: func(v *visitor, s *subject) answer {
				v.header.Set("Authorization", "Bearer "+has[s].refresh)
				return v.get(string(oidc.UserInfoPath))
			}},
			{label: "who is it, by an access token", do: func(v *visitor, s *subject) answer {
				g := has[s]
				if s.label == "good" || s.label == "used" { // whoever has one may ask: that is what it is for
					g.access = secret.NewToken("cst").Reveal()
				}
				v.header.Set("Authorization", "Bearer "+g.access)
				return v.get(string(oidc.UserInfoPath))
			}},
		}, together)
		for s, g := range has {
			if s.label != "good" {
				continue
			}
			mine := newVisitor(t, n, "10.171.100.101")
			mine.header.Set("Authorization", basic)
			for _, form := range []url.Values{redeeming(g.code), refreshing(g.refresh)} {
				if a := mine.exchange(mine.request(http.MethodPost, string(oidc.TokenPath), "application/x-www-form-urlencoded", form.Encode())); a.status != http.StatusOK {
					t.Errorf("what another application did to it shows: %d %s", a.status, a.body)
				}
			}
		}
	})
}
