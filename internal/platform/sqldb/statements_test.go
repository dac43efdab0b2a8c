package sqldb_test

import (
	"context"
	"fmt"
	"testing"

	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// A parsed statement is used again; these are the ways in which what was before could show.
func TestAStatementThatIsUsedAgainRemembersNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		put := func(id string) error {
			return db.Write(ctx, func(tx *sqldb.Tx) error {
				_, err := tx.Exec(ctx, `INSERT INTO account (id, state, language, created_at, changed_at) VALUES ($1, 'active', 'en', 0, 0)`, id)
				return err
			})
		}
		t.Run("after a failure", func(t *testing.T) {
			for _, id := range []string{"a", "b"} {
				if err := put(id); err != nil {
					t.Fatal(err)
				}
				if put(id) == nil {
					t.Fatal("the same row twice")
				}
			}
		})
		all := func(tx *sqldb.Tx, from string, each func(string) error) error {
			return tx.Each(ctx, `SELECT id FROM account WHERE id >= $1 AND id <= 'b' ORDER BY id`, func(scan func(...any) error) error {
				var id string
				if err := scan(&id); err != nil {
					return err
				}
				return each(id)
			}, from)
		}
		t.Run("within its own rows", func(t *testing.T) {
			if db.Engine() == sqldb.Postgres {
				t.Skip("its connections run one query at a time")
			}
			var seen string
			err := db.Read(ctx, func(tx *sqldb.Tx) error {
				return all(tx, "a", func(outer string) error {
					return all(tx, outer, func(inner string) error {
						seen += outer + inner + " "
						return nil
					})
				})
			})
			if err != nil || seen != "aa ab bb " {
				t.Errorf("%q, %v", seen, err)
			}
		})
		t.Run("when its rows were not all read", func(t *testing.T) {
			for range 3 {
				var id string
				err := db.Read(ctx, func(tx *sqldb.Tx) error {
					return tx.QueryRow(ctx, `SELECT id FROM account WHERE id IN ('a', 'b') ORDER BY id`).Scan(&id)
				})
				if err != nil || id != "a" {
					t.Fatalf("%q, %v", id, err)
				}
			}
		})
		t.Run("after its caller went away", func(t *testing.T) {
			gone, leave := context.WithCancel(ctx)
			leave()
			_ = db.Read(gone, func(tx *sqldb.Tx) error { return all(tx, "a", func(string) error { return nil }) })
			n := 0
			err := db.Read(ctx, func(tx *sqldb.Tx) error { return all(tx, "a", func(string) error { n++; return nil }) })
			if err != nil || n != 2 {
				t.Errorf("%d rows, %v", n, err)
			}
		})
		t.Run("when the schema has changed", func(t *testing.T) {
			columns := func() (n int) {
				err := db.Read(ctx, func(tx *sqldb.Tx) error {
					return tx.QueryRow(ctx, `SELECT COUNT(*) FROM (SELECT * FROM account WHERE id = 'a') AS x`).Scan(&n)
				})
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			before := columns()
			err := db.Write(ctx, func(tx *sqldb.Tx) error {
				_, err := tx.Exec(ctx, `ALTER TABLE account ADD COLUMN extra TEXT`)
				return err
			})
			if err != nil || columns() != before {
				t.Errorf("%v", err)
			}
		})
		t.Run("when there are very many", func(t *testing.T) {
			for i := range 500 {
				var got int
				err := db.Read(ctx, func(tx *sqldb.Tx) error { return tx.QueryRow(ctx, fmt.Sprintf("SELECT %d", i)).Scan(&got) })
				if err != nil || got != i {
					t.Fatalf("%d: %d, %v", i, got, err)
				}
			}
		})
	})
}

func TestPlaceholdersLoseTheirNamesOnlyWhereThatChangesNothing(t *testing.T) {
	for text, want := range map[string]string{
		`SELECT 1`: `SELECT 1`,
		`INSERT INTO t VALUES ($1, $2), ($3, $4)`:  `INSERT INTO t VALUES (?, ?), (?, ?)`,
		`SELECT 1 WHERE a = $1 AND b = $1`:         `SELECT 1 WHERE a = $1 AND b = $1`,
		`UPDATE t SET a = $2 WHERE b = $1`:         `UPDATE t SET a = $2 WHERE b = $1`,
		`UPDATE t SET a = $1, b = $3 WHERE c = $2`: `UPDATE t SET a = $1, b = $3 WHERE c = $2`,
		`SELECT $1, $2, $1`:                        `SELECT $1, $2, $1`,
		`SELECT $2`:                                `SELECT $2`,
	} {
		if got := sqldb.Unnamed(text); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
}
