package account_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

func newRing(t testing.TB) *keyring.Ring {
	t.Helper()
	roots, err := keyring.Parse(keyring.Generate())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.New(roots)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// few decoys are enough here; only the time that looking at them takes needs many.
const few = 16

func newService(t testing.TB, db *sqldb.DB) *account.Service {
	t.Helper()
	s := &account.Service{DB: db, Ring: newRing(t), Decoys: few}
	if _, err := s.EnsureDecoys(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func parse(t testing.TB, s string) account.Identifier {
	t.Helper()
	ident, err := account.Parse(s)
	if err != nil {
		t.Fatalf("Parse(%q): %v", s, err)
	}
	return ident
}

func signsIn(t testing.TB, s string) account.NewIdentifier {
	t.Helper()
	ident := parse(t, s)
	able := ident.Kind() != account.Username
	return account.NewIdentifier{Identifier: ident, SignsIn: true, Verified: able, Notices: able, Recovers: able}
}

// in runs f in a transaction and returns what it returned.
func in[T any](ctx context.Context, db *sqldb.DB, f func(*sqldb.Tx) (T, error)) (out T, err error) {
	err = db.Write(ctx, func(tx *sqldb.Tx) (err error) {
		out, err = f(tx)
		return err
	})
	return out, err
}

func create(t testing.TB, s *account.Service, names ...string) account.ID {
	t.Helper()
	n := account.New{Language: "nb"}
	for _, name := range names {
		n.Identifiers = append(n.Identifiers, signsIn(t, name))
	}
	id, err := in(t.Context(), s.DB, func(tx *sqldb.Tx) (account.ID, error) { return s.Create(t.Context(), tx, n) })
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func find(t testing.TB, s *account.Service, name string) account.Account {
	t.Helper()
	a, err := in(t.Context(), s.DB, func(tx *sqldb.Tx) (account.Account, error) { return s.Find(t.Context(), tx, parse(t, name)) })
	if err != nil {
		t.Fatalf("Find(%q): %v", name, err)
	}
	return a
}

func addresses(t testing.TB, s *account.Service, id account.ID) []account.Address {
	t.Helper()
	all, err := in(t.Context(), s.DB, func(tx *sqldb.Tx) ([]account.Address, error) { return s.Addresses(t.Context(), tx, id) })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

func TestFindFindsByEverySignInIdentifier(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, db)
		id := create(t, s, "Ada@Example.org", "+47 41 23 45 67", "ada")
		other := create(t, s, "eve@example.org")
		for _, typed := range []string{"ada@example.org", " ADA@EXAMPLE.ORG", "+4741234567", "Ada"} {
			want := account.Account{ID: id, State: account.Active, Language: "nb", CreatedAt: db.Now()}
			if diff := cmp.Diff(want, find(t, s, typed)); diff != "" {
				t.Errorf("Find(%q): %s", typed, diff)
			}
		}
		if got := find(t, s, "eve@example.org"); got.ID != other {
			t.Errorf("Find(eve) = %s, want %s", got.ID, other)
		}
	})
}

// C-AU-12: whoever does not exist is stood in for, always by the same decoy.
func TestFindStandsInForNobody(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, db)
		create(t, s, "ada@example.org")
		chosen, shapes := map[account.ID]bool{}, map[string]bool{}
		for i := range 60 {
			name := []string{fmt.Sprintf("ghost%d@example.org", i), fmt.Sprintf("ghost%d", i), fmt.Sprintf("+479999%04d", i)}[i%3]
			first, second := find(t, s, name), find(t, s, strings.ToUpper(name))
			if first != second || first.State != account.Decoy {
				t.Fatalf("Find(%q) = %+v, then %+v; want one decoy", name, first, second)
			}
			chosen[first.ID] = true
			var kinds []string
			for _, a := range addresses(t, s, first.ID) {
				if a.Verified {
					kinds = append(kinds, string(a.Kind))
				}
				if a.Kind == account.Email && !strings.HasSuffix(a.Normal, "@decoy.invalid") || a.Kind == account.Phone && !strings.HasPrefix(a.Normal, "+120255501") {
					t.Fatalf("a decoy's %s could be delivered to", a.Kind)
				}
				if a.Verified != a.Notices {
					t.Fatal("a decoy's verified address cannot be sent to, which a real one can")
				}
			}
			shapes[strings.Join(kinds, ",")] = true
		}
		if len(chosen) < 4 {
			t.Errorf("60 unknown names share %d decoys", len(chosen))
		}
		if want := map[string]bool{"email": true, "email,phone": true, "phone": true}; !cmp.Equal(want, shapes) {
			t.Errorf("decoys have the addresses %v, want %v", shapes, want)
		}
		for _, name := range []string{"ghost", "+4799999999"} {
			if got := find(t, s, name); got.State != account.Decoy {
				t.Errorf("Find(%q) is %s", name, got.State)
			}
		}
	})
}

