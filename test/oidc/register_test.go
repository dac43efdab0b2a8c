package oidc_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

// RFC 7591, RFC 7592: openid-client registers itself by an invitation, and what it was given reads, changes and ends the registration.
func TestAnApplicationRegistersItself(t *testing.T) {
	if _, err := os.Stat("node_modules/openid-client"); err != nil {
		missing(t)
	}
	n := servertest.Start(t, servertest.Options{Database: dbtest.NewURL(t, dbtest.Engines()[0])})
	invitation, err := n.Core().Applications.Invite(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "node", "register.js", n.URL, invitation.Reveal(), "https://wiki.example.com/callback")
	c.Stderr = os.Stderr
	text, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
		Token  string `json:"registration_access_token"`
		At     string `json:"registration_client_uri"`
		Auth   string `json:"token_endpoint_auth_method"`
	}
	if err := json.Unmarshal(text, &got); err != nil || got.Secret == "" || got.Token == "" || got.At != n.URL+"/oauth/register/"+got.ID || got.Auth != "client_secret_post" {
		t.Fatalf("%s: %v", text, err)
	}
	do := func(method, token, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, got.At, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		res, err := n.Browser().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		said, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(said)
	}
	change := `{"client_id":"` + got.ID + `","client_name":"Encyclopedia","redirect_uris":["https://wiki.example.com/callback"],"token_endpoint_auth_method":"client_secret_post"}`
	for _, step := range []struct {
		method, token, body string
		status              int
		want                string
	}{
		{"GET", "guess", "", 401, "invalid_token"},
		{"GET", got.Token, "", 200, `"client_name":"Wiki"`},
		{"PUT", got.Token, "not JSON", 400, "invalid_client_metadata"},
		{"PUT", got.Token, change, 200, `"client_name":"Encyclopedia"`},
		{"DELETE", "guess", "", 401, "invalid_token"},
		{"DELETE", got.Token, "", 204, ""},
		{"GET", got.Token, "", 401, "invalid_token"},
	} {
		status, said := do(step.method, step.token, step.body)
		if status != step.status || !strings.Contains(said, step.want) || strings.Contains(said, got.Secret) {
			t.Errorf("%s: %d %s, want %d %s", step.method, status, said, step.status, step.want)
		}
	}
}
