package passkey_test

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/passkey"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
)

// R-WA-08, N-3.1.7.2-01: by autofill, and as the second factor of an account; and the verdict says what it proved.
func TestAPasskeySignsIn(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		phone, key := newAuthenticator(t), newAuthenticator(t)
		phone.flags = present | verified | eligible
		key.flags = present
		hers, second := k.enrol(k.ada, phone), k.enrol(k.ada, key)
		if o := read(t, k.beginSignin(passkey.Signin{}).Options); len(o.Allow) != 0 || o.RPID != rpID || o.UV != "preferred" {
			t.Errorf("%+v", o)
		}
		o := read(t, k.beginSignin(passkey.Signin{Account: k.ada, Required: true}).Options)
		if len(o.Allow) != 2 || o.UV != "required" || o.Allow[0].ID != b64(slices.MinFunc([][]byte{phone.id, key.id}, bytes.Compare)) {
			t.Errorf("%+v", o)
		}
		k.clock.Advance(time.Hour)
		phone.flags |= backedUp
		v, r := k.signIn(passkey.Signin{Required: true}, phone)
		if want := (passkey.Verdict{Account: k.ada, Passkey: hers.ID, UserVerified: true, BackedUp: true, Challenge: v.Challenge}); r != "" || v != want {
			t.Errorf("%+v, %s", v, r)
		}
		v, r = k.signIn(passkey.Signin{Account: k.ada}, key)
		if want := (passkey.Verdict{Account: k.ada, Passkey: second.ID, DeviceBound: true, Challenge: v.Challenge}); r != "" || v != want {
			t.Errorf("%+v, %s", v, r)
		}
		all := k.list(k.ada)
		if !all[0].LastUsedAt.Equal(k.clock.Now()) || !all[0].BackedUp || all[1].BackedUp {
			t.Errorf("%+v", all)
		}
		key.user = nil // an old security key does not know whose it is
		if _, r := k.signIn(passkey.Signin{Account: k.ada}, key); r != "" {
			t.Error(r)
		}
		if _, r := k.signIn(passkey.Signin{}, key); r != passkey.Wrong {
			t.Errorf("and cannot say so: %q", r)
		}
	})
}

// R-WA-02, N-B.2-01, N-3.2.5-02: whatever is wrong with an answer, it opens nothing.
func TestAnswersThatAreRefused(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		ada, bob := newAuthenticator(t), newAuthenticator(t)
		k.enrol(k.ada, ada)
		k.enrol(k.bob, bob)
		for name, w := range map[string]struct {
			q      passkey.Signin
			change func(a *authenticator)
			want   passkey.Refusal
		}{
			"another site":          {change: func(a *authenticator) { a.origin = "https://evil.example" }, want: passkey.Wrong},
			"a site of a like name": {change: func(a *authenticator) { a.origin = "https://id.example.com.evil.example" }, want: passkey.Wrong},
			"a path":                {change: func(a *authenticator) { a.origin += "/" }, want: passkey.Wrong},
			"a frame":               {change: func(a *authenticator) { a.client = map[string]any{"crossOrigin": true} }, want: passkey.Wrong},
			"a frame in a frame":    {change: func(a *authenticator) { a.client = map[string]any{"topOrigin": testkit.Origin} }, want: passkey.Wrong},
			"another host":          {change: func(a *authenticator) { a.rpID = "example.com" }, want: passkey.Wrong},
			"another challenge":     {change: func(a *authenticator) { a.client = map[string]any{"challenge": b64(random(32))} }, want: passkey.Wrong},
			"a creation":            {change: func(a *authenticator) { a.client = map[string]any{"type": "webauthn.create"} }, want: passkey.Wrong},
			"a bad signature":       {change: func(a *authenticator) { a.spoil = true }, want: passkey.Wrong},
			"another's key":         {change: func(a *authenticator) { a.key = bob.key }, want: passkey.Wrong},
			"nobody there":          {change: func(a *authenticator) { a.flags &^= present }, want: passkey.Wrong},
			"now backup eligible":   {change: func(a *authenticator) { a.flags |= eligible }, want: passkey.Wrong},
			"backed up, but not":    {change: func(a *authenticator) { a.flags |= backedUp }, want: passkey.Wrong},
			"another's handle":      {change: func(a *authenticator) { a.user = bob.user }, want: passkey.Wrong},
			"no handle":             {change: func(a *authenticator) { a.user = nil }, want: passkey.Wrong},
			"an unknown one":        {change: func(a *authenticator) { a.id = random(32) }, want: passkey.Unknown},
			"another's account":     {q: passkey.Signin{Account: k.bob}, want: passkey.Wrong},
			"user not verified":     {q: passkey.Signin{Required: true}, change: func(a *authenticator) { a.flags &^= verified }, want: passkey.Unverified},
		} {
			a := *ada
			if w.change != nil {
				w.change(&a)
			}
			if v, r := k.signIn(w.q, &a); r != w.want || v != (passkey.Verdict{}) {
				t.Errorf("%s: %+v, %q, want %q", name, v, r, w.want)
			}
		}
		b := k.beginSignin(passkey.Signin{})
		good := ada.signs(b.Options)
		for name, a := range map[string]struct {
			answer passkey.Answer
			want   passkey.Refusal
		}{
			"another flow":       {passkey.Answer{Bound: "another", State: b.State, Response: good}, passkey.Stale},
			"no state":           {passkey.Answer{Bound: flow, Response: good}, passkey.Stale},
			"an enrolment's":     {passkey.Answer{Bound: flow, State: k.beginEnrol(passkey.Enrol{Bound: flow, Account: k.ada}).State, Response: good}, passkey.Stale},
			"another sign-in's":  {passkey.Answer{Bound: flow, State: k.beginSignin(passkey.Signin{}).State, Response: good}, passkey.Wrong},
			"wanted of somebody": {passkey.Answer{Bound: flow, State: b.State, Response: good, Account: k.bob}, passkey.Wrong},
			"nothing":            {passkey.Answer{Bound: flow, State: b.State}, passkey.Malformed},
			"half":               {passkey.Answer{Bound: flow, State: b.State, Response: good[:len(good)/2]}, passkey.Malformed},
			"too much":           {passkey.Answer{Bound: flow, State: b.State, Response: append(bytes.Clone(good), strings.Repeat(" ", 16<<10)...)}, passkey.Malformed},
		} {
			if v, r := k.verify(a.answer); r != a.want || v != (passkey.Verdict{}) {
				t.Errorf("%s: %+v, %q, want %q", name, v, r, a.want)
			}
		}
		k.clock.Advance(10*time.Minute - time.Millisecond)
		if v, r := k.verify(passkey.Answer{Bound: flow, State: b.State, Response: good, Account: k.ada}); r != "" || v.Account != k.ada {
			t.Errorf("the good one, at the last moment: %+v, %q", v, r)
		}
		late := k.beginSignin(passkey.Signin{})
		k.clock.Advance(10 * time.Minute)
		if _, r := k.verify(passkey.Answer{Bound: flow, State: late.State, Response: ada.signs(late.Options)}); r != passkey.Stale {
			t.Errorf("after ten minutes: %q", r)
		}
	})
}

