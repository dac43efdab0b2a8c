package signin_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/passkey"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// asked has a passkey asked for.
func (b *browser) asked(at signin.Asked) passkey.Begun {
	b.t.Helper()
	begun, err := b.m.AskPasskey(b.t.Context(), at)
	if err != nil {
		b.t.Fatal(err)
	}
	return begun
}

// passkey answers with one.
func (b *browser) passkey(at signin.Asked, p *testkit.Passkey) signin.Next {
	b.t.Helper()
	begun := b.asked(at)
	return b.answer(at, signin.PasskeyProof{State: begun.State, Response: p.Sign(begun.Options), Handles: b.handles})
}

func (b *browser) answer(at signin.Asked, p signin.PasskeyProof) signin.Next {
	b.t.Helper()
	n, err := b.m.Passkey(b.t.Context(), at, b.m.Client, p)
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

func (b *browser) first() signin.Asked { return signin.Asked{Browser: b.secret} }

func at(ref signin.Ref) signin.Asked { return signin.Asked{Flow: ref.Flow, Browser: ref.Browser} }

func listedIn(t *testing.T, b passkey.Begun) int {
	t.Helper()
	var o struct {
		Allow []struct{} `json:"allowCredentials"`
	}
	if err := json.Unmarshal(b.Options, &o); err != nil {
		t.Fatal(err)
	}
	if len(o.Allow) != b.Listed {
		t.Errorf("%d listed, %d said", len(o.Allow), b.Listed)
	}
	return b.Listed
}

// A passkey that verified its user is both factors at once: no name, no password, no code. Its holder is told of the
// new device, and the answer is worth something once and in one browser (P6).
func TestAPasskeySignsIn(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		p := m.PasskeyOf(m.Account("ada@example.org"))
		b := newBrowser(t, m)
		begun := b.asked(b.first())
		if listedIn(t, begun) != 0 {
			t.Error("a stranger is shown passkeys")
		}
		proof := signin.PasskeyProof{State: begun.State, Response: p.Sign(begun.Options)}
		if n := newBrowser(t, m).answer(newBrowser(t, m).first(), proof); !n.Refused || n.Unknown {
			t.Errorf("in another browser: %+v", n)
		}
		n := b.answer(b.first(), proof)
		if n.Step != signin.StepDone || !slices.Equal(methods(t, m, n), []string{"passkey_verified"}) {
			t.Fatalf("%+v", n)
		}
		if !slices.ContainsFunc(m.Letters(message.Email), func(l outbox.Claimed) bool { return l.Kind == message.NewDevice }) {
			t.Error("the holder was not told (P7)")
		}
		if n := b.answer(b.first(), proof); !n.Refused {
			t.Error("an answer works twice")
		}
	})
}

// N-3.1.7.2-01: one that did not verify its user is one factor. It opens nothing alone, and the second door with the password.
func TestAnUnverifiedPasskeyIsOneFactor(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		p := m.PasskeyOf(m.Account("ada@example.org", "+4741234567"), (*testkit.Passkey).Unverified)
		b := newBrowser(t, m)
		if n := b.passkey(b.first(), p); !n.Refused || n.Session != nil {
			t.Fatalf("alone: %+v", n)
		}
		ref, n := b.password("ada@example.org", testkit.Password)
		if want := []factor.Way{factor.Passkey, factor.SMS}; !slices.Equal(n.Ways, want) {
			t.Errorf("offered %v, want %v", n.Ways, want)
		}
		if listedIn(t, b.asked(at(ref))) != 1 {
			t.Error("its owner is not shown it")
		}
		if n = b.passkey(at(ref), p); n.Step != signin.StepDone || !slices.Equal(methods(t, m, n), []string{"password", "passkey"}) {
			t.Fatalf("with the password: %+v", n)
		}
	})
}

