package seconddoor

import (
	"bytes"
	"context"
	"slices"
	"time"

	"countersign/internal/platform/sqldb"
)

func putFormer(ctx context.Context, tx *sqldb.Tx, name, contact []byte, until time.Time) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO door_former (name, contact, until) VALUES ($1, $2, $3) ON CONFLICT (name, contact) DO UPDATE SET until = $3`,
		name, contact, until.UnixMilli())
	return err
}

// heldUntil returns until when an account opens under none but its former addresses; a zero time says that it is not held, or that all are.
func heldUntil(ctx context.Context, tx *sqldb.Tx, name []byte, contacts [][]byte) (until time.Time, err error) {
	var former [][]byte
	err = tx.Each(ctx, `SELECT contact, until FROM door_former WHERE name = $1 AND until > $2`, func(scan func(...any) error) error {
		var contact []byte
		var ms int64
		err := scan(&contact, &ms)
		former, until = append(former, contact), time.UnixMilli(ms)
		return err
	}, name, tx.Now().UnixMilli())
	if err != nil || len(former) == 0 {
		return time.Time{}, err
	}
	for _, c := range contacts {
		if !slices.ContainsFunc(former, func(f []byte) bool { return bytes.Equal(f, c) }) {
			return until, nil
		}
	}
	return time.Time{}, nil
}

func prune(ctx context.Context, tx *sqldb.Tx) (deleted int64, err error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	for _, statement := range []string{
		`DELETE FROM door_former WHERE (name, contact) IN (SELECT name, contact FROM door_former WHERE until < $1 LIMIT $2)`,
		`DELETE FROM door_call WHERE name IN (SELECT name FROM door_call WHERE expires_at < $1 LIMIT $2)`,
	} {
		n, err := tx.Exec(ctx, statement, tx.Now().UnixMilli(), batch)
		if err != nil {
			return 0, err
		}
		deleted += n
	}
	return deleted, nil
}

// try is one try at a call.
type try struct {
	name, asked []byte
	id          string
}

// takeCall takes a call that nobody has taken, or whose taker is taken to be dead. One statement decides: of any number at once one takes it.
func takeCall(ctx context.Context, tx *sqldb.Tx, t try) (bool, error) {
	now := tx.Now()
	n, err := tx.Exec(ctx, `
		INSERT INTO door_call (name, id, print, taken_till, expires_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (name) DO UPDATE SET id = $2, print = $3, taken_till = $4, expires_at = $5, answer = NULL
		WHERE door_call.expires_at <= $6 OR door_call.answer IS NULL AND door_call.taken_till <= $6 AND door_call.print = $3`,
		t.name, t.id, t.asked, now.Add(tryFor).UnixMilli(), now.Add(onceFor).UnixMilli(), now.UnixMilli())
	return n == 1, err
}

// callOf returns what is known of a call: whether it is the same, and its sealed answer, if it has one.
func callOf(ctx context.Context, tx *sqldb.Tx, t try) (same bool, id string, sealed []byte, err error) {
	var asked []byte
	err = tx.QueryRow(ctx, `SELECT id, print, answer FROM door_call WHERE name = $1`, t.name).Scan(&id, &asked, &sealed)
	return bytes.Equal(asked, t.asked), id, sealed, err
}

func answerCall(ctx context.Context, tx *sqldb.Tx, t try, sealed []byte) error {
	_, err := tx.Exec(ctx, `UPDATE door_call SET answer = $1 WHERE name = $2 AND id = $3`, sealed, t.name, t.id)
	return err
}

func dropCall(ctx context.Context, tx *sqldb.Tx, t try) error {
	_, err := tx.Exec(ctx, `DELETE FROM door_call WHERE name = $1 AND id = $2`, t.name, t.id)
	return err
}
