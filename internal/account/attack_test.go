package account_test

import (
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

func (h holder) recovers() (names []string) {
	h.t.Helper()
	all, err := in(h.t.Context(), h.DB, func(tx *sqldb.Tx) ([]account.Address, error) {
		who, err := h.Get(h.t.Context(), tx, h.id)
		if err != nil {
			return nil, err
		}
		return h.Recovers(h.t.Context(), tx, who)
	})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, a := range all {
		names = append(names, a.Normal)
	}
	return names
}

// A stolen session gives an address power to recover at once, which a new one has to wait 72 hours for: the
// address is old, but that it recovers is new. (An address shared with others, kept for notices alone.)
func TestANewUseSettlesFirst(t *testing.T) {
	eachHolder(t, func(t *testing.T, h holder, clock *dbtest.Clock) {
		if err := h.uses("ada@example.org", account.Uses{SignsIn: true, Notices: true}); err != nil {
			t.Fatal(err)
		}
		clock.Advance(30 * 24 * time.Hour)
		if got := h.recovers(); len(got) != 1 {
			t.Fatal(got)
		}
		if err := h.uses("ada@example.org", account.Uses{SignsIn: true, Notices: true, Recovers: true}); err != nil {
			t.Fatal(err)
		}
		if got := h.recovers(); len(got) != 1 {
			t.Errorf("recovers at once: %v", got)
		}
	})
}

// The clock of the node that opened the account was ahead, or an import said a wrong time: every address that is
// added before the account's own time counts as written with it, so a thief's recovers and undoes at once.
func TestAnAddressOlderThanItsAccountIsNotSettled(t *testing.T) {
	eachHolder(t, func(t *testing.T, h holder, clock *dbtest.Clock) {
		clock.Advance(48 * time.Hour) // the wrong clock
		h.id = create(t, h.Service, "bob@example.org")
		clock.Advance(-48 * time.Hour) // the right one
		clock.Advance(time.Hour)
		if err := h.add("thief@example.net"); err != nil {
			t.Fatal(err)
		}
		for name, undoes := range h.told() {
			if name == "thief@example.net" && undoes {
				t.Error("the thief's address takes changes back a moment after it was added")
			}
		}
		for _, name := range h.recovers() {
			if name == "thief@example.net" {
				t.Error("the thief's address recovers the account a moment after it was added")
			}
		}
	})
}
