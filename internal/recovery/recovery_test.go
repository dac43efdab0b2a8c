package recovery_test

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/recovery"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// P8, N-4.2.2.2-01, N-4.2.3-01, C-FP-10, C-FP-11, A-7.4.3: two codes by two ways set a new password; everything
// ends, everybody is told, and nobody is signed in.
func TestTwoCodesSetANewPassword(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ *dbtest.Clock) {
		id := m.Account(ada, adaPhone)
		var st session.Started
		m.write(func(tx *sqldb.Tx) (err error) {
			st, err = m.Sessions.Start(t.Context(), tx, session.New{Account: id, Methods: []assurance.Method{assurance.Password}})
			if err == nil {
				_, err = m.Devices.Remember(t.Context(), tx, id, device.Enrolment{PublicKey: testkit.NewKey(t).Public()}, nil)
			}
			return err
		})
		p := m.proved(ada, "")
		p.want(recovery.StepMore)(p.send(factor.SMS))
		p.want(recovery.StepPassword)(p.code(factor.SMS, m.code(adaPhone)))
		if saved, err := p.finish(newWord); err != nil || !saved.Empty() {
			t.Fatalf("finish: %v; a saved code although none was used: %v", err, !saved.Empty())
		}
		if m.opens(id, testkit.Password) || !m.opens(id, newWord) {
			t.Error("the password was not replaced")
		}
		if _, err := m.Sessions.Check(t.Context(), st.Token); err == nil {
			t.Error("a session outlives the recovery")
		}
		if devices, err := m.Devices.List(t.Context(), id); err != nil || len(devices) != 0 {
			t.Errorf("%d devices remembered, %v", len(devices), err)
		}
		if all, err := m.Sessions.List(t.Context(), id); err != nil || len(all) != 0 {
			t.Errorf("somebody is signed in: %d, %v", len(all), err)
		}
		m.write(func(tx *sqldb.Tx) error {
			st, err := m.Accounts.Standing(t.Context(), tx, id)
			if want := m.DB.Now().Add(72 * time.Hour); !st.FrozenUntil.Equal(want) {
				t.Errorf("frozen until %v, want %v", st.FrozenUntil, want)
			}
			return err
		})
		for _, address := range []string{ada, adaPhone} {
			if got := m.kinds(address)[message.RecoveryDone]; got != 1 {
				t.Errorf("%d letters of the recovery at %s, want 1", got, address)
			}
		}
		fails(t, "flow_ended")(p.finish(newWord + " again"))
	})
}

// I-01, X16: a name that nobody has, one that is malformed, a destination that fits nothing, a locked account:
// everything is answered like the real thing, and no letter leaves.
func TestBeginAnswersEverythingAlike(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ *dbtest.Clock) {
		m.Account(ada, adaPhone, "ada.l")
		locked := m.Account("eve@example.org")
		m.write(func(tx *sqldb.Tx) error { return m.Accounts.Lock(t.Context(), tx, locked) })
		_, want := m.begin(ada, "")
		if m.code(ada).Empty() {
			t.Fatal("the holder got no code: this test compares nothing")
		}
		for _, typed := range [][2]string{
			{"ghost@example.org", ""},
			{"eve@example.org", ""},
			{"not@@well..formed", ""},
			{ada, "mallory@example.org"},
			{"nobody", "mallory@example.org"},
			{"ada.l", "not@@well..formed"},
			{"ghost@example.org", ada},
			{strings.Repeat("x", 2000) + "@", ""},
		} {
			if _, got := m.begin(typed[0], typed[1]); !sameNext(got, want) {
				t.Errorf("%.40q to %q: %+v, want %+v", typed[0], typed[1], got, want)
			}
		}
		if l := m.letters(""); len(l) != 0 {
			t.Errorf("%d letters left, the first to %s", len(l), l[0].To)
		}
		// By its look alone: a username is nowhere to send a code to, and neither is anything like one.
		for _, typed := range [][2]string{{"ada.l", ""}, {"nobody.here", ""}, {"x y z", ""}, {ada, "ada.l"}} {
			_, err := m.Recovery.Begin(t.Context(), recovery.Begin{Identifier: typed[0], To: typed[1], Client: m.Client})
			fails(t, "destination_missing")(nil, err)
		}
	})
}

