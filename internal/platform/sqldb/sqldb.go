// Package sqldb runs transactions on SQLite and PostgreSQL from one SQL text.
//
// SQL uses $1 placeholders, integer milliseconds for time, TEXT for ids, BYTEA for
// bytes, and nothing that only one engine has (but see IfShared). What is counted, spent or rotated is
// checked and changed in one statement, which is correct on both engines at READ COMMITTED.
package sqldb

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"

	"countersign/internal/platform/fault"
)

// Engine names the database behind a DB.
type Engine string

// The engines.
const (
	SQLite   Engine = "sqlite"
	Postgres Engine = "postgres"
)

// DB is an open database. It is safe for concurrent use.
type DB struct {
	engine         Engine
	writer, reader *sql.DB
	now            func() time.Time
	patience       time.Duration
	log            *group        // SQLite's; nil where commits are durable by themselves
	wal            *walLog       // that log syncs
	checkpoints    *checkpointer // SQLite's; nil on PostgreSQL
	before         func(context.Context, *Tx) error
}

// Options opens a database. URL and Now are required.
type Options struct {
	// URL is "sqlite:PATH" or a PostgreSQL URL ("postgres://…").
	URL string
	// MaxConns bounds the connections (PostgreSQL) or the readers (SQLite). 0 means 16.
	MaxConns int
	// Now is the clock of every transaction.
	Now func() time.Time
	// Patience is how long one transaction may take, the wait for a connection included. A
	// database that hangs and one that is gone are then the same to the caller. On SQLite it is looked at
	// between statements and rows: one that has begun is left to finish. 0 waits for ever.
	Patience time.Duration
}

// Open opens the database and reaches it once. It makes an SQLite file that is not there
// (mode 0600, and SQLite gives its -wal and -shm the same) and changes nothing else.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.MaxConns == 0 {
		o.MaxConns = 16
	}
	db := &DB{now: o.Now, patience: o.Patience}
	var err error
	switch {
	case strings.HasPrefix(o.URL, "sqlite:"):
		err = db.openSQLite(strings.TrimPrefix(o.URL, "sqlite:"), o.MaxConns) //nolint:contextcheck // its checkpointer lives until Close
	case strings.HasPrefix(o.URL, "postgres://"), strings.HasPrefix(o.URL, "postgresql://"):
		err = db.openPostgres(o.URL, o.MaxConns)
	default:
		return nil, errors.New(`database.url must begin with "sqlite:" or "postgres://"`)
	}
	if err != nil {
		return nil, err
	}
	err = db.Ping(ctx)
	if err == nil && db.engine == SQLite { // with the last connection SQLite takes the log away: the checkpointer has one that is never thrown away
		err = unavailable(db.checkpoints.own.PingContext(ctx))
	}
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("reach database: %w", err)
	}
	if db.engine == SQLite {
		if err := db.anew(ctx); ctx.Err() != nil {
			_ = db.Close()
			return nil, ctx.Err()
		} else if err != nil { // a full disk: what is there can be read
			db.log.failed = fmt.Errorf("%w: %w", errLost, err)
		}
	}
	return db, nil
}

func (db *DB) openSQLite(path string, readers int) error {
	db.engine = SQLite
	if err := touch(path); err != nil {
		return err
	}
	dsn := func(extra string) string {
		v := url.Values{"_pragma": {
			"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(NORMAL)", "foreign_keys(1)",
			"cache_size(-8000)", fmt.Sprintf("journal_size_limit(%d)", mostLogged*4096), fmt.Sprintf("wal_autocheckpoint(%d)", mostLogged),
		}}
		return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + v.Encode() + extra
	}
	file, err := filepath.EvalSymlinks(path) // as SQLite does: its log is beside the file, not beside a link to it
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	db.wal = &walLog{path: file + "-wal"}
	db.log = &group{sync: db.wal.sync}
	// One writer connection: more starve one another past busy_timeout.
	db.writer = newSQLite(dsn("&_txlock=immediate&_pragma=" + tempInMemory)) // the lock is for goose, which begins by database/sql
	db.writer.SetMaxOpenConns(1)
	db.reader = newSQLite(dsn("&_pragma=query_only(1)"))
	db.reader.SetMaxOpenConns(readers)
	db.reader.SetMaxIdleConns(readers)
	db.checkpoints = newCheckpointer(newSQLite(dsn("")), db.writer, restartAt)
	return nil
}

// tempInMemory keeps the writer's temporary files in memory. What a statement of many rows would undo is one: on disk
// each page of a random index that it touches would be written there as well.
const tempInMemory = "temp_store(2)"

// touch makes the file with the mode that SQLite, left alone, would leave to the umask.
func touch(path string) error {
	if path == "" || strings.HasPrefix(path, ":") {
		return errors.New("database.url names no file: want sqlite:PATH (every connection would have a database of its own)")
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator names it
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the database's folder %s does not exist: make it, or change database.url", filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	return f.Close()
}

func (db *DB) openPostgres(dsn string, conns int) (err error) {
	db.engine = Postgres
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return err
	}
	if config.ConnectTimeout == 0 { // unless the operator has said so: a server that vanished never answers
		config.ConnectTimeout = 5 * time.Second
	}
	db.writer = stdlib.OpenDB(*config, stdlib.OptionShouldPing(dead), stdlib.OptionAfterConnect(boundPauses))
	db.writer.SetMaxOpenConns(conns)
	db.writer.SetMaxIdleConns(conns)
	db.writer.SetConnMaxIdleTime(5 * time.Minute)
	db.reader = db.writer
	return nil
}

