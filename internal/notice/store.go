package notice

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
)

func put(ctx context.Context, tx *sqldb.Tx, digest []byte, l Link, expires time.Time) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO notice_link (digest, account_id, address_id, kind, at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		digest, l.Account, l.Address, l.Kind, l.At.UnixMilli(), expires.UnixMilli())
	return err
}

// next returns the link of a digest, or the one after it in the index, which is not known: a row less would
// take less time, and so would an account less that is then looked at. After the last link comes account.Last.
func next(ctx context.Context, tx *sqldb.Tx, digest []byte) (l Link, known bool, err error) {
	var found []byte
	var at int64
	err = tx.QueryRow(ctx, `
		SELECT digest, account_id, address_id, kind, at FROM notice_link WHERE digest >= $1 ORDER BY digest LIMIT 1`,
		digest).Scan(&found, &l.Account, &l.Address, &l.Kind, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return Link{Account: account.Last}, false, nil
	}
	l.At = time.UnixMilli(at)
	return l, bytes.Equal(found, digest), err
}

// use takes a link that went to an address and that nobody has used.
func use(ctx context.Context, tx *sqldb.Tx, digest []byte, address string) (bool, error) {
	n, err := tx.Exec(ctx, `
		UPDATE notice_link SET used_at = $1 WHERE digest = $2 AND address_id = $3 AND used_at IS NULL AND expires_at > $1`,
		tx.Now().UnixMilli(), digest, address)
	return n == 1, err
}

func erase(ctx context.Context, tx *sqldb.Tx, who account.ID) error {
	_, err := tx.Exec(ctx, `DELETE FROM notice_link WHERE account_id = $1`, who)
	return err
}

func prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	return tx.Exec(ctx, `DELETE FROM notice_link WHERE digest IN
		(SELECT digest FROM notice_link WHERE expires_at < $1 LIMIT $2)`, tx.Now().UnixMilli(), batch)
}
