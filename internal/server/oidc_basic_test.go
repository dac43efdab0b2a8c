package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"countersign/internal/testkit/servertest"
)

// The Foundation's Basic profile, where nothing else here sends the same: a client without PKCE, with a secret and a nonce.
func TestBasicProfile(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	c := shopClient()
	c.FirstParty, c.WithoutPKCE = true, true
	s := newShop(t, n, c)
	ask := func(more ...string) string {
		v := url.Values{"client_id": {"shop"}, "redirect_uri": {shopCallback}, "response_type": {"code"}, "scope": {"openid"}, "state": {"state-1"}, "nonce": {"nonce-1"}}
		for i := 0; i < len(more); i += 2 {
			v.Set(more[i], more[i+1])
		}
		return "/authorize?" + v.Encode()
	}
	p := s.get(s.to(s.signIn(s.to(s.get(ask()), "/signin?for=app"), "ada@example.org", "ada@example.org"), "/authorize/"))
	token, err := s.config.Exchange(s.ctx, s.back(p).Get("code"))
	if err != nil {
		t.Fatal(err)
	}
	p = s.call("/oauth/userinfo", http.Header{"Authorization": {"Bearer " + token.AccessToken}})
	if p.StatusCode != http.StatusOK || !strings.Contains(p.body, `"sub":`) {
		t.Errorf("userinfo posted with a header: %d %s", p.StatusCode, p.body)
	}
	raw, _ := token.Extra("id_token").(string)
	if v := s.answered(s.to(s.get(ask("prompt", "none", "id_token_hint", raw)), shopCallback)); v.Get("code") == "" {
		t.Errorf("with a hint: %v", v)
	}
	s.to(s.post("/signout"), "/signin")
	if v := s.answered(s.to(s.get(ask("prompt", "none", "id_token_hint", raw)), shopCallback)); v.Get("error") != "login_required" {
		t.Errorf("with a hint, signed out: %v", v)
	}
}
