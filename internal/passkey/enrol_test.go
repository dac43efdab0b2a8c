package passkey_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"countersign/internal/account"
	"countersign/internal/passkey"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
)

// R-WA-13, N-4.1-01, N-4.1-02, N-4.1.2.1-02: several passkeys, each with a name, and with what it is.
func TestPasskeysAreEnrolledAndNamed(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		phone, key := newAuthenticator(t), newAuthenticator(t)
		phone.flags, key.flags = present|verified|eligible|backedUp, present
		b := k.beginEnrol(passkey.Enrol{Bound: flow, Account: k.ada, Name: "ada@example.org", Shown: "Ada", Required: true})
		o := read(t, b.Options)
		if o.RP.ID != rpID || o.RP.Name != "Example" || o.User.Name != "ada@example.org" || o.User.DisplayName != "Ada" || o.Wants.UV != "required" || len(o.Exclude) != 0 {
			t.Errorf("%s", b.Options)
		}
		first, r := k.finishEnrol(passkey.Answer{Bound: flow, State: b.State, Response: phone.creates(b.Options)}, "My\u202e phone\x00")
		if r != "" || first.Name != "My phone" || first.DeviceBound || !first.BackedUp || !first.UserVerified {
			t.Fatalf("%+v, %s", first, r)
		}
		k.clock.Advance(time.Minute)
		if o := read(t, k.beginEnrol(passkey.Enrol{Bound: flow, Account: k.ada}).Options); len(o.Exclude) != 1 || o.Exclude[0].ID != b64(phone.id) ||
			!slices.Equal(o.Exclude[0].Transports, []string{"hybrid", "internal"}) || o.Wants.UV != "preferred" {
			t.Errorf("%+v", o)
		}
		second := k.enrol(k.ada, key)
		all := k.list(k.ada)
		if len(all) != 2 || all[0] != first || all[1] != second || !second.DeviceBound || second.BackedUp || second.UserVerified {
			t.Errorf("%+v; %+v", all, second)
		}
		if all[0].Make == all[1].Make || len(all[0].Make) != 36 {
			t.Errorf("makes %q and %q", all[0].Make, all[1].Make)
		}
		if len(k.list(k.bob)) != 0 {
			t.Error("Bob has some too")
		}
	})
}

// What an implementation that is not ours makes is taken, from enrolment to sign-in.
func TestAnotherImplementationAgrees(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		for _, kind := range []virtualwebauthn.KeyType{virtualwebauthn.KeyTypeEC2, virtualwebauthn.KeyTypeRSA} {
			key := testkit.NewPasskey(t, rpID, testkit.Origin, kind)
			b := k.beginEnrol(passkey.Enrol{Bound: flow, Account: k.ada, Name: "ada@example.org", Shown: "Ada"})
			p, r := k.finishEnrol(passkey.Answer{Bound: flow, State: b.State, Response: key.Create(b.Options)}, "")
			if r != "" || p.Name != "Passkey" || p.DeviceBound {
				t.Fatalf("%s: %+v, %s", kind, p, r)
			}
			b = k.beginSignin(passkey.Signin{Required: true})
			v, r := k.verify(passkey.Answer{Bound: flow, State: b.State, Response: key.Sign(b.Options)})
			if want := (passkey.Verdict{Account: k.ada, Passkey: p.ID, UserVerified: true, Challenge: v.Challenge}); r != "" || v != want {
				t.Errorf("%s: %+v, %s", kind, v, r)
			}
		}
	})
}

