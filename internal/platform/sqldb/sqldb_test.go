package sqldb_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// put writes one row into a table of the schema that refers to no other.
func put(ctx context.Context, tx *sqldb.Tx, key string, n int) error {
	_, err := tx.Exec(ctx, "INSERT INTO throttle_bucket (key, tat, expires_at) VALUES ($1, $2, 0)", []byte(key), n)
	return err
}

func value(t *testing.T, db *sqldb.DB, key string) (n, rows int) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
		rows = 0
		return tx.Each(t.Context(), "SELECT tat FROM throttle_bucket WHERE key = $1", func(scan func(...any) error) error {
			rows++
			return scan(&n)
		}, []byte(key))
	})
	if err != nil {
		t.Fatal(err)
	}
	return n, rows
}

func TestWriteCommitsOrLeavesNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		if err := db.Write(ctx, func(tx *sqldb.Tx) error { return put(ctx, tx, "kept", 7) }); err != nil {
			t.Fatal(err)
		}
		undo := errors.New("undo")
		err := db.Write(ctx, func(tx *sqldb.Tx) error { return errors.Join(put(ctx, tx, "undone", 7), undo) })
		if !errors.Is(err, undo) {
			t.Fatalf("Write = %v, want the function's own error", err)
		}
		if n, rows := value(t, db, "kept"); n != 7 || rows != 1 {
			t.Errorf("committed: %d rows with %d", rows, n)
		}
		if _, rows := value(t, db, "undone"); rows != 0 {
			t.Error("an error did not undo the transaction")
		}
	})
}

func TestAPanicUndoesTheTransactionAndLeavesTheDatabaseUsable(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		func() {
			defer func() { _ = recover() }()
			_ = db.Write(ctx, func(tx *sqldb.Tx) error {
				_ = put(ctx, tx, "k", 1)
				panic("in a transaction")
			})
		}()
		if err := db.Write(ctx, func(tx *sqldb.Tx) error { return put(ctx, tx, "k", 2) }); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReadRefusesToWrite(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		err := db.Read(t.Context(), func(tx *sqldb.Tx) error { return put(t.Context(), tx, "k", 1) })
		if err == nil {
			t.Fatal("Read let a row be written")
		}
	})
}

func TestAfterCommitRunsAfterCommitOnly(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx, ran := t.Context(), 0
		count := func(err error) func(*sqldb.Tx) error {
			return func(tx *sqldb.Tx) error {
				tx.AfterCommit(func() {
					ran++
					// The row is there for everybody, and the hook may open a transaction of its own.
					if _, rows := value(t, db, "seen"); rows != 1 {
						t.Error("AfterCommit ran before the commit")
					}
				})
				return errors.Join(put(ctx, tx, "seen", 1), err)
			}
		}
		if err := db.Write(ctx, count(errors.New("undo"))); err == nil || ran != 0 {
			t.Fatalf("after an undone transaction: %v, ran %d times", err, ran)
		}
		if err := db.Write(ctx, count(nil)); err != nil || ran != 1 {
			t.Fatalf("after a commit: %v, ran %d times", err, ran)
		}
		if err := db.Write(ctx, count(nil)); err == nil || ran != 1 {
			t.Fatalf("after a refused row: %v, ran %d times", err, ran)
		}
	})
}

// Sixteen that count up the same row: nobody's count is lost, on either engine.
func TestParallelWritesLoseNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		if err := db.Write(ctx, func(tx *sqldb.Tx) error { return put(ctx, tx, "n", 0) }); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				err := db.Write(ctx, func(tx *sqldb.Tx) error {
					n, err := tx.Exec(ctx, "UPDATE throttle_bucket SET tat = tat + 1 WHERE key = $1", []byte("n"))
					if n != 1 {
						t.Errorf("changed %d rows", n)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n, _ := value(t, db, "n"); n != 16 {
			t.Errorf("counted %d of 16", n)
		}
	})
}

