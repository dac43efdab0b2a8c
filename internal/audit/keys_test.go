package audit_test

import (
	"net/netip"
	"slices"
	"testing"

	"countersign/internal/audit"
	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// P12: events are as they were written after their keys have changed, and one that was changed before does not come to
// look right by it.
func TestEventsStayVerifiableWhenKeysChange(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		keys := testkit.NewKeys(t, db, "")
		log := &audit.Log{Ring: keys.Ring}
		write := func(f func(tx *sqldb.Tx) error) {
			t.Helper()
			if err := db.Write(ctx, f); err != nil {
				t.Fatal(err)
			}
		}
		put := func() {
			t.Helper()
			write(func(tx *sqldb.Tx) error {
				for range 3 {
					for _, e := range []audit.Event{
						{Kind: audit.LoginSuccess, Account: "a", Source: netip.MustParseAddr("192.0.2.1")}, {Kind: audit.PasswordFailed},
					} {
						if err := log.Append(ctx, tx, e); err != nil {
							return err
						}
					}
				}
				return nil
			})
		}
		verify := func() (v audit.Verified) {
			t.Helper()
			write(func(tx *sqldb.Tx) (err error) {
				v, err = log.Verify(ctx, tx, "", 100)
				return err
			})
			return v
		}
		put()
		var bad string
		write(func(tx *sqldb.Tx) error {
			if err := tx.QueryRow(ctx, "SELECT id FROM audit_event ORDER BY id DESC LIMIT 1").Scan(&bad); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "UPDATE audit_event SET kind = 'authn_login_success' WHERE id = $1", bad)
			return err
		})
		old := keys.Change()
		put()
		if v := verify(); v.Rows != 12 || !slices.Equal(v.Changed, []string{bad}) {
			t.Errorf("with two keys: %+v, want %s", v, bad)
		}
		ro := &keyring.Rotation{DB: db, Ring: keys.Ring, Holdings: log.Holdings()}
		odd, err := ro.Renew(ctx, func(keyring.Progress) {})
		if err != nil || len(odd) != 1 || !slices.Equal(odd[0].Rows, []string{bad}) {
			t.Errorf("left %v, %v", odd, err)
		}
		if v := verify(); v.Rows != 12 || !slices.Equal(v.Changed, []string{bad}) {
			t.Errorf("made anew: %+v, want %s", v, bad)
		}
		if needed, err := ro.Drop(ctx, old, nil); err != nil || len(needed) != 1 || needed[0].Rows[old] != 1 {
			t.Errorf("dropped the key that the changed row needs: %v, %v", needed, err)
		}
		if needed, err := ro.Drop(ctx, old, []string{"audit_event"}); err != nil || len(needed) != 0 {
			t.Errorf("%v, %v", needed, err)
		}
		if v := verify(); v.Rows != 12 || !slices.Equal(v.Changed, []string{bad}) {
			t.Errorf("without the old key: %+v, want %s", v, bad)
		}
		var all []audit.Past
		write(func(tx *sqldb.Tx) (err error) {
			all, err = log.Of(ctx, tx, "a", audit.Span{Most: 100})
			return err
		})
		for _, p := range all {
			if p.Source != netip.MustParseAddr("192.0.2.1") {
				t.Errorf("%s came from %v", p.ID, p.Source)
			}
		}
		if len(all) != 6 {
			t.Errorf("%d events of the account", len(all))
		}
	})
}
