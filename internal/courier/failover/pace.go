package failover

import (
	"context"
	"time"
)

// Rate is how many letters a provider takes: Burst at once, and then one each Every.
type Rate struct {
	Every time.Duration
	Burst int // less than 1 is 1
}

// holds is how long a letter waits for its turn while a courier's worker waits with it. Whoever sits before a code's page does not notice; a turn that
// comes later is promised, and the letter goes back to the outbox until then.
const holds = 2 * time.Second

// pace spreads a provider's letters over time (the virtual scheduling of GCRA).
type pace struct {
	next time.Time // when the next letter would go if none had gone in a burst
	tail time.Time // the latest turn that was promised
}

// wait is how long it takes until a provider's next turn. The caller holds the lock.
func (p *pace) wait(r Rate, now time.Time) time.Duration {
	if p.next.Before(now) {
		return 0
	}
	return max(0, p.next.Sub(now)-time.Duration(max(r.Burst, 1)-1)*r.Every)
}

// turn takes the next turn, if that comes soon.
func (l *leg) turn(now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate.Every == 0 {
		return 0, true
	}
	if wait = l.pace.wait(l.rate, now); wait > holds {
		return 0, false
	}
	if l.pace.next.Before(now) {
		l.pace.next = now
	}
	l.pace.next = l.pace.next.Add(l.rate.Every)
	return wait, true
}

// promise is when a letter that found no turn may ask again: each at a time of its own, so that ten thousand of them are claimed once each and not all of them
// again and again.
func (l *leg) promise(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if next := now.Add(l.pace.wait(l.rate, now)); l.pace.tail.Before(next) {
		l.pace.tail = next
	}
	at := l.pace.tail
	l.pace.tail = at.Add(l.rate.Every)
	return at.Sub(now)
}

// soonest is the one of two that has its next turn sooner.
func soonest(a, b *leg, now time.Time) *leg {
	if a == nil || b.due(now).Before(a.due(now)) {
		return b
	}
	return a
}

func (l *leg) due(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if next := now.Add(l.pace.wait(l.rate, now)); l.pace.tail.Before(next) {
		return next
	}
	return l.pace.tail
}

// sleep reports whether ctx outlived it.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
