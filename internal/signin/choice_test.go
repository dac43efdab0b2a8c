package signin_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/profile"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

func choose(t *testing.T, m *testkit.Machine, id account.ID, c factor.Choice) {
	t.Helper()
	change(t, m, func(ctx context.Context, tx *sqldb.Tx) error { return m.Choices.Choose(ctx, tx, id, c) })
}

func policy(t *testing.T, m *testkit.Machine, id account.ID, p factor.Policy) {
	t.Helper()
	change(t, m, func(ctx context.Context, tx *sqldb.Tx) error { return m.Choices.Set(ctx, tx, id, p) })
}

func (b *browser) mustEnrol(n signin.Next) bool {
	b.t.Helper()
	_, err := b.m.Sessions.Check(b.t.Context(), n.Session.Token)
	if err != nil && code(err) != "enrolment_required" {
		b.t.Fatal(err)
	}
	return err != nil
}

// always: a recognised device is asked, too, and its holder not told of a strange one.
func TestAStricterPolicyAsksARecognisedDevice(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		id := m.Account("ada@example.org", "+4915112345678")
		b := newBrowser(t, m)
		b.signIn("ada@example.org", factor.SMS, true)
		policy(t, m, id, factor.Always)
		m.Letters(message.Email)
		ref, n := b.password("ada@example.org", testkit.Password)
		if n = b.prove(ref, n); n.Step != signin.StepSecond {
			t.Fatalf("a recognised device stands at %s", n.Step)
		}
		n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: b.code(ref, factor.SMS), Handles: b.handles})
		if err != nil || n.Step != signin.StepDone {
			t.Fatalf("%+v, %v", n, err)
		}
		if me := b.session(n); me.Device == "" {
			t.Error("the session is of no device")
		}
		for _, l := range m.Letters(message.Email) {
			if l.Kind == message.NewDevice {
				t.Error("the holder is told of a new device that was recognised")
			}
		}
		policy(t, m, id, "")
		ref, n = b.password("ada@example.org", testkit.Password)
		if n = b.prove(ref, n); n.Step != signin.StepDone {
			t.Errorf("without the policy it stands at %s", n.Step)
		}
	})
}

// P7: a device that is forgotten on the way to a second proof is a stranger when it has given it: it was lost, say.
func TestADeviceForgottenOnTheWayIsAStranger(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		id := m.Account("ada@example.org", "+4915112345678")
		policy(t, m, id, factor.Always)
		b := newBrowser(t, m)
		me := b.session(b.signIn("ada@example.org", factor.SMS, true))
		ref, n := b.password("ada@example.org", testkit.Password)
		b.prove(ref, n)
		m.Letters(message.Email)
		if ok, err := m.Profile.ForgetDevice(t.Context(), me, m.Client, me.Device); err != nil || !ok {
			t.Fatal(ok, err)
		}
		n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: b.code(ref, factor.SMS), Handles: b.handles})
		if err != nil || n.Step != signin.StepDone {
			t.Fatalf("%+v, %v", n, err)
		}
		if s := b.session(n); s.Device != "" {
			t.Error("the session is of a device that was forgotten")
		}
		if !slices.ContainsFunc(m.Letters(message.Email), func(l outbox.Claimed) bool { return l.Kind == message.NewDevice }) {
			t.Error("nobody is told")
		}
	})
}

