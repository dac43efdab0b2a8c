package signin_test

import (
	"sync"
	"testing"
	"time"

	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// session checks the token that a sign-in gave.
func (b *browser) session(n signin.Next) session.Session {
	b.t.Helper()
	s, err := b.m.Sessions.Check(b.t.Context(), n.Session.Token)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *browser) again(me session.Session, pw string) (signin.Ref, signin.Next) {
	b.t.Helper()
	ref, n, err := b.tryAgain(me, pw)
	if err != nil {
		b.t.Fatal(err)
	}
	return ref, n
}

func (b *browser) tryAgain(me session.Session, pw string) (ref signin.Ref, n signin.Next, err error) {
	b.t.Helper()
	st, err := b.m.Again(b.t.Context(), me, signin.Begin{Browser: b.secret, Client: b.m.Client, Handles: b.handles, Back: "home"})
	if err != nil {
		return ref, n, err
	}
	ref = signin.Ref{Flow: st.Flow, Browser: b.secret}
	n, err = b.m.Password(b.t.Context(), ref, b.m.Client, signin.PasswordProof{Password: pw, Handles: b.handles})
	return ref, n, err
}

func alive(t *testing.T, m *testkit.Machine, token secret.Token) bool {
	t.Helper()
	_, err := m.Sessions.Check(t.Context(), token)
	if err != nil && code(err) != "session_ended" {
		t.Fatal(err)
	}
	return err == nil
}

// N-5.2: proving once more who one is ends in a new token with a new time, and the old one is worthless.
func TestProvingAgainReplacesTheSession(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account("ada@example.org")
		for _, remembered := range []bool{true, false} {
			b := newBrowser(t, m)
			before := b.signIn("ada@example.org", factor.Email, remembered)
			clock.Advance(time.Hour)
			ref, n := b.again(b.session(before), testkit.Password)
			if !n.Again || n.Back != "home" {
				t.Errorf("the flow does not know its way back: %+v", n)
			}
			if remembered {
				n = b.prove(ref, n)
			} else {
				var err error
				if n, err = m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: b.code(ref, factor.Email)}); err != nil {
					t.Fatal(err)
				}
			}
			if n.Step != signin.StepDone || !n.Again || n.Back != "home" {
				t.Fatalf("%+v", n)
			}
			if now := b.session(n); !now.AuthenticatedAt.Equal(clock.Now()) || alive(t, m, before.Session.Token) {
				t.Errorf("remembered %v: authenticated at %s, and the old session must be over", remembered, now.AuthenticatedAt)
			}
		}
	})
}

// Two tabs prove at once who is signed in, from one session: one session remains, and not two.
func TestTwoProofsOfOneSessionLeaveOne(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		who := m.Account("ada@example.org", "+4915112345678")
		b := newBrowser(t, m)
		me := b.session(b.signIn("ada@example.org", factor.Email, false))
		clock.Advance(time.Hour)
		var refs []signin.Ref
		var codes []secret.Token
		for range 2 {
			ref, _ := b.again(me, testkit.Password)
			refs, codes = append(refs, ref), append(codes, b.code(ref, factor.Email))
		}
		var done sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for i := range refs {
			done.Go(func() {
				n, err := m.Code(t.Context(), refs[i], m.Client, signin.CodeProof{Code: codes[i]})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && n.Step == signin.StepDone:
					won++
				case err == nil || code(err) != "flow_ended":
					t.Errorf("%+v, %v", n, err)
				}
			})
		}
		done.Wait()
		all, err := m.Sessions.List(t.Context(), who)
		if err != nil || won != 1 || len(all) != 1 || all[0].ID == me.ID {
			t.Errorf("%d won, and %d sessions are left: %v", won, len(all), err)
		}
	})
}

// Whoever ends a session ends with it what a thief has begun in it.
func TestAProofOfASessionThatWasEndedLeadsNowhere(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		who := m.Account("ada@example.org")
		b := newBrowser(t, m)
		me := b.session(b.signIn("ada@example.org", factor.Email, false))
		ref, _ := b.again(me, testkit.Password)
		got := b.code(ref, factor.Email)
		write(t, m, func(tx *sqldb.Tx) error { return m.Sessions.EndAll(t.Context(), tx, who, "ended by its owner") })
		if n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: got}); code(err) != "flow_ended" {
			t.Errorf("%+v, %v", n, err)
		}
	})
}

