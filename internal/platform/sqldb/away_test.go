package sqldb_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

func wantUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	if f := fault.Of(err); err == nil || f.Kind != fault.Unavailable || f.Code != "database_unavailable" || f.RetryAfter == 0 {
		t.Errorf("%s: %v, want Unavailable with a time to come back", what, err)
	}
}

func TestAFullDiskIsUnavailableAndUndoesTheTransaction(t *testing.T) {
	db := dbtest.SQLite(t)
	ctx := t.Context()
	if _, err := db.Writer().ExecContext(ctx, "PRAGMA max_page_count = 1"); err != nil { // as many as there are
		t.Fatal(err)
	}
	err := db.Write(ctx, func(tx *sqldb.Tx) error {
		if err := put(ctx, tx, "small", 1); err != nil {
			return err
		}
		return put(ctx, tx, string(make([]byte, 1<<20)), 1)
	})
	wantUnavailable(t, "disk full", err)
	if _, rows := value(t, db, "small"); rows != 0 {
		t.Error("half of the transaction was kept")
	}
	if _, err := db.Writer().ExecContext(ctx, "PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(ctx, func(tx *sqldb.Tx) error { return put(ctx, tx, "small", 1) }); err != nil {
		t.Errorf("once there is room again: %v", err)
	}
}

// Waiting for another program's lock is bounded by the busy timeout, not by ten of them.
func TestALockedSQLiteFileIsUnavailableAfterOneWait(t *testing.T) {
	dbURL := dbtest.NewURL(t, sqldb.SQLite)
	db, other := dbtest.Open(t, dbURL, dbtest.NewClock()), dbtest.Open(t, dbURL, dbtest.NewClock())
	ctx := t.Context()
	if _, err := db.Writer().ExecContext(ctx, "PRAGMA busy_timeout = 400"); err != nil {
		t.Fatal(err)
	}
	err := other.Write(ctx, func(*sqldb.Tx) error {
		began := time.Now()
		err := db.Write(ctx, func(tx *sqldb.Tx) error { return put(ctx, tx, "k", 1) })
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("waited %v, that is more than once", took)
		}
		wantUnavailable(t, "locked file", err)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPostgresAwayIsUnavailableUntilItIsBack(t *testing.T) {
	line := newLine(t, dbtest.NewURL(t, sqldb.Postgres))
	db := dbtest.Open(t, line.url, dbtest.NewClock())
	ctx := t.Context()
	write := func(key string) error {
		return db.Write(ctx, func(tx *sqldb.Tx) error { return put(ctx, tx, key, 1) })
	}
	if err := write("before"); err != nil {
		t.Fatal(err)
	}
	err := db.Write(ctx, func(tx *sqldb.Tx) error {
		if err := put(ctx, tx, "during", 1); err != nil {
			return err
		}
		line.cut()
		return put(ctx, tx, "during2", 1)
	})
	wantUnavailable(t, "cut within a transaction", err)
	wantUnavailable(t, "write while away", write("away"))
	wantUnavailable(t, "read while away", db.Read(ctx, func(*sqldb.Tx) error { return nil }))
	wantUnavailable(t, "ping while away", db.Ping(ctx))
	_, err = sqldb.Open(ctx, sqldb.Options{URL: line.url, Now: time.Now})
	wantUnavailable(t, "start while away", err)

	line.mend(t)
	if err := write("after"); err != nil {
		t.Errorf("once it is back: %v", err)
	}
	if _, rows := value(t, db, "during"); rows != 0 {
		t.Error("half of the cut transaction was kept")
	}
}

// The commit was sent and the answer never came: whatever happened, it was not acknowledged.
func TestALostCommitIsUnavailableAndRunsNoHook(t *testing.T) {
	line := newLine(t, dbtest.NewURL(t, sqldb.Postgres))
	db := dbtest.Open(t, line.url, dbtest.NewClock())
	err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		tx.AfterCommit(func() { t.Error("AfterCommit ran without a commit") })
		err := put(t.Context(), tx, "k", 1)
		line.cut()
		return err
	})
	wantUnavailable(t, "lost commit", err)
}