func sameNext(a, b recovery.Next) bool {
	return a.Step == b.Step && a.Sent == b.Sent && a.ResendAt.Equal(b.ResendAt) && a.ExpiresAt.Equal(b.ExpiresAt) &&
		slices.Equal(a.Ways, b.Ways) && a.Wait == b.Wait && a.Refused == b.Refused && a.TooSoon == b.TooSoon
}

// A guessed code of a flow that cannot succeed proves nothing, even if it is the right one.
func TestWithheldCodesProveNothing(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ *dbtest.Clock) {
		m.Account(ada)
		for _, typed := range [][2]string{{"ghost@example.org", ""}, {ada, "mallory@example.org"}} {
			p, _ := m.begin(typed[0], typed[1])
			var withheld secret.Token
			for _, l := range m.Letters(message.Email) {
				withheld = secret.Of(l.Params["code"])
			}
			if withheld.Empty() {
				t.Fatal("no withheld letter: this test guesses nothing")
			}
			p.refused(p.code("", withheld))
		}
	})
}

// N-4.2.1.2-04 and the reason for account.Hold: an address added by whoever took over a session recovers nothing.
func TestANewAddressRecoversNothing(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		id := m.Account(ada)
		clock.Advance(day)
		m.write(func(tx *sqldb.Tx) error {
			ident, err := account.Parse("mallory@example.org")
			if err != nil {
				return err
			}
			return m.Accounts.Add(t.Context(), tx, id, account.NewIdentifier{Identifier: ident, Verified: true, Notices: true, Recovers: true})
		})
		m.begin(ada, "mallory@example.org")
		if !m.code("mallory@example.org").Empty() {
			t.Fatal("a code went to an address that was added just now")
		}
		p := m.proved(ada, "")
		if p.want(recovery.StepMore)(p.send(factor.Email)); !m.code("mallory@example.org").Empty() {
			t.Fatal("a second code went to an address that was added just now")
		}
		clock.Advance(account.Hold)
		m.begin(ada, "mallory@example.org")
		if m.code("mallory@example.org").Empty() {
			t.Fatal("no code went to an address that has been there for three days")
		}
	})
}

// P3, I-04: a flow works in the browser that began it, and a code in its flow.
func TestFlowAndCodeStayWhereTheyBelong(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		m.Account(ada)
		m.Account("bob@example.org")
		p, _ := m.begin(ada, "")
		c := m.code(ada)
		other := person{m, signin.Ref{Flow: p.ref.Flow, Browser: secret.NewToken(recovery.BrowserPrefix)}}
		fails(t, "flow_ended")(other.code("", c))
		fails(t, "flow_ended")(person{m, signin.Ref{Flow: p.ref.Flow}}.at())
		bob, _ := m.begin("bob@example.org", "")
		bob.refused(bob.code("", c))
		clock.Advance(10*time.Minute + time.Second) // C-FP-07
		p.refused(p.code("", c))
		p.want(recovery.StepCode)(p.send(factor.Email))
		c = m.code(ada)
		p.want(recovery.StepMore)(p.code("", c))
		p.refused(p.code(factor.Email, c)) // once
		clock.Advance(day + time.Second)
		fails(t, "flow_ended")(p.at())
	})
}

// C-FP-14, N-4.2.1.2-03, C-FP-17, C-FP-08: five tries across codes and flows, in parallel too, and sign-in does not notice.
func TestFiveTriesAndNoLockout(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		id := m.Account(ada)
		m.Throttle.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		p, _ := m.begin(ada, "")
		var evaluated atomic.Int64
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				if n, err := p.code("", secret.Of("not it")); err == nil && n.Refused {
					evaluated.Add(1)
				}
			})
		}
		wg.Wait()
		if evaluated.Load() != 5 {
			t.Fatalf("%d tries were evaluated, want 5", evaluated.Load())
		}
		p, _ = m.begin(ada, "")
		right := m.code(ada)
		fails(t, "too_many_attempts")(p.code("", right))
		if n, err := m.signIn(ada, testkit.Password); err != nil || n.Step != signin.StepSecond {
			t.Fatalf("sign-in after an attack on the recovery: %+v, %v", n, err)
		}
		clock.Advance(15 * time.Minute)
		p.want(recovery.StepCode)(p.send(factor.Email))
		p.want(recovery.StepMore)(p.code("", m.code(ada)))
		if !m.opens(id, testkit.Password) {
			t.Error("a recovery that was not finished changed the password")
		}
	})
}

