package password

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"time"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/password/foreign"
	"countersign/internal/platform/sqldb"
)

// row is an account's password as it is stored. Its hash is empty for an account without one.
type row struct {
	hash   Hash // without inner, which is in sealed
	setAt  int64
	sealed []byte
	kinds  []foreign.Kind // that anybody has
}

// get returns a row without a hash for an account without a password. It reads a row for everybody, the
// next one if there is none: a row less takes some 8 µs less, which told who had an account.
func get(ctx context.Context, tx *sqldb.Tx, id account.ID) (r row, err error) {
	err = tx.Each(ctx, `
		SELECT p.account_id, p.hash, p.key_id, p.stopped_at IS NOT NULL, COALESCE(p.set_at, 0), p.sealed, k.family, k.work
		FROM (SELECT 1) AS always
		LEFT JOIN (SELECT account_id, hash, key_id, stopped_at, set_at, sealed FROM password
			WHERE account_id >= $1 ORDER BY account_id LIMIT 1) AS p ON TRUE
		LEFT JOIN password_kind AS k ON TRUE ORDER BY k.family`,
		func(scan func(...any) error) error {
			var owner, phc, key, family sql.NullString
			var stopped bool
			var sealed []byte
			var work sql.NullInt64
			var setAt int64
			if err := scan(&owner, &phc, &key, &stopped, &setAt, &sealed, &family, &work); err != nil {
				return err
			}
			r.setAt = setAt // of whoever it is: a flow keeps it, and must not show who has a password
			if owner.String == string(id) {
				r.hash, r.sealed = Hash{PHC: phc.String, KeyID: key.String, stopped: stopped}, sealed
			}
			if family.Valid {
				r.kinds = append(r.kinds, foreign.Kind{Family: family.String, Work: work.Int64})
			}
			return nil
		}, string(id))
	return r, err
}

// sealedColumn is the column of what other systems made; place says where each stands.
func sealedColumn() keyring.Column {
	return keyring.Column{Table: "password", Keys: []string{"account_id"}, Name: "sealed"}
}

func sealedAfter(ctx context.Context, tx *sqldb.Tx, after string, n int) (rows []entry, err error) {
	err = tx.Each(ctx, `
		SELECT account_id, key_id, sealed FROM password WHERE account_id > $1 AND sealed IS NOT NULL ORDER BY account_id LIMIT $2`,
		func(scan func(...any) error) error {
			var e entry
			err := scan(&e.id, &e.hash.KeyID, &e.sealed)
			rows = append(rows, e)
			return err
		}, after, n)
	return rows, err
}

func renew(ctx context.Context, tx *sqldb.Tx, row keyring.Renewal) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE password SET sealed = $1, key_id = $2 WHERE account_id = $3 AND sealed = $4`,
		row.Now[0], string(row.Now[1]), row.Row, row.Was[0])
	return n == 1, err
}

// peppers counts passwords by the key of the pepper.
func peppers(ctx context.Context, tx *sqldb.Tx) (map[string]int64, error) {
	count := map[string]int64{}
	err := tx.Each(ctx, `SELECT key_id, COUNT(*) FROM password GROUP BY key_id`, func(scan func(...any) error) error {
		var id string
		var n int64
		err := scan(&id, &n)
		count[id] = n
		return err
	})
	return count, err
}

// putDummy writes a hash in the place of the one there is.
func putDummy(ctx context.Context, tx *sqldb.Tx, id account.ID, h Hash) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO password (account_id, hash, key_id, set_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (account_id) DO UPDATE SET hash = excluded.hash, key_id = excluded.key_id, family = '', work = 0, sealed = NULL`,
		string(id), h.PHC, h.KeyID, tx.Now().UnixMilli())
	return err
}

// entry is a row to write.
type entry struct {
	id     account.ID
	hash   Hash
	sealed []byte
	setAt  time.Time
}

// put writes passwords, each in the place of the one there is, and before them what kinds they are:
// nobody may meet one whose kind is not known.
func put(ctx context.Context, tx *sqldb.Tx, all ...entry) error {
	most := map[string]int64{}
	for _, e := range all {
		if k := e.hash.inner.Kind(); k.Family != "" {
			most[k.Family] = max(most[k.Family], k.Work)
		}
	}
	for _, family := range slices.Sorted(maps.Keys(most)) { // sorted, so that two imports do not lock each other out
		_, err := tx.Exec(ctx, `
			INSERT INTO password_kind (family, work, seen_at) VALUES ($1, $2, $3)
			ON CONFLICT (family) DO UPDATE SET seen_at = excluded.seen_at,
				work = CASE WHEN excluded.work > password_kind.work THEN excluded.work ELSE password_kind.work END`,
			family, most[family], tx.Now().UnixMilli())
		if err != nil {
			return err
		}
	}
	_, err := tx.Many(ctx, `INSERT INTO password (account_id, hash, key_id, set_at, family, work, sealed)`, `
		ON CONFLICT (account_id) DO UPDATE SET hash = excluded.hash, key_id = excluded.key_id, set_at = excluded.set_at,
			stopped_at = NULL, family = excluded.family, work = excluded.work, sealed = excluded.sealed`,
		len(all), func(i int) []any {
			e := all[i]
			k := e.hash.inner.Kind()
			return []any{string(e.id), e.hash.PHC, e.hash.KeyID, e.setAt.UnixMilli(), k.Family, k.Work, e.sealed}
		})
	return err
}