// R-WA-01, A-6.7.2, N-3.1.6.2-02: whatever is wrong with an enrolment, nothing is written.
func TestEnrolmentsThatAreRefused(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		other := &passkey.Service{Ring: k.Ring, Site: k.Site, RPID: "example.com", Origins: k.Origins}
		wrong := map[string]struct {
			change func(a *authenticator)
			want   passkey.Refusal
		}{
			"another site":       {func(a *authenticator) { a.origin = "https://id.example.com.evil.example" }, passkey.Wrong},
			"another port":       {func(a *authenticator) { a.origin += ":8443" }, passkey.Wrong},
			"plain http":         {func(a *authenticator) { a.origin = "http://id.example.com" }, passkey.Wrong},
			"a path":             {func(a *authenticator) { a.origin += "/x" }, passkey.Wrong},
			"a frame":            {func(a *authenticator) { a.client = map[string]any{"crossOrigin": true} }, passkey.Wrong},
			"a frame of ours":    {func(a *authenticator) { a.client = map[string]any{"crossOrigin": true, "topOrigin": testkit.Origin} }, passkey.Wrong},
			"another host":       {func(a *authenticator) { a.rpID = other.RPID }, passkey.Wrong},
			"another challenge":  {func(a *authenticator) { a.client = map[string]any{"challenge": b64(random(32))} }, passkey.Wrong},
			"an assertion":       {func(a *authenticator) { a.client = map[string]any{"type": "webauthn.get"} }, passkey.Wrong},
			"nobody there":       {func(a *authenticator) { a.flags = verified }, passkey.Wrong},
			"backed up, but not": {func(a *authenticator) { a.flags = present | verified | backedUp }, passkey.Wrong},
			"user not verified":  {func(a *authenticator) { a.flags = present }, passkey.Unverified},
			"a guessable id":     {func(a *authenticator) { a.id = random(15) }, passkey.Wrong},
			"an endless id":      {func(a *authenticator) { a.id = random(1024) }, passkey.Malformed},
			"an empty id":        {func(a *authenticator) { a.id = nil }, passkey.Malformed},
			"not offered":        {func(a *authenticator) { a.public[3] = -35 }, passkey.Wrong},
			"no point":           {func(a *authenticator) { a.public[-2] = bytes.Repeat([]byte{0xff}, 32) }, passkey.Wrong},
			"RSA, weak":          {func(a *authenticator) { a.public = rsaKey(1024) }, passkey.Wrong},
			"RSA, endless":       {func(a *authenticator) { a.public = rsaKey(8192) }, passkey.Wrong},
		}
		for name, w := range wrong {
			a := newAuthenticator(t)
			w.change(a)
			b := k.beginEnrol(passkey.Enrol{Bound: flow, Account: k.ada, Required: true})
			if p, r := k.finishEnrol(passkey.Answer{Bound: flow, State: b.State, Response: a.creates(b.Options)}, ""); r != w.want || p != (passkey.Passkey{}) {
				t.Errorf("%s: %q, want %q", name, r, w.want)
			}
		}
		b := k.beginEnrol(passkey.Enrol{Bound: flow, Account: k.ada})
		good := newAuthenticator(t).creates(b.Options)
		for name, a := range map[string]passkey.Answer{
			"nothing":      {Response: nil},
			"no JSON":      {Response: []byte("<html>")},
			"half":         {Response: good[:len(good)/2]},
			"more":         {Response: append(bytes.Clone(good), good...)},
			"an assertion": {Response: newAuthenticator(t).signs(b.Options)},
			"too much":     {Response: append(bytes.Clone(good), strings.Repeat(" ", 16<<10)...)},
		} {
			a.Bound, a.State = flow, b.State
			if _, r := k.finishEnrol(a, ""); r != passkey.Malformed {
				t.Errorf("%s: %q", name, r)
			}
		}
		for name, a := range map[string]passkey.Answer{
			"another flow":  {Bound: "another", State: b.State},
			"no state":      {Bound: flow},
			"a sign-in's":   {Bound: flow, State: k.beginSignin(passkey.Signin{Account: k.ada}).State},
			"somebody else": {Bound: flow, State: b.State, Account: k.bob},
			"changed":       {Bound: flow, State: append(bytes.Clone(b.State[:len(b.State)-1]), b.State[len(b.State)-1]^1)},
		} {
			a.Response = good
			if _, r := k.finishEnrol(a, ""); r != passkey.Stale {
				t.Errorf("%s: %q", name, r)
			}
		}
		if all := k.list(k.ada); len(all) != 0 {
			t.Errorf("written: %+v", all)
		}
		k.clock.Advance(10 * time.Minute)
		if _, r := k.finishEnrol(passkey.Answer{Bound: flow, State: b.State, Response: good}, ""); r != passkey.Stale {
			t.Errorf("after ten minutes: %q", r)
		}
	})
}

