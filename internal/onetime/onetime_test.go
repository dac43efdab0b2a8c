package onetime_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/onetime"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// desk is where codes are asked for and given back.
type desk struct {
	*onetime.Service

	t  *testing.T
	db *sqldb.DB
}

func each(t *testing.T, f func(t *testing.T, d desk, clock *dbtest.Clock)) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		f(t, desk{&onetime.Service{Ring: testkit.Ring(t), Digits: 6, TTL: 10 * time.Minute}, t, db}, clock)
	})
}

func (d desk) issue(flow string, ends time.Time) onetime.Issued {
	d.t.Helper()
	return d.issueBy(flow, "sms", ends)
}

func (d desk) issueBy(flow, way string, ends time.Time) (i onetime.Issued) {
	d.t.Helper()
	err := d.db.Write(d.t.Context(), func(tx *sqldb.Tx) (err error) {
		i, err = d.Issue(d.t.Context(), tx, onetime.Request{Flow: flow, Account: "ada", Way: way, FlowEnds: ends})
		return err
	})
	if err != nil {
		d.t.Error(err)
	}
	return i
}

func (d desk) spend(flow string, code secret.Token) (ok bool) {
	d.t.Helper()
	err := d.db.Write(d.t.Context(), func(tx *sqldb.Tx) (err error) {
		var way string
		way, ok, err = d.Spend(d.t.Context(), tx, flow, code)
		if ok && way != "sms" {
			d.t.Errorf("went by %q", way)
		}
		return err
	})
	if err != nil {
		d.t.Error(err)
	}
	return ok
}

// Every text message costs money: waits of 20 s, 1, 2 and 5 minutes, and five codes a flow at the most.
func TestWaitsGrowAndEnd(t *testing.T) {
	each(t, func(t *testing.T, d desk, clock *dbtest.Clock) {
		late := d.db.Now().Add(24 * time.Hour)
		for n, wait := range []time.Duration{20 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute} {
			i := d.issue("flow", late)
			if i.TooSoon || !i.ResendAt.Equal(d.db.Now().Add(wait)) {
				t.Fatalf("code %d: %+v, want the next after %s", n+1, i, wait)
			}
			clock.Advance(wait - time.Second)
			if again := d.issue("flow", late); !again.TooSoon || !again.ResendAt.Equal(i.ResendAt) || !d.codeless(again) {
				t.Fatalf("a second before the wait is over: %+v", again)
			}
			clock.Advance(time.Second)
		}
		if i := d.issue("flow", late); i.TooSoon || !i.ResendAt.IsZero() {
			t.Fatalf("the fifth: %+v, want a code and no next", i)
		}
		clock.Advance(time.Hour)
		if i := d.issue("flow", late); !i.TooSoon || !i.ResendAt.IsZero() {
			t.Fatalf("the sixth: %+v", i)
		}
		if i := d.issue("another", late); i.TooSoon {
			t.Fatal("another flow shares the waits")
		}
	})
}

// Whose phone is at home need not wait to have an e-mail. It is no way around the waits: it works once.
func TestTheOtherWayNeedsNoWaitOnce(t *testing.T) {
	each(t, func(t *testing.T, d desk, _ *dbtest.Clock) {
		late := d.db.Now().Add(24 * time.Hour)
		first := d.issue("flow", late)
		if i := d.issueBy("flow", "email", late); i.TooSoon || !i.ResendAt.Equal(d.db.Now().Add(time.Minute)) {
			t.Fatalf("the other way: %+v", i)
		}
		if d.spend("flow", first.Code) {
			t.Error("the first code was spent after the second was sent")
		}
		for _, way := range []string{"sms", "email"} {
			if i := d.issueBy("flow", way, late); !i.TooSoon || !d.codeless(i) {
				t.Fatalf("back and forth, by %s: %+v", way, i)
			}
		}
	})
}

func (d desk) codeless(i onetime.Issued) bool { return i.Code.Empty() && i.ExpiresAt.IsZero() }

// P6, A-6.5.5: ten minutes, never longer than the flow, once, in its own flow, and only the newest.
func TestCodeIsSpentOnceInItsTimeAndItsFlow(t *testing.T) {
	each(t, func(t *testing.T, d desk, clock *dbtest.Clock) {
		late := d.db.Now().Add(24 * time.Hour)
		first := d.issue("flow", late)
		d.issue("other", late)
		if d.spend("other", first.Code) || d.spend("nowhere", first.Code) {
			t.Error("spent in another flow")
		}
		clock.Advance(time.Minute)
		second := d.issue("flow", late)
		if !second.Code.Equal(first.Code) && d.spend("flow", first.Code) { // one in a million is the same
			t.Error("an older code was spent")
		}
		clock.Advance(10*time.Minute - time.Millisecond)
		if !d.spend("flow", second.Code) || d.spend("flow", second.Code) {
			t.Error("want it spent once, to the last moment")
		}
		clock.Advance(time.Hour)
		if i := d.issue("flow", late); !i.TooSoon {
			t.Error("a flow whose code was spent got another")
		}
		short := d.issue("short", d.db.Now().Add(time.Minute))
		if !short.ExpiresAt.Equal(d.db.Now().Add(time.Minute)) {
			t.Errorf("expires %s, and its flow ends before", short.ExpiresAt)
		}
		clock.Advance(time.Minute)
		if d.spend("short", short.Code) {
			t.Error("spent after its time")
		}
	})
}

func TestOfRequestsAtOnceOneSendsAndOneSpends(t *testing.T) {
	each(t, func(t *testing.T, d desk, _ *dbtest.Clock) {
		late := d.db.Now().Add(time.Hour)
		var sent, spent atomic.Int64
		var code atomic.Pointer[secret.Token]
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if i := d.issue("flow", late); !i.TooSoon {
					sent.Add(1)
					code.Store(&i.Code)
				}
			})
		}
		wg.Wait()
		for range 20 {
			wg.Go(func() {
				if d.spend("flow", *code.Load()) {
					spent.Add(1)
				}
			})
		}
		wg.Wait()
		if sent.Load() != 1 || spent.Load() != 1 {
			t.Errorf("%d sent and %d spent, want one each", sent.Load(), spent.Load())
		}
	})
}
