package account_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server/schema"
	"countersign/internal/testkit/dbtest"
)

func (n *node) do(what func(tx *sqldb.Tx) error) error {
	return n.DB.Write(n.t.Context(), what)
}

func (n *node) must(what func(tx *sqldb.Tx) error) {
	n.t.Helper()
	if err := n.do(what); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) exec(statement string, args ...any) {
	n.t.Helper()
	n.must(func(tx *sqldb.Tx) error {
		_, err := tx.Exec(n.t.Context(), statement, args...)
		return err
	})
}

// address is the id of an account's address.
func (n *node) address(id account.ID, name string) (found string) {
	n.t.Helper()
	n.must(func(tx *sqldb.Tx) error {
		all, err := n.Addresses(n.t.Context(), tx, id)
		for _, a := range all {
			if a.Normal == name {
				found = a.ID
			}
		}
		return err
	})
	if found == "" {
		n.t.Fatalf("%s has no %s", id, name)
	}
	return found
}

func (n *node) remove(id account.ID, name string) {
	n.t.Helper()
	address := n.address(id, name)
	n.must(func(tx *sqldb.Tx) error { return n.Remove(n.t.Context(), tx, id, address) })
}

// lookups are how many indexes the table has of an account.
func (n *node) lookups(id account.ID) (rows int) {
	n.t.Helper()
	n.must(func(tx *sqldb.Tx) error {
		return tx.QueryRow(n.t.Context(), `SELECT COUNT(*) FROM account_lookup WHERE account_id = $1`, id).Scan(&rows)
	})
	return rows
}

// holding is one of a table's.
func (n *node) holding(table string) keyring.Holding {
	n.t.Helper()
	for _, h := range n.Holdings() {
		if h.Table == table {
			return h
		}
	}
	n.t.Fatalf("no holding of %s", table)
	return keyring.Holding{}
}

