package sqldb_test

import (
	"testing"

	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

func TestABulkNoticesWhatOthersWrite(t *testing.T) {
	url, clock := dbtest.NewURL(t, sqldb.SQLite), dbtest.NewClock()
	mine, theirs := dbtest.Open(t, url, clock), dbtest.Open(t, url, clock)
	ctx := t.Context()
	touch := func(db *sqldb.DB) {
		t.Helper()
		err := db.Write(ctx, func(tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO throttle_bucket (key, tat, expires_at) VALUES ($1, 0, 0)`, []byte{1})
			if err == nil {
				_, err = tx.Exec(ctx, `DELETE FROM throttle_bucket`)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	touch(theirs)
	bulk, err := mine.Bulk(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		who  *sqldb.DB
		want bool
	}{{nil, false}, {mine, false}, {theirs, true}, {mine, false}, {nil, false}, {theirs, true}} {
		if step.who != nil {
			touch(step.who)
		}
		if got, err := bulk.Disturbed(ctx); err != nil || got != step.want {
			t.Errorf("%+v: %t, %v", step, got, err)
		}
	}
}

func TestABulkAloneIsNotDisturbed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		bulk, err := db.Bulk(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		disturbed, err := bulk.Disturbed(t.Context())
		if err != nil || disturbed {
			t.Error(disturbed, err)
		}
	})
}
