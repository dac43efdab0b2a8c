package signin_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/password"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/throttle"
)

// P9: a sign-in gives back the tries that it took and no more. Somebody with an account of their
// own and a remembered device could otherwise fill their address's limit up as often as they like.
func TestASignInGivesBackNoMoreThanItTook(t *testing.T) {
	for _, hide := range []bool{false, true} {
		each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
			m.HidePasswordResult = hide
			m.Limits.Source.Burst, m.Limits.Source.Every = 20, time.Hour
			m.Account("mallory@example.org")
			b := newBrowser(t, m)
			b.signIn("mallory@example.org", factor.Email, true)
			stranger := func() error {
				_, err := m.Begin(t.Context(), signin.Begin{Identifier: "nobody@example.org", Browser: b.secret, Client: m.Client})
				return err
			}
			for range 18 {
				if err := stranger(); err != nil {
					t.Fatalf("a sign-in did not give its tries back: %v", err)
				}
			}
			for range 3 { // two are left. The own device begins without a limit, and then leaves its handle out
				ref, _ := b.begin("mallory@example.org")
				p := signin.PasswordProof{Password: testkit.Password}
				if hide {
					p.Handles = b.handles
				}
				n, err := m.Password(t.Context(), ref, m.Client, p)
				if err != nil || n.Refused {
					t.Fatalf("%+v, %v", n, err)
				}
				if !hide {
					continue
				}
				if n, err = m.Device(t.Context(), ref, m.Client, device.Proof{}); err != nil || n.Step != signin.StepSecond {
					t.Fatalf("%+v, %v", n, err)
				}
				if n, err = m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: b.code(ref, factor.Email)}); err != nil || n.Step != signin.StepDone {
					t.Fatalf("%+v, %v", n, err)
				}
			}
			for left := 0; code(stranger()) != "too_many_attempts"; left++ {
				if left == 2 {
					t.Fatal("tries were won by signing in")
				}
			}
		})
	}
}

// P9: a try that was never compared gives back what it was counted for and no more. Over the limit
// of the account it was not counted there, so giving it back would take one of the others away.
func TestATryThatWasNotComparedForgivesNoOther(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account("ada@example.org", "+4915112345678")
		m.Limits.PasswordAccount = throttle.Ladder{Name: "password/account", Free: 3, Delays: []time.Duration{time.Minute, time.Hour}, Stop: 100}
		b := newBrowser(t, m)
		for range 3 {
			b.password("ada@example.org", "wrong wrong wrong")
		}
		fast := m.Passwords
		m.Passwords = busy(t, m)
		for range 3 { // within the wait
			ref, _ := b.begin("+4915112345678")
			if _, err := m.Password(t.Context(), ref, m.Client, signin.PasswordProof{Password: "wrong wrong wrong"}); code(err) != "busy" {
				t.Fatalf("%v, want busy", err)
			}
		}
		m.Passwords = fast
		clock.Advance(time.Minute)
		b.password("+4915112345678", "wrong wrong wrong") // the fourth of the account: now it waits an hour
		if _, n := b.password("+4915112345678", testkit.Password); !n.Refused {
			t.Error("the account's earlier wrong passwords were forgotten")
		}
	})
}

// busy hashes passwords with a queue that is full until the test ends.
func busy(t *testing.T, m *testkit.Machine) *password.Service {
	t.Helper()
	running, ended, rest := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var first sync.Once
	full, err := password.New(password.Options{
		DB: m.DB, Ring: m.Ring, Parallel: 1, MaxWait: 1, Params: password.Params{MemoryKiB: 64, Time: 1, Lanes: 1}, WeakForTests: true,
		Now: func() time.Time { // asked once a hash has its turn
			first.Do(func() { close(running); <-rest })
			return m.DB.Now()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(ended)
		_, _ = full.Hash(context.WithoutCancel(t.Context()), "whatever")
	}()
	t.Cleanup(func() { close(rest); <-ended })
	<-running
	return full
}

// P9: whoever holds a copied cookie can use up the tries of the device it was copied from, and no
// more: the owner's own device then goes the way of strangers, and is not locked out.
func TestACopiedCookieLocksNobodyOut(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account("ada@example.org")
		b := newBrowser(t, m)
		b.signIn("ada@example.org", factor.Email, true)
		for range m.Limits.DevicePassword.Free {
			ref, _ := b.begin("ada@example.org")
			if _, err := m.Password(t.Context(), ref, m.Client, signin.PasswordProof{Password: "wrong wrong wrong", Handles: b.handles}); err != nil {
				t.Fatal(err)
			}
		}
		ref, n := b.password("ada@example.org", testkit.Password)
		if n = b.prove(ref, n); n.Step != signin.StepDone {
			t.Errorf("the owner: %+v", n)
		}
	})
}

// P9: a handle without its key begins no more sign-ins than an address does.
func TestACopiedCookieHasALimitOfItsOwn(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account("ada@example.org")
		b := newBrowser(t, m)
		b.signIn("ada@example.org", factor.Email, true)
		for range m.Limits.Device.Burst {
			b.begin("ada@example.org")
		}
		m.Limits.Source.Burst = 1
		var err error
		for range 3 {
			_, err = m.Begin(t.Context(), signin.Begin{Identifier: "ada@example.org", Browser: b.secret, Client: m.Client, Handles: b.handles})
		}
		if code(err) != "too_many_attempts" {
			t.Errorf("%v, want too_many_attempts", err)
		}
	})
}

