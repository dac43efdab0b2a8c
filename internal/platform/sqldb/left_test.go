package sqldb

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"countersign/internal/platform/fault"
)

func openAt(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), Options{URL: "sqlite:" + path, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func change(t *testing.T, how func(context.Context, func(*Tx) error) error, statement string, args ...any) error {
	return how(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec(context.Background(), statement, args...)
		return err
	})
}

func slurp(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func spill(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// leftover makes a database as a process leaves it whose disk failed: of the log that memory has, the disk lacks what is between the two offsets.
func leftover(t *testing.T) (path string, from, to int) {
	t.Helper()
	dir := t.TempDir()
	db := openAt(t, filepath.Join(dir, "db"))
	if err := change(t, db.Write, "CREATE TABLE kept (n INTEGER, text TEXT)"); err != nil {
		t.Fatal(err)
	}
	from = (len(slurp(t, db.wal.path)) + 4095) / 4096 * 4096
	if err := change(t, db.WriteSoon, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO kept SELECT i, hex(randomblob(1900)) FROM n"); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "left")
	log := slurp(t, db.wal.path)
	spill(t, path, slurp(t, filepath.Join(dir, "db")))
	spill(t, path+"-wal", log)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path, from, len(log) / 4096 * 4096
}

// cut is what the disk has after a power cut. Pages of the log that the disk did not take are clean in memory: no sync writes them, unless they were written anew.
func cut(t *testing.T, path string, from, to int, was []byte) *DB {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	log := slurp(t, path+"-wal")
	for at := from; at < to && to <= len(log); at += 4096 {
		if bytes.Equal(log[at:at+4096], was[at:at+4096]) {
			clear(log[at : at+4096])
		}
	}
	spill(t, image, slurp(t, path))
	spill(t, image+"-wal", log)
	return openAt(t, image)
}

// P11: what is acknowledged after a start does not hang on pages of the log that are not on disk.
func TestNothingHangsOnALogThatWasLeft(t *testing.T) {
	for c, writes := range map[string]int{"at once": 3, "while somebody reads": 300, "later": 300} { // 300, and so more than one checkpoint
		t.Run(c, func(t *testing.T) {
			path, from, to := leftover(t)
			was := slurp(t, path+"-wal")
			db := openAt(t, path)
			defer func() { _ = db.Close() }()
			var read sync.WaitGroup
			began, done := make(chan struct{}), make(chan struct{})
			if c == "while somebody reads" { // a backup, from the start on
				read.Go(func() {
					err := db.Read(t.Context(), func(tx *Tx) error {
						var n int
						err := tx.QueryRow(t.Context(), "SELECT COUNT(*) FROM kept").Scan(&n)
						close(began)
						<-done
						return err
					})
					if err != nil {
						t.Error(err)
					}
				})
				<-began
			}
			if c != "at once" {
				for len(slurp(t, path)) < to/2 {
					time.Sleep(10 * time.Millisecond)
				}
				time.Sleep(200 * time.Millisecond)
			}
			for range writes {
				if err := change(t, db.Write, "INSERT INTO kept VALUES (-1, 'acknowledged')"); err != nil {
					t.Fatal(err)
				}
			}
			close(done)
			read.Wait()
			image := cut(t, path, from, to, was)
			defer func() { _ = image.Close() }()
			n := -1
			err := image.Read(t.Context(), func(tx *Tx) error {
				return tx.QueryRow(t.Context(), "SELECT COUNT(*) FROM kept WHERE n = -1").Scan(&n)
			})
			if err != nil || n != writes {
				t.Errorf("%d of %d acknowledged writes are there after a power cut, %v", n, writes, err)
			}
		})
	}
}

// P11: a checkpoint syncs the log, too. Whoever opens it later than that does not hear that it failed.
func TestTheLogIsHeldBeforeACheckpointSyncsIt(t *testing.T) {
	path, _, to := leftover(t)
	db := openAt(t, path)
	defer func() { _ = db.Close() }()
	for range 500 {
		db.log.turn.Lock()
		held := db.wal.open != nil
		db.log.turn.Unlock()
		if held {
			return
		}
		if len(slurp(t, path)) >= to/2 {
			t.Fatal("a checkpoint has synced the log, and nobody would have heard that it failed")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestADatabaseIsClosedTwice(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "db"))
	if err := change(t, db.Write, "CREATE TABLE kept (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := db.Close(); err != nil {
			t.Errorf("%d: %v", i+1, err)
		}
	}
}

// P11: the log is taken away under a server. What it writes from then on is gone if the process is killed, and kept if it is stopped.
func TestALogThatWasTakenAwayIsSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := openAt(t, path)
	defer func() { _ = db.Close() }()
	if err := change(t, db.Write, "CREATE TABLE kept (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path + "-wal"); err != nil {
		t.Fatal(err)
	}
	if err := change(t, db.Write, "INSERT INTO kept VALUES (1)"); err == nil {
		t.Error("acknowledged, and it is in a file that nobody finds once the process is killed")
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	db = openAt(t, path)
	if err := change(t, db.Write, "INSERT INTO kept VALUES (2)"); err != nil {
		t.Errorf("opened anew: %v", err)
	}
}

// Nor does whoever waited for the writer while the disk failed.
func TestNobodyWritesWhoWaitedWhileTheDiskFailed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := openAt(t, path)
	defer func() { _ = db.Close() }()
	if err := change(t, db.Write, "CREATE TABLE kept (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	err := db.Write(t.Context(), func(*Tx) error {
		go func() { result <- change(t, db.WriteSoon, "INSERT INTO kept VALUES (1)") }()
		for db.writer.Stats().WaitCount == 0 {
			time.Sleep(time.Millisecond)
		}
		db.wal.path = "/dev/null"
		if err := db.Sync(); err == nil {
			t.Error("the disk did not fail")
		}
		return nil
	})
	if err == nil {
		t.Error("acknowledged")
	}
	if err := <-result; fault.Of(err).Code != "database_unavailable" {
		t.Errorf("written after the disk failed: %v", err)
	}
	db.wal.path = path + "-wal"
}

// A leader fails while others wait: all are told, nobody hangs, and nobody is told otherwise later; and all of it beside Close.
func TestAllWhoWaitHearThatTheDiskFailed(t *testing.T) {
	for range 20 {
		db := openAt(t, filepath.Join(t.TempDir(), "db"))
		if err := change(t, db.Write, "CREATE TABLE kept (n INTEGER)"); err != nil {
			t.Fatal(err)
		}
		flush, n := db.log.sync, 0
		db.log.sync = func() error {
			if n++; n == 10 {
				return errLost
			}
			return flush()
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				failed := false
				for range 20 {
					err := change(t, db.Write, "INSERT INTO kept VALUES (1)")
					if failed && err == nil {
						t.Error("acknowledged after a failure")
					}
					failed = failed || err != nil
				}
			})
		}
		wg.Go(func() {
			for db.Writable() == nil {
				time.Sleep(time.Millisecond)
			}
			_ = db.Close()
		})
		wg.Wait()
	}
}

