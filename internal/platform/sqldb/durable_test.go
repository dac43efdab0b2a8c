package sqldb

import (
	"context"
	"errors"
	"os"
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
	db.log.sync = func() error { return errors.New("too many open files") }
	if err := db.Sync(); fault.Of(err).Code != "database_unavailable" {
		t.Errorf("it could not be looked at in the end: %v", err)
	}
	db.log.sync = flush
	if err := write("INSERT INTO kept VALUES (1)"); err != nil {
		t.Errorf("once it could: %v", err)
	}
}

// P11: Linux says once that it could not write, and forgets. Nothing is acknowledged after that, as it would hang on pages that are not there; nor is
// anything begun.
func TestNothingIsWrittenAfterADiskFailed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := openAt(t, path)
	if err := change(t, db.Write, "CREATE TABLE kept (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	disk := db.wal.path
	db.wal.path = "/dev/null" // which cannot be synced
	if err := change(t, db.Write, "INSERT INTO kept VALUES (1)"); fault.Of(err).Code != "database_unavailable" {
		t.Errorf("the disk failed: %v", err)
	}
	db.wal.path = disk
	for name, how := range map[string]func(context.Context, func(*Tx) error) error{"write": db.Write, "soon": db.WriteSoon} {
		if err := change(t, how, "INSERT INTO kept VALUES (2)"); fault.Of(err).Code != "database_unavailable" {
			t.Errorf("%s after the disk failed: %v", name, err)
		}
	}
	if err := db.Sync(); fault.Of(err).Code != "database_unavailable" {
		t.Errorf("in the end: %v", err)
	}
	if err := db.Writable(); fault.Of(err).Code != "database_unavailable" {
		t.Errorf("it says that it is well: %v", err)
	}
	if err := db.Close(); err != nil || db.wal.open != nil {
		t.Fatal(err, db.wal.open)
	}
	db = openAt(t, path)
	defer func() { _ = db.Close() }()
	if err := change(t, db.Write, "INSERT INTO kept VALUES (3)"); err != nil || db.Writable() != nil {
		t.Errorf("opened anew: %v", err)
	}
}

// The log is opened once, and again only for a database that is being closed: what failed before would not be heard of.
func TestTheLogThatIsThereIsSynced(t *testing.T) {
	dir := t.TempDir()
	l := &walLog{path: filepath.Join(dir, "wal")}
	defer func() { _ = l.close() }()
	if err := l.sync(); err != nil || l.open != nil {
		t.Errorf("no log: %v", err)
	}
	put := func() {
		if err := os.WriteFile(filepath.Join(dir, "new"), []byte("log"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "new"), l.path); err != nil {
			t.Fatal(err)
		}
	}
	put()
	var was *os.File
	for i := range 2 {
		if err := l.sync(); err != nil || i > 0 && l.open != was {
			t.Errorf("%v, or it was opened again", err)
		}
		was = l.open
	}
	put()
	if err := l.sync(); !errors.Is(err, errLost) {
		t.Errorf("another took its place, and was synced in its stead: %v", err)
	}
	l.ends = true
	if err := l.sync(); err != nil || l.open == was {
		t.Errorf("%v, or the one that is gone was synced", err)
	}
}
