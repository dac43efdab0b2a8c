package recovery_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/recovery"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// With one proof the new password waits, everybody is told, and then the same browser sets it.
func TestOneCodeAndTheWaitingTime(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		for name, c := range map[string]struct {
			names []string
			wait  time.Duration
		}{
			"one address":  {[]string{"one@example.org", "one.name"}, day},
			"an other one": {[]string{"two@example.org", "+4915112345679"}, 3 * day},
		} {
			id := m.Account(c.names...)
			p := m.proved(c.names[0], "")
			n := p.want(recovery.StepWaiting)(p.wait())
			if want := m.DB.Now().Add(c.wait); !n.ReadyAt.Equal(want) {
				t.Fatalf("%s: ready at %v, want %v", name, n.ReadyAt, want)
			}
			if got := m.kinds(c.names[0])[message.RecoveryWaiting]; got != 1 {
				t.Errorf("%s: told %d times, want once", name, got)
			}
			fails(t, "step_out_of_order")(p.wait())
			clock.Advance(c.wait - time.Millisecond)
			fails(t, "step_out_of_order")(p.finish(newWord))
			clock.Advance(time.Millisecond)
			p.want(recovery.StepPassword)(p.at())
			if _, err := p.finish(newWord); err != nil || !m.opens(id, newWord) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	})
}

// The holder stops a recovery that waits from any address; nobody gets in by it any more.
func TestAWaitingRecoveryCanBeStopped(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		id := m.Account(ada, adaPhone)
		p := m.proved(ada, "")
		p.want(recovery.StepWaiting)(p.wait())
		waiting := m.letters(adaPhone)
		if len(waiting) != 1 || !strings.HasPrefix(waiting[0].Params["link"], testkit.Origin+"/stop#csn_") {
			t.Fatalf("%d letters to the phone, which was not proved: %v", len(waiting), waiting)
		}
		stop := func() (stopped bool) {
			m.write(func(tx *sqldb.Tx) (err error) {
				stopped, err = m.Recovery.Stop(t.Context(), tx, id, m.Client)
				return err
			})
			return stopped
		}
		if !stop() || stop() {
			t.Error("want it stopped once")
		}
		if got := m.kinds(ada)[message.RecoveryStopped]; got != 1 {
			t.Errorf("told %d times, want once", got)
		}
		clock.Advance(4 * day)
		fails(t, "flow_ended")(p.finish(newWord))
	})
}

// recovery.wait = 0s lets nobody in with one proof.
func TestWaitingCanBeTurnedOff(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ *dbtest.Clock) {
		m.Account(ada)
		m.Recovery.Wait = 0
		p := m.proved(ada, "")
		if n, err := p.at(); err != nil || n.Wait != 0 {
			t.Errorf("%+v, %v", n, err)
		}
		fails(t, "step_out_of_order")(p.wait())
	})
}

// N-4.2.1.1-01 to -05: the saved code has 120 bits, is read however it is typed, is replaced when it was used, and
// is throttled; it may come first.
func TestSavedCode(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ *dbtest.Clock) {
		id := m.Account(ada)
		code := m.savedCode(id)
		if !regexp.MustCompile(`^([0-9A-HJKMNP-TV-Z]{4}-){5}[0-9A-HJKMNP-TV-Z]{4}$`).MatchString(code.Reveal()) {
			t.Fatal("want six groups of four letters that cannot be mistaken")
		}
		p, _ := m.begin(ada, "mallory@example.org") // the address is gone: the code stands in for it
		p.want(recovery.StepMore)(p.saved(secret.Of(strings.ToLower(strings.ReplaceAll(code.Reveal(), "-", " ")))))
		p.want(recovery.StepMore)(p.saved(code)) // the same proof once more is no second
		p.want(recovery.StepMore)(p.send(factor.Email))
		p.want(recovery.StepPassword)(p.code(factor.Email, m.code(ada)))
		next, err := p.finish(newWord)
		if err != nil || next.Empty() || next.Equal(code) {
			t.Fatalf("%v; want a new code", err)
		}
		if got := m.kinds(ada)[message.SavedCodeChanged]; got != 1 {
			t.Errorf("told %d times, want once", got)
		}
		p, _ = m.begin(ada, "")
		p.refused(p.saved(code))
		p.want(recovery.StepMore)(p.saved(next))
	})
}

