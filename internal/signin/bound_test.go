package signin_test

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/throttle"
)

// bound is a browser that binds keys to its machine. Its script is off: it has no other key.
type bound struct {
	*browser

	chip     testkit.BoundKey
	signedIn signin.Next
	offer    string
	id       device.ID
	cookie   secret.Token
}

// bindingBrowser signs in, has the device remembered, and binds a key to it.
func bindingBrowser(t *testing.T, m *testkit.Machine, name string) *bound {
	t.Helper()
	b := &bound{browser: newBrowser(t, m), chip: testkit.NewBoundKey(t)}
	n := b.signIn(name, factor.Email, true)
	minted, ok := b.bind(n, b.chip.Enrol(n.Offer))
	if !ok || minted.Cookie.Empty() {
		t.Fatalf("not bound by the offer %q", n.Offer)
	}
	b.signedIn, b.offer, b.id, b.cookie = n, n.Offer, minted.Device, minted.Cookie
	return b
}

func (b *browser) bind(n signin.Next, proof string) (device.Minted, bool) {
	b.t.Helper()
	minted, ok, err := b.m.Bind(b.t.Context(), b.session(n), b.m.Client, proof)
	if err != nil {
		b.t.Fatal(err)
	}
	return minted, ok
}

func unlimited(*sqldb.Tx) error { return nil }

func (b *bound) refresh(proof string) device.Minted {
	b.t.Helper()
	minted, err := b.m.Devices.Refresh(b.t.Context(), b.id, proof, unlimited)
	if err != nil {
		b.t.Fatal(err)
	}
	return minted
}

// device posts the device's form once, with the cookies that are given.
func (b *bound) device(ref signin.Ref, cookies ...secret.Token) signin.Next {
	b.t.Helper()
	n, err := b.m.Device(b.t.Context(), ref, b.m.Client, device.Proof{Handles: b.handles, Bound: cookies})
	if err != nil {
		b.t.Fatal(err)
	}
	b.keep(n.Device)
	return n
}

// returns signs in as the browser does: it signs what it is asked to, and posts again.
func (b *bound) returns(name string) signin.Next {
	b.t.Helper()
	ref, n := b.password(name, testkit.Password)
	if n.Step != signin.StepDevice {
		b.t.Fatalf("step %s, want device", n.Step)
	}
	n = b.device(ref, b.cookie)
	for n.Ask != nil {
		b.cookie = b.refresh(b.chip.Sign(n.Ask.Challenge)).Cookie
		n = b.device(ref, b.cookie)
	}
	return n
}

const ada = "ada@example.org"

func TestBoundKeyRecognisesItsDevice(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		who := m.Account(ada)
		b := bindingBrowser(t, m, ada)
		for range 3 { // weeks apart: the cookie is kept as long as the device is remembered
			clock.Advance(9 * 24 * time.Hour)
			n := b.returns(ada)
			if n.Step != signin.StepDone {
				t.Fatalf("step %s, want done", n.Step)
			}
			if s := b.session(n); strings.Join(s.Methods, " ") != "password dbsc" || s.Device != b.id {
				t.Errorf("proved %v from device %s, want password and dbsc from %s", s.Methods, s.Device, b.id)
			}
			if n.Offer != "" {
				t.Error("a device that was only recognised may bind a key")
			}
		}
		all, err := m.Devices.List(t.Context(), who)
		if err != nil || len(all) != 1 || all[0].Strength != device.Bound {
			t.Errorf("the list says %+v, %v", all, err)
		}
	})
}

