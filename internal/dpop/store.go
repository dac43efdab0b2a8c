package dpop

import (
	"context"
	"time"

	"countersign/internal/platform/sqldb"
)

// put notes that a proof was used. Of any number of calls with it one is first, on either database.
func put(ctx context.Context, tx *sqldb.Tx, digest []byte, expires time.Time) (first bool, err error) {
	n, err := tx.Exec(ctx, `INSERT INTO dpop_proof (digest, expires_at) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING`, digest, expires.UnixMilli())
	return n == 1, err
}

func prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	return tx.Exec(ctx, `DELETE FROM dpop_proof WHERE digest IN (SELECT digest FROM dpop_proof WHERE expires_at < $1 LIMIT $2)`,
		tx.Now().Add(-sqldb.Skew).UnixMilli(), batch)
}