// Another ring gives other decoys: nobody without the key can tell who shares one.
func TestDecoysAreKeyed(t *testing.T) {
	a, b := newService(t, dbtest.SQLite(t)), newService(t, dbtest.SQLite(t))
	if first, second := find(t, a, "ghost@example.org"), find(t, b, "ghost@example.org"); first.ID == second.ID {
		t.Error("two rings chose one decoy")
	}
}

// P2: the statements and their arguments' number are the same for a hit and a miss, and each
// is answered from the table that is its own index.
func TestFindWorksAlikeForHitAndMiss(t *testing.T) {
	db := dbtest.SQLite(t)
	s := newService(t, db)
	create(t, s, "ada@example.org")
	plan, err := in(t.Context(), db, func(tx *sqldb.Tx) (plan string, err error) {
		err = tx.Each(t.Context(), `EXPLAIN QUERY PLAN SELECT l.lookup, a.id FROM account_lookup l JOIN account a ON a.id = l.account_id
			WHERE l.lookup IN ($1, $2)`, func(scan func(...any) error) error {
			var id, parent, unused int
			var detail string
			err := scan(&id, &parent, &unused, &detail)
			plan += detail + "\n"
			return err
		}, []byte("a"), []byte("b"))
		return plan, err
	})
	if err != nil || !strings.Contains(plan, "SEARCH l USING PRIMARY KEY (lookup=?)") || strings.Contains(plan, "SCAN") {
		t.Errorf("plan: %v\n%s", err, plan)
	}
	// The decoy is fetched and needed on a hit as well: without it a hit fails like a miss.
	bare := &account.Service{DB: dbtest.SQLite(t), Ring: newRing(t), Decoys: few}
	create(t, bare, "ada@example.org")
	for _, name := range []string{"ada@example.org", "ghost@example.org"} {
		err := bare.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
			_, err := bare.Find(t.Context(), tx, parse(t, name))
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "EnsureDecoys") {
			t.Errorf("Find(%q) without decoys: %v", name, err)
		}
	}
}

func TestEnsureDecoysAgainAndByManyNodes(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, clock, ring := dbtest.NewURL(t, engine), dbtest.NewClock(), newRing(t)
			var wg sync.WaitGroup
			errs := make([]error, 4)
			for n := range errs {
				s := &account.Service{DB: dbtest.Open(t, url, clock), Ring: ring, Decoys: few}
				wg.Go(func() {
					once, err := s.EnsureDecoys(t.Context())
					again, errAgain := s.EnsureDecoys(t.Context())
					if len(once) != few+1 || once[few] != account.Last || !slices.Equal(once, again) {
						t.Errorf("the ids are %v, then %v", once, again)
					}
					errs[n] = errors.Join(err, errAgain)
				})
			}
			wg.Wait()
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			db := dbtest.Open(t, url, clock)
			rows, err := in(t.Context(), db, func(tx *sqldb.Tx) (n [2]int, err error) {
				err = tx.QueryRow(t.Context(), `SELECT (SELECT COUNT(*) FROM account), (SELECT COUNT(*) FROM account_identifier)`).Scan(&n[0], &n[1])
				return n, err
			})
			if want := [2]int{17, 27}; err != nil || rows != want {
				t.Errorf("accounts and identifiers = %v, %v; want %v", rows, err, want)
			}
		})
	}
}

func TestCreateRefusesATakenIdentifier(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, db)
		ada := create(t, s, "ada@example.org", "+4741234567")
		taken := account.New{Identifiers: []account.NewIdentifier{signsIn(t, "eve@example.org"), signsIn(t, "+47 41234567")}}
		_, err := in(t.Context(), db, func(tx *sqldb.Tx) (account.ID, error) { return s.Create(t.Context(), tx, taken) })
		if f := fault.Of(err); err == nil || f.Kind != fault.Conflict || f.Code != "identifier_taken" {
			t.Fatalf("Create = %v, want identifier_taken", err)
		}
		if got := find(t, s, "eve@example.org"); got.State != account.Decoy {
			t.Error("a refused account left an identifier behind")
		}
		if got := find(t, s, "+4741234567"); got.ID != ada {
			t.Error("the number changed hands")
		}
		// A number that only gets notices may be shared: a family has one.
		shared := account.New{Identifiers: []account.NewIdentifier{
			signsIn(t, "bob@example.org"), {Identifier: parse(t, "+4741234567"), Verified: true, Notices: true},
		}}
		bob, err := in(t.Context(), db, func(tx *sqldb.Tx) (account.ID, error) { return s.Create(t.Context(), tx, shared) })
		if err != nil {
			t.Fatal(err)
		}
		want := []account.Address{
			{Kind: account.Email, Normal: "bob@example.org", Verified: true, SignsIn: true, Notices: true, Recovers: true},
			{Kind: account.Phone, Normal: "+4741234567", Verified: true, Notices: true},
		}
		got := addresses(t, s, bob)
		for i := range got {
			got[i].ID, got[i].AddedAt = "", time.Time{}
		}
		if !cmp.Equal(want, got) {
			t.Errorf("addresses differ from what was created: %d of them", len(got))
		}
		if got := find(t, s, "+4741234567"); got.ID != ada {
			t.Error("a number for notices signs in")
		}
	})
}