// R-WA-11: pages of related origins may ask, those that the operator names and no others.
func TestRelatedOrigins(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		a := newAuthenticator(t)
		k.enrol(k.ada, a)
		a.origin = "https://shop.example"
		if _, r := k.signIn(passkey.Signin{}, a); r != passkey.Wrong {
			t.Errorf("%q", r)
		}
		k.Origins = append(k.Origins, "https://shop.example")
		if _, r := k.signIn(passkey.Signin{}, a); r != "" {
			t.Error(r)
		}
	})
}

// R-WA-02: whoever steals a security key that was enrolled without a PIN can give it one. That is still one factor.
func TestVerificationIsNotWonLater(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		key := newAuthenticator(t)
		key.flags = present
		k.enrol(k.ada, key)
		key.flags |= verified
		if v, r := k.signIn(passkey.Signin{}, key); r != "" || v.UserVerified {
			t.Errorf("%+v, %s", v, r)
		}
		if _, r := k.signIn(passkey.Signin{Required: true}, key); r != passkey.Unverified {
			t.Errorf("%q", r)
		}
	})
}

// R-WA-03: what a client tells unasked does no harm.
func TestUnsolicitedExtensionsAreTolerated(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		a := newAuthenticator(t)
		a.extensions = map[string]any{"credProps": map[string]any{"rk": true}, "unheard": []any{1, map[string]any{"of": true}}}
		k.enrol(k.ada, a)
		if _, r := k.signIn(passkey.Signin{}, a); r != "" {
			t.Error(r)
		}
	})
}

// R-WA-02: a counter that does not go forward says that there may be a copy. It is taken, and told, every time.
func TestACounterThatGoesBackIsTold(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		a := newAuthenticator(t)
		a.count = 5
		k.enrol(k.ada, a)
		for i, step := range []struct {
			count uint32
			back  bool
		}{{6, false}, {6, true}, {5, true}, {0, true}, {7, false}, {1<<32 - 1, false}, {8, true}} {
			a.count = step.count
			if v, r := k.signIn(passkey.Signin{}, a); r != "" || v.WentBack != step.back {
				t.Errorf("step %d: %+v, %s", i, v, r)
			}
		}
		synced := newAuthenticator(t) // those that are on several devices do not count
		k.enrol(k.bob, synced)
		for range 3 {
			if v, r := k.signIn(passkey.Signin{}, synced); r != "" || v.WentBack {
				t.Errorf("%+v, %s", v, r)
			}
		}
	})
}

