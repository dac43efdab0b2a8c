package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
)

const (
	// Hold is how long a removed address is told of what happens and may undo it, and how long an added
	// one may not: whoever took over a session cannot make the old owner silent, nor their own address an owner.
	Hold = 72 * time.Hour
	// MaxAddresses is how many identifiers an account may have. People have fewer, and each is read at every sign-in.
	MaxAddresses = 10

	keepChanges = 31 * 24 * time.Hour // a day longer than a link in a notice works
)

// Uses are what an identifier is for.
type Uses struct{ SignsIn, Notices, Recovers bool }

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

// Standing is what an account may not do for a while.
type Standing struct {
	FrozenUntil time.Time // no change of addresses, contacts or recovery code before; zero: not frozen
	FrozenAt    time.Time // since when, however often the freeze was prolonged
	EraseAt     time.Time // zero: its holder has not asked to erase it
}

// FrozenSince reports whether the account was frozen at t or later, or its freeze prolonged: what was proved before that counts no more.
func (st Standing) FrozenSince(t time.Time) bool {
	return !st.FrozenUntil.IsZero() && !t.After(st.FrozenUntil.Add(-Hold))
}

// Standing returns the account's.
func (s *Service) Standing(ctx context.Context, tx *sqldb.Tx, id ID) (Standing, error) {
	st, err := standing(ctx, tx, id)
	if err != nil {
		return Standing{}, fmt.Errorf("read standing of %s: %w", id, err)
	}
	if !st.FrozenUntil.After(tx.Now()) {
		st.FrozenUntil, st.FrozenAt = time.Time{}, time.Time{}
	}
	return st, nil
}

// Freeze refuses changes of addresses, contacts and recovery code until then. It never shortens a freeze.
func (s *Service) Freeze(ctx context.Context, tx *sqldb.Tx, id ID, until time.Time) error {
	if err := s.Alone(ctx, tx, id); err != nil {
		return err
	}
	return freeze(ctx, tx, id, until)
}

// Alone makes every other transaction that changes what the account is reached by, or freezes it, wait
// until this one is over. What is read after it is still true when it is acted on.
func (s *Service) Alone(ctx context.Context, tx *sqldb.Tx, id ID) error { return alone(ctx, tx, id) }

// SettledAt is from when an address of the account counts as its holder's own, beyond doubt, for
// recovering it and for taking changes back.
func (a Address) SettledAt(who Account) time.Time {
	if a.AddedAt.Sub(who.CreatedAt).Abs() < time.Minute { // written with the account
		return a.AddedAt
	}
	return a.AddedAt.Add(Hold)
}

// Add gives an account one more identifier, which the caller has seen proved if it is Verified.
// fault.Conflict: "identifier_taken" if another account signs in with it or did until lately,
// "address_known" if it is this account's already, "too_many_addresses".
func (s *Service) Add(ctx context.Context, tx *sqldb.Tx, id ID, n NewIdentifier) error {
	if err := n.check(); err != nil {
		return fault.New(fault.Invalid, "identifier_uses_invalid", err)
	}
	if err := s.Alone(ctx, tx, id); err != nil {
		return err
	}
	has, err := s.Addresses(ctx, tx, id)
	if err != nil {
		return err
	}
	if len(has) >= MaxAddresses {
		return fault.New(fault.Conflict, "too_many_addresses", nil)
	}
	if slices.ContainsFunc(has, func(a Address) bool { return a.Identifier() == n.Identifier }) {
		return fault.New(fault.Conflict, "address_known", nil)
	}
	rowID, err := newID()
	if err != nil {
		return err
	}
	row := s.row(rowID, id, n)
	row.AddedAt = tx.Now()
	if err := s.insert(ctx, tx, row); err != nil {
		return err
	}
	return s.note(ctx, tx, change{what: added, row: row})
}

// insert writes an identifier that nobody else signs in with, or did until lately.
func (s *Service) insert(ctx context.Context, tx *sqldb.Tx, row identifierRow) error {
	row, err := s.anew(row)
	if err != nil {
		return err
	}
	other, err := heldByOther(ctx, tx, row.names, row.account)
	if err != nil {
		return err
	}
	fresh := !other || !row.SignsIn
	if fresh {
		fresh, err = s.put(ctx, tx, row)
	}
	if err == nil && !fresh {
		err = fault.New(fault.Conflict, "identifier_taken", nil)
	}
	return err
}

// Taken reports whether an identifier cannot be signed in with by a new account: somebody does, or
// did until lately. by is whoever does, and the zero Account where it is only held. It is for those
// who have proved that the address is theirs, or who will never be told.
func (s *Service) Taken(ctx context.Context, tx *sqldb.Tx, ident Identifier) (by Account, taken bool, err error) {
	return s.TakenFor(ctx, tx, "", ident)
}

