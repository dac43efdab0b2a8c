package keyring

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"countersign/internal/platform/sqldb"
)

// ErrWrongKey means the database was written with a key that this ring does not have.
var ErrWrongKey = errors.New("the key file does not fit the database")

// ErrMissing means there is no key file, and the database was written with one.
var ErrMissing = errors.New("the key file is missing")

// The rows of keyring_check that are not named after a key. Any key may have sealed them.
const (
	first  = "first"  // whose seal tells which key is the current one
	stable = "stable" // holds the secret of Ring.Stable
)

// LoadOrCreate loads the key file, or makes one for a database that no ring has claimed.
// empty says that the database has no schema yet. It writes nothing to the database: run
// Check after it, then migrate, then Claim.
func LoadOrCreate(ctx context.Context, db *sqldb.DB, path string, empty bool) (*Ring, error) {
	r, err := LoadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	if !empty {
		var rows int
		err := db.Read(ctx, func(tx *sqldb.Tx) error {
			return tx.QueryRow(ctx, "SELECT count(*) FROM keyring_check").Scan(&rows)
		})
		if err != nil {
			return nil, err
		}
		if rows > 0 {
			return nil, fmt.Errorf("%w: there is no %s, and without it nothing in this database opens: restore the copy (keys.file)", ErrMissing, path)
		}
	}
	return CreateFile(path)
}

// Check compares the ring with the database and writes nothing. known is false for a
// database that no ring has claimed yet. It reads schemas from before keys could change, too.
func (r *Ring) Check(ctx context.Context, db *sqldb.DB) (known bool, err error) {
	err = db.Read(ctx, func(tx *sqldb.Tx) error {
		known, err = r.check(ctx, tx)
		return err
	})
	return known, err
}

func (r *Ring) check(ctx context.Context, tx *sqldb.Tx) (known bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err = tx.Each(ctx, "SELECT key_id, sealed FROM keyring_check", func(scan func(...any) error) error {
		var id string
		var sealed []byte
		if err := scan(&id, &sealed); err != nil {
			return err
		}
		known = true
		if _, err := open(r.known, sealed, checkPlace(id)); err != nil {
			return fmt.Errorf("%w: name the file this database was made with (keys.file): %w", ErrWrongKey, err)
		}
		return nil
	})
	return known, err
}

// Claim records which keys the database is written with, so that the next start can tell, and learns
// what the database says of them. Of two rings that claim one database at once, one gets ErrWrongKey.
func (r *Ring) Claim(ctx context.Context, db *sqldb.DB) error {
	return db.Write(ctx, func(tx *sqldb.Tx) error {
		if err := r.claim(ctx, tx); err != nil {
			return err
		}
		return r.Follow(ctx, tx)
	})
}

