// Package totp checks one-time codes that an app or a hardware token computes: TOTP (RFC 6238) by
// the clock, HOTP (RFC 4226) by a counter. It owns the table totp_authenticator.
//
// A code works once: the last step or counter used is kept, and one conditional statement both
// compares and moves it. Secrets are sealed. Tries are not counted here but by the caller's throttle.
package totp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// ID names an authenticator. It is not a secret.
type ID string

const (
	// MaxPerAccount is how many authenticators an account may have. Every check of a code, of anybody, does
	// the work of as many.
	MaxPerAccount = 5
	// enrolFor is how long an enrolment waits for its first code: time to find and install an app.
	enrolFor = 30 * time.Minute
	// maxName is the longest name kept, in characters: what fits a line on a phone.
	maxName = 60
)

// Service keeps authenticators. All fields are required.
type Service struct {
	DB    *sqldb.DB
	Ring  *keyring.Ring
	Audit *audit.Log // of what operators do; what holders do is recorded by the caller
}

// Authenticator is an app or token as its owner sees it.
type Authenticator struct {
	ID         ID
	Name       string // empty if its owner gave it none
	Serial     string // of a hardware token
	Shape      Shape
	AddedAt    time.Time
	LastUsedAt time.Time // zero: never
}

// Label says what the app shows beside the code.
type Label struct {
	Issuer  string // the site
	Account string // whom the code is for, in the owner's own words or address
	Shape   Shape  // its zero value is what every app knows: TOTP, SHA-1, 6 digits, 30 seconds
}

// Enrolment is what an app needs, to be shown while it is under way and to its owner alone.
type Enrolment struct {
	ID        ID
	Key       secret.Token // base32 in groups of four, for typing
	URL       secret.Token // otpauth://, for a link on the phone itself
	ExpiresAt time.Time
}

// Begin makes a secret for the account. It counts for nothing until Confirm has seen a code; an
// enrolment begun before is void. fault.Conflict "too_many_authenticators".
func (s *Service) Begin(ctx context.Context, tx *sqldb.Tx, who account.ID, l Label) (Enrolment, error) {
	if l.Shape == (Shape{}) {
		l.Shape = Default()
	}
	if err := l.Shape.check(); err != nil {
		return Enrolment{}, fmt.Errorf("begin enrolment: %w", err)
	}
	n, err := countConfirmed(ctx, tx, who)
	if err != nil {
		return Enrolment{}, err
	}
	if n >= MaxPerAccount {
		return Enrolment{}, tooMany()
	}
	raw := make([]byte, l.Shape.Algorithm.size())
	_, _ = rand.Read(raw) // never fails
	id := ID(uuid.Must(uuid.NewV7()).String())
	e := l.enrolment(id, raw, tx.Now().Add(enrolFor))
	return e, putBegun(ctx, tx, row{
		id: id, account: who, shape: l.Shape, secret: s.seal(id, "secret", raw), name: s.seal(id, "name", nil), expiresAt: e.ExpiresAt.UnixMilli(),
	})
}

func (l Label) enrolment(id ID, raw []byte, expires time.Time) Enrolment {
	return Enrolment{ID: id, Key: secret.Of(grouped(raw)), URL: secret.Of(l.url(raw)), ExpiresAt: expires}
}

// Begun is an enrolment under way, for who is shown its key once more: a code that was mistyped must not cost a new one. l.Shape
// is not looked at. ok is false if there is none, or it is over.
func (s *Service) Begun(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID, l Label) (e Enrolment, ok bool, err error) {
	r, ok, err := begun(ctx, tx, who, id)
	if err != nil || !ok {
		return Enrolment{}, false, err
	}
	raw, err := s.raw(r)
	if err != nil {
		return Enrolment{}, false, err
	}
	l.Shape = r.shape
	return l.enrolment(id, raw, time.UnixMilli(r.expiresAt)), true, nil
}

func tooMany() error {
	return fault.New(fault.Conflict, "too_many_authenticators", fmt.Errorf("an account has %d at the most", MaxPerAccount))
}

// Confirmation is the first code of an enrolment.
type Confirmation struct {
	ID   ID
	Code secret.Token
	Name string // what its owner calls it; may be empty
}

// Confirm ends an enrolment: the code shows that the app has the secret, and is used up by it. ok is
// false for a wrong code, and where there is no such enrolment. The app's clock may be ten
// minutes wrong: by how much is learned here. fault.Conflict "too_many_authenticators".
func (s *Service) Confirm(ctx context.Context, tx *sqldb.Tx, who account.ID, c Confirmation) (ok bool, err error) {
	r, found, err := begun(ctx, tx, who, c.ID)
	if err != nil || !found {
		return false, err
	}
	k, err := s.key(r)
	if err != nil {
		return false, err
	}
	at, right := k.search(k.around(tx.Now()), plain(c.Code))
	if !right {
		return false, nil
	}
	r.name, r.next, r.drift = s.seal(c.ID, "name", []byte(printable(c.Name))), at+1, k.driftAt(at, tx.Now())
	if ok, err = confirm(ctx, tx, r); err != nil || ok {
		return ok, err
	}
	n, err := countConfirmed(ctx, tx, who)
	if err == nil && n >= MaxPerAccount {
		err = tooMany()
	}
	return false, err
}

