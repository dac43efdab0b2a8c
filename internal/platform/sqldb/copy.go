package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"
)

// ErrHeld means that somebody has the SQLite file open.
var ErrHeld = errors.New("the database is in use")

// CopyTo writes a consistent copy of an SQLite database to a file that is empty, while
// others read and write. The copy is one file: it needs no -wal beside it.
func (db *DB) CopyTo(ctx context.Context, path string) error {
	if db.engine != SQLite {
		return errors.New("only SQLite is copied to a file")
	}
	_, err := db.writerless(ctx, "VACUUM INTO $1", path)
	return unavailable(err)
}

// writerless runs a statement on a connection of the readers that may write elsewhere.
func (db *DB) writerless(ctx context.Context, query string, args ...any) (sql.Result, error) {
	conn, err := db.reader.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(ctx, "PRAGMA query_only = 0"); err != nil {
		return nil, err
	}
	res, err := conn.ExecContext(ctx, query, args...)
	_, back := conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA query_only = 1")
	return res, errors.Join(err, back)
}

// Sound reports what is broken in the pages of an SQLite database; nil means nothing.
func (db *DB) Sound(ctx context.Context) error {
	var first string
	if err := db.reader.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&first); err != nil {
		return err
	}
	if first != "ok" {
		return fmt.Errorf("the file is damaged: %s", first)
	}
	return nil
}

// Exclusive is an SQLite file that nobody else can read or write until Close.
type Exclusive struct {
	db   *sql.DB
	conn *sql.Conn
	read *os.File // closed last: closing any handle of a file drops the process's locks on it
}

// Exclude takes an SQLite file for the caller alone, or returns ErrHeld. What stood in the
// -wal file is in the file itself afterwards. A file that is not there is made, empty.
func Exclude(ctx context.Context, path string) (_ *Exclusive, err error) {
	if err := touch(path); err != nil {
		return nil, err
	}
	v := url.Values{"_pragma": {"busy_timeout(1000)", "locking_mode(EXCLUSIVE)", "synchronous(FULL)"}}
	x := &Exclusive{}
	if x.db, err = sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+v.Encode()); err != nil {
		return nil, err
	}
	x.db.SetMaxOpenConns(1)
	defer func() {
		if err != nil {
			err = errors.Join(held(err), x.Close())
		}
	}()
	if x.conn, err = x.db.Conn(ctx); err != nil {
		return nil, err
	}
	// Leaving WAL needs the file for oneself: whoever only has it open is found out, too. In the
	// exclusive mode the lock that the empty transaction takes is kept until the connection closes.
	for _, statement := range []string{"PRAGMA journal_mode = DELETE", "BEGIN EXCLUSIVE", "COMMIT"} {
		if _, err = x.conn.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	x.read, err = os.Open(path) //nolint:gosec // the operator names it
	return x, err
}

func held(err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code()&0xff == sqlitelib.SQLITE_BUSY {
		return fmt.Errorf("%w: %w", ErrHeld, err)
	}
	return err
}

// Keep writes the file as it is, damage included, and syncs it.
func (x *Exclusive) Keep(to *os.File) error {
	if _, err := io.Copy(to, io.NewSectionReader(x.read, 0, 1<<62)); err != nil {
		return err
	}
	return to.Sync()
}

// Replace puts another SQLite file's content in the place of this one's, in one transaction:
// killed in the middle, whoever opens the file next finds what was there before.
func (x *Exclusive) Replace(from string) error {
	return x.conn.Raw(func(driver any) error {
		c, ok := driver.(interface {
			NewRestore(source string) (*sqlite.Backup, error)
		})
		if !ok {
			return errors.New("this driver cannot restore")
		}
		b, err := c.NewRestore("file:" + (&url.URL{Path: from}).EscapedPath())
		if err != nil {
			return err
		}
		_, err = b.Step(-1)
		return errors.Join(err, b.Finish())
	})
}

// Close lets others in.
func (x *Exclusive) Close() (err error) {
	if x.conn != nil {
		err = x.conn.Close()
	}
	err = errors.Join(err, x.db.Close())
	if x.read != nil {
		err = errors.Join(err, x.read.Close())
	}
	return err
}
