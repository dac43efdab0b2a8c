package account

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
)

// putAccount writes an account unless there is one with its id; fresh reports which.
func putAccount(ctx context.Context, tx *sqldb.Tx, a Account) (fresh bool, err error) {
	n, err := tx.Exec(ctx, `
		INSERT INTO account (id, state, language, created_at, changed_at)
		VALUES ($1, $2, $3, $4, $4) ON CONFLICT (id) DO NOTHING`,
		string(a.ID), string(a.State), a.Language, tx.Now().UnixMilli())
	return n == 1, err
}

// claim writes what an identifier is found by, unless somebody signs in with it; fresh reports which. Of two
// transactions racing for one, the primary key lets one win on either engine.
func claim(ctx context.Context, tx *sqldb.Tx, r identifierRow) (fresh bool, err error) {
	oldest := r.names[0]
	written, err := putLookups(ctx, tx, []lookupRow{{oldest, r.account}})
	if err != nil || written == 0 || len(r.names) == 1 {
		return written == 1, err
	}
	moved, err := tx.Exec(ctx, `
		UPDATE account_lookup SET lookup = $1 WHERE lookup = $2 AND NOT EXISTS (
			SELECT 1 FROM account_lookup AS other WHERE other.lookup IN (`+sqldb.Params(3, len(r.names)-1)+`))`,
		append([]any{r.lookup, oldest}, sqldb.Args(r.names[1:])...)...)
	if err != nil || moved == 1 {
		return moved == 1, err
	}
	return false, deleteLookups(ctx, tx, r.account, r.names[:1])
}

// putLookups writes those that are nobody's, in their order, in which no two who write some wait for one another.
func putLookups(ctx context.Context, tx *sqldb.Tx, all []lookupRow) (written int64, err error) {
	slices.SortFunc(all, func(a, b lookupRow) int { return bytes.Compare(a.lookup, b.lookup) })
	return tx.Many(ctx, `INSERT INTO account_lookup (lookup, account_id)`, `ON CONFLICT (lookup) DO NOTHING`, len(all),
		func(i int) []any { return []any{all[i].lookup, string(all[i].account)} })
}

func deleteLookups(ctx context.Context, tx *sqldb.Tx, owner ID, lookups [][]byte) error {
	if len(lookups) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `DELETE FROM account_lookup WHERE account_id = $1 AND lookup IN (`+sqldb.Params(2, len(lookups))+`)`,
		append([]any{owner}, sqldb.Args(lookups)...)...)
	return err
}

// deleteAllLookups looks at every row of the table.
func deleteAllLookups(ctx context.Context, tx *sqldb.Tx, owner ID) error {
	_, err := tx.Exec(ctx, `DELETE FROM account_lookup WHERE account_id = $1`, owner)
	return err
}

// byLookup fetches the accounts that sign in with either identifier, in one query; each has an index for
// every key of the ring. Whoever has an account is read with the decoy, so whoever has none must cost
// a row more than the decoy, too, and one that is not always the same few, which would lie in every
// cache: it is the next in the index, which sorts by a keyed digest.
func byLookup(ctx context.Context, tx *sqldb.Tx, asked, other [][]byte) (found twoAccounts, err error) {
	query, args := lookupQuery(asked, other)
	err = tx.Each(ctx, query, func(scan func(...any) error) error {
		var lookup []byte
		var a Account
		var created int64
		if err := scan(&lookup, &a.ID, &a.State, &a.Language, &created); err != nil {
			return err
		}
		a.CreatedAt = time.UnixMilli(created)
		if among(asked, lookup) {
			found.asked = a
		}
		if among(other, lookup) { // both, when someone asks for a decoy by its own address
			found.other = a
		}
		return nil
	}, args...)
	return found, err
}

