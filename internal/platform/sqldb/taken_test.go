package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/fstest"
)

// The pool throws its only connection away: SQLite deletes the log, and all of it is in the file.
func TestAConnectionThatWasThrownAwayIsNoLoss(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "db"))
	defer func() { _ = db.Close() }()
	if err := change(t, db.Write, "CREATE TABLE kept (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	if err := change(t, db.WriteSoon, "INSERT INTO kept VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	c, err := db.writer.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.Close()
	if err := db.Sync(); err != nil {
		t.Errorf("all is on disk, and this says: %v", err)
	}
	if err := change(t, db.Write, "INSERT INTO kept VALUES (2)"); err != nil {
		t.Errorf("and nothing is written any more: %v", err)
	}
}

// P11: a transaction that was under way at Close is synced before it is acknowledged. Another has the file open, so that SQLite does not write the log back.
func TestWhatWasUnderWayAtCloseIsSynced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db, other := openAt(t, path), openAt(t, path)
	defer func() { _ = other.Close() }()
	if err := change(t, db.Write, "CREATE TABLE kept (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	var synced atomic.Int64
	db.log.sync = func() error {
		synced.Add(1)
		return db.wal.sync()
	}
	before := int64(0)
	err := db.Write(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec(context.Background(), "INSERT INTO kept VALUES (1)")
		_ = db.Close()
		before = synced.Load()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if synced.Load() == before {
		t.Error("acknowledged, and nothing was synced")
	}
}

// P11: the log is taken away, and a command beside the server makes another before the server writes.
func TestALogThatWasReplacedIsSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := openAt(t, path)
	defer func() { _ = db.Close() }()
	if err := change(t, db.Write, "CREATE TABLE kept (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path + "-wal"); err != nil {
		t.Fatal(err)
	}
	spill(t, path+"-wal", nil)
	if err := change(t, db.Write, "INSERT INTO kept VALUES (1)"); !errors.Is(err, errLost) {
		t.Errorf("acknowledged, and another file was synced: %v", err)
	}
}

// Nothing is written once something is known not to be on disk, and no migration either.
func TestNoMigrationAfterADiskFailed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := openAt(t, path)
	defer func() { _ = db.Close() }()
	if err := change(t, db.Write, "CREATE TABLE kept (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	db.wal.path = "/dev/null"
	if err := db.Sync(); err == nil {
		t.Error("the disk did not fail")
	}
	m := Migrations{fstest.MapFS{"00001_first.sql": {Data: []byte("-- +goose Up\nCREATE TABLE more (n INTEGER);\n")}}}
	if n, err := m.Up(t.Context(), db); !errors.Is(err, errLost) || n != 0 {
		t.Errorf("%d applied, %v", n, err)
	}
	db.wal.path = path + "-wal"
}
