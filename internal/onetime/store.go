package onetime

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
)

// put writes or overwrites the flow's code in one statement that also holds the wait between
// two sends: of two requests to send at once, one sends.
func put(ctx context.Context, tx *sqldb.Tx, r Request, digest []byte, expires time.Time) (sends int, ok bool, err error) {
	err = tx.QueryRow(ctx, `
		INSERT INTO onetime_code (flow_id, account_id, way, digest, sends, sent_at, expires_at)
		VALUES ($1, $2, $3, $4, 1, $5, $6)
		ON CONFLICT (flow_id) DO UPDATE SET
			way = $3, digest = $4, sends = onetime_code.sends + 1, sent_at = $5, expires_at = $6
		WHERE onetime_code.spent_at IS NULL AND onetime_code.sends <= $7
		  AND (onetime_code.sent_at <= $5 - `+waitSQL()+` OR (onetime_code.sends = 1 AND onetime_code.way <> $3))
		RETURNING sends`,
		r.Flow, r.Account, r.Way, digest, tx.Now().UnixMilli(), expires.UnixMilli(), len(waits)).Scan(&sends)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return sends, err == nil, err
}

func waitSQL() string {
	var b strings.Builder
	b.WriteString("CASE onetime_code.sends")
	for i, w := range waits {
		fmt.Fprintf(&b, " WHEN %d THEN %d", i+1, w.Milliseconds())
	}
	b.WriteString(" ELSE 0 END")
	return b.String()
}

// digested is the column of the digests.
func digested() keyring.Column {
	return keyring.Column{Table: "onetime_code", Name: "digest", Live: "spent_at IS NULL AND expires_at > $1"}
}

func spend(ctx context.Context, tx *sqldb.Tx, flow string, digests [][]byte) (way string, ok bool, err error) {
	err = tx.QueryRow(ctx, `
		UPDATE onetime_code SET spent_at = $1
		WHERE flow_id = $2 AND spent_at IS NULL AND expires_at > $1 AND digest IN (`+sqldb.Params(3, len(digests))+`)
		RETURNING way`,
		append([]any{tx.Now().UnixMilli(), flow}, sqldb.Args(digests)...)...).Scan(&way)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return way, err == nil, err
}

func current(ctx context.Context, tx *sqldb.Tx, flow string) (way string, last time.Time, sends int, ok bool, err error) {
	var at int64
	err = tx.QueryRow(ctx, `SELECT way, sent_at, sends FROM onetime_code WHERE flow_id = $1`, flow).Scan(&way, &at, &sends)
	if errors.Is(err, sql.ErrNoRows) {
		return "", time.Time{}, 0, false, nil
	}
	return way, time.UnixMilli(at), sends, err == nil, err
}

func lastSent(ctx context.Context, tx *sqldb.Tx, flow string) (last time.Time, sends int, err error) {
	_, last, sends, _, err = current(ctx, tx, flow)
	return last, sends, err
}

func sentAs(ctx context.Context, tx *sqldb.Tx, flow, letter string) error {
	_, err := tx.Exec(ctx, `UPDATE onetime_code SET letter_id = $2 WHERE flow_id = $1`, flow, letter)
	return err
}

func letterOf(ctx context.Context, tx *sqldb.Tx, flow string) (string, error) {
	var id sql.NullString
	err := tx.QueryRow(ctx, `SELECT letter_id FROM onetime_code WHERE flow_id = $1`, flow).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id.String, err
}

func prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	return tx.Exec(ctx, `DELETE FROM onetime_code WHERE flow_id IN
		(SELECT flow_id FROM onetime_code WHERE expires_at < $1 LIMIT $2)`, tx.Now().UnixMilli(), batch)
}
