package oidc_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"testing"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/oidc"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

const (
	issuer   = "https://id.example.org"
	callback = "https://shop.example.com/callback"
	verifier = "this-is-a-verifier-of-at-least-43-characters-0123"
)

var from = netip.MustParseAddr("192.0.2.7")

// kit is a provider with a client, a person and their browser.
type kit struct {
	t *testing.T
	*oidc.Service
	m      *testkit.Machine
	clock  *dbtest.Clock
	client oidc.Client
	token  secret.Token // the client's secret
	who    account.ID
	me     session.Session
	held   secret.Token // the browser's secret
}

func provider(m *testkit.Machine) *oidc.Service {
	return &oidc.Service{
		DB: m.DB, Ring: m.Ring, Audit: m.Audit, Throttle: m.Throttle, Accounts: m.Accounts, Sessions: m.Sessions, SignIn: m.Service, Issuer: issuer,
		Log: slog.New(slog.DiscardHandler),
	}
}

// each runs a test on both engines.
func each(t *testing.T, f func(k *kit)) {
	t.Helper()
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		m := testkit.NewMachine(t, db, testkit.Ring(t))
		k := &kit{t: t, Service: provider(m), m: m, clock: clock, held: secret.NewToken(signin.BrowserPrefix)}
		k.client = oidc.Client{ID: "shop", Name: "Shop", RedirectURIs: []string{callback}, Scopes: []string{"openid", "offline_access"}, FirstParty: true}
		k.token = k.add(&k.client)
		k.who = m.Account("ada@example.org")
		k.me = k.signIn(k.who, assurance.Password, assurance.SMS)
		f(k)
	})
}

func (k *kit) add(c *oidc.Client) secret.Token {
	k.t.Helper()
	token, err := k.Add(k.t.Context(), *c)
	if err != nil {
		k.t.Fatal(err)
	}
	if err := c.Check(); err != nil { // as Add has completed it
		k.t.Fatal(err)
	}
	return token
}

func (k *kit) write(f func(tx *sqldb.Tx) error) {
	k.t.Helper()
	if err := k.DB.Write(k.t.Context(), f); err != nil {
		k.t.Fatal(err)
	}
}

// signIn opens a session, as a sign-in does that proved so much.
func (k *kit) signIn(who account.ID, methods ...assurance.Method) (me session.Session) {
	k.t.Helper()
	k.write(func(tx *sqldb.Tx) error {
		st, err := k.Sessions.Start(k.t.Context(), tx, session.New{Account: who, Name: "Firefox", Methods: methods})
		if err != nil {
			return err
		}
		all, err := k.Sessions.Live(k.t.Context(), tx, who)
		for _, one := range all {
			if one.ID == st.ID {
				me = one
			}
		}
		return err
	})
	return me
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// query is a request that is in order, with changes: pairs of a name and a value, which is left out if it is empty.
func (k *kit) query(changes ...string) url.Values {
	v := url.Values{
		"client_id": {k.client.ID}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid offline_access"},
		"state": {"xyz"}, "nonce": {"n-0S6"}, "code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(changes); i += 2 {
		if v.Del(changes[i]); changes[i+1] != "" {
			v.Set(changes[i], changes[i+1])
		}
	}
	return v
}

func (k *kit) begin(changes ...string) oidc.Begun {
	k.t.Helper()
	b, err := k.Begin(k.t.Context(), oidc.Asked{Query: k.query(changes...), Browser: k.held, Session: k.me, Source: from})
	if err != nil {
		k.t.Fatal(err)
	}
	return b
}

// stands is what a request wants, for whoever is signed in.
func (k *kit) stands(request string) oidc.Next {
	k.t.Helper()
	n, err := k.At(k.t.Context(), oidc.Ref{Request: request, Browser: k.held}, k.me, from)
	if err != nil {
		k.t.Fatal(err)
	}
	return n
}

func (k *kit) answer(changes ...string) url.Values {
	k.t.Helper()
	b := k.begin(changes...)
	if b.Answer == "" {
		b.Answer = k.stands(b.Request).Answer
	}
	u, err := url.Parse(b.Answer)
	if err != nil || b.Answer == "" {
		k.t.Fatalf("answered %q: %v", b.Answer, err)
	}
	return u.Query()
}

func (k *kit) code(changes ...string) string {
	k.t.Helper()
	v := k.answer(changes...)
	if v.Get("code") == "" {
		k.t.Fatalf("no code: %v", v)
	}
	return v.Get("code")
}

func form(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

func redeeming(code string) url.Values {
	return form("grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier)
}

func refreshing(t secret.Token) url.Values {
	return form("grant_type", "refresh_token", "refresh_token", t.Reveal())
}

func (k *kit) tokens(v url.Values) oidc.Tokens {
	k.t.Helper()
	out, err := k.Exchange(k.t.Context(), k.client, v, oidc.Caller{Source: from})
	if err != nil {
		k.t.Fatal(err)
	}
	return out
}

// refused demands an error in the words of OAuth.
func (k *kit) refused(want string, err error) {
	k.t.Helper()
	if no, ok := errors.AsType[*oidc.Refusal](err); !ok || no.Word != want {
		k.t.Errorf("got %v, want %s", err, want)
	}
}

func (k *kit) exchangeRefused(want string, v url.Values) {
	k.t.Helper()
	_, err := k.Exchange(k.t.Context(), k.client, v, oidc.Caller{Source: from})
	k.refused(want, err)
}

// active reports whether a token is worth anything.
func (k *kit) active(t secret.Token) bool {
	k.t.Helper()
	f, err := k.Introspect(k.t.Context(), k.client, t)
	if err != nil {
		k.t.Fatal(err)
	}
	return f.Active
}
