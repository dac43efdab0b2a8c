package outbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

func TestAPausedChannelKeepsItsLetters(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		b := &outbox.Box{DB: db, Ring: ring(t)}
		steer := func(want bool, do func(context.Context, *sqldb.Tx) (bool, error)) {
			t.Helper()
			err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
				got, err := do(t.Context(), tx)
				if got != want {
					t.Errorf("%t, want %t", got, want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		pause := func(why string) func(context.Context, *sqldb.Tx) (bool, error) {
			return func(ctx context.Context, tx *sqldb.Tx) (bool, error) { return b.Pause(ctx, tx, message.SMS, why) }
		}
		resume := func(ctx context.Context, tx *sqldb.Tx) (bool, error) { return b.Resume(ctx, tx, message.SMS) }
		claims := func(ch message.Channel, want int) {
			t.Helper()
			if got, err := b.Claim(t.Context(), ch, 5, time.Minute); err != nil || len(got) != want {
				t.Errorf("%s: %d letters, %v; want %d", ch, len(got), err, want)
			}
		}
		since, put1 := db.Now(), db.Now()
		put(t, db, b, code("+4930"))
		mail := code("a@b.de")
		mail.Channel = message.Email
		put(t, db, b, mail)
		steer(true, pause("first"))
		clock.Advance(time.Second)
		steer(false, pause("second"))
		claims(message.SMS, 0)
		claims(message.Email, 1)
		want := []outbox.Status{
			{Channel: message.Email, Waiting: 1, UnderWay: 1, Oldest: put1},
			{Channel: message.SMS, Waiting: 1, Oldest: put1, PausedSince: since, PausedWhy: "second"},
		}
		got, err := b.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(time.Time.Equal)); diff != "" {
			t.Error(diff)
		}
		if depth, err := b.Depth(t.Context()); err != nil || len(depth) != 2 || depth[0].Paused || !depth[1].Paused {
			t.Errorf("%+v, %v", depth, err)
		}
		steer(true, resume)
		steer(false, resume)
		claims(message.SMS, 1)
	})
}

func TestDeadLettersAreSentAgainAndDeleted(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, _ *dbtest.Clock) {
		woken := 0
		b := &outbox.Box{DB: db, Ring: ring(t), Wake: func(message.Channel) { woken++ }}
		var ids []string
		for range 3 {
			ids = append(ids, put(t, db, b, code("+4930")))
		}
		bury := func(n int) {
			t.Helper()
			letters, err := b.Claim(t.Context(), message.SMS, 5, time.Minute)
			if err != nil || len(letters) != n {
				t.Fatalf("%d letters, %v; want %d", len(letters), err, n)
			}
			for _, l := range letters {
				if err := b.Bury(t.Context(), l, "sms_21211"); err != nil {
					t.Fatal(err)
				}
			}
		}
		bury(3)
		woken = 0
		if n, err := b.Revive(t.Context(), ""); n != 3 || woken != 3 || err != nil {
			t.Errorf("%d letters, woken %d times, %v", n, woken, err)
		}
		bury(3)
		if n, err := b.Drop(t.Context(), ids[0]); n != 1 || err != nil {
			t.Errorf("%d letters, %v", n, err)
		}
		put(t, db, b, code("+4930"))
		if n, err := b.Drop(t.Context(), ""); n != 2 || err != nil {
			t.Errorf("%d letters, %v", n, err)
		}
		if rows := lines(t, db); len(rows) != 1 {
			t.Errorf("the letter that waits must stay: %+v", rows)
		}
	})
}
