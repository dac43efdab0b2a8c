package device

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
)

type found struct {
	id        ID
	publicKey []byte
	boundKey  []byte
	attested  Strength
	expiresAt time.Time
	spent     bool
	spentAt   time.Time
}

// digested is the column of the digests. Those of a device that is over need no key: old handles too, by
// which a copy would show.
func digested() keyring.Column {
	return keyring.Column{
		Table: "device_handle", Name: "digest",
		Live: "device_id IN (SELECT id FROM device WHERE ended_at IS NULL AND expires_at > $1)",
	}
}

// sealed is the column of the network addresses; place says where each stands.
func sealed() keyring.Column {
	return keyring.Column{Table: "device", Keys: []string{"id"}, Name: "source"}
}

// byHandle finds a live device by any handle it ever had.
func byHandle(ctx context.Context, tx *sqldb.Tx, who account.ID, digests [][]byte) (found, bool, error) {
	var f found
	var spent sql.NullInt64
	var expires int64
	err := tx.QueryRow(ctx, `
		SELECT d.id, d.public_key, d.bound_key, d.attested, d.expires_at, h.spent_at
		FROM device_handle h JOIN device d ON d.id = h.device_id
		WHERE d.account_id = $1 AND d.ended_at IS NULL AND d.expires_at > $2 AND h.digest IN (`+sqldb.Params(3, len(digests))+`)`,
		append([]any{who, tx.Now().UnixMilli()}, sqldb.Args(digests)...)...).Scan(&f.id, &f.publicKey, &f.boundKey, &f.attested, &expires, &spent)
	if errors.Is(err, sql.ErrNoRows) {
		return found{}, false, nil
	}
	f.expiresAt, f.spent, f.spentAt = time.UnixMilli(expires), spent.Valid, time.UnixMilli(spent.Int64)
	return f, err == nil, err
}

func spendHandle(ctx context.Context, tx *sqldb.Tx, digests [][]byte) (won bool, err error) {
	n, err := tx.Exec(ctx, `UPDATE device_handle SET spent_at = $1 WHERE spent_at IS NULL AND digest IN (`+sqldb.Params(2, len(digests))+`)`,
		append([]any{tx.Now().UnixMilli()}, sqldb.Args(digests)...)...)
	return n == 1, err
}

func putHandle(ctx context.Context, tx *sqldb.Tx, digest []byte, id ID) error {
	_, err := tx.Exec(ctx, `INSERT INTO device_handle (digest, device_id, created_at) VALUES ($1, $2, $3)`,
		digest, id, tx.Now().UnixMilli())
	return err
}

// kept is a device as its row has it.
type kept struct {
	Device // without Source, which is sealed

	owner     account.ID
	publicKey []byte
	bound     bool
	attested  Strength // empty if nobody vouches for the key
	source    []byte
}

func put(ctx context.Context, tx *sqldb.Tx, d kept) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO device (id, account_id, name, public_key, created_at, last_seen_at, expires_at, source, attested)
		VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8)`,
		d.ID, d.owner, d.Name, d.publicKey, tx.Now().UnixMilli(), d.ExpiresAt.UnixMilli(), d.source, d.attested)
	return err
}

// bind writes a live device's bound key, if it has none. Of several proofs at once one does.
func bind(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID, key []byte) (expiresAt time.Time, first bool, err error) {
	var expires int64
	err = tx.QueryRow(ctx, `
		UPDATE device SET bound_key = $1 WHERE id = $2 AND account_id = $3 AND bound_key IS NULL AND ended_at IS NULL AND expires_at > $4
		RETURNING expires_at`, key, id, who, tx.Now().UnixMilli()).Scan(&expires)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, false, nil
	}
	return time.UnixMilli(expires), err == nil, err
}

// boundKey returns a live device's bound key.
func boundKey(ctx context.Context, tx *sqldb.Tx, id ID) (key []byte, expiresAt time.Time, live bool, err error) {
	var expires int64
	err = tx.QueryRow(ctx, `SELECT bound_key, expires_at FROM device WHERE id = $1 AND bound_key IS NOT NULL AND ended_at IS NULL AND expires_at > $2`,
		id, tx.Now().UnixMilli()).Scan(&key, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, time.Time{}, false, nil
	}
	return key, time.UnixMilli(expires), err == nil, err
}

// spendChallenge uses a challenge up. Of any number of answers to it one is first, on either database.
func spendChallenge(ctx context.Context, tx *sqldb.Tx, digest []byte, expires time.Time) (first bool, err error) {
	n, err := tx.Exec(ctx, `INSERT INTO device_challenge (digest, expires_at) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING`, digest, expires.UnixMilli())
	return n == 1, err
}

func touch(ctx context.Context, tx *sqldb.Tx, id ID, source []byte) (live bool, err error) {
	n, err := tx.Exec(ctx, `UPDATE device SET last_seen_at = $1, source = $2 WHERE id = $3 AND ended_at IS NULL`, tx.Now().UnixMilli(), source, id)
	return n == 1, err
}

func rename(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID, name string) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE device SET name = $1 WHERE id = $2 AND account_id = $3 AND ended_at IS NULL AND expires_at > $4`,
		name, id, who, tx.Now().UnixMilli())
	return n == 1, err
}

