package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
)

// Whole is all that is kept of an account.
type Whole struct {
	Account // an empty ID is a new one, a zero CreatedAt is now

	Addresses []Address
	Claims    map[string]string
	Standing  Standing
}

// Prepared is an account that is ready to be written.
type Prepared struct {
	ID ID

	who       Account
	standing  Standing
	addresses []identifierRow
	claims    []claimRow
}

type claimRow struct {
	name   string
	sealed []byte
}

// Prepare does what can be done before a transaction for an account that is brought along from elsewhere.
// fault.Invalid: "identifier_uses_invalid", "too_many_addresses".
func (s *Service) Prepare(w Whole) (p Prepared, err error) {
	n := New{Identifiers: make([]NewIdentifier, len(w.Addresses))}
	for i, a := range w.Addresses {
		n.Identifiers[i] = NewIdentifier{Identifier: a.Identifier(), Verified: a.Verified, SignsIn: a.SignsIn, Notices: a.Notices, Recovers: a.Recovers}
	}
	if err := n.check(); err != nil && (w.State != Closed || len(n.Identifiers) > 0) { // an erased one has none
		return Prepared{}, fault.New(fault.Invalid, "identifier_uses_invalid", err)
	}
	if len(n.Identifiers) > MaxAddresses {
		return Prepared{}, fault.New(fault.Invalid, "too_many_addresses", nil)
	}
	if w.Language == "" {
		w.Language = s.language()
	}
	if w.State == "" {
		w.State = Active
	}
	if w.ID == "" {
		id, err := newID()
		if err != nil {
			return Prepared{}, err
		}
		w.ID = ID(id)
	}
	p = Prepared{ID: w.ID, who: w.Account, standing: w.Standing}
	for i, ident := range n.Identifiers {
		rowID, err := newID()
		if err != nil {
			return Prepared{}, err
		}
		row := s.row(rowID, w.ID, ident)
		row.AddedAt = w.Addresses[i].AddedAt
		p.addresses = append(p.addresses, row)
	}
	for name, value := range w.Claims {
		p.claims = append(p.claims, claimRow{name, s.Ring.Seal([]byte(value), claimPlace(w.ID, name))})
	}
	return p, nil
}

// errRaced undoes a transaction that lost a name to somebody after it had looked.
var errRaced = errors.New("somebody took a name meanwhile")

// Raced reports whether CreateAll lost a race, so that it may be tried again.
func Raced(err error) bool { return errors.Is(err, errRaced) }

// CreateAll writes accounts, but for those that are taken. It is for operators alone. See Raced.
func (s *Service) CreateAll(ctx context.Context, tx *sqldb.Tx, all []Prepared) (taken []bool, err error) {
	if all, err = s.refresh(all); err != nil {
		return nil, err
	}
	if taken, err = s.TakenAmong(ctx, tx, all); err != nil {
		return nil, err
	}
	var fresh []Prepared
	for i, p := range all {
		if !taken[i] {
			fresh = append(fresh, p)
		}
	}
	return taken, s.putAll(ctx, tx, fresh)
}

