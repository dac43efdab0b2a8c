package oidc_test

import (
	"testing"
	"time"

	"countersign/internal/oidc"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
	"countersign/internal/testkit"
)

// P6, A-10.4.9: userinfo answers from memory. What was ended here is not told again, not even once, and what another node ended no longer than a second.
func TestWhatEndedIsNotToldFromMemory(t *testing.T) {
	for name, end := range map[string]func(k *kit, out oidc.Tokens) error{
		"the token is revoked":  func(k *kit, out oidc.Tokens) error { return k.Revoke(k.t.Context(), k.client, out.Access, from) },
		"its family is revoked": func(k *kit, out oidc.Tokens) error { return k.Revoke(k.t.Context(), k.client, out.Refresh, from) },
		"a refresh token comes again": func(k *kit, out oidc.Tokens) error {
			k.tokens(refreshing(out.Refresh))
			k.exchangeRefused("invalid_grant", refreshing(out.Refresh))
			return nil
		},
		"its holder takes it back": func(k *kit, _ oidc.Tokens) error {
			_, err := k.Withdraw(k.t.Context(), k.me, signin.Client{Source: from}, k.client.ID)
			return err
		},
		"the session is ended": func(k *kit, _ oidc.Tokens) error {
			k.write(func(tx *sqldb.Tx) error {
				_, err := k.Sessions.End(k.t.Context(), tx, k.who, k.me.ID)
				return err
			})
			return nil
		},
		"every session is ended": func(k *kit, _ oidc.Tokens) error {
			k.write(func(tx *sqldb.Tx) error { return k.Sessions.EndAll(k.t.Context(), tx, k.who, "a lock") })
			return nil
		},
		"the client is removed": func(k *kit, _ oidc.Tokens) error { return k.Remove(k.t.Context(), k.client.ID) },
		"the account is erased": func(k *kit, _ oidc.Tokens) error {
			k.write(func(tx *sqldb.Tx) error { return k.Erase(k.t.Context(), tx, k.who) })
			return nil
		},
		"its scope is taken back": func(k *kit, _ oidc.Tokens) error {
			k.client.Scopes = []string{"offline_access"}
			k.add(&k.client)
			return nil
		},
	} {
		each(t, func(k *kit) {
			k.client.Scopes = []string{"openid", "email", "offline_access"}
			k.add(&k.client)
			elsewhere := provider(testkit.NewMachine(t, k.DB, k.m.Ring)) // with a memory of its own
			out := k.tokens(redeeming(k.code("scope", "openid email offline_access")))
			for range 2 { // the second time from memory
				for _, node := range []*oidc.Service{k.Service, elsewhere} {
					if info, err := node.UserInfo(t.Context(), out.Access, oidc.Caller{}); err != nil || info["email"] != "ada@example.org" {
						t.Fatalf("%s: before: %v %v", name, info, err)
					}
				}
			}
			if err := end(k, out); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if info, err := k.UserInfo(t.Context(), out.Access, oidc.Caller{}); err == nil && info["email"] != nil {
				t.Errorf("%s, and it is told here: %v", name, info)
			}
			k.clock.Advance(time.Second)
			if info, err := elsewhere.UserInfo(t.Context(), out.Access, oidc.Caller{}); err == nil && info["email"] != nil {
				t.Errorf("%s, and it is told elsewhere after a second: %v", name, info)
			}
		})
	}
}

// RFC 9449 section 7.1: what was told to whoever has the key is not told from memory to anybody else; and a token that is over is over in memory.
func TestMemoryAsksForTheKeyAndTheTime(t *testing.T) {
	each(t, func(k *kit) {
		out := k.tokens(redeeming(k.code()))
		if _, err := k.UserInfo(t.Context(), out.Access, oidc.Caller{}); err != nil {
			t.Fatal(err)
		}
		_, err := k.UserInfo(t.Context(), out.Access, oidc.Caller{Key: "another-key"})
		k.refused("invalid_token", err)
		k.clock.Advance(10*time.Minute - 500*time.Millisecond)
		if _, err := k.UserInfo(t.Context(), out.Access, oidc.Caller{}); err != nil {
			t.Fatal(err)
		}
		k.clock.Advance(500 * time.Millisecond)
		_, err = k.UserInfo(t.Context(), out.Access, oidc.Caller{})
		k.refused("invalid_token", err)
	})
}
