package oidc_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign/internal/dpop"
	"countersign/internal/oidc"
)

// The thumbprints of two keys. Whether a proof is one is package dpop's to say; what a key that was proved is good for is decided here.
const (
	mine  dpop.Thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
	thief dpop.Thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
)

func (k *kit) exchange(v url.Values, key dpop.Thumbprint) (oidc.Tokens, error) {
	k.t.Helper()
	return k.Exchange(k.t.Context(), k.client, v, oidc.Caller{Key: key, Source: from})
}

func (k *kit) bound(v url.Values) oidc.Tokens {
	k.t.Helper()
	out, err := k.exchange(v, mine)
	if err != nil || out.Key != mine {
		k.t.Fatalf("bound to %q: %v", out.Key, err)
	}
	return out
}

// app has the kit go on with a public client, an app that is asked about no consent.
func (k *kit) app() {
	k.client = oidc.Client{
		ID: "app", Name: "App", RedirectURIs: []string{callback}, Auth: oidc.ByNothing, Scopes: []string{"openid", "offline_access"}, FirstParty: true,
	}
	k.add(&k.client)
}

// R-DP-04, R-DP-05: a bound token is worth nothing to whoever has it without its key, and says so to resource servers.
func TestABoundTokenNeedsItsKey(t *testing.T) {
	each(t, func(k *kit) {
		out, plain := k.bound(redeeming(k.code())), k.tokens(redeeming(k.code()))
		if f, err := k.Introspect(t.Context(), k.client, out.Access); err != nil || f.Key != mine {
			t.Errorf("introspected as %+v, %v", f, err)
		}
		if f, err := k.Introspect(t.Context(), k.client, plain.Access); err != nil || f.Key != "" || plain.Key != "" {
			t.Errorf("one that is not bound: %+v, %v", f, err)
		}
		if _, err := k.UserInfo(t.Context(), out.Access, oidc.Caller{Key: mine}); err != nil {
			t.Error(err)
		}
		for name, c := range map[string]struct {
			token oidc.Tokens
			key   dpop.Thumbprint
		}{"as a bearer's": {out, ""}, "with another key": {out, thief}, "one that is not bound, with a key": {plain, mine}} {
			_, err := k.UserInfo(t.Context(), c.token.Access, oidc.Caller{Key: c.key})
			if k.refused("invalid_token", err); t.Failed() {
				t.Fatal(name)
			}
		}
	})
}

// R-DP-07: a code is for the key that was announced, in the request or by a proof where it was pushed. A thief who has code and verifier has nothing.
func TestACodeOfAnAnnouncedKey(t *testing.T) {
	each(t, func(k *kit) {
		pushed := func() string {
			uri, _, err := k.Push(t.Context(), k.client, k.query(), oidc.Caller{Key: mine, Source: from})
			if err != nil {
				t.Fatal(err)
			}
			b, err := k.bring("shop", uri, k.held)
			if err != nil {
				t.Fatal(err)
			}
			to, err := url.Parse(k.stands(b.Request).Answer)
			if err != nil {
				t.Fatal(err)
			}
			return to.Query().Get("code")
		}
		for name, code := range map[string]string{"in the request": k.code("dpop_jkt", string(mine)), "where it was pushed": pushed()} {
			for _, key := range []dpop.Thumbprint{"", thief} {
				_, err := k.exchange(redeeming(code), key)
				if k.refused("invalid_grant", err); t.Failed() {
					t.Fatal(name)
				}
			}
			k.bound(redeeming(code)) // which nobody has spent
		}
		_, _, err := k.Push(t.Context(), k.client, k.query("dpop_jkt", string(thief)), oidc.Caller{Key: mine, Source: from})
		k.refused("invalid_dpop_proof", err)
		for _, no := range []string{"x", string(mine) + "A", strings.Repeat("!", 43)} {
			v := k.query()
			v.Set("dpop_jkt", no)
			b, err := k.Begin(t.Context(), oidc.Asked{Query: v, Browser: k.held, Session: k.me, Source: from})
			if err != nil || !strings.Contains(b.Answer, "error=invalid_request") {
				t.Errorf("%q: %+v %v", no, b, err)
			}
		}
	})
}