// N-4.2.1.1-03: each kind of proof has tries of its own; those at one are no end of the others, nor of sign-in.
func TestEachKindOfProofHasItsOwnTries(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ *dbtest.Clock) {
		right := m.savedCode(m.Account(ada))
		p := m.proved(ada, "")
		for kind, try := range map[string]func() (recovery.Next, error){
			"saved code":    func() (recovery.Next, error) { return p.saved(secret.Of("0000")) },
			"contact":       func() (recovery.Next, error) { return p.contact(secret.Of("00000000")) },
			"old password":  func() (recovery.Next, error) { return p.password("not it, not it, not it") },
			"text message":  func() (recovery.Next, error) { return p.code(factor.SMS, secret.Of("000000")) },
			"other address": func() (recovery.Next, error) { return p.code(factor.Email, secret.Of("000000")) },
		} {
			for n := range 5 {
				if next, err := try(); err != nil || !next.Refused {
					t.Fatalf("%s, try %d: %+v, %v", kind, n+1, next, err)
				}
			}
			fails(t, "too_many_attempts")(try())
		}
		fails(t, "too_many_attempts")(p.saved(right))
		if n, err := m.signIn(ada, testkit.Password); err != nil || n.Step != signin.StepSecond {
			t.Errorf("sign-in: %+v, %v", n, err)
		}
	})
}

// A saved code that was made anew since voids what the old one proved.
func TestAnOldSavedCodeProvesNothingAtTheEnd(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ *dbtest.Clock) {
		id := m.Account(ada)
		p := m.proved(ada, "")
		p.want(recovery.StepPassword)(p.saved(m.savedCode(id)))
		m.savedCode(id)
		fails(t, "flow_ended")(p.finish(newWord))
		if !m.opens(id, testkit.Password) {
			t.Error("the password was replaced")
		}
	})
}

// An account without a saved code, and one that does not exist: nothing fits, not even nothing.
func TestNoSavedCodeIsOpenedByNothing(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ *dbtest.Clock) {
		id := m.Account(ada)
		for _, name := range []string{ada, "ghost@example.org"} {
			p, _ := m.begin(name, "")
			for _, typed := range []string{"", "-", "0000-0000-0000-0000-0000-0000"} {
				p.refused(p.saved(secret.Of(typed)))
			}
		}
		other := m.savedCode(m.Account("bob@example.org"))
		p, _ := m.begin(ada, "")
		p.refused(p.saved(other))
		m.savedCode(id)
		m.write(func(tx *sqldb.Tx) error {
			if has, err := m.Recovery.HasSavedCode(t.Context(), tx, id); err != nil || !has {
				t.Errorf("has %v, %v", has, err)
			}
			err := m.Recovery.DropSavedCode(t.Context(), tx, id)
			if has, e := m.Recovery.HasSavedCode(t.Context(), tx, id); e != nil || has {
				t.Errorf("after dropping: has %v, %v", has, e)
			}
			return err
		})
	})
}

// The old password is a second proof, never a first: stopped or not, but not in the days after "this wasn't me".
func TestOldPassword(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		id := m.Account(ada)
		p, _ := m.begin(ada, "")
		fails(t, "step_out_of_order")(p.password(testkit.Password))
		p.want(recovery.StepMore)(p.code("", m.code(ada)))
		p.refused(p.password("not it, not it, not it"))
		p.want(recovery.StepPassword)(p.password(testkit.Password))

		m.write(func(tx *sqldb.Tx) error {
			if err := m.Accounts.Freeze(t.Context(), tx, id, tx.Now().Add(72*time.Hour)); err != nil {
				return err
			}
			return m.Passwords.Stop(t.Context(), tx, id)
		})
		p = m.proved(ada, "")
		p.refused(p.password(testkit.Password)) // the holder has just said that somebody knows it
		clock.Advance(72 * time.Hour)
		p = m.proved(ada, "")
		p.want(recovery.StepPassword)(p.password(testkit.Password))
		if _, err := p.finish(newWord); err != nil || !m.opens(id, newWord) {
			t.Errorf("%v; want the new password to open", err)
		}
	})
}

