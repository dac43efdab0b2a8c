package recovery_test

import (
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/recovery"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// remove takes an address from an account, as its holder does who has learnt that somebody reads it.
func (m *machine) remove(id account.ID, name string) {
	m.t.Helper()
	m.write(func(tx *sqldb.Tx) error {
		all, err := m.Accounts.Addresses(m.t.Context(), tx, id)
		if err != nil {
			return err
		}
		for _, a := range all {
			if a.Normal == name {
				return m.Accounts.Remove(m.t.Context(), tx, id, a.ID)
			}
		}
		return nil
	})
}

// Somebody reads one of the holder's mailboxes and lets the waiting time run. The holder is told, signs in and
// takes that mailbox off the account. The wait runs on, and ends in a new password: what was proved by an address that
// is none of the account's any more still counts.
func TestAnAddressThatWasRemovedProvesNothing(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		id := m.Account(ada, adaPhone)
		thief := m.proved(ada, "")
		thief.want(recovery.StepWaiting)(thief.wait())
		clock.Advance(time.Hour)
		m.remove(id, ada)
		clock.Advance(72 * time.Hour)
		if n, err := thief.at(); err == nil && n.Step == recovery.StepPassword {
			t.Errorf("the recovery goes on: %s", n.Step)
		}
		if _, err := thief.finish("a password of the thief's"); err == nil || m.opens(id, "a password of the thief's") {
			t.Errorf("an address that its holder removed three days ago has set the password: %v", err)
		}
	})
}

// The same with two proofs, one of them of the removed address: no wait is needed.
func TestARemovedAddressIsNotHalfOfTwoProofs(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		id := m.Account(ada, adaPhone)
		saved := m.savedCode(id)
		thief := m.proved(ada, "")
		m.remove(id, ada)
		clock.Advance(4 * time.Hour)
		n, err := thief.saved(saved)
		if err == nil && n.Step == recovery.StepPassword {
			t.Error("an address that is none of the account's counts as one of two proofs")
		}
	})
}

// A contact whose code was read out proves something also after its holder has removed them.
func TestARemovedContactProvesNothing(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		id := m.Account(ada, adaPhone)
		m.contacts(clock, id, "bob@example.com")
		thief := m.proved(ada, "")
		if _, err := thief.ask(); err != nil {
			t.Fatal(err)
		}
		bobs := m.code("bob@example.com")
		thief.want(recovery.StepPassword)(thief.contact(bobs))
		m.write(func(tx *sqldb.Tx) error {
			all, err := m.Recovery.Contacts(t.Context(), tx, id)
			if err == nil {
				_, err = m.Recovery.RemoveContact(t.Context(), tx, id, all[0].ID)
			}
			return err
		})
		if _, err := thief.finish("a password of the thief's"); err == nil {
			t.Error("a contact that its holder removed meanwhile has set the password")
		}
	})
}

// Somebody has the mailbox and the old password, and stands where the new one is asked for. The holder, who is
// signed in, changes the password: what the old one proved counts still. (Of the saved code it does not:
// TestAnOldSavedCodeProvesNothingAtTheEnd.)
func TestAnOldPasswordProvesNothingAfterItWasChanged(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		id := m.Account(ada, adaPhone)
		thief := m.proved(ada, "")
		thief.want(recovery.StepPassword)(thief.password(testkit.Password))
		clock.Advance(time.Minute)
		if err := m.Passwords.Set(t.Context(), id, newWord, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := thief.finish("a password of the thief's"); err == nil || !m.opens(id, newWord) {
			t.Errorf("the password before has replaced the one that its holder has just set: %v", err)
		}
	})
}

// A thief with a stolen session has asked for the erasure. The holder gets the account back by a recovery, which
// ends everything of the thief's but that: it is erased all the same.
func TestARecoveryCallsTheThiefsErasureOff(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		id := m.Account(ada, adaPhone)
		m.write(func(tx *sqldb.Tx) error {
			_, err := m.Accounts.AskErase(t.Context(), tx, id, tx.Now().Add(14*day))
			return err
		})
		p := m.proved(ada, "")
		p.want(recovery.StepMore)(p.send("sms"))
		p.want(recovery.StepPassword)(p.code("sms", m.code(adaPhone)))
		if _, err := p.finish(newWord); err != nil {
			t.Fatal(err)
		}
		clock.Advance(15 * day)
		if n, err := m.Profile.EraseDue(t.Context()); err != nil || n != 0 {
			t.Errorf("%d accounts erased, %v: its holder had got it back", n, err)
		}
	})
}

// After "this wasn't me" the password is known to somebody. A recovery does not bring it back.
func TestAStoppedPasswordIsNotSetAgain(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ *dbtest.Clock) {
		id := m.Account(ada, adaPhone)
		m.write(func(tx *sqldb.Tx) error { return m.Passwords.Stop(t.Context(), tx, id) })
		p := m.proved(ada, "")
		p.want(recovery.StepMore)(p.send("sms"))
		p.want(recovery.StepPassword)(p.code("sms", m.code(adaPhone)))
		if _, err := p.finish(testkit.Password); fault.Of(err).Code != "password_unchanged" {
			t.Errorf("%v", err)
		}
		if _, err := p.finish(newWord); err != nil || !m.opens(id, newWord) {
			t.Errorf("another: %v", err)
		}
	})
}