func end(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID, why string) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE device SET ended_at = $1, ended_why = $2 WHERE id = $3 AND account_id = $4 AND ended_at IS NULL`,
		tx.Now().UnixMilli(), why, id, who)
	return n == 1, err
}

func endOthers(ctx context.Context, tx *sqldb.Tx, who account.ID, keep ID, why string) error {
	_, err := tx.Exec(ctx, `UPDATE device SET ended_at = $1, ended_why = $2 WHERE account_id = $3 AND ended_at IS NULL AND id <> $4`,
		tx.Now().UnixMilli(), why, who, keep)
	return err
}

func knownBefore(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID, before time.Time) (known bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT 1 FROM device d JOIN device was ON was.public_key = d.public_key AND was.account_id = d.account_id
			WHERE d.id = $1 AND d.account_id = $2 AND d.ended_at IS NULL AND was.created_at < $3)`,
		id, who, before.UnixMilli()).Scan(&known)
	return known, err
}

// endBeyond keeps the keep devices last seen.
func endBeyond(ctx context.Context, tx *sqldb.Tx, who account.ID, keep int) error {
	_, err := tx.Exec(ctx, `
		UPDATE device SET ended_at = $1, ended_why = 'too many devices' WHERE ended_at IS NULL AND id IN (
			SELECT id FROM device WHERE account_id = $2 AND ended_at IS NULL AND expires_at > $1
			ORDER BY last_seen_at DESC, id DESC LIMIT 1000 OFFSET $3)`,
		tx.Now().UnixMilli(), who, keep)
	return err
}

func list(ctx context.Context, tx *sqldb.Tx, who account.ID) (all []kept, err error) {
	err = tx.Each(ctx, `
		SELECT id, name, created_at, last_seen_at, expires_at, source, bound_key IS NOT NULL, attested FROM device
		WHERE account_id = $1 AND ended_at IS NULL AND expires_at > $2
		ORDER BY last_seen_at DESC, id DESC`,
		func(scan func(...any) error) error {
			d, err := scanDevice(scan)
			all = append(all, d)
			return err
		}, who, tx.Now().UnixMilli())
	return all, err
}

func scanDevice(scan func(...any) error, more ...any) (d kept, err error) {
	var created, seen, expires int64
	err = scan(append([]any{&d.ID, &d.Name, &created, &seen, &expires, &d.source, &d.bound, &d.attested}, more...)...)
	d.CreatedAt, d.LastSeenAt, d.ExpiresAt = time.UnixMilli(created), time.UnixMilli(seen), time.UnixMilli(expires)
	return d, err
}

// listAll asks twice, for the two indexes.
func listAll(ctx context.Context, tx *sqldb.Tx, who account.ID) (all []kept, err error) {
	const every = `SELECT id, name, created_at, last_seen_at, expires_at, source, bound_key IS NOT NULL, attested, ended_at FROM device WHERE account_id = $1 AND ended_at IS `
	err = tx.Each(ctx, every+`NULL UNION ALL `+every+`NOT NULL ORDER BY created_at DESC, id DESC`,
		func(scan func(...any) error) error {
			var ended sql.NullInt64
			d, err := scanDevice(scan, &ended)
			if ended.Valid {
				d.EndedAt = time.UnixMilli(ended.Int64)
			}
			all = append(all, d)
			return err
		}, who)
	return all, err
}

// erase deletes an account's devices with their handles: by both indexes.
func erase(ctx context.Context, tx *sqldb.Tx, who account.ID) error {
	for _, which := range []string{"NULL", "NOT NULL"} {
		if _, err := tx.Exec(ctx, `DELETE FROM device WHERE account_id = $1 AND ended_at IS `+which, who); err != nil {
			return err
		}
	}
	return nil
}

// keepExpired is how long the row of a device that expired (or would have, had it not been ended)
// stays, for the owner's questions.
const keepExpired = 30 * 24 * time.Hour

func prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	const batch = 200 // bounds how long SQLite's one writer is held
	answered, err := tx.Exec(ctx, `DELETE FROM device_challenge WHERE digest IN
		(SELECT digest FROM device_challenge WHERE expires_at < $1 LIMIT $2)`, tx.Now().Add(-sqldb.Skew).UnixMilli(), batch)
	if err != nil {
		return answered, err
	}
	over, err := tx.Exec(ctx, `DELETE FROM device WHERE id IN
		(SELECT id FROM device WHERE expires_at < $1 LIMIT $2)`, tx.Now().Add(-keepExpired).UnixMilli(), batch) // handles go with it
	return answered + over, err
}