func lookupQuery(asked, other [][]byte) (text string, args []any) {
	var next strings.Builder
	for i := range asked {
		next.WriteString(`SELECT * FROM (
			SELECT lookup, account_id FROM account_lookup
			WHERE lookup >= ` + sqldb.Params(1+i, 1) + ` ORDER BY lookup LIMIT 1) AS next` + strconv.Itoa(i) + `
		UNION ALL `)
	}
	if len(other) == 0 {
		other = [][]byte{nil}
	}
	return `
		SELECT i.lookup, a.id, a.state, a.language, a.created_at
		FROM (` + next.String() + `
			SELECT lookup, account_id FROM account_lookup
			WHERE lookup IN (` + sqldb.Params(1+len(asked), len(other)) + `)) AS i
		JOIN account a ON a.id = i.account_id`, append(sqldb.Args(asked), sqldb.Args(other)...)
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
		SELECT id, kind, sealed, signs_in, notices, recovers, verified_at IS NOT NULL, created_at
		FROM account_identifier WHERE account_id = $1 ORDER BY created_at, kind, id`,
		func(scan func(...any) error) error {
			r := identifierRow{account: owner}
			var created int64
			err := scan(&r.ID, &r.Kind, &r.sealed, &r.SignsIn, &r.Notices, &r.Recovers, &r.Verified, &created)
			r.AddedAt = time.UnixMilli(created)
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

func putChange(ctx context.Context, tx *sqldb.Tx, c change) error {
	id, err := newID()
	if err != nil {
		return err
	}
	var held int64
	if !c.heldUntil.IsZero() {
		held = c.heldUntil.UnixMilli()
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO account_address_change (id, account_id, identifier_id, what, at, kind, lookup, sealed,
			signs_in, notices, recovers, verified_at, created_at, held_until)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		id, c.row.account, c.row.ID, c.what, tx.Now().UnixMilli(), c.row.Kind, c.row.lookup, c.row.sealed,
		c.row.SignsIn, c.row.Notices, c.row.Recovers, sql.Null[int64]{V: c.row.AddedAt.UnixMilli(), Valid: c.row.Verified}, c.row.AddedAt.UnixMilli(), held)
	return err
}

// takeChange deletes a change; of two who undo it at once one takes it.
func takeChange(ctx context.Context, tx *sqldb.Tx, id string) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM account_address_change WHERE id = $1`, id)
	return n == 1, err
}

// changesSince returns an account's changes, the newest first.
func changesSince(ctx context.Context, tx *sqldb.Tx, id ID, since time.Time) (all []change, err error) {
	err = tx.Each(ctx, `
		SELECT id, identifier_id, what, kind, lookup, sealed, signs_in, notices, recovers, verified_at IS NOT NULL, created_at, held_until, at
		FROM account_address_change WHERE account_id = $1 AND at >= $2 ORDER BY at DESC, id DESC`,
		func(scan func(...any) error) error {
			c := change{row: identifierRow{account: id}}
			var created, held, at int64
			err := scan(&c.id, &c.row.ID, &c.what, &c.row.Kind, &c.row.lookup, &c.row.sealed, &c.row.SignsIn, &c.row.Notices, &c.row.Recovers, &c.row.Verified, &created, &held, &at)
			c.row.AddedAt, c.heldUntil, c.at = time.UnixMilli(created), time.UnixMilli(held), time.UnixMilli(at)
			all = append(all, c)
			return err
		}, id, since.UnixMilli())
	return all, err
}

