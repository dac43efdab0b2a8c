package outbox

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/message"
	"countersign/internal/platform/sqldb"
)

// The states a finished letter ends in. The others are waiting, expired and dead. While a
// courier has a letter it is waiting with a lease, and next_at is when the lease runs out:
// due again means nobody finished it.
const (
	stateSent     = "sent"
	stateWithheld = "withheld"
)

// sealed is the column of the sealed letters; place says where each stands.
func sealed() keyring.Column {
	return keyring.Column{Table: "outbox_letter", Keys: []string{"id"}, Name: "sealed"}
}

func insert(ctx context.Context, tx *sqldb.Tx, id string, l Letter, sealed []byte) error {
	now := tx.Now().UnixMilli()
	_, err := tx.Exec(ctx, `
		INSERT INTO outbox_letter (id, kind, channel, account_id, sealed, state, attempts, next_at, expires_at, created_at, follows_id)
		VALUES ($1, $2, $3, $4, $5, 'waiting', 0, $6, $7, $6, $8)`,
		id, string(l.Kind), string(l.Channel), sql.NullString{String: l.Account, Valid: l.Account != ""}, sealed,
		now, l.ExpiresAt.UnixMilli(), sql.NullString{String: l.Follows, Valid: l.Follows != ""})
	return err
}

