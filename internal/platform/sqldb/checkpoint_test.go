package sqldb

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Nobody's commit writes the log back, and yet it is written back, and is begun anew while people read and write all the time.
func TestTheLogIsWrittenBackBesideWhoeverCommits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db, err := Open(t.Context(), Options{URL: "sqlite:" + path, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	const most = restartAt / 4 // of which what is written below has nearly five times as many pages
	was := db.checkpoints
	was.end()
	was.ended.Wait()
	db.checkpoints = newCheckpointer(was.own, was.writer, most)
	write := func(statement string, args ...any) {
		t.Helper()
		err := db.WriteSoon(t.Context(), func(tx *Tx) error {
			_, err := tx.Exec(t.Context(), statement, args...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	write("CREATE TABLE page (id INTEGER PRIMARY KEY, text TEXT)")
	write("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400) INSERT INTO page SELECT i, hex(randomblob(1900)) FROM n")
	if _, err := db.Writer().ExecContext(t.Context(), "PRAGMA wal_autocheckpoint = 0"); err != nil {
		t.Fatal(err)
	}
	ctx, done := context.WithCancel(t.Context())
	var reader sync.WaitGroup
	reader.Go(func() {
		for ctx.Err() == nil {
			_ = db.Read(ctx, func(tx *Tx) error {
				var n int
				return tx.QueryRow(ctx, "SELECT COUNT(*) FROM page WHERE id < 50").Scan(&n)
			})
			time.Sleep(10 * time.Millisecond) // the log begins anew when nobody reads what is in it
		}
	})
	const commits, pages = 4000, 10 // 40,000 pages in all, 160 MB
	for i := range commits {
		from := i * pages % 400
		write("UPDATE page SET text = hex(randomblob(1900)) WHERE id > $1 AND id <= $2", from, from+pages)
	}
	done()
	reader.Wait()
	info, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096 + 24
	if most := int64(3 * most * page); info.Size() > most {
		t.Errorf("the log has %d MiB, want at most %d: it is not begun anew", info.Size()>>20, most>>20)
	}
}

// A checkpointer of a database that is closed is gone, whatever it was at.
func TestACheckpointerEndsWithItsDatabase(t *testing.T) {
	for range 20 {
		db, err := Open(t.Context(), Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "db"), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		for range checkpointEvery {
			db.checkpoints.count()
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		db.checkpoints.count() // by somebody who is late
	}
}