// The right code of one address gives back no tries at another: whoever reads the mailbox may not guess on at the phone.
func TestOneAddressGivesNoTriesAtAnother(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		m.Account(ada, adaPhone)
		m.Throttle.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		m.Recovery.Limits.SendName.Burst, m.Recovery.Limits.SendOwner.Burst = 100, 100
		tries := 0
		for range 4 {
			p := m.proved(ada, "")
			p.want(recovery.StepMore)(p.send(factor.SMS))
			for range 3 {
				if n, err := p.code(factor.SMS, secret.Of("not it")); err == nil && n.Refused {
					tries++
				}
			}
			clock.Advance(20 * time.Second)
		}
		if tries > 5 {
			t.Errorf("%d tries at the phone's code, want 5 at most", tries)
		}
		// The same address as the first one: that it had too many does not show, and nothing fits.
		p, _ := m.begin(ada, adaPhone)
		p.refused(p.code("", m.code(adaPhone)))
	})
}

// I-07, C-FP-04: three letters at once for one account by one way, whichever of its names is typed; the fourth looks the same.
func TestLettersToOneAccountAreFew(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		m.Account(ada, "ada.l", adaPhone)
		_, want := m.begin("ghost@example.org", "")
		for i := range 8 {
			name, to := ada, ""
			if i%2 == 1 {
				name, to = "ada.l", ada
			}
			if _, n := m.begin(name, to); !sameNext(n, want) {
				t.Fatalf("over the limit: %+v, want %+v", n, want)
			}
		}
		if got := m.kinds(ada)[message.RecoveryCode]; got != 3 {
			t.Fatalf("%d letters left, want 3", got)
		}
		clock.Advance(20 * time.Minute)
		m.begin(ada, "")
		if got := m.kinds(ada)[message.RecoveryCode]; got != 1 {
			t.Errorf("%d letters left twenty minutes later, want 1", got)
		}
	})
}

// P9: strangers who used up an account's letters and tries do not keep its holder's remembered device out.
func TestARememberedDeviceHasLimitsOfItsOwn(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ *dbtest.Clock) {
		id := m.Account(ada)
		m.Throttle.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		var kept *device.Remembered
		m.write(func(tx *sqldb.Tx) (err error) {
			kept, err = m.Devices.Remember(t.Context(), tx, id, device.Enrolment{PublicKey: testkit.NewKey(t).Public()}, nil)
			return err
		})
		for range 5 {
			p, _ := m.begin(ada, "")
			_, _ = p.code("", secret.Of("not it"))
		}
		m.letters("")
		browser := secret.NewToken(recovery.BrowserPrefix)
		st, err := m.Recovery.Begin(t.Context(), recovery.Begin{Identifier: ada, Browser: browser, Client: m.Client, Handles: []secret.Token{kept.Handle}})
		if err != nil {
			t.Fatal(err)
		}
		p := person{m, signin.Ref{Flow: st.Flow, Browser: browser}}
		p.want(recovery.StepMore)(p.code("", m.code(ada)))
	})
}

// P10, C-FP-04: at 200 requests a second from one source no more letters leave than one source may cause.
func TestAFloodFromOneSourceSendsFewLetters(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		names := make([]string, 40)
		for i := range names {
			names[i] = string(rune('a'+i%26)) + strings.Repeat("x", i) + "@example.org"
			m.Bare(names[i])
		}
		refused := 0
		for i := range 600 {
			_, err := m.Recovery.Begin(t.Context(), recovery.Begin{
				Identifier: names[i%len(names)], Browser: secret.NewToken(recovery.BrowserPrefix), Client: m.Client,
			})
			if err != nil {
				refused++
			}
			clock.Advance(5 * time.Millisecond)
		}
		limit := m.Recovery.Limits.SendSource.Burst
		if got := len(m.letters("")); got != limit || refused != 600-limit {
			t.Errorf("%d letters left and %d were refused, want %d and %d", got, refused, limit, 600-limit)
		}
	})
}

