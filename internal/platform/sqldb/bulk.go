package sqldb

import "context"

// Bulk notices whether anybody else writes, for whoever writes very much and is to give way.
type Bulk struct {
	db      *DB
	version int64
}

// Bulk begins to notice.
func (db *DB) Bulk(ctx context.Context) (*Bulk, error) {
	b := &Bulk{db: db}
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
