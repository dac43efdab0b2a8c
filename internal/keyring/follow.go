package keyring

import (
	"context"
	"fmt"
	"maps"
	"time"

	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
)

// look is when the key file was last read again, and for which state of the database.
type look struct {
	at    time.Time
	epoch int64
}

// patience is how long a look at the key file is good for: a key that is missing may be on its way.
const patience = time.Second

// Follow brings the ring in step with the database. It stands before every transaction (sqldb.DB.Before),
// so that none looks people up, or writes, by what has changed meanwhile. A key that the ring
// lacks is looked for in the key file. If the database needs it and it is not there, everything is
// refused with fault.Unavailable "keys_missing": who cannot be found is not who does not exist.
func (r *Ring) Follow(ctx context.Context, tx *sqldb.Tx) error {
	epoch, err := readEpoch(ctx, tx)
	if err != nil {
		return err
	}
	s := r.state.Load()
	if epoch < s.epoch || epoch == s.epoch && s.lacking == "" {
		return nil // a view of the database from before the last change does no harm: see Rotation
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s = r.state.Load(); epoch < s.epoch || epoch == s.epoch && !r.mayLook(epoch, tx.Now()) {
		return nil
	}
	rows, err := readKeys(ctx, tx)
	if err != nil {
		return err
	}
	next, missing := r.interpret(rows, epoch)
	if (missing != "" || next.lacking != "") && r.mayLook(epoch, tx.Now()) {
		r.looked = look{tx.Now(), epoch}
		r.look()
		next, missing = r.interpret(rows, epoch)
	}
	if missing != "" {
		return fault.Later(fault.Unavailable, "keys_missing", 5*time.Second, fmt.Errorf("the key file lacks key %s, which the database needs", missing))
	}
	r.state.Store(next)
	if r.source != nil {
		r.known = maps.Clone(next.keys) // a key that was dropped is not kept in memory either
	}
	return nil
}

func (r *Ring) mayLook(epoch int64, now time.Time) bool {
	return r.source != nil && (r.looked.epoch != epoch || now.Sub(r.looked.at) >= patience)
}

// look reads the key file again. What cannot be read now may be readable later.
func (r *Ring) look() {
	if r.source == nil {
		return
	}
	roots, err := r.source()
	if err != nil {
		return
	}
	more := map[string]derived{}
	for _, root := range roots {
		if _, known := r.known[root.ID]; known {
			continue
		}
		d, err := derive(root)
		if err != nil {
			return
		}
		more[root.ID] = d
	}
	maps.Copy(r.known, more)
}

// interpret makes a state of the rows; missing is a key that they need and we do not have.
func (r *Ring) interpret(rows []keyRow, epoch int64) (s *state, missing string) {
	s = &state{epoch: epoch, keys: map[string]derived{}}
	for _, row := range rows {
		plain, err := open(r.known, row.sealed, checkPlace(row.id))
		by := sealer(row.sealed)
		switch {
		case err != nil && row.coming:
			s.lacking = by
		case err != nil:
			missing = by
		case row.id == first:
			s.current = by
		case row.id == stable:
			s.stable = newMACKey(plain)
		default:
			s.listed = append(s.listed, row.id)
			s.keys[row.id] = r.known[row.id]
			if row.bare {
				s.bare = row.id
			}
		}
	}
	s.now = r.known[s.current]
	return s, missing
}

// Lacking is the id of a key that is coming and that this node does not have, or "".
func (r *Ring) Lacking() string { return r.state.Load().lacking }
