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

// putIdentifier writes an identifier unless another account signs in with its index; fresh reports
// which. Of two transactions racing for one, the unique index lets one win on either engine.
func putIdentifier(ctx context.Context, tx *sqldb.Tx, r identifierRow) (fresh bool, err error) {
	created := tx.Now()
	if !r.AddedAt.IsZero() { // it comes back
		created = r.AddedAt
	}
	n, err := tx.Exec(ctx, `
		INSERT INTO account_identifier
			(id, account_id, kind, lookup, sealed, signs_in, notices, recovers, verified_at, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (lookup) WHERE signs_in DO NOTHING`,
		r.ID, string(r.account), string(r.Kind), r.lookup, r.sealed, r.SignsIn, r.Notices, r.Recovers,
		sql.Null[int64]{V: created.UnixMilli(), Valid: r.Verified}, created.UnixMilli())
	return n == 1, err
}

// twoAccounts is what byLookup found; the ID of what it did not find is empty.
type twoAccounts struct{ asked, other Account }

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
			SELECT lookup, account_id FROM account_identifier
			WHERE signs_in AND lookup >= ` + sqldb.Params(1+i, 1) + ` ORDER BY lookup LIMIT 1) AS next` + strconv.Itoa(i) + `
		UNION ALL `)
	}
	if len(other) == 0 {
		other = [][]byte{nil}
	}
	return `
		SELECT i.lookup, a.id, a.state, a.language, a.created_at
		FROM (` + next.String() + `
			SELECT lookup, account_id FROM account_identifier
			WHERE signs_in AND lookup IN (` + sqldb.Params(1+len(asked), len(other)) + `)) AS i
		JOIN account a ON a.id = i.account_id`, append(sqldb.Args(asked), sqldb.Args(other)...)
}

func among(all [][]byte, one []byte) bool {
	return slices.ContainsFunc(all, func(b []byte) bool { return bytes.Equal(b, one) })
}

// takeOver gives an identifier that was written under its oldest index the one it is to have, unless
// somebody else signs in with any of them: then it is gone again, and ok is false.
func takeOver(ctx context.Context, tx *sqldb.Tx, r identifierRow, lookup []byte, names [][]byte) (ok bool, err error) {
	n, err := tx.Exec(ctx, `
		UPDATE account_identifier SET lookup = $1 WHERE id = $2 AND NOT EXISTS (
			SELECT 1 FROM account_identifier AS other WHERE other.signs_in AND other.id <> $2 AND other.lookup IN (`+sqldb.Params(3, len(names))+`))`,
		append([]any{lookup, r.ID}, sqldb.Args(names)...)...)
	if err != nil || n == 1 {
		return n == 1, err
	}
	return false, deleteIdentifier(ctx, tx, r.account, r.ID)
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
		SELECT id, kind, lookup, sealed, signs_in, notices, recovers, verified_at IS NOT NULL, created_at
		FROM account_identifier WHERE account_id = $1 ORDER BY created_at, kind, id`,
		func(scan func(...any) error) error {
			r := identifierRow{account: owner}
			var created int64
			err := scan(&r.ID, &r.Kind, &r.lookup, &r.sealed, &r.SignsIn, &r.Notices, &r.Recovers, &r.Verified, &created)
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

// what happened to an identifier.
type what string

const (
	added       what = "added"
	removed     what = "removed"
	usesChanged what = "uses"
)

// change is one change of an identifier; row is what was before, or with added what is new.
type change struct {
	id        string
	what      what
	row       identifierRow
	heldUntil time.Time
	at        time.Time // changesSince alone fills it in
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

func deleteIdentifier(ctx context.Context, tx *sqldb.Tx, owner ID, id string) error {
	_, err := tx.Exec(ctx, `DELETE FROM account_identifier WHERE id = $1 AND account_id = $2`, id, owner)
	return err
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
// stays, with an id that the record knows and nothing of whose it was.
func erase(ctx context.Context, tx *sqldb.Tx, id ID) (bool, error) {
	n, err := tx.Exec(ctx, `
		UPDATE account SET state = 'closed', language = 'en', erase_at = NULL, frozen_until = 0, frozen_at = 0, changed_at = $1
		WHERE id = $2 AND erase_at <= $1 AND state IN ('active', 'closed')`, tx.Now().UnixMilli(), id)
	if err != nil || n == 0 {
		return false, err
	}
	for _, table := range []string{"account_identifier", "account_address_change", "account_claim", "account_group"} {
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
	err := sqldb.In(ctx, tx, `SELECT lookup FROM account_identifier WHERE signs_in AND lookup IN %s`, lookups,
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

// putIdentifiers writes identifiers that nobody signs in with.
func putIdentifiers(ctx context.Context, tx *sqldb.Tx, all []identifierRow) error {
	written, err := tx.Many(ctx, `
		INSERT INTO account_identifier
			(id, account_id, kind, lookup, sealed, signs_in, notices, recovers, verified_at, created_at)`,
		`ON CONFLICT (lookup) WHERE signs_in DO NOTHING`, len(all), func(i int) []any {
			r := all[i]
			added := r.AddedAt.UnixMilli()
			return []any{
				r.ID, string(r.account), string(r.Kind), r.lookup, r.sealed, r.SignsIn, r.Notices, r.Recovers,
				sql.Null[int64]{V: added, Valid: r.Verified},
				added,
			}
		})
	if err == nil && written != int64(len(all)) {
		err = errRaced
	}
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
		SELECT account_id, id, kind, lookup, sealed, signs_in, notices, recovers, verified_at IS NOT NULL, created_at
		FROM account_identifier WHERE account_id >= $1 AND account_id <= $2 ORDER BY account_id, created_at, kind, id`,
		func(scan func(...any) error) error {
			var r identifierRow
			var created int64
			err := scan(&r.account, &r.ID, &r.Kind, &r.lookup, &r.sealed, &r.SignsIn, &r.Notices, &r.Recovers, &r.Verified, &created)
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

// The columns by which rows are counted. An identifier's index is made with the key that seals it.
func lookupColumn(table string) keyring.Column { return keyring.Column{Table: table, Name: "lookup"} }

func sealedColumn(table string) keyring.Column { return keyring.Column{Table: table, Name: "sealed"} }

func claimColumn() keyring.Column {
	return keyring.Column{Table: "account_claim", Keys: []string{"account_id", "name"}, Name: "sealed"}
}

const (
	identifierTable = "account_identifier"
	changeTable     = "account_address_change"
)

// named is an identifier of either table, with the row of account_identifier that it is sealed for.
type named struct {
	id, place      string
	kind           Kind
	lookup, sealed []byte
}

func namedAfter(ctx context.Context, tx *sqldb.Tx, table, after string, n int) (rows []named, err error) {
	place := map[string]string{identifierTable: "id", changeTable: "identifier_id"}[table]
	err = tx.Each(ctx, `SELECT id, `+place+`, kind, lookup, sealed FROM `+table+` WHERE id > $1 ORDER BY id LIMIT $2`,
		func(scan func(...any) error) error {
			var r named
			err := scan(&r.id, &r.place, &r.kind, &r.lookup, &r.sealed)
			rows = append(rows, r)
			return err
		}, after, n)
	return rows, err
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

func putNamed(ctx context.Context, tx *sqldb.Tx, table string, row keyring.Renewal) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE `+table+` SET lookup = $1, sealed = $2 WHERE id = $3 AND lookup = $4 AND sealed = $5`,
		row.Now[0], row.Now[1], row.Row, row.Was[0], row.Was[1])
	return n == 1, err
}
