package server_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	otp "github.com/pquerna/otp/totp"

	"countersign/internal/platform/config"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

// What cannot be chosen is refused by a code that says so, and nothing is changed.
func TestAChoiceThatIsNoneIsRefusedAsOne(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	a := &app{t: t, node: n}
	a.signIn("ada@example.org", nothing)
	for _, body := range []string{`{"order":["pigeon"]}`, `{"order":["sms","sms"]}`, `{"off":["passkey"]}`} {
		if got := a.want(422, a.call("PUT", "/api/v1/account/second-proof", body)); got.Code != "factor_choice_invalid" {
			t.Errorf("%s: %s", body, got.text)
		}
	}
	a.want(204, a.call("PUT", "/api/v1/account/second-proof", `{"order":["email"],"always":true}`))
}

// A session that must enrol something is good for that on every node, and for nothing else until it is done.
func TestASessionThatMustEnrol(t *testing.T) {
	clock := dbtest.NewClock()
	n := servertest.Start(t, servertest.Options{Clock: clock, Config: func(c *config.Config) {
		c.Factor.Enrol, c.Factor.EnrolSkips = "require", 1
	}})
	n.Account("ada@example.org")
	a := &app{t: t, node: n}
	var told struct {
		Enrol struct {
			Required bool
			PutOff   *int `json:"put_off"`
		}
	}
	first := a.signIn("ada@example.org", nothing)
	if err := json.Unmarshal([]byte(first.text), &told); err != nil || told.Enrol.Required || told.Enrol.PutOff == nil || *told.Enrol.PutOff != 0 {
		t.Errorf("the first sign-in: %s", first.text)
	}
	a.want(200, a.call("GET", "/api/v1/account", ""))
	clock.Advance(time.Hour)
	second := a.signIn("ada@example.org", nothing)
	if err := json.Unmarshal([]byte(second.text), &told); err != nil || !told.Enrol.Required {
		t.Errorf("the second sign-in: %s", second.text)
	}
	for _, call := range []string{"GET /api/v1/account", "GET /api/v1/session", "GET /api/v1/devices", "POST /api/v1/account/data", "POST /api/v1/account/backup-codes"} {
		method, path, _ := strings.Cut(call, " ")
		if got := a.want(403, a.call(method, path, "")); got.Code != "enrolment_required" {
			t.Errorf("%s: %s", call, got.text)
		}
	}
	a.want(200, a.call("GET", "/api/v1/account/factors", ""))
	var key struct{ ID, Key string }
	if err := json.Unmarshal([]byte(a.want(201, a.call("POST", "/api/v1/account/apps", "")).text), &key); err != nil {
		t.Fatal(err)
	}
	code, err := otp.GenerateCode(strings.ReplaceAll(key.Key, " ", ""), clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	a.want(204, a.call("POST", "/api/v1/account/apps/"+key.ID+"/confirm", `{"code":"`+code+`"}`))
	a.want(200, a.call("GET", "/api/v1/account", ""))
	a.want(204, a.call("DELETE", "/api/v1/session", ""))
}
