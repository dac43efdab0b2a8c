package signin_test

import (
	"strings"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/internal/factor"
	"countersign/internal/password"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// The counts of a remembered device are the account's, too: unlocking clears them.
func TestUnlockingClearsADevicesOwnCounts(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		id := m.Account("ada@example.org")
		mine := newBrowser(t, m)
		mine.signIn("ada@example.org", factor.Email, true)
		wrong := func(b *browser) {
			for range m.Limits.DevicePassword.Free {
				if _, n := b.password("ada@example.org", "wrong wrong wrong"); !n.Refused {
					t.Fatalf("%+v", n)
				}
			}
		}
		right := func() error {
			ref, _ := mine.begin("ada@example.org")
			_, err := m.Password(t.Context(), ref, m.Client, signin.PasswordProof{Password: testkit.Password, Handles: mine.handles})
			return err
		}
		stranger := newBrowser(t, m)
		wrong(mine)
		wrong(stranger)
		if err := right(); code(err) != "too_many_attempts" {
			t.Fatalf("with both used up: %v", err)
		}
		if err := m.Profile.Unlock(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		wrong(stranger)
		if err := right(); err != nil {
			t.Errorf("after unlocking: %v", err)
		}
	})
}

// A hash of an older cost is made anew, which takes as long as a second password: only where the
// answer says that the password was right, or the time would say it.
func TestOldHashIsMadeAnewOnlyWhereTheAnswerSaysItWasRight(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		id := m.Account("ada@example.org")
		raised, err := password.New(password.Options{
			DB: m.DB, Ring: m.Ring, WeakForTests: true, MaxWait: time.Minute,
			Params: password.Params{MemoryKiB: 128, Time: 1, Lanes: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
		m.Passwords = raised
		stale := func() bool {
			t.Helper()
			var v password.Verdict
			err := m.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
				stored, err := raised.Load(t.Context(), tx, id)
				if err == nil {
					v, err = raised.Verify(t.Context(), stored, testkit.Password)
				}
				return err
			})
			if err != nil || !v.OK {
				t.Fatalf("%+v, %v", v, err)
			}
			return v.Stale
		}
		m.HidePasswordResult = true
		newBrowser(t, m).password("ada@example.org", testkit.Password)
		if !stale() {
			t.Error("made anew where the result is hidden")
		}
		m.HidePasswordResult = false
		newBrowser(t, m).password("ada@example.org", testkit.Password)
		if stale() {
			t.Error("not made anew")
		}
	})
}

// A hash that cannot be checked is a wrong password outside, and shows in the record.
func TestHashThatCannotBeCheckedIsRecorded(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account("ada@example.org")
		ctx := t.Context()
		err := m.DB.Write(ctx, func(tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE password SET hash = 'damaged'")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, n := newBrowser(t, m).password("ada@example.org", testkit.Password); !n.Refused {
			t.Fatalf("%+v", n)
		}
		var detail string
		err = m.DB.Read(ctx, func(tx *sqldb.Tx) error {
			return tx.QueryRow(ctx, "SELECT detail FROM audit_event WHERE kind = $1", audit.PasswordFailed).Scan(&detail)
		})
		if err != nil || !strings.Contains(detail, `"hash":"unusable"`) {
			t.Errorf("%s, %v", detail, err)
		}
	})
}
