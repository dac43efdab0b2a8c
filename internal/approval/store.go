package approval

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"time"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

// kept is a request as its row has it.
type kept struct {
	Request // without Source and Device, which are sealed

	account account.ID
	seed    string
	from    []byte
	state   State
}

// newSeed is 128 random bits or more.
func newSeed() string { return rand.Text() }

// sealed is the column of whence requests are; place says where each stands.
func sealed() keyring.Column {
	return keyring.Column{Table: "approval", Keys: []string{"id"}, Name: "asked_from"}
}

func put(ctx context.Context, tx *sqldb.Tx, k kept) (bool, error) {
	n, err := tx.Exec(ctx, `
		INSERT INTO approval (id, account_id, seed, asked_from, tries_left, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO NOTHING`,
		k.ID, k.account, k.seed, k.from, Tries, tx.Now().UnixMilli(), k.ExpiresAt.UnixMilli())
	return n == 1, err
}

const (
	columns = `id, account_id, seed, asked_from, created_at, expires_at`
	// open is a request that may still let somebody in, at $1.
	open = `expires_at > $1 AND refused_at IS NULL AND spent_at IS NULL`
	// waits is one that wants its number.
	waits = open + ` AND approved_at IS NULL AND tries_left > 0`
)

func find(ctx context.Context, tx *sqldb.Tx, id ID) (kept, bool, error) {
	var state State
	k, err := scan(func(into ...any) error {
		return tx.QueryRow(ctx, `
			SELECT `+columns+`, CASE WHEN `+waits+` THEN 'waiting' WHEN `+open+` AND approved_at IS NOT NULL THEN 'approved' ELSE 'over' END
			FROM approval WHERE id = $2`, tx.Now().UnixMilli(), id).Scan(append(into, &state)...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return kept{}, false, nil
	}
	k.state = state
	return k, err == nil, err
}

func scan(row func(...any) error) (k kept, err error) {
	var asked, expires int64
	err = row(&k.ID, &k.account, &k.seed, &k.from, &asked, &expires)
	k.AskedAt, k.ExpiresAt = time.UnixMilli(asked), time.UnixMilli(expires)
	return k, err
}

func waiting(ctx context.Context, tx *sqldb.Tx, who account.ID) (all []kept, err error) {
	err = tx.Each(ctx, `SELECT `+columns+` FROM approval WHERE account_id = $2 AND `+waits+` ORDER BY created_at DESC, id DESC`,
		func(row func(...any) error) error {
			k, err := scan(row)
			all = append(all, k)
			return err
		}, tx.Now().UnixMilli(), who)
	return all, err
}

// lately counts the requests of the last hour that let nobody in, and says whether one was refused in QuietFor.
func lately(ctx context.Context, tx *sqldb.Tx, who account.ID) (failed int, refused bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT COUNT(CASE WHEN created_at > $2 AND spent_at IS NULL THEN 1 END), COUNT(refused_at) > 0
		FROM approval WHERE account_id = $1 AND created_at > $3`,
		who, tx.Now().Add(-time.Hour).UnixMilli(), tx.Now().Add(-QuietFor).UnixMilli()).Scan(&failed, &refused)
	return failed, refused, err
}

// answer takes a try and, if it was right, approves. One UPDATE both checks and changes.
func answer(ctx context.Context, tx *sqldb.Tx, a Answer, fits bool) (right, found bool, err error) {
	err = tx.QueryRow(ctx, `
		UPDATE approval SET tries_left = tries_left - 1,
			approved_at = CASE WHEN $4 THEN $1 END, approved_by = CASE WHEN $4 THEN $5 END
		WHERE id = $2 AND account_id = $3 AND `+waits+`
		RETURNING approved_at IS NOT NULL`,
		tx.Now().UnixMilli(), a.ID, a.Account, fits, a.By).Scan(&right)
	if errors.Is(err, sql.ErrNoRows) {
		return false, false, nil
	}
	return right, err == nil, err
}

func refuse(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE approval SET refused_at = $1 WHERE id = $2 AND account_id = $3 AND `+open, tx.Now().UnixMilli(), id, who)
	return n == 1, err
}

func spend(ctx context.Context, tx *sqldb.Tx, id ID) (by session.ID, ok bool, err error) {
	err = tx.QueryRow(ctx, `UPDATE approval SET spent_at = $1 WHERE id = $2 AND approved_at IS NOT NULL AND `+open+` RETURNING approved_by`,
		tx.Now().UnixMilli(), id).Scan(&by)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return by, err == nil, err
}

func erase(ctx context.Context, tx *sqldb.Tx, who account.ID) error {
	_, err := tx.Exec(ctx, `DELETE FROM approval WHERE account_id = $1`, who)
	return err
}

func prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	return tx.Exec(ctx, `DELETE FROM approval WHERE id IN (SELECT id FROM approval WHERE created_at < $1 LIMIT $2)`,
		tx.Now().Add(-QuietFor).UnixMilli(), batch)
}