// Whoever copies the cookies has no key: not by sending them again and again, not with what was got for an
// older proof, not with a key of their own, and not on the back of the owner, who signs in at the same time.
func TestACopiedBoundCookieIsAStranger(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account(ada)
		mine := bindingBrowser(t, m, ada)
		thief := &bound{browser: newBrowser(t, m), chip: testkit.NewBoundKey(t), id: mine.id, cookie: mine.cookie}
		thief.handles = mine.handles

		ref, _ := thief.password(ada, testkit.Password)
		asked := map[string]bool{}
		n := thief.device(ref, thief.cookie)
		for ; n.Ask != nil; n = thief.device(ref, thief.cookie, mine.cookie) {
			asked[n.Ask.Challenge] = true
			if minted := thief.refresh(thief.chip.Sign(n.Ask.Challenge)); !minted.Cookie.Empty() || minted.Ended {
				t.Fatal("a key of the thief's own was taken")
			}
			// The owner signs in meanwhile, from the right device, and the thief gets hold of that cookie as well.
			other, _ := mine.password(ada, testkit.Password)
			mine.cookie = mine.refresh(mine.chip.Sign(mine.device(other, mine.cookie).Ask.Challenge)).Cookie
		}
		if n.Step != signin.StepSecond || len(asked) != 3 {
			t.Errorf("asked %d times, then step %s; want 3 and second", len(asked), n.Step)
		}
		if n := mine.returns(ada); n.Step != signin.StepDone {
			t.Errorf("the owner after the thief: step %s, want done", n.Step)
		}
	})
}

// A proof is for the sign-in that asked for it, once, and soon.
func TestOldProofsAreRefused(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account(ada)
		b := bindingBrowser(t, m, ada)
		begun := func() (signin.Ref, string) {
			ref, _ := b.password(ada, testkit.Password)
			return ref, b.device(ref, b.cookie).Ask.Challenge
		}
		refused := func(name, proof string) {
			t.Helper()
			if m := b.refresh(proof); !m.Cookie.Empty() || m.Challenge == "" || m.Ended {
				t.Errorf("%s: %+v, want no cookie and a new challenge", name, m)
			}
		}
		ref, challenge := begun()
		proof := b.chip.Sign(challenge)
		got := b.refresh(proof)
		refused("the same proof again", proof)
		refused("the offer in place of a challenge", b.chip.Sign(b.offer))
		if other, _ := begun(); b.device(other, got.Cookie).Ask == nil {
			t.Error("a proof for another sign-in was not asked for anew")
		}
		if n := b.device(ref, got.Cookie); n.Step != signin.StepDone {
			t.Errorf("its own sign-in: step %s", n.Step)
		}

		_, challenge = begun()
		clock.Advance(3 * time.Minute)
		refused("after three minutes", b.chip.Sign(challenge))
		_, challenge = begun()
		clock.Advance(-time.Hour)
		refused("from before the clock was put back", b.chip.Sign(challenge))
		clock.Advance(time.Hour)
		refused("an invented challenge", b.chip.Sign("invented"))
		refused("no proof", "")
		refused("a cookie in place of a challenge", b.chip.Sign(strings.TrimPrefix(b.cookie.Reveal(), string(b.id)+".")))

		ref, challenge = begun()
		got = b.refresh(b.chip.Sign(challenge))
		clock.Advance(3 * time.Minute) // the form was kept back, and comes when the cookie may have been copied
		if n := b.device(ref, got.Cookie); n.Ask == nil {
			t.Error("a cookie is taken minutes after its proof")
		}
	})
}

// A handle that was changed long ago is a copy: it is asked for nothing, and ends the remembering at once.
func TestAnOldHandleIsNotAskedForAProof(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account(ada)
		b := bindingBrowser(t, m, ada)
		copied := b.handles
		b.returns(ada)
		clock.Advance(time.Hour)
		b.handles = copied
		ref, _ := b.password(ada, testkit.Password)
		if n := b.device(ref, b.cookie); n.Ask != nil || n.Step != signin.StepSecond {
			t.Errorf("step %s, asked %v", n.Step, n.Ask)
		}
		if !b.refresh("").Ended {
			t.Error("the device is remembered still")
		}
	})
}

