package outbox_test

import (
	"context"
	"testing"
	"time"

	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// A channel is paused between a node's look and its claim. Whoever waits until nothing is under way was told by then that all have left.
func TestWhatIsPausedIsNotClaimed(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, _ *dbtest.Clock) {
		b := &outbox.Box{DB: db, Ring: ring(t)}
		put(t, db, b, code("+4915112345678"))
		looks := 0
		db.Before(func(ctx context.Context, tx *sqldb.Tx) error {
			if looks++; looks != 2 { // the first looks, the second claims
				return nil
			}
			_, err := b.Pause(ctx, tx, message.SMS, "the provider is changed")
			return err
		})
		got, err := b.Claim(t.Context(), message.SMS, 1, time.Minute)
		if err != nil || len(got) != 0 {
			t.Errorf("%d claimed, %v", len(got), err)
		}
	})
}