// TakenFor is Taken for an account: what it has itself, or had until lately, is not taken for it.
func (s *Service) TakenFor(ctx context.Context, tx *sqldb.Tx, id ID, ident Identifier) (by Account, taken bool, err error) {
	lookups := s.lookups(ident)
	found, err := byLookup(ctx, tx, lookups, nil)
	if err != nil {
		return Account{}, false, err
	}
	held, err := heldByOther(ctx, tx, lookups, id)
	return found.asked, held || found.asked.ID != "" && found.asked.ID != id, err
}

// Remove takes an identifier from an account. It is held for the account for a while: see Hold.
// fault.NotFound "not_found"; fault.Conflict "last_notice_address" or "last_signin_address" for one
// that the account cannot do without.
func (s *Service) Remove(ctx context.Context, tx *sqldb.Tx, id ID, address string) error {
	rows, i, err := s.findAddress(ctx, tx, id, address)
	if err != nil {
		return err
	}
	row := rows[i]
	if err := enough(slices.Delete(slices.Clone(rows), i, i+1)); err != nil {
		return err
	}
	if err := s.take(ctx, tx, id, address); err != nil {
		return err
	}
	return s.note(ctx, tx, change{what: removed, row: row, heldUntil: tx.Now().Add(Hold)})
}

// Prove marks an identifier of the account as one that the caller has seen proved. It counts as one that
// is added now. fault.NotFound "not_found"; fault.Conflict "identifier_taken".
func (s *Service) Prove(ctx context.Context, tx *sqldb.Tx, id ID, address string) error {
	rows, i, err := s.findAddress(ctx, tx, id, address)
	if err != nil {
		return err
	}
	before, after := rows[i], rows[i]
	after.Verified, after.Notices, after.Recovers, after.AddedAt = true, true, true, tx.Now()
	if err := checkUses(after.Address); err != nil {
		return fault.New(fault.Invalid, "identifier_uses_invalid", err)
	}
	if err := s.replace(ctx, tx, after); err != nil {
		return err
	}
	return s.note(ctx, tx, change{what: usesChanged, row: before})
}

// SetUses says what an identifier is for. Errors are those of Remove and Add.
func (s *Service) SetUses(ctx context.Context, tx *sqldb.Tx, id ID, address string, u Uses) error {
	rows, i, err := s.findAddress(ctx, tx, id, address)
	if err != nil {
		return err
	}
	before := rows[i]
	if before.uses() == u {
		return nil
	}
	after := before
	after.SignsIn, after.Notices, after.Recovers = u.SignsIn, u.Notices, u.Recovers
	if u.Recovers && !before.Recovers { // a power that is new, as if the address were
		after.AddedAt = tx.Now()
	}
	if err := checkUses(after.Address); err != nil {
		return fault.New(fault.Invalid, "identifier_uses_invalid", err)
	}
	rows[i] = after
	if err := enough(rows); err != nil {
		return err
	}
	if err := s.replace(ctx, tx, after); err != nil {
		return err
	}
	return s.note(ctx, tx, change{what: usesChanged, row: before})
}

func (a Address) uses() Uses { return Uses{a.SignsIn, a.Notices, a.Recovers} }

// replace writes an identifier anew, which leaves it to the index who wins a race for a name.
func (s *Service) replace(ctx context.Context, tx *sqldb.Tx, row identifierRow) error {
	if err := s.take(ctx, tx, row.account, row.ID); err != nil {
		return err
	}
	return s.insert(ctx, tx, row)
}

// findAddress finds an identifier of the account among all of them, in order to change it.
func (s *Service) findAddress(ctx context.Context, tx *sqldb.Tx, id ID, address string) ([]identifierRow, int, error) {
	if err := s.Alone(ctx, tx, id); err != nil {
		return nil, 0, err
	}
	rows, err := identifiers(ctx, tx, id)
	if err != nil {
		return nil, 0, err
	}
	i := slices.IndexFunc(rows, func(r identifierRow) bool { return r.ID == address })
	if i < 0 {
		return nil, 0, fault.New(fault.NotFound, "not_found", errors.New("the account has no such address"))
	}
	return rows, i, nil
}

// enough refuses to leave an account that nobody can sign in to, or that nothing can be told.
func enough(rows []identifierRow) error {
	has := func(f func(identifierRow) bool) bool { return slices.ContainsFunc(rows, f) }
	switch {
	case !has(func(r identifierRow) bool { return r.SignsIn }):
		return fault.New(fault.Conflict, "last_signin_address", nil)
	case !has(func(r identifierRow) bool { return r.Notices && r.Verified }):
		return fault.New(fault.Conflict, "last_notice_address", nil)
	}
	return nil
}

