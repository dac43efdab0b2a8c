// Package dbtest gives tests real, migrated databases: SQLite always, PostgreSQL on the
// server named by the environment variable TEST_POSTGRES (scripts/with-postgres sets it).
package dbtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/platform/sqldb"
	"countersign/internal/server/schema"
)

// Clock is a clock that stands still until it is advanced. The zero Clock is not ready: use NewClock.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that begins at the real time, in whole milliseconds as the
// database keeps it.
func NewClock() *Clock { return &Clock{now: time.Now().UTC().Truncate(time.Millisecond)} }

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock by d.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Engines returns every engine the program runs on, for tests that open handles of their own.
func Engines() []sqldb.Engine { return []sqldb.Engine{sqldb.SQLite, sqldb.Postgres} }

// Each runs f as a subtest on every engine, on a fresh migrated database whose clock stands still.
func Each(t *testing.T, f func(t *testing.T, db *sqldb.DB)) {
	t.Helper()
	EachClock(t, func(t *testing.T, db *sqldb.DB, _ *Clock) { f(t, db) })
}

// EachClock is Each for tests that move the database's clock.
func EachClock(t *testing.T, f func(t *testing.T, db *sqldb.DB, clock *Clock)) {
	t.Helper()
	for _, engine := range Engines() {
		t.Run(string(engine), func(t *testing.T) {
			clock := NewClock()
			f(t, Open(t, NewURL(t, engine), clock), clock)
		})
	}
}

// SQLite returns a fresh migrated SQLite database.
func SQLite(t testing.TB) *sqldb.DB {
	t.Helper()
	return Open(t, NewURL(t, sqldb.SQLite), NewClock())
}

// Postgres returns a fresh migrated PostgreSQL database, or skips as NewURL does.
func Postgres(t testing.TB) *sqldb.DB {
	t.Helper()
	return Open(t, NewURL(t, sqldb.Postgres), NewClock())
}

// Open opens a handle that closes with the test. Two handles on one URL are two nodes.
func Open(t testing.TB, databaseURL string, clock *Clock) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), sqldb.Options{URL: databaseURL, Now: clock.Now})
	if err != nil {
		t.Fatalf("open test database: %v", err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// NewURL returns the URL of a fresh migrated database. For PostgreSQL without TEST_POSTGRES
// the test is skipped, but fails when CI=true: there, a skip would hide half of the tests.
func NewURL(t testing.TB, engine sqldb.Engine) string {
	t.Helper()
	if engine == sqldb.SQLite {
		file, err := migratedFile()
		if err != nil {
			t.Fatalf("make the SQLite template: %v", err)
		}
		path := filepath.Join(t.TempDir(), "countersign.db")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		return "sqlite:" + path
	}
	server := server(t)
	template, err := migratedTemplate(server)
	if err != nil {
		t.Fatalf("make the PostgreSQL template: %v", err)
	}
	return create(t, server, template)
}

// EmptyURL returns the URL of a fresh database that was never migrated.
func EmptyURL(t testing.TB, engine sqldb.Engine) string {
	t.Helper()
	if engine == sqldb.SQLite {
		return "sqlite:" + filepath.Join(t.TempDir(), "countersign.db")
	}
	return create(t, server(t), "template0")
}

func server(t testing.TB) string {
	t.Helper()
	server := os.Getenv("TEST_POSTGRES")
	if server == "" && os.Getenv("CI") == "true" {
		t.Fatal("TEST_POSTGRES must be set in CI: run the tests under scripts/with-postgres")
	}
	if server == "" {
		t.Skip("TEST_POSTGRES is not set: run under scripts/with-postgres to test PostgreSQL too")
	}
	return server
}

// create makes a database that is dropped when the test ends.
func create(t testing.TB, server, template string) string {
	t.Helper()
	name := randomName("test")
	err := run(server, "CREATE DATABASE "+name+" TEMPLATE "+template+" STRATEGY FILE_COPY") // a fourth of the usual time
	if err != nil {
		err = run(server, "CREATE DATABASE "+name+" TEMPLATE "+template) // PostgreSQL before 15
	}
	if err != nil {
		t.Fatalf("make a PostgreSQL database: %v", err)
	}
	t.Cleanup(func() {
		if err := run(server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Logf("drop %s: %v", name, err)
		}
	})
	return named(server, name)
}

// migratedFile returns the bytes of a migrated SQLite database. Copying them is some fifty
// times cheaper than migrating.
var migratedFile = sync.OnceValues(func() (file []byte, err error) {
	dir, err := os.MkdirTemp("", "countersign-dbtest-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "template.db")
	if err := migrate("sqlite:" + path); err != nil {
		return nil, err
	}
	return os.ReadFile(path) // closing has folded the WAL into it
})

// templates remembers the template of each server.
var templates sync.Map

func migratedTemplate(server string) (name string, err error) {
	once, _ := templates.LoadOrStore(server, sync.OnceValues(func() (string, error) { return newTemplate(server) }))
	return once.(func() (string, error))() //nolint:forcetypeassert // nothing else is stored
}

// newTemplate returns a migrated database to copy. It is named after the schema's hash, so
// that the test programs of all packages share one; it is made under another name and
// renamed, so that nobody copies half of it.
func newTemplate(server string) (string, error) {
	sum, err := schemaHash()
	if err != nil {
		return "", err
	}
	name := "countersign_template_" + sum
	if there, err := exists(server, name); err != nil || there {
		return name, err
	}
	draft := randomName("draft")
	if err := run(server, "CREATE DATABASE "+draft+" TEMPLATE template0"); err != nil {
		return "", err
	}
	err = migrate(named(server, draft))
	if err == nil {
		err = run(server, "ALTER DATABASE "+draft+" RENAME TO "+name)
	}
	if err == nil {
		return name, nil
	}
	err = errors.Join(err, run(server, "DROP DATABASE IF EXISTS "+draft+" WITH (FORCE)"))
	if there, look := exists(server, name); look == nil && there {
		return name, nil // another test program was faster
	}
	return "", err
}

func schemaHash() (string, error) {
	files := schema.Migrations().Files
	names, err := fs.Glob(files, "*.sql") // sorted
	h := sha256.New()
	for _, name := range names {
		text, e := fs.ReadFile(files, name)
		err = cmp.Or(err, e)
		_, _ = fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), err
}

func migrate(databaseURL string) error {
	ctx := context.Background()
	db, err := sqldb.Open(ctx, sqldb.Options{URL: databaseURL, Now: time.Now, MaxConns: 2})
	if err != nil {
		return err
	}
	_, err = schema.Migrations().Up(ctx, db)
	return errors.Join(err, db.Close())
}

// run runs a statement that no transaction may hold, on a connection of its own.
func run(server, statement string) error {
	return connect(server, func(ctx context.Context, db *sql.DB) error {
		_, err := db.ExecContext(ctx, statement)
		return err
	})
}

func exists(server, database string) (there bool, err error) {
	err = connect(server, func(ctx context.Context, db *sql.DB) error {
		q := "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)"
		return db.QueryRowContext(ctx, q, database).Scan(&there)
	})
	return there, err
}

func connect(server string, f func(context.Context, *sql.DB) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // a test's own context is over in its clean-up
	defer cancel()
	db, err := sql.Open("pgx", server) // registered by sqldb
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, db), db.Close())
}

// named returns the server's URL with another database in it.
func named(server, database string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server
	}
	u.Path = "/" + database
	return u.String()
}

func randomName(kind string) string {
	return "countersign_" + kind + "_" + strings.ToLower(rand.Text())
}