// A passkey of somebody else opens no second door, nor does an answer that was asked for elsewhere; one that was
// removed is unknown, so that its authenticator can be told; a locked account's is refused.
func TestAPasskeyThatDoesNotFitIsRefused(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		ada, bob := m.Account("ada@example.org"), m.Account("bob@example.org")
		mine, bobs := m.PasskeyOf(ada), m.PasskeyOf(bob)
		b := newBrowser(t, m)
		ref, _ := b.password("ada@example.org", testkit.Password)
		begun := b.asked(b.first())
		for what, n := range map[string]signin.Next{
			"somebody else's":       b.passkey(at(ref), bobs),
			"asked for elsewhere":   b.answer(at(ref), signin.PasskeyProof{State: begun.State, Response: mine.Sign(begun.Options)}),
			"no answer":             b.answer(at(ref), signin.PasskeyProof{State: begun.State}),
			"no state":              b.answer(at(ref), signin.PasskeyProof{Response: mine.Sign(begun.Options)}),
			"a first step's answer": b.answer(b.first(), signin.PasskeyProof{State: b.asked(at(ref)).State, Response: mine.Sign(begun.Options)}),
		} {
			if !n.Refused || n.Unknown || n.Session != nil {
				t.Errorf("%s: %+v", what, n)
			}
		}
		if n := b.passkey(b.first(), testkit.NewPasskey(t, m.Passkeys.RPID, testkit.Origin, "ec2")); !n.Refused {
			t.Errorf("one that nobody enrolled: %+v", n)
		}
		change(t, m, func(ctx context.Context, tx *sqldb.Tx) error {
			all, err := m.Passkeys.List(ctx, tx, ada)
			if err == nil {
				_, err = m.Passkeys.Remove(ctx, tx, ada, all[0].ID)
			}
			return err
		})
		if n := b.passkey(b.first(), mine); !n.Refused || !n.Unknown {
			t.Errorf("removed: %+v", n)
		}
		change(t, m, func(ctx context.Context, tx *sqldb.Tx) error { return m.Accounts.Lock(ctx, tx, bob) })
		if n := b.passkey(b.first(), bobs); !n.Refused || n.Unknown {
			t.Errorf("locked: %+v", n)
		}
	})
}

// whoever knows the password and has no passkey that fits is told of, as with a wrong code.
func TestAPasskeyThatFailsBesideTheRightPasswordIsToldOf(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		m.PasskeyOf(m.Account("ada@example.org"))
		bobs := m.PasskeyOf(m.Account("bob@example.org"))
		b := newBrowser(t, m)
		ref, _ := b.password("ada@example.org", testkit.Password)
		if n := b.passkey(at(ref), bobs); !n.Refused {
			t.Fatalf("%+v", n)
		}
		clock.Advance(2 * time.Minute)
		if letters := told(t, m); len(letters) != 1 {
			t.Errorf("%d letters", len(letters))
		}
	})
}

// P9: whoever comes to the second door cannot bury what the holder is shown under passkeys that were refused.
func TestRefusedPasskeysAreRecordedAFewTimes(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.Account("ada@example.org")
		bobs := m.PasskeyOf(m.Account("bob@example.org"))
		b := newBrowser(t, m)
		ref, _ := b.password("ada@example.org", testkit.Password)
		for range 30 {
			b.passkey(at(ref), bobs)
		}
		var events int
		change(t, m, func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.QueryRow(ctx, "SELECT count(*) FROM audit_event WHERE kind = $1", audit.PasskeyFailed).Scan(&events)
		})
		if events != 10 {
			t.Errorf("%d events, want 10", events)
		}
	})
}

// P6: one answer, many uses at once, one session.
func TestOneAssertionOpensOneSession(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		p := m.PasskeyOf(m.Account("ada@example.org"))
		b := newBrowser(t, m)
		begun := b.asked(b.first())
		proof := signin.PasskeyProof{State: begun.State, Response: p.Sign(begun.Options)}
		var done atomic.Int32
		var all sync.WaitGroup
		for range 50 { // within the source's limit
			all.Go(func() {
				if n, err := m.Passkey(t.Context(), b.first(), m.Client, proof); err == nil && n.Step == signin.StepDone {
					done.Add(1)
				}
			})
		}
		all.Wait()
		if done.Load() != 1 {
			t.Errorf("%d sessions of one answer", done.Load())
		}
	})
}

