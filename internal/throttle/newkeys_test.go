package throttle_test

import (
	"testing"
	"time"

	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/throttle"
)

// P6, P9: of two rows under old keys the one that counts is carried to a new key, whatever a clock that was wrong wrote to the other.
func TestAWrongClockAndTwoNewKeys(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		keys := testkit.NewKeys(t, db, "")
		s := &throttle.Service{Ring: keys.Ring}
		ladder := throttle.Ladder{Name: "l", Free: 100, Delays: []time.Duration{time.Hour}, Stop: 10}
		rate := throttle.Rate{Name: "r", Burst: 5, Every: time.Hour}
		try := func(f func(tx *sqldb.Tx) (bool, error)) (ok bool) {
			err := db.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
				ok, err = f(tx)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		attempt := func() bool {
			return try(func(tx *sqldb.Tx) (bool, error) { return s.Attempt(t.Context(), tx, ladder, "a") })
		}
		take := func() bool {
			return try(func(tx *sqldb.Tx) (bool, error) { return s.Take(t.Context(), tx, rate, "a") })
		}
		clock.Advance(24 * time.Hour) // the clock is wrong
		if !take() || !attempt() {
			t.Fatal("refused too early")
		}
		clock.Advance(-24 * time.Hour) // and is right again
		keys.Change()
		for take() {
		}
		for attempt() {
		}
		if take() || attempt() {
			t.Fatal("not refused")
		}
		keys.Change()
		n, m := 0, 0
		for take() {
			n++
		}
		for attempt() {
			m++
		}
		if n > 0 || m > 0 {
			t.Errorf("after another new key %d more were taken and %d attempted, want none", n, m)
		}
	})
}
