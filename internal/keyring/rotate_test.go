package keyring_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// node is one of those that serve a database, with a key file of its own.
type node struct {
	*keyring.Ring

	t    *testing.T
	db   *sqldb.DB
	file string
}

type site struct {
	t     *testing.T
	url   string
	clock *dbtest.Clock
}

func eachSite(t *testing.T, f func(t *testing.T, s site)) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			f(t, site{t, dbtest.NewURL(t, engine), dbtest.NewClock()})
		})
	}
}

// node starts one with a copy of another's key file, or with a new one.
func (s site) node(like *node) *node {
	s.t.Helper()
	n := &node{t: s.t, db: dbtest.Open(s.t, s.url, s.clock), file: filepath.Join(s.t.TempDir(), "countersign.key")}
	if like != nil {
		n.copyFrom(like)
	}
	var err error
	if n.Ring, err = keyring.LoadOrCreate(s.t.Context(), n.db, n.file, false); err != nil {
		s.t.Fatal(err)
	}
	if err := n.Claim(s.t.Context(), n.db); err != nil {
		s.t.Fatal(err)
	}
	n.db.Before(n.Follow)
	return n
}

func (n *node) copyFrom(other *node) {
	n.t.Helper()
	text, err := os.ReadFile(other.file)
	if err == nil {
		err = os.WriteFile(n.file, text, 0o600)
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) add() string {
	n.t.Helper()
	id, err := keyring.AddToFile(n.file)
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

// touch is any transaction.
func (n *node) touch() error {
	return n.db.Read(n.t.Context(), func(*sqldb.Tx) error { return nil })
}

func (n *node) rotation(holdings ...keyring.Holding) *keyring.Rotation {
	return &keyring.Rotation{DB: n.db, Ring: n.Ring, Holdings: holdings}
}

func (n *node) exec(statement string, args ...any) {
	n.t.Helper()
	err := n.db.Write(n.t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(n.t.Context(), statement, args...)
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) states() (out []string) {
	n.t.Helper()
	all, err := n.rotation().Keys(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	for _, k := range all {
		out = append(out, string(k.State))
	}
	return out
}

func TestAllNodesChangeOverWithTheDatabase(t *testing.T) {
	eachSite(t, func(t *testing.T, s site) {
		a := s.node(nil)
		b := s.node(a)
		old := a.ID()
		token, here := secret.NewToken("css"), keyring.Place{Table: "t", Row: "r", Column: "c"}
		digest, sealed, mac, stable := a.Digest("p", token), a.Seal([]byte("x"), here), a.MAC("p", []byte("r")), a.Stable("p", "v")
		peppered, _ := a.Pepper([]byte("pw"))
		next := a.add()
		b.copyFrom(a)
		if err := a.rotation().Begin(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		if err := b.touch(); err != nil {
			t.Fatal(err)
		}
		if diff := slices.Compare(a.states(), []string{"old", "current"}); diff != 0 {
			t.Errorf("keys are %v", a.states())
		}
		for name, n := range map[string]*node{"which began it": a, "which served": b, "which starts": s.node(a)} {
			if n.ID() != next || !n.Several() {
				t.Errorf("the node %s uses %s", name, n.ID())
			}
			if all := n.Digests("p", token); len(all) != 2 || !bytes.Equal(all[0], digest) || bytes.Equal(all[1], digest) {
				t.Errorf("the node %s looks for %d digests, and the old key's must come first", name, len(all))
			}
			if current, all := n.Indexes("k", "v"); len(all) != 2 || !bytes.Equal(current, all[1]) || !bytes.HasPrefix(current, []byte(next)) {
				t.Errorf("the node %s writes an index that is not the new key's", name)
			}
			if plain, err := n.Open(sealed, here); err != nil || string(plain) != "x" {
				t.Errorf("the node %s does not open what was sealed before: %v", name, err)
			}
			if !n.Authentic("p", []byte("r"), mac) || n.Authentic("p", []byte("s"), mac) || !n.Authentic("p", []byte("r"), n.MAC("p", []byte("r"))) {
				t.Errorf("the node %s mistakes a MAC", name)
			}
			if got, ok := n.PepperWith(old, []byte("pw")); !ok || !bytes.Equal(got, peppered) {
				t.Errorf("the node %s does not pepper as before", name)
			}
			if !bytes.Equal(n.Stable("p", "v"), stable) {
				t.Errorf("on the node %s what must never change has changed", name)
			}
			if n.Fresh(sealed) || n.Fresh(nil, digest) || !n.Fresh(n.Seal(nil, here), n.Digest("p", token)) {
				t.Errorf("the node %s does not know old from new", name)
			}
		}
	})
}

// Nobody writes with a key that some node does not have: its people would be nobody there.
func TestANodeThatLacksTheKeyStopsTheRotation(t *testing.T) {
	eachSite(t, func(t *testing.T, s site) {
		a := s.node(nil)
		b := s.node(a)
		old, next := a.ID(), a.add()
		ro := a.rotation()
		ro.Hear = 2 * time.Second
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
					if err := b.Object(t.Context(), b.db, "beth"); err != nil {
						t.Error(err)
					}
				}
			}
		})
		err := ro.Begin(t.Context(), next)
		if !errors.Is(err, keyring.ErrLacking) || !strings.Contains(err.Error(), "beth lacks "+next) {
			t.Fatalf("Begin = %v", err)
		}
		if err := errors.Join(a.touch(), b.touch()); err != nil || a.ID() != old || b.ID() != old || a.Several() || b.Lacking() != "" {
			t.Errorf("something was changed: %v, %s, %s, %v", err, a.ID(), b.ID(), a.states())
		}
		b.copyFrom(a)
		if err := ro.Begin(t.Context(), next); err != nil || a.ID() != next {
			t.Errorf("with the file everywhere: %v, %s", err, a.ID())
		}
		close(stop)
		wg.Wait()
	})
}

// A node that hung while it could have objected answers nobody until it has the key: "no such account" would be a lie.
func TestANodeThatWasAwayRefusesEverythingUntilItHasTheKey(t *testing.T) {
	eachSite(t, func(t *testing.T, s site) {
		a := s.node(nil)
		b := s.node(a)
		next := a.add()
		if err := a.rotation().Begin(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		ran := false
		for range 2 {
			for _, do := range []func(context.Context, func(*sqldb.Tx) error) error{b.db.Read, b.db.Write} {
				err := do(t.Context(), func(*sqldb.Tx) error { ran = true; return nil })
				if f := fault.Of(err); f.Kind != fault.Unavailable || f.Code != "keys_missing" || f.RetryAfter == 0 || !strings.Contains(err.Error(), next) {
					t.Errorf("a transaction = %v", err)
				}
			}
		}
		if ran {
			t.Error("it did something nevertheless")
		}
		if _, err := keyring.LoadOrCreate(t.Context(), dbtest.Open(t, s.url, s.clock), b.file, false); err != nil {
			t.Error(err)
		}
		again, err := keyring.LoadFile(b.file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := again.Check(t.Context(), dbtest.Open(t, s.url, s.clock)); !errors.Is(err, keyring.ErrWrongKey) {
			t.Errorf("a start with the old file: %v", err)
		}
		b.copyFrom(a)
		s.clock.Advance(time.Second)
		if err := b.touch(); err != nil || b.ID() != next {
			t.Errorf("with the file: %v, %s", err, b.ID())
		}
	})
}

// A file with the id of the key and other bytes is as good as none.
func TestAnotherKeyUnderTheSameNameIsNotTaken(t *testing.T) {
	eachSite(t, func(t *testing.T, s site) {
		a := s.node(nil)
		b := s.node(a)
		next := a.add()
		forged := next + keyring.Generate()[8:]
		text, _ := os.ReadFile(b.file)
		if err := os.WriteFile(b.file, append(text, forged+"\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := a.rotation().Begin(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		if err := b.touch(); fault.Of(err).Code != "keys_missing" {
			t.Errorf("a transaction = %v", err)
		}
	})
}

// things is a table of a test's own, named by two columns, with its holding.
func (n *node) things(count int) keyring.Holding {
	n.t.Helper()
	n.exec(`CREATE TABLE thing (owner TEXT NOT NULL, name TEXT NOT NULL, sealed BYTEA, PRIMARY KEY (owner, name))`)
	for i := range count {
		owner, name := fmt.Sprintf("o%03d", i/10), fmt.Sprintf("a/%04d", i)
		n.exec(`INSERT INTO thing (owner, name, sealed) VALUES ($1, $2, $3)`, owner, name, n.Seal([]byte(name), thingAt(owner, name)))
	}
	n.exec(`INSERT INTO thing (owner, name) VALUES ('o000', 'none')`)
	return n.holding()
}

func (n *node) holding() keyring.Holding {
	return n.Sealed(keyring.Column{Table: "thing", Keys: []string{"owner", "name"}, Name: "sealed"})
}

func thingAt(owner, name string) keyring.Place {
	return keyring.Place{Table: "thing", Row: owner + "/" + name, Column: "sealed"}
}

// whole fails unless every thing opens; it returns how many are not made with the current key.
func (n *node) whole(count int) (stale int) {
	n.t.Helper()
	rows := 0
	err := n.db.Read(n.t.Context(), func(tx *sqldb.Tx) error {
		return tx.Each(n.t.Context(), `SELECT owner, name, sealed FROM thing WHERE sealed IS NOT NULL`, func(scan func(...any) error) error {
			var owner, name string
			var sealed []byte
			if err := scan(&owner, &name, &sealed); err != nil {
				return err
			}
			rows++
			if !n.Fresh(sealed) {
				stale++
			}
			plain, err := n.Open(sealed, thingAt(owner, name))
			if err == nil && !strings.HasPrefix(string(plain), name) {
				err = fmt.Errorf("%s holds %q", name, plain)
			}
			return err
		})
	})
	if err != nil || rows != count {
		n.t.Errorf("%d of %d rows, %v", rows, count, err)
	}
	return stale
}

func quiet(keyring.Progress) {}

// Stopped anywhere and begun again, by as many as like, while others write: every row is whole at every moment, and in
// the end each is made with the new key and is what was written last.
func TestRowsAreMadeAnewWhileOthersWrite(t *testing.T) {
	const rows = 1500
	eachSite(t, func(t *testing.T, s site) {
		a := s.node(nil)
		h := a.things(rows)
		b := s.node(a)
		next := a.add()
		b.copyFrom(a)
		if err := a.rotation(h).Begin(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		stopped, stop := context.WithCancel(t.Context())
		last := int64(0)
		_, err := a.rotation(h).Renew(stopped, func(p keyring.Progress) {
			last = p.Done
			if p.Total != rows || p.Table != "thing" {
				t.Errorf("%+v", p)
			}
			if p.Done >= rows/3 {
				stop()
			}
		})
		if !errors.Is(err, context.Canceled) || last < rows/3 || last >= rows {
			t.Fatalf("stopped at %d: %v", last, err)
		}
		if left := a.whole(rows); int64(left) != rows-last {
			t.Errorf("%d are left of %d", left, rows-last)
		}
		var wg sync.WaitGroup
		for _, n := range []*node{a, b, a} {
			wg.Go(func() {
				if odd, err := n.rotation(n.holding()).Renew(t.Context(), quiet); err != nil || len(odd) > 0 {
					t.Errorf("Renew = %v, %v", odd, err)
				}
			})
		}
		wg.Go(func() { // somebody who changes what the others are about to make anew
			for i := range 300 {
				owner, name := fmt.Sprintf("o%03d", (rows-1-i)/10), fmt.Sprintf("a/%04d", rows-1-i)
				b.exec(`UPDATE thing SET sealed = $1 WHERE owner = $2 AND name = $3`, b.Seal([]byte(name+" changed"), thingAt(owner, name)), owner, name)
			}
		})
		wg.Wait()
		if left := a.whole(rows); left != 0 {
			t.Errorf("%d are left", left)
		}
		changed := 0
		err = a.db.Read(t.Context(), func(tx *sqldb.Tx) error {
			return tx.Each(t.Context(), `SELECT owner, name, sealed FROM thing WHERE sealed IS NOT NULL`, func(scan func(...any) error) error {
				var owner, name string
				var sealed []byte
				err := scan(&owner, &name, &sealed)
				if plain, _ := a.Open(sealed, thingAt(owner, name)); strings.HasSuffix(string(plain), " changed") {
					changed++
				}
				return err
			})
		})
		if err != nil || changed != 300 {
			t.Errorf("%d of 300 changes are there: what was changed meanwhile was overwritten (%v)", changed, err)
		}
	})
}

// What does not open is left, told, and keeps its key needed, unless it may be lost.
func TestDamagedRowsAreLeftAndKeepTheirKey(t *testing.T) {
	eachSite(t, func(t *testing.T, s site) {
		a := s.node(nil)
		h := a.things(30)
		old, next := a.ID(), a.add()
		moved := a.Seal([]byte("x"), keyring.Place{Table: "elsewhere"})
		a.exec(`UPDATE thing SET sealed = $1 WHERE name = 'a/0007'`, moved)
		ro := a.rotation(h)
		if err := ro.Begin(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		if needed, err := ro.Drop(t.Context(), old, []string{"thing"}); err != nil || len(needed) != 1 || needed[0].Rows[old] != 30 {
			t.Errorf("dropped what could still be made anew: %v, %v", needed, err)
		}
		odd, err := ro.Renew(t.Context(), quiet)
		if err != nil || len(odd) != 1 || !slices.Equal(odd[0].Rows, []string{"o000/a/0007"}) {
			t.Fatalf("Renew = %v, %v", odd, err)
		}
		if n, err := ro.Unfinished(t.Context()); err != nil || n != 1 {
			t.Errorf("%d are left, %v", n, err)
		}
		if needed, err := ro.Drop(t.Context(), old, nil); err != nil || len(needed) != 1 || needed[0].Rows[old] != 1 || !needed[0].Renewable {
			t.Errorf("Drop = %v, %v", needed, err)
		}
		if needed, err := ro.Drop(t.Context(), old, []string{"thing"}); err != nil || len(needed) > 0 {
			t.Errorf("with leave to lose it: %v, %v", needed, err)
		}
		if err := a.touch(); err != nil || a.Several() {
			t.Errorf("the dropped key is still looked for, %v", err)
		}
	})
}

func TestOnlyWhatNothingNeedsIsDropped(t *testing.T) {
	eachSite(t, func(t *testing.T, s site) {
		a := s.node(nil)
		h := a.things(5)
		a.exec(`CREATE TABLE token (digest BYTEA PRIMARY KEY, expires_at BIGINT NOT NULL)`)
		tokens := a.Digested(keyring.Column{Table: "token", Name: "digest", Live: "expires_at > $1"})
		put := func(d time.Duration) {
			a.exec(`INSERT INTO token (digest, expires_at) VALUES ($1, $2)`, a.Digest("p", secret.NewToken("css")), s.clock.Now().Add(d).UnixMilli())
		}
		put(time.Minute)
		old, next := a.ID(), a.add()
		var done []string
		ro := a.rotation(h, tokens)
		ro.Record = func(_ context.Context, _ *sqldb.Tx, did, key string) error {
			done = append(done, did+" "+key)
			return nil
		}
		if _, err := ro.Drop(t.Context(), old, nil); err == nil {
			t.Error("dropped the current key")
		}
		if err := ro.Begin(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		put(time.Hour) // with the new key
		if _, err := ro.Renew(t.Context(), quiet); err != nil {
			t.Fatal(err)
		}
		if _, err := ro.Drop(t.Context(), next, nil); err == nil {
			t.Error("dropped the new current key")
		}
		if _, err := ro.Drop(t.Context(), "kzzzzzzz", nil); err == nil {
			t.Error("dropped a key that is not there")
		}
		needed, err := ro.Drop(t.Context(), old, []string{"thing"})
		if err != nil || len(needed) != 1 || needed[0].Table != "token" || needed[0].Rows[old] != 1 || needed[0].Rows[next] != 1 {
			t.Errorf("Drop = %v, %v", needed, err)
		}
		s.clock.Advance(time.Minute)
		if needed, err := ro.Drop(t.Context(), old, nil); err != nil || len(needed) > 0 {
			t.Errorf("once its time is over: %v, %v", needed, err)
		}
		if got := a.states(); !slices.Equal(got, []string{"current", "unused"}) || !slices.Equal(done, []string{"used " + next, "dropped " + old}) {
			t.Errorf("keys %v, recorded %v", got, done)
		}
		if err := keyring.RemoveFromFile(a.file, old); err != nil || !slices.Equal(a.states(), []string{"current"}) {
			t.Errorf("keys %v, %v", a.states(), err)
		}
		b := s.node(a)
		if err := b.touch(); err != nil || b.ID() != next || b.whole(5) != 0 {
			t.Errorf("a node that starts then: %v", err)
		}
		// And from there to the next: digests without a key's id are nobody's by now.
		third := a.add()
		if err := ro.Begin(t.Context(), third); err != nil {
			t.Fatal(err)
		}
		if _, err := ro.Renew(t.Context(), quiet); err != nil || a.whole(5) != 0 {
			t.Error(err)
		}
	})
}

// A drop waits for whoever looked at the database as it was before the last row was made anew.
func TestADropLooksAgainAfterWhatIsUnderWay(t *testing.T) {
	eachSite(t, func(t *testing.T, s site) {
		a := s.node(nil)
		h := a.things(1)
		old, next := a.ID(), a.add()
		late := a.Seal([]byte("late"), thingAt("z", "z"))
		ro := a.rotation(h)
		ro.Settle = 500 * time.Millisecond
		if err := ro.Begin(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		if _, err := ro.Renew(t.Context(), quiet); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { // a transaction that began before the change
			time.Sleep(100 * time.Millisecond)
			a.exec(`INSERT INTO thing (owner, name, sealed) VALUES ('z', 'z', $1)`, late)
		})
		needed, err := ro.Drop(t.Context(), old, nil)
		wg.Wait()
		if err != nil || len(needed) != 1 {
			t.Errorf("dropped a key that was written with meanwhile: %v, %v", needed, err)
		}
	})
}

func TestARotationThatWasKilledBeforeItBeganGoesOn(t *testing.T) {
	eachSite(t, func(t *testing.T, s site) {
		a := s.node(nil)
		old, next := a.ID(), a.add()
		ro := a.rotation()
		ro.Hear, ro.Settle = time.Hour, time.Hour
		ctx, kill := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer kill()
		if err := ro.Begin(ctx, next); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Begin = %v", err)
		}
		b := s.node(a)
		if b.ID() != old || !b.Several() || !slices.Equal(b.states(), []string{"current", "coming"}) {
			t.Errorf("in between: %s, %v", b.ID(), b.states())
		}
		if err := b.rotation().Begin(t.Context(), next); err != nil || b.ID() != next {
			t.Errorf("gone on with: %v, %s", err, b.ID())
		}
		if err := b.rotation().Begin(t.Context(), old); err == nil {
			t.Error("an old key became the current one again")
		}
	})
}

func TestKeysAreAddedAtOnceAndEachStays(t *testing.T) {
	dir := t.TempDir()
	real, path := filepath.Join(dir, "real.key"), filepath.Join(dir, "countersign.key")
	if _, err := keyring.CreateFile(real); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, path); err != nil {
		t.Fatal(err)
	}
	first, _ := os.ReadFile(real)
	if err := os.WriteFile(real, bytes.TrimRight(first, "\n"), 0o600); err != nil { // an editor left no end of line
		t.Fatal(err)
	}
	var mu sync.Mutex
	var ids []string
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			id, err := keyring.AddToFile(path)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			ids = append(ids, id)
			mu.Unlock()
		})
	}
	wg.Wait()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := keyring.Parse(string(text))
	if err != nil || len(roots) != 13 || !bytes.HasPrefix(text, bytes.TrimRight(first, "\n")) {
		t.Fatalf("%d keys, %v", len(roots), err)
	}
	for _, id := range ids {
		if !slices.ContainsFunc(roots, func(r keyring.Root) bool { return r.ID == id }) {
			t.Errorf("%s was lost", id)
		}
	}
	if st, err := os.Lstat(path); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced by a file")
	}
	if st, err := os.Stat(real); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	for _, r := range roots[:12] {
		if err := keyring.RemoveFromFile(path, r.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := keyring.RemoveFromFile(path, roots[12].ID); err == nil {
		t.Error("the last key was removed")
	}
	if after, _ := os.ReadFile(path); !bytes.Contains(after, []byte("\n"+roots[12].ID+" ")) || !bytes.HasPrefix(after, []byte("# ")) {
		t.Error("the file is not as it should be")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}
