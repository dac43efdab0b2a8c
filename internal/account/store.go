package account

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"time"

	"countersign/internal/platform/sqldb"
)

type identifierRow struct {
	Address // Normal is empty: it is in sealed
	account ID
	lookup  []byte
	sealed  []byte
}

// putAccount writes an account unless there is one with its id; fresh reports which.
func putAccount(ctx context.Context, tx *sqldb.Tx, a Account) (fresh bool, err error) {
	n, err := tx.Exec(ctx, `
		INSERT INTO account (id, state, language, created_at, changed_at)
		VALUES ($1, $2, $3, $4, $4) ON CONFLICT (id) DO NOTHING`,
		string(a.ID), string(a.State), a.Language, tx.Now().UnixMilli())
	return n == 1, err
}

// putIdentifier writes an identifier unless another account signs in with it; fresh reports
// which. Of two transactions racing for one, the unique index lets one win on either engine.
func putIdentifier(ctx context.Context, tx *sqldb.Tx, r identifierRow) (fresh bool, err error) {
	now := tx.Now().UnixMilli()
	n, err := tx.Exec(ctx, `
		INSERT INTO account_identifier
			(id, account_id, kind, lookup, sealed, signs_in, notices, recovers, verified_at, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (lookup) WHERE signs_in DO NOTHING`,
		r.ID, string(r.account), string(r.Kind), r.lookup, r.sealed, r.SignsIn, r.Notices, r.Recovers,
		sql.Null[int64]{V: now, Valid: r.Verified}, now)
	return n == 1, err
}

// twoAccounts is what byLookup found; the ID of what it did not find is empty.
type twoAccounts struct{ asked, other Account }

// byLookup fetches the accounts that sign in with either identifier, in one query. Whoever has
// an account is read with the decoy, so whoever has none must cost a row more than the decoy,
// too, and one that is not always the same few, which would lie in every cache: it is the next in
// the index, which sorts by a keyed digest.
func byLookup(ctx context.Context, tx *sqldb.Tx, asked, other []byte) (found twoAccounts, err error) {
	err = tx.Each(ctx, `
		SELECT i.lookup, a.id, a.state, a.language, a.created_at
		FROM (
			SELECT * FROM (
				SELECT lookup, account_id FROM account_identifier
				WHERE signs_in AND lookup >= $1 ORDER BY lookup LIMIT 1) AS next
			UNION ALL
			SELECT lookup, account_id FROM account_identifier WHERE signs_in AND lookup = $2) AS i
		JOIN account a ON a.id = i.account_id`,
		func(scan func(...any) error) error {
			var lookup []byte
			var a Account
			var created int64
			if err := scan(&lookup, &a.ID, &a.State, &a.Language, &created); err != nil {
				return err
			}
			a.CreatedAt = time.UnixMilli(created)
			if bytes.Equal(lookup, asked) {
				found.asked = a
			}
			if bytes.Equal(lookup, other) { // both, when someone asks for a decoy by its own address
				found.other = a
			}
			return nil
		}, asked, other)
	return found, err
}

func get(ctx context.Context, tx *sqldb.Tx, id ID) (a Account, ok bool, err error) {
	var created int64
	err = tx.QueryRow(ctx, `SELECT id, state, language, created_at FROM account WHERE id = $1`, string(id)).
		Scan(&a.ID, &a.State, &a.Language, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return Account{}, false, nil
	}
	a.CreatedAt = time.UnixMilli(created)
	return a, err == nil, err
}

func identifiers(ctx context.Context, tx *sqldb.Tx, owner ID) (rows []identifierRow, err error) {
	err = tx.Each(ctx, `
		SELECT id, kind, sealed, signs_in, notices, recovers, verified_at IS NOT NULL
		FROM account_identifier WHERE account_id = $1 ORDER BY created_at, kind, id`,
		func(scan func(...any) error) error {
			var r identifierRow
			err := scan(&r.ID, &r.Kind, &r.sealed, &r.SignsIn, &r.Notices, &r.Recovers, &r.Verified)
			rows = append(rows, r)
			return err
		}, string(owner))
	return rows, err
}

// setState moves an account that is neither closed nor a decoy; moved is false for those and
// for nobody. changed_at moves only when the state does.
func setState(ctx context.Context, tx *sqldb.Tx, id ID, to State) (moved bool, err error) {
	n, err := tx.Exec(ctx, `
		UPDATE account SET changed_at = CASE WHEN state = $1 THEN changed_at ELSE $2 END, state = $1
		WHERE id = $3 AND state IN ('active', 'locked', $1)`,
		string(to), tx.Now().UnixMilli(), string(id))
	return n == 1, err
}

func count(ctx context.Context, tx *sqldb.Tx) (map[State]int64, error) {
	out := map[State]int64{Active: 0, Locked: 0, Closed: 0}
	err := tx.Each(ctx, `SELECT state, COUNT(*) FROM account WHERE state <> 'decoy' GROUP BY state`,
		func(scan func(...any) error) error {
			var state State
			var n int64
			err := scan(&state, &n)
			out[state] = n
			return err
		})
	return out, err
}
