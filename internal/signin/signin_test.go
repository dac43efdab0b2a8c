package signin_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// browser is a person's browser: its secret, its handles, its key.
type browser struct {
	t       *testing.T
	m       *testkit.Machine
	secret  secret.Token
	handles []secret.Token
	key     testkit.Key
}

func newBrowser(t *testing.T, m *testkit.Machine) *browser {
	return &browser{t: t, m: m, secret: secret.NewToken(signin.BrowserPrefix), key: testkit.NewKey(t)}
}

func (b *browser) begin(name string) (signin.Ref, signin.Started) {
	b.t.Helper()
	st, err := b.m.Begin(b.t.Context(), signin.Begin{Identifier: name, Browser: b.secret, Client: b.m.Client, Handles: b.handles})
	if err != nil {
		b.t.Fatalf("begin: %v", err)
	}
	return signin.Ref{Flow: st.Flow, Browser: b.secret}, st
}

func (b *browser) password(name, pw string) (signin.Ref, signin.Next) {
	b.t.Helper()
	ref, _ := b.begin(name)
	n, err := b.m.Password(b.t.Context(), ref, b.m.Client, signin.PasswordProof{Password: pw, Handles: b.handles})
	if err != nil {
		b.t.Fatalf("password: %v", err)
	}
	return ref, n
}

func (b *browser) code(ref signin.Ref, way factor.Way) secret.Token {
	b.t.Helper()
	sent, err := b.m.Send(b.t.Context(), ref, b.m.Client, way)
	if err != nil || sent.TooSoon {
		b.t.Fatalf("send: %+v, %v", sent, err)
	}
	return b.m.LastCode(message.Channel(way))
}

// signIn goes all the way from an unrecognised device, remembering it if asked.
func (b *browser) signIn(name string, way factor.Way, remember bool) signin.Next {
	b.t.Helper()
	ref, n := b.password(name, testkit.Password)
	if n.Step == signin.StepDevice {
		n = b.prove(ref, n)
	}
	if n.Step != signin.StepSecond {
		b.t.Fatalf("step %s, want second", n.Step)
	}
	p := signin.CodeProof{Code: b.code(ref, way), Handles: b.handles}
	if remember {
		p.Remember = &device.Enrolment{PublicKey: b.key.Public(), Signature: b.key.Sign("remember", testkit.Origin, n.Nonce)}
	}
	n, err := b.m.Code(b.t.Context(), ref, b.m.Client, p)
	if err != nil || n.Step != signin.StepDone {
		b.t.Fatalf("code: %+v, %v", n, err)
	}
	b.keep(n.Device)
	return n
}

func (b *browser) prove(ref signin.Ref, n signin.Next) signin.Next {
	b.t.Helper()
	n, err := b.m.Device(b.t.Context(), ref, b.m.Client, device.Proof{Handles: b.handles, Signature: b.key.Sign("recognise", testkit.Origin, n.Nonce)})
	if err != nil {
		b.t.Fatalf("device: %v", err)
	}
	b.keep(n.Device)
	return n
}

func (b *browser) keep(r *device.Remembered) {
	if r == nil {
		return
	}
	kept := []secret.Token{r.Handle}
	for _, h := range b.handles {
		if !h.Equal(r.Replaces) {
			kept = append(kept, h)
		}
	}
	b.handles = kept
}

func each(t *testing.T, f func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock)) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		f(t, testkit.NewMachine(t, db, testkit.Ring(t)), clock)
	})
}

func code(err error) string { return fault.Of(err).Code }

