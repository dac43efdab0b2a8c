package server_test

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

// kept are the tables that know accounts and keep their rows when an account is erased, with the reason.
var kept = map[string]string{
	"audit_event":      "append-only; it names nobody, and its network addresses are sealed: docs/decisions/0010",
	"signin_flow":      "barred once the account is closed, and deleted when its time is over, within hours",
	"subscriber_event": "an id of the account and one of an event of the record, kept until the subscriber was told: of the erasure, too",

	"onetime_code": "of such a flow, and deleted when its time is over, within minutes",
}

// values are what planted rows hold where that decides whether they are erased.
var values = map[string]any{
	"outbox_letter.state": "waiting", // done ones hold no words, and are deleted within days
}

// A table of whatever package that has an account_id is emptied of an account that is erased, or is kept for a
// reason. A new table fails here until its package has an eraser in the wiring, or a reason above.
func TestErasureReachesEveryTable(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			n := servertest.Start(t, servertest.Options{Database: dbtest.NewURL(t, engine), Idle: true})
			l := ledger{t, n.Core().DB}
			ada, bob := n.Account("ada@example.org"), n.Account("bob@example.org")
			all := l.columns()
			for table := range all {
				for _, id := range []account.ID{ada, bob} {
					if l.rows(table, id) == 0 {
						l.plant(table, all[table], id)
					}
				}
			}
			if err := n.Core().Owner.Erase(t.Context(), ada, 0); err != nil {
				t.Fatal(err)
			}
			for table := range all {
				left, why := l.rows(table, ada), kept[table]
				if left > 0 && why == "" {
					t.Errorf("%s has %d rows of an erased account: its package needs an eraser in the wiring, or a reason in this test", table, left)
				}
				if left == 0 && why != "" {
					t.Errorf("%s is emptied, and yet among those that are kept: %s", table, why)
				}
				if l.rows(table, bob) == 0 {
					t.Errorf("%s has lost the rows of somebody else", table)
				}
			}
			for table := range kept {
				if all[table] == nil {
					t.Errorf("%s is kept for a reason, and there is no such table", table)
				}
			}
		})
	}
}

// ledger looks into a database as no package does.
type ledger struct {
	t  *testing.T
	db *sqldb.DB
}

func (l ledger) each(query string, visit func(scan func(...any) error) error, args ...any) {
	l.t.Helper()
	err := l.db.Read(l.t.Context(), func(tx *sqldb.Tx) error { return tx.Each(l.t.Context(), query, visit, args...) })
	if err != nil {
		l.t.Fatal(err)
	}
}

// columns are those that must have a value, by table, with their types, of every table that knows accounts.
func (l ledger) columns() map[string]map[string]string {
	l.t.Helper()
	query := `SELECT m.name, p.name, p.type FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'table' AND (p."notnull" OR p.pk OR p.name = 'account_id')`
	if l.db.Engine() == sqldb.Postgres {
		query = `SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns WHERE table_schema = 'public' AND (is_nullable = 'NO' OR column_name = 'account_id')`
	}
	all := map[string]map[string]string{}
	l.each(query, func(scan func(...any) error) error {
		var table, column, kind string
		err := scan(&table, &column, &kind)
		if all[table] == nil {
			all[table] = map[string]string{}
		}
		all[table][column] = strings.ToLower(kind)
		return err
	})
	maps.DeleteFunc(all, func(_ string, columns map[string]string) bool { return columns["account_id"] == "" })
	if len(all) < 14 {
		l.t.Fatalf("%d tables know accounts: this test looks in the wrong place", len(all))
	}
	return all
}

func (l ledger) rows(table string, id account.ID) (n int) {
	l.t.Helper()
	l.each("SELECT count(*) FROM "+table+" WHERE account_id = $1", func(scan func(...any) error) error { return scan(&n) }, id)
	return n
}

// plant writes a row of made-up values.
func (l ledger) plant(table string, columns map[string]string, id account.ID) {
	l.t.Helper()
	names, places, args := slices.Sorted(maps.Keys(columns)), []string{}, []any{}
	for i, name := range names {
		value, special := values[table+"."+name]
		if !special {
			value = madeUp(columns[name])
		}
		if name == "account_id" {
			value = id
		}
		places, args = append(places, fmt.Sprint("$", i+1)), append(args, value)
	}
	err := l.db.Write(l.t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(l.t.Context(), "INSERT INTO "+table+" ("+strings.Join(names, ", ")+") VALUES ("+strings.Join(places, ", ")+")", args...)
		return err
	})
	if err != nil {
		l.t.Fatalf("plant a row in %s: %v", table, err)
	}
}

func madeUp(kind string) any {
	switch {
	case strings.HasPrefix(kind, "b") && kind != "bigint" && kind != "boolean":
		return []byte(rand.Text())
	case kind == "boolean":
		return false
	case strings.Contains(kind, "int"):
		return time.Now().Add(time.Hour).UnixMilli() / 1000 // fits an integer, and is over for no clock of here
	}
	return strings.ToLower(rand.Text())
}

// What fell due while no node ran is erased by the first that starts.
func TestWhatIsDueIsErasedByItself(t *testing.T) {
	clock, url, keys := dbtest.NewClock(), dbtest.NewURL(t, sqldb.SQLite), keyring.Generate()
	before := servertest.Start(t, servertest.Options{Database: url, Keys: keys, Clock: clock, Idle: true})
	id := before.Account("ada@example.org")
	if err := before.Core().Owner.Erase(t.Context(), id, time.Hour); err != nil {
		t.Fatal(err)
	}
	clock.Advance(2 * time.Hour)
	l := ledger{t, servertest.Start(t, servertest.Options{Database: url, Keys: keys, Clock: clock}).Core().DB}
	for until := time.Now().Add(20 * time.Second); l.rows("password", id) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it is still there")
		}
	}
}
