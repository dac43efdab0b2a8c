package sqldb

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/platform/fault"
)

// P11: whoever waits is covered by a sync that began after their commit, and many share one.
func TestSyncsAreSharedAndNeverTooEarly(t *testing.T) {
	var committed, covered atomic.Int64
	var syncs int
	g := &group{sync: func() error {
		before := committed.Load() // what a sync sees when it begins
		syncs++
		time.Sleep(time.Millisecond)
		covered.Store(before)
		return nil
	}}
	var wg sync.WaitGroup
	const writers, each = 32, 20
	for range writers {
		wg.Go(func() {
			for range each {
				mine := committed.Add(1)
				if err := g.wait(); err != nil {
					t.Error(err)
				}
				if c := covered.Load(); c < mine {
					t.Errorf("told of commit %d when only %d were on disk", mine, c)
				}
			}
		})
	}
	wg.Wait()
	if syncs > writers*each/4 {
		t.Errorf("%d syncs for %d commits: they are not shared", syncs, writers*each)
	}
}

// P11: nobody hears of a commit that is not on disk, and a disk that fails is said.
func TestACommitWaitsForTheDisk(t *testing.T) {
	db, err := Open(t.Context(), Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "db"), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	flush := db.log.sync
	synced := 0
	db.log.sync = func() error { synced++; return flush() }
	write := func(statement string) error {
		return db.Write(t.Context(), func(tx *Tx) error {
			_, err := tx.Exec(context.Background(), statement)
			return err
		})
	}
	if err := write("CREATE TABLE kept (n INTEGER)"); err != nil || synced != 1 {
		t.Fatalf("%d syncs, %v; want 1", synced, err)
	}
	if err := write("nonsense"); err == nil || synced != 1 {
		t.Errorf("a failed write: %d syncs, %v", synced, err)
	}
	soon := db.WriteSoon(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec(context.Background(), "INSERT INTO kept VALUES (0)")
		return err
	})
	if soon != nil || synced != 1 {
		t.Errorf("what can be done again: %d syncs, %v; want 1", synced, soon)
	}
	if err := db.Sync(); err != nil || synced != 2 {
		t.Errorf("in the end: %d syncs, %v; want 2", synced, err)
	}
	db.log.sync = func() error { return errors.New("input/output error") }
	if err := db.Sync(); fault.Of(err).Code != "database_unavailable" {
		t.Errorf("the disk failed in the end: %v", err)
	}
	if err := write("INSERT INTO kept VALUES (1)"); fault.Of(err).Code != "database_unavailable" {
		t.Errorf("the disk failed: %v", err)
	}
}
