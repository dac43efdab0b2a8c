package audit_test

import (
	"net/netip"
	"testing"

	"countersign/internal/audit"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// P12: a changed row shows.
func TestChangedRowsShow(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		log := &audit.Log{Ring: testkit.Ring(t)}
		ctx := t.Context()
		verify := func() (changed []string) {
			t.Helper()
			seen := 0
			for v := (audit.Verified{Rows: 1}); v.Rows > 0; {
				err := db.Read(ctx, func(tx *sqldb.Tx) (err error) {
					v, err = log.Verify(ctx, tx, v.Last, 1)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				seen, changed = seen+v.Rows, append(changed, v.Changed...)
			}
			if seen != 2 {
				t.Fatalf("looked at %d rows of 2", seen)
			}
			return changed
		}
		exec := func(statement string) {
			t.Helper()
			err := db.Write(ctx, func(tx *sqldb.Tx) error {
				_, err := tx.Exec(ctx, statement)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		err := db.Write(ctx, func(tx *sqldb.Tx) error {
			for _, e := range []audit.Event{
				{Kind: audit.LoginSuccess, Account: "a", Source: netip.MustParseAddr("192.0.2.1"), Detail: map[string]string{"proved": "sms"}},
				{Kind: audit.PasswordFailed},
			} {
				if err := log.Append(ctx, tx, e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := verify(); len(got) != 0 {
			t.Fatalf("untouched rows reported: %v", got)
		}
		for _, change := range []string{
			"kind = 'authn_login_success' WHERE kind = 'authn_login_fail'", "account_id = 'b' WHERE account_id = 'a'",
			"at = at - 1", "source = NULL", "detail = '{}'", "actor = 'system'",
		} {
			exec("CREATE TABLE keep AS SELECT * FROM audit_event")
			exec("UPDATE audit_event SET " + change)
			if len(verify()) == 0 {
				t.Errorf("SET %s does not show", change)
			}
			exec("DELETE FROM audit_event")
			exec("INSERT INTO audit_event SELECT * FROM keep")
			exec("DROP TABLE keep")
		}
	})
}
