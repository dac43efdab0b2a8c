package sqldb

import (
	"context"
	"errors"
	"fmt"
)

// Bulk is how to write very much, transaction after transaction, beside others or alone.
type Bulk struct {
	db      *DB
	version int64
}

const (
	// aboutUsual and aboutBulk are how many pages SQLite's log grows to before they are written back. A page that
	// many transactions change, as those of random indexes are, is then written back once for all of them.
	aboutUsual = 4096  // 16 MiB; whoever happens to commit then waits for it, so not at SQLite's own 1000
	aboutBulk  = 16384 // 64 MiB, which is what is left of the log's file in any case
)

// Bulk begins. The caller calls End.
func (db *DB) Bulk(ctx context.Context) (*Bulk, error) {
	b := &Bulk{db: db}
	if db.engine != SQLite {
		return b, nil
	}
	if err := b.about(ctx, aboutBulk); err != nil {
		return nil, err
	}
	_, err := b.Disturbed(ctx)
	return b, err
}

// Disturbed reports whether anybody else has written since it was last asked. Where writers do not keep one another
// waiting, nobody ever has.
func (b *Bulk) Disturbed(ctx context.Context) (bool, error) {
	if b.db.engine != SQLite {
		return false, nil
	}
	was := b.version
	err := b.db.writer.QueryRowContext(ctx, "PRAGMA data_version").Scan(&b.version)
	return was != b.version, unavailable(err)
}

// End has the log be written back as often as ever.
func (b *Bulk) End(ctx context.Context) error {
	if b.db.engine != SQLite {
		return nil
	}
	return b.about(context.WithoutCancel(ctx), aboutUsual)
}

func (b *Bulk) about(ctx context.Context, pages int) error {
	var set int
	err := b.db.writer.QueryRowContext(ctx, fmt.Sprintf("PRAGMA wal_autocheckpoint = %d", pages)).Scan(&set)
	if err == nil && set != pages {
		err = errors.New("SQLite does not do what it is told about its log")
	}
	return unavailable(err)
}
