package courier_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/failover"
	"countersign/internal/guard"
	"countersign/internal/message"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/throttle"
)

// asked is a provider that notes what it is asked to take.
type asked struct {
	name string
	fail func(n int) error // of the n-th letter

	mu  sync.Mutex
	all []courier.Message
}

func (a *asked) Name() string { return a.name }

func (a *asked) Send(_ context.Context, m courier.Message) (courier.Receipt, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, m)
	if a.fail != nil {
		return courier.Receipt{ID: "1"}, a.fail(len(a.all))
	}
	return courier.Receipt{ID: "1"}, nil
}

func (a *asked) ids() (ids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.all {
		ids = append(ids, m.ID)
	}
	return ids
}

func choose(t *testing.T, p failover.Policy, all ...courier.Provider) *failover.Provider {
	t.Helper()
	f, err := failover.New(all, nil, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	f.Follow(p)
	return f
}

// Who asks for another code since none has arrived gets it by the next provider, and the one after that by the next again.
func TestAnotherCodeGoesByTheNext(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		a, b, c := &asked{name: "a"}, &asked{name: "b"}, &asked{name: "c"}
		n := start(t, db, everywhere(choose(t, failover.Policy{}, a, b, c)))
		last := ""
		for i, by := range []*asked{a, b, c, a} {
			l := code(message.SMS)
			l.Follows = last
			last = n.put(t, l)
			eventually(t, "sent", func() bool { return states(t, db)["sent"] == i+1 })
			if ids := by.ids(); !slices.Contains(ids, last) {
				t.Errorf("letter %d did not go by %s", i, by.name)
			}
		}
	})
}

// P11: an operator's limit on a provider loses no letter, whatever waits.
func TestLettersWaitTheirTurn(t *testing.T) {
	url := dbtest.NewURL(t, sqldb.SQLite)
	synctest.Test(t, func(t *testing.T) {
		db := bubble(t, url)
		a := &asked{name: "a"}
		n := start(t, db, func(o *courier.Options) {
			everywhere(choose(t, failover.Policy{Rates: map[string]failover.Rate{"a": {Every: 20 * time.Millisecond}}}, a))(o)
			o.Box.Attempts = 1
		})
		for range 500 { // 10 s of them: most find that their turn comes later
			n.put(t, code(message.SMS))
		}
		time.Sleep(9 * time.Second)
		if got := len(a.ids()); got < 400 || got > 451 {
			t.Errorf("%d within nine seconds", got)
		}
		time.Sleep(3 * time.Second)
		if got := states(t, db)["sent"]; got != 500 {
			t.Errorf("%d sent", got)
		}
	})
}

// Where a provider has idempotency keys, the letter's id is one: a letter has the same, however often, by whomever and in whatever order it is tried.
func TestALetterIsTriedUnderOneID(t *testing.T) {
	url := dbtest.NewURL(t, sqldb.SQLite)
	synctest.Test(t, func(t *testing.T) {
		db := bubble(t, url)
		unknown := func(n int) error {
			if n <= 2 {
				return courier.Temporary("no_answer", nil)
			}
			return nil
		}
		a := &asked{name: "a", fail: unknown}
		n := start(t, db, everywhere(a))
		id := n.put(t, code(message.SMS))
		time.Sleep(time.Minute)
		if got := a.ids(); !slices.Equal(got, []string{id, id, id}) {
			t.Errorf("tried as %v, want %s thrice", got, id)
		}
		b, c := &asked{name: "b", fail: unknown}, &asked{name: "c"}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		n = start(t, db, everywhere(choose(t, failover.Policy{}, b, c)))
		id = n.put(t, code(message.SMS))
		time.Sleep(time.Minute)
		if got := append(b.ids(), c.ids()...); !slices.Equal(got, []string{id, id}) {
			t.Errorf("tried as %v, want %s twice", got, id)
		}
	})
}

// The caps count what the provider costs that takes a message, and not the one that would have.
func TestAMessageCostsWhatItsProviderTakes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		down := courier.Temporary("down", nil)
		down.NotTaken = true
		a, b := &asked{name: "a", fail: func(int) error { return down }}, &asked{name: "b"}
		g := &guard.Guard{
			DB: db, Throttle: &throttle.Service{Ring: ring(t)}, Log: slog.New(slog.NewJSONHandler(&testkit.Log{}, nil)),
			Rules: guard.Rules{Prices: guard.Prices{"+49": 1000, "a+49": 70, "b+49": 80}},
		}
		var took []string
		var mu sync.Mutex
		n := start(t, db, func(o *courier.Options) {
			everywhere(choose(t, failover.Policy{}, a, b))(o)
			o.Guard = g
			o.Took = func(m courier.Message, provider string) {
				mu.Lock()
				defer mu.Unlock()
				took = append(took, provider+" "+m.To)
			}
		})
		n.put(t, code(message.SMS))
		eventually(t, "sent", func() bool { return states(t, db)["sent"] == 1 })
		var spent guard.Spent
		err := db.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
			spent, err = g.Spent(t.Context(), tx)
			return err
		})
		if err != nil || spent.Hour != 80 {
			t.Errorf("spent %d, %v; want 80", spent.Hour, err)
		}
		if mu.Lock(); !slices.Equal(took, []string{"b " + phone}) {
			t.Errorf("told %v", took)
		}
		mu.Unlock()
	})
}
