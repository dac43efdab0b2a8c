package client_test

import (
	"errors"
	"fmt"
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