// Two transactions take two rows in opposite order: PostgreSQL ends one, and Write runs it again.
func TestWriteRunsALostRaceAgain(t *testing.T) {
	db := dbtest.Postgres(t)
	ctx := t.Context()
	err := db.Write(ctx, func(tx *sqldb.Tx) error { return errors.Join(put(ctx, tx, "a", 0), put(ctx, tx, "b", 0)) })
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu           sync.Mutex
		tries, after int
		both         sync.WaitGroup // until each holds its first row
		wg           sync.WaitGroup
	)
	both.Add(2)
	for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		first := sync.OnceFunc(both.Done)
		wg.Go(func() {
			err := db.Write(ctx, func(tx *sqldb.Tx) error {
				mu.Lock()
				tries++
				mu.Unlock()
				tx.AfterCommit(func() { mu.Lock(); after++; mu.Unlock() })
				for _, key := range order {
					if _, err := tx.Exec(ctx, "UPDATE throttle_bucket SET tat = tat + 1 WHERE key = $1", []byte(key)); err != nil {
						return err
					}
					first()
					both.Wait()
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if a, _ := value(t, db, "a"); a != 2 || tries != 3 || after != 2 {
		t.Errorf("counted %d of 2 in %d tries with %d hooks, want 3 tries (one lost) and 2 hooks", a, tries, after)
	}
}

func TestWriteGivesUpAfterTenLostRacesOrWithItsContext(t *testing.T) {
	db := dbtest.Postgres(t)
	lose := func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$")
		return err
	}
	tries := 0
	err := db.Write(t.Context(), func(tx *sqldb.Tx) error { tries++; return lose(t.Context(), tx) })
	if err == nil || tries != 10 {
		t.Errorf("gave up after %d tries with %v, want 10 and the reason", tries, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	tries = 0
	err = db.Write(ctx, func(tx *sqldb.Tx) error {
		tries++
		err := lose(ctx, tx)
		cancel()
		return err
	})
	if !errors.Is(err, context.Canceled) || tries != 1 {
		t.Errorf("after its context: %d tries, %v", tries, err)
	}
}

func TestTheClockIsAskedAtEveryTransaction(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		clock.Advance(time.Minute)
		want := clock.Now()
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			clock.Advance(time.Minute) // not seen by a transaction that has begun
			if !tx.Now().Equal(want) {
				t.Errorf("tx.Now = %v, want %v", tx.Now(), want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// P4: the file holds everything; nobody else on the machine reads it, whatever the umask.
func TestSQLiteFilesAreReadableByTheirOwnerOnly(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "new.db")
	db := dbtest.Open(t, "sqlite:"+path, dbtest.NewClock())
	err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(t.Context(), "CREATE TABLE t (a TEXT)")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		st, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o, want 0600", filepath.Base(path+suffix), st.Mode().Perm())
		}
	}
}

func TestOpenRefusesWhatCannotBeADatabaseInPlainWords(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, url, want string }{
		{"missing folder", "sqlite:" + dir + "/missing/countersign.db", dir + "/missing does not exist"},
		{"folder", "sqlite:" + dir, "is a directory"},
		{"no file", "sqlite:", "names no file"},
		{"memory", "sqlite::memory:", "names no file"},
		{"unknown engine", "mysql://root:hunter2@host/db", "must begin with"},
		{"nothing", "", "must begin with"},
		{"bad URL", "postgres://user:hunter2@host:notaport/db", "port"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := sqldb.Open(t.Context(), sqldb.Options{URL: c.url, Now: time.Now})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Open = %v, want %q in it", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("the error tells the password: %v", err)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "missing")); err == nil {
		t.Error("a missing folder was made")
	}
}

func TestSQLitePathsMayHoldAnyCharacter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?mode=memory#c%41.db")
	db := dbtest.Open(t, "sqlite:"+path, dbtest.NewClock())
	err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(t.Context(), "CREATE TABLE t (a TEXT)")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path + "-wal"); err != nil || st.Size() == 0 {
		t.Errorf("the rows went elsewhere: %v", err)
	}
}
