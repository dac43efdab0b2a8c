package client_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/internal/client"
	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// node is one node's clients.
type node struct {
	*client.Service

	t     *testing.T
	clock *dbtest.Clock
}

func newNode(t *testing.T, db *sqldb.DB, ring *keyring.Ring, clock *dbtest.Clock) node {
	return node{&client.Service{DB: db, Audit: &audit.Log{Ring: ring}}, t, clock}
}

func each(t *testing.T, f func(t *testing.T, n node)) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) { f(t, newNode(t, db, testkit.Ring(t), clock)) })
}

// eachTwo runs f with two nodes on one database.
func eachTwo(t *testing.T, f func(t *testing.T, a, b node)) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, ring, clock := dbtest.NewURL(t, engine), testkit.Ring(t), dbtest.NewClock()
			f(t, newNode(t, dbtest.Open(t, url, clock), ring, clock), newNode(t, dbtest.Open(t, url, clock), ring, clock))
		})
	}
}

// bound reads a bound that is one.
func bound(t *testing.T, text string) *client.Bound {
	t.Helper()
	b, err := client.ParseBound(text)
	if err != nil {
		t.Fatal(err)
	}
	return &b
}

func (n node) set(name string, c client.Change) client.Rule {
	n.t.Helper()
	r, err := n.Set(n.t.Context(), name, c)
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

func (n node) poll() {
	n.t.Helper()
	if err := n.Poll(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

// judge is how a call of v1 fares; an empty header is none.
func (n node) judge(header string) client.Verdict {
	c := client.Call{API: "v1", At: n.clock.Now()}
	if header != "" {
		c.Lines = []string{header}
	}
	return n.Judge(c)
}

func (n node) is(want client.Class, headers ...string) {
	n.t.Helper()
	for _, h := range headers {
		if got := n.judge(h).Class; got != want {
			n.t.Errorf("%q is %s, want %s", h, got, want)
		}
	}
}

func TestVersionsBelowAreWarnedAndRefused(t *testing.T) {
	each(t, func(t *testing.T, n node) {
		n.poll()
		n.is(client.Current, "", "ios/1", "not a client")
		n.set("ios", client.Change{WarnBelow: bound(t, "4"), RefuseBelow: bound(t, "3.0.0")})
		n.poll()
		n.is(client.Refused, "ios/2.9.9", "ios/3.0.0-rc.1", "ios/0")
		n.is(client.Warned, "ios/3", "ios/3.9.9", "ios/4.0.0-rc.1")
		n.is(client.Current, "ios/4", "ios/4.0.1", "", "android/1", "ios/", "ios/x", "ios")
		if v := n.judge("ios/2"); v.Least != "3.0.0" || !v.Since.IsZero() {
			t.Errorf("refused: %+v", v)
		}
		if v := n.judge("ios/3"); !v.Since.Equal(n.clock.Now()) || !v.Sunset.IsZero() || v.Least != "" {
			t.Errorf("warned: %+v", v)
		}
		if ok, err := n.Clear(t.Context(), "ios"); !ok || err != nil {
			t.Fatal(ok, err)
		}
		n.poll()
		n.is(client.Current, "ios/2", "ios/3")
		if ok, err := n.Clear(t.Context(), "ios"); ok || err != nil {
			t.Error("cleared twice", err)
		}
	})
}

func TestWhoHasNoNameAndWhoIsNotListed(t *testing.T) {
	each(t, func(t *testing.T, n node) {
		n.set("ios", client.Change{})
		n.set(client.Unnamed, client.Change{RefuseBelow: bound(t, "all")})
		n.set(client.Unknown, client.Change{WarnBelow: bound(t, "all")})
		n.poll()
		n.is(client.Current, "ios/1")
		n.is(client.Refused, "", "ios", "ios/1/2", strings.Repeat("a", 10_000)+"/1")
		// To call oneself as they are called is to be unknown, and gives no rule of another's.
		n.is(client.Warned, "android/1", "unnamed/1", "unknown/1", "other/1")
		for header, want := range map[string]string{"": "unnamed", "unnamed/1": "unknown", "android/7": "unknown", "ios/1": "ios"} {
			if v := n.judge(header); v.Client != want || v.Version != "" && want != "ios" {
				t.Errorf("%q is counted as %s %s", header, v.Client, v.Version)
			}
		}
	})
}

// What a Sunset header has said comes true.
func TestAfterItsSunsetWhoWasWarnedIsRefused(t *testing.T) {
	each(t, func(t *testing.T, n node) {
		at := n.clock.Now().Add(time.Hour)
		n.set("ios", client.Change{WarnBelow: bound(t, "4.0"), RefuseBelow: bound(t, "3"), Sunset: &at})
		n.poll()
		n.is(client.Warned, "ios/3.5")
		if v := n.judge("ios/3.5"); !v.Sunset.Equal(at) {
			t.Errorf("%+v", v)
		}
		n.clock.Advance(time.Hour)
		n.is(client.Refused, "ios/3.5", "ios/2")
		n.is(client.Current, "ios/4")
		if v := n.judge("ios/2"); v.Least != "4.0" {
			t.Errorf("told to update to %s, which is refused as well", v.Least)
		}
	})
}

func TestARetiredVersionOfTheAPIServesNobody(t *testing.T) {
	each(t, func(t *testing.T, n node) {
		n.set("ios", client.Change{WarnBelow: bound(t, "4")})
		at := n.clock.Now().Add(time.Hour)
		if err := n.Retire(t.Context(), "v1", at); err != nil {
			t.Fatal(err)
		}
		n.poll()
		n.is(client.Warned, "ios/3", "ios/4", "", "android/1")
		if v := n.judge("ios/4"); !v.Sunset.Equal(at) || v.Since.IsZero() {
			t.Errorf("%+v", v)
		}
		n.clock.Advance(time.Hour)
		n.is(client.Refused, "ios/3", "ios/4", "", "android/1")
		for _, c := range []client.Call{{API: "v1", Open: true}, {API: "v1"}} {
			c.At = n.clock.Now()
			if v := n.Judge(c); !v.Retired {
				t.Errorf("%+v is served", c)
			}
		}
		if v := n.Judge(client.Call{API: "v2", At: n.clock.Now()}); v.Class != client.Current {
			t.Errorf("v2: %+v", v)
		}
		if ok, err := n.Unretire(t.Context(), "v1"); !ok || err != nil {
			t.Fatal(ok, err)
		}
		n.poll()
		n.is(client.Current, "ios/4")
		n.is(client.Warned, "ios/3")
		// At once means at once on a node whose clock is two seconds behind, too.
		if err := n.Retire(t.Context(), "v1", n.clock.Now()); err != nil {
			t.Fatal(err)
		}
		n.poll()
		n.clock.Advance(-2 * time.Second)
		n.is(client.Refused, "ios/4")
	})
}

// Whoever may read the description to learn how to name themselves must not be refused for not having.
func TestTheDescriptionIsOpenToOldVersions(t *testing.T) {
	each(t, func(t *testing.T, n node) {
		n.set(client.Unnamed, client.Change{RefuseBelow: bound(t, "all")})
		n.poll()
		if v := n.Judge(client.Call{API: "v1", Open: true, At: n.clock.Now()}); v.Class != client.Current {
			t.Errorf("%+v", v)
		}
	})
}

func TestRulesThatCannotBe(t *testing.T) {
	each(t, func(t *testing.T, n node) {
		past, later := n.clock.Now(), n.clock.Now().Add(time.Hour)
		for name, c := range map[string]struct {
			client string
			change client.Change
			want   error
		}{
			"no name":              {"", client.Change{}, client.ErrName},
			"upper case":           {"iOS", client.Change{}, client.ErrName},
			"a slash":              {"ios/4", client.Change{}, client.ErrName},
			"too long":             {strings.Repeat("a", 33), client.Change{}, client.ErrName},
			"a version of nobody":  {client.Unnamed, client.Change{WarnBelow: bound(t, "4")}, client.ErrVersions},
			"a version of anybody": {client.Unknown, client.Change{RefuseBelow: bound(t, "4")}, client.ErrVersions},
			"nobody to warn":       {"ios", client.Change{WarnBelow: bound(t, "3"), RefuseBelow: bound(t, "4")}, client.ErrOrder},
			"all refused":          {"ios", client.Change{WarnBelow: bound(t, "3"), RefuseBelow: bound(t, "all")}, client.ErrOrder},
			"a sunset of nobody":   {"ios", client.Change{Sunset: &later}, client.ErrSunset},
			"a sunset in the past": {"ios", client.Change{WarnBelow: bound(t, "3"), Sunset: &past}, client.ErrSunset},
		} {
			if _, err := n.Set(t.Context(), c.client, c.change); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		if rules, apis, err := n.Rules(t.Context()); err != nil || len(rules)+len(apis) != 0 {
			t.Errorf("something was kept: %v %v %v", rules, apis, err)
		}
		for i := range client.MaxClients {
			n.set(fmt.Sprintf("app-%d", i), client.Change{})
		}
		if _, err := n.Set(t.Context(), "one-more", client.Change{}); !errors.Is(err, client.ErrTooMany) {
			t.Errorf("one more: %v", err)
		}
		n.set("app-7", client.Change{WarnBelow: bound(t, "2")})
	})
}

func TestASetChangesWhatItNames(t *testing.T) {
	each(t, func(t *testing.T, n node) {
		later := n.clock.Now().Add(time.Hour)
		n.set("ios", client.Change{WarnBelow: bound(t, "4"), RefuseBelow: bound(t, "3"), Sunset: &later})
		since := n.clock.Now()
		n.clock.Advance(time.Minute)
		r := n.set("ios", client.Change{RefuseBelow: bound(t, "3.1")})
		if r.WarnBelow != *bound(t, "4") || r.RefuseBelow != *bound(t, "3.1") || !r.Sunset.Equal(later) || !r.WarnedAt.Equal(since) {
			t.Errorf("%+v", r)
		}
		if r = n.set("ios", client.Change{Sunset: new(time.Time)}); !r.Sunset.IsZero() || !r.WarnBelow.Set() {
			t.Errorf("%+v", r)
		}
		n.set("ios", client.Change{Sunset: &later})
		if r = n.set("ios", client.Change{WarnBelow: bound(t, "none")}); r.WarnBelow.Set() || !r.WarnedAt.IsZero() || !r.Sunset.IsZero() {
			t.Errorf("%+v", r)
		}
		rules, _, err := n.Rules(t.Context())
		if err != nil || len(rules) != 1 || rules[0] != r {
			t.Errorf("%+v, %v, want %+v", rules, err, r)
		}
	})
}

// Another node follows at its next poll, and holds to what it knew while it cannot ask.
func TestOtherNodesFollow(t *testing.T) {
	eachTwo(t, func(t *testing.T, a, b node) {
		b.poll()
		a.set("ios", client.Change{RefuseBelow: bound(t, "3")})
		b.is(client.Current, "ios/2")
		b.poll()
		b.is(client.Refused, "ios/2")
		a.set("ios", client.Change{RefuseBelow: bound(t, "none")})
		if err := b.DB.Close(); err != nil {
			t.Fatal(err)
		}
		if err := b.Poll(t.Context()); err == nil {
			t.Fatal("it could ask")
		}
		b.clock.Advance(24 * time.Hour)
		b.is(client.Refused, "ios/2")
	})
}

// Two operators at once: each change is kept, and all nodes see both.
func TestChangesAtOnceAreAllKept(t *testing.T) {
	eachTwo(t, func(t *testing.T, a, b node) {
		a.set("ios", client.Change{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := a.Set(t.Context(), "ios", client.Change{WarnBelow: bound(t, "4")}); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if _, err := b.Set(t.Context(), "ios", client.Change{RefuseBelow: bound(t, "3")}); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() { _ = a.Poll(t.Context()); a.judge("ios/2") })
		}
		wg.Wait()
		a.poll()
		b.poll()
		for _, n := range []node{a, b} {
			n.is(client.Refused, "ios/2")
			n.is(client.Warned, "ios/3")
		}
	})
}

// P12: what an operator decides is recorded.
func TestTheOperatorsActsAreRecorded(t *testing.T) {
	each(t, func(t *testing.T, n node) {
		n.set("ios", client.Change{WarnBelow: bound(t, "4")})
		_, err1 := n.Clear(t.Context(), "ios")
		_, err2 := n.Clear(t.Context(), "ios") // does nothing
		err3 := n.Retire(t.Context(), "v1", n.clock.Now())
		_, err4 := n.Unretire(t.Context(), "v1")
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Set(t.Context(), "!", client.Change{}); err == nil {
			t.Fatal("set")
		}
		var got []string
		err := n.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
			return tx.Each(t.Context(), `SELECT kind, actor, detail FROM audit_event ORDER BY id`, func(scan func(...any) error) error {
				var kind, actor, detail string
				err := scan(&kind, &actor, &detail)
				got = append(got, kind+" "+actor+" "+detail)
				return err
			})
		})
		want := []string{
			`client_rule_changed operator {"client":"ios","refuse_below":"","warn_below":"4"}`,
			`client_rule_changed operator {"cleared":"true","client":"ios"}`,
			`api_retired operator {"api":"v1","at":"` + n.clock.Now().Format(time.RFC3339) + `"}`,
			`api_unretired operator {"api":"v1"}`,
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v\n%s\nwant\n%s", err, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

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