func anyDue(ctx context.Context, tx *sqldb.Tx, ch message.Channel) (bool, error) {
	var one int
	err := tx.QueryRow(ctx, `
		SELECT 1 FROM outbox_letter
		WHERE state = 'waiting' AND next_at <= $1 AND channel = $2 AND expires_at > $1
		  AND NOT EXISTS (SELECT 1 FROM outbox_pause WHERE channel = $2)
		LIMIT 1`, tx.Now().UnixMilli(), string(ch)).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

type row struct {
	id        string
	kind      message.Kind
	channel   message.Channel
	account   string
	sealed    []byte
	attempts  int
	putOff    int
	follows   string
	expiresAt time.Time
}

type leaseTerm struct {
	id    string
	until time.Time
}

// claim moves next_at to the end of the lease, and only a row that is still due is moved:
// of couriers racing for a row the second finds it no longer due, on either engine. That check is
// written so that no index serves it: it is for the rows just found, not for the whole backlog.
// On PostgreSQL couriers pass over what others are just claiming; else of two that look at once the later got nothing, and rested.
func claim(ctx context.Context, tx *sqldb.Tx, ch message.Channel, n int, lease leaseTerm) (out []row, err error) {
	locking := ""
	if tx.Engine() == sqldb.Postgres {
		locking = " FOR UPDATE SKIP LOCKED"
	}
	err = tx.Each(ctx, `
		UPDATE outbox_letter
		SET lease = $1, next_at = $2, attempts = attempts + 1
		WHERE CASE WHEN state = 'waiting' THEN next_at END <= $3 AND id IN (
			SELECT id FROM outbox_letter
			WHERE state = 'waiting' AND next_at <= $3 AND channel = $4 AND expires_at > $3
			  AND NOT EXISTS (SELECT 1 FROM outbox_pause WHERE channel = $4)
			ORDER BY next_at LIMIT $5`+locking+`)
		RETURNING id, kind, channel, account_id, sealed, attempts, put_off, follows_id, expires_at`,
		func(scan func(...any) error) error {
			var r row
			var account, follows sql.NullString
			var expires int64
			if err := scan(&r.id, &r.kind, &r.channel, &account, &r.sealed, &r.attempts, &r.putOff, &follows, &expires); err != nil {
				return err
			}
			r.account, r.follows, r.expiresAt = account.String, follows.String, time.UnixMilli(expires)
			out = append(out, r)
			return nil
		}, lease.id, lease.until.UnixMilli(), tx.Now().UnixMilli(), string(ch), n)
	return out, err
}

// finish writes with one statement for many letters. Both engines call the columns of VALUES column1 and so on, and PostgreSQL
// takes all of them for text.
func finish(ctx context.Context, tx *sqldb.Tx, all []done) error {
	now := strconv.FormatInt(tx.Now().UnixMilli(), 10)
	_, err := tx.Many(ctx, `
		UPDATE outbox_letter
		SET state = v.column2, sealed = NULL, lease = NULL, last_error = NULL,
		    done_at = CAST(v.column3 AS BIGINT), next_at = CAST(v.column3 AS BIGINT), provider = v.column4, provider_id = v.column5
		FROM (`, `) AS v WHERE outbox_letter.id = v.column1 AND outbox_letter.state = 'waiting'`,
		len(all), func(i int) []any {
			return []any{all[i].id, all[i].state, now, all[i].receipt.Provider, all[i].receipt.ID}
		})
	return err
}

// rank orders fates in SQL.
const rank = `CASE COALESCE(delivery, '') WHEN '' THEN 0 WHEN 'underway' THEN 1 WHEN 'unclear' THEN 2 WHEN 'not_delivered' THEN 3 ELSE 4 END`

// tell changes a row only to a higher rank: of any number of reports, in any order, the last word is the same. A report may come before we have written down
// that the letter is sent. The only provider that reports under its own id is smpp, whose name stands here so that the index over those ids is used.
func tell(ctx context.Context, tx *sqldb.Tx, t Told) (took time.Duration, news bool, err error) {
	which, id := `id = $1 AND (provider = $2 OR provider IS NULL)`, t.Letter
	if id == "" {
		which, id = `provider = 'smpp' AND provider = $2 AND provider_id = $1`, t.ID
	}
	now := tx.Now()
	var sent int64
	err = tx.QueryRow(ctx, `
		UPDATE outbox_letter SET delivery = $3, delivery_at = $4
		WHERE `+which+` AND state IN ('waiting', 'sent') AND created_at > $5 AND `+rank+` < $6
		RETURNING COALESCE(done_at, $4)`,
		id, t.Provider, string(t.State), now.UnixMilli(), now.Add(-reportable).UnixMilli(), map[Fate]int{Underway: 1, Unclear: 2, NotDelivered: 3, Delivered: 4}[t.State],
	).Scan(&sent)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return now.Sub(time.UnixMilli(sent)), err == nil, err
}

func fate(ctx context.Context, tx *sqldb.Tx, id string) (f Fate, err error) {
	var got sql.NullString
	err = tx.QueryRow(ctx, `
		SELECT CASE WHEN delivery IS NULL AND state IN ('dead', 'expired') THEN 'not_delivered' ELSE delivery END FROM outbox_letter WHERE id = $1`, id).Scan(&got)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return Fate(got.String), err
}

func retry(ctx context.Context, tx *sqldb.Tx, c Claimed, why string, at time.Time) error {
	_, err := tx.Exec(ctx, `
		UPDATE outbox_letter SET lease = NULL, next_at = $3, last_error = $4
		WHERE id = $1 AND lease = $2 AND state = 'waiting'`,
		c.ID, c.lease, at.UnixMilli(), why)
	return err
}

func putOff(ctx context.Context, tx *sqldb.Tx, c Claimed, at time.Time) error {
	_, err := tx.Exec(ctx, `
		UPDATE outbox_letter SET lease = NULL, next_at = $3, put_off = put_off + 1
		WHERE id = $1 AND lease = $2 AND state = 'waiting'`,
		c.ID, c.lease, at.UnixMilli())
	return err
}

// before looks back no further than a flow has codes, so that a ring of letters, which nobody writes, would be no trap.
func before(ctx context.Context, tx *sqldb.Tx, id string) (providers []string, err error) {
	err = tx.Each(ctx, `
		WITH RECURSIVE earlier (id, follows_id, provider, n) AS (
			SELECT id, follows_id, provider, 1 FROM outbox_letter WHERE id = $1
			UNION ALL
			SELECT l.id, l.follows_id, l.provider, e.n + 1 FROM outbox_letter l JOIN earlier e ON l.id = e.follows_id WHERE e.n < 5)
		SELECT provider FROM earlier WHERE provider <> '' ORDER BY n`, func(scan func(...any) error) error {
		var p string
		err := scan(&p)
		providers = append(providers, p)
		return err
	}, id)
	return providers, err
}

func cameBack(ctx context.Context, tx *sqldb.Tx, id string) (provider string, err error) {
	var by sql.NullString
	err = tx.QueryRow(ctx, `UPDATE outbox_letter SET typed_at = $2 WHERE id = $1 AND typed_at IS NULL RETURNING provider`, id, tx.Now().UnixMilli()).Scan(&by)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return by.String, err
}

func typed(ctx context.Context, tx *sqldb.Tx, ids []string, add func(id string)) error {
	return tx.Each(ctx, `SELECT id FROM outbox_letter WHERE typed_at IS NOT NULL AND id IN (`+sqldb.Params(1, len(ids))+`)`, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		add(id)
		return err
	}, sqldb.Args(ids)...)
}

