package registration_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/message"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/registration"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// race has all finish at once and counts who opened an account and who was told that the address is taken.
func race(t *testing.T, all ...*newcomer) (won, taken int) {
	t.Helper()
	var wg sync.WaitGroup
	var w, k atomic.Int32
	for _, n := range all {
		wg.Go(func() {
			got, err := n.finish(registration.About{Password: good})
			switch code(err) {
			case "":
				if got.Account != "" {
					w.Add(1)
				}
			case "identifier_taken":
				k.Add(1)
			case "flow_ended", "step_out_of_order", "invitation_refused":
			default:
				t.Errorf("finish: %v", err)
			}
		})
	}
	wg.Wait()
	return int(w.Load()), int(k.Load())
}

// P6: of a thousand guesses at once five are evaluated, and new codes and new flows bring no more.
func TestParallelGuessesAreCounted(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Registration.Limits.Source.Burst = 5000
		n := newNewcomer(t, m)
		n.begin("ada@example.org")
		right := n.received()
		var wg sync.WaitGroup
		var evaluated atomic.Int32
		for i := range 1000 {
			guess := secret.Of(fmt.Sprintf("%06d", i))
			if guess.Equal(right) {
				continue
			}
			wg.Go(func() {
				next, err := m.Registration.Code(t.Context(), n.ref, m.Client, guess)
				if err == nil && next.Refused {
					evaluated.Add(1)
				} else if code(err) != "too_many_attempts" {
					t.Errorf("%+v, %v", next, err)
				}
			})
		}
		wg.Wait()
		if got := evaluated.Load(); got != 5 {
			t.Errorf("%d guesses were evaluated", got)
		}
		clock.Advance(time.Minute)
		if _, err := m.Registration.Send(t.Context(), n.ref, m.Client); err != nil {
			t.Fatal(err)
		}
		again := newNewcomer(t, m)
		again.begin("ada@example.org")
		for _, ref := range []signin.Ref{n.ref, again.ref} {
			if _, err := m.Registration.Code(t.Context(), ref, m.Client, right); code(err) != "too_many_attempts" {
				t.Errorf("a new code or flow brought another try: %v", err)
			}
		}
		clock.Advance(15 * time.Minute)
		last := newNewcomer(t, m)
		last.prove("ada@example.org")
	})
}

// A right code, typed by a hundred at once, proves the address once; the form, sent by a hundred at once, opens one account.
func TestAHundredAtOnceOpenOneAccount(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Registration.Limits.Source.Burst, m.Registration.Limits.Code.Free = 5000, 5000
		n := newNewcomer(t, m)
		n.begin("ada@example.org")
		right := n.received()
		var wg sync.WaitGroup
		var proved atomic.Int32
		for range 100 {
			wg.Go(func() {
				if next, err := m.Registration.Code(t.Context(), n.ref, m.Client, right); err == nil && next.Step == registration.StepAbout {
					proved.Add(1)
				}
			})
		}
		wg.Wait()
		if proved.Load() != 1 {
			t.Errorf("proved %d times", proved.Load())
		}
		all := make([]*newcomer, 100)
		for i := range all {
			all[i] = n
		}
		if won, taken := race(t, all...); won != 1 || taken != 0 {
			t.Errorf("%d accounts, %d told that it is taken", won, taken)
		}
		if got := count(t, m, `SELECT COUNT(*) FROM account WHERE state = 'active'`); got != 1 {
			t.Errorf("%d accounts", got)
		}
	})
}