// rsaKey is a COSE_Key whose modulus has that many bits. Nobody has its private half.
func rsaKey(bits int) map[int]any {
	n := random(bits / 8)
	n[0] |= 0x80
	n[len(n)-1] |= 1
	return map[int]any{1: 3, 3: -257, -1: n, -2: []byte{1, 0, 1}}
}

func TestAnRSAKeyOfTheUsualSizeIsTaken(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		a := newAuthenticator(t)
		a.key, a.public = key, map[int]any{1: 3, 3: -257, -1: key.N.Bytes(), -2: []byte{1, 0, 1}}
		k.enrol(k.ada, a)
		if v, r := k.signIn(passkey.Signin{}, a); r != "" || v.Account != k.ada {
			t.Errorf("%+v, %s", v, r)
		}
	})
}

// R-WA-01: a credential is one account's, once and for all. The answer that enrolled it does so once.
func TestACredentialIsEnrolledOnce(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		a := newAuthenticator(t)
		b := k.beginEnrol(passkey.Enrol{Bound: flow, Account: k.ada})
		answer := passkey.Answer{Bound: flow, State: b.State, Response: a.creates(b.Options)}
		p, r := k.finishEnrol(answer, "")
		if r != "" {
			t.Fatal(r)
		}
		if _, r := k.finishEnrol(answer, ""); r != passkey.Replayed {
			t.Errorf("again: %q", r)
		}
		taken := func(what string) {
			t.Helper()
			for _, who := range []account.ID{k.ada, k.bob} {
				b := k.beginEnrol(passkey.Enrol{Bound: flow, Account: who})
				if _, r := k.finishEnrol(passkey.Answer{Bound: flow, State: b.State, Response: a.creates(b.Options)}, ""); r != passkey.Taken {
					t.Errorf("%s: %q", what, r)
				}
			}
		}
		taken("enrolled")
		k.write(func(tx *sqldb.Tx) error { _, err := k.Remove(t.Context(), tx, k.ada, p.ID); return err })
		taken("removed")
		if _, r := k.finishEnrol(answer, ""); r != passkey.Replayed {
			t.Errorf("removed, and the old answer again: %q", r)
		}
	})
}

func TestAnAccountHasAFewPasskeys(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		late := k.beginEnrol(passkey.Enrol{Bound: flow, Account: k.ada})
		for range passkey.MaxPerAccount {
			k.enrol(k.ada, newAuthenticator(t))
		}
		if _, r := k.finishEnrol(passkey.Answer{Bound: flow, State: late.State, Response: newAuthenticator(t).creates(late.Options)}, ""); r != passkey.Full {
			t.Errorf("begun before: %q", r)
		}
		k.write(func(tx *sqldb.Tx) error {
			b, r, err := k.BeginEnrol(t.Context(), tx, passkey.Enrol{Bound: flow, Account: k.ada})
			if r != passkey.Full || b.State != nil {
				t.Errorf("%q", r)
			}
			return err
		})
	})
}

