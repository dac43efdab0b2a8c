package totp

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
)

const table = "totp_authenticator"

// row is an authenticator as it is stored.
type row struct {
	id        ID
	account   account.ID // empty: nobody's
	serialKey []byte
	serial    []byte
	shape     Shape
	secret    []byte
	name      []byte
	next      int64
	drift     int64

	expiresAt, confirmedAt, lastUsedAt int64 // 0: none
}

func sealed(column string) keyring.Column {
	return keyring.Column{Table: table, Keys: []string{"id"}, Name: column}
}

const columns = `id, account_id, serial, kind, algorithm, digits, period, secret, name, next, drift, expires_at, confirmed_at, last_used_at`

func scanRow(scan func(...any) error) (r row, err error) {
	var owner sql.NullString
	var expires, confirmed, used sql.NullInt64
	err = scan(&r.id, &owner, &r.serial, &r.shape.Kind, &r.shape.Algorithm, &r.shape.Digits, &r.shape.Period, &r.secret, &r.name, &r.next, &r.drift, &expires, &confirmed, &used)
	r.account = account.ID(owner.String)
	r.expiresAt, r.confirmedAt, r.lastUsedAt = expires.Int64, confirmed.Int64, used.Int64
	return r, err
}

// putBegun writes an enrolment in place of the one that the account has under way, if any.
func putBegun(ctx context.Context, tx *sqldb.Tx, r row) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO totp_authenticator (id, account_id, kind, algorithm, digits, period, secret, name, next, drift, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, $9, $10)
		ON CONFLICT (account_id) WHERE confirmed_at IS NULL DO UPDATE SET
			id = excluded.id, kind = excluded.kind, algorithm = excluded.algorithm, digits = excluded.digits, period = excluded.period,
			secret = excluded.secret, name = excluded.name, created_at = excluded.created_at, expires_at = excluded.expires_at`,
		r.id, r.account, r.shape.Kind, r.shape.Algorithm, r.shape.Digits, r.shape.Period, r.secret, r.name, tx.Now().UnixMilli(), r.expiresAt)
	return err
}

func begun(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (row, bool, error) {
	r, err := scanRow(tx.QueryRow(ctx, `SELECT `+columns+` FROM totp_authenticator
		WHERE id = $1 AND account_id = $2 AND confirmed_at IS NULL AND expires_at > $3`, id, who, tx.Now().UnixMilli()).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, false, nil
	}
	return r, err == nil, err
}

// countConfirmed reads an index alone: rows, which no decoy has, take a time that tells.
func countConfirmed(ctx context.Context, tx *sqldb.Tx, who account.ID) (n int, err error) {
	err = tx.QueryRow(ctx, `SELECT COUNT(*) FROM totp_authenticator WHERE account_id = $1 AND confirmed_at IS NOT NULL`, who).Scan(&n)
	return n, err
}

// confirm makes an enrolment count. Of two codes at once, one does.
func confirm(ctx context.Context, tx *sqldb.Tx, r row) (bool, error) {
	n, err := tx.Exec(ctx, `
		UPDATE totp_authenticator SET confirmed_at = $1, expires_at = NULL, name = $2, next = $3, drift = $4
		WHERE id = $5 AND account_id = $6 AND confirmed_at IS NULL AND expires_at > $1
		  AND (SELECT COUNT(*) FROM totp_authenticator o WHERE o.account_id = $6 AND o.confirmed_at IS NOT NULL) < $7`,
		tx.Now().UnixMilli(), r.name, r.next, r.drift, r.id, r.account, MaxPerAccount)
	return n == 1, err
}

// confirmedFrom reads the account's authenticators, and those of the accounts after it where it has
// fewer than it may: the same number of rows for everybody.
func confirmedFrom(ctx context.Context, tx *sqldb.Tx, who account.ID) (all []row, err error) {
	err = tx.Each(ctx, `SELECT `+columns+` FROM totp_authenticator
		WHERE account_id >= $1 AND confirmed_at IS NOT NULL ORDER BY account_id, id LIMIT $2`,
		func(scan func(...any) error) error {
			r, err := scanRow(scan)
			all = append(all, r)
			return err
		}, who, MaxPerAccount)
	return all, err
}

// spend uses a step or counter up with all before it. Of any number of requests with one code, one does.
func spend(ctx context.Context, tx *sqldb.Tx, who account.ID, h hit) (bool, error) {
	n, err := tx.Exec(ctx, `
		UPDATE totp_authenticator SET next = $1 + 1, drift = $2, last_used_at = $3
		WHERE id = $4 AND account_id = $5 AND confirmed_at IS NOT NULL AND next <= $1`,
		h.at, h.drift, tx.Now().UnixMilli(), h.id, who)
	return n == 1, err
}

func rename(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID, name []byte) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE totp_authenticator SET name = $1 WHERE id = $2 AND account_id = $3 AND confirmed_at IS NOT NULL`, name, id, who)
	return n == 1, err
}

