package throttle_test

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/throttle"
)

func each(t *testing.T, f func(t *testing.T, s *throttle.Service, try func(func(*sqldb.Tx) (bool, error)) bool, clock *dbtest.Clock)) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		f(t, &throttle.Service{Ring: testkit.Ring(t)}, trying(t, db), clock)
	})
}

// trying runs a try in a transaction of its own.
func trying(t *testing.T, db *sqldb.DB) func(func(*sqldb.Tx) (bool, error)) bool {
	return func(fn func(*sqldb.Tx) (bool, error)) (ok bool) {
		err := db.Write(context.Background(), func(tx *sqldb.Tx) (err error) {
			ok, err = fn(tx)
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return ok
	}
}

// C-BM-03: a burst, then a trickle, with no window to wait for the edge of.
func TestRateLetsABurstThroughThenATrickle(t *testing.T) {
	each(t, func(t *testing.T, s *throttle.Service, try func(func(*sqldb.Tx) (bool, error)) bool, clock *dbtest.Clock) {
		rate := throttle.Rate{Name: "r", Burst: 5, Every: time.Minute}
		take := func(key string) bool {
			return try(func(tx *sqldb.Tx) (bool, error) { return s.Take(t.Context(), tx, rate, key) })
		}
		for i := range 7 {
			if got := take("a"); got != (i < 5) {
				t.Fatalf("take %d: %v", i+1, got)
			}
		}
		if !take("b") {
			t.Error("another key shares the limit")
		}
		clock.Advance(59 * time.Second)
		if take("a") {
			t.Error("after 59 s")
		}
		clock.Advance(time.Second)
		if !take("a") || take("a") {
			t.Error("want exactly one after a minute")
		}
		try(func(tx *sqldb.Tx) (bool, error) { return true, s.Give(t.Context(), tx, rate, "a") })
		if !take("a") || take("a") {
			t.Error("want exactly the one given back")
		}
		clock.Advance(24 * time.Hour)
		for i := range 6 {
			if got := take("a"); got != (i < 5) {
				t.Fatalf("a day later, take %d: %v: unused tries must not pile up", i+1, got)
			}
		}
	})
}

func TestLadderGrowsAndStops(t *testing.T) {
	each(t, func(t *testing.T, s *throttle.Service, try func(func(*sqldb.Tx) (bool, error)) bool, clock *dbtest.Clock) {
		l := throttle.Ladder{Name: "l", Free: 3, Delays: []time.Duration{time.Minute, time.Hour}, Stop: 6}
		attempt := func() bool {
			return try(func(tx *sqldb.Tx) (bool, error) { return s.Attempt(t.Context(), tx, l, "a") })
		}
		want := func(when string, w bool) {
			t.Helper()
			if got := attempt(); got != w {
				t.Errorf("%s: %v", when, got)
			}
		}
		for range 3 {
			want("free", true)
		}
		want("at once after the third", false)
		clock.Advance(time.Minute)
		want("after a minute", true)
		clock.Advance(time.Minute)
		want("a minute after the fourth", false)
		clock.Advance(time.Hour)
		want("an hour after the fourth", true)
		clock.Advance(time.Hour)
		want("sixth", true)
		clock.Advance(24 * time.Hour)
		want("after the stop", false)
		try(func(tx *sqldb.Tx) (bool, error) { return true, s.Clear(t.Context(), tx, l, "a") })
		want("cleared", true)
	})
}

// P6, A-15.4.2: parallel tries are counted one by one.
func TestParallelAttemptsAreCounted(t *testing.T) {
	each(t, func(t *testing.T, s *throttle.Service, try func(func(*sqldb.Tx) (bool, error)) bool, _ *dbtest.Clock) {
		l := throttle.Ladder{Name: "l", Free: 5, Delays: []time.Duration{time.Minute}, Stop: 100}
		rate := throttle.Rate{Name: "r", Burst: 7, Every: time.Minute}
		var attempts, takes atomic.Int64
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if try(func(tx *sqldb.Tx) (bool, error) { return s.Attempt(t.Context(), tx, l, "a") }) {
					attempts.Add(1)
				}
				if try(func(tx *sqldb.Tx) (bool, error) { return s.Take(t.Context(), tx, rate, "a") }) {
					takes.Add(1)
				}
			})
		}
		wg.Wait()
		if attempts.Load() != 5 || takes.Load() != 7 {
			t.Fatalf("%d attempts and %d takes passed, want 5 and 7", attempts.Load(), takes.Load())
		}
	})
}

