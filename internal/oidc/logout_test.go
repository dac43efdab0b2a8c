package oidc_test

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"countersign/internal/assurance"
	"countersign/internal/oidc"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

const bye = "https://shop.example.com/bye?from=us"

// leaving registers where the client's browsers go, and returns an ID token of the session at hand.
func (k *kit) leaving() (idToken string) {
	k.t.Helper()
	k.client.PostLogout = []string{bye}
	if _, err := k.Add(k.t.Context(), k.client); err != nil {
		k.t.Fatal(err)
	}
	return k.tokens(redeeming(k.code())).ID
}

func (k *kit) leave(me session.Session, pairs ...string) oidc.Leaving {
	k.t.Helper()
	l, err := k.Leave(k.t.Context(), form(pairs...), me)
	if err != nil {
		k.t.Fatal(err)
	}
	return l
}

// OpenID Connect RP-Initiated Logout 1.0, A-10.6.2: nobody is asked if the application shows an ID token of this very session.
func TestAnApplicationSignsItsUserOut(t *testing.T) {
	each(t, func(k *kit) {
		token := k.leaving()
		want := bye + "&state=a+b"
		if l := k.leave(k.me, "id_token_hint", token, "post_logout_redirect_uri", bye, "state", "a b"); l != (oidc.Leaving{Back: want}) {
			t.Errorf("of this session: %+v", l)
		}
		if l := k.leave(k.me, "id_token_hint", token, "client_id", "shop", "post_logout_redirect_uri", bye, "logout_hint", "ada", "ui_locales", "fr", "other", "x"); l != (oidc.Leaving{Back: bye}) {
			t.Errorf("with everything else: %+v", l)
		}
		if l := k.leave(k.me, "id_token_hint", token); l != (oidc.Leaving{}) {
			t.Errorf("without a place to go: %+v", l)
		}
		k.clock.Advance(2 * time.Hour)
		if l := k.leave(k.me, "id_token_hint", token); l.Ask {
			t.Errorf("with a token that has expired: %+v", l)
		}
		// Nobody signed in is answered as if somebody had been.
		if l := k.leave(session.Session{}, "id_token_hint", token, "post_logout_redirect_uri", bye, "state", "a b"); l != (oidc.Leaving{Back: want}) {
			t.Errorf("nobody signed in: %+v", l)
		}
	})
}

