// Package passkey enrols passkeys and signs in with them (WebAuthn Level 3). It owns the tables passkey and
// passkey_spent.
//
// A passkey is a key pair in a person's authenticator: a telephone, a password manager, a security key. It signs
// a challenge for our host alone, so nothing of it can be phished. One that verified its user (a fingerprint, a
// PIN) is two factors at once; one that did not is one, and Verdict says which.
//
// Every ceremony is begun here and finished here, in two requests. In between the caller keeps State, which
// is sealed, and gives it back with the same Bound. An answer is worth something once.
//
// Which model an authenticator is of is kept as it says, and believed only where attestation was asked for and
// the metadata of the FIDO Alliance bear it out (package attestation).
package passkey

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/attestation"
	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/label"
	"countersign/internal/platform/sqldb"
)

// ID names a passkey of ours. It is not the credential's id, and not a secret.
type ID string

// MaxPerAccount is how many passkeys an account may have. People have fewer, and browsers and security keys take
// lists of them badly: an authenticator is asked for eight or so at a time.
const MaxPerAccount = 20

// Service enrols and verifies passkeys. All fields are required but Found and Models.
type Service struct {
	Ring    *keyring.Ring
	Site    string   // our name, as authenticators show it
	RPID    string   // the host that passkeys are for: that of the site's public address
	Origins []string // scheme and host of every page that may ask for them: our own, then related ones and apps' (apk-key-hash)
	// Found refuses authenticators that cannot keep a passkey which is found without its list: where nobody is
	// shown a list, no other could be used.
	Found bool
	// Models are those that are taken; nil takes all.
	Models *attestation.Service
}

// Refusal is why an answer was not taken; empty if it was. It is for the record and for what the page does next.
type Refusal string

// The refusals. Which of them a stranger gets never depends on whether there is such an account.
const (
	Malformed  Refusal = "malformed"  // no answer to any challenge of ours
	Stale      Refusal = "stale"      // too late, or to a challenge for something or somebody else
	Replayed   Refusal = "replayed"   // given before
	Unknown    Refusal = "unknown"    // no passkey that we know: the page may tell the authenticator so (signalUnknownCredential)
	Wrong      Refusal = "wrong"      // not signed by the passkey, or not for us
	Unverified Refusal = "unverified" // its user was not verified, and had to be
	Taken      Refusal = "taken"      // this passkey has been enrolled before, by whomever
	Full       Refusal = "full"       // the account has as many as it may
	Untaken    Refusal = "model"      // its model is not taken, or not any more
)

// Begun is a ceremony under way.
type Begun struct {
	// Options are for PublicKeyCredential.parseCreationOptionsFromJSON or parseRequestOptionsFromJSON.
	Options json.RawMessage
	// State is to be given back with the answer. It is sealed, so it may even travel with the page.
	State []byte
	// Listed is how many passkeys the options name.
	Listed int
}

// Answer is what comes back of a ceremony.
type Answer struct {
	// Bound is what the ceremony was begun with.
	Bound string
	// Account is whose passkey it must be; empty for anybody's.
	Account account.ID
	State   []byte
	// Response is the credential's toJSON, as the browser sent it.
	Response []byte
}

// Passkey is one as its holder sees it.
type Passkey struct {
	ID           ID
	Name         string
	DeviceBound  bool   // stays in the authenticator that made it; the others are copied to their owner's other devices
	BackedUp     bool   // was there a copy when it was last used?
	UserVerified bool   // when it was enrolled: only then can it ever be two factors at once
	Make         string // AAGUID of the authenticator as it says, or ""
	Model        string // what the maker calls that, where it is known: a hint
	Attested     bool   // its maker vouched for that when it was enrolled
	Denied       attestation.Denial
	CreatedAt    time.Time
	LastUsedAt   time.Time // zero: never
	EndedAt      time.Time // All alone fills it in; zero for one that did not end
}

// List returns the account's passkeys, the oldest first.
func (s *Service) List(ctx context.Context, tx *sqldb.Tx, who account.ID) ([]Passkey, error) {
	rows, err := list(ctx, tx, who)
	return s.shown(rows), err
}

// Has reports whether the account has any.
func (s *Service) Has(ctx context.Context, tx *sqldb.Tx, who account.ID) (bool, error) {
	return has(ctx, tx, who)
}

// All returns those too that ended within a month.
func (s *Service) All(ctx context.Context, tx *sqldb.Tx, who account.ID) ([]Passkey, error) {
	rows, err := listAll(ctx, tx, who)
	return s.shown(rows), err
}

func (s *Service) shown(rows []row) []Passkey {
	all := make([]Passkey, 0, len(rows))
	for _, r := range rows {
		all = append(all, s.show(r))
	}
	return all
}

// show leaves empty what does not open: a list of passkeys must not fail for it, since they are removed from it.
func (s *Service) show(r row) Passkey {
	p := r.Passkey
	name, err := s.Ring.Open(r.name, place(p.ID, nameColumn))
	if err == nil {
		p.Name = string(name)
	}
	c, err := s.open(r)
	if err != nil {
		return p
	}
	if c.AAGUID != uuid.Nil {
		p.Make = c.AAGUID.String()
	}
	of := s.Models.Of(c.model())
	p.Model, p.Denied, p.Attested = of.Name, of.Denied, c.Attested != ""
	return p
}