// N-4.2.1.3-01: two contacts' codes make one proof, or that of the only one; a code works for a day, once, in its flow.
func TestContacts(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		id := m.Account(ada)
		m.contacts(clock, id, "bob@example.org", "+4915112345679", "carol@example.org")
		p, _ := m.begin(ada, "")
		fails(t, "step_out_of_order")(p.ask()) // nobody is asked before the first proof
		p.want(recovery.StepMore)(p.code("", m.code(ada)))
		if n := p.want(recovery.StepMore)(p.ask()); !n.Asked {
			t.Error("does not say that they were asked")
		}
		p.want(recovery.StepMore)(p.ask()) // once a flow
		letters := m.letters("bob@example.org")
		if len(letters) != 1 || letters[0].Params["holder"] != "Ada Lovelace" {
			t.Fatalf("%d letters to Bob", len(letters))
		}
		bob, carol := secret.Of(letters[0].Params["code"]), m.code("carol@example.org")
		clock.Advance(day - time.Second)
		if n := p.want(recovery.StepMore)(p.contact(bob)); !n.OneMore {
			t.Errorf("%+v; want to be asked for one more", n)
		}
		p.refused(p.contact(bob))
		q := m.proved(ada, "")
		q.refused(q.contact(carol))
		p.want(recovery.StepPassword)(p.contact(carol))
		if _, err := p.finish(newWord); err != nil {
			t.Fatal(err)
		}
	})
}

// The only contact is enough; a code is worth nothing after a day, or when the contact was removed.
func TestOneContact(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		id := m.Account(ada)
		m.contacts(clock, id, "bob@example.org")
		p := m.proved(ada, "")
		p.want(recovery.StepMore)(p.ask())
		late := m.code("bob@example.org")
		clock.Advance(time.Second)
		p.want(recovery.StepWaiting)(p.wait()) // keeps the flow
		clock.Advance(day - time.Second)
		if n, err := p.contact(late); err != nil || !n.Refused {
			if n, err = p.at(); err != nil || n.Step != recovery.StepPassword {
				t.Fatalf("after a day: %+v, %v", n, err)
			}
		}
		p = m.proved(ada, "")
		p.want(recovery.StepMore)(p.ask())
		gone := m.code("bob@example.org")
		q := m.proved(ada, "")
		m.write(func(tx *sqldb.Tx) error {
			all, err := m.Recovery.Contacts(t.Context(), tx, id)
			if err != nil || len(all) != 1 || all[0].Label != "Bob" || all[0].Identifier.Normal() != "bob@example.org" {
				t.Fatalf("contacts: %v, %v", all, err)
			}
			for _, no := range []string{"x", "01890000-0000-7000-8000-000000000000"} {
				if ok, err := m.Recovery.RemoveContact(t.Context(), tx, id, no); err != nil || ok {
					t.Errorf("removing %q: %v, %v", no, ok, err)
				}
			}
			ok, err := m.Recovery.RemoveContact(t.Context(), tx, id, all[0].ID)
			if !ok {
				t.Error("not removed")
			}
			return err
		})
		p.refused(p.contact(gone))
		q.want(recovery.StepMore)(q.ask()) // nobody to ask looks the same
	})
}

// Contacts are asked once a day, and only those whom the holder named and not whoever took over a session.
func TestContactsAreAskedSeldom(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		id := m.Account(ada)
		clock.Advance(day)
		m.contacts(clock, id, "bob@example.org")
		m.write(func(tx *sqldb.Tx) error {
			ident, err := account.Parse("mallory@example.org")
			if err != nil {
				return err
			}
			return m.Recovery.AddContact(t.Context(), tx, id, recovery.Contact{Label: "Mal", Holder: "Ada", Identifier: ident})
		})
		if got := m.kinds("mallory@example.org"); got[message.ContactAdded] != 1 {
			t.Errorf("the contact was not told: %v", got)
		}
		for range 3 {
			p := m.proved(ada, "")
			if n := p.want(recovery.StepMore)(p.ask()); !n.Asked {
				t.Error("over the limit it shows")
			}
		}
		if got := m.kinds("bob@example.org")[message.ContactCode]; got != 1 {
			t.Errorf("%d codes to Bob, want 1", got)
		}
		if !m.code("mallory@example.org").Empty() {
			t.Error("a contact added just now was asked")
		}
	})
}