// heldByOther reports whether somebody else signed in with it until lately.
func heldByOther(ctx context.Context, tx *sqldb.Tx, lookups [][]byte, owner ID) (held bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT 1 FROM account_address_change
			WHERE held_until > $1 AND held_until > 0 AND signs_in AND account_id <> $2 AND lookup IN (`+sqldb.Params(3, len(lookups))+`))`,
		append([]any{tx.Now().UnixMilli(), owner}, sqldb.Args(lookups)...)...).Scan(&held)
	return held, err
}

// countTaken counts in the row of Last that identifiers are taken while keys change.
func countTaken(ctx context.Context, tx *sqldb.Tx) error {
	_, err := tx.Exec(ctx, `UPDATE account SET changed_at = changed_at + 1 WHERE id = $1`, Last)
	return err
}

// takenSoFar is that count. With a lock, it stays what it is until the transaction ends.
func takenSoFar(ctx context.Context, tx *sqldb.Tx, lock string) (n int64, err error) {
	err = tx.QueryRow(ctx, `SELECT changed_at FROM account WHERE id = $1`+lock, Last).Scan(&n)
	return n, err
}

// takeIdentifiers deletes an account's identifier, or, with only empty, all.
func takeIdentifiers(ctx context.Context, tx *sqldb.Tx, owner ID, only string) (rows []identifierRow, err error) {
	err = tx.Each(ctx, `DELETE FROM account_identifier WHERE account_id = $1 AND (id = $2 OR $2 = '') RETURNING id, kind, sealed, signs_in`,
		func(scan func(...any) error) error {
			r := identifierRow{account: owner}
			err := scan(&r.ID, &r.Kind, &r.sealed, &r.SignsIn)
			rows = append(rows, r)
			return err
		}, owner, only)
	return rows, err
}

func standing(ctx context.Context, tx *sqldb.Tx, id ID) (st Standing, err error) {
	var frozen, since int64
	var eraseAt sql.NullInt64
	err = tx.QueryRow(ctx, `SELECT frozen_until, frozen_at, erase_at FROM account WHERE id = $1`, id).Scan(&frozen, &since, &eraseAt)
	st.FrozenUntil, st.FrozenAt = time.UnixMilli(frozen), time.UnixMilli(since)
	if eraseAt.Valid {
		st.EraseAt = time.UnixMilli(eraseAt.Int64)
	}
	return st, err
}

// alone locks the row where several may write at once; where only one may, it costs next to nothing.
func alone(ctx context.Context, tx *sqldb.Tx, id ID) error {
	_, err := tx.Exec(ctx, `UPDATE account SET state = state WHERE id = $1`, id)
	return err
}

func freeze(ctx context.Context, tx *sqldb.Tx, id ID, until time.Time) error {
	_, err := tx.Exec(ctx, `
		UPDATE account SET frozen_until = $1, frozen_at = CASE WHEN frozen_until > $2 THEN frozen_at ELSE $2 END
		WHERE id = $3 AND frozen_until < $1`, until.UnixMilli(), tx.Now().UnixMilli(), id)
	return err
}

func setLanguage(ctx context.Context, tx *sqldb.Tx, id ID, language string) error {
	_, err := tx.Exec(ctx, `UPDATE account SET language = $1, changed_at = $2 WHERE id = $3`, language, tx.Now().UnixMilli(), id)
	return err
}

func setErase(ctx context.Context, tx *sqldb.Tx, id ID, at time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE account SET erase_at = $1, changed_at = $2 WHERE id = $3 AND state <> 'decoy'`,
		sql.Null[int64]{V: at.UnixMilli(), Valid: !at.IsZero()}, tx.Now().UnixMilli(), id)
	return err
}

func askErase(ctx context.Context, tx *sqldb.Tx, id ID, at time.Time) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE account SET erase_at = $1, changed_at = $2 WHERE id = $3 AND erase_at IS NULL AND state <> 'decoy'`,
		at.UnixMilli(), tx.Now().UnixMilli(), id)
	return n == 1, err
}

func keep(ctx context.Context, tx *sqldb.Tx, id ID) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE account SET erase_at = NULL, changed_at = $1 WHERE id = $2 AND erase_at IS NOT NULL`, tx.Now().UnixMilli(), id)
	return n == 1, err
}

func dueForErasure(ctx context.Context, tx *sqldb.Tx, n int) (ids []ID, err error) {
	err = tx.Each(ctx, `SELECT id FROM account WHERE erase_at IS NOT NULL AND erase_at <= $1 AND state <> 'locked' ORDER BY erase_at LIMIT $2`,
		func(scan func(...any) error) error {
			var id ID
			err := scan(&id)
			ids = append(ids, id)
			return err
		}, tx.Now().UnixMilli(), n)
	return ids, err
}

