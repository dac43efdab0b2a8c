package device_test

import (
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// Whatever session asks, a key is bound to a device of its own account, as long as that is remembered; and what the
// browser gets for binding it is a proof for no sign-in.
func TestAKeyIsBoundToALiveDeviceOfOnesOwn(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		m := testkit.NewMachine(t, db, testkit.Ring(t))
		m.Devices.RememberFor = time.Minute
		ada, eve := m.Account("ada@example.org"), m.Account("eve@example.org")
		ctx := t.Context()
		write := func(fn func(tx *sqldb.Tx) error) {
			t.Helper()
			if err := db.Write(ctx, fn); err != nil {
				t.Fatal(err)
			}
		}
		remember := func() (r *device.Remembered, b device.Binding) {
			t.Helper()
			write(func(tx *sqldb.Tx) (err error) {
				if r, err = m.Devices.Remember(ctx, tx, ada, device.Enrolment{PublicKey: testkit.NewKey(t).Public(), Name: "Phone"}, nil); err != nil {
					return err
				}
				b = device.Binding{Device: r.ID, Session: "one", Proof: testkit.NewBoundKey(t).Enrol(m.Devices.Offer(tx, r.ID, "one"))}
				return nil
			})
			return r, b
		}
		bind := func(who account.ID, b device.Binding) (minted device.Minted, ok bool) {
			t.Helper()
			write(func(tx *sqldb.Tx) (err error) {
				minted, ok, err = m.Devices.Bind(ctx, tx, who, b)
				return err
			})
			return minted, ok
		}
		r, b := remember()
		if _, ok := bind(eve, b); ok {
			t.Error("bound by another account")
		}
		minted, ok := bind(ada, b)
		if !ok {
			t.Fatal("not bound")
		}
		write(func(tx *sqldb.Tx) error {
			p := device.Proof{Handles: []secret.Token{r.Handle}, Bound: []secret.Token{minted.Cookie}}
			if j, err := m.Devices.Recognise(ctx, tx, ada, p, ""); err != nil || j.Verdict != device.Unproved {
				t.Errorf("in a sign-in without a nonce: verdict %d, %v", j.Verdict, err)
			}
			return nil
		})
		_, b = remember()
		clock.Advance(m.Devices.RememberFor)
		if _, ok := bind(ada, b); ok {
			t.Error("bound to a device whose time is over")
		}
	})
}
