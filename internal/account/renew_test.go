package account_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// node is an account service with a ring of its own on a database that it shares.
type node struct {
	*account.Service

	t    *testing.T
	file string
}

func newNode(t *testing.T, url string, clock *dbtest.Clock, like *node) *node {
	t.Helper()
	db := dbtest.Open(t, url, clock)
	n := &node{t: t, file: filepath.Join(t.TempDir(), "countersign.key")}
	if like != nil {
		text, err := os.ReadFile(like.file)
		if err == nil {
			err = os.WriteFile(n.file, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ring, err := keyring.LoadOrCreate(t.Context(), db, n.file, false)
	if err == nil {
		err = ring.Claim(t.Context(), db)
	}
	if err != nil {
		t.Fatal(err)
	}
	n.Service = &account.Service{DB: db, Ring: ring, Decoys: 16}
	db.Before(ring.Follow)
	if _, err := n.EnsureDecoys(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// stuck has a node stay at what it knows now, as a transaction does that began before a change.
func (n *node) stuck() *node {
	n.DB.Before(nil)
	return n
}

func (n *node) rotation() *keyring.Rotation {
	return &keyring.Rotation{DB: n.DB, Ring: n.Ring, Holdings: n.Holdings()}
}

func (n *node) begin() {
	n.t.Helper()
	id, err := keyring.AddToFile(n.file)
	if err == nil {
		err = n.rotation().Begin(n.t.Context(), id)
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) renew() {
	n.t.Helper()
	if odd, err := n.rotation().Renew(n.t.Context(), func(keyring.Progress) {}); err != nil || len(odd) > 0 {
		n.t.Fatalf("Renew = %v, %v", odd, err)
	}
}

func parsed(t testing.TB, name string) account.NewIdentifier {
	t.Helper()
	ident, err := account.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return account.NewIdentifier{Identifier: ident, Verified: true, SignsIn: true, Notices: true, Recovers: true}
}

func (n *node) create(names ...string) (id account.ID, err error) {
	n.t.Helper()
	made := account.New{}
	for _, name := range names {
		made.Identifiers = append(made.Identifiers, parsed(n.t, name))
	}
	err = n.DB.Write(n.t.Context(), func(tx *sqldb.Tx) (err error) {
		id, err = n.Create(n.t.Context(), tx, made)
		return err
	})
	return id, err
}

func (n *node) find(name string) account.Account {
	n.t.Helper()
	var who account.Account
	err := n.DB.Write(n.t.Context(), func(tx *sqldb.Tx) (err error) {
		who, err = n.Find(n.t.Context(), tx, parsed(n.t, name).Identifier)
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return who
}

func eachNode(t *testing.T, f func(t *testing.T, url string, clock *dbtest.Clock)) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) { f(t, dbtest.NewURL(t, engine), dbtest.NewClock()) })
	}
}

// P2: at every moment of a rotation whoever has an account is found, and whoever has none is stood in for by
// the same decoy as ever: a change of what a name is offered would say that it is nobody's.
func TestEverybodyIsFoundAndNobodysDecoyStaysWhileKeysChange(t *testing.T) {
	eachNode(t, func(t *testing.T, url string, clock *dbtest.Clock) {
		a := newNode(t, url, clock, nil)
		people, ghosts := map[string]account.ID{}, map[string]account.ID{}
		for i := range 150 {
			name := fmt.Sprintf("person%d@example.org", i)
			id, err := a.create(name)
			if err != nil {
				t.Fatal(err)
			}
			people[name] = id
		}
		for i := range 60 {
			name := fmt.Sprintf("ghost%d@example.org", i)
			if who := a.find(name); who.State == account.Decoy {
				ghosts[name] = who.ID
			}
		}
		look := func(when string, n *node) {
			t.Helper()
			for name, id := range people {
				if who := n.find(name); who.ID != id {
					t.Fatalf("%s %s is %s (%s)", when, name, who.ID, who.State)
				}
			}
			for name, id := range ghosts {
				if who := n.find(name); who.ID != id {
					t.Fatalf("%s the decoy of %s is another", when, name)
				}
			}
		}
		old := a.Ring.ID()
		a.begin()
		look("before a row is made anew", a)
		b := newNode(t, url, clock, a)
		half, err := a.rotation().Renew(t.Context(), func(p keyring.Progress) { look(fmt.Sprint("after ", p.Done), b) })
		if err != nil || len(half) > 0 {
			t.Fatal(half, err)
		}
		look("after the last row", b)
		if needed, err := a.rotation().Drop(t.Context(), old, nil); err != nil || len(needed) > 0 {
			t.Fatal(needed, err)
		}
		look("without the old key", b)
		look("without the old key", a)
		if err := keyring.RemoveFromFile(a.file, old); err != nil {
			t.Fatal(err)
		}
		a.begin()
		a.renew()
		look("after the next change", newNode(t, url, clock, a))
	})
}

// The last row of the index, which gives every name a next one, stays the last.
func TestTheLastRowOfTheIndexStaysTheLast(t *testing.T) {
	eachNode(t, func(t *testing.T, url string, clock *dbtest.Clock) {
		a := newNode(t, url, clock, nil)
		a.begin()
		a.renew()
		var last []byte
		var owner account.ID
		err := a.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
			return tx.QueryRow(t.Context(), `SELECT lookup, account_id FROM account_lookup ORDER BY lookup DESC LIMIT 1`).Scan(&last, &owner)
		})
		if err != nil || owner != account.Last || !bytes.Equal(last, bytes.Repeat([]byte{0xff}, 40)) {
			t.Errorf("%x is %s's, %v", last, owner, err)
		}
		if n := a.lookups(account.Last); n != 1 {
			t.Errorf("it has %d indexes: whoever typed its name would be told apart", n)
		}
		if n, err := a.rotation().Unfinished(t.Context()); err != nil || n != 0 {
			t.Errorf("%d are left, %v", n, err)
		}
	})
}

func taken(err error) bool { return fault.Of(err).Code == "identifier_taken" }

// One name, two indexes: whoever has it under the one is not had by somebody else under the other.
func TestATakenNameIsTakenUnderTheOtherKeyToo(t *testing.T) {
	eachNode(t, func(t *testing.T, url string, clock *dbtest.Clock) {
		a := newNode(t, url, clock, nil)
		ada, err := a.create("ada@example.org", "old@example.org", "third@example.org")
		if err != nil {
			t.Fatal(err)
		}
		remove := func(name string) {
			t.Helper()
			err := a.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
				all, err := a.Addresses(t.Context(), tx, ada)
				for _, address := range all {
					if address.Normal == name {
						err = errors.Join(err, a.Remove(t.Context(), tx, ada, address.ID))
					}
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		remove("old@example.org")
		a.begin()
		for _, name := range []string{"ada@example.org", "old@example.org"} { // had, and held for her
			if _, err := a.create(name); !taken(err) {
				t.Errorf("%s was given away: %v", name, err)
			}
			p, err := a.Prepare(whole(t, name))
			if err != nil {
				t.Fatal(err)
			}
			err = a.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
				got, err := a.CreateAll(t.Context(), tx, []account.Prepared{p})
				if err == nil && !got[0] {
					err = errors.New("given away by an import")
				}
				return err
			})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			err = a.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
				_, is, err := a.Taken(t.Context(), tx, parsed(t, name).Identifier)
				if err == nil && !is {
					err = errors.New("not taken")
				}
				return err
			})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		err = a.DB.Write(t.Context(), func(tx *sqldb.Tx) error { return a.Add(t.Context(), tx, ada, parsed(t, "ada@example.org")) })
		if fault.Of(err).Code != "address_known" {
			t.Errorf("her own address = %v", err)
		}
		// What was kept of before comes back with the new key, and the other way round.
		err = a.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := a.Undo(t.Context(), tx, ada, clock.Now().Add(-time.Hour))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if who := a.find("old@example.org"); who.ID != ada {
			t.Errorf("after the removal was undone it is %s's", who.State)
		}
		before := staleRows(t, a)
		remove("third@example.org")                      // which copies the row to what is remembered of it
		if after := staleRows(t, a); after != before-2 { // the row and what it was found by
			t.Errorf("%d rows need the old key, and %d did before: what is copied must be made anew", after, before)
		}
		a.renew()
		if left := staleRows(t, a); left != 0 {
			t.Errorf("%d rows need the old key", left)
		}
		if _, err := a.create("third@example.org"); !taken(err) {
			t.Errorf("held for her, and given away: %v", err)
		}
	})
}

func staleRows(t *testing.T, n *node) (left int64) {
	t.Helper()
	left, err := n.rotation().Unfinished(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// Two who want one name at once, while one still writes with the old key (a transaction that began before the
// change) and the other with the new one: one of them gets it, on either engine, and it is not had twice.
func TestOfTwoWithDifferentKeysOneGetsAName(t *testing.T) {
	eachNode(t, func(t *testing.T, url string, clock *dbtest.Clock) {
		a := newNode(t, url, clock, nil)
		id, err := keyring.AddToFile(a.file)
		if err != nil {
			t.Fatal(err)
		}
		late := newNode(t, url, clock, a)
		ro := a.rotation()
		ro.Hear, ro.Settle = 400*time.Millisecond, 400*time.Millisecond
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := ro.Begin(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
		for !late.Ring.Several() { // it knows of the key that is coming, and writes with the old one
			_ = late.DB.Read(t.Context(), func(*sqldb.Tx) error { return nil })
		}
		late.stuck()
		wg.Wait()
		if late.Ring.ID() == a.Ring.ID() || a.Ring.ID() != id {
			t.Fatalf("both write with %s", late.Ring.ID())
		}
		if _, err := a.create("first@example.org"); err != nil {
			t.Fatal(err)
		}
		if _, err := late.create("first@example.org"); !taken(err) {
			t.Errorf("had under the new key, given away under the old one: %v", err)
		}
		if _, err := late.create("second@example.org"); err != nil {
			t.Fatal(err)
		}
		if _, err := a.create("second@example.org"); !taken(err) {
			t.Errorf("had under the old key, given away under the new one: %v", err)
		}
		for i := range 20 {
			name := fmt.Sprintf("raced%d@example.org", i)
			var won atomic.Int64
			for _, n := range []*node{a, late, a, late} {
				wg.Go(func() {
					_, err := n.create(name)
					if err == nil {
						won.Add(1)
					} else if !taken(err) {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Fatalf("%d accounts sign in with %s", won.Load(), name)
			}
			if who := a.find(name); who.State != account.Active {
				t.Errorf("%s is not found", name)
			}
		}
		a.renew() // the unique index would say so if a name were had twice
		if left := staleRows(t, a); left != 0 {
			t.Errorf("%d are left", left)
		}
	})
}

// P2: a name that nobody has costs as many rows of the index as one that somebody has, whichever key it is under.
func TestAnUnknownNameReadsAsManyRowsWhileKeysChange(t *testing.T) {
	eachNode(t, func(t *testing.T, url string, clock *dbtest.Clock) {
		a := newNode(t, url, clock, nil)
		if _, err := a.create("old@example.org"); err != nil {
			t.Fatal(err)
		}
		a.begin()
		if _, err := a.create("new@example.org"); err != nil {
			t.Fatal(err)
		}
		counts := map[string]int{}
		for _, name := range []string{"old@example.org", "new@example.org", "ghost@example.org", "spectre@example.org"} {
			err := a.DB.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
				counts[name], err = a.RowsRead(t.Context(), tx, parsed(t, name).Identifier)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for name, n := range counts {
			if n != 3 { // one for each key, and the decoy
				t.Errorf("%s reads %d rows: %v", name, n, counts)
			}
		}
	})
}