// erase closes the account first: of two nodes one gets it, and who keeps it or asks again waits. The row
// stays, with an id that the record knows and nothing of whose it was. The identifiers are for the caller to take.
func erase(ctx context.Context, tx *sqldb.Tx, id ID) (bool, error) {
	n, err := tx.Exec(ctx, `
		UPDATE account SET state = 'closed', language = 'en', erase_at = NULL, frozen_until = 0, frozen_at = 0, changed_at = $1
		WHERE id = $2 AND erase_at <= $1 AND state IN ('active', 'closed')`, tx.Now().UnixMilli(), id)
	if err != nil || n == 0 {
		return false, err
	}
	for _, table := range []string{"account_address_change", "account_claim", "account_group"} {
		if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE account_id = $1`, id); err != nil {
			return false, err
		}
	}
	return true, nil
}

func groups(ctx context.Context, tx *sqldb.Tx, id ID) (names []string, err error) {
	err = tx.Each(ctx, `SELECT name FROM account_group WHERE account_id = $1 ORDER BY name`, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		names = append(names, name)
		return err
	}, id)
	return names, err
}

func members(ctx context.Context, tx *sqldb.Tx, group string, after ID, n int) (ids []ID, err error) {
	err = tx.Each(ctx, `SELECT account_id FROM account_group WHERE name = $1 AND account_id > $2 ORDER BY account_id LIMIT $3`,
		func(scan func(...any) error) error {
			var id ID
			err := scan(&id)
			ids = append(ids, id)
			return err
		}, group, after, n)
	return ids, err
}

func groupSizes(ctx context.Context, tx *sqldb.Tx) (all []Group, err error) {
	err = tx.Each(ctx, `SELECT name, COUNT(*) FROM account_group GROUP BY name ORDER BY name`, func(scan func(...any) error) error {
		var g Group
		err := scan(&g.Name, &g.Members)
		all = append(all, g)
		return err
	})
	return all, err
}

func join(ctx context.Context, tx *sqldb.Tx, id ID, group string) (bool, error) {
	n, err := tx.Exec(ctx, `INSERT INTO account_group (account_id, name) VALUES ($1, $2) ON CONFLICT (account_id, name) DO NOTHING`, id, group)
	return n == 1, err
}

func leave(ctx context.Context, tx *sqldb.Tx, id ID, group string) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM account_group WHERE account_id = $1 AND name = $2`, id, group)
	return n == 1, err
}

func pruneChanges(ctx context.Context, tx *sqldb.Tx, before time.Time) (int64, error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	return tx.Exec(ctx, `DELETE FROM account_address_change WHERE id IN
		(SELECT id FROM account_address_change WHERE at < $1 LIMIT $2)`, before.UnixMilli(), batch)
}

