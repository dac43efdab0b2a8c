package sqldb

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
)

// work is a transaction under way.
type work interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	Commit() error
	Rollback() error
}

// begin begins a transaction, for which it waits as long as ctx lets it.
func (db *DB) begin(ctx context.Context, readOnly bool) (work, error) {
	pool := db.writer
	if readOnly {
		pool = db.reader
	} else if err := db.Writable(); err != nil {
		return nil, err
	}
	if db.engine == Postgres {
		return pool.BeginTx(ctx, &sql.TxOptions{ReadOnly: readOnly})
	}
	c, err := pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	t := &turn{Conn: c, ctx: ctx}
	if readOnly {
		_, err = c.ExecContext(context.WithoutCancel(ctx), "BEGIN")
	} else {
		_, err = c.ExecContext(ctx, "BEGIN IMMEDIATE")
		err = cmp.Or(err, db.Writable()) // the disk may have failed while this waited
	}
	if err != nil {
		_ = t.Rollback() //nolint:contextcheck // it has ours; and it may have begun all the same
		return nil, err
	}
	return t, nil
}

// turn is a transaction on a connection of SQLite's. Those of database/sql keep a goroutine for themselves and one for each
// result, and the driver one for each statement, to interrupt what takes long: as much work as most statements are. What is
// run here is a file's and takes no time, and BEGIN IMMEDIATE, which waits for whoever writes, is interrupted. A reader waits only
// while another process restores or recovers the file: ten seconds at most.
type turn struct {
	*sql.Conn

	ctx   context.Context //nolint:containedctx // a turn lives no longer than the call that it is for
	ended bool
	asked *sql.Row // the last one
}

// QueryRowContext implements work. A row that nobody scans, because the caller panics before, holds the connection: it is let go
// with the next statement.
func (t *turn) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	t.drop()
	t.asked = t.Conn.QueryRowContext(ctx, query, args...)
	return t.asked
}

func (t *turn) drop() {
	if t.asked != nil {
		_ = t.asked.Scan() // closes it, whatever it says
		t.asked = nil
	}
}

// Commit commits unless the context has ended.
func (t *turn) Commit() error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	t.drop()
	_, err := t.ExecContext(context.WithoutCancel(t.ctx), "COMMIT")
	if err != nil {
		return err // and the caller rolls it back
	}
	t.ended = true
	return t.Close()
}

// Rollback does nothing after Commit. A connection of which it is not known that nothing is under way is thrown away.
func (t *turn) Rollback() error {
	if t.ended {
		return nil
	}
	t.ended = true
	t.drop()
	_, err := t.ExecContext(context.WithoutCancel(t.ctx), "ROLLBACK")
	if err != nil && !strings.Contains(err.Error(), "no transaction is active") { // which is how some failures leave it
		_ = t.Raw(func(any) error { return driver.ErrBadConn })
	}
	_ = t.Close() // it is thrown away if this fails
	return nil
}