// P5: every account meets the second door from a device that has not proved its key; after
// that the device needs the password alone, and a copied cookie does not.
func TestStrangersDeviceMeetsTheSecondDoor(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account("ada@example.org", "+4915112345678")
		mine := newBrowser(t, m)
		n := mine.signIn("ada@example.org", factor.SMS, true)
		if s, err := m.Sessions.Check(t.Context(), n.Session.Token); err != nil || len(s.Methods) != 2 || s.Methods[1] != "sms" {
			t.Fatalf("session: %+v, %v", s, err)
		}
		if n.Device == nil || len(mine.handles) != 1 {
			t.Fatal("the device was not remembered")
		}

		ref, next := mine.password("ada@example.org", testkit.Password)
		if next.Step != signin.StepDevice {
			t.Fatalf("step %s, want device", next.Step)
		}
		if next = mine.prove(ref, next); next.Step != signin.StepDone {
			t.Fatalf("recognised device: step %s, want done", next.Step)
		}

		thief := newBrowser(t, m) // another key, the same cookie
		thief.handles = mine.handles
		ref, next = thief.password("ada@example.org", testkit.Password)
		if next = thief.prove(ref, next); next.Step != signin.StepSecond {
			t.Fatalf("copied cookie: step %s, want second", next.Step)
		}
		ref, next = mine.password("ada@example.org", testkit.Password)
		if next = mine.prove(ref, next); next.Step != signin.StepDone {
			t.Fatalf("the owner after the thief: step %s, want done", next.Step)
		}
	})
}

func TestAppProvesItsDeviceWithThePassword(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account("ada@example.org")
		for _, key := range []testkit.Key{testkit.NewKey(t), testkit.NewEdKey(t)} {
			app := newBrowser(t, m)
			app.secret, app.key = secret.Token{}, key
			app.signIn("ada@example.org", factor.Email, true)
			prove := func(key testkit.Key) signin.Step {
				ref, st := app.begin("ada@example.org")
				n, err := m.Password(t.Context(), ref, m.Client, signin.PasswordProof{
					Password: testkit.Password, Handles: app.handles, Signature: key.Sign("recognise", testkit.Origin, st.Nonce),
				})
				if err != nil {
					t.Fatal(err)
				}
				return n.Step
			}
			if step := prove(testkit.NewEdKey(t)); step != signin.StepSecond {
				t.Errorf("%T, another key: %s", key, step)
			}
			if step := prove(key); step != signin.StepDone {
				t.Errorf("%T: %s", key, step)
			}
		}
	})
}

// A signature over one flow's nonce, or for another site, is worth nothing in the next.
func TestSignaturesDoNotReplay(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account("ada@example.org")
		b := newBrowser(t, m)
		b.signIn("ada@example.org", factor.Email, true)
		_, first := b.password("ada@example.org", testkit.Password)
		old := b.key.Sign("recognise", testkit.Origin, first.Nonce)
		foreign := func(nonce string) []byte { return b.key.Sign("recognise", "https://evil.example", nonce) }
		enrol := func(nonce string) []byte { return b.key.Sign("remember", testkit.Origin, nonce) }
		for name, sign := range map[string]func(string) []byte{
			"old nonce": func(string) []byte { return old }, "other site": foreign, "other purpose": enrol,
			"empty": func(string) []byte { return nil }, "short": func(string) []byte { return old[:63] },
		} {
			ref, n := b.password("ada@example.org", testkit.Password)
			n, err := m.Device(t.Context(), ref, m.Client, device.Proof{Handles: b.handles, Signature: sign(n.Nonce)})
			if err != nil || n.Step != signin.StepSecond {
				t.Errorf("%s: %+v, %v; want the second step", name, n.Step, err)
			}
		}
	})
}

// A handle changes at each use; one that comes back later means that two hold it.
func TestOldHandleEndsTheRemembering(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account("ada@example.org")
		mine := newBrowser(t, m)
		mine.signIn("ada@example.org", factor.Email, true)
		clone := *mine // the whole profile, key included
		ref, n := mine.password("ada@example.org", testkit.Password)
		if n = mine.prove(ref, n); n.Step != signin.StepDone {
			t.Fatal("owner not recognised")
		}
		// Within a minute a second tab is let in with the key.
		tab := clone
		ref, n = tab.password("ada@example.org", testkit.Password)
		if n = tab.prove(ref, n); n.Step != signin.StepDone || n.Device != nil {
			t.Fatalf("second tab: %+v", n)
		}
		clock.Advance(2 * time.Minute)
		ref, n = clone.password("ada@example.org", testkit.Password)
		if n = clone.prove(ref, n); n.Step != signin.StepSecond {
			t.Fatalf("clone: step %s, want second", n.Step)
		}
		ref, n = mine.password("ada@example.org", testkit.Password)
		if n = mine.prove(ref, n); n.Step != signin.StepSecond {
			t.Fatalf("owner after the clone: step %s, want second: remembering has ended", n.Step)
		}
		told := 0
		for _, l := range m.Letters(message.Email) {
			if l.Kind == message.DeviceEnded {
				told++
			}
		}
		if told != 1 {
			t.Fatalf("%d letters about the ended device, want 1", told)
		}
	})
}

