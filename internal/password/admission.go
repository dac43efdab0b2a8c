package password

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"countersign/internal/platform/fault"
)

// Admission says how busy hashing is, for metrics.
type Admission struct {
	Running, Waiting int
	Parallel         int           // at most so many run
	Places           int           // at most so many wait, by the measured speed
	Refused          uint64        // since the start
	Took             time.Duration // a hash, on average of late
}

// admission lets a fixed number of hashes run and a bounded number wait, first come first
// served. A hash holds its memory only while it runs.
type admission struct {
	parallel int
	maxWait  time.Duration

	mu      sync.Mutex
	inside  int // came in, to be hashed sooner or later
	running int
	waiting list.List // of chan struct{}, closed to admit
	refused uint64
	took    time.Duration
}

// firstGuess is how long a hash takes before one was measured.
const firstGuess = 60 * time.Millisecond

func newAdmission(parallel int, maxWait time.Duration) *admission {
	return &admission{parallel: parallel, maxWait: maxWait, took: firstGuess}
}

// come lets in as many as will have their turn within maxWait. Whoever it returned nil to must call depart.
func (a *admission) come() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.inside >= a.parallel+a.places() {
		a.refused++
		return a.busy(a.inside)
	}
	a.inside++
	return nil
}

func (a *admission) depart() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inside--
}

// enter waits for a turn. Whoever it returned nil to must call leave.
func (a *admission) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a.mu.Lock()
	if a.running < a.parallel && a.waiting.Len() == 0 {
		a.running++
		a.mu.Unlock()
		return nil
	}
	if a.waiting.Len() >= a.places() {
		a.refused++
		err := a.busy(a.waiting.Len())
		a.mu.Unlock()
		return err
	}
	turn := make(chan struct{})
	place := a.waiting.PushBack(turn)
	a.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		a.abandon(place, turn)
		return ctx.Err()
	}
}

// abandon gives a place up. If the turn came at the same moment, it goes to the next.
func (a *admission) abandon(place *list.Element, turn <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-turn:
		a.next()
	default:
		a.waiting.Remove(place)
	}
}

// idle reports whether no hash runs or will, but the caller's, who may have come in.
func (a *admission) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running == 0 && a.inside <= 1
}

// leave ends a turn that took so long. A clock that stands still teaches nothing.
func (a *admission) leave(took time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if took > 0 {
		a.took += (took - a.took) / 8
	}
	a.next()
}

// next hands a turn to the first who waits. The caller holds the lock.
func (a *admission) next() {
	first := a.waiting.Front()
	if first == nil {
		a.running--
		return
	}
	close(a.waiting.Remove(first).(chan struct{})) //nolint:forcetypeassert // nothing else is in the list
}

// places is how many can wait and still have their turn within maxWait.
func (a *admission) places() int {
	return int(a.maxWait * time.Duration(a.parallel) / max(a.took, time.Millisecond))
}

// busy says to come back when so many will have been worked off, in whole seconds.
func (a *admission) busy(ahead int) error {
	drained := a.took * time.Duration(ahead) / time.Duration(a.parallel)
	after := max(time.Second, (drained + time.Second - 1).Truncate(time.Second))
	return fault.Later(fault.Unavailable, "busy", after, errors.New("too many passwords wait to be hashed"))
}

func (a *admission) gauge() Admission {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Admission{
		Running: a.running, Waiting: a.waiting.Len(), Parallel: a.parallel,
		Places: a.places(), Refused: a.refused, Took: a.took,
	}
}