func TestWhatIsAcknowledgedBesideCloseIsThere(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "db")
		db := openAt(t, path)
		if err := change(t, db.Write, "CREATE TABLE kept (n INTEGER)"); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		acked := 0
		for range 8 {
			wg.Go(func() {
				for change(t, db.Write, "INSERT INTO kept VALUES (1)") == nil {
					mu.Lock()
					acked++
					mu.Unlock()
				}
			})
		}
		time.Sleep(5 * time.Millisecond)
		_ = db.Close()
		wg.Wait()
		if db.wal.open != nil {
			if _, err := db.wal.open.Stat(); err == nil {
				t.Error("the log is open after Close")
			}
		}
		db = openAt(t, path)
		n := 0
		_ = db.Read(t.Context(), func(tx *Tx) error { return tx.QueryRow(t.Context(), "SELECT COUNT(*) FROM kept").Scan(&n) })
		if n < acked {
			t.Errorf("%d of %d", n, acked)
		}
		_ = db.Close()
	}
}

// Whoever opens the file beside a server that writes and reads keeps nobody waiting, and is not kept.
func TestOpeningBesideAServerKeepsNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := openAt(t, path)
	defer func() { _ = db.Close() }()
	if err := change(t, db.Write, "CREATE TABLE kept (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	err := db.Read(t.Context(), func(tx *Tx) error {
		var n int
		if err := tx.QueryRow(t.Context(), "SELECT COUNT(*) FROM kept").Scan(&n); err != nil {
			return err
		}
		return db.Write(t.Context(), func(*Tx) error {
			began := time.Now()
			other, err := Open(t.Context(), Options{URL: "sqlite:" + path, Now: time.Now})
			if err != nil {
				return err
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("opening took %v", took)
			}
			if err := other.Writable(); err != nil {
				t.Error(err)
			}
			return other.Close()
		})
	})
	if err != nil {
		t.Error(err)
	}
}

// SQLite follows a link to the file and has its log beside the file, not beside the link.
func TestADatabaseBehindALink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "disk"), 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "db")
	if err := os.Symlink(filepath.Join("disk", "db"), link); err != nil {
		t.Fatal(err)
	}
	db := openAt(t, link)
	defer func() { _ = db.Close() }()
	if err := change(t, db.Write, "CREATE TABLE kept (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	if db.wal.open == nil {
		_, err := os.Stat(filepath.Join(dir, "disk", "db-wal"))
		t.Errorf("acknowledged, and nothing was synced: the log is elsewhere (%v)", err)
	}
}
