package failover_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/failover"
)

// line is a provider that does what the test says.
type line struct {
	name string
	err  error
	hang bool
	took time.Duration

	mu   sync.Mutex
	sent []string
}

func (l *line) Name() string { return l.name }

func (l *line) Send(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	if l.hang {
		<-ctx.Done()
		return courier.Receipt{}, courier.Temporary("line_timeout", nil)
	}
	if l.err != nil {
		return courier.Receipt{}, l.err
	}
	time.Sleep(l.took)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, m.ID)
	return courier.Receipt{ID: "x"}, nil
}

func notTaken() error {
	e := courier.Temporary("line_http_503", nil)
	e.NotTaken = true
	return e
}

func of(t *testing.T, rules []failover.Rule, log *strings.Builder, lines ...*line) *failover.Provider {
	t.Helper()
	var all []courier.Provider
	for _, l := range lines {
		all = append(all, l)
	}
	f, err := failover.New(all, rules, slog.New(slog.NewTextHandler(log, nil)), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func send(t *testing.T, f *failover.Provider, id, to string) (string, error) {
	t.Helper()
	rec, err := f.Send(t.Context(), courier.Message{ID: id, To: to})
	return rec.Provider, err
}

// What a provider has refused for now goes by the next at once; after two failures in a row it is left, asked again with one letter when its
// rest is over, and taken back.
func TestTheNextTakesWhatTheFirstRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		a, b := &line{name: "a"}, &line{name: "b"}
		f := of(t, nil, &log, a, b)
		by := func(id, want string) {
			t.Helper()
			if got, err := send(t, f, id, "+49"); got != want || err != nil {
				t.Errorf("%s went by %q, %v; want %s", id, got, err, want)
			}
		}
		by("1", "a")
		a.err = notTaken()
		by("2", "b")
		by("3", "b")
		if f.Works()["a"] || !strings.Contains(log.String(), "works=false") {
			t.Error("it is not left")
		}
		a.err = nil
		by("4", "b") // not before its rest is over
		time.Sleep(16 * time.Second)
		by("5", "a")
		if !f.Works()["a"] || !strings.Contains(log.String(), "works=true") {
			t.Error("it is not taken back")
		}
		a.err = notTaken()
		by("6", "b")
		by("7", "b")
		time.Sleep(16 * time.Second)
		by("8", "b") // it was asked, and rests twice as long
		a.err = nil
		time.Sleep(16 * time.Second)
		by("9", "b")
		time.Sleep(16 * time.Second)
		by("10", "a")
	})
}

// One of which nobody knows whether it went is not sent by another in the same breath, and its provider is left at once.
func TestAHangingProviderIsLeftInSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &line{name: "a", hang: true}, &line{name: "b"}
		f := of(t, nil, &strings.Builder{}, a, b)
		began := time.Now()
		if _, err := send(t, f, "1", "+49"); err == nil || len(b.sent) != 0 {
			t.Errorf("%v, and by the other %v", err, b.sent)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it waited %s", took)
		}
		if by, err := send(t, f, "1", "+49"); by != "b" || err != nil {
			t.Errorf("the next try: %q, %v", by, err)
		}
	})
}

// A courier has 256 letters under way. Those for a provider that hangs leave room for the others', which are on their way within a second.
func TestAHangingProviderDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &line{name: "a", hang: true}, &line{name: "b", took: 100 * time.Millisecond}
		f := of(t, []failover.Rule{{Prefix: "+49", Providers: []string{"a"}}, {Prefix: "+34", Providers: []string{"b"}}}, &strings.Builder{}, a, b)
		letters := make(chan string, 500)
		for i := range cap(letters) {
			letters <- map[bool]string{true: "+34", false: "+49"}[i%10 == 9]
		}
		close(letters)
		began := time.Now()
		var worst time.Duration
		var mu sync.Mutex
		var workers sync.WaitGroup
		for range 256 {
			workers.Go(func() {
				for to := range letters {
					_, err := f.Send(t.Context(), courier.Message{ID: to, To: to})
					mu.Lock()
					if took := time.Since(began); to == "+34" {
						worst = max(worst, took)
						if err != nil {
							t.Error(err)
						}
					}
					mu.Unlock()
				}
			})
		}
		workers.Wait()
		if len(b.sent) != 50 || worst > time.Second {
			t.Errorf("%d letters by the other, the last after %s", len(b.sent), worst)
		}
	})
}

// More than one provider can do at once goes by the next.
func TestWhatIsTooMuchForOneGoesByTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &line{name: "a", took: 2 * time.Second}, &line{name: "b"}
		f := of(t, nil, &strings.Builder{}, a, b)
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				if _, err := f.Send(t.Context(), courier.Message{ID: fmt.Sprint(i), To: "+49"}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(a.sent) != 64 || len(b.sent) != 36 {
			t.Errorf("%d by one and %d by the other", len(a.sent), len(b.sent))
		}
	})
}

