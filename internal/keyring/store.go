package keyring

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"countersign/internal/platform/sqldb"
)

// ErrWrongKey means the database was written with a key that this ring does not have.
var ErrWrongKey = errors.New("the key file does not fit the database")

// ErrMissing means there is no key file, and the database was written with one.
var ErrMissing = errors.New("the key file is missing")

// first is the row whose seal tells which key is the first of the file: the one that
// indexes, digests and peppers. The other rows are named after the keys that sealed them.
const first = "first"

// LoadOrCreate loads the key file, or makes one for a database that no ring has claimed.
// empty says that the database has no schema yet. It writes nothing to the database: run
// Check after it, then migrate, then Claim.
func LoadOrCreate(ctx context.Context, db *sqldb.DB, path string, empty bool) (*Ring, error) {
	r, err := LoadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	if !empty {
		var rows int
		err := db.Read(ctx, func(tx *sqldb.Tx) error {
			return tx.QueryRow(ctx, "SELECT count(*) FROM keyring_check").Scan(&rows)
		})
		if err != nil {
			return nil, err
		}
		if rows > 0 {
			return nil, fmt.Errorf("%w: there is no %s, and without it nothing in this database opens: restore the copy (keys.file)", ErrMissing, path)
		}
	}
	return CreateFile(path)
}

// Check compares the ring with the database and writes nothing. known is false for a
// database that no ring has claimed yet.
func (r *Ring) Check(ctx context.Context, db *sqldb.DB) (known bool, err error) {
	err = db.Read(ctx, func(tx *sqldb.Tx) error {
		known, err = r.check(ctx, tx)
		return err
	})
	return known, err
}

func (r *Ring) check(ctx context.Context, tx *sqldb.Tx) (known bool, err error) {
	err = tx.Each(ctx, "SELECT key_id, sealed FROM keyring_check", func(scan func(...any) error) error {
		var id string
		var sealed []byte
		if err := scan(&id, &sealed); err != nil {
			return err
		}
		known = true
		if _, err := r.Open(sealed, checkPlace(id)); err != nil {
			return fmt.Errorf("%w: name the file this database was made with (keys.file): %w", ErrWrongKey, err)
		}
		if by := string(sealed[1 : 1+idLen]); id == first && by != r.first {
			return fmt.Errorf("%w: its first key must be %s, and is %s", ErrWrongKey, by, r.first)
		}
		return nil
	})
	return known, err
}

// Claim records which keys the database is written with, so that the next start can tell.
// Of two rings that claim one database at once, one gets ErrWrongKey.
func (r *Ring) Claim(ctx context.Context, db *sqldb.DB) error {
	return db.Write(ctx, func(tx *sqldb.Tx) error {
		rows := []struct{ id, key string }{{first, r.first}, {r.current, r.current}}
		for _, row := range rows {
			by := &Ring{current: row.key, keys: r.keys}
			_, err := tx.Exec(ctx, `INSERT INTO keyring_check (key_id, sealed, created_at) VALUES ($1, $2, $3)
				ON CONFLICT (key_id) DO NOTHING`,
				row.id, by.Seal([]byte("countersign"), checkPlace(row.id)), tx.Now().UnixMilli())
			if err != nil {
				return err
			}
		}
		_, err := r.check(ctx, tx) // sees the row that ours gave way to
		return err
	})
}

func checkPlace(id string) Place { return Place{"keyring_check", id, "sealed"} }
