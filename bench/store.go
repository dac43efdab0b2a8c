package main

import (
	"context"

	"countersign/internal/platform/sqldb"
)

// widen gives SQLite's one writer room for the pages that a filler comes back to again and again.
// The served database never sees it: the setting is the connection's.
func widen(ctx context.Context, tx *sqldb.Tx, e sqldb.Engine) error {
	if e != sqldb.SQLite {
		return nil
	}
	_, err := tx.Exec(ctx, `PRAGMA cache_size = -512000`)
	return err
}