// R-WA-13: a counter that goes back is an event; if the passkey cannot be copied, it opens nothing.
func TestACounterThatGoesBack(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		id := m.Account("ada@example.org")
		p := m.PasskeyOf(id, func(p *testkit.Passkey) { p.Bound(7) })
		b := newBrowser(t, m)
		p.Bound(8)
		if n := b.passkey(b.first(), p); n.Step != signin.StepDone || !slices.Equal(methods(t, m, n), []string{"passkey_bound_verified"}) {
			t.Fatalf("%+v", n)
		}
		p.Bound(5)
		if n := b.passkey(b.first(), p); !n.Refused {
			t.Errorf("%+v", n)
		}
		var events int
		change(t, m, func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.QueryRow(ctx, "SELECT count(*) FROM audit_event WHERE kind = $1 AND account_id = $2", audit.PasskeyWentBack, id).Scan(&events)
		})
		if events != 1 {
			t.Errorf("%d events", events)
		}
	})
}

// A device that a passkey is a part of is recognised from then on: the password alone will do.
func TestAPasskeysDeviceIsRecognised(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		p := m.PasskeyOf(m.Account("ada@example.org"))
		b := newBrowser(t, m)
		begun := b.asked(b.first())
		proof := signin.PasskeyProof{State: begun.State, Response: p.Sign(begun.Options)}
		var o struct{ Challenge string }
		if err := json.Unmarshal(begun.Options, &o); err != nil {
			t.Fatal(err)
		}
		proof.Remember = &device.Enrolment{PublicKey: b.key.Public(), Signature: b.key.Sign("remember", testkit.Origin, "another nonce")}
		if _, err := m.Passkey(t.Context(), b.first(), m.Client, proof); code(err) != "device_key_malformed" {
			t.Errorf("signed for something else: %v", err)
		}
		proof.Remember.Signature = b.key.Sign("remember", testkit.Origin, o.Challenge)
		n := b.answer(b.first(), proof) // the mistake has used nothing up
		b.keep(n.Device)
		ref, n := b.password("ada@example.org", testkit.Password)
		if n.Step != signin.StepDevice {
			t.Fatalf("%+v", n)
		}
		if n = b.prove(ref, n); n.Step != signin.StepDone {
			t.Errorf("%+v", n)
		}
	})
}

// P5, P7: a device is recognised by its key. Whoever has a passkey and has copied the handle is told of all the same, also
// if they have their own key remembered in the place of its.
func TestACopiedHandleKeepsNoPasskeySecret(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		p := m.PasskeyOf(m.Account("ada@example.org"))
		told := func() int {
			t.Helper()
			return len(slices.DeleteFunc(m.Letters(message.Email), func(l outbox.Claimed) bool { return l.Kind != message.NewDevice }))
		}
		signs := func(b *browser, purpose string, remember bool) signin.Next {
			t.Helper()
			begun := b.asked(b.first())
			var o struct{ Challenge string }
			if err := json.Unmarshal(begun.Options, &o); err != nil {
				t.Fatal(err)
			}
			proof := signin.PasskeyProof{State: begun.State, Response: p.Sign(begun.Options), Handles: b.handles}
			if purpose != "" {
				proof.Signature = b.key.Sign(purpose, testkit.Origin, o.Challenge)
			}
			if remember {
				proof.Remember = &device.Enrolment{PublicKey: b.key.Public(), Signature: b.key.Sign("remember", testkit.Origin, o.Challenge)}
			}
			n := b.answer(b.first(), proof)
			if n.Step != signin.StepDone {
				t.Fatalf("%+v", n)
			}
			return n
		}
		b := newBrowser(t, m)
		b.keep(signs(b, "", true).Device)
		if told() != 1 {
			t.Fatal("the new device was not told of")
		}
		thief := newBrowser(t, m)
		thief.handles = slices.Clone(b.handles)
		signs(thief, "", false)
		if told() != 1 {
			t.Error("a copied handle signs in, and nobody is told")
		}
		signs(thief, "recognise", false)
		if told() != 1 {
			t.Error("a copied handle with a key of the thief's signs in, and nobody is told")
		}
		n := signs(b, "recognise", true)
		if told() != 0 {
			t.Error("the device itself is told of")
		}
		if me, err := m.Sessions.Check(t.Context(), n.Session.Token); err != nil || me.Device == "" || n.Device == nil || n.Device.ID != me.Device {
			t.Errorf("the device is not recognised: %+v, %v", me, err)
		}
		b.keep(n.Device)
		thief.handles = slices.Clone(b.handles)
		signs(thief, "recognise", true)
		if told() != 1 {
			t.Error("a thief takes the place of a remembered device, and nobody is told")
		}
	})
}

