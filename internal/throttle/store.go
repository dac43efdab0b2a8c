package throttle

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
)

// wrongClock is how much further ahead than any limit reaches a time must be to have been written by
// a clock that was wrong. A transaction that waited for the row's lock, and another node's clock, are
// honestly behind; if that were enough, the tries that wait at once for one row would all pass.
const wrongClock = time.Minute

// counts is one of the two tables.
type counts struct{ table, columns string }

var (
	bucket  = counts{"throttle_bucket", "tat, expires_at"}                   //nolint:gochecknoglobals // a constant
	failure = counts{"throttle_failure", "failures, not_before, expires_at"} //nolint:gochecknoglobals // a constant
)

// step is what the end of a bucket's row goes by. By the millisecond, each try would write the index of ends anew, in two more places of the file.
const step = 10 * time.Minute

// digested are the columns of the digests. What has run out needs no key.
func digested() []keyring.Column {
	return []keyring.Column{
		{Table: bucket.table, Name: "key", Live: "expires_at > $1"},
		{Table: failure.table, Name: "key", Live: "expires_at > $1"},
	}
}

// carry copies a row to a new key, unless there is one already, from then on the only one that counts. So did the row of
// each key count that came after another's: it is the last of them that is copied, not the one with more in it, which may be from
// a clock that was wrong. Of two that do so at once, one waits for the other on either engine. The CASE tells PostgreSQL the type.
func carry(ctx context.Context, tx *sqldb.Tx, t counts, to []byte, from [][]byte) error {
	var age strings.Builder
	for i := range from { // the oldest first
		fmt.Fprintf(&age, " WHEN $%d THEN %d", i+2, i)
	}
	_, err := tx.Exec(ctx, `INSERT INTO `+t.table+` (key, `+t.columns+`)
		SELECT CASE WHEN key <> $1 THEN $1 END, `+t.columns+` FROM `+t.table+`
		WHERE key <> $1 AND key IN (`+sqldb.Params(2, len(from))+`) ORDER BY CASE key`+age.String()+` END DESC LIMIT 1
		ON CONFLICT (key) DO NOTHING`, append([]any{to}, sqldb.Args(from)...)...)
	return err
}

// take is GCRA in one statement: the row holds the theoretical arrival time, and the update
// happens only if that is not further ahead than the burst allows. Further ahead than a burst can
// bring it, it was written by a clock that was wrong, and counts for nothing: otherwise everybody
// would be refused until the right clock has come so far.
func take(ctx context.Context, tx *sqldb.Tx, key []byte, r Rate) (bool, error) {
	now, every, step := tx.Now().UnixMilli(), r.Every.Milliseconds(), step.Milliseconds()
	const next = `CASE WHEN throttle_bucket.tat BETWEEN $2 AND $6 THEN throttle_bucket.tat ELSE $2 END + $3`
	var tat int64
	err := tx.QueryRow(ctx, `
		INSERT INTO throttle_bucket (key, tat, expires_at) VALUES ($1, $5, $7)
		ON CONFLICT (key) DO UPDATE SET
			tat        = `+next+`,
			expires_at = `+next+` + $8 - (`+next+`) % $8
		WHERE throttle_bucket.tat <= $4 OR throttle_bucket.tat > $6
		RETURNING tat`,
		key, now, every, now+every*int64(r.Burst-1), now+every, now+every*int64(r.Burst)+wrongClock.Milliseconds(), now+every+step-(now+every)%step, step).Scan(&tat)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

func give(ctx context.Context, tx *sqldb.Tx, keys [][]byte, r Rate) error {
	_, err := tx.Exec(ctx, `UPDATE throttle_bucket SET tat = tat - $1 WHERE key IN (`+sqldb.Params(2, len(keys))+`)`,
		append([]any{r.Every.Milliseconds()}, sqldb.Args(keys)...)...)
	return err
}

// keepFailures is how long a count outlives the last failure: consecutive failures do not
// become harmless by waiting a day between them.
const keepFailures = 30 * 24 * time.Hour

// attempt counts and decides in one statement: of any number of parallel tries each is counted
// once, and those past the ladder's step find not_before in the future. No wait outlasts the
// ladder's longest: one that seems to was imposed by a clock that was wrong.
func attempt(ctx context.Context, tx *sqldb.Tx, key []byte, l Ladder) (bool, error) {
	now := tx.Now()
	var failures int
	err := tx.QueryRow(ctx, `
		INSERT INTO throttle_failure (key, failures, not_before, expires_at) VALUES ($1, 1, $2, $3)
		ON CONFLICT (key) DO UPDATE SET
			failures   = throttle_failure.failures + 1,
			not_before = $2 + `+l.delaySQL()+`,
			expires_at = $3
		WHERE (throttle_failure.not_before <= $2 OR throttle_failure.not_before > $5) AND throttle_failure.failures < $4
		RETURNING failures`,
		key, now.UnixMilli(), now.Add(keepFailures).UnixMilli(), l.Stop, now.Add(slices.Max(l.Delays)+wrongClock).UnixMilli()).Scan(&failures)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

func forgive(ctx context.Context, tx *sqldb.Tx, keys [][]byte) error {
	_, err := tx.Exec(ctx, `UPDATE throttle_failure SET failures = failures - 1 WHERE failures > 0 AND key IN (`+sqldb.Params(1, len(keys))+`)`,
		sqldb.Args(keys)...)
	return err
}

func clearFailures(ctx context.Context, tx *sqldb.Tx, keys [][]byte) error {
	_, err := tx.Exec(ctx, `UPDATE throttle_failure SET failures = 0, not_before = 0 WHERE key IN (`+sqldb.Params(1, len(keys))+`)`,
		sqldb.Args(keys)...)
	return err
}

// pruneBatch bounds one pass, so that pruning never holds SQLite's one writer for long.
const pruneBatch = 500

func prune(ctx context.Context, tx *sqldb.Tx) (deleted int64, err error) {
	for _, table := range []string{"throttle_bucket", "throttle_failure"} {
		n, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE key IN
			(SELECT key FROM `+table+` WHERE expires_at < $1 LIMIT $2)`, tx.Now().UnixMilli(), pruneBatch)
		if err != nil {
			return 0, err
		}
		deleted += n
	}
	return deleted, nil
}