// A browser whose quota is used up, or that our refresh door failed, comes back without the cookie. It is not
// proved, and no more than that: its other key is taken, or a code, and the next time it is recognised.
func TestWhoCannotSignIsNotLockedOut(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account(ada)
		b := bindingBrowser(t, m, ada)
		ref, n := b.password(ada, testkit.Password)
		nonce := n.Nonce
		if n = b.device(ref, b.cookie); n.Ask == nil || n.Step != signin.StepDevice || n.Nonce != nonce {
			t.Fatalf("%+v, want the device asked, and the nonce that it has signed already", n)
		}
		if n = b.prove(ref, n); n.Step != signin.StepDone {
			t.Fatalf("without the cookie, by the other key: step %s, want done", n.Step)
		}
		if s := b.session(n); strings.Join(s.Methods, " ") != "password device" {
			t.Errorf("proved %v, want password and device", s.Methods)
		}
		ref, _ = b.password(ada, testkit.Password)
		b.device(ref, b.cookie)
		if n = b.device(ref); n.Step != signin.StepSecond {
			t.Fatalf("with neither key: step %s, want second", n.Step)
		}
		if n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Code: b.code(ref, factor.Email), Handles: b.handles}); err != nil || n.Step != signin.StepDone {
			t.Fatalf("a code: %+v, %v", n.Step, err)
		}
		if n = b.returns(ada); n.Step != signin.StepDone {
			t.Errorf("the next time: step %s, want done", n.Step)
		}
	})
}

// A key is bound once, in the session that the remembering began with, soon, and for its own account.
func TestOnlyTheOfferedSessionBinds(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account(ada)
		m.Account("eve@example.org")
		b, eve, chip := newBrowser(t, m), newBrowser(t, m), testkit.NewBoundKey(t)
		first := b.signIn(ada, factor.Email, true)
		ref, again := b.password(ada, testkit.Password)
		again = b.prove(ref, again)
		hers := eve.signIn("eve@example.org", factor.Email, true)
		if newBrowser(t, m).signIn(ada, factor.Email, false).Offer != "" {
			t.Error("an offer to a device that nobody asked to remember")
		}
		refused := func(name string, n signin.Next, proof string) {
			t.Helper()
			if _, ok := b.bind(n, proof); ok {
				t.Errorf("%s: bound", name)
			}
		}
		refused("another session of the same device", again, chip.Enrol(first.Offer))
		refused("another account", hers, chip.Enrol(first.Offer))
		refused("another account's offer", first, chip.Enrol(hers.Offer))
		refused("an invented offer", first, chip.Enrol("invented"))
		refused("a proof without a key", first, chip.Sign(first.Offer))
		clock.Advance(-time.Hour)
		refused("before it was offered", first, chip.Enrol(first.Offer))
		clock.Advance(time.Hour + 6*time.Minute)
		refused("six minutes later", first, chip.Enrol(first.Offer))

		b.handles = nil
		second := b.signIn(ada, factor.Email, true)
		if _, ok := b.bind(second, chip.Enrol(second.Offer)); !ok {
			t.Fatal("not bound")
		}
		refused("a second key", second, testkit.NewBoundKey(t).Enrol(second.Offer))
		b.handles = nil
		third := b.signIn(ada, factor.Email, true)
		me := b.session(third)
		err := m.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			return m.Devices.ForgetAll(t.Context(), tx, me.Account)
		})
		if err != nil {
			t.Fatal(err)
		}
		refused("a device that was forgotten", third, chip.Enrol(third.Offer))
		b.handles = nil
		fourth := b.signIn(ada, factor.Email, true)
		me = b.session(fourth)
		if ok, err := m.Profile.EndSession(t.Context(), me, m.Client, me.ID); err != nil || !ok {
			t.Fatal(ok, err)
		}
		if _, ok, err := m.Bind(t.Context(), me, m.Client, chip.Enrol(fourth.Offer)); err != nil || ok {
			t.Errorf("a session that has ended, which another node remembers: bound %t, %v", ok, err)
		}
	})
}

func TestOfTwoKeysAtOnceOneIsBound(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account(ada)
		b := newBrowser(t, m)
		n := b.signIn(ada, factor.Email, true)
		me := b.session(n)
		if won := atOnce(t, func() bool {
			_, ok, err := m.Bind(t.Context(), me, m.Client, testkit.NewBoundKey(t).Enrol(n.Offer))
			if err != nil {
				t.Error(err)
			}
			return ok
		}); won != 1 {
			t.Errorf("%d keys bound, want 1", won)
		}
		var recorded int
		err := m.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
			return tx.QueryRow(t.Context(), "SELECT count(*) FROM audit_event WHERE kind = $1 AND account_id = $2", audit.DeviceBound, me.Account).Scan(&recorded)
		})
		if err != nil || recorded != 1 {
			t.Errorf("recorded %d times, %v", recorded, err)
		}
	})
}