// Remembering is per account: what one account's device may do says nothing about another's.
func TestDeviceIsRememberedForOneAccount(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account("ada@example.org")
		m.Account("bob@example.org")
		b := newBrowser(t, m)
		b.signIn("ada@example.org", factor.Email, true)
		ref, n := b.password("bob@example.org", testkit.Password)
		if n = b.prove(ref, n); n.Step != signin.StepSecond {
			t.Fatalf("bob on ada's device: step %s, want second", n.Step)
		}
		b.signIn("bob@example.org", factor.Email, true)
		for _, who := range []string{"ada@example.org", "bob@example.org"} {
			ref, n := b.password(who, testkit.Password)
			if n = b.prove(ref, n); n.Step != signin.StepDone {
				t.Fatalf("%s: step %s, want done", who, n.Step)
			}
		}
	})
}

func TestRememberingEndsAfterThirtyDaysAndWhenForgotten(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account("ada@example.org")
		b := newBrowser(t, m)
		b.signIn("ada@example.org", factor.Email, true)
		clock.Advance(29 * 24 * time.Hour)
		ref, next := b.password("ada@example.org", testkit.Password)
		if next = b.prove(ref, next); next.Step != signin.StepDone {
			t.Fatal("not recognised after 29 days")
		}
		clock.Advance(25 * time.Hour) // use has not extended it
		ref, next = b.password("ada@example.org", testkit.Password)
		if next = b.prove(ref, next); next.Step != signin.StepSecond {
			t.Fatal("recognised after 30 days")
		}
		n := b.signIn("ada@example.org", factor.Email, true)
		me, err := m.Sessions.Check(t.Context(), n.Session.Token)
		if err != nil {
			t.Fatal(err)
		}
		other := account.ID("00000000-0000-7000-8000-000000000000")
		if ok, err := m.Profile.ForgetDevice(t.Context(), session.Session{Account: other}, m.Client, n.Device.ID); ok || err != nil {
			t.Fatalf("a stranger forgot it: %v %v (P-1.1)", ok, err)
		}
		if ok, err := m.Profile.ForgetDevice(t.Context(), me, m.Client, n.Device.ID); !ok || err != nil {
			t.Fatalf("forget: %v %v", ok, err)
		}
		ref, next = b.password("ada@example.org", testkit.Password)
		if next = b.prove(ref, next); next.Step != signin.StepSecond {
			t.Fatal("recognised after it was forgotten")
		}
	})
}

// steps cannot be skipped.
func TestStepsCannotBeSkipped(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account("ada@example.org")
		b := newBrowser(t, m)
		ref, _ := b.begin("ada@example.org")
		_, sendErr := m.Send(t.Context(), ref, m.Client, factor.Email)
		_, codeErr := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: secret.Of("123456")})
		_, devErr := m.Device(t.Context(), ref, m.Client, device.Proof{})
		for _, err := range []error{sendErr, codeErr, devErr} {
			if code(err) != "step_out_of_order" {
				t.Errorf("%v, want step_out_of_order", err)
			}
		}
	})
}

