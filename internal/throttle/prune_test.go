package throttle_test

import (
	"testing"
	"time"

	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/throttle"
)

// What is deleted too early is a limit that starts afresh: a count of failures outlives its waits
// by far, and goes when nothing was tried for thirty days.
func TestPruneForgetsOnlyWhatLimitsNobody(t *testing.T) {
	each(t, func(t *testing.T, s *throttle.Service, try func(func(*sqldb.Tx) (bool, error)) bool, clock *dbtest.Clock) {
		rate := throttle.Rate{Name: "r", Burst: 2, Every: time.Hour}
		ladder := throttle.Ladder{Name: "l", Free: 1, Delays: []time.Duration{time.Minute}, Stop: 2}
		take := func() bool {
			return try(func(tx *sqldb.Tx) (bool, error) { return s.Take(t.Context(), tx, rate, "a") })
		}
		attempt := func() bool {
			return try(func(tx *sqldb.Tx) (bool, error) { return s.Attempt(t.Context(), tx, ladder, "a") })
		}
		pruned := func(want int64) {
			t.Helper()
			var n int64
			try(func(tx *sqldb.Tx) (_ bool, err error) {
				n, err = s.Prune(t.Context(), tx)
				return true, err
			})
			if n != want {
				t.Errorf("%d rows deleted, want %d", n, want)
			}
		}
		take()
		take()
		attempt()
		clock.Advance(time.Hour - time.Minute)
		pruned(0)
		if take() {
			t.Error("pruning gave a try back")
		}
		attempt()
		clock.Advance(2 * time.Hour)
		pruned(1)
		clock.Advance(29 * 24 * time.Hour)
		pruned(0)
		if attempt() {
			t.Error("after the stop")
		}
		clock.Advance(24 * time.Hour)
		pruned(1)
		if !attempt() {
			t.Error("thirty days later a try is not evaluated")
		}
	})
}

// A bucket's row outlives what it counts, by ten minutes at most unless a try is given back, and yet its end is hardly ever written anew: the index of ends would be two more
// pages of every try.
func TestABucketsEndIsSeldomWritten(t *testing.T) {
	each(t, func(t *testing.T, s *throttle.Service, try func(func(*sqldb.Tx) (bool, error)) bool, clock *dbtest.Clock) {
		rate := throttle.Rate{Name: "r", Burst: 20, Every: 10 * time.Second}
		ends := map[int64]bool{}
		for range 30 {
			try(func(tx *sqldb.Tx) (bool, error) {
				if ok, err := s.Take(t.Context(), tx, rate, "a"); err != nil || !ok {
					t.Fatalf("%v, %v", ok, err)
				}
				var counts, end int64
				err := tx.QueryRow(t.Context(), `SELECT tat, expires_at FROM throttle_bucket`).Scan(&counts, &end)
				if left := time.Duration(end-counts) * time.Millisecond; left <= 0 || left > 10*time.Minute {
					t.Errorf("the row goes %v after what it counts", left)
				}
				ends[end] = true
				return true, err
			})
			clock.Advance(10 * time.Second)
		}
		if len(ends) > 2 { // five minutes, and where the step falls is the clock's
			t.Errorf("the end was written %d times", len(ends))
		}
	})
}