// agreed is the code of a request whose holder was asked.
func (k *kit) agreed() string {
	k.t.Helper()
	n, err := k.Decide(k.t.Context(), oidc.Ref{Request: k.begin().Request, Browser: k.held}, oidc.Decision{Session: k.me, Agreed: true, Source: from})
	if err != nil {
		k.t.Fatal(err)
	}
	to, _ := url.Parse(n.Answer)
	return to.Query().Get("code")
}

// R-DP-08, A-10.4.5: an app's refresh token is bound to its key, so it stays what it is: whoever loses an answer on the way asks again.
func TestARefreshTokenThatIsBoundStays(t *testing.T) {
	each(t, func(k *kit) {
		k.app()
		first := k.bound(redeeming(k.agreed()))
		for range 3 {
			k.clock.Advance(9 * 24 * time.Hour) // 27 days in all, and 14 without use would be too many
			if next := k.bound(refreshing(first.Refresh)); !next.Refresh.Empty() || next.Access.Equal(first.Access) {
				t.Fatal("another refresh token, or the same access token")
			}
		}
		for _, key := range []dpop.Thumbprint{"", thief} {
			_, err := k.exchange(refreshing(first.Refresh), key)
			k.refused("invalid_grant", err)
		}
		k.bound(refreshing(first.Refresh))  // what a thief tried ends nothing of the holder's
		k.clock.Advance(4 * 24 * time.Hour) // and 30 days in all end it
		_, err := k.exchange(refreshing(first.Refresh), mine)
		k.refused("invalid_grant", err)
	})
}

// A client with a secret shows it with each call: its refresh tokens take turns, and its keys may as well (RFC 9449 section 5). What began to be
// bound is not given to a bearer.
func TestBoundTokensOfAClientWithASecret(t *testing.T) {
	each(t, func(k *kit) {
		first := k.bound(redeeming(k.code()))
		_, err := k.exchange(refreshing(first.Refresh), "")
		k.refused("invalid_grant", err)
		next, err := k.exchange(refreshing(first.Refresh), thief) // which is the client's own next key here
		if err != nil || next.Key != thief || next.Refresh.Empty() {
			t.Fatalf("%+v %v", next, err)
		}
		_, err = k.exchange(refreshing(first.Refresh), mine)
		if k.refused("invalid_grant", err); k.active(next.Access) {
			t.Error("a refresh token came again, and its family lives on")
		}
		// One that was not bound begins to be.
		plain := k.tokens(redeeming(k.code()))
		more := k.bound(refreshing(plain.Refresh))
		_, err = k.exchange(refreshing(more.Refresh), "")
		k.refused("invalid_grant", err)
	})
}

// Whoever has an app's token that is not bound may bind what comes next to a key of their own. The app's own next call ends that.
func TestABearersTokenThatAThiefHasBound(t *testing.T) {
	each(t, func(k *kit) {
		k.app()
		first := k.tokens(redeeming(k.agreed()))
		stolen, err := k.exchange(refreshing(first.Refresh), thief)
		if err != nil {
			t.Fatal(err)
		}
		k.exchangeRefused("invalid_grant", refreshing(first.Refresh))
		if k.active(stolen.Access) || k.active(stolen.Refresh) {
			t.Error("the thief's tokens live on")
		}
	})
}

// R-DP-09, R-FA-05: a client whose tokens are bound gets none without a proof, and spends nothing by asking.
func TestAClientWhoseTokensAreBound(t *testing.T) {
	each(t, func(k *kit) {
		k.client.DPoP = true
		k.add(&k.client)
		code := k.code()
		k.exchangeRefused("invalid_dpop_proof", redeeming(code))
		out := k.bound(redeeming(code))
		k.exchangeRefused("invalid_dpop_proof", refreshing(out.Refresh))
		k.bound(refreshing(out.Refresh))
		_, err := k.exchange(redeeming(code), mine)
		if k.refused("invalid_grant", err); k.active(out.Access) {
			t.Error("a code came again, and its tokens live on")
		}
	})
}