func bury(ctx context.Context, tx *sqldb.Tx, c Claimed, why string) error {
	_, err := tx.Exec(ctx, `
		UPDATE outbox_letter SET state = 'dead', lease = NULL, done_at = $3, next_at = $3, last_error = $4
		WHERE id = $1 AND lease = $2 AND state = 'waiting'`,
		c.ID, c.lease, tx.Now().UnixMilli(), why)
	return err
}

// revive calls woken for each letter's channel.
func revive(ctx context.Context, tx *sqldb.Tx, id string, woken func(message.Channel)) error {
	return tx.Each(ctx, `
		UPDATE outbox_letter SET state = 'waiting', attempts = 0, next_at = $2, done_at = NULL
		WHERE state = 'dead' AND (id = $1 OR $1 = '') AND sealed IS NOT NULL AND expires_at > $2
		RETURNING channel`, func(scan func(...any) error) error {
		var ch message.Channel
		err := scan(&ch)
		woken(ch)
		return err
	}, id, tx.Now().UnixMilli())
}

func dead(ctx context.Context, tx *sqldb.Tx, limit int) (out []DeadLetter, err error) {
	now := tx.Now()
	err = tx.Each(ctx, `
		SELECT id, kind, channel, account_id, attempts, done_at, expires_at, last_error, sealed IS NOT NULL
		FROM outbox_letter WHERE state = 'dead' ORDER BY next_at DESC, id DESC LIMIT $1`,
		func(scan func(...any) error) error {
			var d DeadLetter
			var account, why sql.NullString
			var died, expires int64
			var kept bool
			if err := scan(&d.ID, &d.Kind, &d.Channel, &account, &d.Attempts, &died, &expires, &why, &kept); err != nil {
				return err
			}
			d.Account, d.Why = account.String, why.String
			d.DiedAt, d.ExpiresAt = time.UnixMilli(died), time.UnixMilli(expires)
			d.Revivable = kept && d.ExpiresAt.After(now)
			out = append(out, d)
			return nil
		}, limit)
	return out, err
}

func drop(ctx context.Context, tx *sqldb.Tx, id string) (int64, error) {
	return tx.Exec(ctx, `DELETE FROM outbox_letter WHERE state = 'dead' AND (id = $1 OR $1 = '')`, id)
}

func pause(ctx context.Context, tx *sqldb.Tx, ch message.Channel, why string) (first bool, err error) {
	n, err := tx.Exec(ctx, `INSERT INTO outbox_pause (channel, since, why) VALUES ($1, $2, $3) ON CONFLICT (channel) DO NOTHING`,
		string(ch), tx.Now().UnixMilli(), why)
	if err != nil || n == 1 {
		return n == 1, err
	}
	_, err = tx.Exec(ctx, `UPDATE outbox_pause SET why = $1 WHERE channel = $2`, why, string(ch))
	return false, err
}

func resume(ctx context.Context, tx *sqldb.Tx, ch message.Channel) (paused bool, err error) {
	n, err := tx.Exec(ctx, `DELETE FROM outbox_pause WHERE channel = $1`, string(ch))
	return n == 1, err
}