// R-WA-04, A-6.7.2, N-3.1.6.2-03: one answer, a thousand times at once, signs in once, even if the passkey does not count.
func TestAnAnswerWorksOnce(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		for name, count := range map[string]uint32{"counts": 1, "does not count": 0} {
			a := newAuthenticator(t)
			k.enrol(k.ada, a)
			a.count = count
			b := k.beginSignin(passkey.Signin{})
			answer := passkey.Answer{Bound: flow, State: b.State, Response: a.signs(b.Options)}
			var mu sync.Mutex
			got := map[passkey.Refusal]int{}
			var wg sync.WaitGroup
			for range 1000 {
				wg.Go(func() {
					var r passkey.Refusal
					err := k.db.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
						_, r, err = k.Verify(t.Context(), tx, answer)
						return err
					})
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						r = "error: " + passkey.Refusal(err.Error())
					}
					got[r]++
				})
			}
			wg.Wait()
			if got[""] != 1 || got[passkey.Replayed] != 999 {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}

// Of two answers with one count, to two challenges at once, one goes forward and the other is told.
func TestTwoWithOneCountAtOnce(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		a := newAuthenticator(t)
		k.enrol(k.ada, a)
		a.count = 1
		var answers []passkey.Answer
		for range 20 {
			b := k.beginSignin(passkey.Signin{})
			answers = append(answers, passkey.Answer{Bound: flow, State: b.State, Response: a.signs(b.Options)})
		}
		var mu sync.Mutex
		forward, back := 0, 0
		var wg sync.WaitGroup
		for _, answer := range answers {
			wg.Go(func() {
				var v passkey.Verdict
				err := k.db.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
					v, _, err = k.Verify(t.Context(), tx, answer)
					return err
				})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil || v.Passkey == "":
					t.Errorf("%+v, %v", v, err)
				case v.WentBack:
					back++
				default:
					forward++
				}
			})
		}
		wg.Wait()
		if forward != 1 || back != 19 {
			t.Errorf("%d went forward and %d back", forward, back)
		}
	})
}

// What is over goes, and no sooner: until then nobody can give an old answer again.
func TestPruneDeletesWhatIsLongOver(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		a := newAuthenticator(t)
		p := k.enrol(k.ada, a)
		k.enrol(k.ada, newAuthenticator(t))
		b := k.beginSignin(passkey.Signin{})
		answer := passkey.Answer{Bound: flow, State: b.State, Response: a.signs(b.Options)}
		if _, r := k.verify(answer); r != "" {
			t.Fatal(r)
		}
		k.write(func(tx *sqldb.Tx) error { _, err := k.Remove(t.Context(), tx, k.ada, p.ID); return err })
		pruned := func(want int64) {
			t.Helper()
			k.write(func(tx *sqldb.Tx) error {
				n, err := k.Prune(t.Context(), tx)
				if n != want {
					t.Errorf("%d pruned, want %d", n, want)
				}
				return err
			})
		}
		k.clock.Advance(10 * time.Minute)
		pruned(0)
		k.clock.Advance(time.Minute)
		pruned(3) // two enrolments and a sign-in
		if _, r := k.verify(answer); r != passkey.Stale {
			t.Errorf("%q", r)
		}
		ended := func(want int) {
			t.Helper()
			k.write(func(tx *sqldb.Tx) error {
				all, err := k.All(t.Context(), tx, k.ada)
				if len(all) != want || all[0].EndedAt.IsZero() != (want == 1) {
					t.Errorf("%+v", all)
				}
				return err
			})
		}
		k.clock.Advance(29 * 24 * time.Hour)
		pruned(0)
		ended(2)
		k.clock.Advance(2 * 24 * time.Hour)
		pruned(1)
		ended(1)
	})
}

func TestErasedPasskeysAreGone(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		p := k.enrol(k.ada, newAuthenticator(t))
		k.enrol(k.ada, newAuthenticator(t))
		k.enrol(k.bob, newAuthenticator(t))
		k.write(func(tx *sqldb.Tx) error {
			if _, err := k.Remove(t.Context(), tx, k.ada, p.ID); err != nil {
				return err
			}
			return k.Erase(t.Context(), tx, k.ada)
		})
		k.write(func(tx *sqldb.Tx) error {
			for who, want := range map[account.ID]int{k.ada: 0, k.bob: 1} {
				if all, err := k.All(t.Context(), tx, who); err != nil || len(all) != want {
					t.Errorf("%d, %v; want %d", len(all), err, want)
				}
			}
			return nil
		})
	})
}