// P9: growing waits for a stranger's wrong passwords, none for the owner's device.
func TestWrongPasswordsSlowAStrangerNotTheOwner(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account("ada@example.org")
		mine := newBrowser(t, m)
		mine.signIn("ada@example.org", factor.Email, true)
		attack := func(name string) (refused, limited int) {
			for i := range 30 {
				stranger := newBrowser(t, m)
				stranger.m.Client.Source = netip.AddrFrom4([4]byte{198, 51, byte(i), 9})
				ref, _ := stranger.begin(name)
				n, err := m.Password(t.Context(), ref, m.Client, signin.PasswordProof{Password: "wrong wrong wrong"})
				switch {
				case err == nil && n.Refused:
					refused++
				case code(err) == "too_many_attempts":
					limited++
				default:
					t.Fatalf("%+v, %v", n, err)
				}
			}
			return refused, limited
		}
		for _, name := range []string{"ada@example.org", "nobody@example.org"} {
			if refused, limited := attack(name); refused != 10 || limited != 20 {
				t.Fatalf("%s: %d evaluated, %d limited; want 10 and 20", name, refused, limited)
			}
		}
		ref, n := mine.password("ada@example.org", testkit.Password)
		if n = mine.prove(ref, n); n.Step != signin.StepDone {
			t.Fatalf("the owner's device was locked out: %s", n.Step)
		}
		clock.Advance(31 * time.Second)
		if refused, _ := attack("ada@example.org"); refused != 1 {
			t.Fatalf("%d evaluated after the first wait, want 1", refused)
		}
	})
}

func TestLockedAndClosedAccountsLookLikeAWrongPassword(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		locked, closed := m.Account("locked@example.org"), m.Account("closed@example.org")
		m.Bare("nopassword@example.org")
		open := newBrowser(t, m).signIn("locked@example.org", factor.Email, false)
		if err := errors.Join(m.Profile.Lock(t.Context(), locked), m.Profile.Close(t.Context(), closed)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"locked@example.org", "closed@example.org", "nopassword@example.org", "nobody@example.org"} {
			if _, n := newBrowser(t, m).password(name, testkit.Password); !n.Refused || n.Step != signin.StepPassword {
				t.Errorf("%s: %+v", name, n)
			}
		}
		if _, err := m.Sessions.Check(t.Context(), open.Session.Token); code(err) != "session_ended" {
			t.Fatalf("session of a locked account: %v (A-7.4.2)", err)
		}
		if err := m.Profile.Unlock(t.Context(), locked); err != nil {
			t.Fatal(err)
		}
		newBrowser(t, m).signIn("locked@example.org", factor.Email, false)
	})
}

// With the password result hidden, a right and a wrong password, and a name nobody has, all
// come to the second door; only the right one gets a code.
func TestHiddenPasswordResult(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.HidePasswordResult = true
		m.Account("ada@example.org")
		b := newBrowser(t, m)
		for _, try := range [][2]string{{"ada@example.org", "wrong wrong wrong"}, {"nobody@example.org", testkit.Password}} {
			ref, n := b.password(try[0], try[1])
			if n.Step != signin.StepSecond || n.Refused || len(n.Ways) == 0 {
				t.Fatalf("%s: %+v", try[0], n)
			}
			if got := b.code(ref, n.Ways[0]); !got.Empty() {
				t.Fatalf("%s: a code was sent", try[0])
			}
			_, again := b.password(try[0], try[1])
			if len(again.Ways) != len(n.Ways) || again.Ways[0] != n.Ways[0] {
				t.Fatalf("%s: what is offered changes", try[0])
			}
		}
		b.signIn("ada@example.org", factor.Email, true)
		ref, n := b.password("ada@example.org", "wrong wrong wrong")
		if n = b.prove(ref, n); n.Step != signin.StepPassword || !n.Refused {
			t.Fatalf("the owner's device is told: %+v", n)
		}
		n, err := m.Password(t.Context(), ref, m.Client, signin.PasswordProof{Password: testkit.Password, Handles: b.handles})
		if err != nil || n.Step != signin.StepDevice {
			t.Fatalf("%+v, %v", n, err)
		}
		if n = b.prove(ref, n); n.Step != signin.StepDone {
			t.Fatalf("then right: %+v", n)
		}
	})
}

// P7: every verified e-mail address is told of a sign-in from a new device.
func TestHolderIsToldOfANewDevice(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account("ada@example.org", "ada@example.com", "+4915112345678")
		newBrowser(t, m).signIn("ada@example.org", factor.SMS, false)
		told := map[string]bool{}
		for _, l := range m.Letters(message.Email) {
			told[l.To] = l.Kind == message.NewDevice
		}
		if !told["ada@example.org"] || !told["ada@example.com"] {
			t.Fatalf("told: %v", told)
		}
	})
}

