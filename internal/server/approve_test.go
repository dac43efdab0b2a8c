package server_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
)

// asked is what an app is told that has asked another to let it in.
type asked struct{ Number, URL, State string }

func (a *app) asks(name string) (flow string, told asked) {
	a.t.Helper()
	flow = a.begin(name).Flow
	second := a.want(200, a.call("POST", "/api/v1/signin/password", `{"flow":"`+flow+`","password":"`+servertest.Password+`"}`))
	if !strings.Contains(second.text, `"approve"`) {
		a.t.Fatal(second.text)
	}
	got := a.want(201, a.call("POST", "/api/v1/signin/approval", `{"flow":"`+flow+`"}`))
	if err := json.Unmarshal([]byte(got.text), &told); err != nil {
		a.t.Fatal(err)
	}
	return flow, told
}

// One app lets another in by the number that it shows, and refuses a third.
func TestAnApplicationApprovesAnother(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	old, young := &app{t: t, node: n}, &app{t: t, node: n}
	key, b64 := testkit.NewKey(t), base64.RawURLEncoding.EncodeToString
	device := old.signIn("ada@example.org", func(nonce string) string {
		return `,"remember":{"public_key":"` + b64(key.Public()) + `","signature":"` + b64(key.Sign("remember", n.URL, nonce)) + `"}`
	}).Device
	waiting := func() (id string) {
		t.Helper()
		var all struct{ Approvals []struct{ ID string } }
		if err := json.Unmarshal([]byte(old.want(200, old.call("GET", "/api/v1/account/approvals", "")).text), &all); err != nil {
			t.Fatal(err)
		}
		if len(all.Approvals) == 1 {
			id = all.Approvals[0].ID
		}
		return id
	}
	if id := waiting(); id != "" {
		t.Fatalf("%s waits before anybody asked", id)
	}
	flow, told := young.asks("ada@example.org")
	id := waiting()
	if told.State != "waiting" || told.URL != n.URL+"/approve#"+id+"."+told.Number {
		t.Errorf("asked: %+v", told)
	}
	enter := func() answer { return young.call("POST", "/api/v1/signin/approval/enter", `{"flow":"`+flow+`"}`) }
	if got := young.want(200, enter()); got.Step != "second" || !strings.Contains(got.text, `"refused":true`) {
		t.Errorf("before it was approved: %s", got.text)
	}
	approve := func(number, signature string) answer {
		return old.call("POST", "/api/v1/account/approvals/"+id, `{"number":"`+number+`","device":{"handle":"`+device.Handle+`","signature":"`+signature+`"}}`)
	}
	signature := b64(key.Sign("approve", n.URL, id))
	wrong := "000000"
	if told.Number == wrong {
		wrong = "000001"
	}
	for got, want := range map[string]answer{
		"code_refused":    old.want(401, approve(wrong, signature)),
		"device_unproved": old.want(403, approve(told.Number, b64(make([]byte, 64)))),
		"not_found":       old.want(404, old.call("POST", "/api/v1/account/approvals/"+flow+"/refuse", "")),
		"session_ended":   young.want(401, young.call("GET", "/api/v1/account/approvals", "")),
	} {
		if want.Code != got {
			t.Errorf("%s, want %s", want.text, got)
		}
	}
	old.want(204, approve(told.Number, signature))
	if got := young.want(200, enter()); got.Step != "done" || got.Session.Token == "" {
		t.Errorf("after it was approved: %s", got.text)
	}
	young.want(410, enter())
	flow, _ = young.asks("ada@example.org")
	old.want(204, old.call("POST", "/api/v1/account/approvals/"+waiting()+"/refuse", ""))
	young.want(410, enter())
}