// P9: a recognised device that is asked all the same has tries and letters of its own, which neither strangers nor whoever has the
// password use up.
func TestWrongCodesOfOthersLockNoRecognisedDeviceOut(t *testing.T) {
	for _, hidden := range []bool{false, true} {
		each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
			m.HidePasswordResult = hidden
			id := m.Account("ada@example.org")
			b := newBrowser(t, m)
			b.signIn("ada@example.org", factor.Email, true)
			policy(t, m, id, factor.Always)
			clock.Advance(time.Hour)
			word := testkit.Password
			if hidden {
				word = "not the password at all"
			}
			limited := 0
			for range 6 {
				ref, _ := newBrowser(t, m).password("ada@example.org", word)
				if _, err := m.Send(t.Context(), ref, m.Client, factor.Email); code(err) == "too_many_attempts" {
					limited++
				}
				if _, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: secret.Of("not it")}); code(err) == "too_many_attempts" {
					limited++
				}
			}
			if limited != 2 {
				t.Fatalf("the others were limited %d times", limited)
			}
			m.Letters(message.Email)
			ref, n := b.password("ada@example.org", testkit.Password)
			b.prove(ref, n)
			n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: b.code(ref, factor.Email), Handles: b.handles})
			if err != nil || n.Step != signin.StepDone {
				t.Errorf("its owner: %s, %v", n.Step, err)
			}
			for range 6 { // its own tries are as few as anybody's
				ref, n := b.password("ada@example.org", testkit.Password)
				b.prove(ref, n)
				if _, err = m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: secret.Of("not it")}); err != nil {
					break
				}
			}
			if code(err) != "too_many_attempts" {
				t.Errorf("whoever holds the device guesses on: %v", err)
			}
			change(t, m, func(ctx context.Context, tx *sqldb.Tx) error { return m.ClearCounts(ctx, tx, id) })
			ref, n = b.password("ada@example.org", testkit.Password)
			b.prove(ref, n)
			if _, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: secret.Of("not it")}); err != nil {
				t.Errorf("after the operator's unlock: %v", err)
			}
		})
	}
}

// An approval opens nothing once sign-ins take a passkey alone, however it was asked for and given before.
func TestAnApprovalIsNoPasskey(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		id := m.Account("ada@example.org", "+4915112345678")
		old := newBrowser(t, m)
		me := old.session(old.signIn("ada@example.org", factor.SMS, true))
		ref, _ := newBrowser(t, m).password("ada@example.org", testkit.Password)
		a, err := m.Ask(t.Context(), ref, m.Client)
		if err != nil {
			t.Fatal(err)
		}
		proof := device.Proof{Handles: old.handles, Signature: old.key.Sign("approve", testkit.Origin, string(a.ID))}
		if right, err := m.Profile.Approve(t.Context(), me, m.Client, profile.Approval{ID: a.ID, Number: a.Number, Proof: proof}); err != nil || !right {
			t.Fatal(right, err)
		}
		m.PasskeyOf(id)
		policy(t, m, id, factor.PhishingResistant)
		if n, err := m.Enter(t.Context(), ref, m.Client, signin.CodeProof{}); err != nil || n.Step != signin.StepSecond || !n.Refused {
			t.Errorf("it lets somebody in: %+v, %v", n, err)
		}
	})
}

// The strictest of everybody's, the group's, the account's and the holder's own policy counts; nobody's own wish is less.
func TestTheStrictestPolicyCounts(t *testing.T) {
	const usual, always, strict = factor.Unrecognised, factor.Always, factor.PhishingResistant
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		m := testkit.NewMachine(t, db, testkit.Ring(t))
		id := m.Account("ada@example.org")
		change(t, m, func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := m.Accounts.Join(ctx, tx, id, "admins")
			return err
		})
		m.Choices.Groups = map[string]factor.Policy{}
		for _, all := range factor.Policies() {
			for _, group := range factor.Policies() {
				for _, own := range factor.Policies() {
					for _, wish := range []factor.Policy{"", usual, always} {
						m.Choices.Policy, m.Choices.Groups["admins"], m.Choices.Groups["others"] = all, group, strict
						policy(t, m, id, own)
						choose(t, m, id, factor.Choice{Holder: wish})
						rank := func(p factor.Policy) int { return slices.Index(factor.Policies(), p) }
						want := factor.Policies()[max(rank(all), rank(group), rank(own), rank(wish))]
						err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
							s, err := m.Second(t.Context(), tx, id)
							if s.Policy != want {
								t.Errorf("%s, %s, %s, %s: %s, want %s", all, group, own, wish, s.Policy, want)
							}
							return err
						})
						if err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		}
	})
}

