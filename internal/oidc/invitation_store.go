package oidc

import (
	"context"
	"time"

	"countersign/internal/platform/sqldb"
)

func putInvitation(ctx context.Context, tx *sqldb.Tx, digest []byte, until time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO oidc_invitation (digest, created_at, expires_at) VALUES ($1, $2, $3)`, digest, tx.Now().UnixMilli(), until.UnixMilli())
	return err
}

// spendInvitation reports whether an invitation is good, and takes it if it is to be spent. Of any number of calls with one, one gets it.
func spendInvitation(ctx context.Context, tx *sqldb.Tx, digest []byte, spend bool) (good bool, err error) {
	if spend {
		n, err := tx.Exec(ctx, `DELETE FROM oidc_invitation WHERE digest = $1 AND expires_at > $2`, digest, tx.Now().UnixMilli())
		return n == 1, err
	}
	err = tx.QueryRow(ctx, `SELECT COUNT(*) > 0 FROM oidc_invitation WHERE digest = $1 AND expires_at > $2`, digest, tx.Now().UnixMilli()).Scan(&good)
	return good, err
}

func deleteInvitations(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	return tx.Exec(ctx, `DELETE FROM oidc_invitation WHERE expires_at > $1`, tx.Now().UnixMilli())
}
