// Package inbox is the provider for development, the demo and tests: it keeps letters in
// memory, where a test or the demo's phone reads them as a person would.
package inbox

import (
	"context"
	"slices"
	"sync"
	"time"

	"countersign/internal/courier"
)

// Inbox is everybody's phone and mailbox. The zero Inbox with a Now is ready; it is safe
// for concurrent use, and one Inbox may serve several channels.
type Inbox struct {
	Now func() time.Time

	mu       sync.Mutex
	letters  []entry
	changed  chan struct{}
	sequence int
}

// Received is a letter that arrived.
type Received struct {
	courier.Message

	Seq int // counts up from 1
	At  time.Time
}

type entry struct {
	Received

	read bool // by Wait
}

// size bounds the memory: of an endless demo, the newest letters are of interest.
const size = 500

// Name returns "inbox".
func (b *Inbox) Name() string { return "inbox" }

// Send keeps the letter. A letter that is sent twice is there twice, as in a real mailbox.
func (b *Inbox) Send(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return courier.Receipt{}, courier.Temporary("inbox_cancelled", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sequence++
	b.letters = append(b.letters, entry{Received: Received{Message: m, Seq: b.sequence, At: b.Now()}})
	if len(b.letters) > size {
		b.letters = slices.Clone(b.letters[len(b.letters)-size:])
	}
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	return courier.Receipt{ID: "inbox-" + m.ID}, nil
}

// Messages returns the letters that are there, the oldest first.
func (b *Inbox) Messages() []Received {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Received, len(b.letters))
	for i, l := range b.letters {
		out[i] = l.Received
	}
	return out
}

// Changed returns a channel that is closed when the next letter arrives. Take it before
// looking at Messages, and no letter is missed.
func (b *Inbox) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

// Wait returns the oldest letter to an address that Wait has not returned before, and waits
// for one until ctx ends.
func (b *Inbox) Wait(ctx context.Context, to string) (Received, error) {
	for {
		changed := b.Changed()
		if r, ok := b.unread(to); ok {
			return r, nil
		}
		select {
		case <-ctx.Done():
			return Received{}, ctx.Err()
		case <-changed:
		}
	}
}

func (b *Inbox) unread(to string) (Received, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.letters {
		if l := &b.letters[i]; !l.read && l.To == to {
			l.read = true
			return l.Received, true
		}
	}
	return Received{}, false
}
