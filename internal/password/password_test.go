package password_test

import (
	"context"
	"encoding/hex"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/argon2"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/password"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

const good = "correct horse battery staple"

func newRing(t testing.TB, keys int) *keyring.Ring {
	t.Helper()
	return ringOf(t, roots(t, keys))
}

func roots(t testing.TB, n int) (all []keyring.Root) {
	t.Helper()
	for range n {
		one, err := keyring.Parse(keyring.Generate())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one...)
	}
	return all
}

func ringOf(t testing.TB, roots []keyring.Root) *keyring.Ring {
	t.Helper()
	ring, err := keyring.New(roots)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// people makes two accounts; the second never gets a password.
func people(t testing.TB, db *sqldb.DB) (ada, none, decoy account.ID) {
	t.Helper()
	accounts := &account.Service{DB: db, Ring: newRing(t, 1), Decoys: 16}
	if _, err := accounts.EnsureDecoys(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := db.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
		for name, id := range map[string]*account.ID{"ada@example.org": &ada, "none@example.org": &none} {
			ident, err := account.Parse(name)
			if err != nil {
				return err
			}
			*id, err = accounts.Create(t.Context(), tx, account.New{Identifiers: []account.NewIdentifier{{Identifier: ident, SignsIn: true}}})
			if err != nil {
				return err
			}
		}
		ghost, err := account.Parse("ghost@example.org")
		if err != nil {
			return err
		}
		a, err := accounts.Find(t.Context(), tx, ghost)
		decoy = a.ID
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return ada, none, decoy
}

func load(t testing.TB, db *sqldb.DB, s *password.Service, id account.ID) (stored password.Stored) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
		stored, err = s.Load(t.Context(), tx, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func verify(t testing.TB, db *sqldb.DB, s *password.Service, id account.ID, plain string) password.Verdict {
	t.Helper()
	v, err := s.Verify(t.Context(), load(t, db, s, id), plain)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

type row struct {
	Hash, Key string
	SetAt     int64
}

func stored(t testing.TB, db *sqldb.DB, id account.ID) (r row) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT hash, key_id, set_at FROM password WHERE account_id = $1`, string(id)).
			Scan(&r.Hash, &r.Key, &r.SetAt)
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSetAndVerify(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, func(o *password.Options) { o.DB = db })
		ada, none, decoy := people(t, db)
		if err := s.Set(t.Context(), ada, good, nil); err != nil {
			t.Fatal(err)
		}
		for plain, want := range map[string]bool{
			good: true, good + " ": false, " " + good: false, strings.ToUpper(good): false, good[:len(good)-1]: false, "": false,
			"correct\u00a0horse battery staple": false,
		} {
			if got := verify(t, db, s, ada, plain); got != (password.Verdict{OK: want}) { // exactly as sent
				t.Errorf("Verify(%q) = %+v, want OK %v", plain, got, want)
			}
		}
		for _, id := range []account.ID{none, decoy, "nobody"} {
			if got := verify(t, db, s, id, good); got != (password.Verdict{}) {
				t.Errorf("someone without a password: %+v", got)
			}
		}
		if err := s.Set(t.Context(), ada, "passwordpassword", nil); code(err) != "password_common" {
			t.Errorf("Set = %v", err)
		}
		if err := s.Set(t.Context(), ada, "another horse and its battery", nil); err != nil {
			t.Fatal(err)
		}
		if verify(t, db, s, ada, good).OK || !verify(t, db, s, ada, "another horse and its battery").OK {
			t.Error("the old password was not replaced")
		}
	})
}

// N-3.1.1.2-13: no truncation, at bcrypt's 72 bytes or anywhere.
func TestEveryCharacterCounts(t *testing.T) {
	db := dbtest.SQLite(t)
	s := newService(t, func(o *password.Options) { o.DB = db })
	ada, _, _ := people(t, db)
	long := scramble(1024)
	if err := s.Set(t.Context(), ada, long, nil); err != nil {
		t.Fatal(err)
	}
	if !verify(t, db, s, ada, long).OK || verify(t, db, s, ada, long[:1023]).OK || verify(t, db, s, ada, long[:1023]+"!").OK {
		t.Error("not all of a long password is compared")
	}
	if verify(t, db, s, ada, strings.Repeat("x", 1<<20)).OK {
		t.Error("a megabyte was right")
	}
}

// N-3.1.1.2-14: keyboards differ in how they compose letters.
func TestComposedAndDecomposedLettersAreOnePassword(t *testing.T) {
	db := dbtest.SQLite(t)
	s := newService(t, func(o *password.Options) { o.DB = db })
	ada, _, _ := people(t, db)
	if err := s.Set(t.Context(), ada, "caf\u00e9 au lait, s'il vous pla\u00eet", nil); err != nil {
		t.Fatal(err)
	}
	if !verify(t, db, s, ada, "cafe\u0301 au lait, s'il vous plai\u0302t").OK {
		t.Error("the decomposed form is another password")
	}
	if verify(t, db, s, ada, "cafe au lait, s'il vous plait").OK {
		t.Error("accents do not count")
	}
}

// N-3.1.1.2-26, -28, -29, -30, A-11.4.2: argon2id over the pepper, own salt, cost and key beside it.
func TestStoredFormIsArgon2idOverThePepper(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ring := newRing(t, 1)
		s := newService(t, func(o *password.Options) { o.DB, o.Ring = db, ring })
		ada, eve, _ := people(t, db)
		for _, id := range []account.ID{ada, eve} {
			if err := s.Set(t.Context(), id, good, nil); err != nil {
				t.Fatal(err)
			}
		}
		a, e := stored(t, db, ada), stored(t, db, eve)
		if a.Hash == e.Hash {
			t.Error("two people with one password have one hash")
		}
		peppered, key := ring.Pepper([]byte(good))
		params, salt, tag, err := password.Decode(a.Hash)
		if err != nil || a.Key != key || !strings.HasPrefix(a.Hash, "$argon2id$v=19$m=64,t=1,p=1$") || len(salt) != 16 {
			t.Fatalf("stored %q with key %q: %v", a.Hash, a.Key, err)
		}
		want := argon2.IDKey(peppered, salt, params.Time, params.MemoryKiB, params.Lanes, 32)
		if !cmp.Equal(want, tag) {
			t.Error("the tag is not that of the peppered password")
		}
		if plain := argon2.IDKey([]byte(good), salt, params.Time, params.MemoryKiB, params.Lanes, 32); cmp.Equal(plain, tag) {
			t.Error("the password is not peppered")
		}
	})
}

// The command line tool of the reference implementation made this:
// echo -n password | argon2 somesalt -id -v 13 -t 2 -m 16 -p 1 -l 32 -e
func TestDecodeReadsTheReferenceFormAndNothingElse(t *testing.T) {
	const reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	p, salt, tag, err := password.Decode(reference)
	if err != nil || string(salt) != "somesalt" || p != (password.Params{MemoryKiB: 65536, Time: 2, Lanes: 1}) {
		t.Fatalf("%+v %q %v", p, salt, err)
	}
	if got := argon2.IDKey([]byte("password"), salt, p.Time, p.MemoryKiB, p.Lanes, 32); hex.EncodeToString(got) != hex.EncodeToString(tag) {
		t.Error("the reference tag differs")
	}
	for _, bad := range []string{
		"", "$", "plain", strings.Replace(reference, "id", "i", 1), strings.Replace(reference, "v=19", "v=16", 1),
		strings.Replace(reference, "m=65536", "m=065536", 1), strings.Replace(reference, "m=65536", "m=+65536", 1),
		strings.Replace(reference, "m=65536", "m=99999999", 1), strings.Replace(reference, "t=2", "t=0", 1),
		strings.Replace(reference, "p=1", "p=0", 1), strings.Replace(reference, "p=1", "p=1,x=2", 1), strings.Replace(reference, "p=1", "p=257", 1),
		reference + "=", reference + "$", reference[:len(reference)-40], strings.Replace(reference, "c29tZXNhbHQ", "", 1),
		strings.Replace(reference, "c29tZXNhbHQ", "c29t\nZXNhbHQ", 1),
	} {
		if _, _, _, err := password.Decode(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// P2, A-6.3.8: those without a password get a dummy of the same cost that nothing opens.
func TestDummyIsOfTheSameFormAndCost(t *testing.T) {
	db := dbtest.SQLite(t)
	s := newService(t, func(o *password.Options) { o.DB = db })
	ada, none, decoy := people(t, db)
	if err := s.Set(t.Context(), ada, good, nil); err != nil {
		t.Fatal(err)
	}
	shape := func(id account.ID) password.Shape { return password.ShapeOf(s, load(t, db, s, id)) }
	for _, id := range []account.ID{none, decoy, "nobody"} {
		if diff := cmp.Diff(shape(ada), shape(id)); diff != "" {
			t.Errorf("what is checked for %s differs: %s", id, diff)
		}
	}
	// Two locks: nothing opens the dummy's tag, and what opened it would still not be let in.
	known, err := s.Hash(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	for why, stored := range map[string]password.Stored{
		"without its mark":      password.AsIfReal(load(t, db, s, none)),
		"of a password one has": password.DummyOf(known),
	} {
		if v, err := s.Verify(t.Context(), stored, good); err != nil || v != (password.Verdict{}) {
			t.Errorf("a dummy %s: %+v, %v", why, v, err)
		}
	}
	if err := s.Rehash(t.Context(), load(t, db, s, decoy), good); err == nil {
		t.Error("a dummy was rehashed into a password")
	}
}

// P2: decoys have a password that nothing opens, and whoever has none has a next one to read.
func TestDecoysHavePasswordsThatNothingOpens(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, func(o *password.Options) { o.DB = db })
		_, none, decoy := people(t, db)
		for range 2 { // at each start
			if err := s.EnsureDummies(t.Context(), []account.ID{decoy, account.Last}); err != nil {
				t.Fatal(err)
			}
		}
		rows := func(where string, id account.ID) (n int) {
			t.Helper()
			err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
				return tx.QueryRow(t.Context(), `SELECT count(*) FROM password WHERE account_id `+where, string(id)).Scan(&n)
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if all, after := rows("<> $1", none), rows("> $1", none); all != 2 || after < 1 {
			t.Errorf("%d rows, %d of them after whoever has none; want 2, at least 1", all, after)
		}
		// After the cost has changed, decoys must not be told by the old one.
		dearer := newService(t, func(o *password.Options) { o.DB = db; o.Params.Time = 3 })
		if err := dearer.EnsureDummies(t.Context(), []account.ID{decoy, account.Last}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(password.ShapeOf(dearer, load(t, db, dearer, none)), password.ShapeOf(dearer, load(t, db, dearer, decoy))); diff != "" {
			t.Error("decoys keep the old cost:", diff)
		}
		for _, id := range []account.ID{decoy, account.Last, none} {
			if v, err := dearer.Verify(t.Context(), load(t, db, dearer, id), good); err != nil || v != (password.Verdict{}) {
				t.Errorf("%s: %+v, %v", id, v, err)
			}
		}
	})
}

// P2: once the cost is raised, an old hash must not answer sooner than a dummy. What it does
// less is computed exactly; that it is done shows in the memory that hashing takes.
func TestOlderCheaperHashesWorkAsMuchAsTheDummy(t *testing.T) {
	const mib = 1024
	now := password.Params{MemoryKiB: 32 * mib, Time: 2, Lanes: 1}
	for _, was := range []password.Params{
		{MemoryKiB: 8 * mib, Time: 1, Lanes: 1},
		{MemoryKiB: 19 * mib, Time: 2, Lanes: 1},
		{MemoryKiB: 12 * mib, Time: 5, Lanes: 1},
		{MemoryKiB: 32 * mib, Time: 1, Lanes: 1},
		{MemoryKiB: 64, Time: 1, Lanes: 1},
		now,
	} {
		work := func(p password.Params) float64 { return float64(p.MemoryKiB) * float64(p.Time) }
		rest := password.Missing(now, was)
		if total := work(was) + work(rest); total < 0.99*work(now) || total > 1.01*work(now) || rest.MemoryKiB > now.MemoryKiB {
			t.Errorf("%s is made up for by %s: %.3f of %s", was, rest, total/work(now), now)
		}
	}
	db, ring := dbtest.SQLite(t), newRing(t, 1)
	was := password.Params{MemoryKiB: 8 * mib, Time: 1, Lanes: 1}
	cheap := newService(t, func(o *password.Options) { o.DB, o.Ring, o.Params = db, ring, was })
	s := newService(t, func(o *password.Options) { o.DB, o.Ring, o.Params = db, ring, now })
	ada, none, _ := people(t, db)
	if err := cheap.Set(t.Context(), ada, good, nil); err != nil {
		t.Fatal(err)
	}
	taken := func(id account.ID) uint64 {
		stored := load(t, db, s, id)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := s.Verify(t.Context(), stored, "wrong"); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / 1024 / mib
	}
	if old, dummy := taken(ada), taken(none); old != 8+28 || dummy != 32 {
		t.Errorf("an old hash takes %d MiB, want 8 and 28; the dummy %d, want 32", old, dummy)
	}
}

func TestRehashAfterACostOrKeyChange(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		keys := roots(t, 2)
		before := newService(t, func(o *password.Options) { o.DB, o.Ring = db, ringOf(t, keys[:1]) })
		ada, _, _ := people(t, db)
		if err := before.Set(t.Context(), ada, good, nil); err != nil {
			t.Fatal(err)
		}
		first := stored(t, db, ada)
		clock.Advance(time.Hour)
		dearer := password.Params{MemoryKiB: 128, Time: 2, Lanes: 1}
		rotated := ringOf(t, []keyring.Root{keys[1], keys[0]})
		for _, change := range []struct {
			what  string
			after *password.Service
		}{
			{"cost", newService(t, func(o *password.Options) { o.DB, o.Ring, o.Params = db, ringOf(t, keys[:1]), dearer })},
			{"key", newService(t, func(o *password.Options) { o.DB, o.Ring, o.Params = db, rotated, dearer })},
		} {
			after := change.after
			if got := verify(t, db, after, ada, "wrong horse battery"); got != (password.Verdict{}) {
				t.Errorf("%s: a wrong password is %+v", change.what, got)
			}
			if got := verify(t, db, after, ada, good); got != (password.Verdict{OK: true, Stale: true}) {
				t.Errorf("%s: Verify = %+v, want stale", change.what, got)
			}
			if err := after.Rehash(t.Context(), load(t, db, after, ada), good); err != nil {
				t.Fatal(err)
			}
			if got := verify(t, db, after, ada, good); got != (password.Verdict{OK: true}) {
				t.Errorf("%s: after Rehash Verify = %+v", change.what, got)
			}
			if now := stored(t, db, ada); now.SetAt != first.SetAt || now.Hash == first.Hash || !strings.Contains(now.Hash, dearer.String()) {
				t.Errorf("%s: rehashed %+v from %+v", change.what, now, first)
			}
		}
		if first.Key == stored(t, db, ada).Key {
			t.Error("the pepper's key did not change")
		}
	})
}

func TestRehashDoesNotUndoAPasswordChange(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, func(o *password.Options) { o.DB = db })
		ada, _, _ := people(t, db)
		if err := s.Set(t.Context(), ada, good, nil); err != nil {
			t.Fatal(err)
		}
		verified := load(t, db, s, ada)
		if err := s.Set(t.Context(), ada, "another horse and its battery", nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Rehash(t.Context(), verified, good); err != nil {
			t.Fatal(err)
		}
		if verify(t, db, s, ada, good).OK {
			t.Error("the old password is back")
		}
	})
}

// A hash this server cannot read is a wrong password to the person and a finding for the operator.
func TestUnreadableHashIsWrongAndReported(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ring := newRing(t, 1)
		s := newService(t, func(o *password.Options) { o.DB, o.Ring = db, ring })
		ada, _, _ := people(t, db)
		if err := s.Set(t.Context(), ada, good, nil); err != nil {
			t.Fatal(err)
		}
		otherKey := newService(t, func(o *password.Options) { o.DB = db })
		if got := verify(t, db, otherKey, ada, good); got != (password.Verdict{Unusable: true}) {
			t.Errorf("without its pepper: %+v", got)
		}
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec(t.Context(), `UPDATE password SET hash = 'x' || hash`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := verify(t, db, s, ada, good); got != (password.Verdict{Unusable: true}) {
			t.Errorf("damaged: %+v", got)
		}
		err = db.Write(t.Context(), func(tx *sqldb.Tx) error {
			return s.SetHash(t.Context(), tx, ada, password.Hash{PHC: "$2b$10$abc", KeyID: "x"})
		})
		if err == nil {
			t.Error("SetHash stored what cannot be checked")
		}
	})
}

func TestSetHashStoresAReadyHash(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, func(o *password.Options) { o.DB = db })
		ada, eve, _ := people(t, db)
		h, err := s.Hash(t.Context(), good)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Write(t.Context(), func(tx *sqldb.Tx) error {
			return errors.Join(s.SetHash(t.Context(), tx, ada, h), s.SetHash(t.Context(), tx, eve, h))
		})
		if err != nil {
			t.Fatal(err)
		}
		if !verify(t, db, s, ada, good).OK || !verify(t, db, s, eve, good).OK {
			t.Error("the stored hash does not open")
		}
	})
}

func TestCostBelowTheFloorIsRefused(t *testing.T) {
	db, ring := dbtest.SQLite(t), newRing(t, 1)
	for p, ok := range map[password.Params]bool{
		{MemoryKiB: 19 * 1024, Time: 2, Lanes: 1}: true, {MemoryKiB: 12 * 1024, Time: 3, Lanes: 1}: true, {MemoryKiB: 46 * 1024, Time: 1, Lanes: 1}: true,
		{MemoryKiB: 18 * 1024, Time: 2, Lanes: 1}: false, {MemoryKiB: 11 * 1024, Time: 9, Lanes: 1}: false, {MemoryKiB: 45 * 1024, Time: 1, Lanes: 1}: false,
		{MemoryKiB: 64 * 1024, Time: 2, Lanes: 0}: false, {MemoryKiB: 1 << 31, Time: 2, Lanes: 1}: false,
	} {
		if _, err := password.New(password.Options{DB: db, Ring: ring, Params: p}); (err == nil) != ok {
			t.Errorf("%s: %v", p, err)
		}
	}
	if _, err := password.New(password.Options{DB: db, Ring: ring}); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func TestSuggestMeasuresAndStaysAboveTheFloor(t *testing.T) {
	if got := password.Suggest(time.Millisecond, time.Now); got != password.DefaultParams() {
		t.Errorf("for a millisecond: %s, want the floor", got)
	}
	// A machine that takes 10 ms for the floor.
	at := time.Unix(0, 0)
	clock := func() time.Time { at = at.Add(10 * time.Millisecond); return at }
	for target, want := range map[time.Duration]password.Params{
		5 * time.Millisecond:   {MemoryKiB: 19 * 1024, Time: 2, Lanes: 1},
		20 * time.Millisecond:  {MemoryKiB: 38 * 1024, Time: 2, Lanes: 1},
		100 * time.Millisecond: {MemoryKiB: 64 * 1024, Time: 5, Lanes: 1},
	} {
		if got := password.Suggest(target, clock); got != want || got.Weak() {
			t.Errorf("for %v: %s, want %s", target, got, want)
		}
	}
}

// P10: whatever comes, so many hash at a time and memory stays where that puts it.
func TestMemoryStaysFlatUnderAFlood(t *testing.T) {
	if testing.Short() {
		t.Skip("hashes at full cost")
	}
	db := dbtest.SQLite(t)
	s := newService(t, func(o *password.Options) {
		o.DB, o.Params, o.Parallel, o.MaxWait = db, password.DefaultParams(), 2, 500*time.Millisecond
	})
	dummy := load(t, db, s, "nobody")
	var mu sync.Mutex
	busy, peak := 0, uint64(0)
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			_, err := s.Verify(context.WithoutCancel(t.Context()), dummy, good)
			var m runtime.MemStats
			mu.Lock()
			defer mu.Unlock()
			if runtime.ReadMemStats(&m); m.HeapAlloc > peak {
				peak = m.HeapAlloc
			}
			if f := fault.Of(err); err != nil && f.Code == "busy" && f.Kind == fault.Unavailable && f.RetryAfter >= time.Second {
				busy++
			} else if err != nil {
				t.Errorf("Verify: %v", err)
			}
		})
	}
	wg.Wait()
	got := s.Admission()
	if busy < 900 || uint64(busy) != got.Refused || got.Running != 0 || got.Waiting != 0 {
		t.Errorf("%d of 1000 were refused; after it %+v", busy, got)
	}
	const mib = 1 << 20
	if peak > 150*mib {
		t.Errorf("the heap reached %d MiB", peak/mib)
	}
}
