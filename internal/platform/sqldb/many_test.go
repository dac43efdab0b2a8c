package sqldb_test

import (
	"slices"
	"testing"

	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// Whatever the number, each row is written once and found once, on both engines.
func TestManyRowsAreWrittenAndFound(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		err := db.Write(ctx, func(tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, `CREATE TABLE number (n BIGINT PRIMARY KEY, square BIGINT)`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{0, 1, 4, 5, 29, 30, 31, 197} {
			var all []int64
			for i := range n {
				all = append(all, int64(i))
			}
			var written, again int64
			found := map[int64]int64{}
			err := db.Write(ctx, func(tx *sqldb.Tx) (err error) {
				if _, err = tx.Exec(ctx, `DELETE FROM number`); err != nil {
					return err
				}
				row := func(i int) []any { return []any{all[i], all[i] * all[i]} }
				if written, err = tx.Many(ctx, `INSERT INTO number (n, square)`, "", n, row); err != nil {
					return err
				}
				if again, err = tx.Many(ctx, `INSERT INTO number (n, square)`, `ON CONFLICT (n) DO NOTHING`, n, row); err != nil {
					return err
				}
				return sqldb.In(ctx, tx, `SELECT n, square FROM number WHERE n IN %s`, append(slices.Clone(all), -1, -2), func(scan func(...any) error) error {
					var k, v int64
					err := scan(&k, &v)
					found[k] += v
					return err
				})
			})
			if err != nil || written != int64(n) || again != 0 || len(found) != n {
				t.Fatalf("%d: %v, %d written, then %d, %d found", n, err, written, again, len(found))
			}
			for k, v := range found {
				if v != k*k {
					t.Errorf("%d of %d is %d: found twice, or another's", k, n, v)
				}
			}
		}
	})
}
