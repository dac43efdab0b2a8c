package oidc_test

import (
	"testing"
	"time"

	"countersign/internal/oidc"
	"countersign/internal/platform/secret"
)

func inItsOwnName(scope string) (v map[string][]string) {
	v = form("grant_type", "client_credentials")
	if scope != "" {
		v["scope"] = []string{scope}
	}
	return v
}

// RFC 6749 section 4.4: a client asks in its own name, for what it was registered with, and nothing of it is about a person.
func TestAClientAsksInItsOwnName(t *testing.T) {
	each(t, func(k *kit) {
		files := oidc.Client{ID: "files", Name: "Files", Introspects: true}
		k.add(&files)
		person := k.tokens(redeeming(k.code()))
		nightly := oidc.Client{ID: "nightly", Name: "Nightly report", OwnScopes: []string{"orders:read", "orders:list"}}
		k.add(&nightly)
		shop := k.client
		k.client = nightly
		out := k.tokens(inItsOwnName(""))
		if out.Access.Empty() || !out.Refresh.Empty() || out.ID != "" || out.For != 10*time.Minute || len(out.Scopes) != 2 {
			t.Errorf("given %+v", out)
		}
		f, err := k.Introspect(t.Context(), files, out.Access)
		if err != nil || !f.Active || f.Client != "nightly" || f.About.Subject != "nightly" || f.About.ACR != "" || f.About.Time != 0 {
			t.Errorf("known as %+v %v", f, err)
		}
		if f, err := k.Introspect(t.Context(), shop, out.Access); err != nil || f.Active {
			t.Errorf("another client is told of it: %+v %v", f, err)
		}
		if _, err := k.UserInfo(t.Context(), out.Access, oidc.Caller{}); err == nil {
			t.Error("userinfo answers who nobody is")
		}
		less := k.tokens(inItsOwnName("orders:read"))
		if f, err := k.Introspect(t.Context(), nightly, less.Access); err != nil || len(f.Scopes) != 1 || f.Scopes[0] != "orders:read" {
			t.Errorf("asked for less: %+v %v", f, err)
		}
		k.exchangeRefused("invalid_scope", inItsOwnName("orders:read orders:write"))
		k.exchangeRefused("invalid_scope", inItsOwnName("openid"))

		// Only its own client revokes it.
		if err := k.Revoke(t.Context(), shop, out.Access, from); err != nil || !k.active(out.Access) {
			t.Errorf("another client revokes it: %v", err)
		}
		if err := k.Revoke(t.Context(), nightly, out.Access, from); err != nil || k.active(out.Access) {
			t.Errorf("revoked, and active: %v", err)
		}
		if f, err := k.Introspect(t.Context(), files, person.Access); err != nil || !f.Active || f.About.ACR == "" {
			t.Errorf("somebody's token: %+v %v", f, err)
		}
		// What is taken away from the client is taken away from its tokens.
		nightly.OwnScopes = []string{"orders:list"}
		k.add(&nightly)
		if k.active(less.Access) {
			t.Error("a scope was taken away, and its token lives on")
		}
		k.client = nightly
		last := k.tokens(inItsOwnName("")).Access
		if !k.active(last) {
			t.Error("it is worth nothing")
		}
		k.clock.Advance(10*time.Minute + time.Second)
		if k.active(last) {
			t.Error("it does not end")
		}
		gone := k.tokens(inItsOwnName("")).Access
		if err := k.Remove(t.Context(), "nightly"); err != nil {
			t.Fatal(err)
		}
		if f, err := k.Introspect(t.Context(), files, gone); err != nil || f.Active {
			t.Errorf("the client is gone, and its token lives on: %+v %v", f, err)
		}
		k.client = shop
		k.exchangeRefused("unauthorized_client", inItsOwnName("")) // it was not registered for it
		if f, err := k.Introspect(t.Context(), files, secret.NewToken("cst")); err != nil || f.Active {
			t.Errorf("a token that there is not: %+v %v", f, err)
		}
	})
}

// RFC 9449: bound to a key, in its own name and on a device, too.
func TestOtherGrantsAreBoundToAKey(t *testing.T) {
	each(t, func(k *kit) {
		nightly := oidc.Client{ID: "nightly", Name: "Nightly report", OwnScopes: []string{"orders:read"}, DPoP: true}
		k.add(&nightly)
		k.client = nightly
		k.exchangeRefused("invalid_dpop_proof", inItsOwnName(""))
		out, err := k.exchange(inItsOwnName(""), mine)
		if err != nil || out.Key != mine {
			t.Fatalf("%+v %v", out, err)
		}
		if f, err := k.Introspect(t.Context(), nightly, out.Access); err != nil || f.Key != mine {
			t.Errorf("known as %+v %v", f, err)
		}
		k.tv()
		p := k.pair()
		k.decide(k.typed(p.User), true)
		if out, err = k.exchange(polling(p), mine); err != nil || out.Key != mine {
			t.Fatalf("%+v %v", out, err)
		}
		if _, err := k.exchange(refreshing(out.Refresh), thief); err == nil {
			t.Error("a device's refresh token goes on by another key")
		}
		if _, err := k.exchange(refreshing(out.Refresh), mine); err != nil {
			t.Errorf("a device's refresh token does not go on by its key: %v", err)
		}
	})
}

func TestOwnScopesAreChecked(t *testing.T) {
	for name, c := range map[string]oidc.Client{
		"a public client": {Auth: oidc.ByNothing, OwnScopes: []string{"x"}},
		"a person's":      {OwnScopes: []string{"openid"}},
		"two words":       {OwnScopes: []string{"a b"}},
		"a quote":         {OwnScopes: []string{`a"b`}},
	} {
		c.ID, c.Name = "nightly", "Nightly"
		if c.Check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
