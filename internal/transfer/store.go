package transfer

import (
	"context"
	"time"

	"countersign/internal/platform/sqldb"
)

// doneLines returns which of the digests are of lines that were imported.
func doneLines(ctx context.Context, tx *sqldb.Tx, digests [][]byte) (map[string]bool, error) {
	return among(ctx, tx, `SELECT digest FROM transfer_line WHERE digest IN %s`, digests)
}

func putLines(ctx context.Context, tx *sqldb.Tx, digests [][]byte) (int64, error) {
	now := tx.Now().UnixMilli()
	return tx.Many(ctx, `INSERT INTO transfer_line (digest, at)`, `ON CONFLICT (digest) DO NOTHING`,
		len(digests), func(i int) []any { return []any{digests[i], now} })
}

func pruneLines(ctx context.Context, tx *sqldb.Tx, before time.Time) (int64, error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	return tx.Exec(ctx, `DELETE FROM transfer_line WHERE digest IN
		(SELECT digest FROM transfer_line WHERE at < $1 LIMIT $2)`, before.UnixMilli(), batch)
}

func among(ctx context.Context, tx *sqldb.Tx, query string, values [][]byte) (map[string]bool, error) {
	found := map[string]bool{}
	err := sqldb.In(ctx, tx, query, values, func(scan func(...any) error) error {
		var v []byte
		err := scan(&v)
		found[string(v)] = true
		return err
	})
	return found, err
}

// A dry run remembers what it has seen in a database of its own, which takes no memory.

func makeSeen(ctx context.Context, tx *sqldb.Tx) error {
	_, err := tx.Exec(ctx, `CREATE TABLE seen (digest BYTEA PRIMARY KEY)`)
	return err
}

func seenAmong(ctx context.Context, tx *sqldb.Tx, digests [][]byte) (map[string]bool, error) {
	return among(ctx, tx, `SELECT digest FROM seen WHERE digest IN %s`, digests)
}

func putSeen(ctx context.Context, tx *sqldb.Tx, digests [][]byte) error {
	_, err := tx.Many(ctx, `INSERT INTO seen (digest)`, `ON CONFLICT (digest) DO NOTHING`, len(digests), func(i int) []any { return []any{digests[i]} })
	return err
}