// Undo takes back every change of addresses made since, the newest first, and returns how many. An
// address that was removed longer ago than Hold comes back as a name to sign in with and no more: whoever
// reads it by now must not get power over the account by another address's word. For the same reason uses that were
// changed longer ago than Hold stay, and an address that was added longer ago goes as if its holder removed it, see
// mayGo. What somebody else signs in with by now does not come back.
func (s *Service) Undo(ctx context.Context, tx *sqldb.Tx, id ID, since time.Time) (int, error) {
	if err := s.Alone(ctx, tx, id); err != nil {
		return 0, err
	}
	all, err := changesSince(ctx, tx, id, since)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, c := range all {
		undone, err := s.undo(ctx, tx, c)
		if err != nil {
			return 0, fmt.Errorf("undo a change of %s: %w", id, err)
		}
		if undone {
			n++
		}
	}
	return n, nil
}

// undo takes one change back. One that stays is as it was, for who may ask again.
func (s *Service) undo(ctx context.Context, tx *sqldb.Tx, c change) (undone bool, err error) {
	old := !tx.Now().Before(c.at.Add(Hold))
	stays := old && c.what == usesChanged || c.what == removed && c.over(tx.Now()) && !c.row.SignsIn
	if old && c.what == added {
		may, err := s.mayGo(ctx, tx, c.row)
		if err != nil {
			return false, err
		}
		stays = !may
	}
	if stays {
		return false, nil
	}
	if taken, err := takeChange(ctx, tx, c.id); err != nil || !taken {
		return false, err
	}
	switch {
	case c.what == added && old:
		return true, s.Remove(ctx, tx, c.row.account, c.row.ID)
	case c.what == added:
		return true, s.take(ctx, tx, c.row.account, c.row.ID)
	}
	return s.restore(ctx, tx, c)
}

// over reports whether the account no longer holds the address that was removed.
func (c change) over(now time.Time) bool { return !c.heldUntil.After(now) }

// restore puts an address back as it was before the change, as far as it may.
func (s *Service) restore(ctx context.Context, tx *sqldb.Tx, c change) (bool, error) {
	late := c.what == removed && c.over(tx.Now())
	if late {
		c.row.Notices, c.row.Recovers = false, false
	}
	err := s.replace(ctx, tx, c.row)
	if fault.Of(err).Code != "identifier_taken" {
		return err == nil, err
	}
	if late {
		return false, nil
	}
	c.row.SignsIn = false
	return true, s.replace(ctx, tx, c.row)
}

// mayGo reports whether an address that was added long ago is there and may be taken away as its holder would: it is
// held, told, and may take that back. Whoever merely reads another address must not silence it. It stays if nothing
// else could recover the account.
func (s *Service) mayGo(ctx context.Context, tx *sqldb.Tx, row identifierRow) (bool, error) {
	who, err := s.Get(ctx, tx, row.account)
	if err != nil {
		return false, err
	}
	rows, err := identifiers(ctx, tx, row.account)
	if err != nil {
		return false, err
	}
	all := len(rows)
	rows = slices.DeleteFunc(rows, func(r identifierRow) bool { return r.ID == row.ID })
	recovers := slices.ContainsFunc(rows, func(r identifierRow) bool { return r.Recovers && r.Verified && settled(who, r.Address, tx.Now()) })
	return len(rows) < all && recovers && enough(rows) == nil, nil
}

// Change is a change of an address that is still known, for its owner: what it was before, or with "added"
// what is new.
type Change struct {
	Address

	What string // added, removed, uses
	At   time.Time
}

// Changes returns the changes of an account's addresses of about a month, the newest first.
func (s *Service) Changes(ctx context.Context, tx *sqldb.Tx, id ID) (all []Change, err error) {
	rows, err := changesSince(ctx, tx, id, time.UnixMilli(0))
	for _, c := range rows {
		plain, err := s.Ring.Open(c.row.sealed, place(c.row.ID))
		if err != nil {
			return nil, fmt.Errorf("open identifier %s of %s: %w", c.row.ID, id, err)
		}
		c.row.Normal = string(plain)
		all = append(all, Change{c.row.Address, string(c.what), c.at})
	}
	return all, err
}

// Reach is an address that is told of what happens.
type Reach struct {
	Address

	// Undoes says that what is sent there may take changes of addresses back: it is not a new address.
	Undoes bool
}