func (r *Ring) claim(ctx context.Context, tx *sqldb.Tx) error {
	s := r.state.Load()
	if err := putCheck(ctx, tx, first, s.now.sealAs(s.current, checked(), checkPlace(first))); err != nil {
		return err
	}
	if _, err := r.check(ctx, tx); err != nil { // sees the row that ours gave way to
		return err
	}
	begins, err := tx.Exec(ctx, `UPDATE keyring_check SET epoch = 1 WHERE key_id = $1 AND epoch = 0`, first)
	if err != nil || begins == 0 {
		return err
	}
	var sealed []byte // by our first key, or, in a database from before keys could change, by its own
	if err := tx.QueryRow(ctx, `SELECT sealed FROM keyring_check WHERE key_id = $1`, first).Scan(&sealed); err != nil {
		return err
	}
	id := sealer(sealed)
	r.mu.Lock()
	d := r.known[id]
	r.mu.Unlock()
	if err := putCheck(ctx, tx, id, d.sealAs(id, checked(), checkPlace(id))); err != nil {
		return err
	}
	if err := putCheck(ctx, tx, stable, d.sealAs(id, d.macKey, checkPlace(stable))); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE keyring_check SET bare = TRUE WHERE key_id = $1`, id)
	return err
}

func putCheck(ctx context.Context, tx *sqldb.Tx, id string, sealed []byte) error {
	_, err := tx.Exec(ctx, `INSERT INTO keyring_check (key_id, sealed, created_at) VALUES ($1, $2, $3)
		ON CONFLICT (key_id) DO NOTHING`, id, sealed, tx.Now().UnixMilli())
	return err
}

// checked is what the rows hold whose only use is to be opened.
func checked() []byte { return []byte("countersign") }

func checkPlace(id string) Place { return Place{"keyring_check", id, "sealed"} }

// readEpoch returns 0 for a database that nobody has claimed.
func readEpoch(ctx context.Context, tx *sqldb.Tx) (epoch int64, err error) {
	err = tx.QueryRow(ctx, `SELECT epoch FROM keyring_check WHERE key_id = 'first'`).Scan(&epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return epoch, err
}

type keyRow struct {
	id           string
	sealed       []byte
	coming, bare bool
	created      int64
}

// readKeys returns the rows, the oldest key first.
func readKeys(ctx context.Context, tx *sqldb.Tx) (rows []keyRow, err error) {
	err = tx.Each(ctx, `SELECT key_id, sealed, coming, bare, created_at FROM keyring_check ORDER BY created_at, key_id`,
		func(scan func(...any) error) error {
			var k keyRow
			err := scan(&k.id, &k.sealed, &k.coming, &k.bare, &k.created)
			rows = append(rows, k)
			return err
		})
	return rows, err
}

// advance says that what the keys are for changes with this transaction. It comes first in it: of two
// such transactions the second waits here.
func advance(ctx context.Context, tx *sqldb.Tx) error {
	_, err := tx.Exec(ctx, `UPDATE keyring_check SET epoch = epoch + 1 WHERE key_id = $1`, first)
	return err
}

// putComing lists a key after all others, whatever the clocks of those who listed them.
func putComing(ctx context.Context, tx *sqldb.Tx, id string, sealed []byte) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO keyring_check (key_id, sealed, created_at, coming)
		VALUES ($1, $2, (SELECT CASE WHEN MAX(created_at) >= $3 THEN MAX(created_at) + 1 ELSE $3 END FROM keyring_check), TRUE)
		ON CONFLICT (key_id) DO NOTHING`, id, sealed, tx.Now().UnixMilli())
	if err == nil {
		_, err = tx.Exec(ctx, `DELETE FROM keyring_lack`)
	}
	return err
}

// arrive makes a coming key one that is written with; ok is false if it is not coming.
func arrive(ctx context.Context, tx *sqldb.Tx, id string) (ok bool, err error) {
	n, err := tx.Exec(ctx, `UPDATE keyring_check SET coming = FALSE WHERE key_id = $1 AND coming`, id)
	return n == 1, err
}

func reseal(ctx context.Context, tx *sqldb.Tx, row string, sealed []byte) error {
	_, err := tx.Exec(ctx, `UPDATE keyring_check SET sealed = $1 WHERE key_id = $2`, sealed, row)
	return err
}

// unlist has a key looked for no more.
func unlist(ctx context.Context, tx *sqldb.Tx, id string) error {
	_, err := tx.Exec(ctx, `DELETE FROM keyring_check WHERE key_id = $1`, id)
	return err
}

func putLack(ctx context.Context, tx *sqldb.Tx, node, id string) error {
	_, err := tx.Exec(ctx, `INSERT INTO keyring_lack (node, key_id, at) VALUES ($1, $2, $3)
		ON CONFLICT (node, key_id) DO UPDATE SET at = excluded.at`, node, id, tx.Now().UnixMilli())
	return err
}

func lacks(ctx context.Context, tx *sqldb.Tx, id string) (nodes []string, err error) {
	err = tx.Each(ctx, `SELECT node FROM keyring_lack WHERE key_id = $1 ORDER BY node`, func(scan func(...any) error) error {
		var node string
		err := scan(&node)
		nodes = append(nodes, node)
		return err
	}, id)
	return nodes, err
}

