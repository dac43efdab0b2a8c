package failover_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/failover"
)

const german, french = "+4915112345678", "+33612345678"

// went sends n letters, and counts by whom they went.
func went(t *testing.T, f *failover.Provider, n int, m courier.Message) map[string]int {
	t.Helper()
	out := map[string]int{}
	for i := range n {
		m.ID = fmt.Sprintf("0199-%s-%d", t.Name(), i)
		rec, err := f.Send(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		out[rec.Provider]++
	}
	return out
}

func TestWeightsShareLettersOut(t *testing.T) {
	a, b, c := &line{name: "a"}, &line{name: "b"}, &line{name: "c"}
	f := of(t, nil, &strings.Builder{}, a, b, c)
	f.Follow(failover.Policy{Order: failover.Weighted, Weights: map[string]int{"a": 3, "c": 0}})
	got := went(t, f, 2000, courier.Message{To: german})
	if got["a"] < 1400 || got["a"] > 1600 || got["b"] < 400 || got["c"] != 0 {
		t.Errorf("%v, want three to one", got)
	}
	// One letter goes by the same provider however often it is tried, so that its id is known there.
	m := courier.Message{ID: "0199", To: german}
	first := f.First(m)
	for range 20 {
		if rec, err := f.Send(t.Context(), m); err != nil || rec.Provider != first {
			t.Errorf("by %s, %v; before by %s", rec.Provider, err, first)
		}
	}
	a.err, b.err = notTaken(), notTaken()
	if got := went(t, f, 10, courier.Message{To: german}); got["c"] != 10 {
		t.Errorf("the others fail: %v", got)
	}
}

func TestTheCheapestForTheNumber(t *testing.T) {
	f := of(t, []failover.Rule{{Country: "FR", Order: failover.Listed, Providers: []string{"a", "b"}}}, &strings.Builder{}, &line{name: "a"}, &line{name: "b"})
	f.Follow(failover.Policy{Order: failover.Cheapest, Price: func(provider, to string) int64 {
		return map[string]int64{"a+49": 80, "b+49": 70, "a+1": 5, "b+1": 6, "a+4": 9, "b+4": 9}[provider+to[:strings.IndexAny(to, "1 6")]]
	}})
	for to, want := range map[string]string{german: "b", "+15005550006": "a", french: "a", "+4": "a"} {
		if to == "+15005550006" {
			to = "+1 5005550006"
		}
		if to == "+4" {
			to = "+4 "
		}
		if got := went(t, f, 3, courier.Message{To: to}); got[want] != 3 {
			t.Errorf("%s: %v, want %s", to, got, want)
		}
	}
}

// The narrowest rule counts: a beginning before a country before all, and of equals the one for what the letter is.
func TestWhatALetterIsSaysByWhich(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e"}
	var lines []*line
	for _, n := range names {
		lines = append(lines, &line{name: n})
	}
	f := of(t, []failover.Rule{
		{What: failover.Notices, Providers: []string{"b"}},
		{Country: "DE", Providers: []string{"c"}},
		{Country: "DE", What: failover.Codes, Providers: []string{"d"}},
		{Prefix: "+4915", Providers: []string{"e"}},
	}, &strings.Builder{}, lines...)
	for _, c := range []struct {
		to   string
		code bool
		want string
	}{
		{french, true, "a"}, {french, false, "b"}, {"+491701234567", false, "c"}, {"+491701234567", true, "d"}, {german, true, "e"}, {german, false, "e"},
	} {
		if got := went(t, f, 1, courier.Message{To: c.to, Code: c.code}); got[c.want] != 1 {
			t.Errorf("%s, code %v: %v, want %s", c.to, c.code, got, c.want)
		}
	}
}

// The fastest of late is the first; one of which too little is known is asked now and then, until it is known; what was an hour ago does not count.
func TestTheFastestOfLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := of(t, nil, &strings.Builder{}, &line{name: "a"}, &line{name: "b"}, &line{name: "c"})
		f.Follow(failover.Policy{Order: failover.Fastest})
		learn := func(provider, country string, seconds ...int) {
			for _, s := range seconds {
				f.Learn(t.Context(), courier.Report{Provider: provider, Country: country, State: courier.Delivered}, time.Duration(s)*time.Second)
			}
		}
		first := func(want string, to string) {
			t.Helper()
			if got := went(t, f, 400, courier.Message{To: to}); got[want] < 340 {
				t.Errorf("%v, want most by %s", got, want)
			}
		}
		first("a", german) // nothing is known
		learn("a", "DE", 9, 9, 9, 9, 9)
		learn("b", "DE", 4, 4, 4, 60, 60)
		first("b", german) // by the median, and c is asked now and then
		if got := went(t, f, 400, courier.Message{To: german}); got["c"] < 5 || got["c"] > 40 || got["a"] != 0 {
			t.Errorf("%v, want some by c", got)
		}
		learn("c", "DE", 20, 20, 20, 20, 20)
		if got := went(t, f, 400, courier.Message{To: german}); got["b"] != 400 {
			t.Errorf("all are known: %v", got)
		}
		first("a", french)
		learn("b", "DE", 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30) // it became slow
		first("a", german)
		time.Sleep(time.Hour)
		learn("c", "DE", 25, 25, 25, 25, 25)
		first("c", german)
	})
}

// Who asks for another code since none has arrived gets it by a provider that has not been tried, then by the one tried longest ago, whatever else is
// said of them.
func TestAnotherCodeGoesByTheNextProvider(t *testing.T) {
	a, b, c := &line{name: "a"}, &line{name: "b"}, &line{name: "c"}
	f := of(t, nil, &strings.Builder{}, a, b, c)
	for range 10 {
		f.Learn(t.Context(), courier.Report{Provider: "b", Country: "DE", State: courier.NotDelivered}, 0)
	}
	for tried, want := range map[string]string{"": "a", "a": "c", "c,a": "b", "b,c,a": "a", "a,b,c": "c", "smtp": "a", "a,a,b": "c"} {
		if got := went(t, f, 5, courier.Message{To: german, Tried: tried}); got[want] < 4 { // b is looked at now and then
			t.Errorf("after %q: %v, want %s", tried, got, want)
		}
	}
	b.err, c.err = notTaken(), notTaken()
	if got := went(t, f, 1, courier.Message{To: german, Tried: "a"}); got["a"] != 1 {
		t.Errorf("the others fail: %v", got)
	}
}
