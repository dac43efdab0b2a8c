package dbtest_test

import (
	"testing"
	"time"

	"countersign/internal/platform/sqldb"
	"countersign/internal/server/schema"
	"countersign/internal/testkit/dbtest"
)

func TestEachGivesFreshMigratedDatabases(t *testing.T) {
	for range 2 { // the second would find the first one's row
		dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
			missing, empty, err := schema.Migrations().Pending(t.Context(), db)
			if err != nil || missing != 0 || empty {
				t.Fatalf("Pending = %d missing, empty %v, %v", missing, empty, err)
			}
			err = db.Write(t.Context(), func(tx *sqldb.Tx) error {
				_, err := tx.Exec(t.Context(), "INSERT INTO throttle_bucket (key, tat, expires_at) VALUES ($1, 1, 1)", []byte("k"))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestEmptyURLWasNeverMigrated(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			db := dbtest.Open(t, dbtest.EmptyURL(t, engine), dbtest.NewClock())
			missing, empty, err := schema.Migrations().Pending(t.Context(), db)
			if err != nil || missing == 0 || !empty {
				t.Fatalf("Pending = %d missing, empty %v, %v", missing, empty, err)
			}
		})
	}
}

func TestTransactionsSeeTheClock(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		before := clock.Now()
		clock.Advance(time.Hour)
		err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
			if got := tx.Now().Sub(before); got != time.Hour {
				t.Errorf("the transaction saw %v, want an hour", got)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
