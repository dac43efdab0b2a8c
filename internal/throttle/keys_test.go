package throttle_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/throttle"
)

// P6: a new key of the server's is no new count for anybody, however many try at once.
func TestCountsGoOnWhenKeysChange(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		keys := testkit.NewKeys(t, db, "")
		s := &throttle.Service{Ring: keys.Ring}
		ladder := throttle.Ladder{Name: "l", Free: 5, Delays: []time.Duration{time.Hour}, Stop: 10}
		rate := throttle.Rate{Name: "r", Burst: 5, Every: time.Minute}
		try := trying(t, db)
		attempt := func(key string) bool {
			return try(func(tx *sqldb.Tx) (bool, error) { return s.Attempt(t.Context(), tx, ladder, key) })
		}
		take := func(key string) bool {
			return try(func(tx *sqldb.Tx) (bool, error) { return s.Take(t.Context(), tx, rate, key) })
		}
		for range 3 {
			if !attempt("a") || !attempt("cleared") || !attempt("forgiven") || !take("a") {
				t.Fatal("refused too early")
			}
		}
		old := keys.Change()
		var tried, taken atomic.Int64
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				if attempt("a") {
					tried.Add(1)
				}
				if take("a") {
					taken.Add(1)
				}
			})
		}
		wg.Wait()
		if tried.Load() != 2 || taken.Load() != 2 {
			t.Errorf("after three of five, %d more were tried and %d taken; want two", tried.Load(), taken.Load())
		}
		// What was counted under the old key alone is cleared and forgiven as well.
		try(func(tx *sqldb.Tx) (bool, error) { return true, s.Clear(t.Context(), tx, ladder, "cleared") })
		try(func(tx *sqldb.Tx) (bool, error) { return true, s.Forgive(t.Context(), tx, ladder, "forgiven") })
		for key, want := range map[string]int{"cleared": 5, "forgiven": 3} {
			n := 0
			for attempt(key) {
				n++
			}
			if n != want {
				t.Errorf("%s: %d more tries, want %d", key, n, want)
			}
		}
		keys.Drop(old)
		if attempt("a") || take("a") {
			t.Error("a count was forgotten with the old key")
		}
		clock.Advance(time.Hour)
		if !attempt("a") || attempt("a") {
			t.Error("want exactly one after the wait")
		}
	})
}

// P6: of what was counted under two old keys, the newer goes on, which has more.
func TestTheNewerOfTwoCountsGoesOn(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		keys := testkit.NewKeys(t, db, "")
		s := &throttle.Service{Ring: keys.Ring}
		ladder := throttle.Ladder{Name: "l", Free: 5, Delays: []time.Duration{time.Hour}, Stop: 10}
		rate := throttle.Rate{Name: "r", Burst: 5, Every: 10 * time.Second} // whose ends are within one step
		const people = 20                                                   // which of two keys comes first is chance
		tried := func(most int) (attempted, taken int) {
			for who := range people {
				err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
					for range most {
						if ok, err := s.Attempt(t.Context(), tx, ladder, strconv.Itoa(who)); err != nil {
							return err
						} else if ok {
							attempted++
						}
						if ok, err := s.Take(t.Context(), tx, rate, strconv.Itoa(who)); err != nil {
							return err
						} else if ok {
							taken++
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			clock.Advance(time.Second)
			return attempted, taken
		}
		tried(1)
		keys.Change()
		tried(3)
		keys.Change()
		if attempted, taken := tried(5); attempted != people || taken != people {
			t.Errorf("after four of five, %d people had %d more tries and %d more were taken; want one each", people, attempted, taken)
		}
	})
}

// P6, P9: of two rows under old keys the one that counts is carried to a new key, whatever a clock that was wrong wrote to the other.
func TestAWrongClockAndTwoNewKeys(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		keys := testkit.NewKeys(t, db, "")
		s := &throttle.Service{Ring: keys.Ring}
		ladder := throttle.Ladder{Name: "l", Free: 100, Delays: []time.Duration{time.Hour}, Stop: 10}
		rate := throttle.Rate{Name: "r", Burst: 5, Every: time.Hour}
		try := trying(t, db)
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
