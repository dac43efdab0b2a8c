package passkey

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
)

// row is a passkey as its row has it.
type row struct {
	Passkey // without what is sealed

	account          account.ID
	lookup           []byte
	credential, name []byte
	signCount        uint32
}

const columns = `id, account_id, credential, name, backup_eligible, backed_up, user_verified, created_at, last_used_at, ended_at`

func scanRow(scan func(...any) error) (r row, err error) {
	var eligible bool
	var created int64
	var used, ended sql.NullInt64
	err = scan(&r.ID, &r.account, &r.credential, &r.name, &eligible, &r.BackedUp, &r.UserVerified, &created, &used, &ended)
	r.DeviceBound, r.CreatedAt = !eligible, time.UnixMilli(created)
	if used.Valid {
		r.LastUsedAt = time.UnixMilli(used.Int64)
	}
	if ended.Valid {
		r.EndedAt = time.UnixMilli(ended.Int64)
	}
	return r, err
}

// put writes a passkey unless its credential has been enrolled before.
func put(ctx context.Context, tx *sqldb.Tx, r row) (fresh bool, err error) {
	n, err := tx.Exec(ctx, `
		INSERT INTO passkey (id, account_id, lookup, credential, name, backup_eligible, backed_up, user_verified, sign_count, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (lookup) DO NOTHING`,
		r.ID, r.account, r.lookup, r.credential, r.name, !r.DeviceBound, r.BackedUp, r.UserVerified, int64(r.signCount), tx.Now().UnixMilli())
	return n == 1, err
}

// byLookup finds a passkey, also one that has ended.
func byLookup(ctx context.Context, tx *sqldb.Tx, lookup []byte) (r row, found bool, err error) {
	r, err = scanRow(tx.QueryRow(ctx, `SELECT `+columns+` FROM passkey WHERE lookup = $1`, lookup).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, false, nil
	}
	return r, err == nil, err
}

func list(ctx context.Context, tx *sqldb.Tx, who account.ID) ([]row, error) {
	return listed(ctx, tx, `SELECT `+columns+` FROM passkey WHERE account_id = $1 AND ended_at IS NULL ORDER BY created_at, id`, who)
}

// has looks in the index passkey_live alone: see there.
func has(ctx context.Context, tx *sqldb.Tx, who account.ID) (yes bool, err error) {
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM passkey WHERE account_id = $1 AND ended_at IS NULL)`, who).Scan(&yes)
	return yes, err
}

func listAll(ctx context.Context, tx *sqldb.Tx, who account.ID) ([]row, error) {
	return listed(ctx, tx, `SELECT `+columns+` FROM passkey WHERE account_id = $1 ORDER BY created_at, id`, who)
}

func listed(ctx context.Context, tx *sqldb.Tx, query string, who account.ID) (all []row, err error) {
	err = tx.Each(ctx, query, func(scan func(...any) error) error {
		r, err := scanRow(scan)
		all = append(all, r)
		return err
	}, who)
	return all, err
}

// spend uses a challenge up. Of any number of answers to it one is first, on either database.
func spend(ctx context.Context, tx *sqldb.Tx, challenge []byte, expires time.Time) (first bool, err error) {
	n, err := tx.Exec(ctx, `INSERT INTO passkey_spent (challenge, expires_at) VALUES ($1, $2) ON CONFLICT (challenge) DO NOTHING`,
		challenge, expires.UnixMilli())
	return n == 1, err
}

// use moves the passkey's counter forward. back is true if it did not go forward: the highest that was seen
// stays, so that of a passkey and its copy neither can hide. live is false if it has ended meanwhile.
func use(ctx context.Context, tx *sqldb.Tx, id ID, count uint32, backedUp bool) (live, back bool, err error) {
	n, err := tx.Exec(ctx, `
		UPDATE passkey SET sign_count = $1, last_used_at = $2, backed_up = $3
		WHERE id = $4 AND ended_at IS NULL AND (sign_count < $1 OR sign_count = 0 AND $1 = 0)`,
		int64(count), tx.Now().UnixMilli(), backedUp, id)
	if err != nil || n == 1 {
		return n == 1, false, err
	}
	n, err = tx.Exec(ctx, `UPDATE passkey SET last_used_at = $1, backed_up = $2 WHERE id = $3 AND ended_at IS NULL`,
		tx.Now().UnixMilli(), backedUp, id)
	return n == 1, n == 1, err
}

func rename(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID, name []byte) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE passkey SET name = $1 WHERE id = $2 AND account_id = $3 AND ended_at IS NULL`, name, id, who)
	return n == 1, err
}

func end(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID, why string) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE passkey SET ended_at = $1, ended_why = $2 WHERE id = $3 AND account_id = $4 AND ended_at IS NULL`,
		tx.Now().UnixMilli(), why, id, who)
	return n == 1, err
}

func endSince(ctx context.Context, tx *sqldb.Tx, who account.ID, since time.Time, why string) (int64, error) {
	return tx.Exec(ctx, `UPDATE passkey SET ended_at = $1, ended_why = $2 WHERE account_id = $3 AND created_at >= $4 AND ended_at IS NULL`,
		tx.Now().UnixMilli(), why, who, since.UnixMilli())
}

func erase(ctx context.Context, tx *sqldb.Tx, who account.ID) error {
	_, err := tx.Exec(ctx, `DELETE FROM passkey WHERE account_id = $1`, who)
	return err
}

// keepEnded is how long the row of a passkey that ended stays, for the owner's questions.
const keepEnded = 30 * 24 * time.Hour

func prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	spent, err := tx.Exec(ctx, `DELETE FROM passkey_spent WHERE challenge IN
		(SELECT challenge FROM passkey_spent WHERE expires_at < $1 LIMIT $2)`, tx.Now().Add(-sqldb.Skew).UnixMilli(), batch)
	if err != nil {
		return spent, err
	}
	ended, err := tx.Exec(ctx, `DELETE FROM passkey WHERE id IN
		(SELECT id FROM passkey WHERE ended_at < $1 LIMIT $2)`, tx.Now().Add(-keepEnded).UnixMilli(), batch)
	return spent + ended, err
}