// setAt is the zero time for an account without a password.
func setAt(ctx context.Context, tx *sqldb.Tx, id account.ID) (at time.Time, err error) {
	var ms int64
	err = tx.QueryRow(ctx, `SELECT set_at FROM password WHERE account_id = $1`, string(id)).Scan(&ms)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return time.UnixMilli(ms), err
}

func erase(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	_, err := tx.Exec(ctx, `DELETE FROM password WHERE account_id = $1`, string(id))
	return err
}

func stop(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	_, err := tx.Exec(ctx, `UPDATE password SET stopped_at = $1 WHERE account_id = $2 AND stopped_at IS NULL`, tx.Now().UnixMilli(), string(id))
	return err
}

// changed is an update that changes nothing: whoever stops or replaces the password meanwhile waits until
// the caller is done, and then finds what came of it.
func changed(ctx context.Context, tx *sqldb.Tx, id account.ID, v Version) (yes bool, err error) {
	n, err := tx.Exec(ctx, `UPDATE password SET set_at = set_at WHERE account_id = $1 AND set_at = $2 AND stopped_at IS NULL`,
		string(id), int64(v))
	if err != nil || n == 1 {
		return false, err
	}
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM password WHERE account_id = $1)`, string(id)).Scan(&yes)
	return yes, err
}

// replace is swap for another password.
func replace(ctx context.Context, tx *sqldb.Tx, verified Stored, h Hash) (bool, error) {
	n, err := tx.Exec(ctx, `
		UPDATE password SET hash = $1, key_id = $2, set_at = $3, family = '', work = 0, sealed = NULL
		WHERE account_id = $4 AND hash = $5 AND stopped_at IS NULL`,
		h.PHC, h.KeyID, tx.Now().UnixMilli(), string(verified.account), verified.hash.PHC)
	return n == 1, err
}

// swap replaces the hash that was verified and no other: a password set meanwhile wins.
func swap(ctx context.Context, tx *sqldb.Tx, verified Stored, h Hash) error {
	_, err := tx.Exec(ctx, `
		UPDATE password SET hash = $1, key_id = $2, family = '', work = 0, sealed = NULL WHERE account_id = $3 AND hash = $4`,
		h.PHC, h.KeyID, string(verified.account), verified.hash.PHC)
	return err
}

// replaceKept replaces another system's hash and no other: a password set meanwhile wins.
func replaceKept(ctx context.Context, tx *sqldb.Tx, id account.ID, h Hash) error {
	_, err := tx.Exec(ctx, `
		UPDATE password SET hash = $1, key_id = $2, family = '', work = 0, sealed = NULL
		WHERE account_id = $3 AND family <> '' AND stopped_at IS NULL`, h.PHC, h.KeyID, string(id))
	return err
}

// pruneKinds forgets kinds that nobody has any more, and work that nobody's has. An import may be
// about to write more of a kind that it has just told of, so those are left alone for an hour.
func pruneKinds(ctx context.Context, tx *sqldb.Tx, before time.Time) error {
	_, err := tx.Exec(ctx, `
		UPDATE password_kind SET work = (SELECT max(p.work) FROM password AS p WHERE p.family = password_kind.family AND p.family <> '')
		WHERE seen_at < $1 AND work > (SELECT max(p.work) FROM password AS p WHERE p.family = password_kind.family AND p.family <> '')`,
		before.UnixMilli())
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		DELETE FROM password_kind WHERE seen_at < $1
			AND NOT EXISTS (SELECT 1 FROM password AS p WHERE p.family = password_kind.family AND p.family <> '')`,
		before.UnixMilli())
	return err
}

// between returns the passwords, but for stopped ones, of the accounts from one id to another.
func between(ctx context.Context, tx *sqldb.Tx, first, last account.ID) (all []entry, err error) {
	err = tx.Each(ctx, `
		SELECT account_id, hash, key_id, set_at, sealed FROM password
		WHERE account_id >= $1 AND account_id <= $2 AND stopped_at IS NULL ORDER BY account_id`,
		func(scan func(...any) error) error {
			var e entry
			var setAt int64
			err := scan(&e.id, &e.hash.PHC, &e.hash.KeyID, &setAt, &e.sealed)
			e.setAt = time.UnixMilli(setAt)
			all = append(all, e)
			return err
		}, string(first), string(last))
	return all, err
}

func countFamilies(ctx context.Context, tx *sqldb.Tx) (all []Family, err error) {
	err = tx.Each(ctx, `
		SELECT family, max(work), count(*) FROM password WHERE family <> '' GROUP BY family ORDER BY family`,
		func(scan func(...any) error) error {
			var f Family
			err := scan(&f.Kind.Family, &f.Kind.Work, &f.Accounts)
			all = append(all, f)
			return err
		})
	return all, err
}

func deleteFamily(ctx context.Context, tx *sqldb.Tx, family string) (int64, error) {
	const batch = 500 // bounds how long SQLite's one writer is held
	return tx.Exec(ctx, `DELETE FROM password WHERE account_id IN
		(SELECT account_id FROM password WHERE family = $1 AND family <> '' LIMIT $2)`, family, batch)
}
