package signin_test

import (
	"strings"
	"testing"
	"time"

	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// stands is a request with a session's token and some cookies: the code of its refusal, and what the browser is asked.
func stands(t *testing.T, m *testkit.Machine, n signin.Next, cookies ...secret.Token) (code string, ask *device.Ask) {
	t.Helper()
	_, s, err := m.Sessions.Stands(t.Context(), n.Session.Token, cookies)
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Sessions.Check(t.Context(), n.Session.Token, cookies...)
	if (err != nil) != s.Unproved {
		t.Fatalf("%+v, and yet %v", s, err)
	}
	if err != nil {
		code = fault.Of(err).Code
	}
	return code, s.Ask
}

// proveFor has the browser sign what it was asked to, with the session's cookie beside it.
func (b *bound) proveFor(n signin.Next, ask *device.Ask) {
	b.t.Helper()
	me, _, err := b.m.Sessions.Stands(b.t.Context(), n.Session.Token, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	minted, err := b.m.Refresh(b.t.Context(), me, b.m.Client, signin.Signed{Device: ask.Device, Proof: b.chip.Sign(ask.Challenge)})
	if err != nil || minted.Cookie.Empty() {
		b.t.Fatalf("%+v, %v", minted, err)
	}
	b.cookie = minted.Cookie
}

const unproved = "session_unproved"

// A copy of a session's cookie, and of every other cookie, is of use for five minutes, and the original for as long as
// its browser signs.
func TestABoundSessionIsServedBesideAFreshProof(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account(ada)
		m.Account("eve@example.org")
		b := &bound{browser: newBrowser(t, m), chip: testkit.NewBoundKey(t)}
		n := b.signIn(ada, factor.Email, true)
		minted, ok := b.bind(n, b.chip.Enrol(n.Offer))
		if !ok {
			t.Fatal("not bound")
		}
		b.cookie = minted.Cookie
		eve := bindingBrowser(t, m, "eve@example.org")
		if code, ask := stands(t, m, n); code != "" || ask != nil {
			t.Errorf("before the browser can have the cookie: %q, %v", code, ask)
		}
		for range 3 {
			clock.Advance(device.ProofFor + time.Second)
			eve.proveFor(eve.signedIn, must(t, m, eve.signedIn, eve.cookie))
			for name, cookies := range map[string][]secret.Token{
				"no cookie": nil, "another's proof": {eve.cookie}, "an invented one": {secret.Of(string(minted.Device) + ".invented")},
				"another's under its name": {secret.Of(strings.Replace(eve.cookie.Reveal(), string(eve.id), string(minted.Device), 1))},
			} {
				if code, _ := stands(t, m, n, cookies...); code != unproved {
					t.Errorf("%s: %q", name, code)
				}
			}
			code, ask := stands(t, m, n, eve.cookie, b.cookie)
			if code != unproved || ask == nil || ask.Device != minted.Device {
				t.Fatalf("the old proof: %q, asked %v", code, ask)
			}
			old := b.cookie
			b.proveFor(n, ask)
			if code, ask := stands(t, m, n, eve.cookie, b.cookie); code != "" || ask != nil {
				t.Errorf("a fresh proof: %q, asked %v", code, ask)
			}
			if code, _ := stands(t, m, n, old); code != unproved {
				t.Errorf("the owner's proof counts for the copy of an old one: %q", code)
			}
		}
	})
}

// Whoever has a copy alone comes in vain; nor does that keep the session from ending when its holder is away.
func TestACopyKeepsNoSessionAlive(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account(ada)
		b := bindingBrowser(t, m, ada)
		for _, want := range []string{unproved, "session_ended"} {
			clock.Advance(m.Sessions.Idle/2 + time.Minute)
			if _, err := m.Sessions.Check(t.Context(), b.signedIn.Session.Token); code(err) != want {
				t.Errorf("%v, want %s", err, want)
			}
		}
	})
}

func must(t *testing.T, m *testkit.Machine, n signin.Next, cookie secret.Token) *device.Ask {
	t.Helper()
	_, ask := stands(t, m, n, cookie)
	if ask == nil {
		t.Fatal("not asked")
	}
	return ask
}