// a passkey proves once more who is signed in, and then the session has a new token and the old one ends.
func TestAPasskeyProvesWhoIsSignedIn(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		p, bobs := m.PasskeyOf(m.Account("ada@example.org")), m.PasskeyOf(m.Account("bob@example.org"))
		b := newBrowser(t, m)
		was := b.passkey(b.first(), p).Session.Token
		me, err := m.Sessions.Check(t.Context(), was)
		if err != nil {
			t.Fatal(err)
		}
		again := signin.Asked{Session: me, Back: "security"}
		if listedIn(t, b.asked(again)) != 1 {
			t.Error("the passkey is not listed")
		}
		if n := b.passkey(again, bobs); !n.Refused {
			t.Errorf("somebody else's: %+v", n)
		}
		n := b.passkey(again, p)
		if n.Step != signin.StepDone || !n.Again || n.Back != "security" {
			t.Fatalf("%+v", n)
		}
		if _, err := m.Sessions.Check(t.Context(), was); err == nil {
			t.Error("the old session lives")
		}
		if _, err := m.Sessions.Check(t.Context(), n.Session.Token); err != nil {
			t.Error(err)
		}
	})
}

// P1, R-WA-06: where strangers come to the second door, nobody's passkeys are named there, and a barred flow takes none.
func TestHiddenPasskeys(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.HidePasswordResult = true
		p := m.PasskeyOf(m.Account("ada@example.org"))
		b := newBrowser(t, m)
		for _, name := range []string{"ada@example.org", "nobody@example.org"} {
			ref, _ := b.password(name, "not the password at all")
			if listedIn(t, b.asked(at(ref))) != 0 {
				t.Errorf("%s: passkeys are named", name)
			}
			if n := b.passkey(at(ref), p); !n.Refused {
				t.Errorf("%s: %+v", name, n)
			}
		}
		ref, _ := b.password("ada@example.org", testkit.Password)
		if n := b.passkey(at(ref), p); n.Step != signin.StepDone {
			t.Errorf("%+v", n)
		}
	})
}

// Whoever has a passkey is asked for it, or for a text, and a letter opens nothing any more.
func TestAPasskeyTakesThePlaceOfLetters(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, _ *dbtest.Clock) {
		m.PasskeyOf(m.Account("ada@example.org"))
		b := newBrowser(t, m)
		ref, n := b.password("ada@example.org", testkit.Password)
		if !slices.Equal(n.Ways, []factor.Way{factor.Passkey}) {
			t.Errorf("offered %v", n.Ways)
		}
		if _, err := m.Send(t.Context(), ref, m.Client, factor.Email); code(err) != "way_unknown" {
			t.Errorf("a letter: %v", err)
		}
		if n, err := m.Code(t.Context(), ref, m.Client, signin.CodeProof{Way: factor.Passkey, Code: secret.Of("123456")}); err != nil || !n.Refused {
			t.Errorf("a code as a passkey: %+v, %v", n, err)
		}
	})
}