func status(ctx context.Context, tx *sqldb.Tx, add func(Status)) error {
	now := tx.Now()
	return tx.Each(ctx, `
		SELECT channel, SUM(waiting), SUM(under_way), SUM(tried), SUM(dead), SUM(sent), MIN(oldest), MAX(since), MAX(why)
		FROM (
			SELECT channel, 1 AS waiting, CASE WHEN lease IS NOT NULL AND next_at > $1 THEN 1 ELSE 0 END AS under_way,
			       CASE WHEN attempts > 0 AND lease IS NULL THEN 1 ELSE 0 END AS tried, 0 AS dead, 0 AS sent, created_at AS oldest,
			       CAST(NULL AS BIGINT) AS since, CAST(NULL AS TEXT) AS why
			FROM outbox_letter WHERE state = 'waiting'
			UNION ALL
			SELECT channel, 0, 0, 0, 1, 0, NULL, NULL, NULL FROM outbox_letter WHERE state = 'dead'
			UNION ALL
			SELECT channel, 0, 0, 0, 0, 1, NULL, NULL, NULL FROM outbox_letter WHERE state IN ('sent', 'withheld') AND next_at > $2
			UNION ALL
			SELECT channel, 0, 0, 0, 0, 0, NULL, since, why FROM outbox_pause
		) AS letters
		GROUP BY channel ORDER BY channel`,
		func(scan func(...any) error) error {
			var s Status
			var oldest, since sql.NullInt64
			var why sql.NullString
			err := scan(&s.Channel, &s.Waiting, &s.UnderWay, &s.Tried, &s.Dead, &s.SentLately, &oldest, &since, &why)
			if oldest.Valid {
				s.Oldest = time.UnixMilli(oldest.Int64)
			}
			if since.Valid {
				s.PausedSince, s.PausedWhy = time.UnixMilli(since.Int64), why.String
			}
			if err == nil {
				add(s)
			}
			return err
		}, now.UnixMilli(), now.Add(-lately).UnixMilli())
}

func depth(ctx context.Context, tx *sqldb.Tx) (out []Depth, err error) {
	err = tx.Each(ctx, `
		SELECT channel, SUM(CASE WHEN state = 'waiting' THEN 1 ELSE 0 END), SUM(CASE WHEN state = 'dead' THEN 1 ELSE 0 END),
		       MIN(CASE WHEN state = 'waiting' THEN created_at END), SUM(CASE WHEN state = 'paused' THEN 1 ELSE 0 END)
		FROM (
			SELECT channel, state, created_at FROM outbox_letter WHERE state IN ('waiting', 'dead')
			UNION ALL
			SELECT channel, 'paused', since FROM outbox_pause
		) AS letters
		GROUP BY channel ORDER BY channel`,
		func(scan func(...any) error) error {
			var d Depth
			var oldest sql.NullInt64
			var paused int
			if err := scan(&d.Channel, &d.Waiting, &d.Dead, &oldest, &paused); err != nil {
				return err
			}
			d.Paused = paused > 0
			if oldest.Valid {
				d.Oldest = time.UnixMilli(oldest.Int64)
			}
			out = append(out, d)
			return nil
		})
	return out, err
}

// erase finds letters by the index of those that wait or are dead, which are few.
func erase(ctx context.Context, tx *sqldb.Tx, account string) error {
	_, err := tx.Exec(ctx, `DELETE FROM outbox_letter WHERE state IN ('waiting', 'dead') AND account_id = $1`, account)
	return err
}

// sweepBatch bounds one statement of a sweep, so that no other writer waits long.
const sweepBatch = 1000

// expire wipes what is past its time, except what a courier holds this moment: that one
// is about to be finished.
func expire(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	return tx.Exec(ctx, `
		UPDATE outbox_letter
		SET state = CASE WHEN state = 'waiting' THEN 'expired' ELSE state END,
		    sealed = NULL, lease = NULL, done_at = COALESCE(done_at, $1), next_at = COALESCE(done_at, $1)
		WHERE sealed IS NOT NULL AND id IN (
			SELECT id FROM outbox_letter
			WHERE state IN ('waiting', 'dead') AND expires_at <= $1 AND sealed IS NOT NULL
			  AND (lease IS NULL OR next_at <= $1)
			LIMIT $2)`, tx.Now().UnixMilli(), sweepBatch)
}

// prune removes rows long done. A done row's next_at is its done_at, which lets the index on
// (state, next_at) serve here too.
func prune(ctx context.Context, tx *sqldb.Tx, before time.Time) (int64, error) {
	return tx.Exec(ctx, `
		DELETE FROM outbox_letter WHERE id IN (
			SELECT id FROM outbox_letter
			WHERE state IN ('sent', 'withheld', 'expired', 'dead') AND next_at < $1 AND sealed IS NULL
			LIMIT $2)`, before.UnixMilli(), sweepBatch)
}
