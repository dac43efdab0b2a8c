package account_test

import (
	"sync"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// meanwhile runs one change up to its end, lets another begin, and only then commits the first.
func (h holder) meanwhile(first, second func(tx *sqldb.Tx) error) (errs [2]error) {
	h.t.Helper()
	done, began := make(chan error, 1), make(chan struct{})
	begin := sync.OnceFunc(func() { close(began) })
	errs[0] = h.do(func(tx *sqldb.Tx) error {
		if err := first(tx); err != nil {
			return err
		}
		go func() {
			done <- h.do(func(tx *sqldb.Tx) error {
				if _, err := h.Get(h.t.Context(), tx, h.id); err != nil {
					return err
				}
				begin()
				return second(tx)
			})
		}()
		select {
		case <-began:
			time.Sleep(200 * time.Millisecond) // enough to read what it decides on, were it let
		case <-time.After(time.Second): // SQLite lets nobody begin
		}
		return nil
	})
	errs[1] = <-done
	return errs
}

// Two removals at once: the second sees what the first has left, and leaves one that can be told of things.
func TestTwoRemovalsWaitForOneAnother(t *testing.T) {
	eachHolder(t, func(t *testing.T, h holder, _ *dbtest.Clock) {
		mail, phone := h.idOf("ada@example.org"), h.idOf("+4741234567")
		remove := func(id string) func(tx *sqldb.Tx) error {
			return func(tx *sqldb.Tx) error { return h.Remove(t.Context(), tx, h.id, id) }
		}
		errs := h.meanwhile(remove(mail), remove(phone))
		if errs[0] != nil || fault.Of(errs[1]).Kind != fault.Conflict {
			t.Errorf("%v, then %v", errs[0], errs[1])
		}
	})
}

// A change that was under way when the holder said that it was not them is seen, and undone.
func TestAFreezeMissesNoChangeThatWasUnderWay(t *testing.T) {
	eachHolder(t, func(t *testing.T, h holder, clock *dbtest.Clock) {
		since := clock.Now()
		phone := h.idOf("+4741234567")
		errs := h.meanwhile(func(tx *sqldb.Tx) error {
			if err := h.Alone(t.Context(), tx, h.id); err != nil {
				return err
			}
			st, err := h.Standing(t.Context(), tx, h.id)
			if err != nil || !st.FrozenUntil.IsZero() {
				t.Errorf("frozen already: %v", err)
			}
			return h.Remove(t.Context(), tx, h.id, phone)
		}, func(tx *sqldb.Tx) error {
			if err := h.Freeze(t.Context(), tx, h.id, tx.Now().Add(account.Hold)); err != nil {
				return err
			}
			n, err := h.Undo(t.Context(), tx, h.id, since)
			if n != 1 {
				t.Errorf("%d changes were undone", n)
			}
			return err
		})
		if errs != [2]error{} {
			t.Error(errs)
		}
		h.idOf("+4741234567") // fails the test if it is not there
	})
}

// However often a freeze is prolonged, it began when it began; one that is over is none.
func TestAFreezeHasOneBeginning(t *testing.T) {
	eachHolder(t, func(t *testing.T, h holder, clock *dbtest.Clock) {
		freeze := func() {
			t.Helper()
			if err := h.do(func(tx *sqldb.Tx) error { return h.Freeze(t.Context(), tx, h.id, tx.Now().Add(account.Hold)) }); err != nil {
				t.Fatal(err)
			}
		}
		since := func() (at time.Time) {
			t.Helper()
			if err := h.do(func(tx *sqldb.Tx) error {
				st, err := h.Standing(t.Context(), tx, h.id)
				at = st.FrozenAt
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return at
		}
		began := clock.Now()
		freeze()
		clock.Advance(time.Hour)
		freeze()
		if got := since(); !got.Equal(began) {
			t.Errorf("began %s, want %s", got, began)
		}
		clock.Advance(account.Hold)
		if got := since(); !got.IsZero() {
			t.Errorf("over, and began %s", got)
		}
		freeze()
		if got := since(); !got.Equal(clock.Now()) {
			t.Errorf("the next began %s", got)
		}
	})
}