func putClaim(ctx context.Context, tx *sqldb.Tx, id ID, name string, sealed []byte) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO account_claim (account_id, name, sealed) VALUES ($1, $2, $3)
		ON CONFLICT (account_id, name) DO UPDATE SET sealed = excluded.sealed`, id, name, sealed)
	return err
}

func claims(ctx context.Context, tx *sqldb.Tx, id ID) (sealed map[string][]byte, err error) {
	sealed = map[string][]byte{}
	err = tx.Each(ctx, `SELECT name, sealed FROM account_claim WHERE account_id = $1`,
		func(scan func(...any) error) error {
			var name string
			var b []byte
			err := scan(&name, &b)
			sealed[name] = b
			return err
		}, id)
	return sealed, err
}

func deleteClaim(ctx context.Context, tx *sqldb.Tx, id ID, name string) error {
	_, err := tx.Exec(ctx, `DELETE FROM account_claim WHERE account_id = $1 AND name = $2`, id, name)
	return err
}

// namesInUse returns those that somebody signs in with, or did until lately.
func namesInUse(ctx context.Context, tx *sqldb.Tx, lookups [][]byte) (map[string]bool, error) {
	used := map[string]bool{}
	err := sqldb.In(ctx, tx, `SELECT lookup FROM account_lookup WHERE lookup IN %s`, lookups,
		func(scan func(...any) error) error {
			var lookup []byte
			err := scan(&lookup)
			used[string(lookup)] = true
			return err
		})
	if err != nil {
		return nil, err
	}
	err = sqldb.In(ctx, tx, `
		SELECT lookup, held_until FROM account_address_change WHERE signs_in AND held_until > 0 AND lookup IN %s`, lookups,
		func(scan func(...any) error) error {
			var lookup []byte
			var held int64
			err := scan(&lookup, &held)
			if held > tx.Now().UnixMilli() {
				used[string(lookup)] = true
			}
			return err
		})
	return used, err
}

func idsInUse(ctx context.Context, tx *sqldb.Tx, ids []string) (map[ID]bool, error) {
	used := map[ID]bool{}
	err := sqldb.In(ctx, tx, `SELECT id FROM account WHERE id IN %s`, ids, func(scan func(...any) error) error {
		var id ID
		err := scan(&id)
		used[id] = true
		return err
	})
	return used, err
}

// putIdentifiers writes identifiers. What their accounts are found by is written before.
func putIdentifiers(ctx context.Context, tx *sqldb.Tx, all []identifierRow) error {
	_, err := tx.Many(ctx, `
		INSERT INTO account_identifier (id, account_id, kind, sealed, signs_in, notices, recovers, verified_at, created_at)`,
		"", len(all), func(i int) []any {
			r := all[i]
			added := tx.Now().UnixMilli()
			if !r.AddedAt.IsZero() { // it is brought along, or comes back
				added = r.AddedAt.UnixMilli()
			}
			return []any{
				r.ID, string(r.account), string(r.Kind), r.sealed, r.SignsIn, r.Notices, r.Recovers,
				sql.Null[int64]{V: added, Valid: r.Verified},
				added,
			}
		})
	return err
}

func putClaims(ctx context.Context, tx *sqldb.Tx, all []Prepared) error {
	var claims [][]any
	for _, p := range all {
		for _, c := range p.claims {
			claims = append(claims, []any{string(p.ID), c.name, c.sealed})
		}
	}
	_, err := tx.Many(ctx, `INSERT INTO account_claim (account_id, name, sealed)`, "", len(claims), func(i int) []any { return claims[i] })
	return err
}

func putAccounts(ctx context.Context, tx *sqldb.Tx, all []Prepared) error {
	now := tx.Now()
	written, err := tx.Many(ctx, `INSERT INTO account (id, state, language, created_at, changed_at, frozen_until, erase_at)`,
		`ON CONFLICT (id) DO NOTHING`, len(all), func(i int) []any {
			p := all[i]
			var frozen int64
			if until := p.standing.FrozenUntil; !until.IsZero() {
				frozen = until.UnixMilli()
			}
			erase := p.standing.EraseAt
			return []any{
				string(p.ID), string(p.who.State), p.who.Language, p.created(now).UnixMilli(), now.UnixMilli(), frozen,
				sql.Null[int64]{V: erase.UnixMilli(), Valid: !erase.IsZero()},
			}
		})
	if err == nil && written != int64(len(all)) {
		err = errRaced
	}
	return err
}

func accountsAfter(ctx context.Context, tx *sqldb.Tx, after ID, n int) (all []Whole, err error) {
	err = tx.Each(ctx, `
		SELECT id, state, language, created_at, frozen_until, erase_at FROM account
		WHERE id > $1 AND state <> 'decoy' ORDER BY id LIMIT $2`,
		func(scan func(...any) error) error {
			var w Whole
			var created, frozen int64
			var erase sql.NullInt64
			err := scan(&w.ID, &w.State, &w.Language, &created, &frozen, &erase)
			w.CreatedAt = time.UnixMilli(created)
			if until := time.UnixMilli(frozen); until.After(tx.Now()) {
				w.Standing.FrozenUntil = until
			}
			if erase.Valid {
				w.Standing.EraseAt = time.UnixMilli(erase.Int64)
			}
			all = append(all, w)
			return err
		}, string(after), n)
	return all, err
}

// identifiersBetween returns those of the accounts from one id to another, decoys included.
func identifiersBetween(ctx context.Context, tx *sqldb.Tx, first, last ID) (rows []identifierRow, err error) {
	err = tx.Each(ctx, `
		SELECT account_id, id, kind, sealed, signs_in, notices, recovers, verified_at IS NOT NULL, created_at
		FROM account_identifier WHERE account_id >= $1 AND account_id <= $2 ORDER BY account_id, created_at, kind, id`,
		func(scan func(...any) error) error {
			var r identifierRow
			var created int64
			err := scan(&r.account, &r.ID, &r.Kind, &r.sealed, &r.SignsIn, &r.Notices, &r.Recovers, &r.Verified, &created)
			r.AddedAt = time.UnixMilli(created)
			rows = append(rows, r)
			return err
		}, string(first), string(last))
	return rows, err
}

func claimsBetween(ctx context.Context, tx *sqldb.Tx, first, last ID, visit func(owner ID, name string, sealed []byte) error) error {
	return tx.Each(ctx, `SELECT account_id, name, sealed FROM account_claim WHERE account_id >= $1 AND account_id <= $2`,
		func(scan func(...any) error) error {
			var owner ID
			var name string
			var sealed []byte
			if err := scan(&owner, &name, &sealed); err != nil {
				return err
			}
			return visit(owner, name, sealed)
		}, string(first), string(last))
}

func namedAfter(ctx context.Context, tx *sqldb.Tx, table, after string, n int) (rows []named, err error) {
	own := map[string]string{identifierTable: "id, NULL", changeTable: "identifier_id, lookup"}[table]
	err = tx.Each(ctx, `SELECT id, account_id, kind, sealed, signs_in, `+own+` FROM `+table+` WHERE id > $1 ORDER BY id LIMIT $2`,
		func(scan func(...any) error) error {
			var r named
			err := scan(&r.id, &r.account, &r.kind, &r.sealed, &r.signsIn, &r.place, &r.lookup)
			rows = append(rows, r)
			return err
		}, after, n)
	return rows, err
}

// putLookupOf writes an identifier's index if the identifier is as it was read; fresh is false if it is not, or has it already.
func putLookupOf(ctx context.Context, tx *sqldb.Tx, row keyring.Renewal) (fresh bool, err error) {
	n, err := tx.Exec(ctx, `
		INSERT INTO account_lookup (lookup, account_id)
		SELECT $1, account_id FROM account_identifier WHERE id = $2 AND sealed = $3
		ON CONFLICT (lookup) DO NOTHING`, row.Lookup, row.Row, row.Was[0])
	return n == 1, err
}

// hadByAnother reports whether the index of an identifier is there, and is another account's.
func hadByAnother(ctx context.Context, tx *sqldb.Tx, row keyring.Renewal) (had bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT 1 FROM account_lookup WHERE lookup = $1 AND account_id <> $2)
			AND EXISTS (SELECT 1 FROM account_identifier WHERE id = $3 AND sealed = $4)`,
		row.Lookup, row.Owner, row.Row, row.Was[0]).Scan(&had)
	return had, err
}

