package recovery

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/factor"
	"countersign/internal/keyring"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
)

const (
	// MaxContacts is how many people a holder may name.
	MaxContacts = 5
	maxName     = 60

	contactDigits  = 8 // each try is compared with the codes of five people, for a day
	contactCodeFor = 24 * time.Hour
)

// Contact is somebody whom a holder trusts to know them. They need not have an account, and where
// they are reached is no name to sign in with. It prints as "[contact]".
type Contact struct {
	ID         string
	Label      string // what the holder calls them
	Holder     string // what they call the holder: letters to them begin with it
	Identifier account.Identifier
	AddedAt    time.Time
}

// String returns "[contact]".
func (c Contact) String() string { return "[contact]" }

// GoString returns "[contact]".
func (c Contact) GoString() string { return c.String() }

// Format writes "[contact]" whatever the verb.
func (c Contact) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(c.String())) }

// sealedContact is what is sealed of a contact.
type sealedContact struct {
	Label  string       `json:"label"`
	Holder string       `json:"holder"`
	Kind   account.Kind `json:"kind"`
	Normal string       `json:"normal"`
}

// Contacts returns an account's, oldest first.
func (s *Service) Contacts(ctx context.Context, tx *sqldb.Tx, id account.ID) ([]Contact, error) {
	return s.openContacts(contacts(ctx, tx, id, 2*MaxContacts)) // more than MaxContacts is a race that two additions won
}

func (s *Service) openContacts(rows []contactRow, err error) ([]Contact, error) {
	if err != nil {
		return nil, err
	}
	out := make([]Contact, 0, len(rows))
	for _, r := range rows {
		var c sealedContact
		raw, err := s.Ring.Open(r.sealed, contactPlace(r.id))
		if err == nil {
			err = json.Unmarshal(raw, &c)
		}
		if err != nil {
			return nil, fmt.Errorf("open contact %s of %s: %w", r.id, r.account, err)
		}
		out = append(out, Contact{
			ID: r.id, Label: c.Label, Holder: c.Holder, AddedAt: r.addedAt,
			Identifier: account.Address{Kind: c.Kind, Normal: c.Normal}.Identifier(),
		})
	}
	return out, nil
}

// AddContact names a contact, who is told. They can help from account.Hold on: whoever took over a
// session must not be able to recover the account by friends of theirs. The caller records it and tells
// the holder (ContactsChanged). Refusals: fault.Invalid "contact_malformed" (a name is missing or too
// long), "contact_unreachable"; fault.Conflict "contact_known", "contact_is_own", "too_many_contacts";
// fault.TooMany.
func (s *Service) AddContact(ctx context.Context, tx *sqldb.Tx, id account.ID, c Contact) error {
	c.Label, c.Holder = strings.TrimSpace(c.Label), strings.TrimSpace(c.Holder)
	if !nameable(c.Label) || !nameable(c.Holder) {
		return fault.New(fault.Invalid, "contact_malformed", errors.New("a name is missing, too long or not text"))
	}
	channel := channelOf(c.Identifier)
	if !slices.Contains(s.Ways, factor.Way(channel)) {
		return fault.New(fault.Invalid, "contact_unreachable", errors.New("nothing can be sent there"))
	}
	if err := s.newContact(ctx, tx, id, c.Identifier); err != nil {
		return err
	}
	if ok, err := s.Throttle.Take(ctx, tx, s.Limits.ContactLetters, string(id)); err != nil || !ok {
		return cmp.Or(err, limited(errLimited))
	}
	row, err := s.seal(contactRow{id: uuid.Must(uuid.NewV7()).String(), account: id}, c)
	if err != nil {
		return err
	}
	if err := putContact(ctx, tx, row); err != nil {
		return err
	}
	who, err := s.Accounts.Get(ctx, tx, id)
	if err != nil {
		return err
	}
	_, err = s.Outbox.Put(ctx, tx, outbox.Letter{
		Letter: message.Letter{
			Kind: message.ContactAdded, Channel: channel, To: c.Identifier.Normal(), Language: who.Language,
			Params: map[string]string{"holder": c.Holder, "site": s.Site},
		},
		Account: string(id),
	})
	return err
}

// newContact refuses a contact that would be no other person, or one too many.
func (s *Service) newContact(ctx context.Context, tx *sqldb.Tx, id account.ID, ident account.Identifier) error {
	own, err := s.Accounts.Addresses(ctx, tx, id)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(own, func(a account.Address) bool { return a.Identifier() == ident }) {
		return fault.New(fault.Conflict, "contact_is_own", nil)
	}
	there, err := s.Contacts(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case slices.ContainsFunc(there, func(c Contact) bool { return c.Identifier == ident }):
		return fault.New(fault.Conflict, "contact_known", nil)
	case len(there) >= MaxContacts:
		return fault.New(fault.Conflict, "too_many_contacts", nil)
	}
	return nil
}

// RemoveContact takes a contact from an account; ok is false if it has no such contact. A code of theirs is
// worth nothing from then on. The caller records it and tells the holder.
func (s *Service) RemoveContact(ctx context.Context, tx *sqldb.Tx, id account.ID, contact string) (ok bool, err error) {
	if valid := uuid.Validate(contact) == nil; !valid { // whatever stood in the path; PostgreSQL takes not every text
		return false, nil
	}
	return deleteContact(ctx, tx, id, contact)
}

