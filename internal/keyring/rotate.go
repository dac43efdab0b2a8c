package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"countersign/internal/platform/sqldb"
)

// Rotation moves a database from one key to the next while nodes serve it.
//
// It takes three steps, and every state in between is one that nodes can serve in. First the new key is
// coming: all look people and tokens up under it as well, and nothing is made with it. Then, when every
// transaction that did not know of it has ended, it is the current key: everything new is made with
// it. Then the rows are made anew, each only if it still is what was read, in any order and as often as
// one likes: which key made a value is written in the value itself, so there is no list to fall out of step,
// and a rotation that was stopped or killed is gone on with by beginning again. The old key is looked for until Drop.
//
// A node that meets a key it lacks refuses everything (Follow).
type Rotation struct {
	DB       *sqldb.DB // with Ring.Follow before its transactions
	Ring     *Ring
	Holdings []Holding
	// Settle is longer than any transaction takes: what began before it is over after it.
	Settle time.Duration
	// Hear is how long nodes have to say that they lack the coming key.
	Hear time.Duration
	// Rest is how long to rest after a transaction, in times of what it took, so that those who sign in
	// have the database, too.
	Rest float64
	// Record writes down what was done with which key, in the transaction that does it.
	Record func(ctx context.Context, tx *sqldb.Tx, did, key string) error
}

// KeyState is what a key is for.
type KeyState string

// The states of a key.
const (
	Current KeyState = "current" // everything new is made with it
	Coming  KeyState = "coming"  // looked for, and about to be the current one
	Old     KeyState = "old"     // looked for, and nothing is made with it any more
	Unused  KeyState = "unused"  // in the key file, and the database has never had to do with it
)

// Key is a key as an operator sees it.
type Key struct {
	ID    string
	State KeyState
	Since time.Time // when the database was told of it; zero if it was not
}

// Keys returns the database's keys, the oldest first, and then those that only the key file has.
func (ro *Rotation) Keys(ctx context.Context) (all []Key, err error) {
	err = ro.DB.Read(ctx, func(tx *sqldb.Tx) error {
		rows, err := readKeys(ctx, tx)
		all = list(rows)
		return err
	})
	for _, id := range ro.Ring.ids() {
		if !slices.ContainsFunc(all, func(k Key) bool { return k.ID == id }) {
			all = append(all, Key{ID: id, State: Unused})
		}
	}
	return all, err
}

func list(rows []keyRow) (all []Key) {
	current := ""
	for _, row := range rows {
		switch {
		case row.id == first:
			current = sealer(row.sealed)
		case row.id == stable:
		case row.coming:
			all = append(all, Key{row.id, Coming, row.since()})
		default:
			all = append(all, Key{row.id, Old, row.since()})
		}
	}
	for i := range all {
		if all[i].ID == current {
			all[i].State = Current
		}
	}
	return all
}

// ids are those in the key file, in its order, or, where there is none, those that the ring was made of.
func (r *Ring) ids() (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.source == nil {
		for id := range r.known {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		return ids
	}
	roots, _ := r.source() // what cannot be read has none to offer
	for _, root := range roots {
		ids = append(ids, root.ID)
	}
	return ids
}

// Need is how many rows of a table need which key.
type Need struct {
	Table   string
	Columns []string // none where it is a password's
	// Renewable says that Renew makes them anew. The others end when their time is over, or with the
	// next sign-in of whoever they belong to.
	Renewable bool
	Rows      map[string]int64 // by key
}

// Needs counts. It reads every table once.
func (ro *Rotation) Needs(ctx context.Context) (all []Need, err error) {
	for _, h := range ro.Holdings {
		rows, err := ro.count(ctx, h)
		if err != nil {
			return nil, err
		}
		all = append(all, Need{h.Table, h.Columns, h.Read != nil, rows})
	}
	return all, nil
}

// countTime is how long the rows of one table may take to count: many times the patience of those who wait for an answer. Two
// hundred thousand took a fraction of a second of one processor, and ten seconds on a machine with too much else to do.
const countTime = 10 * time.Minute

func (ro *Rotation) count(ctx context.Context, h Holding) (rows map[string]int64, err error) {
	err = ro.DB.Patient(countTime).Read(ctx, func(tx *sqldb.Tx) error {
		rows, err = h.Count(ctx, tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count %s: %w", h.Table, err)
	}
	return rows, nil
}

// ErrLacking means that a node does not have the key that is to be used.
var ErrLacking = errors.New("not every node has the new key")

// Begin makes a key of the ring the current one: on all nodes, or, with ErrLacking, on none.
// Killed in between, it is gone on with by calling it again.
func (ro *Rotation) Begin(ctx context.Context, id string) error {
	sealed, err := ro.proof(id)
	if err != nil {
		return err
	}
	err = ro.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := advance(ctx, tx); err != nil {
			return err
		}
		return putComing(ctx, tx, id, sealed)
	})
	if err != nil {
		return err
	}
	// Whoever began before this, and does not look under the new key, must be done before anybody
	// writes with it. SQLite lets nobody write meanwhile, and shows readers the database as it was.
	wait := ro.Hear
	if ro.DB.Engine() == sqldb.Postgres {
		wait = max(wait, ro.Settle)
	}
	if err := pause(ctx, wait); err != nil {
		return err
	}
	var nodes []string
	err = ro.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		if err := advance(ctx, tx); err != nil {
			return err
		}
		if nodes, err = lacks(ctx, tx, id); err != nil {
			return err
		}
		if len(nodes) > 0 {
			return unlist(ctx, tx, id)
		}
		return ro.arrive(ctx, tx, id)
	})
	if err == nil && len(nodes) > 0 {
		err = fmt.Errorf("%w: %s lacks %s: copy the key file there, which is read again within a second, and then rotate again; nothing was changed",
			ErrLacking, strings.Join(nodes, ", "), id)
	}
	if err != nil {
		return err
	}
	return ro.DB.Read(ctx, func(tx *sqldb.Tx) error { return ro.Ring.Follow(ctx, tx) })
}