func (n *node) read(h keyring.Holding) (page keyring.Page) {
	n.t.Helper()
	err := n.DB.Read(n.t.Context(), func(tx *sqldb.Tx) (err error) {
		page, err = h.Read(n.t.Context(), tx, "", 1000)
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return page
}

// indexed writes what the rows are found by; those without are left out, as a rotation does.
func (n *node) indexed(h keyring.Holding, rows []keyring.Renewal) error {
	var some []keyring.Renewal
	for _, r := range rows {
		if r.Lookup != nil {
			some = append(some, r)
		}
	}
	return n.do(func(tx *sqldb.Tx) error { return h.Index(n.t.Context(), tx, some) })
}

func (n *node) written(h keyring.Holding, rows []keyring.Renewal) (done int) {
	n.t.Helper()
	n.must(func(tx *sqldb.Tx) error {
		done = 0
		for _, row := range rows {
			ok, err := h.Write(n.t.Context(), tx, row)
			if err != nil {
				return err
			}
			if ok {
				done++
			}
		}
		return nil
	})
	return done
}

// A rotation has read a page when people remove addresses on it, give them other uses and are erased: nothing of what it
// writes then lets somebody be found by what they have not got.
func TestNobodyIsFoundByWhatTheyRemovedWhileTheirKeysChange(t *testing.T) {
	eachNode(t, func(t *testing.T, url string, clock *dbtest.Clock) {
		a := newNode(t, url, clock, nil)
		ada, err := a.create("ada@example.org", "gone@example.org", "quiet@example.org")
		if err != nil {
			t.Fatal(err)
		}
		bob, err := a.create("bob@example.org")
		if err != nil {
			t.Fatal(err)
		}
		a.begin()
		h := a.holding("account_identifier")
		page := a.read(h)
		a.remove(ada, "gone@example.org")
		quiet := a.address(ada, "quiet@example.org")
		a.must(func(tx *sqldb.Tx) error {
			return errors.Join(
				a.SetUses(t.Context(), tx, ada, quiet, account.Uses{Notices: true}),
				a.EraseAt(t.Context(), tx, bob, tx.Now()))
		})
		a.must(func(tx *sqldb.Tx) error {
			_, err := a.Erase(t.Context(), tx, bob)
			return err
		})
		if err := a.indexed(h, page.Renewals); err != nil {
			t.Fatal(err)
		}
		if n := a.lookups(bob); n != 0 {
			t.Errorf("who was erased is found by %d indexes", n)
		}
		if n := a.lookups(ada); n != 2 { // of one name, under both keys
			t.Errorf("Ada is found by %d indexes", n)
		}
		a.renew()
		if n := a.lookups(ada); n != 1 {
			t.Errorf("Ada is found by %d indexes in the end", n)
		}
		for name, want := range map[string]bool{"ada@example.org": true, "gone@example.org": false, "quiet@example.org": false, "bob@example.org": false} {
			if found := a.find(name).State == account.Active; found != want {
				t.Errorf("%s is found: %t", name, found)
			}
		}
	})
}

// A transaction that began before the change takes an identifier and writes it again, under the old key and with the same id,
// between the two steps of a rotation: the row is not taken for the one that was read, of which an index was written.
func TestARowThatIsWrittenAgainIsAnother(t *testing.T) {
	eachNode(t, func(t *testing.T, url string, clock *dbtest.Clock) {
		a := newNode(t, url, clock, nil)
		ada, err := a.create("ada@example.org", "other@example.org")
		if err != nil {
			t.Fatal(err)
		}
		late := stuckBefore(t, a, url, clock)
		h := a.holding("account_identifier")
		page := a.read(h)
		if err := a.indexed(h, page.Renewals); err != nil {
			t.Fatal(err)
		}
		other := a.address(ada, "other@example.org")
		for _, uses := range []account.Uses{{Notices: true}, {SignsIn: true, Notices: true, Recovers: true}} {
			late.must(func(tx *sqldb.Tx) error { return late.SetUses(t.Context(), tx, ada, other, uses) })
		}
		if done := a.written(h, page.Renewals); done != len(page.Renewals)-1 {
			t.Errorf("%d of %d rows were written, and one was another by then", done, len(page.Renewals))
		}
		a.renew()
		if n := a.lookups(ada); n != 2 {
			t.Errorf("she is found by %d indexes", n)
		}
		for _, name := range []string{"ada@example.org", "other@example.org"} {
			if who := a.find(name); who.ID != ada {
				t.Errorf("%s is %s", name, who.State)
			}
		}
	})
}

// stuckBefore begins a change of keys, and returns a node that goes on as transactions do that began before the last step.
func stuckBefore(t *testing.T, a *node, url string, clock *dbtest.Clock) *node {
	t.Helper()
	id, err := keyring.AddToFile(a.file)
	if err != nil {
		t.Fatal(err)
	}
	late := newNode(t, url, clock, a)
	ro := a.rotation()
	ro.Hear, ro.Settle = 400*time.Millisecond, 400*time.Millisecond
	begun := make(chan error, 1)
	go func() { begun <- ro.Begin(t.Context(), id) }()
	for !late.Ring.Several() {
		_ = late.DB.Read(t.Context(), func(*sqldb.Tx) error { return nil })
	}
	late.stuck()
	if err := <-begun; err != nil {
		t.Fatal(err)
	}
	if late.Ring.ID() == a.Ring.ID() {
		t.Fatal("both write with one key")
	}
	return late
}

// One more such transaction ends after the last row was made anew, and just when the old indexes go: hers stays.
func TestALateNameKeepsItsOldIndex(t *testing.T) {
	url, clock := dbtest.NewURL(t, sqldb.Postgres), dbtest.NewClock() // SQLite has no such transactions: it has one writer
	a := newNode(t, url, clock, nil)
	ada, err := a.create("ada@example.org", "other@example.org")
	if err != nil {
		t.Fatal(err)
	}
	late := stuckBefore(t, a, url, clock)
	h := a.holding("account_identifier")
	page := a.read(h)
	if err := a.indexed(h, page.Renewals); err != nil {
		t.Fatal(err)
	}
	a.written(h, page.Renewals)
	old := a.holding("account_lookup")
	page = a.read(old)
	other := a.address(ada, "other@example.org")
	for _, uses := range []account.Uses{{Notices: true}, {SignsIn: true, Notices: true, Recovers: true}} {
		late.must(func(tx *sqldb.Tx) error { return late.SetUses(t.Context(), tx, ada, other, uses) })
	}
	a.written(old, page.Renewals)
	if who := a.find("other@example.org"); who.ID != ada {
		t.Errorf("what she signs in with is %s", who.State)
	}
	a.renew()
	if who := a.find("other@example.org"); who.ID != ada || a.lookups(ada) != 2 {
		t.Errorf("in the end it is %s, of %d indexes", who.State, a.lookups(ada))
	}
}

// Whoever has an address that does not open is found by the old key, as ever, until that key may be lost.
func TestWhatDoesNotOpenIsFoundUnderItsOldKey(t *testing.T) {
	eachNode(t, func(t *testing.T, url string, clock *dbtest.Clock) {
		a := newNode(t, url, clock, nil)
		ids := map[string]account.ID{}
		for _, name := range []string{"ada@example.org", "bob@example.org"} {
			id, err := a.create(name)
			if err != nil {
				t.Fatal(err)
			}
			ids[name] = id
		}
		old := a.Ring.ID()
		damaged := a.address(ids["bob@example.org"], "bob@example.org")
		a.exec(`UPDATE account_identifier SET sealed = $1 WHERE id = $2`, a.Ring.Seal([]byte("x"), keyring.Place{}), damaged)
		a.begin()
		ro := a.rotation()
		odd, err := ro.Renew(t.Context(), func(keyring.Progress) {})
		if err != nil || len(odd) != 1 || odd[0].Table != "account_identifier" || len(odd[0].Rows) != 1 || odd[0].Rows[0] != damaged {
			t.Errorf("Renew = %v, %v", odd, err)
		}
		for name, id := range ids {
			if who := a.find(name); who.ID != id || a.lookups(id) != 1 {
				t.Errorf("%s is %s, and has %d indexes", name, who.State, a.lookups(id))
			}
		}
		needed, err := ro.Drop(t.Context(), old, nil)
		if err != nil || len(needed) != 2 || needed[0].Rows[old] != 1 || needed[1].Rows[old] != 1 {
			t.Errorf("Drop = %v, %v", needed, err)
		}
		// Erased, nothing is left of it.
		bob := ids["bob@example.org"]
		a.must(func(tx *sqldb.Tx) error { return a.EraseAt(t.Context(), tx, bob, tx.Now()) })
		a.must(func(tx *sqldb.Tx) error {
			_, err := a.Erase(t.Context(), tx, bob)
			return err
		})
		if n := a.lookups(bob); n != 0 {
			t.Errorf("who was erased is found by %d indexes", n)
		}
		if needed, err := ro.Drop(t.Context(), old, nil); err != nil || len(needed) != 0 {
			t.Errorf("Drop = %v, %v", needed, err)
		}
	})
}

// A rotation that is stopped after it has written some indexes, and before any row: it goes on, and all are found meanwhile.
func TestARotationStoppedAmongTheIndexesGoesOn(t *testing.T) {
	eachNode(t, func(t *testing.T, url string, clock *dbtest.Clock) {
		a := newNode(t, url, clock, nil)
		const people = 1200
		for i := range people {
			if _, err := a.create(fmt.Sprintf("person%d@example.org", i)); err != nil {
				t.Fatal(err)
			}
		}
		old := a.Ring.ID()
		a.begin()
		before := staleRows(t, a)
		for _, steps := range []int{1, 2} { // of 1000 rows each
			stopped, stop := context.WithCancel(t.Context())
			_, err := a.rotation().Renew(stopped, func(p keyring.Progress) {
				if p.Done != 0 {
					t.Errorf("%d rows are done, and none was written yet", p.Done)
				}
				if steps--; steps == 0 {
					stop()
				}
			})
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if left := staleRows(t, a); left != before {
				t.Errorf("%d rows are left of %d", left, before)
			}
			for i := range people {
				if who := a.find(fmt.Sprintf("person%d@example.org", i)); who.State != account.Active {
					t.Fatalf("person %d is %s", i, who.State)
				}
			}
			if _, err := a.create("person7@example.org"); !taken(err) {
				t.Errorf("a name of two indexes was given away: %v", err)
			}
		}
		a.renew()
		if needed, err := a.rotation().Drop(t.Context(), old, nil); err != nil || len(needed) != 0 {
			t.Errorf("Drop = %v, %v", needed, err)
		}
		for i := range people {
			if who := a.find(fmt.Sprintf("person%d@example.org", i)); who.State != account.Active || a.lookups(who.ID) != 1 {
				t.Fatalf("person %d is %s", i, who.State)
			}
		}
	})
}

// Were a name two accounts', a rotation would say so, and not let one of them be found no more.
func TestARotationStopsAtANameThatTwoHave(t *testing.T) {
	eachNode(t, func(t *testing.T, url string, clock *dbtest.Clock) {
		a := newNode(t, url, clock, nil)
		ada, err := a.create("ada@example.org")
		if err != nil {
			t.Fatal(err)
		}
		bob, err := a.create("bob@example.org")
		if err != nil {
			t.Fatal(err)
		}
		a.begin()
		a.exec(`INSERT INTO account_lookup (lookup, account_id) VALUES ($1, $2)`, a.Ring.Index("email", "ada@example.org"), bob)
		if _, err := a.rotation().Renew(t.Context(), func(keyring.Progress) {}); err == nil {
			t.Error("nothing was said")
		}
		if n := a.lookups(ada); n != 1 {
			t.Errorf("she is found by %d indexes", n)
		}
	})
}

// An address that an account has twice, because somebody took it back who had it anew, is found as long as one signs in.
func TestAnAddressHadTwiceIsFound(t *testing.T) {
	eachNode(t, func(t *testing.T, url string, clock *dbtest.Clock) {
		a := newNode(t, url, clock, nil)
		ada, err := a.create("ada@example.org", "twice@example.org")
		if err != nil {
			t.Fatal(err)
		}
		since := clock.Now()
		a.remove(ada, "twice@example.org")
		clock.Advance(time.Hour)
		a.must(func(tx *sqldb.Tx) error { return a.Add(t.Context(), tx, ada, parsed(t, "twice@example.org")) })
		first := ""
		a.must(func(tx *sqldb.Tx) error { // what was added stays: it is as if nobody could recover the account otherwise
			_, err := tx.Exec(t.Context(), `DELETE FROM account_address_change WHERE what = 'added'`)
			return err
		})
		a.must(func(tx *sqldb.Tx) error {
			_, err := a.Undo(t.Context(), tx, ada, since)
			return err
		})
		a.must(func(tx *sqldb.Tx) error {
			all, err := a.Addresses(t.Context(), tx, ada)
			for _, one := range all {
				if one.Normal == "twice@example.org" && !one.SignsIn {
					first = one.ID
				}
			}
			return err
		})
		if first == "" {
			t.Fatal("she has it once")
		}
		a.must(func(tx *sqldb.Tx) error { return a.Remove(t.Context(), tx, ada, first) })
		if who := a.find("twice@example.org"); who.ID != ada {
			t.Errorf("it is %s's", who.State)
		}
	})
}

// A database of before is brought along: all are found by what they sign in with, and the last index is the last.
func TestIndexesOfBeforeAreBroughtAlong(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, clock := dbtest.EmptyURL(t, engine), dbtest.NewClock()
			db, ctx := dbtest.Open(t, url, clock), t.Context()
			files, before := schema.Migrations().Files, fstest.MapFS{}
			names, err := fs.Glob(files, "*.sql")
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				text, err := fs.ReadFile(files, name)
				if err != nil {
					t.Fatal(err)
				}
				if name < "0040" {
					before[name] = &fstest.MapFile{Data: text}
				}
			}
			if _, err := (sqldb.Migrations{Files: before}).Up(ctx, db); err != nil {
				t.Fatal(err)
			}
			ring := newRing(t)
			err = db.Write(ctx, func(tx *sqldb.Tx) error {
				for i, row := range []struct {
					owner, state, name string
					signsIn            bool
					lookup             []byte
				}{
					{"a", "active", "ada@example.org", true, ring.Index("email", "ada@example.org")},
					{"a", "active", "quiet@example.org", false, ring.Index("email", "quiet@example.org")},
					{string(account.Last), "decoy", "last@decoy.invalid", true, bytes.Repeat([]byte{0xff}, 32)},
				} {
					id := fmt.Sprint("i", i)
					_, err := tx.Exec(ctx, `INSERT INTO account (id, state, language, created_at, changed_at) VALUES ($1, $2, 'en', 1, 1) ON CONFLICT (id) DO NOTHING`, row.owner, row.state)
					if err == nil {
						_, err = tx.Exec(ctx, `INSERT INTO account_identifier (id, account_id, kind, lookup, sealed, signs_in, notices, recovers, created_at)
							VALUES ($1, $2, 'email', $3, $4, $5, FALSE, FALSE, 1)`, id, row.owner, row.lookup,
							ring.Seal([]byte(row.name), keyring.Place{Table: "account_identifier", Row: id, Column: "sealed"}), row.signsIn)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := schema.Migrations().Up(ctx, db); err != nil {
				t.Fatal(err)
			}
			s := &account.Service{DB: db, Ring: ring, Decoys: 16}
			err = db.Read(ctx, func(tx *sqldb.Tx) error {
				if who, err := s.ByIdentifier(ctx, tx, parsed(t, "ada@example.org").Identifier); err != nil || who.ID != "a" {
					t.Errorf("%v, %v", who, err)
				}
				if who, err := s.ByIdentifier(ctx, tx, parsed(t, "quiet@example.org").Identifier); err == nil {
					t.Errorf("found by what does not sign in: %v", who)
				}
				var last []byte
				if err := tx.QueryRow(ctx, `SELECT lookup FROM account_lookup WHERE account_id = $1`, account.Last).Scan(&last); err != nil || !bytes.Equal(last, bytes.Repeat([]byte{0xff}, 40)) {
					t.Errorf("the last index is %x, %v", last, err)
				}
				all, err := s.Addresses(ctx, tx, "a")
				if err != nil || len(all) != 2 {
					t.Errorf("%v, %v", all, err)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