var errNameless = errors.New("nothing that prints is in the name")

// Rename gives a passkey of the account the name that its holder knows it by. ok is false if the account has no
// such passkey. A name in which nothing prints is fault.Invalid "passkey_name_empty".
func (s *Service) Rename(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID, name string) (ok bool, err error) {
	if name = label.Clean(name); name == "" {
		return false, fault.New(fault.Invalid, "passkey_name_empty", errNameless)
	}
	return rename(ctx, tx, who, id, s.Ring.Seal([]byte(name), place(id, nameColumn)))
}

// Remove ends a passkey of the account. ok is false if it has no such passkey. The caller records it, tells the
// holder, and sees to it that the account keeps a way in.
func (s *Service) Remove(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (ok bool, err error) {
	return end(ctx, tx, who, id, "removed")
}

// EndSince ends the passkeys that were enrolled for the account at a time or after it, and returns how many:
// what somebody else may have added.
func (s *Service) EndSince(ctx context.Context, tx *sqldb.Tx, who account.ID, since time.Time) (int64, error) {
	return endSince(ctx, tx, who, since, "not its owner's")
}

// EndAll ends every passkey of an account.
func (s *Service) EndAll(ctx context.Context, tx *sqldb.Tx, who account.ID, why string) error {
	_, err := endSince(ctx, tx, who, time.UnixMilli(0), why)
	return err
}

// Erase deletes every passkey of an account for good.
func (s *Service) Erase(ctx context.Context, tx *sqldb.Tx, who account.ID) error {
	return erase(ctx, tx, who)
}

// Prune deletes a bounded number of passkeys that ended over a month ago, and of answers nobody can give any
// more, and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }

// Holdings is what the tables have of the ring's keys.
func (s *Service) Holdings() []keyring.Holding {
	return []keyring.Holding{s.Ring.Sealed(column(credentialColumn)), s.Ring.Sealed(column(nameColumn))}
}

// Signal tells an authenticator which of an account's passkeys we take, so that it hides the others. It is the
// argument of PublicKeyCredential.signalAllAcceptedCredentials, and for the signed-in holder alone.
type Signal struct {
	RPID     string   `json:"rpId" doc:"The host that passkeys are for."`
	UserID   string   `json:"userId" doc:"What authenticators know the account by; empty if they are to be told nothing now."`
	Accepted []string `json:"allAcceptedCredentialIds" doc:"In base64url."`
}

// Signal returns the signal of an account.
func (s *Service) Signal(ctx context.Context, tx *sqldb.Tx, who account.ID) (Signal, error) {
	out := Signal{RPID: s.RPID, UserID: base64.RawURLEncoding.EncodeToString(s.handle(who)), Accepted: []string{}}
	all, err := list(ctx, tx, who)
	taken := s.descriptors(all)
	if len(taken) < len(all) { // authenticators would delete one that does not open, and what it lacks may come back
		return Signal{RPID: s.RPID, Accepted: []string{}}, err
	}
	for _, d := range taken {
		out.Accepted = append(out.Accepted, d.CredentialID.String())
	}
	return out, err
}

// handle is what authenticators know an account by. It is keyed, so that it tells nothing, and stays what it is
// when keys change, because they keep it for ever.
func (s *Service) handle(who account.ID) []byte { return s.Ring.Stable("passkey/user", string(who)) }

// lookup is where a credential is found, whatever the keys: its id is 16 random bytes at least, which nobody guesses.
func (s *Service) lookup(credentialID []byte) []byte {
	return s.Ring.Stable("passkey/credential", string(credentialID))
}

// credential is what is sealed.
type credential struct {
	ID         []byte                            `json:"id"`
	PublicKey  []byte                            `json:"key"` // COSE_Key
	Transports []protocol.AuthenticatorTransport `json:"via,omitempty"`
	AAGUID     uuid.UUID                         `json:"make"`
	// Attested is the model that its maker vouched for; empty if nobody asked. It is sealed with the rest, so that no
	// one who can only write to the database makes hardware of a passkey.
	Attested attestation.Model `json:"attested,omitempty"`
}

// model is what was attested, or else what the authenticator says: against itself it is believed.
func (c credential) model() attestation.Model {
	if c.Attested == "" {
		return attestation.Model(c.AAGUID.String())
	}
	return c.Attested
}

func (s *Service) seal(id ID, c credential) ([]byte, error) {
	plain, err := json.Marshal(c)
	return s.Ring.Seal(plain, place(id, credentialColumn)), err
}

func (s *Service) open(r row) (c credential, err error) {
	plain, err := s.Ring.Open(r.credential, place(r.ID, credentialColumn))
	if err == nil {
		err = json.Unmarshal(plain, &c)
	}
	if err != nil {
		return credential{}, fmt.Errorf("open passkey %s: %w", r.ID, err)
	}
	return c, nil
}

const (
	credentialColumn = "credential"
	nameColumn       = "name"
)

func column(name string) keyring.Column {
	return keyring.Column{Table: "passkey", Keys: []string{"id"}, Name: name}
}

func place(id ID, column string) keyring.Place {
	return keyring.Place{Table: "passkey", Row: string(id), Column: column}
}