// refresh returns the accounts as the keys are now, and not as they were when the accounts were prepared.
func (s *Service) refresh(all []Prepared) (out []Prepared, err error) {
	out = slices.Clone(all)
	for i, p := range all {
		out[i].addresses = slices.Clone(p.addresses)
		for j, row := range p.addresses {
			if !s.Ring.Several() && len(row.names) == 1 && s.Ring.Fresh(row.sealed, row.lookup) {
				continue
			}
			if out[i].addresses[j], err = s.anew(row); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// putAll writes accounts of whose names and ids nobody has any.
func (s *Service) putAll(ctx context.Context, tx *sqldb.Tx, all []Prepared) error {
	if err := putAccounts(ctx, tx, all); err != nil {
		return err
	}
	var many []identifierRow
	var lookups []lookupRow
	for _, p := range all {
		for _, a := range p.addresses {
			if a.AddedAt.IsZero() {
				a.AddedAt = p.created(tx.Now())
			}
			if len(a.names) > 1 {
				if fresh, err := s.put(ctx, tx, a); err != nil || !fresh {
					return cmp.Or(err, errRaced)
				}
				continue
			}
			many = append(many, a)
			if a.SignsIn {
				lookups = append(lookups, lookupRow{a.lookup, a.account})
			}
		}
	}
	written, err := putLookups(ctx, tx, lookups)
	if err == nil && written != int64(len(lookups)) {
		err = errRaced
	}
	if err != nil {
		return err
	}
	if err := putIdentifiers(ctx, tx, many); err != nil {
		return err
	}
	return putClaims(ctx, tx, all)
}

// TakenAmong says which accounts have an identifier that somebody signs in with, or who stands
// before them in all, or an id that is taken likewise.
func (s *Service) TakenAmong(ctx context.Context, tx *sqldb.Tx, all []Prepared) ([]bool, error) {
	names, ids, err := s.inUse(ctx, tx, all)
	if err != nil {
		return nil, fmt.Errorf("look whose names are taken: %w", err)
	}
	taken := make([]bool, len(all))
	for i, p := range all {
		taken[i] = ids[p.ID]
		for _, name := range p.Names() {
			taken[i] = taken[i] || names[string(name)]
		}
		if taken[i] {
			continue
		}
		ids[p.ID] = true
		for _, name := range p.Names() {
			names[string(name)] = true
		}
	}
	return taken, nil
}

// Names returns the blind indexes that the account signs in with.
func (p Prepared) Names() (names [][]byte) {
	for _, a := range p.addresses {
		if a.SignsIn {
			names = append(names, a.names...)
		}
	}
	return names
}

func (s *Service) inUse(ctx context.Context, tx *sqldb.Tx, all []Prepared) (names map[string]bool, ids map[ID]bool, err error) {
	var lookups [][]byte
	var wanted []string
	for _, p := range all {
		wanted = append(wanted, string(p.ID))
		lookups = append(lookups, p.Names()...)
	}
	if names, err = namesInUse(ctx, tx, lookups); err != nil {
		return nil, nil, err
	}
	ids, err = idsInUse(ctx, tx, wanted)
	return names, ids, err
}

// After returns up to n accounts but decoys, whole, in the order of their ids.
func (s *Service) After(ctx context.Context, tx *sqldb.Tx, after ID, n int) ([]Whole, error) {
	all, err := accountsAfter(ctx, tx, after, n)
	if err != nil {
		return nil, err
	}
	return all, s.fill(ctx, tx, all)
}

// Whole returns all that is kept of an account that is no decoy. fault.NotFound "account_unknown".
func (s *Service) Whole(ctx context.Context, tx *sqldb.Tx, id ID) (Whole, error) {
	a, err := s.Get(ctx, tx, id)
	if err == nil && a.State == Decoy {
		err = errUnknown()
	}
	if err != nil {
		return Whole{}, err
	}
	all := []Whole{{Account: a}}
	if all[0].Standing, err = s.Standing(ctx, tx, id); err != nil {
		return Whole{}, err
	}
	err = s.fill(ctx, tx, all)
	return all[0], err
}

// fill reads the addresses and claims of accounts that follow one another.
func (s *Service) fill(ctx context.Context, tx *sqldb.Tx, all []Whole) error {
	if len(all) == 0 {
		return nil
	}
	at := make(map[ID]int, len(all))
	for i, w := range all {
		at[w.ID] = i
	}
	first, last := all[0].ID, all[len(all)-1].ID
	rows, err := identifiersBetween(ctx, tx, first, last)
	if err != nil {
		return err
	}
	for _, r := range rows {
		i, wanted := at[r.account]
		if !wanted {
			continue
		}
		plain, err := s.Ring.Open(r.sealed, place(r.ID))
		if err != nil {
			return fmt.Errorf("open identifier %s of %s: %w", r.ID, r.account, err)
		}
		r.Normal = string(plain)
		all[i].Addresses = append(all[i].Addresses, r.Address)
	}
	return claimsBetween(ctx, tx, first, last, func(owner ID, name string, sealed []byte) error {
		i, wanted := at[owner]
		if !wanted {
			return nil
		}
		plain, err := s.Ring.Open(sealed, claimPlace(owner, name))
		if err != nil {
			return fmt.Errorf("open claim %s of %s: %w", name, owner, err)
		}
		if all[i].Claims == nil {
			all[i].Claims = map[string]string{}
		}
		all[i].Claims[name] = string(plain)
		return nil
	})
}

func (p Prepared) created(now time.Time) time.Time {
	if p.who.CreatedAt.IsZero() {
		return now
	}
	return p.who.CreatedAt
}
