package oidc

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
)

func consented(ctx context.Context, tx *sqldb.Tx, who account.ID, client string) (scopes []string, err error) {
	var text string
	err = tx.QueryRow(ctx, `SELECT scopes FROM oidc_consent WHERE account_id = $1 AND client_id = $2`, who, client).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return strings.Fields(text), err
}

func putConsent(ctx context.Context, tx *sqldb.Tx, who account.ID, client string, scopes []string) error {
	_, err := tx.Exec(ctx, `INSERT INTO oidc_consent (account_id, client_id, scopes, given_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (account_id, client_id) DO UPDATE SET scopes = $3, given_at = $4`,
		who, client, strings.Join(scopes, " "), tx.Now().UnixMilli())
	return err
}

func deleteConsent(ctx context.Context, tx *sqldb.Tx, who account.ID, client string) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM oidc_consent WHERE account_id = $1 AND client_id = $2`, who, client)
	return n > 0, err
}

// deleteConsents has everybody asked again who has agreed to a client.
func deleteConsents(ctx context.Context, tx *sqldb.Tx, client string) error {
	_, err := tx.Exec(ctx, `DELETE FROM oidc_consent WHERE client_id = $1`, client)
	return err
}
