package outbox_test

import (
	"sync"
	"testing"

	"countersign/internal/outbox"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// What comes from outside is no reason for an error, which is tried again for ever.
func TestAReportOfALetterThatIsNoText(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, _ *dbtest.Clock) {
		b := &outbox.Box{DB: db, Ring: ring(t)}
		if _, news, err := b.Report(t.Context(), outbox.Told{Letter: "\xff", Provider: "smtp", State: outbox.NotDelivered}); err != nil || news {
			t.Errorf("%v %v", news, err)
		}
	})
}

// One letter whose provider gave an id that PostgreSQL does not take must not have the others, that are sent, stay unsent.
func TestOneOddReceiptSpoilsNoOther(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, _ *dbtest.Clock) {
		b := &outbox.Box{DB: db, Ring: ring(t)}
		const many = 20
		for range many {
			put(t, db, b, code("+4915112345678"))
		}
		var all sync.WaitGroup
		for i, l := range claim(t, b, many) {
			receipt := outbox.Receipt{Provider: "http", ID: "ok"}
			if i == many/2 {
				receipt.ID = "a\x00b"
			}
			all.Go(func() {
				if err := b.Finish(t.Context(), l, receipt); err != nil && receipt.ID == "ok" {
					t.Errorf("a good one: %v", err)
				}
			})
		}
		all.Wait()
	})
}