func count(t *testing.T, m *testkit.Machine, query string) (n int) {
	t.Helper()
	err := m.DB.Read(t.Context(), func(tx *sqldb.Tx) error { return tx.QueryRow(t.Context(), query).Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// P9, I-07: whoever floods a known address with registrations has its owner told once a day, and whoever floods a
// free one sends it no more than the limit; both look the same.
func TestAFloodSendsOneLetterADay(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account("ada@example.org")
		m.Registration.Limits.SendSource.Burst = 1000
		flood := func(address string) (answers string, codes, told int) {
			for range 2 * 24 { // two days
				for range 8 { // at once, from as many browsers
					_, err := newNewcomer(t, m).try(address, secret.Token{})
					answers += code(err) + ";"
				}
				n := newNewcomer(t, m)
				if _, err := n.try(address, secret.Token{}); err == nil {
					clock.Advance(31 * time.Second)
					sent, err := m.Registration.Send(t.Context(), n.ref, m.Client)
					answers += fmt.Sprint(sent.TooSoon, code(err), ";")
				}
				for _, l := range letters(m) {
					switch {
					case l.Withhold:
					case l.Kind == message.AddressCode:
						codes++
					case l.Kind == message.RegistrationAttempt:
						told++
					}
				}
				clock.Advance(time.Hour)
			}
			return answers, codes, told
		}
		known, codes, told := flood("ada@example.org")
		if codes != 0 || told != 2 {
			t.Errorf("the owner got %d codes and %d letters in two days", codes, told)
		}
		free, codes, told := flood("nobody@example.org")
		if known != free {
			t.Errorf("known:   %s\nunknown: %s", known, free)
		}
		if codes < 48 || codes > 5+2*24*7 || told != 0 { // five, then one each ten minutes
			t.Errorf("nobody got %d codes and %d letters", codes, told)
		}
	})
}

// P9: one address of the network begins no more than the limit, whatever it types, and uses up nobody's letters
// beyond that.
func TestASourceBeginsOnlySoOften(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		burst := m.Registration.Limits.SendSource.Burst
		for i := range burst + 5 {
			_, err := newNewcomer(t, m).try(fmt.Sprintf("person%d@example.org", i), secret.Token{})
			if want := map[bool]string{true: "too_many_attempts"}[i >= burst]; code(err) != want {
				t.Fatalf("%d: %v", i, err)
			}
		}
		for range 20 { // over the limit, the victim's own is not touched
			_, _ = newNewcomer(t, m).try("victim@example.org", secret.Token{})
		}
		m.Client = from("198.51.100.9")
		n := newNewcomer(t, m)
		n.prove("victim@example.org")
		if got := count(t, m, `SELECT COUNT(*) FROM registration_flow`); got != burst+1 {
			t.Errorf("%d flows", got)
		}
	})
}

// What an owner does at the sign-in shows to nobody who registers, and a flood of registrations uses up none of
// the codes that sign people in.
func TestRegisteringAndSigningInShareNoLimit(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account("ada@example.org")
		m.Registration.Limits.SendAll.Burst = 5
		for i := range 10 {
			_, _ = newNewcomer(t, m).try("ada@example.org", secret.Token{})
			_, _ = newNewcomer(t, m).try(fmt.Sprintf("person%d@example.org", i), secret.Token{})
		}
		browser := secret.NewToken(signin.BrowserPrefix)
		st, err := m.Begin(t.Context(), signin.Begin{Identifier: "ada@example.org", Browser: browser, Client: m.Client})
		if err != nil {
			t.Fatal(err)
		}
		ref := signin.Ref{Flow: st.Flow, Browser: browser}
		if n, err := m.Password(t.Context(), ref, m.Client, signin.PasswordProof{Password: testkit.Password}); err != nil || n.Step != signin.StepSecond {
			t.Fatalf("%+v, %v", n, err)
		}
		if sent, err := m.Send(t.Context(), ref, m.Client, "email"); err != nil || sent.TooSoon {
			t.Errorf("no code for whoever signs in: %+v, %v", sent, err)
		}
	})
}

func TestWhatIsOverIsPruned(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		newNewcomer(t, m).begin("ada@example.org")
		m.Registration.Rules.Mode = registration.Invited
		if _, _, err := m.Registration.Invite(t.Context(), registration.NewInvitation{For: time.Hour, Uses: 1}); err != nil {
			t.Fatal(err)
		}
		pruned := func() (n int64) {
			prepare(t, m, func(tx *sqldb.Tx) (err error) {
				n, err = m.Registration.Prune(t.Context(), tx)
				return err
			})
			return n
		}
		for _, c := range []struct {
			wait time.Duration
			want int64
		}{{0, 0}, {16 * time.Minute, 1}, {2 * time.Hour, 0}, {31 * 24 * time.Hour, 1}} {
			clock.Advance(c.wait)
			if got := pruned(); got != c.want {
				t.Errorf("after %v more, %d rows", c.wait, got)
			}
		}
	})
}
