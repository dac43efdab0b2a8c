package signin

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
)

type flow struct {
	ID        string
	Account   account.ID // a decoy's for whoever does not exist
	NameKey   []byte     // limits that show count by the name typed,
	OwnerKey  []byte     // and limits over all names of the account by this
	Step      Step
	Barred    bool // can never succeed
	Nonce     string
	ExpiresAt time.Time

	From Client // who sent the request at hand; not stored
}

func put(ctx context.Context, tx *sqldb.Tx, f flow, handle, browser []byte) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO signin_flow (id, handle, browser, account_id, name_key, owner_key, step, barred, nonce, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		f.ID, handle, browser, f.Account, f.NameKey, f.OwnerKey, f.Step, f.Barred, f.Nonce, tx.Now().UnixMilli(), f.ExpiresAt.UnixMilli())
	return err
}

func byHandle(ctx context.Context, tx *sqldb.Tx, handle, browser []byte) (f flow, ok bool, err error) {
	var expires int64
	err = tx.QueryRow(ctx, `
		SELECT id, account_id, name_key, owner_key, step, barred, nonce, expires_at FROM signin_flow
		WHERE handle = $1 AND browser = $2 AND expires_at > $3`,
		handle, browser, tx.Now().UnixMilli()).Scan(&f.ID, &f.Account, &f.NameKey, &f.OwnerKey, &f.Step, &f.Barred, &f.Nonce, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return flow{}, false, nil
	}
	f.ExpiresAt = time.UnixMilli(expires)
	return f, err == nil, err
}

// move writes the flow's new step if it still stands at from.
func move(ctx context.Context, tx *sqldb.Tx, f flow, from Step) (bool, error) {
	n, err := tx.Exec(ctx, `
		UPDATE signin_flow SET step = $1, barred = $2, nonce = $3, expires_at = $4
		WHERE id = $5 AND step = $6 AND expires_at > $7`,
		f.Step, f.Barred, f.Nonce, f.ExpiresAt.UnixMilli(), f.ID, from, tx.Now().UnixMilli())
	return n == 1, err
}

func prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	return tx.Exec(ctx, `DELETE FROM signin_flow WHERE id IN
		(SELECT id FROM signin_flow WHERE expires_at < $1 LIMIT $2)`, tx.Now().UnixMilli(), batch)
}
