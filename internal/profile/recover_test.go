package profile_test

import (
	"testing"
	"time"

	"countersign/internal/message"
	"countersign/internal/platform/sqldb"
)

// N-4.2.1.1: the saved code is shown when it is made and never again; a new one takes the place of the old.
func TestSavedCode(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		me := h.signIn(ada, "")
		has := func() bool {
			t.Helper()
			o, err := h.Profile.Overview(t.Context(), me)
			h.must(err)
			return o.SavedCode
		}
		if err := h.Profile.DropSavedCode(t.Context(), me, h.Client); code(err) != "not_found" || has() {
			t.Errorf("none: %v", err)
		}
		first, err := h.Profile.NewSavedCode(t.Context(), me, h.Client)
		h.must(err)
		second, err := h.Profile.NewSavedCode(t.Context(), me, h.Client)
		h.must(err)
		if first.Equal(second) || first.Empty() || !has() {
			t.Error("the code is not a new one")
		}
		h.must(h.Profile.DropSavedCode(t.Context(), me, h.Client))
		if has() {
			t.Error("it is still there")
		}
		h.told(message.Email, message.SavedCodeChanged, message.SavedCodeChanged, message.SavedCodeChanged)
		if n := h.events("recovery_saved_code_changed", "person"); n != 3 {
			t.Errorf("%d recorded", n)
		}
	})
}

// N-4.2.1.3: contacts are named and removed by their holder, who is told, as are they.
func TestContacts(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		me, his := h.signIn(h.Account("ada@example.org"), ""), h.signIn(h.Account("bob@example.org"), "")
		h.must(h.Profile.AddContact(t.Context(), me, h.Client, friend))
		h.told(message.Email, message.ContactAdded, message.ContactsChanged)
		bad := friend
		bad.Address = "nobody at all"
		if err := h.Profile.AddContact(t.Context(), me, h.Client, bad); code(err) != "identifier_malformed" {
			t.Error(err)
		}
		if err := h.Profile.AddContact(t.Context(), me, h.Client, friend); code(err) != "contact_known" {
			t.Error(err)
		}
		o, err := h.Profile.Overview(t.Context(), me)
		h.must(err)
		if len(o.Contacts) != 1 || o.Contacts[0].Label != "My sister" {
			t.Fatalf("%v", o.Contacts)
		}
		if err := h.Profile.RemoveContact(t.Context(), his, h.Client, o.Contacts[0].ID); code(err) != "not_found" {
			t.Errorf("somebody else's: %v", err)
		}
		h.told(message.Email)
		h.must(h.Profile.RemoveContact(t.Context(), me, h.Client, o.Contacts[0].ID))
		h.told(message.Email, message.ContactsChanged)
		if n := h.events("recovery_contacts_changed", "person"); n != 2 {
			t.Errorf("%d recorded", n)
		}
	})
}

// N-4.2.1.3-02: once a year holders are asked whether it is all still right.
func TestReviewIsDueOnceAYear(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		due := func() bool {
			t.Helper()
			o, err := h.Profile.Overview(t.Context(), h.signIn(ada, ""))
			h.must(err)
			return o.DueForReview
		}
		if due() {
			t.Error("at once")
		}
		const year = 365 * 24 * time.Hour
		h.clock.Advance(year)
		if !due() {
			t.Error("not after a year")
		}
		for range 2 {
			h.must(h.Profile.Review(t.Context(), h.signIn(ada, "")))
		}
		if due() {
			t.Error("right after a review")
		}
		h.clock.Advance(year)
		if !due() {
			t.Error("not a year after the last")
		}
	})
}

// Whatever somebody who took a session over begins while its holder says that it was not them, is undone
// or refused: nothing slips in between.
func TestAFreezeWaitsForNoOneAndMissesNothing(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org", "+4915112345678")
		thief := h.signIn(ada, "")
		h.clock.Advance(time.Second)
		since := h.clock.Now()
		done := make(chan error)
		phone := h.addresses(ada)["+4915112345678"].ID
		go func() { done <- h.Profile.RemoveAddress(t.Context(), thief, h.Client, phone) }()
		h.write(func(tx *sqldb.Tx) error {
			if err := h.Accounts.Freeze(t.Context(), tx, ada, tx.Now().Add(time.Hour)); err != nil {
				return err
			}
			_, err := h.Accounts.Undo(t.Context(), tx, ada, since)
			return err
		})
		if err := <-done; err != nil && code(err) != "account_frozen" {
			t.Error(err)
		}
		if _, there := h.addresses(ada)["+4915112345678"]; !there {
			t.Error("an address was removed behind the freeze")
		}
	})
}