func TestAProofSentManyTimesAtOnceIsTakenOnce(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account(ada)
		b := bindingBrowser(t, m, ada)
		ref, _ := b.password(ada, testkit.Password)
		proof := b.chip.Sign(b.device(ref, b.cookie).Ask.Challenge)
		if won := atOnce(t, func() bool {
			minted, err := m.Devices.Refresh(t.Context(), b.id, proof, unlimited)
			if err != nil {
				t.Error(err)
			}
			return !minted.Cookie.Empty()
		}); won != 1 {
			t.Errorf("%d cookies for one proof, want 1", won)
		}
	})
}

func atOnce(t *testing.T, try func() bool) (won int) {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	for range 8 {
		all.Go(func() {
			ok := try()
			mu.Lock()
			defer mu.Unlock()
			if ok {
				won++
			}
		})
	}
	all.Wait()
	return won
}

// A browser may drop its key only when the device is really over: unknown, forgotten, or past its time.
func TestOnlyWhatIsOverIsDropped(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		who := m.Account(ada)
		b := bindingBrowser(t, m, ada)
		if b.refresh("").Ended {
			t.Fatal("dropped while it is remembered")
		}
		clock.Advance(31 * 24 * time.Hour)
		if !b.refresh("").Ended {
			t.Error("kept after the device's time")
		}
		b = bindingBrowser(t, m, ada)
		err := m.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := m.Devices.Forget(t.Context(), tx, who, b.id)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if !b.refresh("").Ended {
			t.Error("kept after it was forgotten")
		}
		ref, _ := b.password(ada, testkit.Password)
		if n := b.device(ref, b.cookie); n.Step != signin.StepSecond || n.Ask != nil {
			t.Errorf("a forgotten device: step %s, asked %v; want second", n.Step, n.Ask)
		}
		b.id = "0199a0c8-0000-7000-8000-000000000000"
		if !b.refresh("").Ended {
			t.Error("an invented device is kept")
		}
	})
}

// Whoever sends proofs without end is told to wait, by an answer at which browsers keep their keys; others are not.
func TestTooManyProofsOfOneSourceLoseNothing(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Limits.Bound = throttle.Rate{Name: "bound", Burst: 2, Every: time.Minute}
		m.Account(ada)
		b := bindingBrowser(t, m, ada) // the first of two
		elsewhere := m.Client
		elsewhere.Source = netip.MustParseAddr("198.51.100.7")
		prove := func(from signin.Client, proof string) (device.Minted, string) {
			minted, err := m.Refresh(t.Context(), session.Session{}, from, signin.Signed{Device: b.id, Proof: proof})
			if f := fault.Of(err); err != nil && (f.Kind != fault.Unavailable || f.RetryAfter == 0) {
				t.Errorf("a browser would drop its key at %v", err)
			}
			if err != nil {
				return minted, fault.Of(err).Code
			}
			return minted, ""
		}
		challenge := func() string {
			asked, code := prove(m.Client, "")
			if code != "" || asked.Challenge == "" || asked.Ended {
				t.Fatalf("%q, %+v", code, asked)
			}
			return asked.Challenge
		}
		if minted, code := prove(m.Client, b.chip.Sign(challenge())); code != "" || minted.Cookie.Empty() {
			t.Fatalf("the second: %q", code)
		}
		proof := b.chip.Sign(challenge())
		if _, code := prove(m.Client, proof); code != "busy" {
			t.Errorf("the third: %q", code)
		}
		if _, _, err := m.Bind(t.Context(), b.session(b.signedIn), m.Client, b.chip.Enrol(b.offer)); fault.Of(err).Code != "busy" {
			t.Errorf("another key: %v", err)
		}
		if minted, code := prove(elsewhere, b.chip.Sign(challenge())); code != "" || minted.Cookie.Empty() {
			t.Errorf("from elsewhere: %q", code)
		}
		m.Account("bob@example.org")
		if minted := bindingBrowser(t, m, "bob@example.org").refresh(""); minted.Challenge == "" {
			t.Errorf("a neighbour behind the same address: %+v", minted)
		}
		clock.Advance(time.Minute)
		if minted, code := prove(m.Client, proof); code != "" || minted.Cookie.Empty() {
			t.Errorf("after a minute: %q", code)
		}
	})
}