func TestOfManyCreatingOneIdentifierOneWins(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, db)
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for n := range errs {
			wg.Go(func() {
				_, errs[n] = in(t.Context(), db, func(tx *sqldb.Tx) (account.ID, error) {
					return s.Create(t.Context(), tx, account.New{Identifiers: []account.NewIdentifier{signsIn(t, "ada@example.org")}})
				})
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if code(err) != "identifier_taken" {
				t.Errorf("Create: %v", err)
			}
		}
		if won != 1 {
			t.Errorf("%d accounts were created", won)
		}
	})
}

func TestCreateRefusesUsesThatMakeNoSense(t *testing.T) {
	s := newService(t, dbtest.SQLite(t))
	ada := parse(t, "ada@example.org")
	for why, n := range map[string][]account.NewIdentifier{
		"none":                      nil,
		"none that signs in":        {{Identifier: ada, Verified: true, Notices: true}},
		"the zero identifier":       {{SignsIn: true}},
		"one twice":                 {{Identifier: ada, SignsIn: true}, {Identifier: ada, Notices: true}},
		"letters to a username":     {{Identifier: parse(t, "ada"), SignsIn: true, Notices: true}},
		"recovery by an unverified": {{Identifier: ada, SignsIn: true, Recovers: true}},
	} {
		_, err := in(t.Context(), s.DB, func(tx *sqldb.Tx) (account.ID, error) {
			return s.Create(t.Context(), tx, account.New{Identifiers: n})
		})
		if code(err) != "identifier_uses_invalid" {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// P4: the file has no contact data, in no encoding of it that grep finds.
func TestDatabaseHasNoContactData(t *testing.T) {
	db := dbtest.SQLite(t)
	s := newService(t, db)
	create(t, s, "ada.lovelace@example.org", "+4741234567", "adalovelace")
	err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.Each(t.Context(), `SELECT i.id, i.account_id, i.kind, l.lookup, i.sealed FROM account_identifier i LEFT JOIN account_lookup l ON l.account_id = i.account_id`, func(scan func(...any) error) error {
			var id, owner, kind string
			var lookup, sealed []byte
			if err := scan(&id, &owner, &kind, &lookup, &sealed); err != nil {
				return err
			}
			for _, column := range [][]byte{[]byte(id), []byte(owner), []byte(kind), lookup, sealed} {
				for _, part := range []string{"lovelace", "example", "41234567", "decoy"} {
					if bytes.Contains(column, []byte(part)) {
						t.Errorf("a row has %q in the clear", part)
					}
				}
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A sealed address moved to another row does not open there.
func TestSealedAddressBelongsToItsRow(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, db)
		ada, eve := create(t, s, "ada@example.org"), create(t, s, "eve@example.org")
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec(t.Context(), `UPDATE account_identifier SET sealed = (SELECT sealed FROM account_identifier WHERE account_id = $1)
				WHERE account_id = $2`, string(ada), string(eve))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = db.Read(t.Context(), func(tx *sqldb.Tx) error {
			_, err := s.Addresses(t.Context(), tx, eve)
			return err
		})
		if !errors.Is(err, keyring.ErrSealed) {
			t.Errorf("Addresses = %v, want ErrSealed", err)
		}
	})
}

func TestOperatorsAreToldThatThereIsNobody(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, db)
		ada := create(t, s, "ada@example.org")
		by := func(name string) (account.Account, error) {
			return in(t.Context(), db, func(tx *sqldb.Tx) (account.Account, error) {
				return s.ByIdentifier(t.Context(), tx, parse(t, name))
			})
		}
		if got, err := by("ada@example.org"); err != nil || got.ID != ada {
			t.Errorf("ByIdentifier(ada) = %s, %v", got.ID, err)
		}
		decoy := addresses(t, s, find(t, s, "ghost@example.org").ID)[0].Normal
		for _, name := range []string{"ghost@example.org", "ada", decoy} {
			if _, err := by(name); code(err) != "account_unknown" || fault.Of(err).Kind != fault.NotFound {
				t.Errorf("ByIdentifier: %v, want account_unknown", err)
			}
		}
		// A flow holds a decoy's id and reads it like any other.
		for _, id := range []account.ID{ada, find(t, s, "ghost@example.org").ID} {
			got, err := in(t.Context(), db, func(tx *sqldb.Tx) (account.Account, error) { return s.Get(t.Context(), tx, id) })
			if err != nil || got.ID != id {
				t.Errorf("Get = %s, %v; want %s", got.ID, err, id)
			}
		}
		_, err := in(t.Context(), db, func(tx *sqldb.Tx) (account.Account, error) { return s.Get(t.Context(), tx, "nobody") })
		if code(err) != "account_unknown" {
			t.Errorf("Get(nobody): %v", err)
		}
	})
}

func TestClosingIsFinalAndFreesNothing(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		s := newService(t, db)
		ada := create(t, s, "ada@example.org")
		move := func(f func(context.Context, *sqldb.Tx, account.ID) error, id account.ID) string {
			return code(db.Write(t.Context(), func(tx *sqldb.Tx) error { return f(t.Context(), tx, id) }))
		}
		for _, step := range []struct {
			name string
			do   func(context.Context, *sqldb.Tx, account.ID) error
			want account.State
			code string
		}{
			{"lock", s.Lock, account.Locked, ""},
			{"lock again", s.Lock, account.Locked, ""},
			{"unlock", s.Unlock, account.Active, ""},
			{"unlock again", s.Unlock, account.Active, ""},
			{"lock", s.Lock, account.Locked, ""},
			{"close", s.Close, account.Closed, ""},
			{"close again", s.Close, account.Closed, ""},
			{"unlock the closed", s.Unlock, account.Closed, "account_closed"},
			{"lock the closed", s.Lock, account.Closed, "account_closed"},
		} {
			clock.Advance(time.Minute)
			if got := move(step.do, ada); got != step.code {
				t.Errorf("%s: %q, want %q", step.name, got, step.code)
			}
			if got := find(t, s, "ada@example.org"); got.ID != ada || got.State != step.want {
				t.Errorf("after %s Find = %s %s", step.name, got.ID, got.State)
			}
		}
		_, err := in(t.Context(), db, func(tx *sqldb.Tx) (account.ID, error) {
			return s.Create(t.Context(), tx, account.New{Identifiers: []account.NewIdentifier{signsIn(t, "ada@example.org")}})
		})
		if code(err) != "identifier_taken" {
			t.Errorf("the address of a closed account was given away: %v", err)
		}
		for _, id := range []account.ID{find(t, s, "ghost@example.org").ID, "nobody"} {
			for _, f := range []func(context.Context, *sqldb.Tx, account.ID) error{s.Lock, s.Unlock, s.Close} {
				if got := move(f, id); got != "account_unknown" {
					t.Errorf("moving a decoy or nobody: %q", got)
				}
			}
		}
		if got := find(t, s, "ghost@example.org"); got.State != account.Decoy {
			t.Errorf("a decoy became %s", got.State)
		}
	})
}

