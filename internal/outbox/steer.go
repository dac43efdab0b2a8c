package outbox

import (
	"context"
	"time"

	"countersign/internal/message"
	"countersign/internal/platform/sqldb"
)

// Pause keeps a channel's letters waiting, on every node from its next look at the box, which a courier takes twice a second.
// Those under way are not called back. first is false if they were kept waiting already; the reason is then the new one.
func (b *Box) Pause(ctx context.Context, tx *sqldb.Tx, ch message.Channel, why string) (first bool, err error) {
	return pause(ctx, tx, ch, why)
}

// Resume lets a channel's letters leave again. paused is false if they were not kept waiting.
func (b *Box) Resume(ctx context.Context, tx *sqldb.Tx, ch message.Channel) (paused bool, err error) {
	return resume(ctx, tx, ch)
}

// Status is how a channel does. Withheld letters count like the others.
type Status struct {
	Channel     message.Channel `json:"channel"`
	Waiting     int             `json:"waiting"`   // those under way and those tried before included
	UnderWay    int             `json:"under_way"` // with a courier at this moment
	Tried       int             `json:"tried"`     // once or more, and not under way
	Dead        int             `json:"dead"`
	SentLately  int             `json:"sent_last_hour"`
	Oldest      time.Time       `json:"oldest,omitzero"` // when the oldest waiting letter was put
	PausedSince time.Time       `json:"paused_since,omitzero"`
	PausedWhy   string          `json:"paused_why,omitempty"`
}

// Status tells how each channel does that has letters or is paused.
func (b *Box) Status(ctx context.Context) (all []Status, err error) {
	err = b.DB.Read(ctx, func(tx *sqldb.Tx) error {
		all = nil
		return status(ctx, tx, func(s Status) { all = append(all, s) })
	})
	return all, err
}

// lately is what SentLately looks back on.
const lately = time.Hour

// Drop deletes dead letters for good: the one of an id, or all of them if it is empty.
func (b *Box) Drop(ctx context.Context, id string) (n int64, err error) {
	err = b.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		n, err = drop(ctx, tx, id)
		return err
	})
	return n, err
}
