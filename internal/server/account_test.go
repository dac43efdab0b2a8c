package server_test

import (
	"testing"

	"countersign/internal/testkit/servertest"
)

// An app changes the password with the current one, goes on with a new token, and no old one works.
func TestAnAppChangesThePassword(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	a := &app{t: t, node: n}
	a.signIn("ada@example.org", func(string) string { return "" })
	old := a.token
	const change = `{"current":"` + servertest.Password + `","new":"harbour pencil thunder 77"}`
	for body, want := range map[string]string{
		`{"current":"not the password at all","new":"harbour pencil thunder 77"}`: "password_refused",
		`{"current":"` + servertest.Password + `","new":"short"}`:                 "password_too_short",
		`{"current":"` + servertest.Password + `"}`:                               "input_invalid",
	} {
		if got := a.call("POST", "/api/v1/account/password", body); got.Code != want {
			t.Errorf("%s: %d %s", body, got.status, got.Code)
		}
	}
	a.token = a.want(200, a.call("POST", "/api/v1/account/password", change)).Session.Token
	a.want(200, a.call("GET", "/api/v1/session", ""))
	a.token = old
	a.want(401, a.call("GET", "/api/v1/session", ""))
	a.want(401, a.call("POST", "/api/v1/account/password", change))
}
