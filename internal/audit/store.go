package audit

import (
	"context"
	"database/sql"

	"countersign/internal/platform/sqldb"
)

type row struct {
	ID      string
	At      int64
	Kind    Kind
	Account string
	Actor   string
	Source  []byte
	Detail  string
	MAC     []byte
}

func put(ctx context.Context, tx *sqldb.Tx, r row) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO audit_event (id, at, kind, account_id, actor, source, detail, mac)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		r.ID, r.At, r.Kind, sql.NullString{String: r.Account, Valid: r.Account != ""}, r.Actor, r.Source, r.Detail, r.MAC)
	return err
}

func each(ctx context.Context, tx *sqldb.Tx, after string, n int, visit func(row)) error {
	return tx.Each(ctx, `
		SELECT id, at, kind, account_id, actor, source, detail, mac FROM audit_event
		WHERE id > $1 ORDER BY id LIMIT $2`,
		func(scan func(...any) error) error {
			var r row
			var account sql.NullString
			if err := scan(&r.ID, &r.At, &r.Kind, &account, &r.Actor, &r.Source, &r.Detail, &r.MAC); err != nil {
				return err
			}
			r.Account = account.String
			visit(r)
			return nil
		}, after, n)
}
