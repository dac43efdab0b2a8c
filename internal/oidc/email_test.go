package oidc_test

import (
	"fmt"
	"strings"
	"testing"

	"countersign/internal/oidc"
)

// P1: an address is told to an application that the operator lets ask for it, that asked, and at userinfo alone.
func TestAnAddressIsToldWhereTheOperatorSaidSo(t *testing.T) {
	each(t, func(k *kit) {
		without := k.tokens(redeeming(k.code("scope", "openid email"))) // which it may not ask for: it is as if it had not
		if info, err := k.UserInfo(t.Context(), without.Access, oidc.Caller{}); err != nil || info["email"] != nil {
			t.Errorf("told to one that may not ask: %v, %v", info, err)
		}
		k.client.Scopes = []string{"openid", "email", "offline_access"}
		k.add(&k.client)
		unasked := k.tokens(redeeming(k.code("scope", "openid")))
		if info, err := k.UserInfo(t.Context(), unasked.Access, oidc.Caller{}); err != nil || info["email"] != nil {
			t.Errorf("told to one that did not ask: %v, %v", info, err)
		}
		out := k.tokens(redeeming(k.code("scope", "openid email offline_access")))
		if info, err := k.UserInfo(t.Context(), out.Access, oidc.Caller{}); err != nil || info["email"] != "ada@example.org" || info["email_verified"] != true {
			t.Errorf("%v, %v", info, err)
		}
		claims, _ := k.claimsOf(out.ID)
		fact, err := k.Introspect(t.Context(), k.client, out.Access)
		if told := fmt.Sprint(claims, fact); err != nil || strings.Contains(told, "ada@") {
			t.Errorf("told elsewhere: %s, %v", told, err)
		}
		before := k.tokens(redeeming(k.code("scope", "openid email")))
		k.client.Scopes = []string{"openid"}
		k.add(&k.client)
		if info, err := k.UserInfo(t.Context(), before.Access, oidc.Caller{}); err != nil || info["email"] != nil {
			t.Errorf("told to one that may not ask any more: %v, %v", info, err)
		}
	})
}
