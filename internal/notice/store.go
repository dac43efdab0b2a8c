package notice

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"countersign/internal/platform/sqldb"
)

func put(ctx context.Context, tx *sqldb.Tx, digest []byte, l Link, expires time.Time) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO notice_link (digest, account_id, address_id, kind, at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		digest, l.Account, l.Address, l.Kind, l.At.UnixMilli(), expires.UnixMilli())
	return err
}

// use takes a link that nobody has used.
func use(ctx context.Context, tx *sqldb.Tx, digest []byte) (l Link, ok bool, err error) {
	var at int64
	err = tx.QueryRow(ctx, `
		UPDATE notice_link SET used_at = $1 WHERE digest = $2 AND used_at IS NULL AND expires_at > $1
		RETURNING account_id, address_id, kind, at`,
		tx.Now().UnixMilli(), digest).Scan(&l.Account, &l.Address, &l.Kind, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return Link{}, false, nil
	}
	l.At = time.UnixMilli(at)
	return l, err == nil, err
}

func prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	return tx.Exec(ctx, `DELETE FROM notice_link WHERE digest IN
		(SELECT digest FROM notice_link WHERE expires_at < $1 LIMIT $2)`, tx.Now().UnixMilli(), batch)
}