func TestCountLeavesDecoysOut(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, db)
		create(t, s, "ada@example.org")
		eve := create(t, s, "eve@example.org")
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return s.Lock(t.Context(), tx, eve) }); err != nil {
			t.Fatal(err)
		}
		got, err := in(t.Context(), db, func(tx *sqldb.Tx) (map[account.State]int64, error) { return s.Count(t.Context(), tx) })
		want := map[account.State]int64{account.Active: 1, account.Locked: 1, account.Closed: 0}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	})
}

// P2: what a decoy can be reached by fits the kind of name that was typed, mostly: an account
// found by a phone number nearly always has a phone.
func TestDecoysFitTheNameTyped(t *testing.T) {
	s := newService(t, dbtest.SQLite(t))
	for format, unusual := range map[string]string{"ghost%d@example.org": "phone", "+479999%04d": "email", "ghost%d": ""} {
		seen := map[string]int{}
		for i := range 400 {
			var kinds []string
			for _, a := range addresses(t, s, find(t, s, fmt.Sprintf(format, i)).ID) {
				if a.Verified {
					kinds = append(kinds, string(a.Kind))
				}
			}
			seen[strings.Join(kinds, ",")]++
		}
		for kinds, n := range seen {
			if share := float64(n) / 400; kinds == unusual && share > 0.25 || kinds != unusual && share < 0.15 {
				t.Errorf("%s: %.0f %% of the decoys have %s", format, 100*share, kinds)
			}
		}
		if len(seen) != 3 {
			t.Errorf("%s: %v: a shape that no unknown name has is an account's", format, seen)
		}
	}
}