// Who cannot sign signs in by something else, and that session is not bound: or they would be out again in five minutes.
// As soon as the browser can sign again, it is.
func TestASessionIsBoundByTheProofOfItsKey(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account(ada)
		b := bindingBrowser(t, m, ada)
		proved := b.returns(ada)
		ref, _ := b.password(ada, testkit.Password)
		asked := b.device(ref, b.cookie)
		other := b.prove(ref, asked) // the quota is used up: by the other key
		clock.Advance(device.ProofFor + time.Second)
		if code, _ := stands(t, m, proved); code != unproved {
			t.Errorf("signed in by the bound key, and not bound: %q", code)
		}
		if code, ask := stands(t, m, other); code != "" || ask != nil {
			t.Errorf("signed in by the other key: %q, asked %v", code, ask)
		}
		code, ask := stands(t, m, other, b.cookie)
		if code != "" || ask == nil {
			t.Fatalf("the browser has a proof to renew: %q, asked %v", code, ask)
		}
		for name, proof := range map[string]string{"no proof": "", "a proof of another key": testkit.NewBoundKey(t).Sign(ask.Challenge)} {
			me := b.session(other)
			if minted, err := m.Refresh(t.Context(), me, m.Client, signin.Signed{Device: b.id, Proof: proof}); err != nil || !minted.Cookie.Empty() {
				t.Errorf("%s: %+v, %v", name, minted, err)
			}
			if now := b.session(other); !now.BoundAt.IsZero() {
				t.Errorf("%s binds the session: its holder would be out in five minutes", name)
			}
		}
		b.proveFor(other, ask)
		clock.Advance(device.ProofFor + time.Second)
		if code, _ := stands(t, m, other); code != unproved {
			t.Errorf("proved beside the session, and not bound: %q", code)
		}
		clock.Advance(-2 * device.ProofFor)
		if code, _ := stands(t, m, other); code != unproved {
			t.Errorf("the clock was put back to before the proof, which stands for it still: %q", code)
		}
	})
}

// A proof binds the session of its own device, and no other that came with it.
func TestAProofBindsNoOtherSession(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account(ada)
		b := bindingBrowser(t, m, ada)
		n := newBrowser(t, m).signIn(ada, factor.Email, true)
		ask := must(t, m, b.signedIn, advanced(b, clock))
		b.proveFor(n, ask)
		clock.Advance(device.ProofFor + time.Second)
		if code, _ := stands(t, m, n); code != "" {
			t.Errorf("a session of another device: %q", code)
		}
	})
}

func advanced(b *bound, clock *dbtest.Clock) secret.Token {
	clock.Advance(device.ProofFor + time.Second)
	return b.cookie
}

// The proof is judged from memory, and that the session is bound reaches the nodes that have it there.
func TestABoundSessionCostsNoReads(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, ring, clock := dbtest.NewURL(t, engine), testkit.Ring(t), dbtest.NewClock()
			m := testkit.NewMachine(t, dbtest.Open(t, url, clock), ring)
			far := testkit.NewMachine(t, dbtest.Open(t, url, clock), ring)
			m.Account(ada)
			b := &bound{browser: newBrowser(t, m), chip: testkit.NewBoundKey(t)}
			n := b.signIn(ada, factor.Email, true)
			if err := far.Sessions.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
			stands(t, far, n) // from here on it is remembered as one that is not bound
			minted, _ := b.bind(n, b.chip.Enrol(n.Offer))
			if err := far.Sessions.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
			if one, _, err := far.Sessions.Stands(t.Context(), n.Session.Token, nil); err != nil || one.BoundAt.IsZero() {
				t.Errorf("the other node goes on by what it remembers: %v", err)
			}
			clock.Advance(device.ProofFor - time.Second)
			if err := far.Sessions.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
			if code, _ := stands(t, far, n, minted.Cookie); code != "" {
				t.Fatal(code)
			}
			_, before := far.Sessions.Cached()
			for range 100 {
				stands(t, far, n, minted.Cookie)
			}
			if _, reads := far.Sessions.Cached(); reads != before {
				t.Errorf("%d reads for 100 requests", reads-before)
			}
			all, err := far.Sessions.List(t.Context(), b.session(n).Account)
			if err != nil || len(all) != 1 || all[0].BoundAt.IsZero() {
				t.Errorf("the list says %+v, %v", all, err)
			}
		})
	}
}

func TestBoundOnlyOnce(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.Account(ada)
		b := bindingBrowser(t, m, ada)
		me := b.session(b.signedIn)
		clock.Advance(time.Minute)
		err := m.DB.Write(t.Context(), func(tx *sqldb.Tx) error { return m.Sessions.Bind(t.Context(), tx, me) })
		if err != nil {
			t.Fatal(err)
		}
		if again := b.session(b.signedIn); !again.BoundAt.Equal(me.BoundAt) {
			t.Errorf("bound anew at %v: whoever has the cookie alone could stay", again.BoundAt)
		}
	})
}