// P7: with the password result hidden, too, the holder is told that a remembering was ended.
func TestHolderIsToldOfAnOldHandleWhateverThePassword(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.HidePasswordResult = true
		m.Account("ada@example.org")
		b := newBrowser(t, m)
		b.signIn("ada@example.org", factor.Email, true)
		copied := b.handles
		ref, n := b.password("ada@example.org", testkit.Password)
		b.prove(ref, n)
		clock.Advance(time.Hour)
		m.Letters(message.Email)
		b.handles = copied
		ref, n = b.password("ada@example.org", "wrong wrong wrong")
		b.prove(ref, n)
		for _, l := range m.Letters(message.Email) {
			if l.Kind == message.DeviceEnded && !l.Withhold {
				return
			}
		}
		t.Error("no letter")
	})
}

// P5: a device that is forgotten while it signs in is either not recognised, or its session ends
// with the others that were opened from it.
func TestADeviceForgottenWhileItSignsIn(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Limits.SendAccount.Burst, m.Limits.SendName.Burst, m.Limits.SendSource.Burst = 1000, 1000, 1000
		ada := m.Account("ada@example.org")
		b := newBrowser(t, m)
		for range 20 {
			b.handles = nil
			first := b.signIn("ada@example.org", factor.Email, true)
			ref, n := b.password("ada@example.org", testkit.Password)
			proof := device.Proof{Handles: b.handles, Signature: b.key.Sign("recognise", testkit.Origin, n.Nonce)}
			var wg sync.WaitGroup
			var got signin.Next
			var err error
			wg.Go(func() { got, err = m.Device(t.Context(), ref, m.Client, proof) })
			wg.Go(func() {
				if _, err := m.Profile.ForgetDevice(t.Context(), session.Session{Account: ada}, m.Client, first.Device.ID); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
			if err != nil {
				t.Fatal(err)
			}
			if got.Session == nil {
				continue
			}
			if _, err := m.Sessions.Check(t.Context(), got.Session.Token); err == nil {
				t.Fatal("a session goes on that was opened from a forgotten device")
			}
		}
	})
}

// P1, P2: whoever began before an account was locked learns nothing of its password any more, and no
// code goes out.
func TestAnAccountLockedWhileAFlowIsUnderWay(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		ada := m.Account("ada@example.org")
		b := newBrowser(t, m)
		early, _ := b.begin("ada@example.org")
		late, _ := b.password("ada@example.org", testkit.Password)
		if err := m.Profile.Lock(t.Context(), ada); err != nil {
			t.Fatal(err)
		}
		n, err := m.Password(t.Context(), early, m.Client, signin.PasswordProof{Password: testkit.Password})
		if err != nil || !n.Refused {
			t.Errorf("password: %+v, %v", n, err)
		}
		if got := b.code(late, factor.Email); !got.Empty() {
			t.Error("a code was sent")
		}
	})
}

// What is no id at all is nobody's session and nobody's device, on either engine.
func TestIDsThatAreNone(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		me := session.Session{Account: m.Account("ada@example.org")}
		for _, id := range []string{"\x00", "\xff", "'", "x"} {
			if ok, err := m.Profile.EndSession(t.Context(), me, m.Client, session.ID(id)); ok || err != nil {
				t.Errorf("session %q: %v, %v", id, ok, err)
			}
			if ok, err := m.Profile.ForgetDevice(t.Context(), me, m.Client, device.ID(id)); ok || err != nil {
				t.Errorf("device %q: %v, %v", id, ok, err)
			}
		}
	})
}

// A handle that has been changed is a copy, if its key does not come along: that ends the remembering even while another tab
// might still send it, and no wrong passwords that come with it are counted as the device's own.
func TestAChangedHandleWithoutItsKeyEndsTheRemembering(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		id := m.Account("ada@example.org")
		b := newBrowser(t, m)
		b.signIn("ada@example.org", factor.Email, true)
		thief := newBrowser(t, m)
		thief.handles = b.handles
		ref, n := b.password("ada@example.org", testkit.Password)
		if n = b.prove(ref, n); n.Step != signin.StepDone {
			t.Fatalf("step %s", n.Step)
		}
		change(t, m, func(ctx context.Context, tx *sqldb.Tx) error {
			if _, its, err := m.Devices.Holds(ctx, tx, id, thief.handles); err != nil || its {
				t.Errorf("the copy has the device's limits: %t, %v", its, err)
			}
			return nil
		})
		ref, n = thief.password("ada@example.org", testkit.Password)
		if n = thief.prove(ref, n); n.Step != signin.StepSecond {
			t.Errorf("step %s, want second", n.Step)
		}
		if all, err := m.Devices.List(t.Context(), id); err != nil || len(all) > 0 {
			t.Errorf("%d remembered, %v", len(all), err)
		}
	})
}
