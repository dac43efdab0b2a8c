package device_test

import (
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// A browser keeps its key when it is forgotten; remembered anew it is the device that it was, for the
// account that it was one of.
func TestADeviceIsKnownByItsKey(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		m := testkit.NewMachine(t, db, testkit.Ring(t))
		ada, bob := m.Account("ada@example.org"), m.Account("bob@example.org")
		ctx := t.Context()
		remember := func(who account.ID, key testkit.Key) (id device.ID) {
			t.Helper()
			if err := db.Write(ctx, func(tx *sqldb.Tx) error {
				r, err := m.Devices.Remember(ctx, tx, who, device.Enrolment{PublicKey: key.Public(), Name: "Phone"}, nil)
				if err == nil {
					id = r.ID
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return id
		}
		known := func(who account.ID, id device.ID, before time.Time) (yes bool) {
			t.Helper()
			if err := db.Read(ctx, func(tx *sqldb.Tx) (err error) {
				yes, err = m.Devices.KnownBefore(ctx, tx, who, id, before)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return yes
		}
		key, shared := testkit.NewKey(t), testkit.NewKey(t)
		was := remember(ada, key)
		remember(bob, shared)
		clock.Advance(time.Hour)
		frozen := clock.Now()
		if !known(ada, was, frozen) || known(ada, was, frozen.Add(-time.Hour)) {
			t.Error("known before it was remembered, or not after")
		}
		if err := db.Write(ctx, func(tx *sqldb.Tx) error { return m.Devices.ForgetAll(ctx, tx, ada) }); err != nil {
			t.Fatal(err)
		}
		if known(ada, was, frozen) {
			t.Error("a device that is forgotten")
		}
		clock.Advance(time.Hour)
		if anew := remember(ada, key); !known(ada, anew, frozen) {
			t.Error("remembered anew with its key, it is not known")
		}
		if strange := remember(ada, testkit.NewKey(t)); known(ada, strange, frozen) {
			t.Error("a device with another key")
		}
		if his := remember(ada, shared); known(ada, his, frozen) {
			t.Error("known to another account only")
		}
		for _, none := range []device.ID{"", "unknown"} {
			if known(ada, none, frozen) {
				t.Errorf("%q", none)
			}
		}
	})
}
