package account

import (
	"context"
	"fmt"

	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
)

const (
	identifierTable = "account_identifier"
	changeTable     = "account_address_change"
	lookupTable     = "account_lookup"
)

// Holdings is what the tables have of the ring's keys. An old key's indexes go once the new key's are there: they come
// after the identifiers.
func (s *Service) Holdings() []keyring.Holding {
	identifiers, changes := s.Ring.Sealed(sealedColumn(identifierTable)), s.Ring.Sealed(sealedColumn(changeTable))
	identifiers.Read, identifiers.Index = s.reader(identifierTable), s.putNewLookups
	changes.Columns = []string{"lookup", "sealed"}
	changes.Count = s.Ring.CountBoth(sealedColumn(changeTable), lookupColumn(changeTable))
	changes.Read, changes.Write = s.reader(changeTable), putNamed
	lookups, old := s.Ring.Digested(lookupColumn(lookupTable)), superseded{ring: s.Ring}
	lookups.Read, lookups.Write = old.read, old.drop
	return []keyring.Holding{identifiers, lookups, changes, s.Ring.Sealed(claimColumn())}
}

func lookupColumn(table string) keyring.Column { return keyring.Column{Table: table, Name: "lookup"} }

func sealedColumn(table string) keyring.Column {
	return keyring.Column{Table: table, Keys: []string{"id"}, Name: "sealed"}
}

func claimColumn() keyring.Column {
	return keyring.Column{Table: "account_claim", Keys: []string{"account_id", "name"}, Name: "sealed"}
}

// named is an identifier of either table, with the row of account_identifier that it is sealed for.
type named struct {
	id, place string
	account   ID
	kind      Kind
	sealed    []byte
	signsIn   bool
	lookup    []byte // nil where it stands in a table of its own
}

// reader reads a table of identifiers.
func (s *Service) reader(table string) func(context.Context, *sqldb.Tx, string, int) (keyring.Page, error) {
	return func(ctx context.Context, tx *sqldb.Tx, after string, n int) (p keyring.Page, err error) {
		taken, err := takenSoFar(ctx, tx, "")
		if err != nil {
			return p, err
		}
		rows, err := namedAfter(ctx, tx, table, after, n)
		for _, row := range rows {
			p.Last = row.id
			if s.Ring.Fresh(row.sealed) && (row.lookup == nil || s.Ring.Fresh(nil, row.lookup)) {
				continue
			}
			renewed, ok := s.renewal(row)
			if !ok {
				p.Odd = append(p.Odd, row.id)
				continue
			}
			renewed.Version = taken
			p.Renewals = append(p.Renewals, renewed)
		}
		return p, err
	}
}

func (s *Service) renewal(row named) (r keyring.Renewal, ok bool) {
	plain, err := s.Ring.Open(row.sealed, place(row.place))
	if err != nil {
		return r, false
	}
	r = keyring.Renewal{Row: row.id, Was: [][]byte{row.sealed}, Now: [][]byte{s.Ring.Seal(plain, place(row.place))}}
	lookup := s.Ring.Index(string(row.kind), string(plain))
	switch {
	case row.lookup != nil:
		r.Now = append(r.Now, lookup)
	case row.signsIn && row.account != Last: // which is found by what no key makes
		r.Lookup, r.Owner = lookup, string(row.account)
	}
	return r, true
}

// putNewLookups writes indexes under the current key beside those under older ones. Whether an identifier is still as it was
// read is looked at only if any was taken since: it stands anywhere in its table, and to look costs more than to write.
func (s *Service) putNewLookups(ctx context.Context, tx *sqldb.Tx, rows []keyring.Renewal) error {
	taken, err := takenSoFar(ctx, tx, tx.IfShared(" FOR SHARE"))
	if err != nil {
		return err
	}
	var sure []lookupRow
	written := int64(0)
	for _, row := range rows {
		if row.Version == taken {
			sure = append(sure, lookupRow{row.Lookup, ID(row.Owner)})
			continue
		}
		there, err := putLookupOf(ctx, tx, row)
		if err != nil {
			return err
		}
		if there {
			written++
		}
	}
	fresh, err := putLookups(ctx, tx, sure)
	if err != nil || written+fresh == int64(len(rows)) {
		return err
	}
	return s.checkOwners(ctx, tx, rows) // some were there, from a rotation that was killed, or their identifiers are not
}

