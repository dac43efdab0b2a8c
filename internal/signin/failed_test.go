package signin_test

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// fails goes to the second door and gives a code that is wrong.
func (b *browser) fails(name, pw string) signin.Ref {
	b.t.Helper()
	ref, n := b.password(name, pw)
	if n.Step != signin.StepSecond {
		b.t.Fatalf("step %s, want second", n.Step)
	}
	b.wrongCode(ref)
	return ref
}

func (b *browser) wrongCode(ref signin.Ref) {
	b.t.Helper()
	if n, err := b.m.Code(b.t.Context(), ref, b.m.Client, signin.CodeProof{Code: secret.Of("not it")}); err != nil || !n.Refused {
		b.t.Fatalf("%+v, %v", n, err)
	}
}

// told lets the machine look and returns the letters about failures since the last look.
func told(t *testing.T, m *testkit.Machine) (letters []outbox.Claimed) {
	t.Helper()
	tellFailures(t, m)
	for _, ch := range []message.Channel{message.Email, message.SMS} {
		letters = append(letters, m.Letters(ch)...)
	}
	return slices.DeleteFunc(letters, func(l outbox.Claimed) bool { return l.Kind != message.SecondFailed })
}

func tellFailures(t *testing.T, m *testkit.Machine) {
	t.Helper()
	err := m.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := m.TellFailures(t.Context(), tx)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// C-MF-07: a right password without a right code is told at every address, once, a minute after the last try.
func TestARightPasswordWithAWrongCodeIsToldOnce(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account("ada@example.org", "+4915112345678")
		m.Client = signin.Client{Source: netip.MustParseAddr("203.0.113.9"), UserAgent: "curl/8.0"}
		b := newBrowser(t, m)
		ref := b.fails("ada@example.org", testkit.Password)
		clock.Advance(50 * time.Second)
		b.wrongCode(ref) // the minute counts from the last
		clock.Advance(59 * time.Second)
		if l := told(t, m); len(l) != 0 {
			t.Fatalf("within the minute: %d letters", len(l))
		}
		clock.Advance(time.Second)
		letters := told(t, m)
		if len(letters) != 2 {
			t.Fatalf("%d letters, want one to each address", len(letters))
		}
		for _, l := range letters {
			if l.Withhold || !strings.Contains(l.Params["device"], "curl") || !strings.HasPrefix(l.Params["link"], testkit.Origin+"/notme#") {
				t.Errorf("%+v", l.Params)
			}
		}
		clock.Advance(2 * time.Hour)
		if l := told(t, m); len(l) != 0 {
			t.Errorf("told again: %d letters", len(l))
		}
	})
}

func TestARightCodeAfterAWrongOneIsNotTold(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account("ada@example.org")
		b := newBrowser(t, m)
		ref := b.fails("ada@example.org", testkit.Password)
		if n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: b.code(ref, factor.Email)}); err != nil || n.Step != signin.StepDone {
			t.Fatalf("%+v, %v", n, err)
		}
		clock.Advance(2 * time.Minute)
		if l := told(t, m); len(l) != 0 {
			t.Errorf("%d letters", len(l))
		}
	})
}

// A wrong password is everybody's business but the holder's: a letter for each would be a weapon. Nor does
// it matter that the second proof is asked for all the same.
func TestAWrongPasswordIsNotTold(t *testing.T) {
	for _, hide := range []bool{false, true} {
		each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
			m.HidePasswordResult = hide
			m.Account("ada@example.org")
			b := newBrowser(t, m)
			if hide {
				b.fails("ada@example.org", "wrong wrong wrong")
				b.fails("nobody@example.org", "wrong wrong wrong")
			} else if _, n := b.password("ada@example.org", "wrong wrong wrong"); !n.Refused {
				t.Fatalf("%+v", n)
			}
			clock.Advance(2 * time.Minute)
			if l := told(t, m); len(l) != 0 {
				t.Errorf("hidden %t: %d letters", hide, len(l))
			}
			if hide {
				b.fails("ada@example.org", testkit.Password)
				clock.Advance(2 * time.Minute)
				if l := told(t, m); len(l) != 1 {
					t.Errorf("the right password, hidden: %d letters", len(l))
				}
			}
		})
	}
}

func TestAPersonIsToldOnceAnHour(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account("ada@example.org")
		m.Account("bob@example.org")
		b := newBrowser(t, m)
		failed := func(name string) int {
			b.fails(name, testkit.Password)
			clock.Advance(2 * time.Minute)
			return len(told(t, m))
		}
		if first, second, other := failed("ada@example.org"), failed("ada@example.org"), failed("bob@example.org"); first != 1 || second != 0 || other != 1 {
			t.Errorf("letters: %d, then %d within the hour; to somebody else %d", first, second, other)
		}
		clock.Advance(time.Hour)
		if n := failed("ada@example.org"); n != 1 {
			t.Errorf("an hour later: %d", n)
		}
	})
}

func TestALockedAccountIsNotToldOfFailures(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		id := m.Account("ada@example.org")
		newBrowser(t, m).fails("ada@example.org", testkit.Password)
		if err := m.DB.Write(t.Context(), func(tx *sqldb.Tx) error { return m.Accounts.Lock(t.Context(), tx, id) }); err != nil {
			t.Fatal(err)
		}
		clock.Advance(2 * time.Minute)
		if l := told(t, m); len(l) != 0 {
			t.Errorf("%d letters", len(l))
		}
	})
}

// Every node looks every few seconds: of all that look at once, one tells.
func TestNodesThatLookAtOnceTellOnce(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, clock, ring := dbtest.NewURL(t, engine), dbtest.NewClock(), testkit.Ring(t)
			nodes := []*testkit.Machine{
				testkit.NewMachine(t, dbtest.Open(t, url, clock), ring),
				testkit.NewMachine(t, dbtest.Open(t, url, clock), ring),
			}
			var ids []account.ID
			for _, name := range []string{"ada@example.org", "bob@example.org", "eve@example.org"} {
				ids = append(ids, nodes[0].Account(name))
				newBrowser(t, nodes[0]).fails(name, testkit.Password)
			}
			clock.Advance(2 * time.Minute)
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() { tellFailures(t, nodes[i%2]) })
			}
			wg.Wait()
			if l := told(t, nodes[0]); len(l) != len(ids) {
				t.Errorf("%d letters to %d people", len(l), len(ids))
			}
		})
	}
}