// Logout by a link on anybody's page: whoever sits there is asked, and the question is the same for everybody.
func TestNobodyIsSignedOutByAStrangersLink(t *testing.T) {
	each(t, func(k *kit) {
		token := k.leaving()
		again := k.signIn(k.who, assurance.Password, assurance.SMS) // the same person, another sign-in
		bob := k.signIn(k.m.Account("bob@example.org"), assurance.Password)
		nobody := session.Session{}
		forged := token[:len(token)-4] + "AAAA"
		other := oidc.Client{ID: "other", Name: "Other", RedirectURIs: []string{callback}, FirstParty: true}
		k.add(&other)
		for name, c := range map[string]struct {
			who   session.Session
			pairs []string
			back  string
		}{
			"nothing":                      {k.me, nil, ""},
			"nothing, and nobody":          {nobody, nil, ""},
			"a name alone":                 {k.me, []string{"client_id", "shop", "post_logout_redirect_uri", bye}, bye},
			"a name alone, and nobody":     {nobody, []string{"client_id", "shop", "post_logout_redirect_uri", bye}, bye},
			"somebody else's token":        {bob, []string{"id_token_hint", token, "post_logout_redirect_uri", bye}, bye},
			"a token of another session":   {again, []string{"id_token_hint", token, "post_logout_redirect_uri", bye}, bye},
			"a forged token":               {k.me, []string{"id_token_hint", forged, "post_logout_redirect_uri", bye}, ""},
			"a forged token, and nobody":   {nobody, []string{"id_token_hint", forged, "post_logout_redirect_uri", bye}, ""},
			"no token at all":              {k.me, []string{"id_token_hint", "x", "post_logout_redirect_uri", bye}, ""},
			"an unsigned token":            {k.me, []string{"id_token_hint", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUub3JnIn0."}, ""},
			"a token of another client":    {k.me, []string{"id_token_hint", token, "client_id", "other", "post_logout_redirect_uri", bye}, ""},
			"a place that is not listed":   {k.me, []string{"id_token_hint", token, "post_logout_redirect_uri", "https://evil.example/"}, ""},
			"a place with more in it":      {k.me, []string{"id_token_hint", token, "post_logout_redirect_uri", bye + "&x=y"}, ""},
			"a place of sign-ins":          {k.me, []string{"id_token_hint", token, "post_logout_redirect_uri", callback}, ""},
			"a place of another client":    {k.me, []string{"client_id", "other", "post_logout_redirect_uri", bye}, ""},
			"a place of nobody":            {k.me, []string{"post_logout_redirect_uri", bye, "state", "x"}, ""},
			"a client that there is not":   {k.me, []string{"client_id", "nobody", "post_logout_redirect_uri", bye}, ""},
			"a state alone":                {k.me, []string{"state", "x"}, ""},
			"an access token for the hint": {k.me, []string{"id_token_hint", k.tokens(redeeming(k.code())).Access.Reveal()}, ""},
		} {
			if l := k.leave(c.who, c.pairs...); !l.Ask || l.Back != c.back {
				t.Errorf("%s: %+v", name, l)
			}
		}
		twice := url.Values{"id_token_hint": {token}, "post_logout_redirect_uri": {bye, "https://evil.example/"}}
		if l, err := k.Leave(t.Context(), twice, k.me); err != nil || !l.Ask || l.Back != "" {
			t.Errorf("two places: %+v %v", l, err)
		}
		// A client that is gone sends nobody anywhere.
		if err := k.Remove(t.Context(), "shop"); err != nil {
			t.Fatal(err)
		}
		if l := k.leave(k.me, "id_token_hint", token, "post_logout_redirect_uri", bye); !l.Ask || l.Back != "" {
			t.Errorf("of a client that is gone: %+v", l)
		}
	})
}

// The line goes on when its holder proves once more who they are: a hint from before is of this session still.
func TestAHintOutlivesSteppingUp(t *testing.T) {
	each(t, func(k *kit) {
		token := k.leaving()
		k.me = k.proveAgain(k.me)
		if l := k.leave(k.me, "id_token_hint", token); l.Ask {
			t.Errorf("asked: %+v", l)
		}
	})
}

// Where browsers go after a logout is registered with the same care as where they go after a sign-in.
func TestPostLogoutURIsAreChecked(t *testing.T) {
	for _, bad := range []string{"http://shop.example.com/bye", "https://shop.example.com/#x", "javascript:alert(1)", "/bye", "https://*.example.com/", "https://u:p@shop.example.com/"} {
		c := oidc.Client{ID: "shop", Name: "Shop", RedirectURIs: []string{callback}, PostLogout: []string{bad}}
		if c.Check() == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// proveAgain puts a new session of the line in the place of one, as a sign-in does that proves once more who somebody is.
func (k *kit) proveAgain(before session.Session) (me session.Session) {
	k.t.Helper()
	k.write(func(tx *sqldb.Tx) error {
		if ok, err := k.Sessions.Replace(k.t.Context(), tx, before.Account, before.ID); err != nil || !ok {
			return errors.Join(err, errors.New("it is not there"))
		}
		st, err := k.Sessions.Start(k.t.Context(), tx, session.New{Account: before.Account, Methods: []assurance.Method{assurance.Password, assurance.OTP}, Origin: before.Origin})
		if err != nil {
			return err
		}
		all, err := k.Sessions.Live(k.t.Context(), tx, before.Account)
		for _, one := range all {
			if one.ID == st.ID {
				me = one
			}
		}
		return err
	})
	return me
}
