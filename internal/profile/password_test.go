package profile_test

import (
	"sync"
	"testing"

	"countersign/internal/message"
	"countersign/internal/platform/fault"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit"
)

const another = "harbour pencil thunder 77"

func (h home) change(me session.Session, current, fresh string) (session.Started, bool, error) {
	h.t.Helper()
	return h.Profile.ChangePassword(h.t.Context(), me, h.Client, profile.PasswordChange{Current: current, New: fresh})
}

// opens reports whether a password is the account's.
func (h home) opens(me session.Session, pw string) bool {
	h.t.Helper()
	_, right, err := h.Confirm(h.t.Context(), me, h.Client, signin.PasswordProof{Password: pw})
	h.must(err)
	return right
}

//
func TestChangingThePassword(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada, bob := h.Account("ada@example.org", "+4915112345678"), h.Account("bob@example.org")
		laptop, phone := h.remember(ada), h.remember(ada)
		me, old := h.open(ada, laptop)
		h.signIn(ada, phone)
		h.signIn(ada, "")
		his := h.signIn(bob, "")
		started, ok, err := h.change(me, testkit.Password, another)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if h.alive(old) || !h.alive(started.Token) {
			t.Error("the old token must be over and the new one live")
		}
		h.live(ada, me) // under the same id
		h.live(bob, his)
		h.remembered(ada, laptop)
		h.told(message.Email, message.PasswordChanged)
		h.told(message.SMS, message.PasswordChanged)
		if n := h.events("authn_password_change", "person"); n != 1 {
			t.Errorf("%d recorded", n)
		}
		if h.opens(me, testkit.Password) || !h.opens(me, another) {
			t.Error("the old password opens, or the new one does not")
		}
	})
}

// Whoever holds a stolen session can neither change the password nor find it out.
func TestAStolenSessionCannotChangeThePassword(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		mine, token := h.open(ada, "")
		other := h.signIn(ada, "")
		evaluated := 0
		for range 2 * h.Limits.Password.Free {
			_, ok, err := h.change(mine, "not the password at all", another)
			if ok || err != nil && fault.Of(err).Code != "too_many_attempts" {
				t.Fatal(ok, err)
			}
			if err == nil {
				evaluated++
			}
		}
		if evaluated != h.Limits.Password.Free {
			t.Errorf("%d guesses were evaluated, want %d", evaluated, h.Limits.Password.Free)
		}
		if _, ok, err := h.change(mine, testkit.Password, another); ok || fault.Of(err).Code != "too_many_attempts" {
			t.Errorf("the right one after all those: %v, %v", ok, err)
		}
		h.live(ada, mine, other)
		h.told(message.Email)
		if !h.alive(token) {
			t.Error("the session got another token")
		}
	})
}

// refused with the reason, before the current one is looked at.
func TestANewPasswordIsJudged(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("quillfeather@mailhaven.example")
		var me session.Session
		for fresh, want := range map[string]string{
			"short": "password_too_short", "quillfeather@mailhaven": "password_context", "passwordpassword": "password_common", testkit.Password: "password_unchanged",
		} {
			me = h.signIn(ada, "")
			for range 2 * h.Limits.Password.Free {
				if _, ok, err := h.change(me, testkit.Password, fresh); ok || fault.Of(err).Code != want {
					t.Fatalf("%s: %v, %v; want %s", fresh, ok, err, want)
				}
			}
		}
		if !h.opens(me, testkit.Password) {
			t.Error("the password was changed")
		}
	})
}

// Two changes at once: one wins, and the other is told that its current password is not.
func TestOfTwoChangesAtOnceOneWins(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		mine, hers := h.signIn(ada, ""), h.signIn(ada, "")
		var all sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for i, me := range []session.Session{mine, hers} {
			all.Go(func() {
				_, ok, err := h.change(me, testkit.Password, []string{another, "velvet compass orchard 12"}[i])
				mu.Lock()
				defer mu.Unlock()
				if ok {
					won++
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		sessions, err := h.Profile.ListSessions(t.Context(), mine)
		if err != nil || won != 1 || len(sessions) != 1 {
			t.Errorf("%d won, %d sessions are left: %v", won, len(sessions), err)
		}
		h.told(message.Email, message.PasswordChanged)
	})
}

// A session that was ended meanwhile changes nothing any more.
func TestAnEndedSessionChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		thief, mine := h.signIn(ada, ""), h.signIn(ada, "")
		h.must(h.Profile.EndOtherSessions(t.Context(), mine, h.Client))
		if _, ok, err := h.change(thief, testkit.Password, another); ok || fault.Of(err).Code != "session_ended" {
			t.Errorf("%v, %v", ok, err)
		}
		h.live(ada, mine)
		if !h.opens(mine, testkit.Password) {
			t.Error("the password was changed")
		}
	})
}