func TestExpiredFlowsEndAlike(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account("ada@example.org")
		b := newBrowser(t, m)
		ref, _ := b.begin("ada@example.org")
		short := signin.Ref{Flow: secret.Of(ref.Flow.Reveal()[:20]), Browser: ref.Browser}
		invented := signin.Ref{Flow: secret.NewToken(signin.FlowPrefix), Browser: ref.Browser}
		clock.Advance(16 * time.Minute)
		for name, r := range map[string]signin.Ref{"expired": ref, "truncated": short, "invented": invented, "empty": {}} {
			if _, err := m.At(t.Context(), r); code(err) != "flow_ended" || fault.Of(err).Kind != fault.Gone {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// N-3.2.2-02: after 100 failures nothing is evaluated, until the operator unlocks the account.
func TestStopAtAHundredUntilUnlocked(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		id := m.Account("ada@example.org")
		try := func() (evaluated bool) {
			clock.Advance(61 * time.Minute)
			ref, _ := newBrowser(t, m).begin("ada@example.org")
			n, err := m.Password(t.Context(), ref, m.Client, signin.PasswordProof{Password: "wrong wrong wrong"})
			return err == nil && n.Refused
		}
		evaluated := 0
		for range 110 {
			if try() {
				evaluated++
			}
		}
		if evaluated != 100 {
			t.Fatalf("%d evaluated, want 100", evaluated)
		}
		clock.Advance(24 * time.Hour)
		if try() {
			t.Fatal("evaluated after the stop")
		}
		if err := m.Profile.Unlock(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		newBrowser(t, m).signIn("ada@example.org", factor.Email, false)
	})
}

// What has expired is deleted, whole, and what has not stays.
func TestPruneDeletesWhatHasExpired(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account("ada@example.org")
		b := newBrowser(t, m)
		b.begin("ada@example.org")
		old, _ := b.password("ada@example.org", testkit.Password)
		b.code(old, factor.Email)
		clock.Advance(16 * time.Minute)
		live, _ := b.begin("ada@example.org")
		prune := func(what string, f func(tx *sqldb.Tx) (int64, error), want int64) {
			t.Helper()
			var n int64
			err := m.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
				n, err = f(tx)
				return err
			})
			if err != nil || n != want {
				t.Errorf("%s: %d deleted, %v; want %d", what, n, err, want)
			}
		}
		ctx := t.Context()
		prune("flows", func(tx *sqldb.Tx) (int64, error) { return m.Prune(ctx, tx) }, 2)
		prune("codes", func(tx *sqldb.Tx) (int64, error) { return m.Codes.Prune(ctx, tx) }, 1)
		prune("again", func(tx *sqldb.Tx) (int64, error) { return m.Prune(ctx, tx) }, 0)
		if _, err := m.At(ctx, live); err != nil {
			t.Errorf("a live flow was deleted: %v", err)
		}
	})
}

// P2: wrong passwords for one name do not show at another name of the same person, or two names
// that share a limit would be two names of one person. Yet they count together, silently.
func TestNamesOfOnePersonDoNotShowByTheirLimits(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Throttle.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		names := []string{"ada@example.org", "ada@example.com", "+4915112345678", "adalovelace"}
		m.Account(names...)
		try := func(name, pw string) string {
			ref, _ := newBrowser(t, m).begin(name)
			n, err := m.Password(t.Context(), ref, m.Client, signin.PasswordProof{Password: pw})
			switch {
			case err != nil:
				return code(err)
			case n.Refused:
				return "refused"
			}
			return string(n.Step)
		}
		for _, name := range names[:3] {
			for range 10 {
				if got := try(name, "wrong wrong wrong"); got != "refused" {
					t.Fatalf("%s: %s", names, got)
				}
			}
			if got := try(name, "wrong wrong wrong"); got != "too_many_attempts" {
				t.Fatalf("after ten: %s", got)
			}
		}
		if got := try(names[3], "wrong wrong wrong"); got != "refused" {
			t.Fatalf("another name of the account: %s; a stranger learns whose it is", got)
		}
		if got := try(names[3], testkit.Password); got != "refused" {
			t.Fatalf("the right password after thirty wrong ones: %s; the names do not count together", got)
		}
	})
}
