package backup_test

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/backup"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// drawer is where codes are kept.
type drawer struct {
	*backup.Service

	t        *testing.T
	db       *sqldb.DB
	clock    *dbtest.Clock
	ada, bob account.ID
}

func each(t *testing.T, f func(t *testing.T, d drawer)) {
	t.Helper()
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		m := testkit.NewMachine(t, db, testkit.Ring(t))
		f(t, drawer{m.BackupCodes, t, db, clock, m.Bare("ada@example.org"), m.Bare("bob@example.org")})
	})
}

func (d drawer) write(f func(ctx context.Context, tx *sqldb.Tx) error) {
	d.t.Helper()
	if err := d.db.Write(d.t.Context(), func(tx *sqldb.Tx) error { return f(d.t.Context(), tx) }); err != nil {
		d.t.Error(err)
	}
}

func (d drawer) reissue(who account.ID) (codes []secret.Token) {
	d.t.Helper()
	d.write(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		codes, err = d.Reissue(ctx, tx, who)
		return err
	})
	return codes
}

func (d drawer) spend(who account.ID, typed string) (left int, right bool) {
	d.t.Helper()
	d.write(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		left, right, err = d.Spend(ctx, tx, who, secret.Of(typed))
		return err
	})
	return left, right
}

func (d drawer) left(who account.ID) (n int, made time.Time) {
	d.t.Helper()
	d.write(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		n, made, err = d.Left(ctx, tx, who)
		return err
	})
	return n, made
}

// N-3.1.2.1-03: ten of 120 bits each, no two alike.
func TestTenCodesToPrint(t *testing.T) {
	each(t, func(t *testing.T, d drawer) {
		if n, made := d.left(d.ada); n != 0 || !made.IsZero() {
			t.Errorf("%d of none left, made %s", n, made)
		}
		seen := map[string]bool{}
		for range 20 {
			codes := d.reissue(d.ada)
			if len(codes) != backup.Codes {
				t.Fatalf("%d codes", len(codes))
			}
			for _, c := range codes {
				if !regexp.MustCompile(`^([0-9A-HJKMNP-TV-Z]{4}-){5}[0-9A-HJKMNP-TV-Z]{4}$`).MatchString(c.Reveal()) || seen[c.Reveal()] {
					t.Fatal("a code of another form, or the same as another")
				}
				seen[c.Reveal()] = true
			}
		}
		if n, made := d.left(d.ada); n != backup.Codes || !made.Equal(d.db.Now()) {
			t.Errorf("%d left, made %s", n, made)
		}
	})
}

// N-3.1.2.2-02: each works once, in any order, for its account alone.
func TestACodeWorksOnce(t *testing.T) {
	each(t, func(t *testing.T, d drawer) {
		codes := d.reissue(d.ada)
		d.reissue(d.bob)
		for i, n := range []int{7, 0, 9, 1, 2, 3, 4, 5, 6, 8} {
			if _, right := d.spend(d.bob, codes[n].Reveal()); right {
				t.Error("Bob has Ada's code")
			}
			if left, right := d.spend(d.ada, codes[n].Reveal()); !right || left != 9-i {
				t.Errorf("code %d: %t, %d left", n, right, left)
			}
			if left, right := d.spend(d.ada, codes[n].Reveal()); right || left != 0 {
				t.Error("spent twice")
			}
		}
		for _, who := range []account.ID{d.ada, account.Last, "nobody"} {
			for _, typed := range []string{"", "-", "0", "00000000", strings.Repeat("0", 24)} {
				if _, right := d.spend(who, typed); right {
					t.Errorf("%q is right", typed)
				}
			}
		}
	})
}

// People type what they see: small letters, other hyphens or none, O for 0, l for 1.
func TestCodesAreReadAsTheyWereMeant(t *testing.T) {
	each(t, func(t *testing.T, d drawer) {
		for _, as := range []func(string) string{
			strings.ToLower,
			func(s string) string { return strings.ReplaceAll(s, "-", "") },
			func(s string) string { return " " + strings.ReplaceAll(s, "-", " – ") + "\n" },
			func(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "0", "o"), "1", "l") },
			func(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "0", "O"), "1", "I") },
		} {
			for i, c := range d.reissue(d.ada) {
				if _, right := d.spend(d.ada, as(c.Reveal())); !right {
					t.Errorf("code %d was not understood", i)
				}
			}
		}
	})
}

func TestANewListVoidsTheOld(t *testing.T) {
	each(t, func(t *testing.T, d drawer) {
		old := d.reissue(d.ada)
		d.spend(d.ada, old[0].Reveal())
		codes := d.reissue(d.ada)
		for _, c := range old {
			if _, right := d.spend(d.ada, c.Reveal()); right {
				t.Error("a code of the old list is right")
			}
		}
		if left, right := d.spend(d.ada, codes[0].Reveal()); !right || left != 9 {
			t.Errorf("%t, %d left of the new list", right, left)
		}
	})
}