// N-3.2.1-02, N-4.5-01: what is removed opens nothing from then on. Only one's own is renamed and removed.
func TestOwnersRenameAndRemove(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		a := newAuthenticator(t)
		p := k.enrol(k.ada, a)
		k.write(func(tx *sqldb.Tx) error {
			if ok, err := k.Rename(t.Context(), tx, k.bob, p.ID, "Mine"); ok || err != nil {
				t.Errorf("Bob renames it: %t, %v", ok, err)
			}
			if ok, err := k.Remove(t.Context(), tx, k.bob, p.ID); ok || err != nil {
				t.Errorf("Bob removes it: %t, %v", ok, err)
			}
			if _, err := k.Rename(t.Context(), tx, k.ada, p.ID, "\u200b\n"); fault.Of(err).Code != "passkey_name_empty" {
				t.Errorf("a name of nothing: %v", err)
			}
			ok, err := k.Rename(t.Context(), tx, k.ada, p.ID, "Old phone")
			if !ok {
				t.Error("not renamed")
			}
			return err
		})
		if all := k.list(k.ada); len(all) != 1 || all[0].Name != "Old phone" {
			t.Errorf("%+v", all)
		}
		if _, r := k.signIn(passkey.Signin{}, a); r != "" {
			t.Fatal(r)
		}
		begun := k.beginSignin(passkey.Signin{})
		k.write(func(tx *sqldb.Tx) error {
			ok, err := k.Remove(t.Context(), tx, k.ada, p.ID)
			if again, err2 := k.Remove(t.Context(), tx, k.ada, p.ID); !ok || again || err2 != nil {
				t.Errorf("removed: %t, again: %t, %v", ok, again, err2)
			}
			if ok, err := k.Rename(t.Context(), tx, k.ada, p.ID, "Ghost"); ok || err != nil {
				t.Errorf("renamed when removed: %t, %v", ok, err)
			}
			return err
		})
		if len(k.list(k.ada)) != 0 {
			t.Error("still listed")
		}
		if _, r := k.verify(passkey.Answer{Bound: flow, State: begun.State, Response: a.signs(begun.Options)}); r != passkey.Unknown {
			t.Errorf("begun before: %q", r)
		}
		if _, r := k.signIn(passkey.Signin{Account: k.ada}, a); r != passkey.Unknown {
			t.Errorf("%q", r)
		}
	})
}

// "This wasn't me" takes back what was enrolled since.
func TestWhatWasEnrolledSinceIsEnded(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		hers, theirs, bobs := newAuthenticator(t), newAuthenticator(t), newAuthenticator(t)
		old := k.enrol(k.ada, hers)
		k.clock.Advance(time.Hour)
		since := k.clock.Now()
		k.enrol(k.ada, theirs)
		k.enrol(k.bob, bobs)
		k.write(func(tx *sqldb.Tx) error {
			n, err := k.EndSince(t.Context(), tx, k.ada, since)
			if n != 1 {
				t.Errorf("%d ended", n)
			}
			return err
		})
		if all := k.list(k.ada); len(all) != 1 || all[0].ID != old.ID {
			t.Errorf("%+v", all)
		}
		if _, r := k.signIn(passkey.Signin{}, theirs); r != passkey.Unknown {
			t.Errorf("%q", r)
		}
		for _, a := range []*authenticator{hers, bobs} {
			if _, r := k.signIn(passkey.Signin{}, a); r != "" {
				t.Error(r)
			}
		}
	})
}

// R-WA-10: authenticators are told what we take, and nothing of what others have.
func TestTheSignalListsWhatIsTaken(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		one, two := newAuthenticator(t), newAuthenticator(t)
		gone := k.enrol(k.ada, one)
		k.enrol(k.ada, two)
		k.enrol(k.bob, newAuthenticator(t))
		k.write(func(tx *sqldb.Tx) error {
			if _, err := k.Remove(t.Context(), tx, k.ada, gone.ID); err != nil {
				return err
			}
			s, err := k.Signal(t.Context(), tx, k.ada)
			if s.RPID != rpID || s.UserID != b64(two.user) || !slices.Equal(s.Accepted, []string{b64(two.id)}) {
				t.Errorf("%+v", s)
			}
			return err
		})
	})
}

// R-WA-07: the handle is the same for all of an account's passkeys, another for each account, and not the account's id.
func TestTheUserHandleTellsNothing(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		handle := func(who account.ID) string {
			return read(t, k.beginEnrol(passkey.Enrol{Bound: flow, Account: who}).Options).User.ID
		}
		ada := handle(k.ada)
		if ada != handle(k.ada) || ada == handle(k.bob) {
			t.Error("not one for each account")
		}
		raw, err := base64.RawURLEncoding.DecodeString(ada)
		if err != nil || len(raw) != 32 || strings.Contains(string(raw), string(k.ada)) {
			t.Errorf("%q, %v", raw, err)
		}
	})
}
