package failover_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/failover"
)

// clocked is a provider that notes when it was asked.
type clocked struct {
	line

	at []time.Time
}

func (c *clocked) note() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = append(c.at, time.Now())
}

// most is how many letters it had within the second in which it had most.
func (c *clocked) most() (most int) {
	for i := range c.at {
		n := 0
		for _, at := range c.at[i:] {
			if at.Sub(c.at[i]) >= time.Second {
				break
			}
			n++
		}
		most = max(most, n)
	}
	return most
}

// outbox stands in for the outbox and the courier: what is put off comes back when its turn is.
func outbox(t *testing.T, f *failover.Provider, n int, m courier.Message, sent func(by string)) (asked int) {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	workers := make(chan struct{}, 256)
	for i := range n {
		all.Go(func() {
			mine := m
			mine.ID = fmt.Sprintf("0199-%d", i)
			for {
				workers <- struct{}{}
				rec, err := f.Send(t.Context(), mine)
				mu.Lock()
				asked++
				if err == nil {
					sent(rec.Provider)
				}
				mu.Unlock()
				<-workers
				if err == nil {
					return
				}
				why, ok := errors.AsType[*courier.Error](err)
				if !ok || !why.Turn {
					t.Errorf("lost: %v", err)
					return
				}
				time.Sleep(why.After)
			}
		})
	}
	all.Wait()
	return asked
}

// Five thousand notices by a provider that takes thirty a second: never more than that in any second, none lost, each claimed twice or so, and done as soon as the rate allows.
func TestARateIsKeptAndNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, rate = 5000, 30
		f := of(t, nil, &strings.Builder{}, &line{name: "a"}, &line{name: "b"})
		f.Follow(failover.Policy{Rates: map[string]failover.Rate{"a": {Every: (time.Second + rate - 1) / rate}}})
		began := time.Now()
		var times clocked
		by := map[string]int{}
		asked := outbox(t, f, n, courier.Message{To: german}, func(name string) { by[name]++; times.note() })
		if by["a"] != n {
			t.Errorf("%v: notices are in no hurry, and the next provider was not chosen for them", by)
		}
		if most := times.most(); most > rate {
			t.Errorf("%d within a second", most)
		}
		if took := time.Since(began); took > n/rate*time.Second*11/10 {
			t.Errorf("it took %s", took)
		}
		if asked > 3*n {
			t.Errorf("asked %d times: a busy loop", asked)
		}
	})
}

func TestABurstThatIsAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := of(t, nil, &strings.Builder{}, &line{name: "a"})
		f.Follow(failover.Policy{Rates: map[string]failover.Rate{"a": {Every: time.Second, Burst: 20}}})
		began := time.Now()
		for i := range 22 {
			if _, err := send(t, f, fmt.Sprint(i), german); err != nil {
				t.Fatal(err)
			}
			if i == 19 && time.Since(began) != 0 {
				t.Errorf("twenty took %s", time.Since(began))
			}
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("two more took %s", took)
		}
	})
}

// Who waits for a code does not wait for a turn: it goes by the next provider. Where there is none its turn comes after those that were before it.
func TestACodeGoesByTheNextWhereItsTurnIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := of(t, []failover.Rule{{Prefix: "+33", Providers: []string{"a"}}}, &strings.Builder{}, &line{name: "a"}, &line{name: "b"})
		f.Follow(failover.Policy{Rates: map[string]failover.Rate{"a": {Every: time.Second}}})
		began := time.Now()
		by := map[string]int{}
		outbox(t, f, 100, courier.Message{To: german, Code: true}, func(name string) { by[name]++ })
		if took := time.Since(began); by["a"] != 3 || by["b"] != 97 || took > 2*time.Second {
			t.Errorf("%v after %s", by, took)
		}
		time.Sleep(time.Minute)
		began = time.Now()
		asked := outbox(t, f, 20, courier.Message{To: french, Code: true}, func(string) {})
		if took := time.Since(began); took > 20*time.Second || asked > 40 {
			t.Errorf("twenty by one took %s, and it was asked %d times", took, asked)
		}
	})
}

// What is put off is nobody's failure.
func TestAProviderIsNotLeftForItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		f := of(t, nil, &log, &line{name: "a"})
		f.Follow(failover.Policy{Rates: map[string]failover.Rate{"a": {Every: time.Minute}}})
		for i := range 10 {
			_, _ = send(t, f, fmt.Sprint(i), german)
		}
		if !f.Works()["a"] || log.Len() > 0 {
			t.Error(log.String())
		}
	})
}