// Of two lists made at once, one is good, whole, and the other is not at all.
func TestOfListsMadeAtOnceOneHolds(t *testing.T) {
	each(t, func(t *testing.T, d drawer) {
		lists := make([][]secret.Token, 8)
		var wg sync.WaitGroup
		for i := range lists {
			wg.Go(func() { lists[i] = d.reissue(d.ada) })
		}
		wg.Wait()
		if n, _ := d.left(d.ada); n != backup.Codes {
			t.Errorf("%d left", n)
		}
		whole := 0
		for _, codes := range lists {
			good := 0
			for _, c := range codes {
				if _, right := d.spend(d.ada, c.Reveal()); right {
					good++
				}
			}
			if good == backup.Codes {
				whole++
			} else if good > 0 {
				t.Errorf("%d codes of a list are good", good)
			}
		}
		if whole != 1 {
			t.Errorf("%d lists are good", whole)
		}
	})
}

// P6, A-2.3.4: of a thousand at once, one.
func TestOfAThousandAtOnceOneIsRight(t *testing.T) {
	each(t, func(t *testing.T, d drawer) {
		code := d.reissue(d.ada)[3].Reveal()
		var right atomic.Int64
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if _, ok := d.spend(d.ada, code); ok {
					right.Add(1)
				}
			})
		}
		wg.Wait()
		if n, _ := d.left(d.ada); right.Load() != 1 || n != backup.Codes-1 {
			t.Errorf("%d right and %d left, want 1 and 9", right.Load(), n)
		}
	})
}

// "This wasn't me" voids a list that somebody else may have; an erasure any.
func TestAListEnds(t *testing.T) {
	each(t, func(t *testing.T, d drawer) {
		codes := d.reissue(d.ada)
		d.clock.Advance(time.Hour)
		for _, want := range []bool{false, true} {
			since := map[bool]time.Duration{false: -time.Minute, true: -2 * time.Hour}[want]
			d.write(func(ctx context.Context, tx *sqldb.Tx) error {
				ended, err := d.EndSince(ctx, tx, d.ada, d.db.Now().Add(since))
				if ended != want {
					t.Errorf("since %s: ended %t", since, ended)
				}
				return err
			})
			if !want {
				if _, right := d.spend(d.ada, codes[0].Reveal()); !right {
					t.Error("the owner's own list ended")
				}
			}
		}
		if _, right := d.spend(d.ada, codes[1].Reveal()); right {
			t.Error("a list that ended is good")
		}
		codes = d.reissue(d.ada)
		d.write(func(ctx context.Context, tx *sqldb.Tx) error { return d.Erase(ctx, tx, d.ada) })
		if _, right := d.spend(d.ada, codes[0].Reveal()); right {
			t.Error("something is left after an erasure")
		}
	})
}

// P4, N-3.1.2.2-03: whoever has the database has no code, and cannot try any without the keys.
func TestAStolenDatabaseHasNoCode(t *testing.T) {
	each(t, func(t *testing.T, d drawer) {
		codes := d.reissue(d.ada)
		var all bytes.Buffer
		d.write(func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.Each(ctx, `SELECT account_id, digest FROM backup_code`, func(scan func(...any) error) error {
				var who, digest []byte
				err := scan(&who, &digest)
				all.Write(append(who, digest...))
				return err
			})
		})
		if all.Len() < 10*(36+32) {
			t.Fatalf("%d bytes were looked at", all.Len())
		}
		for _, c := range codes {
			for _, form := range []string{c.Reveal(), strings.ReplaceAll(c.Reveal(), "-", ""), c.Reveal()[:9]} {
				if bytes.Contains(all.Bytes(), []byte(form)) {
					t.Error("a code is in the database")
				}
			}
		}
		elsewhere := drawer{&backup.Service{Ring: testkit.Ring(t)}, t, d.db, d.clock, d.ada, d.bob}
		if _, right := elsewhere.spend(d.ada, codes[0].Reveal()); right {
			t.Error("a digest does not depend on the key")
		}
	})
}

// A list lies in a drawer for years: it outlives the key.
func TestCodesOutliveKeys(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		keys := testkit.NewKeys(t, db, "")
		m := testkit.NewMachine(t, db, keys.Ring)
		d := drawer{m.BackupCodes, t, db, clock, m.Bare("ada@example.org"), ""}
		codes := d.reissue(d.ada)
		old := keys.Change()
		if _, right := d.spend(d.ada, codes[0].Reveal()); !right {
			t.Error("refused while the new key comes")
		}
		keys.Renew(nil)
		keys.Drop(old)
		if _, right := d.spend(d.ada, codes[1].Reveal()); !right {
			t.Error("lost with the old key")
		}
	})
}