// A source is an IPv4 address or an IPv6 /64; the network around it has eight times the rate.
func TestSourcesAreNetworks(t *testing.T) {
	each(t, func(t *testing.T, s *throttle.Service, try func(func(*sqldb.Tx) (bool, error)) bool, _ *dbtest.Clock) {
		rate := throttle.Rate{Name: "r", Burst: 2, Every: time.Hour}
		take := func(addr string) bool {
			return try(func(tx *sqldb.Tx) (bool, error) {
				return s.TakeSource(t.Context(), tx, rate, netip.MustParseAddr(addr))
			})
		}
		if !take("2001:db8::1") || !take("2001:db8::ffff:2") || take("2001:db8::3") {
			t.Error("one /64 has more than one limit")
		}
		if !take("2001:db8:0:1::1") {
			t.Error("another /64 shares the limit")
		}
		if !take("192.0.2.1") || !take("::ffff:192.0.2.1") || take("192.0.2.1") {
			t.Error("the mapped form of an IPv4 address has its own limit")
		}
		passed := 0
		for i := range 100 {
			if take(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}).String()) {
				passed++
			}
		}
		if passed != 16 {
			t.Errorf("%d of 100 addresses of one /24 passed, want 8 times 2", passed)
		}
		s.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		if !take("192.0.2.1") {
			t.Error("an exempt network is limited")
		}
	})
}

// A clock that was ahead and is set right does not leave everybody refused until it has caught up.
func TestAClockSetBackRefusesNobodyForLong(t *testing.T) {
	each(t, func(t *testing.T, s *throttle.Service, try func(func(*sqldb.Tx) (bool, error)) bool, clock *dbtest.Clock) {
		rate := throttle.Rate{Name: "r", Burst: 3, Every: time.Second}
		take := func() bool {
			return try(func(tx *sqldb.Tx) (bool, error) { return s.Take(t.Context(), tx, rate, "a") })
		}
		ladder := throttle.Ladder{Name: "l", Free: 1, Delays: []time.Duration{time.Minute, time.Hour}, Stop: 100}
		attempt := func() bool {
			return try(func(tx *sqldb.Tx) (bool, error) { return s.Attempt(t.Context(), tx, ladder, "a") })
		}
		attempt()
		for range 2 {
			for i := range 5 {
				if got := take(); got != (i < 3) {
					t.Errorf("take %d: %v", i+1, got)
				}
			}
			if !attempt() || attempt() {
				t.Error("want one attempt, and then a wait")
			}
			clock.Advance(-24 * time.Hour)
		}
	})
}

// P6, P9: a try whose transaction began first and waited for the row is behind the one that it waited
// for by a moment. It is refused like any other, or of many tries at once all would pass.
func TestTriesThatWaitedForTheRowAreCounted(t *testing.T) {
	each(t, func(t *testing.T, s *throttle.Service, try func(func(*sqldb.Tx) (bool, error)) bool, clock *dbtest.Clock) {
		rate := throttle.Rate{Name: "r", Burst: 3, Every: time.Second}
		ladder := throttle.Ladder{Name: "l", Free: 1, Delays: []time.Duration{time.Hour}, Stop: 100}
		take := func() bool {
			return try(func(tx *sqldb.Tx) (bool, error) { return s.Take(t.Context(), tx, rate, "a") })
		}
		attempt := func() bool {
			return try(func(tx *sqldb.Tx) (bool, error) { return s.Attempt(t.Context(), tx, ladder, "a") })
		}
		for range 3 {
			take()
		}
		attempt()
		clock.Advance(time.Hour)
		for range 3 {
			take()
		}
		attempt()
		for _, behind := range []time.Duration{time.Millisecond, 10 * time.Second} {
			clock.Advance(-behind)
			if take() {
				t.Errorf("%s behind: a try of the rate passed", behind)
			}
			if attempt() {
				t.Errorf("%s behind: a try of the ladder passed", behind)
			}
		}
	})
}
