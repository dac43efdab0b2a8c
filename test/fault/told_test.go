package fault_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/testkit/dbtest"
)

// toTell records events of several accounts that a webhook is to be told of, and returns their ids, by account and in the order of the record.
func toTell(t *testing.T, core *server.Core, url string, accounts, each int) map[string][]string {
	t.Helper()
	_, _, err := core.Subscribers.Add(t.Context(), url, []audit.Kind{audit.CodeFailed})
	if err == nil {
		err = core.Subscribers.Poll(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	err = core.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		clear(all) // it may be run again
		var who []account.ID
		for i := range accounts {
			ident, err := account.Parse(fmt.Sprintf("told%02d@example.org", i))
			if err != nil {
				return err
			}
			id, err := core.Accounts.Create(t.Context(), tx, account.New{Language: "en", Identifiers: []account.NewIdentifier{{Identifier: ident, Verified: true, SignsIn: true}}})
			if err != nil {
				return err
			}
			who = append(who, id)
		}
		for range each {
			for _, id := range who {
				if err := core.Audit.Append(t.Context(), tx, audit.Event{Kind: audit.CodeFailed, Account: string(id), Actor: "person"}); err != nil {
					return err
				}
			}
		}
		return tx.Each(t.Context(), `SELECT account_id, event_id FROM subscriber_event ORDER BY event_id`, func(scan func(...any) error) error {
			var of, id string
			err := scan(&of, &id)
			all[of] = append(all[of], id)
			return err
		})
	})
	if err != nil || len(all) != accounts {
		t.Fatalf("%d accounts: %v", len(all), err)
	}
	return all
}

// P11: a node is killed while as many deliveries to a webhook as it makes at once are under way. No event is lost, only what was under way may come
// twice, and of each account they come in the order of the record.
func TestKilledWhileTellingAWebhook(t *testing.T) {
	const (
		accounts, each = 40, 6
		kills          = 2
		together       = 8 // of a node, to one webhook
	)
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			far := newExchange(t)
			s := newSite(t, dbtest.NewURL(t, engine))
			core := s.open()
			defer func() { _ = core.Close() }()
			events := toTell(t, core, far.URL, accounts, each)
			node := s.start()
			for kill := range kills {
				eventually(t, 30*time.Second, "events are told", func() bool { return arrived(far) >= (kill+1)*accounts*each/4 })
				node.kill()
				// A minute later, when what the dead node had taken is anybody's.
				err := core.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
					_, err := tx.Exec(t.Context(), `UPDATE subscriber_event SET next_at = $1 WHERE lease IS NOT NULL`, tx.Now().UnixMilli())
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				node = s.start()
			}
			eventually(t, time.Minute, "every event was told", func() bool { return arrived(far) == accounts*each })
			eventually(t, 30*time.Second, "nothing waits", func() bool {
				d, err := core.Subscribers.Depth(t.Context())
				return err == nil && d.Waiting == 0 && d.Dead == 0
			})
			node.stop()
			twice := 0
			for of, ids := range events {
				var last time.Time
				for _, id := range ids {
					came := far.came[id]
					if len(came) == 0 {
						t.Fatalf("%s is lost", id)
					}
					if first := slices.MinFunc(came, time.Time.Compare); first.Before(last) {
						t.Errorf("of %s, %s came before an earlier one", of, id)
					} else {
						last = first
					}
					twice += len(came) - 1
				}
			}
			t.Logf("%d events of %d accounts, %d kills with up to %d under way each: none lost, none out of order, %d came twice", accounts*each, accounts, kills, together, twice)
			if twice > kills*together {
				t.Errorf("%d came twice", twice)
			}
		})
	}
}
