package server

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
)

// What is over is deleted in small transactions, as many as it takes: a flood's rows do not pile up.
func TestPruningGoesOnUntilNothingIsLeft(t *testing.T) {
	db, err := sqldb.Open(t.Context(), sqldb.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "db"), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	c := &Core{Parts: signin.Parts{DB: db}}
	left := []int64{500, 500, 200, 0, 500}
	calls := 0
	prune := func(context.Context, *sqldb.Tx) (int64, error) {
		calls++
		return left[calls-1], nil
	}
	if err := c.emptyOut(t.Context(), prune); err != nil || calls != 4 {
		t.Errorf("%d calls, %v; want it to stop at the first that finds nothing", calls, err)
	}
	failed := errors.New("failed")
	if err := c.emptyOut(t.Context(), func(context.Context, *sqldb.Tx) (int64, error) { return 1, failed }); !errors.Is(err, failed) {
		t.Errorf("%v, want it to stop at a failure", err)
	}
}
