package sqldb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Migrations is a folder of goose SQL files, one text for both engines, forward only. What only SQLite
// understands stands in a comment that begins with its name: /*sqlite WITHOUT ROWID*/.
type Migrations struct{ Files fs.FS }

// Up applies what is missing and returns how many migrations it applied. Any number of
// nodes may call it at once: on PostgreSQL they share a lock, and on SQLite, where each
// migration is an immediate transaction, whoever comes second finds it done and goes on.
func (m Migrations) Up(ctx context.Context, db *DB) (applied int, err error) {
	if err := db.Writable(); err != nil { // goose begins by itself
		return 0, err
	}
	p, err := m.provider(db)
	if err != nil {
		return 0, err
	}
	back, err := db.tempOnDisk(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, back()) }()
	for missing := len(p.ListSources()); ; {
		res, err := p.Up(ctx)
		applied += len(res)
		if partial, ok := errors.AsType[*goose.PartialError](err); ok {
			applied += len(partial.Applied)
		}
		if err == nil {
			return applied, nil
		}
		left, _, look := m.Pending(ctx, db)
		if db.engine != SQLite || look != nil || left >= missing {
			return applied, fmt.Errorf("migrate: %w", unavailable(err))
		}
		missing = left // somebody got further: fewer are left each time round
	}
}

// tempOnDisk has SQLite sort on disk: an index of a large table does not fit into memory.
func (db *DB) tempOnDisk(ctx context.Context) (back func() error, err error) {
	if db.engine != SQLite {
		return func() error { return nil }, nil
	}
	set := func(ctx context.Context, pragma string) error {
		_, err := db.writer.ExecContext(ctx, "PRAGMA "+pragma)
		return unavailable(err)
	}
	return func() error { return set(context.WithoutCancel(ctx), tempInMemory) }, set(ctx, "temp_store(0)")
}

// Pending reports how many migrations are missing, and whether the schema is empty.
// A schema newer than this program is an error: it must not be written by an older one
// than the release before.
func (m Migrations) Pending(ctx context.Context, db *DB) (missing int, empty bool, err error) {
	if empty, err = db.empty(ctx); err != nil || empty {
		all, _ := fs.Glob(m.Files, "*.sql")
		return len(all), empty, err
	}
	p, err := m.provider(db)
	if err != nil {
		return 0, false, err
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return 0, false, fmt.Errorf("read schema version: %w", unavailable(err))
	}
	for _, s := range p.ListSources() {
		if s.Version > current {
			missing++
		}
	}
	if current == 0 { // another node is about to migrate, or the versions were lost and the rows were not
		tables, err := db.tables(ctx, "NOT LIKE 'goose%'")
		return missing, tables == 0, err
	}
	if current > target+1 {
		return 0, false, fmt.Errorf("the database has schema %d and this program knows %d: run a newer countersign", current, target)
	}
	return missing, false, nil
}

func (m Migrations) provider(db *DB) (*goose.Provider, error) {
	dialect, files, opts := goose.DialectSQLite3, fs.FS(forSQLite{m.Files}), []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if db.engine == Postgres {
		dialect, files = goose.DialectPostgres, m.Files
		// A table lock: works where there are no advisory locks. Whoever waits looks again soon, for five minutes.
		locker, err := lock.NewPostgresTableLocker(lock.WithTableLockTimeout(200*time.Millisecond, 1500))
		if err != nil {
			return nil, err
		}
		opts = append(opts, goose.WithLocker(locker))
	}
	return goose.NewProvider(dialect, db.writer, files, opts...)
}

// forSQLite are the files without the marks of the comments that are SQLite's alone.
type forSQLite struct{ fs.FS }

// Open implements fs.FS.
func (f forSQLite) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	if err != nil || path.Ext(name) != ".sql" {
		return file, err
	}
	text, err := io.ReadAll(file)
	return edited{file, bytes.NewReader(regexp.MustCompile(`/\*sqlite (.*?)\*/`).ReplaceAll(text, []byte("$1")))}, err
}

type edited struct {
	fs.File

	text *bytes.Reader
}

// Read implements fs.File.
func (e edited) Read(b []byte) (int, error) { return e.text.Read(b) }

// empty reports whether no migration has ever run here.
func (db *DB) empty(ctx context.Context) (bool, error) {
	tables, err := db.tables(ctx, "= 'goose_db_version'")
	return tables == 0, err
}

func (db *DB) tables(ctx context.Context, named string) (n int, err error) {
	q := "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name "
	if db.engine == Postgres {
		q = "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name "
	}
	err = db.reader.QueryRowContext(ctx, q+named).Scan(&n)
	return n, unavailable(err)
}
