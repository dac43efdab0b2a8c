package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server/schema"
)

var errNotFile = errors.New("the database is PostgreSQL: use pg_dump and pg_restore, and keep the key file apart")

// Backup writes a consistent copy of the SQLite database to path (mode 0600) while a server
// works on it. The name appears when the copy is whole and on disk, or not at all; a file that
// has it already is replaced only by force.
func Backup(ctx context.Context, c config.Config, now func() time.Time, path string, force bool) error {
	file, isFile := strings.CutPrefix(c.Database.URL.Reveal(), "sqlite:")
	if !isFile {
		return errNotFile
	}
	if _, err := os.Stat(file); err != nil { // opening it would make it
		return fmt.Errorf("the database: %w", err)
	}
	if same(file, path) {
		return errors.New("that is the database itself: choose another name")
	}
	if _, err := os.Lstat(path); err == nil && !force { // the link below decides; this saves the copying
		return fmt.Errorf("%s: %w: choose another name, or use --force", path, fs.ErrExist)
	}
	db, err := sqldb.Open(ctx, sqldb.Options{URL: c.Database.URL.Reveal(), MaxConns: 2, Now: now})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	tmp, err := os.CreateTemp(filepath.Dir(path), ".countersign-backup-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	err = db.CopyTo(ctx, tmp.Name())
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if force {
		err = os.Rename(tmp.Name(), path)
	} else {
		err = os.Link(tmp.Name(), path) // fails if the name is taken
	}
	return errors.Join(err, syncFolder(filepath.Dir(path)))
}

// Restore puts a backup in the place of the SQLite database, in one transaction, and returns
// where the database that was there is kept ("" if there was none). It refuses a backup that is
// damaged, of a newer schema or of other keys, and a database that a server has open.
func Restore(ctx context.Context, c config.Config, now func() time.Time, path string) (kept string, err error) {
	file, isFile := strings.CutPrefix(c.Database.URL.Reveal(), "sqlite:")
	if !isFile {
		return "", errNotFile
	}
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return "", errors.Join(fmt.Errorf("%s is no backup", path), err)
	}
	if same(file, path) {
		return "", errors.New("that is the database itself")
	}
	stage, err := os.MkdirTemp(filepath.Dir(file), ".countersign-restore-*") // mode 0700
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(stage) }()
	// On a copy: looking at a database writes beside it, and the backup may be on a disk for reading.
	copied := filepath.Join(stage, "countersign.db")
	if err := copyFile(path, copied); err != nil {
		return "", err
	}
	if err := examineBackup(ctx, c, now, copied); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	was, err := os.Stat(file)
	existed := err == nil && was.Size() > 0
	held, err := sqldb.Exclude(ctx, file)
	if errors.Is(err, sqldb.ErrHeld) {
		return "", fmt.Errorf("%w: stop the server first; nothing was changed", err)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: if it is damaged, move it and its -wal away and restore again", file, err)
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	if existed {
		if kept, err = keep(held, file, now()); err != nil {
			return "", err
		}
	}
	return kept, held.Replace(copied)
}

// keep writes the database that is about to go beside it.
func keep(held *sqldb.Exclusive, file string, now time.Time) (string, error) {
	name := file + ".before-" + now.UTC().Format("20060102T150405.000Z")
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // beside the database
	if err != nil {
		return "", err
	}
	return name, errors.Join(held.Keep(out), out.Close(), syncFolder(filepath.Dir(file)))
}

var errNoBackup = errors.New("this is no countersign database: name a file that countersign backup wrote; nothing was changed")

func examineBackup(ctx context.Context, c config.Config, now func() time.Time, file string) error {
	if err := startsAsDatabase(file); err != nil { // or the driver would say so, in its words
		return err
	}
	db, err := sqldb.Open(ctx, sqldb.Options{URL: "sqlite:" + file, MaxConns: 2, Now: now})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := db.Sound(ctx); err != nil {
		return err
	}
	_, empty, err := schema.Migrations().Pending(ctx, db)
	if err == nil && empty {
		err = errNoBackup
	}
	if err != nil {
		return err
	}
	ring, err := presentKeys(c)
	if err != nil {
		return err
	}
	known, err := ring.Check(ctx, db)
	if err == nil && !known {
		err = errors.New("no server has used this database")
	}
	return err
}

// startsAsDatabase returns errNoBackup for a file that does not begin as every SQLite database does.
func startsAsDatabase(file string) error {
	const magic = "SQLite format 3\x00" // sqlite.org/fileformat2.html, 1.3.1
	in, err := os.Open(file)            //nolint:gosec // in a folder of ours
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	head := make([]byte, len(magic))
	switch _, err := io.ReadFull(in, head); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), err == nil && string(head) != magic:
		return errNoBackup
	default:
		return err
	}
}

// presentKeys are the keys as they are; none are made.
func presentKeys(c config.Config) (*keyring.Ring, error) {
	if c.Keys.Value.Empty() {
		ring, err := keyring.LoadFile(c.Keys.File)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: restore its copy first: %w", keyring.ErrMissing, err)
		}
		return ring, err
	}
	roots, err := keyring.Parse(c.Keys.Value.Reveal())
	if err != nil {
		return nil, fmt.Errorf("COUNTERSIGN_KEYS: %w", err)
	}
	return keyring.New(roots)
}

// same reports whether two names are one file, by whatever way.
func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

func copyFile(from, to string) error {
	in, err := os.Open(from) //nolint:gosec // the operator names it
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // in a folder of ours
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func syncFolder(path string) error {
	f, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