// phishing_resistant: a code opens nothing for whoever has a passkey, and for whoever has none a session that is good for
// enrolling one and nothing else.
func TestNothingButAPasskey(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		id := m.Account("ada@example.org", "+4915112345678")
		newBrowser(t, m).signIn("ada@example.org", factor.SMS, true) // it could approve another
		m.Choices.Policy = factor.PhishingResistant
		b := newBrowser(t, m)
		n := b.signIn("ada@example.org", factor.SMS, false)
		if !n.Nudge.Must || !n.Nudge.Passkey || !b.mustEnrol(n) {
			t.Fatalf("without a passkey: %+v", n.Nudge)
		}
		if _, err := m.Sessions.CheckEnrolling(t.Context(), n.Session.Token); err != nil {
			t.Errorf("it is no good for enrolling one: %v", err)
		}
		m.App(id)
		change(t, m, func(ctx context.Context, tx *sqldb.Tx) error { return m.Rebound(ctx, tx, id, n.Session.ID, factor.OTP) })
		if !b.mustEnrol(n) {
			t.Error("an app was enough")
		}
		codes := m.BackupCodesOf(id)
		p := m.PasskeyOf(id)
		change(t, m, func(ctx context.Context, tx *sqldb.Tx) error { return m.Rebound(ctx, tx, id, n.Session.ID) })
		if b.mustEnrol(n) {
			t.Error("a passkey was not enough")
		}
		ref, n := b.password("ada@example.org", testkit.Password)
		if !slices.Equal(n.Ways, []factor.Way{factor.Passkey}) {
			t.Fatalf("offered %v", n.Ways)
		}
		if _, err := m.Send(t.Context(), ref, m.Client, factor.SMS); code(err) != "way_unknown" {
			t.Errorf("a code is sent: %v", err)
		}
		if _, err := m.Ask(t.Context(), ref, m.Client); code(err) != "way_unknown" {
			t.Errorf("another device is asked: %v", err)
		}
		if n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Way: factor.Backup, Code: codes[0]}); err != nil || !n.Refused {
			t.Errorf("a backup code: %+v, %v", n, err)
		}
		if n := b.passkey(at(ref), p); n.Step != signin.StepDone || b.mustEnrol(n) {
			t.Errorf("its passkey: %+v", n)
		}
		clock.Advance(time.Minute)
	})
}

// P2: where strangers come as far, everybody is offered the same, and what the policy does not take is withheld.
func TestAPolicyIsHidden(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.HidePasswordResult, m.Choices.Policy = true, factor.PhishingResistant
		id := m.Account("ada@example.org")
		m.PasskeyOf(id)
		b := newBrowser(t, m)
		m.Account("bob@example.org")
		for _, name := range []string{"ada@example.org", "bob@example.org"} {
			ref, n := b.password(name, testkit.Password)
			if want := []factor.Way{factor.Email, factor.Passkey, factor.OTP, factor.Backup}; !slices.Equal(n.Ways, want) {
				t.Errorf("%s is offered %v", name, n.Ways)
			}
			if _, err := m.Send(t.Context(), ref, m.Client, factor.Email); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, l := range m.Letters(message.Email) {
				if l.Kind == message.SigninCode && l.Withhold != (name == "ada@example.org") {
					t.Errorf("%s: a code withheld: %t", name, l.Withhold)
				}
			}
		}
	})
}

// N-3.2.2: a hundred wrong codes in a row, over however long, and a factor opens nothing before it is set up anew. Another
// factor's success does not begin the count again; its holder is told.
func TestAFactorStopsAtAHundred(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		id := m.Account("ada@example.org", "+4915112345678")
		a := m.App(id)
		wrong := func() {
			t.Helper()
			clock.Advance(25 * time.Hour) // past every wait
			ref, _ := newBrowser(t, m).password("ada@example.org", testkit.Password)
			n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Way: factor.OTP, Code: secret.Of("000000")})
			if err != nil || !n.Refused {
				t.Fatalf("%+v, %v", n, err)
			}
		}
		for range factor.MaxFailures - 1 {
			wrong()
		}
		clock.Advance(25 * time.Hour)
		newBrowser(t, m).signIn("ada@example.org", factor.SMS, false)
		m.Letters(message.Email)
		wrong()
		wrong() // and is not looked at any more
		clock.Advance(25 * time.Hour)
		stopped := 0
		for _, l := range m.Letters(message.Email) {
			if l.Kind == message.FactorStopped {
				stopped++
			}
		}
		if stopped != 1 {
			t.Errorf("told %d times", stopped)
		}
		ref, n := newBrowser(t, m).password("ada@example.org", testkit.Password)
		if slices.Contains(n.Ways, factor.OTP) {
			t.Errorf("offered %v", n.Ways)
		}
		if n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Way: factor.OTP, Code: secret.Of(a.Code())}); err != nil || !n.Refused {
			t.Errorf("the right code after a hundred wrong ones: %+v, %v", n, err)
		}
		change(t, m, func(ctx context.Context, tx *sqldb.Tx) error { return m.Rebound(ctx, tx, id, "", factor.OTP) })
		clock.Advance(25 * time.Hour)
		ref, _ = newBrowser(t, m).password("ada@example.org", testkit.Password)
		if n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Way: factor.OTP, Code: secret.Of(a.Code())}); err != nil || n.Step != signin.StepDone {
			t.Errorf("set up anew: %+v, %v", n, err)
		}
	})
}