// dead tries a connection that was idle; if it does not answer, the driver throws it away. Without
// a bound, every connection that idled through an outage which nobody announced would cost
// somebody all their patience.
func dead(ctx context.Context, p stdlib.ShouldPingParams) bool {
	if p.IdleDuration < time.Second {
		return false
	}
	ctx, done := context.WithTimeout(ctx, time.Second)
	defer done()
	return p.Conn.PgConn().Ping(ctx) != nil // which has closed it
}

// boundPauses has the server end a transaction whose client says nothing more for ten seconds,
// because it froze or the network swallowed it. Its locks would stop everybody else meanwhile.
func boundPauses(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, "SET idle_in_transaction_session_timeout = 10000")
	return err
}

// Before has f run at the beginning of every transaction from now on, and each fail that f fails. It
// is set once, before the DB is shared.
func (db *DB) Before(f func(context.Context, *Tx) error) { db.before = f }

// Patient is the same database with another patience, for what nobody waits for but an operator.
func (db *DB) Patient(patience time.Duration) *DB {
	other := *db
	other.patience = patience
	return &other
}

// Engine returns which database this is.
func (db *DB) Engine() Engine { return db.engine }

// Now returns the database clock's time, the same that transactions see.
func (db *DB) Now() time.Time { return db.now() }

// Ping reaches the database once.
func (db *DB) Ping(ctx context.Context) error { return unavailable(db.writer.PingContext(ctx)) }

// Writable returns what keeps everything from being written until the database is opened anew: a disk that did not take what was written.
func (db *DB) Writable() error {
	if db.log == nil {
		return nil
	}
	if err := db.log.broken(); err != nil {
		return fault.Later(fault.Unavailable, "database_unavailable", 5*time.Second, err)
	}
	return nil
}

// ClockDifference returns how far the database server's clock is ahead of ours. SQLite has no clock of its own.
func (db *DB) ClockDifference(ctx context.Context) (time.Duration, error) {
	if db.engine == SQLite {
		return 0, nil
	}
	var ms int64
	if err := db.reader.QueryRowContext(ctx, "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)").Scan(&ms); err != nil {
		return 0, unavailable(err)
	}
	return time.UnixMilli(ms).Sub(db.now()), nil
}

// Stats counts the connections of the pool that writes.
func (db *DB) Stats() sql.DBStats { return db.writer.Stats() }

// Close closes every connection.
func (db *DB) Close() error {
	if db.engine == Postgres {
		return db.writer.Close()
	}
	db.log.end(db.wal)
	err := errors.Join(db.checkpoints.close(), db.reader.Close(), db.writer.Close()) // the checkpointer uses the writer
	return errors.Join(err, db.log.close(db.wal))
}

// Tx is one transaction.
type Tx struct {
	tx     work
	now    time.Time
	engine Engine
	after  []func()
	// caller is the context of Read or Write, and bounded the same with the patience's end.
	caller, bounded context.Context //nolint:containedctx // a Tx lives no longer than the call it is given to
}

// Skew is how far the clocks of two nodes may differ. What another node wrote may be that far ahead; a
// flow from further ahead was begun by a clock that was wrong: it and its code would live longer than
// they may, so it is over.
const Skew = 15 * time.Second

// Engine is the database's, for the few statements that one of them lacks.
func (tx *Tx) Engine() Engine { return tx.engine }

// Now returns the time this try of the transaction began.
func (tx *Tx) Now() time.Time { return tx.now }

// AfterCommit runs f once the transaction has been committed, and not otherwise.
func (tx *Tx) AfterCommit(f func()) { tx.after = append(tx.after, f) }