// checkOwners fails if an index that was to be written is another account's.
func (s *Service) checkOwners(ctx context.Context, tx *sqldb.Tx, rows []keyring.Renewal) error {
	for _, row := range rows {
		other, err := hadByAnother(ctx, tx, row)
		if err != nil {
			return err
		}
		if other {
			return fmt.Errorf("two accounts sign in with identifier %s", row.Row)
		}
	}
	return nil
}

// superseded are the indexes that other keys have made than the current one. An account whose identifiers the current key
// has sealed, all that it signs in with, is found under that key, and they go. The others' stay.
type superseded struct {
	ring *keyring.Ring
	some bool // whether there are others
}

type oldLookup struct {
	lookup []byte
	needed bool
}

func (o *superseded) read(ctx context.Context, tx *sqldb.Tx, after string, n int) (p keyring.Page, err error) {
	if after == "" {
		if o.some, err = anyStale(ctx, tx, o.ring.ID()); err != nil {
			return p, err
		}
	}
	rows, err := o.lookupsAfter(ctx, tx, []byte(after), n)
	for _, row := range rows {
		p.Last = string(row.lookup)
		if !row.needed && !o.ring.Fresh(nil, row.lookup) {
			p.Renewals = append(p.Renewals, keyring.Renewal{Row: p.Last})
		}
	}
	return p, err
}

func (o *superseded) drop(ctx context.Context, tx *sqldb.Tx, row keyring.Renewal) (bool, error) {
	return deleteSuperseded(ctx, tx, []byte(row.Row), o.ring.ID())
}

// anew returns the row as the current key makes it, whichever made it so far, with its name's indexes under every key.
// It is sealed anew in any case: what a rotation has read is then not written again by anybody, and whoever finds it
// finds the row that the rotation has read.
func (s *Service) anew(row identifierRow) (identifierRow, error) {
	plain, err := s.Ring.Open(row.sealed, place(row.ID))
	if err != nil {
		return row, fmt.Errorf("open identifier %s of %s: %w", row.ID, row.account, err)
	}
	row.lookup, row.names = s.Ring.Indexes(string(row.Kind), string(plain))
	row.sealed = s.Ring.Seal(plain, place(row.ID))
	return row, nil
}

// put writes an identifier unless another account signs in with it, under whichever key.
//
// While a key takes over from another, a name has two indexes, and the primary key alone would let two
// accounts have it: one under each. So everybody writes a name under its oldest index first, which makes all who
// want it wait for one another whatever key they write with, then looks for the others, and then moves.
func (s *Service) put(ctx context.Context, tx *sqldb.Tx, row identifierRow) (fresh bool, err error) {
	if row.SignsIn {
		if fresh, err = claim(ctx, tx, row); err != nil || !fresh {
			return fresh, err
		}
	}
	return true, putIdentifiers(ctx, tx, []identifierRow{row})
}

type lookupRow struct {
	lookup  []byte
	account ID
}

// take deletes an identifier of an account, or all, and what the account is found by with them.
func (s *Service) take(ctx context.Context, tx *sqldb.Tx, owner ID, only string) error {
	if s.Ring.Several() || s.Ring.Lacking() != "" {
		if err := countTaken(ctx, tx); err != nil { // first: a rotation that is about to write what they are found by waits
			return err
		}
	}
	rows, err := takeIdentifiers(ctx, tx, owner, only)
	if err != nil {
		return err
	}
	var lookups [][]byte
	for _, row := range rows {
		if !row.SignsIn {
			continue
		}
		if row, err = s.anew(row); err != nil && only != "" {
			return err
		}
		if err != nil { // it is to be found by nothing, even so
			return deleteAllLookups(ctx, tx, owner)
		}
		lookups = append(lookups, row.names...)
	}
	return deleteLookups(ctx, tx, owner, lookups)
}

// note records a change, made anew: what is copied must not outlive its key.
func (s *Service) note(ctx context.Context, tx *sqldb.Tx, c change) (err error) {
	if c.row, err = s.anew(c.row); err != nil {
		return err
	}
	return putChange(ctx, tx, c)
}