func TestAServerThatEndsTheConnectionIsUnavailable(t *testing.T) {
	dbURL := dbtest.NewURL(t, sqldb.Postgres)
	db, operator := dbtest.Open(t, dbURL, dbtest.NewClock()), dbtest.Open(t, dbURL, dbtest.NewClock())
	ctx := t.Context()
	err := db.Write(ctx, func(tx *sqldb.Tx) error {
		var pid int
		if err := tx.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
			return err
		}
		if _, err := operator.Writer().ExecContext(ctx, "SELECT pg_terminate_backend($1, 5000)", pid); err != nil {
			return err
		}
		return put(ctx, tx, "k", 1)
	})
	wantUnavailable(t, "ended by the operator", err)
}

// A node that freezes, or that the network swallows, gives its locks up soon enough for the others.
func TestASilentClientLosesItsLocks(t *testing.T) {
	t.Parallel()
	dbURL := dbtest.NewURL(t, sqldb.Postgres)
	frozen, other := dbtest.Open(t, dbURL, dbtest.NewClock()), dbtest.Open(t, dbURL, dbtest.NewClock())
	ctx := t.Context()
	if err := frozen.Write(ctx, func(tx *sqldb.Tx) error { return put(ctx, tx, "k", 1) }); err != nil {
		t.Fatal(err)
	}
	change := func(db *sqldb.DB, then func()) error {
		return db.Write(ctx, func(tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE throttle_bucket SET tat = tat + 1 WHERE key = $1", []byte("k"))
			then()
			return err
		})
	}
	wantUnavailable(t, "the silent one", change(frozen, func() {
		if err := change(other, func() {}); err != nil {
			t.Errorf("the other: %v", err)
		}
	}))
}

func TestWhatTheCallerDidIsNotTheDatabasesFault(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		own := fault.New(fault.Conflict, "identifier_taken", nil)
		if err := db.Write(t.Context(), func(*sqldb.Tx) error { return own }); !errors.Is(err, own) || fault.Of(err).Kind != fault.Conflict {
			t.Errorf("a classified error became %v", err)
		}
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec(t.Context(), "SELEKT 1")
			return err
		})
		if err == nil || fault.Of(err).Kind != fault.Internal {
			t.Errorf("bad SQL is %v, want Internal", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = db.Write(ctx, func(tx *sqldb.Tx) error {
			cancel()
			return put(ctx, tx, "k", 1)
		})
		if !errors.Is(err, context.Canceled) || fault.Of(err).Kind == fault.Unavailable {
			t.Errorf("a caller who left is %v, want context.Canceled and not Unavailable", err)
		}
	})
}

func TestADeadlineThatPassesWhileWaitingIsUnavailable(t *testing.T) {
	db := dbtest.Postgres(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := db.Read(ctx, func(tx *sqldb.Tx) error {
		var s string
		return tx.QueryRow(ctx, "SELECT pg_sleep(30)::text").Scan(&s)
	})
	wantUnavailable(t, "slow database", err)
}

// line is the wire between a program and its server, and can be cut.
type line struct {
	url, server string
	mu          sync.Mutex
	listener    net.Listener
	conns       []net.Conn
}

func newLine(t *testing.T, serverURL string) *line {
	t.Helper()
	u, err := url.Parse(serverURL)
	if err != nil {
		t.Fatal(err)
	}
	l := &line{server: u.Host}
	l.listen(t, "127.0.0.1:0")
	u.Host = l.listener.Addr().String()
	l.url = u.String()
	t.Cleanup(l.cut)
	return l
}

func (l *line) listen(t *testing.T, addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	l.listener = listener
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", l.server)
			if err != nil {
				_ = in.Close()
				continue
			}
			l.mu.Lock()
			l.conns = append(l.conns, in, out)
			l.mu.Unlock()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
		}
	}()
}

func (l *line) cut() {
	_ = l.listener.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}

func (l *line) mend(t *testing.T) {
	t.Helper()
	l.listen(t, l.listener.Addr().String())
}
