package passkey

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
)

const (
	// challengeFor is how long an answer is taken: as long as the specification thinks that people may need (section 15.1).
	challengeFor = 10 * time.Minute

	// maxResponse bounds an answer, in bytes. The largest have a credential id of 1023 bytes, an RSA key of 4096 bits and
	// some certificates that nobody asked for, all in base64; most have 1 KiB.
	maxResponse = 16 << 10
)

// ceremony is what is known of a challenge when its answer comes.
type ceremony struct {
	Enrols    bool       `json:"enrols"`
	Challenge []byte     `json:"challenge"`
	Account   account.ID `json:"account"` // empty: whoever answers
	Required  bool       `json:"required"`
	Expires   int64      `json:"expires"` // milliseconds
}

func newCeremony(tx *sqldb.Tx, c ceremony) ceremony {
	c.Challenge = make([]byte, 32) // the specification asks for 16 (section 13.4.3)
	_, _ = rand.Read(c.Challenge)  // never fails
	c.Expires = tx.Now().Add(challengeFor).UnixMilli()
	return c
}

var errUnbound = errors.New("a ceremony must be bound to something")

// begun seals a ceremony. What it is bound to is a part of its place: with anything else it does not open.
func (s *Service) begun(bound string, c ceremony, options any) (Begun, error) {
	if bound == "" {
		return Begun{}, errUnbound
	}
	plain, err := json.Marshal(c)
	if err != nil {
		return Begun{}, err
	}
	out, err := json.Marshal(options)
	return Begun{Options: out, State: s.Ring.Seal(plain, statePlace(bound))}, err
}

func statePlace(bound string) keyring.Place {
	return keyring.Place{Table: "passkey_spent", Row: bound, Column: "state"}
}

// resume returns the ceremony that an answer is for. ok is false if it is for none that is still open.
func (s *Service) resume(tx *sqldb.Tx, a Answer, enrols bool) (c ceremony, ok bool) {
	plain, err := s.Ring.Open(a.State, statePlace(a.Bound))
	if err != nil || json.Unmarshal(plain, &c) != nil {
		return ceremony{}, false
	}
	theirs := a.Account == "" || c.Account == "" || a.Account == c.Account
	return c, c.Enrols == enrols && theirs && tx.Now().UnixMilli() < c.Expires
}

// spend uses the ceremony's challenge up.
func (c ceremony) spend(ctx context.Context, tx *sqldb.Tx) (first bool, err error) {
	return spend(ctx, tx, c.Challenge, time.UnixMilli(c.Expires))
}

func (c ceremony) challenge() string { return base64.RawURLEncoding.EncodeToString(c.Challenge) }

func (c ceremony) verification() protocol.UserVerificationRequirement {
	if c.Required {
		return protocol.VerificationRequired
	}
	return protocol.VerificationPreferred
}

// timeout is what browsers are told, in milliseconds.
func timeout() int { return int(challengeFor.Milliseconds()) }

// ours reports whether the answer was made on a page of ours. The library compares only scheme and host, and would
// take a page in somebody else's frame if the origin were right.
func (s *Service) ours(c protocol.CollectedClientData) bool {
	return slices.Contains(s.Origins, c.Origin) && !c.CrossOrigin && c.TopOrigin == ""
}

// descriptors are passkeys as authenticators know them, in the order of their ids: that in which they were enrolled
// is nobody's business. One that does not open is left out, as it is good for nothing, so that the others stay so.
func (s *Service) descriptors(rows []row) []protocol.CredentialDescriptor {
	all := make([]protocol.CredentialDescriptor, 0, len(rows))
	for _, r := range rows {
		if c, err := s.open(r); err == nil {
			all = append(all, descriptor(c.ID, c.Transports))
		}
	}
	return inOrder(all)
}

func descriptor(id []byte, transports []protocol.AuthenticatorTransport) protocol.CredentialDescriptor {
	return protocol.CredentialDescriptor{Type: protocol.PublicKeyCredentialType, CredentialID: id, Transport: transports}
}

func inOrder(all []protocol.CredentialDescriptor) []protocol.CredentialDescriptor {
	slices.SortFunc(all, func(a, b protocol.CredentialDescriptor) int { return slices.Compare(a.CredentialID, b.CredentialID) })
	return all
}