// Reaches returns where notices go: every verified address that is for notices, and what was one
// until lately.
func (s *Service) Reaches(ctx context.Context, tx *sqldb.Tx, id ID) ([]Reach, error) {
	who, err := s.Get(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	rows, err := identifiers(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	former, err := changesSince(ctx, tx, id, tx.Now().Add(time.Millisecond-Hold)) // held_until is then in the future
	if err != nil {
		return nil, err
	}
	for _, c := range former {
		if c.what != added {
			rows = append(rows, c.row)
		}
	}
	var out []Reach
	for _, r := range rows {
		known := slices.ContainsFunc(out, func(o Reach) bool { return o.ID == r.ID })
		if !r.Verified || !r.Notices || known {
			continue
		}
		plain, err := s.Ring.Open(r.sealed, place(r.ID))
		if err != nil {
			return nil, fmt.Errorf("open identifier %s of %s: %w", r.ID, id, err)
		}
		r.Normal = string(plain)
		out = append(out, Reach{r.Address, settled(who, r.Address, tx.Now())})
	}
	return out, nil
}

// settled reports whether an address is its holder's own beyond doubt.
func settled(who Account, a Address, now time.Time) bool { return !now.Before(a.SettledAt(who)) }

// Recovers returns the addresses by which an account may be recovered: those that are for it, and that
// nobody can have added who took over a session just now. Decoys have some.
func (s *Service) Recovers(ctx context.Context, tx *sqldb.Tx, who Account) ([]Address, error) {
	all, err := s.Addresses(ctx, tx, who.ID)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(a Address) bool {
		return !a.Recovers || !a.Verified || !settled(who, a, tx.Now())
	}), nil
}

// SetClaims keeps what an operator asks people for, by name; an empty value forgets it.
func (s *Service) SetClaims(ctx context.Context, tx *sqldb.Tx, id ID, values map[string]string) error {
	for name, value := range values {
		if value == "" {
			if err := deleteClaim(ctx, tx, id, name); err != nil {
				return err
			}
			continue
		}
		if err := putClaim(ctx, tx, id, name, s.Ring.Seal([]byte(value), claimPlace(id, name))); err != nil {
			return err
		}
	}
	return nil
}

// Claims returns what SetClaims kept.
func (s *Service) Claims(ctx context.Context, tx *sqldb.Tx, id ID) (map[string]string, error) {
	sealed, err := claims(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	values := make(map[string]string, len(sealed))
	for name, b := range sealed {
		plain, err := s.Ring.Open(b, claimPlace(id, name))
		if err != nil {
			return nil, fmt.Errorf("open claim %s of %s: %w", name, id, err)
		}
		values[name] = string(plain)
	}
	return values, nil
}

func claimPlace(id ID, name string) keyring.Place {
	return keyring.Place{Table: "account_claim", Row: string(id) + "/" + name, Column: "sealed"}
}

// SetLanguage sets the language of letters to the account (BCP 47).
func (s *Service) SetLanguage(ctx context.Context, tx *sqldb.Tx, id ID, language string) error {
	return setLanguage(ctx, tx, id, language)
}

// EraseAt has the account erased at a time, or with the zero time not after all.
func (s *Service) EraseAt(ctx context.Context, tx *sqldb.Tx, id ID, at time.Time) error {
	return setErase(ctx, tx, id, at)
}

// AskErase is EraseAt for an account that nobody has asked to erase yet; asked is false for one that somebody has.
func (s *Service) AskErase(ctx context.Context, tx *sqldb.Tx, id ID, at time.Time) (asked bool, err error) {
	return askErase(ctx, tx, id, at)
}

// Keep has an account not erased after all; kept is false for one that was not to be.
func (s *Service) Keep(ctx context.Context, tx *sqldb.Tx, id ID) (kept bool, err error) {
	return keep(ctx, tx, id)
}

// DueForErasure returns up to n accounts whose time has come. A locked one is not among them: somebody looks
// into it, and its holder could not call the erasure off.
func (s *Service) DueForErasure(ctx context.Context, tx *sqldb.Tx, n int) ([]ID, error) {
	return dueForErasure(ctx, tx, n)
}

// Erase forgets every address and claim of an account whose time has come, and closes it. What other
// packages keep of it they erase themselves, in the same transaction. Its names are free for others from then
// on. erased is false if its time has not come after all, or if another node was faster.
func (s *Service) Erase(ctx context.Context, tx *sqldb.Tx, id ID) (erased bool, err error) {
	if erased, err = erase(ctx, tx, id); err != nil || !erased {
		return false, err
	}
	return true, s.take(ctx, tx, id, "")
}

// Prune deletes a bounded number of changes that nothing can undo any more and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	return pruneChanges(ctx, tx, tx.Now().Add(-keepChanges))
}
