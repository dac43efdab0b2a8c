package transfer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/transfer"
)

// recorded returns how many accounts each event in the record is of, one event a transaction.
func recorded(t *testing.T, db *sqldb.DB) (sizes []int) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.Each(t.Context(), `SELECT kind, actor, detail FROM audit_event ORDER BY id`, func(scan func(...any) error) error {
			var kind, actor, detail string
			if err := scan(&kind, &actor, &detail); err != nil {
				return err
			}
			n := 0
			if _, err := fmt.Sscanf(detail, `{"import":"accounts","number":"%d"}`, &n); err != nil || kind != "user_created" || actor != "operator" {
				t.Errorf("%s %s %s", kind, actor, detail)
			}
			sizes = append(sizes, n)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return sizes
}

func sum(of []int) (n int) {
	for _, v := range of {
		n += v
	}
	return n
}

func TestImportIsRecorded(t *testing.T) {
	s := newService(t, dbtest.SQLite(t))
	bring(t, s, people(40), nil)
	if got := recorded(t, s.DB); sum(got) != 40 {
		t.Errorf("%d", got)
	}
}

func handle(t *testing.T, url string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), sqldb.Options{URL: url, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Alone an import writes much at once. Beside others it does not, and lets them in.
func TestAnImportMakesWayForOthers(t *testing.T) {
	const n, usual = 8000, 500
	larger := func(sizes []int) (count int) {
		for _, size := range sizes {
			if size > usual {
				count++
			}
		}
		return count
	}
	for _, others := range []bool{false, true} {
		url := dbtest.NewURL(t, sqldb.SQLite)
		mine, theirs := handle(t, url), handle(t, url)
		s := newService(t, mine)
		over, written := make(chan struct{}), make(chan int)
		go func() {
			k := 0
			defer func() { written <- k }()
			for others {
				select {
				case <-over:
					return
				case <-time.After(time.Millisecond):
				}
				err := theirs.Write(t.Context(), func(tx *sqldb.Tx) error {
					_, err := tx.Exec(t.Context(), `UPDATE account SET changed_at = changed_at + 1 WHERE state = 'decoy'`)
					return err
				})
				if err != nil {
					t.Errorf("beside an import: %v", err)
				}
				k++
			}
		}()
		got, err := s.Import(t.Context(), strings.NewReader(people(n)), transfer.Options{Format: transfer.Lines, Workers: 2})
		close(over)
		k, sizes := <-written, recorded(t, mine)
		if err != nil || got.Imported != n || sum(sizes) != n {
			t.Errorf("%+v, %v, recorded %d", got, err, sizes)
		}
		if !others && larger(sizes) == 0 {
			t.Errorf("alone, and yet little at once: %d", sizes)
		}
		if others && (larger(sizes) > 2 || k < len(sizes)/2) {
			t.Errorf("the others wrote %d times meanwhile; the import %d", k, sizes)
		}
	}
}
