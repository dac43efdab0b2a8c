package client_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/client"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// count counts a call as the server does.
func (n node) count(header, route string) {
	n.Count(n.judge(header).Caller, route, n.clock.Now())
}

func (n node) flush() {
	n.t.Helper()
	if err := n.Flush(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

// usage is what was counted, by client, version and route.
func (n node) used() map[string][2]int64 {
	n.t.Helper()
	all, err := n.Usage(n.t.Context(), "")
	if err != nil {
		n.t.Fatal(err)
	}
	out := map[string][2]int64{}
	for _, u := range all {
		out[u.Client+" "+u.Version+" "+u.Route] = [2]int64{u.Calls, u.Refused}
	}
	return out
}

func TestCallsAreCounted(t *testing.T) {
	eachTwo(t, func(t *testing.T, a, b node) {
		a.set("ios", client.Change{RefuseBelow: bound(t, "3")})
		a.poll()
		b.poll()
		began := a.clock.Now()
		for range 3 {
			a.count("ios/4.2.1", "GET /x")
			b.count("ios/4.2.1", "GET /x")
			a.clock.Advance(time.Minute)
		}
		a.count("ios/2", "GET /x")
		b.count("ios/4.2.1", "POST /y")
		a.count("", "GET /x")
		b.count("android/9", "GET /x")
		b.count("windows/1", "GET /x")
		a.flush()
		b.flush()
		b.flush()
		want := map[string][2]int64{
			"ios 4.2.1 GET /x": {6, 0}, "ios 2 GET /x": {1, 1}, "ios 4.2.1 POST /y": {1, 0}, "unnamed  GET /x": {1, 0}, "unknown  GET /x": {2, 0},
		}
		if got := a.used(); !maps.Equal(got, want) {
			t.Errorf("%v\nwant %v", got, want)
		}
		all, err := a.Usage(t.Context(), "ios")
		if err != nil || len(all) != 3 || all[0].Route != "GET /x" || all[0].Version != "4.2.1" || all[2].Version != "2" {
			t.Fatalf("newest first: %+v %v", all, err)
		}
		if !all[0].FirstSeen.Equal(began) || !all[0].LastSeen.Equal(began.Add(2*time.Minute)) {
			t.Errorf("first %v last %v, want %v and two minutes more", all[0].FirstSeen, all[0].LastSeen, began)
		}
		totals := a.Totals()
		if totals[client.Total{Client: "ios", Class: client.Current}] != 3 || totals[client.Total{Client: "ios", Class: client.Refused}] != 1 || len(totals) != 3 {
			t.Errorf("totals %v", totals)
		}
	})
}

// What cannot be written is kept, and written when it can be.
func TestCountsOutliveAnOutage(t *testing.T) {
	each(t, func(t *testing.T, n node) {
		n.count("", "GET /x")
		if err := n.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec(t.Context(), `ALTER TABLE client_usage RENAME TO gone`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := n.Flush(t.Context()); err == nil {
			t.Fatal("written nowhere")
		}
		n.count("", "GET /x")
		if err := n.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec(t.Context(), `ALTER TABLE gone RENAME TO client_usage`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		n.flush()
		if got := n.used()["unnamed  GET /x"]; got[0] != 2 {
			t.Errorf("%v", got)
		}
	})
}

func versionsOf(used map[string][2]int64, name string) (out []string) {
	for key := range used {
		if parts := strings.Fields(key); parts[0] == name {
			out = append(out, parts[1])
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func sum(used map[string][2]int64) (n int64) {
	for _, u := range used {
		n += u[0]
	}
	return n
}

// P-4.1, A-15.2.2: however many names and versions are invented, the table has at most so many rows, and no
// call goes uncounted. Two nodes write at once.
func TestAFloodOfNamesAndVersionsStaysBounded(t *testing.T) {
	eachTwo(t, func(t *testing.T, a, b node) {
		a.set("ios", client.Change{})
		a.poll()
		b.poll()
		const each, rounds = 1200, 3
		for round := range rounds {
			var wg sync.WaitGroup
			for i, n := range []node{a, b} {
				wg.Go(func() {
					for k := range each {
						n.count(fmt.Sprintf("ios/%d.%d.%d", i, round, k), "GET /x")
						n.count(fmt.Sprintf("evil-%d/%d", k, k), "GET /x")
						n.count(fmt.Sprintf("%d", k), "GET /x")
					}
					if err := n.Flush(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		used := a.used()
		if got := sum(used); got != 2*rounds*each*3 {
			t.Errorf("%d calls are counted, want %d", got, 2*rounds*each*3)
		}
		if n := len(versionsOf(used, "ios")); n != 51 {
			t.Errorf("%d versions are told apart, want 50 and the rest", n)
		}
		if len(used) != 53 {
			t.Errorf("%d rows: %v", len(used), used)
		}
	})
}

// Versions that somebody invented do not keep a real one out: it has more calls.
func TestARealVersionFindsRoomAmongInventedOnes(t *testing.T) {
	each(t, func(t *testing.T, n node) {
		n.set("ios", client.Change{})
		n.poll()
		for k := range 200 {
			n.count(fmt.Sprintf("ios/66.%d", k), "GET /x")
		}
		n.flush()
		n.count("ios/5.0.0", "GET /x")
		n.count("ios/5.0.0", "POST /y")
		n.flush()
		used := n.used()
		if used["ios 5.0.0 GET /x"][0] != 1 || used["ios 5.0.0 POST /y"][0] != 1 || sum(used) != 202 {
			t.Errorf("%v", used)
		}
		// One with fewer calls than all that are there waits until one has gone unused for a day.
		for k := range 200 {
			if _, has := used[fmt.Sprintf("ios 66.%d GET /x", k)]; has {
				n.count(fmt.Sprintf("ios/66.%d", k), "GET /x")
			}
		}
		n.flush()
		n.count("ios/6.0.0", "GET /x")
		n.flush()
		if _, has := n.used()["ios 6.0.0 GET /x"]; has {
			t.Error("room was made at the cost of one with more calls")
		}
		n.clock.Advance(25 * time.Hour)
		n.count("ios/6.0.0", "GET /x")
		n.flush()
		used = n.used()
		if used["ios 6.0.0 GET /x"][0] != 1 || len(versionsOf(used, "ios")) != 51 {
			t.Errorf("a day later: %v", used)
		}
	})
}

func TestWhatNobodyUsesIsForgotten(t *testing.T) {
	each(t, func(t *testing.T, n node) {
		pruned := func(want int64) {
			t.Helper()
			var got int64
			err := n.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
				got, err = n.Prune(t.Context(), tx)
				return err
			})
			if err != nil || got != want {
				t.Errorf("%d rows, %v, want %d", got, err, want)
			}
		}
		n.count("", "GET /old")
		n.flush()
		n.clock.Advance(90 * 24 * time.Hour)
		n.count("", "GET /new")
		n.flush()
		pruned(0)
		n.clock.Advance(time.Second)
		pruned(1)
		if got := n.used(); len(got) != 1 || got["unnamed  GET /new"][0] != 1 {
			t.Errorf("%v", got)
		}
	})
}

// counting, writing, judging and changing at once loses nothing.
func TestEverythingAtOnce(t *testing.T) {
	each(t, func(t *testing.T, n node) {
		n.set("ios", client.Change{})
		n.poll()
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for k := range 100 {
					n.count(fmt.Sprintf("ios/%d", k%10), "GET /x")
					if k%25 == i {
						if err := n.Flush(t.Context()); err != nil {
							t.Error(err)
						}
						_ = n.Poll(t.Context())
						_ = n.Totals()
					}
				}
			})
		}
		wg.Go(func() {
			for range 10 {
				if _, err := n.Set(t.Context(), "ios", client.Change{WarnBelow: bound(t, "5")}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Wait()
		n.flush()
		if got := sum(n.used()); got != 800 {
			t.Errorf("%d of 800 calls are counted", got)
		}
	})
}

// A call costs no memory once its like has been counted: this is on the way of every request of every app.
func TestAnotherCallCostsNoMemory(t *testing.T) {
	n := newNode(t, dbtest.SQLite(t), testkit.Ring(t), dbtest.NewClock())
	n.set("ios", client.Change{WarnBelow: bound(t, "4")})
	n.poll()
	for name, lines := range map[string][]string{"named": {"ios/3.2.1-beta.2"}, "unnamed": nil, "unknown": {"android/5"}, "malformed": {"x y z"}} {
		call := client.Call{Lines: lines, API: "v1", At: n.clock.Now()}
		got := testing.AllocsPerRun(100, func() { n.Count(n.Judge(call).Caller, "GET /x", call.At) })
		if got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}

func BenchmarkJudgeAndCount(b *testing.B) {
	n := &client.Service{DB: dbtest.SQLite(b)}
	call := client.Call{Lines: []string{"ios/3.2.1"}, API: "v1", At: n.DB.Now()}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n.Count(n.Judge(call).Caller, "GET /x", call.At)
		}
	})
}
