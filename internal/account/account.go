// Package account knows who exists: accounts, their addresses, their standing. It owns the
// tables account, account_identifier, account_lookup, account_address_change and account_claim.
//
// Contact data is sealed and found by a blind index, so a stolen database has none (P4).
// Whoever does not exist is stood in for by a decoy account, so that the steps after the
// look-up have rows to work on and cannot tell the difference (P2).
package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
	"unique"

	"github.com/google/uuid"

	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
)

// ID names an account. It is not a secret.
type ID string

// State is the standing of an account.
type State string

// The states. A decoy stands in for those who do not exist and can never be signed in to.
const (
	Active State = "active"
	Locked State = "locked"
	Closed State = "closed"
	Decoy  State = "decoy"
)

// Account is who a flow is about.
type Account struct {
	ID        ID
	State     State
	Language  string
	CreatedAt time.Time
}

// Address is an opened identifier of an account. It prints as "[address]".
type Address struct {
	ID       string
	Kind     Kind
	Normal   string // the e-mail address, E.164 number or username itself
	Verified bool
	SignsIn  bool // the account is found by it
	Notices  bool // security notices and codes go to it
	Recovers bool // it may be used to get back in
	AddedAt  time.Time
}

// Identifier returns the address as it was parsed when it was stored: the rules for new ones may be stricter by now.
func (a Address) Identifier() Identifier {
	return Identifier{kind: a.Kind, normal: unique.Make(a.Normal)}
}

const hiddenAddress = "[address]"

// String returns "[address]".
func (a Address) String() string { return hiddenAddress }

// Format writes "[address]" whatever the verb.
func (a Address) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hiddenAddress)) }

// LogValue returns "[address]".
func (a Address) LogValue() slog.Value { return slog.StringValue(hiddenAddress) }

// MarshalText returns "[address]": showing one in JSON takes an explicit copy of Normal.
func (a Address) MarshalText() ([]byte, error) { return []byte(hiddenAddress), nil }

// New describes an account to create.
type New struct {
	Identifiers []NewIdentifier // at least one that signs in
	Language    string          // empty means the service's
}

// NewIdentifier is an identifier with its uses.
type NewIdentifier struct {
	Identifier
	Verified, SignsIn, Notices, Recovers bool
}

// Service keeps the accounts.
type Service struct {
	DB       *sqldb.DB
	Ring     *keyring.Ring
	Language string // of decoys and of accounts created without one; empty means "en"
	Decoys   int    // 0 means DefaultDecoys; all nodes on a database have as many
}

// Create makes an account. It returns fault.Conflict "identifier_taken" if another account
// signs in with one of the identifiers: that is for operators, trusted applications and
// owners of a proved address, never for strangers, who would learn who has an account.
func (s *Service) Create(ctx context.Context, tx *sqldb.Tx, n New) (ID, error) {
	if err := n.check(); err != nil {
		return "", fault.New(fault.Invalid, "identifier_uses_invalid", err)
	}
	if n.Language == "" {
		n.Language = s.language()
	}
	id, err := newID()
	if err != nil {
		return "", err
	}
	if _, err := putAccount(ctx, tx, Account{ID: ID(id), State: Active, Language: n.Language}); err != nil {
		return "", fmt.Errorf("write account: %w", err)
	}
	for _, ident := range n.Identifiers {
		rowID, err := newID()
		if err != nil {
			return "", err
		}
		if err := s.insert(ctx, tx, s.row(rowID, ID(id), ident)); err != nil {
			return "", err
		}
	}
	return ID(id), nil
}

func (n New) check() error {
	signsIn := false
	seen := map[Identifier]bool{}
	for _, ident := range n.Identifiers {
		signsIn = signsIn || ident.SignsIn
		if seen[ident.Identifier] {
			return errors.New("an identifier is given twice")
		}
		if err := ident.check(); err != nil {
			return err
		}
		seen[ident.Identifier] = true
	}
	if !signsIn {
		return errors.New("no identifier signs in")
	}
	return nil
}

func (n NewIdentifier) check() error {
	if n.Kind() == "" {
		return errors.New("an identifier is missing")
	}
	return checkUses(Address{Kind: n.Kind(), Verified: n.Verified, Notices: n.Notices, Recovers: n.Recovers})
}

func checkUses(a Address) error {
	switch {
	case (a.Kind == Username || a.Kind == Reference) && (a.Verified || a.Notices || a.Recovers):
		return errors.New("nothing can be sent to a name")
	case !a.Verified && a.Recovers:
		return errors.New("only a verified address may recover the account")
	}
	return nil
}

