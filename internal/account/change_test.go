package account_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// holder changes one account's addresses.
type holder struct {
	*account.Service

	t  *testing.T
	id account.ID
}

func eachHolder(t *testing.T, f func(t *testing.T, h holder, clock *dbtest.Clock)) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		s := newService(t, db)
		f(t, holder{s, t, create(t, s, "ada@example.org", "+4741234567")}, clock)
	})
}

func (h holder) do(f func(tx *sqldb.Tx) error) error { return h.DB.Write(h.t.Context(), f) }

func (h holder) add(name string) error {
	return h.do(func(tx *sqldb.Tx) error { return h.Add(h.t.Context(), tx, h.id, signsIn(h.t, name)) })
}

func (h holder) remove(name string) error {
	id := h.idOf(name)
	return h.do(func(tx *sqldb.Tx) error { return h.Remove(h.t.Context(), tx, h.id, id) })
}

func (h holder) uses(name string, u account.Uses) error {
	id := h.idOf(name)
	return h.do(func(tx *sqldb.Tx) error { return h.SetUses(h.t.Context(), tx, h.id, id, u) })
}

func (h holder) undo(since time.Time) (n int) {
	h.t.Helper()
	err := h.do(func(tx *sqldb.Tx) (err error) {
		n, err = h.Undo(h.t.Context(), tx, h.id, since)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

func (h holder) idOf(name string) string {
	for _, a := range addresses(h.t, h.Service, h.id) {
		if a.Normal == name {
			return a.ID
		}
	}
	return ""
}

// has lists the account's addresses with their uses: s(igns in), n(otices), r(ecovers).
func (h holder) has() string {
	var all []string
	for _, a := range addresses(h.t, h.Service, h.id) {
		word := a.Normal + ":"
		for use, is := range map[string]bool{"s": a.SignsIn, "n": a.Notices, "r": a.Recovers} {
			if is {
				word += use
			}
		}
		letters := []byte(word[strings.LastIndex(word, ":")+1:])
		slices.Sort(letters)
		all = append(all, word[:strings.LastIndex(word, ":")+1]+string(letters))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// told lists who is told, and whose word undoes.
func (h holder) told() map[string]bool {
	h.t.Helper()
	reaches, err := in(h.t.Context(), h.DB, func(tx *sqldb.Tx) ([]account.Reach, error) { return h.Reaches(h.t.Context(), tx, h.id) })
	if err != nil {
		h.t.Fatal(err)
	}
	out := map[string]bool{}
	for _, r := range reaches {
		out[r.Normal] = r.Undoes
	}
	return out
}

const before = "+4741234567:nrs ada@example.org:nrs"

// P7: a thief who changes every address cannot keep the holder from hearing of it, nor from taking it back.
func TestATakeoverOfAddressesIsToldAndUndone(t *testing.T) {
	eachHolder(t, func(t *testing.T, h holder, clock *dbtest.Clock) {
		clock.Advance(time.Hour)
		since := h.DB.Now()
		for _, err := range []error{
			h.add("thief@example.net"), h.remove("ada@example.org"),
			h.uses("+4741234567", account.Uses{}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		want := map[string]bool{"thief@example.net": false, "ada@example.org": true, "+4741234567": true}
		clock.Advance(account.Hold - time.Minute)
		if diff := cmp.Diff(want, h.told()); diff != "" {
			t.Error("who is told, and whose word undoes:", diff)
		}
		if got := find(t, h.Service, "ada@example.org"); got.State != account.Decoy {
			t.Error("a removed address signs in")
		}
		if n := h.undo(since); n != 3 {
			t.Errorf("%d changes were undone", n)
		}
		if got := h.has(); got != before {
			t.Errorf("now it has %s", got)
		}
		if got := slices.Collect(maps.Keys(h.told())); len(got) != 2 {
			t.Errorf("told now are %v: the thief's address still among them", got)
		}
		if n := h.undo(since); n != 0 {
			t.Errorf("undone again: %d changes", n)
		}
	})
}

// After 72 hours the removed address is forgotten, and the added one is as good as any.
func TestChangesSettle(t *testing.T) {
	eachHolder(t, func(t *testing.T, h holder, clock *dbtest.Clock) {
		clock.Advance(time.Hour)
		if err := errors.Join(h.add("new@example.net"), h.remove("ada@example.org")); err != nil {
			t.Fatal(err)
		}
		other := holder{h.Service, t, create(t, h.Service, "bob@example.org")}
		taken := func() string { return code(other.add("ada@example.org")) }
		if got := taken(); got != "identifier_taken" {
			t.Errorf("another account takes an address removed lately: %q", got)
		}
		if _, err := in(t.Context(), h.DB, func(tx *sqldb.Tx) (account.ID, error) {
			return h.Create(t.Context(), tx, account.New{Identifiers: []account.NewIdentifier{signsIn(t, "ada@example.org")}})
		}); code(err) != "identifier_taken" {
			t.Errorf("a new account takes it: %v", err)
		}
		if err := h.add("ada@example.org"); err != nil {
			t.Errorf("its own account takes it back: %v", err)
		}
		if err := h.remove("ada@example.org"); err != nil {
			t.Fatal(err)
		}
		clock.Advance(account.Hold)
		if got := taken(); got != "" {
			t.Errorf("after the hold: %q", got)
		}
		if diff := cmp.Diff(map[string]bool{"new@example.net": true, "+4741234567": true}, h.told()); diff != "" {
			t.Error(diff)
		}
		h.undo(h.DB.Now().Add(-30 * 24 * time.Hour))
		if got, want := h.has(), "+4741234567:nrs"; got != want { // what is somebody else's by now stays theirs
			t.Errorf("undone late it has %s, want %s", got, want)
		}
	})
}

// A holder removes an address because somebody reads it. After 72 hours that one must not get it back by the word of
// another address that they read: two addresses open an account.
func TestARemovedAddressDoesNotComeBackWithItsPower(t *testing.T) {
	eachHolder(t, func(t *testing.T, h holder, clock *dbtest.Clock) {
		clock.Advance(time.Hour)
		since := h.DB.Now()
		for _, err := range []error{h.add("new@example.net"), h.uses("+4741234567", account.Uses{Notices: true}), h.remove("ada@example.org")} {
			if err != nil {
				t.Fatal(err)
			}
		}
		clock.Advance(account.Hold)
		h.undo(since)
		if got, want := h.has(), "+4741234567:n ada@example.org:s new@example.net:nrs"; got != want { // what else has settled stays
			t.Errorf("undone late it has %s, want %s", got, want)
		}
		if diff := cmp.Diff(map[string]bool{"+4741234567": true, "new@example.net": true}, h.told()); diff != "" {
			t.Error(diff)
		}
	})
}

// What stays after an undoing is neither counted nor forgotten: who is told "1 change taken back" must find one.
func TestWhatStaysIsNotCountedAsUndone(t *testing.T) {
	eachHolder(t, func(t *testing.T, h holder, clock *dbtest.Clock) {
		began := clock.Now()
		if err := h.uses("ada@example.org", account.Uses{SignsIn: true, Notices: true}); err != nil {
			t.Fatal(err)
		}
		clock.Advance(account.Hold)
		if n := h.undo(began); n != 0 {
			t.Errorf("%d changes undone that stay", n)
		}
		all, err := in(t.Context(), h.DB, func(tx *sqldb.Tx) ([]account.Change, error) { return h.Changes(t.Context(), tx, h.id) })
		if err != nil || len(all) != 1 || all[0].What != "uses" {
			t.Errorf("the change is forgotten: %v, %v", all, err)
		}
	})
}

func TestAnAccountKeepsWhatItNeeds(t *testing.T) {
	eachHolder(t, func(t *testing.T, h holder, _ *dbtest.Clock) {
		for _, c := range []struct {
			what string
			do   func() error
			want string
		}{
			{"twice", func() error { return h.add("ADA@example.org") }, "address_known"},
			{"nobody's", func() error { return h.do(func(tx *sqldb.Tx) error { return h.Remove(t.Context(), tx, h.id, "x") }) }, "not_found"},
			{"unverified", func() error {
				n := account.NewIdentifier{Identifier: parse(t, "x@example.org"), Recovers: true}
				return h.do(func(tx *sqldb.Tx) error { return h.Add(t.Context(), tx, h.id, n) })
			}, "identifier_uses_invalid"},
			{"one of two", func() error { return h.remove("+4741234567") }, ""},
			{"the last", func() error { return h.remove("ada@example.org") }, "last_signin_address"},
			{"the last to sign in with", func() error { return h.uses("ada@example.org", account.Uses{Notices: true}) }, "last_signin_address"},
			{"the last to be told", func() error { return h.uses("ada@example.org", account.Uses{SignsIn: true}) }, "last_notice_address"},
			{"not for recovery", func() error { return h.uses("ada@example.org", account.Uses{SignsIn: true, Notices: true}) }, ""},
		} {
			if got := code(c.do()); got != c.want {
				t.Errorf("%s: %q, want %q", c.what, got, c.want)
			}
		}
		for n := range account.MaxAddresses - 1 {
			if err := h.add(fmt.Sprintf("more%d@example.org", n)); err != nil {
				t.Fatal(err)
			}
		}
		if got := code(h.add("onemore@example.org")); got != "too_many_addresses" {
			t.Errorf("one more: %q", got)
		}
	})
}

// Of many accounts that add one address at once, one has it.
func TestOneAddressGoesToOneAccount(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, db)
		errs := make([]error, 6)
		var wg sync.WaitGroup
		for n := range errs {
			h := holder{s, t, create(t, s, fmt.Sprintf("p%d@example.org", n))}
			wg.Go(func() { errs[n] = h.add("shared@example.org") })
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if code(err) != "identifier_taken" {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d accounts have it", won)
		}
	})
}

func TestFreezeEraseClaims(t *testing.T) {
	eachHolder(t, func(t *testing.T, h holder, clock *dbtest.Clock) {
		ctx := t.Context()
		later := h.DB.Now().Add(72 * time.Hour)
		err := h.do(func(tx *sqldb.Tx) error {
			return errors.Join(h.Freeze(ctx, tx, h.id, later), h.Freeze(ctx, tx, h.id, later.Add(-time.Hour)),
				h.SetClaims(ctx, tx, h.id, map[string]string{"name": "Ada", "birthday": "1815-12-10"}),
				h.SetClaims(ctx, tx, h.id, map[string]string{"birthday": ""}), h.SetLanguage(ctx, tx, h.id, "de"), h.EraseAt(ctx, tx, h.id, later))
		})
		if err != nil {
			t.Fatal(err)
		}
		look := func() (st account.Standing, claims map[string]string, due []account.ID) {
			t.Helper()
			err := h.do(func(tx *sqldb.Tx) (err error) {
				var errs [3]error
				st, errs[0] = h.Standing(ctx, tx, h.id)
				claims, errs[1] = h.Claims(ctx, tx, h.id)
				due, errs[2] = h.DueForErasure(ctx, tx, 10)
				return errors.Join(errs[:]...)
			})
			if err != nil {
				t.Fatal(err)
			}
			return st, claims, due
		}
		st, claims, due := look()
		if !st.FrozenUntil.Equal(later) || !st.EraseAt.Equal(later) || !maps.Equal(claims, map[string]string{"name": "Ada"}) || len(due) != 0 {
			t.Errorf("%+v %v %v", st, claims, due)
		}
		if got := find(t, h.Service, "ada@example.org"); got.Language != "de" {
			t.Errorf("language %q", got.Language)
		}
		clock.Advance(72 * time.Hour)
		if st, _, due = look(); !st.FrozenUntil.IsZero() || !slices.Equal(due, []account.ID{h.id}) {
			t.Errorf("later: %+v %v", st, due)
		}
		for _, want := range []bool{true, false} { // once
			err := h.do(func(tx *sqldb.Tx) error {
				erased, err := h.Erase(ctx, tx, h.id)
				if erased != want {
					t.Errorf("erased %v, want %v", erased, want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if st, claims, due = look(); !st.EraseAt.IsZero() || len(claims) != 0 || len(due) != 0 || h.has() != "" {
			t.Errorf("erased: %+v %v %v %s", st, claims, due, h.has())
		}
		create(t, h.Service, "ada@example.org") // the name is free
	})
}

// Whoever opens an account with an address cannot have one that somebody signs in with, in whatever state, or
// did until lately.
func TestWhatIsTaken(t *testing.T) {
	eachHolder(t, func(t *testing.T, h holder, clock *dbtest.Clock) {
		taken := func(name string) (by account.Account, yes bool) {
			t.Helper()
			err := h.DB.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
				by, yes, err = h.Taken(t.Context(), tx, parse(t, name))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return by, yes
		}
		if by, yes := taken("ada@example.org"); !yes || by.ID != h.id || by.Language == "" {
			t.Errorf("signs in: %+v, %t", by, yes)
		}
		if by, yes := taken("nobody@example.org"); yes || by.ID != "" {
			t.Errorf("nobody's: %+v, %t", by, yes)
		}
		if err := h.remove("+4741234567"); err != nil {
			t.Fatal(err)
		}
		if by, yes := taken("+4741234567"); !yes || by.ID != "" {
			t.Errorf("held: %+v, %t", by, yes)
		}
		clock.Advance(account.Hold + time.Second)
		if _, yes := taken("+4741234567"); yes {
			t.Error("held for ever")
		}
		if err := h.do(func(tx *sqldb.Tx) error { return h.Close(t.Context(), tx, h.id) }); err != nil {
			t.Fatal(err)
		}
		if by, yes := taken("ada@example.org"); !yes || by.ID != h.id {
			t.Errorf("closed: %+v, %t", by, yes)
		}
	})
}
