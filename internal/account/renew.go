package account

import (
	"bytes"
	"context"
	"fmt"

	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
)

// Holdings is what the tables have of the ring's keys.
func (s *Service) Holdings() []keyring.Holding {
	return []keyring.Holding{s.naming(identifierTable), s.naming(changeTable), s.Ring.Sealed(claimColumn())}
}

func (s *Service) naming(table string) keyring.Holding {
	return keyring.Holding{
		Table: table, Columns: []string{"lookup", "sealed"},
		Count: s.Ring.CountBoth(sealedColumn(table), lookupColumn(table)),
		Read: func(ctx context.Context, tx *sqldb.Tx, after string, n int) (p keyring.Page, err error) {
			rows, err := namedAfter(ctx, tx, table, after, n)
			for _, row := range rows {
				p.Last = row.id
				if s.Ring.Fresh(row.sealed) && (row.last() || s.Ring.Fresh(nil, row.lookup)) {
					continue
				}
				renewed, ok := s.renewal(row)
				if !ok {
					p.Odd = append(p.Odd, row.id)
					continue
				}
				p.Renewals = append(p.Renewals, renewed)
			}
			return p, err
		},
		Write: func(ctx context.Context, tx *sqldb.Tx, row keyring.Renewal) (bool, error) {
			return putNamed(ctx, tx, table, row)
		},
	}
}

func (s *Service) renewal(row named) (r keyring.Renewal, ok bool) {
	plain, err := s.Ring.Open(row.sealed, place(row.place))
	if err != nil {
		return r, false
	}
	lookup := s.Ring.Index(string(row.kind), string(plain))
	if row.last() {
		lookup = afterAll(lookup)
	}
	return keyring.Renewal{
		Row: row.id, Was: [][]byte{row.lookup, row.sealed},
		Now: [][]byte{lookup, s.Ring.Seal(plain, place(row.place))},
	}, true
}

// last reports whether it is the last row of the index, which stays that whatever the key.
func (n named) last() bool { return bytes.Equal(n.lookup, afterAll(n.lookup)) }

// anew returns the row as the current key makes it, whichever made it so far, and its name's indexes under
// every key, the oldest first. Nothing is ever written under another key than the current one.
func (s *Service) anew(row identifierRow) (identifierRow, [][]byte, error) {
	plain, err := s.Ring.Open(row.sealed, place(row.ID))
	if err != nil {
		return row, nil, fmt.Errorf("open identifier %s of %s: %w", row.ID, row.account, err)
	}
	lookup, names := s.Ring.Indexes(string(row.Kind), string(plain))
	if !bytes.Equal(row.lookup, lookup) || !s.Ring.Fresh(row.sealed) {
		row.lookup, row.sealed = lookup, s.Ring.Seal(plain, place(row.ID))
	}
	return row, names, nil
}

// put writes an identifier unless another account signs in with it, under whichever key.
//
// While a key takes over from another, a name has two indexes, and the unique index alone would let two
// accounts have it: one under each. So everybody writes a name under its oldest index first, which makes all who
// want it wait for one another whatever key they write with, then looks for the others, and then moves.
func (s *Service) put(ctx context.Context, tx *sqldb.Tx, row identifierRow, names [][]byte) (fresh bool, err error) {
	if len(names) == 1 || !row.SignsIn {
		return putIdentifier(ctx, tx, row)
	}
	lookup := row.lookup
	row.lookup = names[0]
	if fresh, err = putIdentifier(ctx, tx, row); err != nil || !fresh {
		return fresh, err
	}
	return takeOver(ctx, tx, row, lookup, names)
}

// note records a change, made anew: what is copied must not outlive its key.
func (s *Service) note(ctx context.Context, tx *sqldb.Tx, c change) (err error) {
	if c.row, _, err = s.anew(c.row); err != nil {
		return err
	}
	return putChange(ctx, tx, c)
}