func deleteApp(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM totp_authenticator WHERE id = $1 AND account_id = $2 AND confirmed_at IS NOT NULL AND serial_key IS NULL`, id, who)
	return n == 1, err
}

// deleteAppsSince asks twice, for the two indexes.
func deleteAppsSince(ctx context.Context, tx *sqldb.Tx, who account.ID, since time.Time) (int64, error) {
	if _, err := tx.Exec(ctx, `DELETE FROM totp_authenticator WHERE account_id = $1 AND confirmed_at IS NULL`, who); err != nil {
		return 0, err
	}
	return tx.Exec(ctx, `DELETE FROM totp_authenticator WHERE account_id = $1 AND confirmed_at IS NOT NULL AND confirmed_at >= $2 AND serial_key IS NULL`,
		who, since.UnixMilli())
}

func tokensOf(ctx context.Context, tx *sqldb.Tx, who account.ID) (ids []ID, err error) {
	err = tx.Each(ctx, `SELECT id FROM totp_authenticator WHERE account_id = $1 AND confirmed_at IS NOT NULL ORDER BY id`, func(scan func(...any) error) error {
		var id ID
		err := scan(&id)
		ids = append(ids, id)
		return err
	}, who)
	return ids, err
}

// unassign leaves where its codes are used up to: whoever has the token next cannot use the last one's.
func unassign(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID, name []byte) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE totp_authenticator SET account_id = NULL, confirmed_at = NULL, last_used_at = NULL, name = $1
		WHERE id = $2 AND account_id = $3 AND serial_key IS NOT NULL`, name, id, who)
	return n == 1, err
}

func assign(ctx context.Context, tx *sqldb.Tx, serialKey []byte, who account.ID) (bool, error) {
	n, err := tx.Exec(ctx, `
		UPDATE totp_authenticator SET account_id = $1, confirmed_at = $2
		WHERE serial_key = $3 AND account_id IS NULL
		  AND (SELECT COUNT(*) FROM totp_authenticator o WHERE o.account_id = $1 AND o.confirmed_at IS NOT NULL) < $4`,
		who, tx.Now().UnixMilli(), serialKey, MaxPerAccount)
	return n == 1, err
}

func bySerial(ctx context.Context, tx *sqldb.Tx, serialKey []byte) (row, bool, error) {
	r, err := scanRow(tx.QueryRow(ctx, `SELECT `+columns+` FROM totp_authenticator WHERE serial_key = $1`, serialKey).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, false, nil
	}
	return r, err == nil, err
}

// putToken writes a hardware token; fresh is false if one of that number is there already.
func putToken(ctx context.Context, tx *sqldb.Tx, r row) (fresh bool, err error) {
	n, err := tx.Exec(ctx, `
		INSERT INTO totp_authenticator (id, serial_key, serial, kind, algorithm, digits, period, secret, name, next, drift, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $11) ON CONFLICT (serial_key) DO NOTHING`,
		r.id, r.serialKey, r.serial, r.shape.Kind, r.shape.Algorithm, r.shape.Digits, r.shape.Period, r.secret, r.name, r.next, tx.Now().UnixMilli())
	return n == 1, err
}

// tokensAfter lists hardware tokens in the order in which they came.
func tokensAfter(ctx context.Context, tx *sqldb.Tx, after ID, most int) (all []row, err error) {
	err = tx.Each(ctx, `SELECT `+columns+` FROM totp_authenticator WHERE serial_key IS NOT NULL AND id > $1 ORDER BY id LIMIT $2`,
		func(scan func(...any) error) error {
			r, err := scanRow(scan)
			all = append(all, r)
			return err
		}, after, most)
	return all, err
}

// putDummy writes an authenticator of a decoy, if it is not there.
func putDummy(ctx context.Context, tx *sqldb.Tx, r row) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO totp_authenticator (id, account_id, kind, algorithm, digits, period, secret, name, next, drift, created_at, confirmed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, $9, $9) ON CONFLICT (id) DO NOTHING`,
		r.id, r.account, r.shape.Kind, r.shape.Algorithm, r.shape.Digits, r.shape.Period, r.secret, r.name, tx.Now().UnixMilli())
	return err
}

func prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	return tx.Exec(ctx, `DELETE FROM totp_authenticator WHERE id IN
		(SELECT id FROM totp_authenticator WHERE expires_at IS NOT NULL AND expires_at < $1 LIMIT $2)`, tx.Now().UnixMilli(), batch)
}
