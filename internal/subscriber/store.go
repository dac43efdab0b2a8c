package subscriber

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"countersign/internal/audit"
	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
)

// The columns of sealed values; place says where each stands.
func addresses() keyring.Column {
	return keyring.Column{Table: "subscriber", Keys: []string{"id"}, Name: "url"}
}

func signers() keyring.Column {
	return keyring.Column{Table: "subscriber_secret", Keys: []string{"id"}, Name: "sealed"}
}

// note writes a row for each who wants the kind. It asks nothing about the account.
func note(ctx context.Context, tx *sqldb.Tx, id string, e audit.Event) (int64, error) {
	now := tx.Now()
	return tx.Exec(ctx, `
		INSERT INTO subscriber_event (subscriber_id, event_id, account_id, state, attempts, next_at, give_up_at, created_at)
		SELECT subscriber_id, CAST($1 AS TEXT), CAST($2 AS TEXT), 'waiting', 0, CAST($3 AS BIGINT), CAST($4 AS BIGINT), CAST($3 AS BIGINT)
		FROM subscriber_kind WHERE kind IN ($5, '*')`,
		id, of(e.Account), now.UnixMilli(), now.Add(patience).UnixMilli(), string(e.Kind))
}

func of(account string) sql.NullString { return sql.NullString{String: account, Valid: account != ""} }

// again makes an event wait that was told or given up.
func again(ctx context.Context, tx *sqldb.Tx, id string, e audit.Past) (bool, error) {
	now := tx.Now()
	n, err := tx.Exec(ctx, `
		INSERT INTO subscriber_event (subscriber_id, event_id, account_id, state, attempts, next_at, give_up_at, created_at)
		VALUES ($1, $2, $3, 'waiting', 0, $4, $5, $4)
		ON CONFLICT (subscriber_id, event_id) DO UPDATE
		SET state = 'waiting', attempts = 0, next_at = $4, give_up_at = $5 WHERE subscriber_event.state = 'dead'`,
		id, e.ID, of(e.Account), now.UnixMilli(), now.Add(patience).UnixMilli())
	return n == 1, err
}

func ids(ctx context.Context, tx *sqldb.Tx, add func(id string, paused bool)) error {
	return tx.Each(ctx, `SELECT id, paused_at IS NOT NULL FROM subscriber ORDER BY id`, func(scan func(...any) error) error {
		var id string
		var paused bool
		err := scan(&id, &paused)
		add(id, paused)
		return err
	})
}

// insert returns how many there are then.
func insert(ctx context.Context, tx *sqldb.Tx, id string, url []byte) (n int, err error) {
	if _, err := tx.Exec(ctx, `INSERT INTO subscriber (id, url, created_at) VALUES ($1, $2, $3)`, id, url, tx.Now().UnixMilli()); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, `SELECT count(*) FROM subscriber`).Scan(&n)
	return n, err
}

func insertKind(ctx context.Context, tx *sqldb.Tx, id string, kind audit.Kind) error {
	_, err := tx.Exec(ctx, `INSERT INTO subscriber_kind (kind, subscriber_id) VALUES ($1, $2)`, string(kind), id)
	return err
}

func kindsOf(ctx context.Context, tx *sqldb.Tx, id string) (all []audit.Kind, err error) {
	err = tx.Each(ctx, `SELECT kind FROM subscriber_kind WHERE subscriber_id = $1`, func(scan func(...any) error) error {
		var k string
		err := scan(&k)
		all = append(all, audit.Kind(k))
		return err
	}, id)
	return all, err
}

type secretRow struct {
	id, owner string
	sealed    []byte
}

func insertSecret(ctx context.Context, tx *sqldb.Tx, r secretRow) error {
	_, err := tx.Exec(ctx, `INSERT INTO subscriber_secret (id, subscriber_id, sealed) VALUES ($1, $2, $3)`, r.id, r.owner, r.sealed)
	return err
}

