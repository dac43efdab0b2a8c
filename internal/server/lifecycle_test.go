package server_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

// An app does all that the page of the account does. The guard sees to it that addresses are in no other answer
// than the file.
func TestAnAppHasTheAccountAsAWhole(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org", "+4915112345678")
	a := &app{t: t, node: n}
	a.signIn("ada@example.org", nothing)
	a.want(204, a.call("PATCH", "/api/v1/account", `{"language":"fr"}`))
	if got := a.call("PATCH", "/api/v1/account", `{"language":"tlh"}`); got.Code != "language_unknown" {
		t.Errorf("%d %s", got.status, got.text)
	}
	got := a.want(200, a.call("POST", "/api/v1/account/data", ""))
	var file struct {
		Account   struct{ Language string }
		Addresses []struct{ Value string }
	}
	if err := json.Unmarshal([]byte(got.text), &file); err != nil || file.Account.Language != "fr" || len(file.Addresses) != 2 || file.Addresses[0].Value != "ada@example.org" {
		t.Errorf("%s, %v", got.text, err)
	}
	if h := got.header; h.Get("Cache-Control") != "no-store" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") || h.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("%v", h)
	}
	a.want(404, a.call("DELETE", "/api/v1/account/erase", ""))
	var asked struct {
		EraseAt time.Time `json:"erase_at"`
	}
	got = a.want(200, a.call("POST", "/api/v1/account/erase", ""))
	if err := json.Unmarshal([]byte(got.text), &asked); err != nil || asked.EraseAt.Before(n.Clock.Now().Add(13*24*time.Hour)) {
		t.Errorf("%s, %v", got.text, err)
	}
	n.Clock.Advance(11 * time.Minute)
	for call, body := range map[string]string{"PATCH /api/v1/account": `{"language":"de"}`, "POST /api/v1/account/data": "", "POST /api/v1/account/erase": ""} {
		method, path, _ := strings.Cut(call, " ")
		if got := a.call(method, path, body); got.status != 403 || got.Code != "reauthentication_required" {
			t.Errorf("%s with a stale proof: %d %s", call, got.status, got.text)
		}
	}
	a.want(204, a.call("DELETE", "/api/v1/account/erase", ""))
	if got := a.want(200, a.call("GET", "/api/v1/account", "")); strings.Contains(got.text, "erase_at") {
		t.Error(got.text)
	}
}

// P7: an app says of a line that it was not its holder, which ends everything, and nothing for anybody else.
func TestAnAppDisavowsWhatWasDone(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	n.Account("bob@example.org")
	ada, thief, bob := &app{t: t, node: n}, &app{t: t, node: n}, &app{t: t, node: n}
	ada.signIn("ada@example.org", nothing)
	thief.signIn("ada@example.org", nothing)
	bob.signIn("bob@example.org", nothing)
	all := ada.activity("").Activity
	i := slices.IndexFunc(all, func(d struct{ ID, What, Name, Actor string }) bool { return d.What == "signed_in" })
	if i < 0 {
		t.Fatalf("%+v", all)
	}
	at := "/api/v1/account/activity/" + all[i].ID + "/notme"
	bob.want(404, bob.call("POST", at, ""))
	for _, none := range []string{"x", "%00", "0196f0c1-0000-7000-8000-000000000000"} {
		ada.want(404, ada.call("POST", "/api/v1/account/activity/"+none+"/notme", ""))
	}
	thief.want(200, thief.call("GET", "/api/v1/session", ""))
	ada.want(204, ada.call("POST", at, ""))
	ada.want(401, ada.call("GET", "/api/v1/session", ""))
	thief.want(401, thief.call("GET", "/api/v1/session", ""))
	ada.want(401, ada.call("POST", at, ""))
	bob.want(200, bob.call("GET", "/api/v1/session", ""))
}

// told are the tables that know accounts, and where the file that a holder downloads has them.
var told = map[string]string{
	"account_address_change": "address_changes", "account_claim": "claims", "account_identifier": "addresses", "account_lookup": "addresses", "audit_event": "activity", "device": "devices",
	"password": "password", "profile_review": "recovery", "recovery_contact": "recovery", "recovery_saved_code": "recovery",
	"registration_consent": "consents", "session": "sessions", "totp_authenticator": "proofs", "backup_code": "proofs", "passkey": "proofs",
	"factor_choice": "proofs", "factor_stopped": "proofs", "account_group": "account",
	"oidc_grant": "applications", "oidc_consent": "applications",
}

// untold are those that it has not, and the line of "not_in_this_file" that says so begins with this.
var untold = map[string]string{
	"notice_link": "Letters that were sent", "onetime_code": "Sign-ins, recoveries and changes under way", "outbox_letter": "Letters that were sent",
	"profile_address_flow": "Sign-ins, recoveries and changes under way", "recovery_flow": "Sign-ins, recoveries and changes under way",
	"signin_flow": "Sign-ins, recoveries and changes under way",
	"approval":    "Sign-ins, recoveries and changes under way",

	"subscriber_event": "Which of the events in this file wait",
}

// Every table of whatever package that knows accounts is in the file, or the file says that it is not.
func TestTheFileTellsOfEveryTable(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Database: dbtest.NewURL(t, sqldb.SQLite)})
	n.Account("ada@example.org")
	a := &app{t: t, node: n}
	a.signIn("ada@example.org", nothing)
	var file map[string]any
	if err := json.Unmarshal([]byte(a.want(200, a.call("POST", "/api/v1/account/data", "")).text), &file); err != nil {
		t.Fatal(err)
	}
	lines, ok := file["not_in_this_file"].([]any)
	if !ok {
		t.Fatalf("%v", file["not_in_this_file"])
	}
	all := (ledger{t, n.Core().DB}).columns()
	for _, known := range []map[string]string{told, untold} {
		for table := range known {
			if all[table] == nil {
				t.Errorf("there is no %s", table)
			}
		}
	}
	for table := range all {
		if part, in := told[table]; in {
			if _, ok := file[part]; !ok {
				t.Errorf("%s: the file has no %s", table, part)
			}
			continue
		}
		begins, out := untold[table]
		if !out || !slices.ContainsFunc(lines, func(line any) bool { text, _ := line.(string); return strings.HasPrefix(text, begins) }) {
			t.Errorf("%s knows accounts: the file that their holders download must have it, or say that it has not", table)
		}
	}
}