// C-FP-09, C-FP-18: the policy holds here too, and a password that is refused ends nothing.
func TestTheNewPasswordMustBeGood(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ *dbtest.Clock) {
		m.Account(ada, adaPhone)
		p := m.proved(ada, "")
		fails(t, "step_out_of_order")(p.finish(newWord)) // one proof is not enough
		p.want(recovery.StepMore)(p.send(factor.SMS))
		p.want(recovery.StepPassword)(p.code(factor.SMS, m.code(adaPhone)))
		fails(t, "password_too_short")(p.finish("short"))
		fails(t, "password_context")(p.finish("ada@example.org"))
		if _, err := p.finish(newWord); err != nil {
			t.Fatal(err)
		}
	})
}

// Of any number that finish one flow, one does.
func TestOneOfManyFinishes(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ *dbtest.Clock) {
		m.Account(ada, adaPhone)
		p := m.proved(ada, "")
		p.want(recovery.StepMore)(p.send(factor.SMS))
		p.want(recovery.StepPassword)(p.code(factor.SMS, m.code(adaPhone)))
		var won atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := p.finish(newWord); err == nil {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d finished, want 1", won.Load())
		}
		if got := m.kinds(ada)[message.RecoveryDone]; got != 1 {
			t.Errorf("told %d times, want once", got)
		}
	})
}

// Who forgot their password has mistyped it: those counts were of another password. And other flows of the account end.
func TestANewPasswordWorksAtOnce(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ *dbtest.Clock) {
		m.Account(ada, adaPhone)
		for range 12 {
			_, _ = m.signIn(ada, "not it, not it, not it")
		}
		fails(t, "too_many_attempts")(m.signIn(ada, testkit.Password))
		other := m.proved(ada, adaPhone)
		p := m.proved(ada, "")
		p.want(recovery.StepMore)(p.send(factor.SMS))
		p.want(recovery.StepPassword)(p.code(factor.SMS, m.code(adaPhone)))
		if _, err := p.finish(newWord); err != nil {
			t.Fatal(err)
		}
		if n, err := m.signIn(ada, newWord); err != nil || n.Step != signin.StepSecond {
			t.Errorf("sign-in with the new password: %+v, %v", n, err)
		}
		fails(t, "flow_ended")(other.at())
	})
}

// A sign-in that had the old password already does not survive the new one.
func TestASignInUnderWayEndsWithItsPassword(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		m.Account(ada, adaPhone)
		browser := secret.NewToken(signin.BrowserPrefix)
		st, err := m.Begin(t.Context(), signin.Begin{Identifier: ada, Browser: browser, Client: m.Client})
		if err != nil {
			t.Fatal(err)
		}
		ref := signin.Ref{Flow: st.Flow, Browser: browser}
		if n, err := m.Password(t.Context(), ref, m.Client, signin.PasswordProof{Password: testkit.Password}); err != nil || n.Step != signin.StepSecond {
			t.Fatalf("%+v, %v", n, err)
		}
		clock.Advance(time.Second)
		p := m.proved(ada, "")
		p.want(recovery.StepMore)(p.send(factor.SMS))
		p.want(recovery.StepPassword)(p.code(factor.SMS, m.code(adaPhone)))
		if _, err := p.finish(newWord); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Send(t.Context(), ref, m.Client, factor.Email); err != nil {
			t.Fatal(err)
		}
		fails(t, "flow_ended")(m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: m.code(ada)}))
	})
}

// A locked account stays locked, also if it is locked on the way.
func TestALockedAccountIsNotRecovered(t *testing.T) {
	each(t, func(t *testing.T, m *machine, _ *dbtest.Clock) {
		id := m.Account(ada, adaPhone)
		p := m.proved(ada, "")
		p.want(recovery.StepMore)(p.send(factor.SMS))
		p.want(recovery.StepPassword)(p.code(factor.SMS, m.code(adaPhone)))
		m.write(func(tx *sqldb.Tx) error { return m.Accounts.Lock(t.Context(), tx, id) })
		fails(t, "flow_ended")(p.finish(newWord))
	})
}

// A flow from a clock that was ahead is over; what is over is deleted.
func TestWrongClocksAndPruning(t *testing.T) {
	each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
		m.Account(ada)
		clock.Advance(time.Hour)
		p, _ := m.begin(ada, "")
		clock.Advance(-time.Hour)
		fails(t, "flow_ended")(p.at())
		clock.Advance(2 * time.Hour)
		m.write(func(tx *sqldb.Tx) error {
			n, err := m.Recovery.Prune(t.Context(), tx)
			if n != 1 {
				t.Errorf("%d flows pruned, want 1", n)
			}
			return err
		})
	})
}
