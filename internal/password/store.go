package password

import (
	"context"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
)

// get returns the zero Hash for an account without a password. The aggregates return one
// row for everybody.
func get(ctx context.Context, tx *sqldb.Tx, id account.ID) (h Hash, err error) {
	err = tx.QueryRow(ctx, `
		SELECT COALESCE(MAX(hash), ''), COALESCE(MAX(key_id), '') FROM password WHERE account_id = $1`,
		string(id)).Scan(&h.PHC, &h.KeyID)
	return h, err
}

func put(ctx context.Context, tx *sqldb.Tx, id account.ID, h Hash) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO password (account_id, hash, key_id, set_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (account_id) DO UPDATE SET hash = excluded.hash, key_id = excluded.key_id, set_at = excluded.set_at`,
		string(id), h.PHC, h.KeyID, tx.Now().UnixMilli())
	return err
}

// swap replaces the hash that was verified and no other: a password set meanwhile wins.
func swap(ctx context.Context, tx *sqldb.Tx, verified Stored, h Hash) error {
	_, err := tx.Exec(ctx, `UPDATE password SET hash = $1, key_id = $2 WHERE account_id = $3 AND hash = $4`,
		h.PHC, h.KeyID, string(verified.account), verified.hash.PHC)
	return err
}
