package passkey_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"testing"

	"countersign/internal/account"
	"countersign/internal/passkey"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

const nobody account.ID = "ffffffff-ffff-8fff-bfff-fffffffffffe" // a decoy's

func (k *kit) offered(who account.ID, name string) []listed {
	k.t.Helper()
	return read(k.t, k.beginSignin(passkey.Signin{Account: who, Name: name}).Options).Allow
}

func same(a, b []listed) bool {
	return slices.EqualFunc(a, b, func(x, y listed) bool { return x.ID == y.ID && slices.Equal(x.Transports, y.Transports) })
}

// P2, R-WA-05, I-02: a name that nobody has is offered the same passkeys every time, on every node, whatever the keys.
func TestDecoysAreStable(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, clock := dbtest.NewURL(t, engine), dbtest.NewClock()
			db := dbtest.Open(t, url, clock)
			keys := testkit.NewKeys(t, db, "")
			m := testkit.NewMachine(t, db, keys.Ring)
			k := &kit{m.Passkeys, t, db, clock, m.Account("ada@example.org"), ""}
			ghost, ada := k.offered(nobody, "ghost"), k.offered(k.ada, "ada")
			if len(ghost) == 0 || len(ada) == 0 || same(ghost, ada) {
				t.Fatalf("%+v, %+v", ghost, ada)
			}
			keys.Change()
			other := dbtest.Open(t, url, clock)
			node := &kit{testkit.NewMachine(t, other, testkit.NewKeys(t, other, keys.File()).Ring).Passkeys, t, other, clock, k.ada, ""}
			for _, k := range []*kit{k, node} {
				if !same(k.offered(nobody, "ghost"), ghost) || !same(k.offered(k.ada, "ada"), ada) {
					t.Error("they have changed")
				}
			}
		})
	}
}

// P2: one decoy account stands in for many names. Were they offered the same, two such names would be known for nobody's.
func TestNamesThatShareADecoyAreOfferedDifferentPasskeys(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		seen := map[string]string{}
		for i := range 200 {
			name := fmt.Sprint("ghost", i)
			for _, l := range k.offered(nobody, name) {
				if before := seen[l.ID]; before != "" {
					t.Fatalf("%s and %s are offered the same", before, name)
				}
				seen[l.ID] = name
			}
		}
	})
}

// P2, R-WA-05: lists of decoys are such as accounts have: as many, as long, in the same order, with nothing more or less.
func TestDecoysAreLikePasskeys(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		shape := func(all []listed) string {
			var out []string
			for _, l := range all {
				raw, err := base64.RawURLEncoding.DecodeString(l.ID)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, fmt.Sprint(l.Type, len(raw), l.Transports))
			}
			slices.Sort(out)
			return fmt.Sprint(out)
		}
		numbers, shapes := map[int]int{}, map[string]int{}
		for i := range 600 {
			all := k.offered(nobody, fmt.Sprint("ghost", i))
			numbers[len(all)]++
			shapes[shape(all)]++
			if !slices.IsSortedFunc(all, func(a, b listed) int {
				x, _ := base64.RawURLEncoding.DecodeString(a.ID)
				y, _ := base64.RawURLEncoding.DecodeString(b.ID)
				return slices.Compare(x, y)
			}) {
				t.Fatalf("not in order: %+v", all)
			}
		}
		if numbers[1] < 350 || numbers[2] < 80 || numbers[3] < 15 || len(numbers) != 3 {
			t.Errorf("%v", numbers)
		}
		// What people have is among what decoys have.
		for _, has := range [][]*authenticator{
			{kind(t, 16, "internal", "hybrid")},
			{kind(t, 20, "internal", "hybrid")},
			{kind(t, 32, "internal")},
			{kind(t, 48, "usb", "nfc")},
			{kind(t, 64)},
			{kind(t, 16, "internal", "hybrid"), kind(t, 20, "hybrid", "internal")},
		} {
			who := testkit.NewMachine(t, k.db, k.Ring).Account("ada." + b64(random(5)) + "@example.org")
			for _, a := range has {
				k.enrol(who, a)
			}
			all := k.offered(who, "ada")
			if len(all) != len(has) || shapes[shape(all)] == 0 {
				t.Errorf("no decoy is like %s", shape(all))
			}
		}
	})
}

func kind(t *testing.T, length int, transports ...string) *authenticator {
	a := newAuthenticator(t)
	a.id, a.transports = random(length), transports
	return a
}

// P2, R-WA-05: an answer with the id of a decoy is refused as one with the id of an account's passkey and a bad
// signature is; also where anybody's passkey is asked for, and where unknown ones are told to be.
func TestAnAnswerDoesNotTellDecoysFromPasskeys(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		real := newAuthenticator(t)
		k.enrol(k.ada, real)
		thief := newAuthenticator(t)
		try := func(q passkey.Signin, id string) passkey.Refusal {
			raw, err := base64.RawURLEncoding.DecodeString(id)
			if err != nil {
				t.Fatal(err)
			}
			thief.id, thief.user = raw, random(32)
			_, r := k.signIn(q, thief)
			return r
		}
		for i := range 8 {
			name := fmt.Sprint("ghost", i)
			for _, l := range k.offered(nobody, name) {
				for _, q := range []passkey.Signin{{}, {Account: nobody, Name: name}, {Account: k.bob, Name: "bob"}} {
					if ghost, ada := try(q, l.ID), try(q, b64(real.id)); ghost != ada || ghost != passkey.Wrong {
						t.Fatalf("%q for a decoy's and %q for a passkey's", ghost, ada)
					}
				}
			}
		}
	})
}
