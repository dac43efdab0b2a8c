package audit

import (
	"context"
	"database/sql"
	"errors"

	"countersign/internal/keyring"
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

// The columns by which rows are counted.
func sources() keyring.Column { return keyring.Column{Table: "audit_event", Name: "source"} }
func macs() keyring.Column    { return keyring.Column{Table: "audit_event", Name: "mac"} }

// rewrite changes nothing of an event but what keys made.
func rewrite(ctx context.Context, tx *sqldb.Tx, row keyring.Renewal) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE audit_event SET source = $1, mac = $2 WHERE id = $3 AND mac = $4`,
		row.Now[0], row.Now[1], row.Row, row.Was[1])
	return n == 1, err
}

func each(ctx context.Context, tx *sqldb.Tx, after string, n int, visit func(row)) error {
	return tx.Each(ctx, `SELECT `+columns+` FROM audit_event WHERE id > $1 ORDER BY id LIMIT $2`, visiting(visit), after, n)
}

func of(ctx context.Context, tx *sqldb.Tx, account string, s Span, visit func(row)) error {
	return tx.Each(ctx, `
		SELECT `+columns+` FROM audit_event
		WHERE account_id = $1 AND at >= $2 AND at <= $3 AND (at < $3 OR id < $4)
		ORDER BY at DESC, id DESC LIMIT $5`,
		visiting(visit), account, s.Since.UnixMilli(), s.Before.At.UnixMilli(), s.Before.ID, s.Most)
}

func find(ctx context.Context, tx *sqldb.Tx, account, id string) (row, bool, error) {
	r, err := scanRow(tx.QueryRow(ctx, `SELECT `+columns+` FROM audit_event WHERE id = $1 AND account_id = $2`, id, account).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, false, nil
	}
	return r, err == nil, err
}

func read(ctx context.Context, tx *sqldb.Tx, id string) (row, bool, error) {
	r, err := scanRow(tx.QueryRow(ctx, `SELECT `+columns+` FROM audit_event WHERE id = $1`, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, false, nil
	}
	return r, err == nil, err
}

func since(ctx context.Context, tx *sqldb.Tx, after string, s Since, visit func(row)) error {
	return tx.Each(ctx, `
		SELECT `+columns+` FROM audit_event
		WHERE id > $1 AND at >= $2 AND ($3 = '' OR account_id = $3) ORDER BY id LIMIT $4`,
		visiting(visit), after, s.At.UnixMilli(), s.Account, s.Most)
}

const columns = `id, at, kind, account_id, actor, source, detail, mac`

func scanRow(scan func(...any) error) (r row, err error) {
	var account sql.NullString
	err = scan(&r.ID, &r.At, &r.Kind, &account, &r.Actor, &r.Source, &r.Detail, &r.MAC)
	r.Account = account.String
	return r, err
}

func visiting(visit func(row)) func(func(...any) error) error {
	return func(scan func(...any) error) error {
		r, err := scanRow(scan)
		if err == nil {
			visit(r)
		}
		return err
	}
}