// proof is the row of a key, which only whoever has the key can make.
func (ro *Rotation) proof(id string) ([]byte, error) {
	r := ro.Ring
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.known[id]; !ok {
		r.look()
	}
	d, ok := r.known[id]
	if !ok {
		return nil, fmt.Errorf("there is no key %s in the key file", id)
	}
	return d.sealAs(id, checked(), checkPlace(id)), nil
}

// arrive makes everything from this transaction on be made with the key. Programs from before keys could change
// compare the row "first" with the first key of their file, and do not start any more.
func (ro *Rotation) arrive(ctx context.Context, tx *sqldb.Tx, id string) error {
	ok, err := arrive(ctx, tx, id)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("key %s is not coming: somebody has used or dropped it meanwhile", id)
	}
	rows, err := readKeys(ctx, tx)
	if err != nil {
		return err
	}
	r := ro.Ring
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, row := range rows {
		if row.id != first && row.id != stable {
			continue
		}
		plain, err := open(r.known, row.sealed, checkPlace(row.id))
		if err != nil {
			return err
		}
		if err := reseal(ctx, tx, row.id, r.known[id].sealAs(id, plain, checkPlace(row.id))); err != nil {
			return err
		}
	}
	return ro.record(ctx, tx, "used", id)
}

func (ro *Rotation) record(ctx context.Context, tx *sqldb.Tx, did, id string) error {
	if ro.Record == nil {
		return nil
	}
	return ro.Record(ctx, tx, did, id)
}

// Drop has a key looked for no more. It returns what needs the key still, and then nothing was changed;
// lose names tables whose rows may be lost. A renewable table's rows can be lost only if they could not be
// made anew. That the key leaves the key file is the caller's part.
func (ro *Rotation) Drop(ctx context.Context, id string, lose []string) (needed []Need, err error) {
	all, err := ro.Keys(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(k Key) bool { return k.ID == id })
	switch {
	case i < 0:
		return nil, fmt.Errorf("there is no key %s", id)
	case all[i].State == Current:
		return nil, fmt.Errorf("everything is made with key %s: rotate to another first", id)
	case all[i].State == Unused:
		return nil, nil
	}
	// First without the wait, which would be in vain. After it, whoever looked at the database as it was before
	// the last row was made anew, or still wrote with the old key, is done.
	for _, wait := range []time.Duration{0, ro.Settle} {
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
		if needed, err = ro.keptBy(ctx, id, lose); err != nil || len(needed) > 0 {
			return needed, err
		}
	}
	return nil, ro.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := advance(ctx, tx); err != nil {
			return err
		}
		rows, err := readKeys(ctx, tx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list(rows), func(k Key) bool { return k.ID == id && k.State == Current }) {
			return fmt.Errorf("key %s became the current one meanwhile", id)
		}
		if err := unlist(ctx, tx, id); err != nil {
			return err
		}
		return ro.record(ctx, tx, "dropped", id)
	})
}

// keptBy returns what needs a key and may not be lost.
func (ro *Rotation) keptBy(ctx context.Context, id string, lose []string) (needed []Need, err error) {
	all, err := ro.Needs(ctx)
	if err != nil {
		return nil, err
	}
	for i, n := range all {
		if n.Rows[id] == 0 {
			continue
		}
		may := slices.Contains(lose, n.Table)
		if may && n.Renewable {
			left, err := ro.renewable(ctx, ro.Holdings[i])
			if err != nil {
				return nil, err
			}
			may = !left
		}
		if !may {
			needed = append(needed, n)
		}
	}
	return needed, nil
}

// renewable reports whether any row of the table could be made anew.
func (ro *Rotation) renewable(ctx context.Context, h Holding) (some bool, err error) {
	for after := ""; ; {
		p, err := ro.read(ctx, h, after)
		if err != nil || p.Last == "" || len(p.Renewals) > 0 {
			return len(p.Renewals) > 0, err
		}
		after = p.Last
	}
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Object has the nodes' objections heard: it says in the database that this node lacks the coming key, if
// it does. Nodes call it several times a second.
func (r *Ring) Object(ctx context.Context, db *sqldb.DB, node string) error {
	if err := db.Read(ctx, func(tx *sqldb.Tx) error { return r.Follow(ctx, tx) }); err != nil {
		return err
	}
	lacking := r.state.Load().lacking
	if lacking == "" {
		return nil
	}
	return db.Write(ctx, func(tx *sqldb.Tx) error { return putLack(ctx, tx, node, lacking) })
}
