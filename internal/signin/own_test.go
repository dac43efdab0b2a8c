package signin_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

func change(t *testing.T, m *testkit.Machine, f func(context.Context, *sqldb.Tx) error) {
	t.Helper()
	if err := m.DB.Write(t.Context(), func(tx *sqldb.Tx) error { return f(t.Context(), tx) }); err != nil {
		t.Fatal(err)
	}
}

// methods are what the session that was won says was proved.
func methods(t *testing.T, m *testkit.Machine, n signin.Next) []string {
	t.Helper()
	me, err := m.Sessions.Check(t.Context(), n.Session.Token)
	if err != nil {
		t.Fatal(err)
	}
	return me.Methods
}

// Whoever has an app is asked for it; a letter, which whoever reads the mailbox gets, opens nothing any more.
func TestAnAppTakesThePlaceOfLetters(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		id := m.Account("ada@example.org", "+4741234567")
		a := m.App(id)
		clock.Advance(30 * time.Second) // the code that confirmed it is used up
		codes := m.BackupCodesOf(id)
		b := newBrowser(t, m)
		ref, n := b.password("ada@example.org", testkit.Password)
		if want := []factor.Way{factor.OTP, factor.SMS, factor.Backup}; !slices.Equal(n.Ways, want) {
			t.Fatalf("offered %v, want %v", n.Ways, want)
		}
		if _, err := m.Send(t.Context(), ref, m.Client, factor.Email); code(err) != "way_unknown" {
			t.Errorf("a code by e-mail: %v", err)
		}
		if _, err := m.Send(t.Context(), ref, m.Client, factor.OTP); code(err) != "way_unknown" {
			t.Errorf("a code to an app: %v", err)
		}
		try := func(w factor.Way, c secret.Token) signin.Next {
			t.Helper()
			n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Way: w, Code: c})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := try("", secret.Of(a.Code())); !n.Refused {
			t.Error("an app's code as one that was sent")
		}
		if n := try(factor.OTP, secret.Of(a.Code())); n.Step != signin.StepDone || !slices.Equal(methods(t, m, n), []string{"password", "otp"}) {
			t.Fatalf("%+v", n)
		}
		ref, _ = b.password("ada@example.org", testkit.Password)
		if n := try(factor.OTP, secret.Of(a.Code())); !n.Refused {
			t.Error("a code works twice (A-6.5.1)")
		}
		if n := try(factor.Backup, codes[3]); n.Step != signin.StepDone || !slices.Equal(methods(t, m, n), []string{"password", "backup"}) {
			t.Fatalf("%+v", n)
		}
		var told int
		for _, l := range m.Letters(message.Email) {
			if l.Kind == message.BackupUsed {
				told++
			}
		}
		if told != 1 {
			t.Errorf("told %d times that a backup code was used", told)
		}
		ref, _ = b.password("ada@example.org", testkit.Password)
		if n := try(factor.Backup, codes[3]); !n.Refused {
			t.Error("a backup code works twice")
		}
	})
}

// P6: one code of an app or a list, many uses at once through two nodes, one sign-in.
func TestOneOwnCodeOpensOneSignIn(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		id := m.Account("ada@example.org")
		a, codes := m.App(id), m.BackupCodesOf(id)
		clock.Advance(30 * time.Second)
		for w, c := range map[factor.Way]secret.Token{factor.OTP: secret.Of(a.Code()), factor.Backup: codes[0]} {
			const flows = 4 // within the five tries
			var refs []signin.Ref
			for range flows {
				ref, _ := newBrowser(t, m).password("ada@example.org", testkit.Password)
				refs = append(refs, ref)
			}
			var done atomic.Int32
			var all sync.WaitGroup
			for _, ref := range refs {
				all.Go(func() {
					n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Way: w, Code: c})
					if err == nil && n.Step == signin.StepDone {
						done.Add(1)
					}
				})
			}
			all.Wait()
			if done.Load() != 1 {
				t.Errorf("%s: %d sign-ins with one code", w, done.Load())
			}
		}
	})
}

// P2: where the password's result is hidden, what is enrolled is hidden too: everybody is offered everything, a wrong
// password uses no code up, and the letter that opens nothing is not sent.
func TestWhatIsEnrolledIsHidden(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.HidePasswordResult = true
		id := m.Account("ada@example.org")
		a, codes := m.App(id), m.BackupCodesOf(id)
		clock.Advance(30 * time.Second)
		m.Account("bob@example.org")
		b := newBrowser(t, m)
		for _, name := range []string{"ada@example.org", "bob@example.org"} {
			for _, pw := range []string{testkit.Password, "not the password at all"} {
				_, n := b.password(name, pw)
				if want := []factor.Way{factor.Email, factor.Passkey, factor.OTP, factor.Backup}; !slices.Equal(n.Ways, want) {
					t.Errorf("%s: offered %v, want %v", name, n.Ways, want)
				}
			}
		}
		ref, _ := b.password("ada@example.org", testkit.Password)
		if got := b.code(ref, factor.Email); !got.Empty() {
			t.Error("a letter was sent that would open an account with an app")
		}
		ref, _ = b.password("ada@example.org", "not the password at all")
		for w, c := range map[factor.Way]secret.Token{factor.OTP: secret.Of(a.Code()), factor.Backup: codes[0]} {
			if n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Way: w, Code: c}); err != nil || !n.Refused {
				t.Fatalf("%+v, %v", n, err)
			}
		}
		ref, _ = b.password("ada@example.org", testkit.Password)
		if n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Way: factor.OTP, Code: secret.Of(a.Code())}); err != nil || n.Step != signin.StepDone {
			t.Errorf("a mistyped password used the code up: %+v, %v", n, err)
		}
	})
}
