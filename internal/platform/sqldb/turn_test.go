package sqldb_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// Who goes away in the middle of a transaction changes nothing, whichever statement they were at, and keeps nobody waiting.
func TestWhoGoesAwayChangesNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		insert := func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO throttle_bucket (key, tat, expires_at) VALUES ($1, 0, 0)`, []byte{1})
			return err
		}
		for name, after := range map[string]func(context.Context, *sqldb.Tx) error{
			"before the commit": func(context.Context, *sqldb.Tx) error { return nil },
			"before a change": func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := tx.Exec(ctx, `DELETE FROM throttle_bucket`)
				return err
			},
			"before a question": func(ctx context.Context, tx *sqldb.Tx) error {
				var n int
				return tx.QueryRow(ctx, `SELECT COUNT(*) FROM throttle_bucket`).Scan(&n)
			},
			"before a list": func(ctx context.Context, tx *sqldb.Tx) error {
				return tx.Each(ctx, `SELECT key FROM throttle_bucket`, func(func(...any) error) error { return nil })
			},
		} {
			ctx, leave := context.WithCancel(t.Context())
			err := db.Write(ctx, func(tx *sqldb.Tx) error {
				if err := insert(ctx, tx); err != nil {
					return err
				}
				leave()
				err := after(ctx, tx)
				if err == nil && name != "before the commit" {
					t.Errorf("%s: it was done", name)
				}
				return err
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v, want the context's end", name, err)
			}
			if n := rows(t, db); n != 0 {
				t.Errorf("%s: %d rows were kept", name, n)
			}
		}
		ctx, leave := context.WithCancel(t.Context())
		seen := 0
		err := db.Read(ctx, func(tx *sqldb.Tx) error {
			return tx.Each(ctx, `SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3`, func(func(...any) error) error {
				seen++
				leave()
				return nil
			})
		})
		if !errors.Is(err, context.Canceled) || seen != 1 {
			t.Errorf("in the middle of a list: %v after %d rows", err, seen)
		}
	})
}

func rows(t *testing.T, db *sqldb.DB) (n int) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT COUNT(*) FROM throttle_bucket`).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Migrations begin by database/sql, and read first: of two nodes that migrate at once the second waits, and is not refused in the middle.
func TestTransactionsOfTheDriversOwnAreImmediate(t *testing.T) {
	url, clock := dbtest.NewURL(t, sqldb.SQLite), dbtest.NewClock()
	mine, theirs := dbtest.Open(t, url, clock), dbtest.Open(t, url, clock)
	if _, err := theirs.Writer().ExecContext(t.Context(), "PRAGMA busy_timeout = 50"); err != nil {
		t.Fatal(err)
	}
	tx, err := mine.Writer().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	write := func() error { return theirs.Write(t.Context(), func(*sqldb.Tx) error { return nil }) }
	if err := write(); fault.Of(err).Code != "database_unavailable" {
		t.Errorf("beside a migration: %v, want database_unavailable", err)
	}
	if err := errors.Join(tx.Rollback(), write()); err != nil {
		t.Error(err)
	}
}

// A panic between a question and its answer, or a question whose answer nobody takes, keeps no connection.
func TestAnAnswerThatNobodyTakesHoldsNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx, done := context.WithTimeout(t.Context(), 10*time.Second)
		defer done()
		var nobody *struct{ n int }
		for name, ask := range map[string]func(*sqldb.Tx) error{
			"a panic": func(tx *sqldb.Tx) error { return tx.QueryRow(ctx, `SELECT 1`).Scan(&nobody.n) },
			"no scan": func(tx *sqldb.Tx) error { tx.QueryRow(ctx, `SELECT 1`); return nil },
		} {
			for range 20 { // more than there are connections
				for _, in := range []func(context.Context, func(*sqldb.Tx) error) error{db.Read, db.Write} {
					func() {
						defer func() { _ = recover() }()
						if err := in(ctx, ask); err != nil {
							t.Errorf("%s: %v", name, err)
						}
					}()
				}
			}
		}
		if err := db.Write(ctx, func(*sqldb.Tx) error { return nil }); err != nil {
			t.Error(err)
		}
	})
}