// retire gives the secrets that sign an end, and those that have one already, such as after two rotations in a day, no later one.
func retire(ctx context.Context, tx *sqldb.Tx, id string, until time.Time) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE subscriber_secret SET expires_at = COALESCE(expires_at, $2) WHERE subscriber_id = $1`, id, until.UnixMilli())
	return n > 0, err
}

func secrets(ctx context.Context, tx *sqldb.Tx, id string) (all []secretRow, err error) {
	err = tx.Each(ctx, `
		SELECT id, subscriber_id, sealed FROM subscriber_secret
		WHERE subscriber_id = $1 AND (expires_at IS NULL OR expires_at > $2) ORDER BY id DESC`, func(scan func(...any) error) error {
		var r secretRow
		err := scan(&r.id, &r.owner, &r.sealed)
		all = append(all, r)
		return err
	}, id, tx.Now().UnixMilli())
	return all, err
}

func address(ctx context.Context, tx *sqldb.Tx, id string) (sealed []byte, ok bool, err error) {
	err = tx.QueryRow(ctx, `SELECT url FROM subscriber WHERE id = $1`, id).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return sealed, err == nil, err
}

func exists(ctx context.Context, tx *sqldb.Tx, id string) (bool, error) {
	_, ok, err := address(ctx, tx, id)
	return ok, err
}

func remove(ctx context.Context, tx *sqldb.Tx, id string) (bool, error) {
	for _, statement := range []string{
		`DELETE FROM subscriber_kind WHERE subscriber_id = $1`,
		`DELETE FROM subscriber_secret WHERE subscriber_id = $1`,
		`DELETE FROM subscriber_event WHERE subscriber_id = $1`,
	} {
		if _, err := tx.Exec(ctx, statement, id); err != nil {
			return false, err
		}
	}
	n, err := tx.Exec(ctx, `DELETE FROM subscriber WHERE id = $1`, id)
	return n == 1, err
}

func pause(ctx context.Context, tx *sqldb.Tx, id, why string) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE subscriber SET paused_at = COALESCE(paused_at, $2), paused_why = $3 WHERE id = $1`, id, tx.Now().UnixMilli(), why)
	return n == 1, err
}

func resume(ctx context.Context, tx *sqldb.Tx, id string) (bool, error) {
	now := tx.Now()
	n, err := tx.Exec(ctx, `UPDATE subscriber SET paused_at = NULL, paused_why = NULL WHERE id = $1`, id)
	if err != nil || n == 0 {
		return false, err
	}
	_, err = tx.Exec(ctx, `
		UPDATE subscriber_event SET next_at = $2, give_up_at = $3 WHERE subscriber_id = $1 AND state = 'waiting' AND lease IS NULL`,
		id, now.UnixMilli(), now.Add(patience).UnixMilli())
	return true, err
}

func list(ctx context.Context, tx *sqldb.Tx, add func(Subscriber, []byte) error) error {
	kinds := map[string][]audit.Kind{}
	err := tx.Each(ctx, `SELECT subscriber_id, kind FROM subscriber_kind ORDER BY kind`, func(scan func(...any) error) error {
		var id, kind string
		err := scan(&id, &kind)
		kinds[id] = append(kinds[id], audit.Kind(kind))
		return err
	})
	if err != nil {
		return err
	}
	return tx.Each(ctx, `
		SELECT s.id, s.url, s.created_at, s.paused_at, s.paused_why,
		       COALESCE(SUM(CASE WHEN e.state = 'waiting' THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN e.state = 'dead' THEN 1 ELSE 0 END), 0),
		       MIN(CASE WHEN e.state = 'waiting' THEN e.created_at END), MAX(CASE WHEN e.state = 'waiting' THEN e.last_error END)
		FROM subscriber s LEFT JOIN subscriber_event e ON e.subscriber_id = s.id
		GROUP BY s.id, s.url, s.created_at, s.paused_at, s.paused_why ORDER BY s.id`, func(scan func(...any) error) error {
		var one Subscriber
		var url []byte
		var made int64
		var paused, oldest sql.NullInt64
		var why, trouble sql.NullString
		if err := scan(&one.ID, &url, &made, &paused, &why, &one.Waiting, &one.Dead, &oldest, &trouble); err != nil {
			return err
		}
		one.Kinds, one.CreatedAt, one.PausedWhy, one.Trouble = kinds[one.ID], time.UnixMilli(made), why.String, trouble.String
		one.PausedAt, one.Oldest = moment(paused), moment(oldest)
		return add(one, url)
	})
}

func moment(ms sql.NullInt64) time.Time {
	if !ms.Valid {
		return time.Time{}
	}
	return time.UnixMilli(ms.Int64)
}

func depth(ctx context.Context, tx *sqldb.Tx) (d Depth, err error) {
	var oldest sql.NullInt64
	err = tx.QueryRow(ctx, `
		SELECT COALESCE(SUM(CASE WHEN state = 'waiting' THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN state = 'dead' THEN 1 ELSE 0 END), 0),
		       MIN(CASE WHEN state = 'waiting' THEN created_at END)
		FROM subscriber_event`).Scan(&d.Waiting, &d.Dead, &oldest)
	d.Oldest = moment(oldest)
	return d, err
}

// due is which of a subscriber's events may be told now. The first of an account holds the others back for as long as it waits, claimed
// or not; one that was given up holds back nothing.
const due = `
	e.subscriber_id = $1 AND e.state = 'waiting' AND e.next_at <= $2
	AND NOT EXISTS (
		SELECT 1 FROM subscriber_event b
		WHERE b.subscriber_id = e.subscriber_id AND b.account_id = e.account_id AND b.state = 'waiting' AND b.event_id < e.event_id)
	AND EXISTS (SELECT 1 FROM subscriber s WHERE s.id = e.subscriber_id AND s.paused_at IS NULL)`