// within bounds a statement by the patience. A context of the caller's own making has its own bounds. What SQLite has begun
// it is left to finish; see turn.
func (tx *Tx) within(ctx context.Context) context.Context {
	if ctx == tx.caller {
		ctx = tx.bounded
	}
	if tx.engine == SQLite && ctx.Err() == nil {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// IfShared returns a part of a statement that is needed only where others write while this transaction does: a lock on
// rows, a second look. SQLite, where nobody can, gets none, and knows no words for locks.
func (tx *Tx) IfShared(part string) string {
	if tx.engine == SQLite {
		return ""
	}
	return part
}

// Exec runs a statement and returns how many rows it changed.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	res, err := tx.tx.ExecContext(tx.within(ctx), query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// QueryRow runs a query for at most one row; Scan returns sql.ErrNoRows when there is none.
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return tx.tx.QueryRowContext(tx.within(ctx), query, args...)
}

// Each runs a query and calls scan for every row.
func (tx *Tx) Each(ctx context.Context, query string, scan func(scan func(...any) error) error, args ...any) error {
	rows, err := tx.tx.QueryContext(tx.within(ctx), query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := cmp.Or(ctx.Err(), tx.bounded.Err()); err != nil {
			return err
		}
		if err := scan(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Params returns n placeholders for a list in a statement, the first numbered from: "$3, $4".
func Params(from, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("$" + strconv.Itoa(from+i))
	}
	return b.String()
}

// Args returns the arguments for such a list.
func Args[T any](values []T) []any {
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	return args
}

// Read runs fn in a read-only transaction.
func (db *DB) Read(ctx context.Context, fn func(*Tx) error) error {
	_, err := db.try(ctx, true, fn)
	return err
}

// Write runs fn in a transaction that may change rows, and runs it again after a lost
// race (up to 10 times), so fn touches rows and nothing else. Write never nests: SQLite
// has one writer, and an inner Write would wait for the outer.
func (db *DB) Write(ctx context.Context, fn func(*Tx) error) error {
	tx, err := db.write(ctx, fn)
	if err != nil {
		return err
	}
	return db.settle(tx)
}

// WriteSoon is Write for what will be done again if a power cut undoes it: on SQLite it is on disk with whoever
// calls Write or Sync next, and keeps nobody waiting for a disk. On PostgreSQL it is Write.
func (db *DB) WriteSoon(ctx context.Context, fn func(*Tx) error) error {
	if db.log == nil {
		return db.Write(ctx, fn)
	}
	tx, err := db.write(ctx, fn)
	if err == nil {
		tx.committed()
	}
	return err
}

func (db *DB) write(ctx context.Context, fn func(*Tx) error) (*Tx, error) {
	const tries = 10 // a race is lost to somebody's progress; ten in a row is an overload
	for i := 1; ; i++ {
		tx, err := db.try(ctx, false, fn)
		if err == nil && db.checkpoints != nil {
			db.checkpoints.count()
		}
		if err == nil || i == tries || !lostRace(err) {
			return tx, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(i) * 5 * time.Millisecond):
		}
	}
}

// settle waits until the commit would survive a power cut, and only then lets anybody hear of it.
func (db *DB) settle(tx *Tx) error {
	err := db.Sync()
	tx.committed() // whatever the disk says
	return err
}

// Sync returns once all that has been committed would survive a power cut.
func (db *DB) Sync() error {
	if db.log == nil {
		return nil
	}
	if err := db.log.wait(); err != nil {
		return fault.Later(fault.Unavailable, "database_unavailable", 5*time.Second, err)
	}
	return nil
}

func (tx *Tx) committed() {
	for _, f := range tx.after {
		f()
	}
}

func (db *DB) try(ctx context.Context, readOnly bool, fn func(*Tx) error) (*Tx, error) {
	bounded := ctx
	if db.patience > 0 {
		var done context.CancelFunc
		bounded, done = context.WithTimeout(ctx, db.patience)
		defer done()
	}
	t, err := db.begin(bounded, readOnly)
	if err != nil {
		return nil, unavailable(err)
	}
	tx := &Tx{tx: t, now: db.now(), engine: db.engine, caller: ctx, bounded: bounded}
	defer func() { _ = t.Rollback() }() // a no-op after Commit
	if db.before != nil {
		if err := db.before(ctx, tx); err != nil {
			return nil, unavailable(err)
		}
	}
	if err := fn(tx); err != nil {
		return nil, unavailable(err)
	}
	return tx, unavailable(t.Commit())
}

// lostRace reports whether another transaction got in between and a new try may succeed.
// SQLite's plain BUSY is not one: that try has waited its ten seconds already.
func lostRace(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code == "40001" || e.Code == "40P01"
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() == sqlitelib.SQLITE_BUSY_SNAPSHOT || e.Code() == sqlitelib.SQLITE_BUSY_RECOVERY
	}
	return false
}

// unavailable classes the failures that mean "the database is away or full", so that the
// caller is told to come back and not that something is broken.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok || !away(err) {
		return err
	}
	return fault.Later(fault.Unavailable, "database_unavailable", 5*time.Second, err)
}

func away(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlitelib.SQLITE_BUSY, sqlitelib.SQLITE_FULL, sqlitelib.SQLITE_IOERR, sqlitelib.SQLITE_CANTOPEN, sqlitelib.SQLITE_READONLY:
			return true
		}
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		for _, class := range []string{"08", "40", "53", "57"} { // connection, races lost to the end, resources (disk full, too many connections), operator
			if strings.HasPrefix(e.Code, class) {
				return true
			}
		}
		return e.Code == "25006" || e.Code == "25P03" // read-only: a standby, or a server that ran full; ended for its silence
	}
	if errors.Is(err, context.Canceled) {
		return false // the caller went away, not the database
	}
	if _, ok := errors.AsType[net.Error](err); ok { // refused, reset, or the deadline passed while waiting
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	for _, gone := range []error{sql.ErrConnDone, driver.ErrBadConn, io.ErrUnexpectedEOF} {
		if errors.Is(err, gone) {
			return true
		}
	}
	if err.Error() == "sql: database is closed" { // database/sql exports no value for it: we are shutting down
		return true
	}
	return pgconn.SafeToRetry(err)
}
