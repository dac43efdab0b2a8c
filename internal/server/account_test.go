package server_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

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

// again goes through a new proof and keeps the new token.
func (a *app) again(name string) {
	a.t.Helper()
	flow := a.want(201, a.call("POST", "/api/v1/signin/again", `{}`)).Flow
	a.want(200, a.call("POST", "/api/v1/signin/password", `{"flow":"`+flow+`","password":"`+servertest.Password+`"}`))
	a.want(202, a.call("POST", "/api/v1/signin/code/send", `{"flow":"`+flow+`","way":"email"}`))
	a.token = a.want(200, a.call("POST", "/api/v1/signin/code", `{"flow":"`+flow+`","code":"`+a.node.Code(name)+`"}`)).Session.Token
}

// what matters takes a fresh proof; then an app does all that the pages do. The guard sees to it that
// addresses are in no other answers than those that list them.
func TestAnAppManagesAddresses(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	a := &app{t: t, node: n}
	a.signIn("ada@example.org", func(string) string { return "" })
	n.Clock.Advance(11 * time.Minute)
	const add = `{"address":"+49 151 12345678"}`
	if got := a.call("POST", "/api/v1/account/addresses", add); got.status != 403 || got.Code != "reauthentication_required" {
		t.Fatalf("%d %s", got.status, got.text)
	}
	a.again("ada@example.org")
	flow := a.want(202, a.call("POST", "/api/v1/account/addresses", add)).Flow
	if got := a.call("POST", "/api/v1/account/addresses/send", `{"flow":"`+flow+`"}`); got.Code != "resend_too_soon" {
		t.Errorf("%d %s", got.status, got.text)
	}
	first := n.Code("+4915112345678") // before the clock jumps: what a courier holds for a minute, another may send again
	n.Clock.Advance(time.Minute)
	a.want(202, a.call("POST", "/api/v1/account/addresses/send", `{"flow":"`+flow+`"}`))
	if got := a.call("POST", "/api/v1/account/addresses/prove", `{"flow":"`+flow+`","code":"`+first+`"}`); got.Code != "code_refused" {
		t.Errorf("an older code: %d %s", got.status, got.text)
	}
	a.want(204, a.call("POST", "/api/v1/account/addresses/prove", `{"flow":"`+flow+`","code":"`+n.Code("+4915112345678")+`"}`))

	var list struct {
		Addresses []struct {
			ID, Kind, Address string
			Verified          bool
			Uses              struct {
				Notices bool
				SignsIn bool `json:"signs_in"`
			}
		}
	}
	read := func(path string) {
		t.Helper()
		got := a.want(200, a.call("GET", path, ""))
		if err := json.Unmarshal([]byte(got.text), &list); err != nil || len(list.Addresses) != 2 {
			t.Fatalf("%s, %v", got.text, err)
		}
	}
	read("/api/v1/account")
	read("/api/v1/account/addresses")
	phone := list.Addresses[1]
	if phone.Address != "+4915112345678" || phone.Kind != "phone" || !phone.Verified || !phone.Uses.SignsIn {
		t.Errorf("%+v", phone)
	}
	at := "/api/v1/account/addresses/" + phone.ID
	if got := a.call("PATCH", at, `{"notices":true}`); got.Code != "input_invalid" {
		t.Errorf("two of three uses are missing: %d %s", got.status, got.text)
	}
	a.want(204, a.call("PATCH", at, `{"signs_in":false,"notices":true,"recovers":false}`))
	read("/api/v1/account/addresses")
	if phone = list.Addresses[1]; phone.Uses.SignsIn || !phone.Uses.Notices {
		t.Errorf("%+v", phone)
	}
	if got := a.call("DELETE", "/api/v1/account/addresses/"+list.Addresses[0].ID, ""); got.Code != "last_signin_address" {
		t.Errorf("%d %s", got.status, got.text)
	}
	a.want(204, a.call("DELETE", at, ""))
	a.want(404, a.call("DELETE", at, ""))
}

func TestAnAppManagesContactsAndTheSavedCode(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	ada := n.Account("ada@example.org")
	n.Guard.AddOf(string(ada), "grace@elsewhere.example")
	a := &app{t: t, node: n}
	a.signIn("ada@example.org", func(string) string { return "" })
	made := a.want(201, a.call("POST", "/api/v1/account/saved-code", ""))
	if !regexp.MustCompile(`"code":"([0-9A-Z]{4}-){5}[0-9A-Z]{4}"`).MatchString(made.text) {
		t.Error(made.text)
	}
	if got := a.want(200, a.call("GET", "/api/v1/account", "")); !strings.Contains(got.text, `"saved_code":true`) {
		t.Error(got.text)
	}
	a.want(204, a.call("DELETE", "/api/v1/account/saved-code", ""))
	a.want(404, a.call("DELETE", "/api/v1/account/saved-code", ""))
	const contact = `{"label":"My sister","holder":"Ada","address":"grace@elsewhere.example"}`
	a.want(204, a.call("POST", "/api/v1/account/contacts", contact))
	if got := a.call("POST", "/api/v1/account/contacts", contact); got.Code != "contact_known" {
		t.Errorf("%d %s", got.status, got.text)
	}
	var list struct {
		Contacts []struct{ ID, Label, Holder, Address string }
	}
	if err := json.Unmarshal([]byte(a.want(200, a.call("GET", "/api/v1/account/contacts", "")).text), &list); err != nil || len(list.Contacts) != 1 || list.Contacts[0].Address != "grace@elsewhere.example" {
		t.Fatalf("%+v, %v", list, err)
	}
	a.want(204, a.call("POST", "/api/v1/account/review", ""))
	a.want(204, a.call("DELETE", "/api/v1/account/contacts/"+list.Contacts[0].ID, ""))
	a.want(404, a.call("DELETE", "/api/v1/account/contacts/"+list.Contacts[0].ID, ""))
}
