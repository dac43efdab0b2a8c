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

// people ask for codes and type some of them.
type people struct {
	t   *testing.T
	f   *failover.Provider
	n   int
	by  map[string]string // who took a letter
	typ map[string]int    // how many of ten codes come back, by provider
}

// ask has n people ask for a code, one a second, and counts by whom the codes went.
func (p *people) ask(n int, to string) map[string]int {
	p.t.Helper()
	out := map[string]int{}
	for range n {
		p.n++
		id := fmt.Sprintf("0199-%d", p.n)
		rec, err := p.f.Send(p.t.Context(), courier.Message{ID: id, To: to, Code: true})
		if err != nil {
			p.t.Fatal(err)
		}
		out[rec.Provider]++
		p.by[id] = rec.Provider
		time.Sleep(time.Second)
		p.judge()
	}
	return out
}

func (p *people) judge() {
	ids := p.f.Due()
	typed := map[string]bool{}
	for _, id := range ids {
		var n int
		if _, err := fmt.Sscanf(id, "0199-%d", &n); err != nil {
			p.t.Fatal(err)
		}
		typed[id] = n%10 < p.typ[p.by[id]]
	}
	p.f.Judge(p.t.Context(), ids, typed)
}

func (p *people) pause() {
	time.Sleep(4 * time.Minute)
	p.judge()
}

func crowd(t *testing.T, log *strings.Builder, policy failover.Policy, typ map[string]int) *people {
	t.Helper()
	f := of(t, nil, log, &line{name: "a"}, &line{name: "b"})
	f.Follow(policy)
	return &people{t: t, f: f, by: map[string]string{}, typ: typ}
}

// A provider that says it delivered, and by which no code comes back, is asked last for that country; a few codes go by it still, and once they come back it
// is taken back.
func TestAProviderWhoseCodesDoNotComeBackIsAskedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		p := crowd(t, &log, failover.Policy{Order: failover.Weighted}, map[string]int{"a": 7, "b": 7})
		if got := p.ask(300, german); got["a"] < 100 || got["b"] < 100 || log.Len() > 0 {
			t.Errorf("both do well: %v %s", got, log.String())
		}
		p.typ["a"] = 1
		p.ask(300, german)
		p.pause()
		if got := p.ask(200, german); got["a"] > 20 || got["a"] == 0 {
			t.Errorf("it does badly: %v, want a few", got)
		}
		for _, said := range []string{"provider=a country=DE codes_come_back=false", "typed=", "of=", "others_share=0.", "usual_share=0."} {
			if !strings.Contains(log.String(), said) {
				t.Errorf("%s does not say %s", log.String(), said)
			}
		}
		if got := p.ask(40, french); got["a"] < 10 {
			t.Errorf("in France: %v", got)
		}
		p.typ["a"] = 7
		p.ask(1200, german)
		p.pause()
		if got := p.ask(200, german); got["a"] < 60 || !strings.Contains(log.String(), "codes_come_back=true") {
			t.Errorf("it does well again: %v", got)
		}
		if strings.Contains(log.String(), "15112345678") {
			t.Error("a number is in the log")
		}
	})
}

// Where nothing is known of others its own usual says that something is wrong.
func TestAProviderIsMeasuredByItsOwnUsual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		p := crowd(t, &log, failover.Policy{}, map[string]int{"a": 8, "b": 8})
		p.ask(300, german)
		p.typ["a"] = 0
		p.ask(100, german)
		p.pause()
		if got := p.ask(20, german); got["b"] < 15 || !strings.Contains(log.String(), "others_share=-1") {
			t.Errorf("%v %s", got, log.String())
		}
	})
}

// Whoever asks for codes and types none makes every provider look bad: then none of them is.
func TestNobodyIsLeftOutForPeopleWhoTypeNoCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := crowd(t, &strings.Builder{}, failover.Policy{}, map[string]int{"a": 7, "b": 7})
		p.ask(300, german)
		p.typ["a"], p.typ["b"] = 0, 0
		p.ask(1000, german)
		p.pause()
		if got := p.ask(40, german); got["a"] < 35 {
			t.Errorf("%v", got)
		}
	})
}

// What is kept does not grow with the letters, and notices are nothing that comes back.
func TestWhatIsKeptOfCodesIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := crowd(t, &strings.Builder{}, failover.Policy{}, nil)
		for i := range 1000 {
			if _, err := p.f.Send(t.Context(), courier.Message{ID: fmt.Sprint(i), To: german, Code: i%2 == 0}); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(p.f.Due()); n != 0 {
			t.Errorf("%d are asked about at once", n)
		}
		time.Sleep(3 * time.Minute)
		if n := len(p.f.Due()); n != 40 {
			t.Errorf("%d are asked about", n)
		}
	})
}