// stale is the condition that what account_lookup has of an account is needed under its old keys, too: the account signs
// in with something that the key in the parameter has not sealed.
func stale(param string) string {
	return `EXISTS (SELECT 1 FROM account_identifier i
		WHERE i.account_id = account_lookup.account_id AND i.signs_in AND substr(i.sealed, 2, 8) <> ` + param + `)`
}

// anyStale reports whether there is any such account.
func anyStale(ctx context.Context, tx *sqldb.Tx, current string) (some bool, err error) {
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM account_identifier WHERE signs_in AND substr(sealed, 2, 8) <> $1)`, []byte(current)).Scan(&some)
	return some, err
}

// lookupsAfter reads n at most that other keys have made than the current one. Without some, no account is looked at.
func (o *superseded) lookupsAfter(ctx context.Context, tx *sqldb.Tx, after []byte, n int) (rows []oldLookup, err error) {
	needed := map[bool]string{true: stale("$1"), false: `FALSE`}[o.some]
	err = tx.Each(ctx, `
		SELECT lookup, `+needed+` FROM account_lookup
		WHERE lookup > $2 AND NOT (length(lookup) = 40 AND substr(lookup, 1, 8) = $1) AND account_id <> $3 ORDER BY lookup LIMIT $4`,
		func(scan func(...any) error) error {
			var r oldLookup
			err := scan(&r.lookup, &r.needed)
			rows = append(rows, r)
			return err
		}, []byte(o.ring.ID()), after, Last, n)
	return rows, err
}

// deleteSuperseded deletes one that was found not to be needed. Where a transaction may be under way that began before the
// change and writes with the old key, it is looked at once more.
func deleteSuperseded(ctx context.Context, tx *sqldb.Tx, lookup []byte, current string) (bool, error) {
	n, err := tx.Exec(ctx, `DELETE FROM account_lookup WHERE lookup = $1 AND substr(lookup, 1, 8) <> $2`+tx.IfShared(` AND NOT `+stale("$2")),
		lookup, []byte(current))
	return n == 1, err
}

func provedPhones(ctx context.Context, tx *sqldb.Tx, after string, n int) (rows []named, err error) {
	err = tx.Each(ctx, `SELECT i.id, i.sealed FROM account_identifier i JOIN account a ON a.id = i.account_id
		WHERE i.id > $1 AND i.kind = $2 AND i.verified_at IS NOT NULL AND a.state <> $4 ORDER BY i.id LIMIT $3`,
		func(scan func(...any) error) error {
			var r named
			err := scan(&r.id, &r.sealed)
			rows = append(rows, r)
			return err
		}, after, Phone, n, Decoy)
	return rows, err
}

func putNamed(ctx context.Context, tx *sqldb.Tx, row keyring.Renewal) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE account_address_change SET lookup = $1, sealed = $2 WHERE id = $3 AND sealed = $4`,
		row.Now[1], row.Now[0], row.Row, row.Was[0])
	return n == 1, err
}