// Has reports whether the account has an authenticator that is asked for.
func (s *Service) Has(ctx context.Context, tx *sqldb.Tx, who account.ID) (bool, error) {
	n, err := countConfirmed(ctx, tx, who)
	return n > 0, err
}

// List returns the account's authenticators, the oldest first.
func (s *Service) List(ctx context.Context, tx *sqldb.Tx, who account.ID) ([]Authenticator, error) {
	rows, err := confirmedFrom(ctx, tx, who)
	if err != nil {
		return nil, err
	}
	all := make([]Authenticator, 0, len(rows))
	for _, r := range rows {
		if r.account != who {
			continue
		}
		a := Authenticator{ID: r.id, Shape: r.shape, AddedAt: time.UnixMilli(r.confirmedAt)}
		if r.lastUsedAt > 0 {
			a.LastUsedAt = time.UnixMilli(r.lastUsedAt)
		}
		// What cannot be opened is shown without a name: its owner must still be able to remove it.
		a.Name, a.Serial = s.open(r.id, "name", r.name), s.open(r.id, "serial", r.serial)
		all = append(all, a)
	}
	return all, nil
}

var errNameless = errors.New("nothing that prints is in the name")

// Rename gives an authenticator the name that its owner knows it by. ok is false if the account has no
// such authenticator. A name in which nothing prints is fault.Invalid "authenticator_name_empty".
func (s *Service) Rename(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID, name string) (ok bool, err error) {
	if name = printable(name); name == "" {
		return false, fault.New(fault.Invalid, "authenticator_name_empty", errNameless)
	}
	return rename(ctx, tx, who, id, s.seal(id, "name", []byte(name)))
}

// Remove takes an authenticator from the account: an app's secret is deleted, a hardware token is
// nobody's again. ok is false if the account has no such authenticator.
func (s *Service) Remove(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (ok bool, err error) {
	if ok, err = deleteApp(ctx, tx, who, id); err != nil || ok {
		return ok, err
	}
	return unassign(ctx, tx, who, id, s.seal(id, "name", nil))
}

// EndSince removes the apps that were added to the account since a time, and an enrolment under way:
// somebody else may have added them. Hardware tokens stay, since operators assign them.
func (s *Service) EndSince(ctx context.Context, tx *sqldb.Tx, who account.ID, since time.Time) (ended int64, err error) {
	return deleteAppsSince(ctx, tx, who, since)
}

// Erase deletes the account's apps for good. Hardware tokens are nobody's again, without a name.
func (s *Service) Erase(ctx context.Context, tx *sqldb.Tx, who account.ID) error {
	if _, err := deleteAppsSince(ctx, tx, who, time.UnixMilli(0)); err != nil {
		return err
	}
	tokens, err := tokensOf(ctx, tx, who)
	for _, id := range tokens {
		if err != nil {
			return err
		}
		_, err = unassign(ctx, tx, who, id, s.seal(id, "name", nil))
	}
	return err
}

// Prune deletes a bounded number of enrolments that nobody confirmed and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }

// Holdings is what the table has of the ring's keys. A serial number is found by Ring.Stable.
func (s *Service) Holdings() []keyring.Holding {
	var all []keyring.Holding
	for _, column := range []string{"secret", "name", "serial"} {
		all = append(all, s.Ring.Sealed(sealed(column)))
	}
	return all
}

func (s *Service) seal(id ID, column string, plain []byte) []byte {
	return s.Ring.Seal(plain, keyring.Place{Table: table, Row: string(id), Column: column})
}

// open returns "" for what cannot be opened.
func (s *Service) open(id ID, column string, sealed []byte) string {
	plain, err := s.Ring.Open(sealed, keyring.Place{Table: table, Row: string(id), Column: column})
	if err != nil {
		return ""
	}
	return string(plain)
}

func (s *Service) raw(r row) ([]byte, error) {
	raw, err := s.Ring.Open(r.secret, keyring.Place{Table: table, Row: string(r.id), Column: "secret"})
	if err != nil {
		return nil, fmt.Errorf("open the secret of authenticator %s: %w", r.id, err)
	}
	return raw, nil
}

func (s *Service) key(r row) (key, error) {
	raw, err := s.raw(r)
	if err != nil {
		return key{}, err
	}
	return newKey(raw, r), nil
}

// printable drops what does not print (controls, bidi overrides, zero width) and cuts to maxName.
func printable(name string) string {
	kept := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "")))
	return strings.TrimSpace(string(kept[:min(len(kept), maxName)]))
}