// P8: where strangers come to the second door their wrong codes stop no factor of the holder's.
func TestStrangersStopNoFactor(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.HidePasswordResult = true
		names := []string{"ada@example.org", "lovelace"} // a name alone is stopped sooner
		id := m.Account(names...)
		m.App(id)
		for i := range factor.MaxFailures + 1 {
			clock.Advance(25 * time.Hour)
			ref, _ := newBrowser(t, m).password(names[i%2], "not the password at all")
			if _, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Way: factor.OTP, Code: secret.Of("000000")}); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
			s, err := m.Second(t.Context(), tx, id)
			for _, w := range s.Ways {
				if w.Stopped {
					t.Errorf("strangers stopped %s", w.Way)
				}
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// Who proves once more who they are is about to do something else: they are not asked to enrol, and it costs no skip.
func TestProvingAgainCostsNoSkip(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Choices.Enrol = factor.Enrolment{Ask: factor.Require, Skips: 2}
		m.Account("ada@example.org")
		b := newBrowser(t, m)
		n := b.signIn("ada@example.org", factor.Email, true)
		if !n.Nudge.Wanted || n.Nudge.Left != 1 {
			t.Fatalf("%+v", n.Nudge)
		}
		for range 3 {
			ref, next := b.again(b.session(n), testkit.Password)
			if n = b.prove(ref, next); n.Step != signin.StepDone || n.Nudge.Wanted {
				t.Fatalf("proving again: step %s, %+v", n.Step, n.Nudge)
			}
		}
		m.Choices.Policy = factor.Always // so that the next one takes a code, and tells nothing of skips
		if n := b.signIn("ada@example.org", factor.Email, false); !n.Nudge.Wanted || n.Nudge.Must || n.Nudge.Left != 0 {
			t.Errorf("the next sign-in: %+v", n.Nudge)
		}
	})
}

// A sign-in asks to enrol something so many times, and then requires it or is silent.
func TestNudges(t *testing.T) {
	for _, c := range []struct {
		name     string
		enrol    factor.Enrolment
		wanted   []bool // at each sign-in in turn
		must     []bool
		deadline bool
	}{
		{"never", factor.Enrolment{Ask: factor.Never, Skips: 2}, []bool{false, false}, []bool{false, false}, false},
		{"suggest", factor.Enrolment{Ask: factor.Suggest, Skips: 2}, []bool{true, true, false}, []bool{false, false, false}, false},
		{"require", factor.Enrolment{Ask: factor.Require, Skips: 2}, []bool{true, true, true}, []bool{false, false, true}, false},
		{"require at once", factor.Enrolment{Ask: factor.Require}, []bool{true}, []bool{true}, false},
		{"past the deadline", factor.Enrolment{Ask: factor.Require, Skips: 50}, []bool{true, true}, []bool{false, true}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
				m.Choices.Enrol = c.enrol
				if c.deadline {
					m.Choices.Enrol.Deadline = clock.Now().Add(time.Hour)
				}
				id := m.Account("ada@example.org")
				b := newBrowser(t, m)
				var n signin.Next
				for i := range c.wanted {
					n = b.signIn("ada@example.org", factor.Email, false)
					if n.Nudge.Wanted != c.wanted[i] || n.Nudge.Must != c.must[i] || b.mustEnrol(n) != c.must[i] {
						t.Errorf("sign-in %d: %+v", i+1, n.Nudge)
					}
					clock.Advance(2 * time.Hour)
				}
				if n.Nudge.Must {
					m.App(id)
					change(t, m, func(ctx context.Context, tx *sqldb.Tx) error { return m.Rebound(ctx, tx, id, n.Session.ID, factor.OTP) })
					if b.mustEnrol(n) {
						t.Error("an app was not enough")
					}
				}
			})
		})
	}
}
