package backup

import (
	"context"
	"database/sql"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
)

// put writes the code of one number over the one there is. Two lists made at once wait for one another at the first.
func put(ctx context.Context, tx *sqldb.Tx, who account.ID, number int, digest []byte) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO backup_code (account_id, number, digest, created_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (account_id, number) DO UPDATE SET digest = $3, created_at = $4, used_at = NULL`,
		who, number, digest, tx.Now().UnixMilli())
	return err
}

func spend(ctx context.Context, tx *sqldb.Tx, who account.ID, digest []byte) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE backup_code SET used_at = $1 WHERE digest = $2 AND account_id = $3 AND used_at IS NULL`,
		tx.Now().UnixMilli(), digest, who)
	return n == 1, err
}

// has looks in the index backup_code_left alone: see there.
func has(ctx context.Context, tx *sqldb.Tx, who account.ID) (yes bool, err error) {
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM backup_code WHERE account_id = $1 AND used_at IS NULL)`, who).Scan(&yes)
	return yes, err
}

func remaining(ctx context.Context, tx *sqldb.Tx, who account.ID) (left int, made time.Time, err error) {
	var at sql.NullInt64
	err = tx.QueryRow(ctx, `SELECT COUNT(*) - COUNT(used_at), MAX(created_at) FROM backup_code WHERE account_id = $1`, who).Scan(&left, &at)
	if at.Valid {
		made = time.UnixMilli(at.Int64)
	}
	return left, made, err
}

func deleteSince(ctx context.Context, tx *sqldb.Tx, who account.ID, since time.Time) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM backup_code WHERE account_id = $1 AND created_at >= $2`, who, since.UnixMilli())
	return n > 0, err
}
