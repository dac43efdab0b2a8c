package password

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/platform/fault"
)

// Decode, ShapeOf, Missing, DummyOf, Crowd and AsIfReal are for the tests outside the package.
var Decode = decode

// Shape is what the cost of a check depends on.
type Shape struct {
	Params       Params
	Salt, Tag    int
	Key          string
	Usable       bool
	StringLength int
}

func ShapeOf(s *Service, stored Stored) Shape {
	h, usable := s.read(stored.hash)
	return Shape{Params: h.params, Salt: len(h.salt), Tag: len(h.tag), Key: h.keyID, Usable: usable, StringLength: len(stored.hash.PHC)}
}

// DummyOf is a dummy that a password opens.
func DummyOf(h Hash) Stored { return Stored{hash: h, dummy: true} }

// Missing is the cost that makes up for what was did less than p, or none.
func Missing(p, was Params) Params {
	rest, _ := p.missing(was)
	return rest
}

// Crowd takes every turn there is, until they are given back.
func Crowd(t *testing.T, s *Service) (giveBack func()) {
	t.Helper()
	for range s.queue.parallel {
		if err := s.queue.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for range s.queue.parallel {
			s.queue.leave(0)
		}
	}
}

// AsIfReal forgets that stored is a dummy, so that only its tag protects it.
func AsIfReal(stored Stored) Stored {
	stored.dummy = false
	return stored
}

func TestAdmissionRunsAtMostParallelAndFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(2, time.Hour)
		var mu sync.Mutex
		running, most := 0, 0
		var order []int
		for i := range 20 {
			go func() {
				if err := a.enter(t.Context()); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				running++
				most = max(most, running)
				order = append(order, i)
				mu.Unlock()
				time.Sleep(time.Duration(50+i) * time.Millisecond)
				mu.Lock()
				running--
				mu.Unlock()
				a.leave(50 * time.Millisecond)
			}()
			synctest.Wait() // i stands in line before i+1 comes
		}
		if g := a.gauge(); g.Running != 2 || g.Waiting != 18 {
			t.Errorf("while full: %+v", g)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if most != 2 || len(order) != 20 || !slices.IsSorted(order) {
			t.Errorf("at most %d ran, in the order %v", most, order)
		}
		if g := a.gauge(); g.Running != 0 || g.Waiting != 0 {
			t.Errorf("at the end: %+v", g)
		}
	})
}

func TestAdmissionRefusesBeyondMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(2, time.Second)
		for range 50 {
			_ = a.enter(t.Context())
			a.leave(100 * time.Millisecond) // the measured speed: 2 s hold 20 of them
		}
		places := a.gauge().Places
		if places < 18 || places > 21 {
			t.Fatalf("%d places", places)
		}
		for range 2 + places {
			go func() { _ = a.enter(t.Context()) }()
		}
		synctest.Wait()
		err := a.enter(t.Context())
		f := fault.Of(err)
		if err == nil || f.Kind != fault.Unavailable || f.Code != "busy" || f.RetryAfter < time.Second || f.RetryAfter > 2*time.Second {
			t.Errorf("one more: %v after %v", err, f.RetryAfter)
		}
		if g := a.gauge(); g.Refused != 1 || g.Waiting != places {
			t.Errorf("%+v", g)
		}
		for range 2 + places {
			a.leave(0)
			synctest.Wait()
		}
		if g := a.gauge(); g.Running != 0 || g.Waiting != 0 {
			t.Errorf("after all left: %+v", g)
		}
	})
}

// As many may come in as have their turn in time, whatever keeps them before they stand in line.
func TestAdmissionLetsNoCrowdIn(t *testing.T) {
	a := newAdmission(2, time.Second)
	most := 2 + a.gauge().Places
	for i := range most {
		if err := a.come(); err != nil {
			t.Fatalf("number %d of %d: %v", i+1, most, err)
		}
	}
	if f := fault.Of(a.come()); f.Code != "busy" || f.RetryAfter < time.Second || f.RetryAfter > 3*time.Second {
		t.Errorf("one more: %v", f)
	}
	a.depart()
	if err := a.come(); err != nil {
		t.Errorf("when one has gone: %v", err)
	}
}

func TestAdmissionForgetsWhoStoppedWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(1, time.Hour)
		if err := a.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var gone error
		go func() { gone = a.enter(ctx) }()
		synctest.Wait()
		stays := make(chan error)
		go func() { stays <- a.enter(t.Context()) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if g := a.gauge(); !errors.Is(gone, context.Canceled) || g.Waiting != 1 {
			t.Errorf("abandoned with %v; %+v", gone, g)
		}
		a.leave(0)
		if err := <-stays; err != nil {
			t.Error(err)
		}
		a.leave(0)
		if g := a.gauge(); g.Running != 0 || g.Waiting != 0 {
			t.Errorf("at the end: %+v", g)
		}
		if err := a.enter(ctx); !errors.Is(err, context.Canceled) || a.gauge().Running != 0 {
			t.Errorf("who had gone before asking: %v", err)
		}
	})
}

// The turn that comes at the moment its waiter gives up goes to the next.
func TestAdmissionLosesNoTurnToTheRaceOfAbandoning(t *testing.T) {
	a := newAdmission(2, time.Hour)
	var wg sync.WaitGroup
	for i := range 2000 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%50)*10*time.Microsecond)
			defer cancel()
			if a.enter(ctx) == nil {
				time.Sleep(10 * time.Microsecond)
				a.leave(0)
			}
		})
	}
	wg.Wait()
	if g := a.gauge(); g.Running != 0 || g.Waiting != 0 {
		t.Errorf("turns were lost: %+v", g)
	}
}