// Who may be named: another person, once, five at most, where something can be sent.
func TestNamingContacts(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ *dbtest.Clock) {
		id := m.Account(ada, adaPhone)
		add := func(label, holder, address string) error {
			ident, err := account.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			return m.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
				return m.Recovery.AddContact(t.Context(), tx, id, recovery.Contact{Label: label, Holder: holder, Identifier: ident})
			})
		}
		for _, c := range [][4]string{
			{"Bob", "Ada", adaPhone, "contact_is_own"},
			{"", "Ada", "bob@example.org", "contact_malformed"},
			{"Bob", " ", "bob@example.org", "contact_malformed"},
			{strings.Repeat("x", 61), "Ada", "bob@example.org", "contact_malformed"},
			{"Bob", "Ada\n", "bob@example.org", ""},
			{"Bob", "Ada", "bob@example.org", "contact_known"},
			{"Bob", "Ada", "bob.name", "contact_unreachable"},
		} {
			err := add(c[0], c[1], c[2])
			if c[3] == "" {
				if err != nil {
					t.Errorf("%q: %v", c, err)
				}
				continue
			}
			fails(t, c[3])(nil, err)
		}
		for _, a := range []string{"c@example.org", "d@example.org", "e@example.org", "f@example.org"} {
			if err := add("X", "Ada", a); err != nil {
				t.Fatal(err)
			}
		}
		fails(t, "too_many_contacts")(nil, add("X", "Ada", "g@example.org"))
	})
}

// What was made since an attack began can be taken back, and all of it be forgotten.
func TestUndoAndForget(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		id := m.Account(ada)
		m.contacts(clock, id, "bob@example.org")
		since := m.DB.Now()
		m.contacts(clock, id, "mallory@example.org")
		saved := m.savedCode(id)
		left := func() (n int) {
			m.write(func(tx *sqldb.Tx) error {
				all, err := m.Recovery.Contacts(t.Context(), tx, id)
				n = len(all)
				return err
			})
			return n
		}
		m.write(func(tx *sqldb.Tx) error { return m.Recovery.Undo(t.Context(), tx, id, since) })
		if left() != 1 {
			t.Errorf("%d contacts are left, want 1", left())
		}
		p, _ := m.begin(ada, "")
		p.refused(p.saved(saved))
		m.write(func(tx *sqldb.Tx) error { return m.Recovery.Erase(t.Context(), tx, id) })
		if left() != 0 {
			t.Errorf("%d contacts are left, want 0", left())
		}
	})
}

// Two addresses of one kind are two proofs: the second code goes to the other one.
func TestTheOtherAddressOfTheSameKind(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		m.Account(ada, "ada@work.example")
		p := m.proved(ada, "ada@work.example")
		n := p.want(recovery.StepMore)(p.send(factor.Email))
		if n.Sent != factor.Email || !m.code("ada@work.example").Empty() {
			t.Errorf("%+v; a code went to the address that was proved", n)
		}
		if n, err := p.send(factor.Email); err != nil || !n.TooSoon || n.ResendAt.IsZero() {
			t.Errorf("again at once: %+v, %v", n, err)
		}
		p.want(recovery.StepMore)(p.send(factor.SMS)) // nobody has that: the same answer
		clock.Advance(time.Minute)
		p.want(recovery.StepMore)(p.send(factor.Email))
		p.want(recovery.StepPassword)(p.code(factor.Email, m.code(ada)))
	})
}