// count counts a table's rows by the keys of the ring that they need. live, a condition on $1, says which rows matter;
// a row that needs a key for one of the columns and for another counts once. Each key is a column of the answer:
// to group by key, SQLite would sort all rows.
func (r *Ring) count(ctx context.Context, tx *sqldb.Tx, table, live string, needs ...need) (map[string]int64, error) {
	s := r.state.Load()
	var args []any
	if live != "" {
		args, live = append(args, tx.Now().UnixMilli()), ` WHERE `+live
	}
	counts, numbers, into := make([]string, len(s.listed)), make([]int64, len(s.listed)), make([]any, len(s.listed))
	for i, id := range s.listed {
		args = append(args, []byte(id))
		either := make([]string, len(needs))
		for j, n := range needs {
			either[j] = n(sqldb.Params(len(args), 1), id == s.bare)
		}
		counts[i] = `COUNT(CASE WHEN ` + strings.Join(either, ` OR `) + ` THEN 1 END)`
		into[i] = &numbers[i]
	}
	if err := tx.QueryRow(ctx, `SELECT `+strings.Join(counts, `, `)+` FROM `+table+live, args...).Scan(into...); err != nil {
		return nil, err
	}
	count := map[string]int64{}
	for i, id := range s.listed {
		count[id] = numbers[i]
	}
	return count, nil
}

// need is the condition that a row needs a key for a column; param stands for the key's id.
type need func(param string, bare bool) string

func (c Column) sealedBy(param string, _ bool) string {
	return `substr(` + c.Name + `, 2, 8) = ` + param
}

func (c Column) digestedBy(param string, bare bool) string {
	by := `length(` + c.Name + `) = 40 AND substr(` + c.Name + `, 1, 8) = ` + param
	if bare {
		by += ` OR length(` + c.Name + `) <> 40`
	}
	return by
}

// sealedAfter reads n rows at most after the one named, in the order of their ids.
func sealedAfter(ctx context.Context, tx *sqldb.Tx, c Column, after string, n int) (rows []Renewal, err error) {
	keys := strings.Join(c.Keys, ", ")
	var args []any
	for _, part := range c.parts(after) {
		args = append(args, part)
	}
	err = tx.Each(ctx, `SELECT `+keys+`, `+c.Name+` FROM `+c.Table+` WHERE `+c.Name+` IS NOT NULL AND (`+keys+`) > (`+sqldb.Params(1, len(c.Keys))+`)
		ORDER BY `+keys+` LIMIT `+sqldb.Params(1+len(c.Keys), 1),
		func(scan func(...any) error) error {
			id, into := make([]string, len(c.Keys)), make([]any, 0, len(c.Keys)+1)
			for i := range id {
				into = append(into, &id[i])
			}
			row := Renewal{Was: make([][]byte, 1)}
			err := scan(append(into, &row.Was[0])...)
			row.Row = strings.Join(id, "/")
			rows = append(rows, row)
			return err
		}, append(args, n)...)
	return rows, err
}

// putSealed writes what was made anew where the old value still stands.
func putSealed(ctx context.Context, tx *sqldb.Tx, c Column, row Renewal) (bool, error) {
	where, args := make([]string, len(c.Keys)), []any{row.Now[0], row.Was[0]}
	for i, part := range c.parts(row.Row) {
		where[i] = c.Keys[i] + ` = ` + sqldb.Params(3+i, 1)
		args = append(args, part)
	}
	n, err := tx.Exec(ctx, `UPDATE `+c.Table+` SET `+c.Name+` = $1 WHERE `+c.Name+` = $2 AND `+strings.Join(where, ` AND `), args...)
	return n == 1, err
}

// since is when a key was listed.
func (k keyRow) since() time.Time { return time.UnixMilli(k.created) }