func TestARefusalForGoodIsTheLettersOwn(t *testing.T) {
	a, b := &line{name: "a", err: courier.Permanent("line_no_such_number")}, &line{name: "b"}
	f := of(t, nil, &strings.Builder{}, a, b)
	for range 5 {
		_, err := send(t, f, "1", "+49")
		if why, ok := errors.AsType[*courier.Error](err); !ok || !why.Permanent {
			t.Errorf("%v", err)
		}
	}
	if !f.Works()["a"] || len(b.sent) != 0 {
		t.Error("a provider is left for a number that there is not")
	}
}

func TestWhereALetterGoesSaysByWhich(t *testing.T) {
	a, b, c := &line{name: "a"}, &line{name: "b"}, &line{name: "c"}
	f := of(t, []failover.Rule{{Prefix: "+49", Providers: []string{"b", "a"}}, {Prefix: "+491", Providers: []string{"c"}}}, &strings.Builder{}, a, b, c)
	for to, want := range map[string]string{"+4930": "b", "+4915": "c", "+47": "a"} {
		if got, err := send(t, f, to, to); got != want || err != nil {
			t.Errorf("%s by %q, %v; want %s", to, got, err, want)
		}
	}
	c.err = notTaken()
	for range 3 {
		if _, err := send(t, f, "1", "+4915"); err == nil {
			t.Error("it went by one that its rule does not name")
		}
	}
}

func TestProvidersThatAreNotThere(t *testing.T) {
	one := []courier.Provider{&line{name: "a"}}
	for what, c := range map[string]struct {
		providers []courier.Provider
		rules     []failover.Rule
	}{
		"none":            {nil, nil},
		"one twice":       {append(one, one...), nil},
		"one nobody made": {one, []failover.Rule{{Prefix: "+1", Providers: []string{"b"}}}},
	} {
		if _, err := failover.New(c.providers, c.rules, slog.New(slog.DiscardHandler), time.Now); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// A provider dies in mid-load: every letter goes by the other, none twice.
func TestAProviderDiesInMidLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &line{name: "a"}, &line{name: "b"}
		f := of(t, nil, &strings.Builder{}, a, b)
		for i := range 1000 {
			if i == 500 {
				a.err = notTaken()
			}
			if _, err := send(t, f, fmt.Sprint(i), "+49"); err != nil {
				t.Fatalf("letter %d: %v", i, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if len(a.sent) != 500 || len(b.sent) != 500 {
			t.Errorf("%d by one and %d by the other", len(a.sent), len(b.sent))
		}
	})
}

// A provider that takes letters which do not arrive goes to the end of the order for that country, and is never left out; after a while it is tried again.
func TestAProviderWhoseLettersDoNotArriveIsAskedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		a, b := &line{name: "a"}, &line{name: "b"}
		f := of(t, nil, &log, a, b)
		learn := func(provider, country string, state courier.State, n int) {
			for range n {
				f.Learn(t.Context(), courier.Report{Provider: provider, Country: country, State: state}, time.Second)
			}
		}
		by := func(to string) string {
			t.Helper()
			got, err := send(t, f, "1", to)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		learn("a", "DE", courier.NotDelivered, 9)
		learn("a", "DE", courier.Unclear, 50) // which says nothing
		learn("nobody", "DE", courier.NotDelivered, 50)
		if got := by(german); got != "a" {
			t.Errorf("after nine: %s", got)
		}
		learn("a", "DE", courier.NotDelivered, 1)
		if got := by(german) + by(french); got != "ba" {
			t.Errorf("after ten: %s", got)
		}
		learn("b", "DE", courier.NotDelivered, 10) // as when somebody asks for codes to dead numbers
		if got := by(german); got != "a" {
			t.Errorf("both are bad: %s", got)
		}
		learn("a", "DE", courier.Delivered, 10)
		learn("b", "DE", courier.Delivered, 9)
		if got := by(german); got != "a" {
			t.Errorf("half arrive: %s", got)
		}
		learn("a", "FR", courier.NotDelivered, 20)
		if got := by(french); got != "b" {
			t.Errorf("in France: %s", got)
		}
		time.Sleep(15 * time.Minute)
		if got := by(french); got != "a" {
			t.Errorf("later: %s", got)
		}
		if !strings.Contains(log.String(), "country=FR arrives=false") || strings.Contains(log.String(), "612345678") {
			t.Error(log.String())
		}
	})
}

// An operator who tries a letter sees why it went by another provider, or by none; of what is not ours no word is told.
func TestWhatProvidersSaidIsTold(t *testing.T) {
	a, b := &line{name: "a", err: notTaken()}, &line{name: "b"}
	f := of(t, nil, &strings.Builder{}, a, b)
	m := courier.Message{ID: "1", To: "+4915112345678"}
	rec, err := f.Send(t.Context(), m)
	if err != nil || strings.Join(rec.Before, "|") != "a: "+notTaken().Error() {
		t.Errorf("%q, %v", rec.Before, err)
	}
	b.err = errors.New("no such number: +4915112345678")
	_, err = f.Send(t.Context(), m)
	if !errors.Is(err, b.err) || !strings.HasPrefix(err.Error(), "a: "+notTaken().Error()) {
		t.Errorf("%v", err)
	}
	a.err, b.err = b.err, nil
	if rec, err := f.Send(t.Context(), m); err == nil && strings.Contains(strings.Join(rec.Before, ""), "+49") {
		t.Errorf("a number is told: %q", rec.Before)
	}
}