// Get returns an account by id, decoys included: a flow has the id of one or the other and
// must not need to know which. fault.NotFound "account_unknown" is for ids of operators.
func (s *Service) Get(ctx context.Context, tx *sqldb.Tx, id ID) (Account, error) {
	a, ok, err := get(ctx, tx, id)
	if err != nil {
		return Account{}, fmt.Errorf("read account %s: %w", id, err)
	}
	if !ok {
		return Account{}, errUnknown()
	}
	return a, nil
}

// ByIdentifier returns the account that signs in with ident, for operators and trusted
// applications only: fault.NotFound "account_unknown" says that there is none.
func (s *Service) ByIdentifier(ctx context.Context, tx *sqldb.Tx, ident Identifier) (Account, error) {
	found, err := byLookup(ctx, tx, s.lookups(ident), nil)
	if err != nil {
		return Account{}, fmt.Errorf("look up account: %w", err)
	}
	if found.asked.ID == "" || found.asked.State == Decoy {
		return Account{}, errUnknown()
	}
	return found.asked, nil
}

// Addresses returns every identifier of an account, opened, oldest first. Decoys have
// addresses too, to which nothing can be delivered.
func (s *Service) Addresses(ctx context.Context, tx *sqldb.Tx, id ID) ([]Address, error) {
	sealed, err := identifiers(ctx, tx, id)
	if err != nil {
		return nil, fmt.Errorf("read addresses of %s: %w", id, err)
	}
	out := make([]Address, 0, len(sealed))
	for _, row := range sealed {
		plain, err := s.Ring.Open(row.sealed, place(row.ID))
		if err != nil {
			return nil, fmt.Errorf("open identifier %s of %s: %w", row.ID, id, err)
		}
		row.Normal = string(plain)
		out = append(out, row.Address)
	}
	return out, nil
}

// Lock stops an account from signing in until Unlock. Locking a locked account changes nothing.
func (s *Service) Lock(ctx context.Context, tx *sqldb.Tx, id ID) error {
	return s.move(ctx, tx, id, Locked)
}

// Unlock lets a locked account sign in again. Unlocking an active account changes nothing.
func (s *Service) Unlock(ctx context.Context, tx *sqldb.Tx, id ID) error {
	return s.move(ctx, tx, id, Active)
}

// Close ends an account for good. Its identifiers stay taken, so that nobody can take over
// what others still believe to be that person's.
func (s *Service) Close(ctx context.Context, tx *sqldb.Tx, id ID) error {
	return s.move(ctx, tx, id, Closed)
}

func (s *Service) move(ctx context.Context, tx *sqldb.Tx, id ID, to State) error {
	moved, err := setState(ctx, tx, id, to)
	if err != nil {
		return fmt.Errorf("make account %s %s: %w", id, to, err)
	}
	if moved {
		return nil
	}
	a, err := s.Get(ctx, tx, id)
	if err != nil {
		return err
	}
	if a.State == Decoy {
		return errUnknown()
	}
	return fault.New(fault.Conflict, "account_closed", nil)
}

// Count returns how many accounts there are in each state but Decoy. It reads every
// account: not for a path that people wait on.
func (s *Service) Count(ctx context.Context, tx *sqldb.Tx) (map[State]int64, error) {
	n, err := count(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("count accounts: %w", err)
	}
	return n, nil
}

func (s *Service) language() string {
	if s.Language == "" {
		return "en"
	}
	return s.Language
}

// twoAccounts is what byLookup found; the ID of what it did not find is empty.
type twoAccounts struct{ asked, other Account }

func among(all [][]byte, one []byte) bool {
	return slices.ContainsFunc(all, func(b []byte) bool { return bytes.Equal(b, one) })
}

// lookups are what an identifier is found by, under whichever key it was written.
func (s *Service) lookups(ident Identifier) [][]byte {
	_, all := s.Ring.Indexes(string(ident.Kind()), ident.Normal())
	return all
}

type identifierRow struct {
	Address // Normal is empty: it is in sealed
	account ID
	sealed  []byte
	lookup  []byte   // the index under the current key
	names   [][]byte // and those under every key, the oldest first
}

func (s *Service) row(rowID string, owner ID, n NewIdentifier) identifierRow {
	lookup, names := s.Ring.Indexes(string(n.Kind()), n.Normal())
	return identifierRow{
		Address: Address{
			ID: rowID, Kind: n.Kind(), Verified: n.Verified,
			SignsIn: n.SignsIn, Notices: n.Notices, Recovers: n.Recovers,
		},
		account: owner, lookup: lookup, names: names,
		sealed: s.Ring.Seal([]byte(n.Normal()), place(rowID)),
	}
}

func place(rowID string) keyring.Place {
	return keyring.Place{Table: "account_identifier", Row: rowID, Column: "sealed"}
}

func errUnknown() error { return fault.New(fault.NotFound, "account_unknown", nil) }

func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return id.String(), nil
}
