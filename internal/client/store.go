package client

import (
	"context"
	"fmt"
	"strings"
	"time"

	"countersign/internal/platform/sqldb"
)

func currentRevision(ctx context.Context, tx *sqldb.Tx) (n int64, err error) {
	err = tx.QueryRow(ctx, `SELECT revision FROM client_revision WHERE id = 1`).Scan(&n)
	return n, err
}

// nextRevision tells every node to read the rules again. It holds a row until the transaction ends,
// so that changes follow one another.
func nextRevision(ctx context.Context, tx *sqldb.Tx) error {
	_, err := tx.Exec(ctx, `UPDATE client_revision SET revision = revision + 1 WHERE id = 1`)
	return err
}

// nextCounts holds a row, so that nodes write their counts one after the other.
func nextCounts(ctx context.Context, tx *sqldb.Tx) error {
	_, err := tx.Exec(ctx, `UPDATE client_revision SET revision = revision + 1 WHERE id = 2`)
	return err
}

func eachRule(ctx context.Context, tx *sqldb.Tx, f func(Rule)) error {
	return tx.Each(ctx, `SELECT client, warn_below, refuse_below, warned_at, sunset_at, changed_at FROM client_rule`,
		func(scan func(...any) error) error {
			var r Rule
			var warn, refuse string
			var warned, sunset, changed int64
			if err := scan(&r.Client, &warn, &refuse, &warned, &sunset, &changed); err != nil {
				return err
			}
			var err error
			if r.WarnBelow, err = ParseBound(warn); err != nil {
				return fmt.Errorf("rule of %s: %w", r.Client, err)
			}
			if r.RefuseBelow, err = ParseBound(refuse); err != nil {
				return fmt.Errorf("rule of %s: %w", r.Client, err)
			}
			r.WarnedAt, r.Sunset, r.ChangedAt = instant(warned), instant(sunset), instant(changed)
			f(r)
			return nil
		})
}

func putRule(ctx context.Context, tx *sqldb.Tx, r Rule) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO client_rule (client, warn_below, refuse_below, warned_at, sunset_at, changed_at)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (client) DO UPDATE SET warn_below = excluded.warn_below, refuse_below = excluded.refuse_below,
		    warned_at = excluded.warned_at, sunset_at = excluded.sunset_at, changed_at = excluded.changed_at`,
		r.Client, r.WarnBelow.String(), r.RefuseBelow.String(), ms(r.WarnedAt), ms(r.Sunset), ms(r.ChangedAt))
	return err
}

func deleteRule(ctx context.Context, tx *sqldb.Tx, name string) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM client_rule WHERE client = $1`, name)
	return n == 1, err
}

func eachAPI(ctx context.Context, tx *sqldb.Tx, f func(API)) error {
	return tx.Each(ctx, `SELECT version, announced_at, retired_at FROM client_api`, func(scan func(...any) error) error {
		var a API
		var announced, retired int64
		if err := scan(&a.Version, &announced, &retired); err != nil {
			return err
		}
		a.AnnouncedAt, a.RetiredAt = instant(announced), instant(retired)
		f(a)
		return nil
	})
}

func putAPI(ctx context.Context, tx *sqldb.Tx, a API) error {
	_, err := tx.Exec(ctx, `INSERT INTO client_api (version, announced_at, retired_at) VALUES ($1, $2, $3)
		ON CONFLICT (version) DO UPDATE SET retired_at = excluded.retired_at`, a.Version, ms(a.AnnouncedAt), ms(a.RetiredAt))
	return err
}

func deleteAPI(ctx context.Context, tx *sqldb.Tx, version string) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM client_api WHERE version = $1`, version)
	return n == 1, err
}

// versions returns what is counted of each version of a client, but of those that are not told apart.
func versions(ctx context.Context, tx *sqldb.Tx, name string) (map[string]tally, error) {
	all := map[string]tally{}
	err := tx.Each(ctx, `SELECT version, CAST(sum(calls) AS BIGINT), max(last_seen) FROM client_usage
		WHERE client = $1 AND version <> '' AND version <> $2 GROUP BY version`,
		func(scan func(...any) error) error {
			var version string
			var t tally
			err := scan(&version, &t.calls, &t.last)
			all[version] = t
			return err
		}, name, Other)
	return all, err
}

// mergeIntoOther counts a version's calls with those that are not told apart.
func mergeIntoOther(ctx context.Context, tx *sqldb.Tx, name, version string) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO client_usage (client, version, route, calls, refused, first_seen, last_seen)
		SELECT client, CAST($3 AS TEXT), route, calls, refused, first_seen, last_seen FROM client_usage WHERE client = $1 AND version = $2
		`+addUp, name, version, Other)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `DELETE FROM client_usage WHERE client = $1 AND version = $2`, name, version)
	return err
}

const addUp = `ON CONFLICT (client, version, route) DO UPDATE SET
	calls = client_usage.calls + excluded.calls, refused = client_usage.refused + excluded.refused,
	first_seen = CASE WHEN excluded.first_seen < client_usage.first_seen THEN excluded.first_seen ELSE client_usage.first_seen END,
	last_seen = CASE WHEN excluded.last_seen > client_usage.last_seen THEN excluded.last_seen ELSE client_usage.last_seen END`

// addCounts adds rows twenty at a time, and what is left over singly: the driver keeps each text.
func addCounts(ctx context.Context, tx *sqldb.Tx, rows []what, counts map[what]*tally) error {
	const at = 20
	for len(rows) > 0 {
		n := 1
		if len(rows) >= at {
			n = at
		}
		args := make([]any, 0, 7*n)
		for _, w := range rows[:n] {
			t := counts[w]
			args = append(args, w.client, w.version, w.route, t.calls, t.refused, t.first, t.last)
		}
		if _, err := tx.Exec(ctx, `INSERT INTO client_usage (client, version, route, calls, refused, first_seen, last_seen) VALUES `+
			places(n, 7)+" "+addUp, args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// places writes placeholders for rows of columns.
func places(rows, columns int) string {
	var b strings.Builder
	for i := range rows * columns {
		switch {
		case i == 0:
			b.WriteString("(")
		case i%columns == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", i+1)
	}
	return b.String() + ")"
}

func used(ctx context.Context, tx *sqldb.Tx, name string) (all []Used, err error) {
	err = tx.Each(ctx, `SELECT client, version, route, calls, refused, first_seen, last_seen FROM client_usage
		WHERE $1 = '' OR client = $1`,
		func(scan func(...any) error) error {
			var u Used
			var first, last int64
			err := scan(&u.Client, &u.Version, &u.Route, &u.Calls, &u.Refused, &first, &last)
			u.FirstSeen, u.LastSeen = time.UnixMilli(first).UTC(), time.UnixMilli(last).UTC()
			all = append(all, u)
			return err
		}, name)
	return all, err
}

func prune(ctx context.Context, tx *sqldb.Tx, before time.Time) (int64, error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	return tx.Exec(ctx, `DELETE FROM client_usage WHERE (client, version, route) IN
		(SELECT client, version, route FROM client_usage WHERE last_seen < $1 LIMIT $2)`, before.UnixMilli(), batch)
}

// instant reads a time, of which 0 is none.
func instant(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