// AskContacts sends a code to each of the account's contacts, once a flow, and for an account once a day.
// Whether it has any does not show.
func (s *Service) AskContacts(ctx context.Context, ref signin.Ref, c signin.Client) (next Next, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findAt(ctx, tx, request{ref, c}, StepMore, StepWaiting)
		if err != nil {
			return err
		}
		if !f.Asked {
			if err := s.ask(ctx, tx, &f); err != nil {
				return err
			}
		}
		next, err = s.next(ctx, tx, f)
		return err
	})
	return next, limited(err)
}

func (s *Service) ask(ctx context.Context, tx *sqldb.Tx, f *flow) error {
	expires := tx.Now().Add(contactCodeFor)
	if f.ExpiresAt.Before(expires) {
		f.ExpiresAt = expires
	}
	first, err := setAsked(ctx, tx, *f)
	if err != nil || !first {
		f.Asked = true
		return err
	}
	f.Asked = true
	within, err := s.Throttle.Take(ctx, tx, s.Limits.AskOwner, string(f.OwnerKey))
	if err != nil {
		return err
	}
	if err := s.record(ctx, tx, *f, audit.RecoveryAsked, nil); err != nil {
		return err
	}
	who, err := s.Accounts.Get(ctx, tx, f.Account)
	if err != nil {
		return err
	}
	all, err := s.fiveContacts(ctx, tx, f.Account)
	if err != nil {
		return err
	}
	given := map[string]bool{}
	for i, c := range all {
		code := secret.NewDigits(contactDigits)
		for given[code.Reveal()] { // two people's codes must be two
			code = secret.NewDigits(contactDigits)
		}
		given[code.Reveal()] = true
		row := contactCode{f.ID, c.ID, s.contactDigest(f.ID, code), expires}
		named := c.own && c.settled(who, tx.Now())
		if !named {
			row.contact, row.digest = standIn(i), s.contactDigest(f.ID, secret.NewToken(FlowPrefix)) // no digits fit
		}
		if err := putContactCode(ctx, tx, row); err != nil {
			return err
		}
		_, err := s.Outbox.Put(ctx, tx, outbox.Letter{
			Letter: message.Letter{
				Kind: message.ContactCode, Channel: channelOf(c.Identifier), To: c.Identifier.Normal(), Language: who.Language,
				Params: map[string]string{"code": code.Reveal(), "minutes": minutes(contactCodeFor), "holder": c.Holder, "site": s.Site},
			},
			Account: string(f.Account), Withhold: !within || !named, ExpiresAt: expires,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// asked is a contact who is asked, or somebody who stands in for one.
type asked struct {
	Contact

	own bool
}

// fiveContacts are an account's, and behind them as many that stand in for those it could have as well: whoever asks
// must not see by rows or time how many there are. Five rows are read, opened and asked for everybody.
func (s *Service) fiveContacts(ctx context.Context, tx *sqldb.Tx, id account.ID) (five []asked, err error) {
	own, err := s.Contacts(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	own = own[:min(len(own), MaxContacts)]
	others, err := s.openContacts(contacts(ctx, tx, account.Last, MaxContacts-len(own)))
	if err != nil {
		return nil, err
	}
	for i, c := range slices.Concat(own, others) {
		five = append(five, asked{c, i < len(own)})
	}
	if len(five) < MaxContacts {
		return nil, errors.New("the contacts of nobody are missing; EnsureDummies makes them")
	}
	return five, nil
}

// standIn is the id of the n-th contact of nobody.
func standIn(n int) string { return fmt.Sprintf("ffffffff-ffff-ffff-ffff-%012d", n) }

// ensureStandIns writes the contacts of nobody.
func (s *Service) ensureStandIns(ctx context.Context) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		for n := range MaxContacts {
			ident, err := account.Parse(fmt.Sprintf("contact%d@decoy.invalid", n))
			if err != nil {
				return err
			}
			row, err := s.seal(contactRow{id: standIn(n), account: account.Last}, Contact{Label: "nobody", Holder: "nobody", Identifier: ident})
			if err != nil {
				return err
			}
			if err := putContact(ctx, tx, row); err != nil {
				return err
			}
		}
		return nil
	})
}

// seal puts names and address into a contact's row.
func (s *Service) seal(row contactRow, c Contact) (contactRow, error) {
	raw, err := json.Marshal(sealedContact{c.Label, c.Holder, c.Identifier.Kind(), c.Identifier.Normal()})
	if err == nil {
		row.sealed = s.Ring.Seal(raw, contactPlace(row.id))
	}
	return row, err
}

// settled reports whether a contact was named by the holder beyond doubt: with the account, or long ago.
func (c Contact) settled(who account.Account, now time.Time) bool {
	return c.AddedAt.Sub(who.CreatedAt).Abs() < time.Minute || now.Sub(c.AddedAt) >= account.Hold
}

func (s *Service) contactDigest(flowID string, code secret.Token) []byte {
	return s.Ring.Digest("recovery/contact/"+flowID, code)
}

func (s *Service) contactDigests(flowID string, code secret.Token) [][]byte {
	return s.Ring.Digests("recovery/contact/"+flowID, code)
}

func contactPlace(id string) keyring.Place {
	return keyring.Place{Table: "recovery_contact", Row: id, Column: "sealed"}
}

func channelOf(ident account.Identifier) message.Channel {
	return map[account.Kind]message.Channel{account.Email: message.Email, account.Phone: message.SMS}[ident.Kind()]
}

func nameable(name string) bool {
	return name != "" && utf8.ValidString(name) && utf8.RuneCountInString(name) <= maxName && !strings.ContainsFunc(name, unicode.IsControl)
}
