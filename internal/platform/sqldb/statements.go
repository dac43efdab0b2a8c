package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"regexp"
	"strconv"

	"modernc.org/sqlite"
)

// connector opens connections to an SQLite file that keep what they have parsed. Most statements
// here cost less to run than to parse, and the driver alone parses each time.
type connector struct {
	driver *sqlite.Driver
	dsn    string
}

func newSQLite(dsn string) *sql.DB {
	return sql.OpenDB(connector{&sqlite.Driver{}, dsn})
}

// Driver implements driver.Connector.
func (c connector) Driver() driver.Driver { return c.driver }

// Connect implements driver.Connector.
func (c connector) Connect(context.Context) (driver.Conn, error) {
	raw, err := c.driver.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	plain, ok := raw.(sqliteConn)
	if !ok {
		return nil, errors.Join(errors.New("the SQLite driver's connections are not what they were"), raw.Close())
	}
	return &conn{sqliteConn: plain, kept: map[string]statement{}}, nil
}

// sqliteConn is what the driver's connections can do for database/sql, but for running a text at once.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// conn is a connection with its parsed statements. Nobody uses one twice at once.
type conn struct {
	sqliteConn

	kept map[string]statement // but those in use
}

// maxKept is more than the program has statements. Texts put together as they are needed must not pile up.
const maxKept = 200

// numbered is a placeholder.
var numbered = regexp.MustCompile(`\$\d+`)

// unnamed writes the placeholders of a text as bare question marks if each stands once and in its place. To SQLite
// the others are names, and before a statement runs the driver has each of them looked for among all.
func unnamed(text string) string {
	n := 0
	out := numbered.ReplaceAllStringFunc(text, func(s string) string {
		n++
		if s != "$"+strconv.Itoa(n) {
			n = -1 << 30
		}
		return "?"
	})
	if n < 0 {
		return text
	}
	return out
}

// take returns a statement that nobody else uses until it is given back.
func (c *conn) take(ctx context.Context, text string) (statement, error) {
	if s, ok := c.kept[text]; ok {
		delete(c.kept, text)
		return s, nil
	}
	raw, err := c.PrepareContext(ctx, unnamed(text))
	if err != nil {
		return nil, err
	}
	s, ok := raw.(statement)
	if !ok {
		return nil, errors.Join(errors.New("the SQLite driver's statements are not what they were"), raw.Close())
	}
	return s, nil
}

// give keeps a statement for the next time. One that failed is parsed anew: nothing that
// went wrong is to stay.
func (c *conn) give(text string, s statement, err error) error {
	if _, twice := c.kept[text]; twice || err != nil || len(c.kept) >= maxKept {
		return errors.Join(err, s.Close())
	}
	c.kept[text] = s
	return nil
}

// ExecContext implements driver.ExecerContext.
func (c *conn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.take(ctx, text)
	if err != nil {
		return nil, err
	}
	res, err := s.ExecContext(ctx, args)
	return res, c.give(text, s, err)
}

// QueryContext implements driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.take(ctx, text)
	if err != nil {
		return nil, err
	}
	r, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, c.give(text, s, err)
	}
	return &rows{r, func(err error) error { return c.give(text, s, err) }}, nil
}

// rows give their statement back when they are closed.
type rows struct {
	driver.Rows

	give func(error) error
}

// Close implements driver.Rows.
func (r *rows) Close() error { return r.give(r.Rows.Close()) }

// Close finishes the statements first: SQLite keeps a connection alive that still has some.
func (c *conn) Close() error {
	var errs []error
	for _, s := range c.kept {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.sqliteConn.Close())...)
}