// P9: a stolen session is nothing to guess the password with, neither by flows nor by what asks for
// it in passing, and the owner's remembered device goes on all the while.
func TestAStolenSessionIsNoWayToGuess(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account("ada@example.org")
		m.Limits.Source.Burst = 1000
		owner, thief := newBrowser(t, m), newBrowser(t, m)
		me := owner.session(owner.signIn("ada@example.org", factor.Email, true))
		tried := 0
		for i := range 2 * m.Limits.Password.Free {
			var err error
			if i%2 == 0 {
				_, _, err = thief.tryAgain(me, "a guess that is wrong")
			} else {
				_, _, err = m.Confirm(t.Context(), me, m.Client, signin.PasswordProof{Password: "a guess that is wrong"})
			}
			switch {
			case err == nil:
				tried++
			case code(err) != "too_many_attempts":
				t.Fatal(err)
			}
		}
		if tried != m.Limits.Password.Free {
			t.Errorf("%d guesses were looked at, want %d", tried, m.Limits.Password.Free)
		}
		if _, _, err := thief.tryAgain(me, testkit.Password); code(err) != "too_many_attempts" {
			t.Errorf("the right one after all those: %v", err)
		}
		if _, right, err := m.Confirm(t.Context(), me, m.Client, signin.PasswordProof{Password: testkit.Password, Handles: owner.handles}); err != nil || !right {
			t.Errorf("the owner is locked out: %v, %v", right, err)
		}
		ref, n := owner.again(me, testkit.Password)
		if n = owner.prove(ref, n); n.Step != signin.StepDone {
			t.Errorf("the owner is locked out: %+v", n)
		}
	})
}

func TestConfirmTakesTheRightPasswordOnly(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		who := m.Account("ada@example.org")
		b := newBrowser(t, m)
		me := b.session(b.signIn("ada@example.org", factor.Email, false))
		confirm := func(pw string) bool {
			t.Helper()
			_, right, err := m.Confirm(t.Context(), me, m.Client, signin.PasswordProof{Password: pw})
			if err != nil {
				t.Fatal(err)
			}
			return right
		}
		for range m.Limits.Password.Free - 1 {
			if confirm("not the password at all") {
				t.Fatal("a wrong one passed")
			}
		}
		if !confirm(testkit.Password) {
			t.Fatal("the right one was refused")
		}
		for range m.Limits.Password.Free - 1 { // the count was cleared
			confirm("not the password at all")
		}
		write(t, m, func(tx *sqldb.Tx) error { return m.Accounts.Lock(t.Context(), tx, who) })
		if confirm(testkit.Password) {
			t.Error("of a locked account")
		}
	})
}

// Whoever changes a password because somebody knows it must not find that one half-way in.
func TestAPasswordThatIsReplacedOrStoppedEndsWhatItBegan(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		who := m.Account("ada@example.org")
		for name, change := range map[string]func(tx *sqldb.Tx) error{
			"stopped": func(tx *sqldb.Tx) error { return m.Passwords.Stop(t.Context(), tx, who) },
			"replaced": func(tx *sqldb.Tx) error {
				h, err := m.Passwords.Hash(t.Context(), testkit.Password)
				if err != nil {
					return err
				}
				return m.Passwords.SetHash(t.Context(), tx, who, h)
			},
		} {
			thief := newBrowser(t, m)
			ref, n := thief.password("ada@example.org", testkit.Password)
			if n.Step != signin.StepSecond {
				t.Fatalf("%s: step %s", name, n.Step)
			}
			got := thief.code(ref, factor.Email)
			clock.Advance(-time.Second) // another node's is behind, or ours was set right
			write(t, m, change)
			clock.Advance(time.Second)
			if n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: got}); code(err) != "flow_ended" {
				t.Errorf("%s: %+v, %v", name, n, err)
			}
			if err := m.Passwords.Set(t.Context(), who, testkit.Password, nil); err != nil {
				t.Fatal(err)
			}
			clock.Advance(time.Hour)
			m.Letters(message.Email)
		}
	})
}

func write(t *testing.T, m *testkit.Machine, do func(*sqldb.Tx) error) {
	t.Helper()
	if err := m.DB.Write(t.Context(), do); err != nil {
		t.Fatal(err)
	}
}

// The operator's unlocking clears what was counted by the account, too.
func TestUnlockingClearsWhatASessionCounted(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		who := m.Account("ada@example.org")
		b := newBrowser(t, m)
		me := b.session(b.signIn("ada@example.org", factor.Email, false))
		for range m.Limits.Password.Free + 1 {
			_, _, _ = b.tryAgain(me, "a guess that is wrong")
		}
		if _, _, err := b.tryAgain(me, testkit.Password); code(err) != "too_many_attempts" {
			t.Fatal(err)
		}
		write(t, m, func(tx *sqldb.Tx) error { return m.ClearCounts(t.Context(), tx, who) })
		if _, n, err := b.tryAgain(me, testkit.Password); err != nil || n.Step != signin.StepSecond {
			t.Errorf("%+v, %v", n, err)
		}
	})
}