func anyDue(ctx context.Context, tx *sqldb.Tx, id string) (bool, error) {
	var one int
	err := tx.QueryRow(ctx, `SELECT 1 FROM subscriber_event e WHERE `+due+` LIMIT 1`, id, tx.Now().UnixMilli()).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// claimed is an event that is ours to tell until the lease runs out.
type claimed struct {
	event, account, lease string
	attempts              int
	last                  bool // a failure now is the last
}

// claim moves next_at to the end of the lease, and only of a row that is still due: of nodes racing for it one gets it.
func claim(ctx context.Context, tx *sqldb.Tx, id, holder string, n int) (all []claimed, err error) {
	now := tx.Now()
	err = tx.Each(ctx, `
		UPDATE subscriber_event SET lease = $3, next_at = $4, attempts = attempts + 1
		WHERE subscriber_id = $1 AND state = 'waiting' AND next_at <= $2 AND event_id IN (
			SELECT e.event_id FROM subscriber_event e WHERE `+due+` ORDER BY e.next_at, e.event_id LIMIT $5)
		RETURNING event_id, account_id, attempts, give_up_at`, func(scan func(...any) error) error {
		c := claimed{lease: holder}
		var account sql.NullString
		var giveUp int64
		err := scan(&c.event, &account, &c.attempts, &giveUp)
		c.account, c.last = account.String, now.UnixMilli() >= giveUp
		all = append(all, c)
		return err
	}, id, now.UnixMilli(), holder, now.Add(lease).UnixMilli(), n)
	return all, err
}

// told ends an event: whoever has the lease by now, it was told.
func told(ctx context.Context, tx *sqldb.Tx, id string, c claimed) error {
	_, err := tx.Exec(ctx, `DELETE FROM subscriber_event WHERE subscriber_id = $1 AND event_id = $2 AND state = 'waiting'`, id, c.event)
	return err
}

func failed(ctx context.Context, tx *sqldb.Tx, id string, c claimed, f failure) error {
	state := "waiting"
	if f.final {
		state = "dead"
	}
	_, err := tx.Exec(ctx, `
		UPDATE subscriber_event SET lease = NULL, next_at = $4, last_error = $5, state = $6
		WHERE subscriber_id = $1 AND event_id = $2 AND lease = $3 AND state = 'waiting'`,
		id, c.event, c.lease, tx.Now().Add(f.wait).UnixMilli(), f.why, state)
	return err
}

// hurry makes due whatever waits because it failed.
func hurry(ctx context.Context, tx *sqldb.Tx, id string) error {
	now := tx.Now().UnixMilli()
	_, err := tx.Exec(ctx, `UPDATE subscriber_event SET next_at = $2 WHERE subscriber_id = $1 AND state = 'waiting' AND lease IS NULL AND next_at > $2`, id, now)
	return err
}

func dead(ctx context.Context, tx *sqldb.Tx, most int) (all []Given, err error) {
	err = tx.Each(ctx, `
		SELECT subscriber_id, event_id, account_id, attempts, created_at, last_error
		FROM subscriber_event WHERE state = 'dead' ORDER BY next_at DESC, event_id DESC LIMIT $1`, func(scan func(...any) error) error {
		var g Given
		var account, why sql.NullString
		var at int64
		err := scan(&g.Subscriber, &g.Event, &account, &g.Attempts, &at, &why)
		g.Account, g.Why, g.At = account.String, why.String, time.UnixMilli(at)
		all = append(all, g)
		return err
	}, most)
	return all, err
}

func revive(ctx context.Context, tx *sqldb.Tx, event string) (int64, error) {
	now := tx.Now()
	return tx.Exec(ctx, `
		UPDATE subscriber_event SET state = 'waiting', attempts = 0, next_at = $2, give_up_at = $3
		WHERE state = 'dead' AND (event_id = $1 OR $1 = '')`, event, now.UnixMilli(), now.Add(patience).UnixMilli())
}

func drop(ctx context.Context, tx *sqldb.Tx, event string) (int64, error) {
	return tx.Exec(ctx, `DELETE FROM subscriber_event WHERE state = 'dead' AND (event_id = $1 OR $1 = '')`, event)
}

func prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	over, err := tx.Exec(ctx, `DELETE FROM subscriber_secret WHERE expires_at <= $1`, tx.Now().UnixMilli())
	if err != nil {
		return 0, err
	}
	orphans, err := tx.Exec(ctx, `DELETE FROM subscriber_event WHERE NOT EXISTS (SELECT 1 FROM subscriber s WHERE s.id = subscriber_event.subscriber_id)`)
	return over + orphans, err
}
