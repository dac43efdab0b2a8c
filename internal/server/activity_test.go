package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"countersign/internal/audit"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/servertest"
)

// deeds are what an app is shown of the account's activity.
type deeds struct {
	Activity []struct{ ID, What, Name, Actor string }
	Older    string
}

func (a *app) activity(query string) (d deeds) {
	a.t.Helper()
	got := a.want(200, a.call("GET", "/api/v1/account/activity"+query, ""))
	if err := json.Unmarshal([]byte(got.text), &d); err != nil {
		a.t.Fatal(err)
	}
	return d
}

func TestAnApplicationShowsActivityByThePage(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	id := n.Account("ada@example.org")
	n.Account("bob@example.org")
	ada, bob := &app{t: t, node: n}, &app{t: t, node: n}
	ada.signIn("ada@example.org", nothing)
	bob.signIn("bob@example.org", nothing)
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		for i := range 60 {
			e := audit.Event{Kind: audit.DeviceRenamed, Account: string(id), Detail: map[string]string{"which": fmt.Sprint(i)}}
			if err := n.Core().Audit.Append(t.Context(), tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	first := ada.activity("")
	if len(first.Activity) != 50 || first.Older == "" {
		t.Fatalf("%d deeds, older %q", len(first.Activity), first.Older)
	}
	last := ada.activity("?before=" + first.Older)
	if len(last.Activity) != 11 || last.Older != "" || last.Activity[10].What != "signed_in" || last.Activity[10].Actor != "person" {
		t.Errorf("the last page: %+v", last)
	}
	// Another account's mark shows nothing of that account.
	for _, d := range append(bob.activity("").Activity, bob.activity("?before="+first.Older).Activity...) {
		if d.What == "device_renamed" {
			t.Errorf("bob is shown %+v", d)
		}
	}
	for _, odd := range []string{"x", "1-2", first.Older + "x", "%00", strings.Repeat("1", 65)} {
		ada.want(422, ada.call("GET", "/api/v1/account/activity?before="+odd, ""))
	}
	if got := ada.call("GET", "/api/v1/account/activity", ""); got.header.Get("Cache-Control") != "no-store" || got.status != http.StatusOK {
		t.Errorf("%d, %s", got.status, got.header.Get("Cache-Control"))
	}
}