// Sending again needs no less time than in a sign-in, and by no way but the one typed before the first proof.
func TestSendingAgain(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		m.Account(ada, adaPhone)
		p, _ := m.begin(ada, "")
		first := m.code(ada)
		fails(t, "way_unknown")(p.send(factor.SMS))
		fails(t, "way_unknown")(p.send("pigeon"))
		if n, err := p.send(factor.Email); err != nil || !n.TooSoon {
			t.Fatalf("%+v, %v", n, err)
		}
		clock.Advance(30 * time.Second)
		p.want(recovery.StepCode)(p.send(factor.Email))
		p.refused(p.code("", first))
		p.want(recovery.StepMore)(p.code("", m.code(ada)))
	})
}

// P8: an app or a token that is enrolled must be shown, or a code of the list: no two codes and no waiting
// stand in for it.
func TestEnrolledProofsAreStillAsked(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		const bob = "bob@example.org"
		m.Throttle.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		id, other := m.Account(ada, adaPhone), m.Account(bob, "+4915112345679")
		adas, bobs := m.App(id), m.App(other)
		clock.Advance(time.Minute) // the codes that confirmed them are used up
		list := m.BackupCodesOf(id)
		p := m.proved(ada, "")
		p.want(recovery.StepMore)(p.send(factor.SMS))
		p.want(recovery.StepMore)(p.code(factor.SMS, m.code(adaPhone)))
		fails(t, "step_out_of_order")(p.finish(newWord))
		p.want(recovery.StepWaiting)(p.wait())
		clock.Advance(3 * day)
		fails(t, "step_out_of_order")(p.finish(newWord))
		p.refused(p.own(factor.OTP, bobs.Code())) // of somebody else
		p.want(recovery.StepPassword)(p.own(factor.OTP, adas.Code()))

		p = m.proved(ada, "")
		p.want(recovery.StepPassword)(p.own(factor.Backup, list[0].Reveal()))

		p = m.proved(bob, "")
		p.refused(p.own(factor.Backup, list[1].Reveal()))
		p.want(recovery.StepPassword)(p.own(factor.OTP, bobs.Code()))
		m.write(func(tx *sqldb.Tx) error { // its holder has taken it off the account meanwhile
			_, err := m.Authenticators.Remove(t.Context(), tx, other, bobs.ID)
			return err
		})
		fails(t, "flow_ended")(p.finish(newWord))
	})
}

// P8: a passkey that was added within 72 hours before a recovery, or while it waited, may be somebody else's, and ends with
// it: it would open the account without the new password. One that was there before stays.
func TestARecoveryEndsNewPasskeys(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		m.Throttle.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		id := m.Account(ada, adaPhone)
		m.PasskeyOf(id)
		clock.Advance(account.Hold + time.Minute)
		m.PasskeyOf(id)
		p := m.proved(ada, "")
		p.want(recovery.StepWaiting)(p.wait())
		m.PasskeyOf(id)
		clock.Advance(3 * day)
		if _, err := p.finish(newWord); err != nil {
			t.Fatal(err)
		}
		m.write(func(tx *sqldb.Tx) error {
			all, err := m.Passkeys.List(t.Context(), tx, id)
			if len(all) != 1 {
				t.Errorf("%d passkeys are left, want the old one", len(all))
			}
			return err
		})
	})
}

// P8: whoever has a passkey has no need of a recovery, so for a passkey that is lost there is the waiting time, and the
// long one, however many codes somebody shows.
func TestALostPasskeyWaits(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		id := m.Account(ada, adaPhone)
		m.PasskeyOf(id)
		p := m.proved(ada, "")
		p.want(recovery.StepMore)(p.send(factor.SMS))
		p.want(recovery.StepMore)(p.code(factor.SMS, m.code(adaPhone)))
		fails(t, "step_out_of_order")(p.finish(newWord))
		p.want(recovery.StepWaiting)(p.wait())
		clock.Advance(3*day - time.Minute)
		fails(t, "step_out_of_order")(p.finish(newWord))
		clock.Advance(time.Minute)
		if _, err := p.finish(newWord); err != nil {
			t.Fatal(err)
		}
	})
}
