package registration

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// InvitationPrefix begins the secret of every invitation.
const InvitationPrefix = "csi"

// Invitation lets somebody open an account. It is not the secret itself, which is shown once.
type Invitation struct {
	ID                   string
	Bound                bool // good for one address alone
	Uses, Left           int
	CreatedAt, ExpiresAt time.Time
	RevokedAt            time.Time // zero: it was not
}

// NewInvitation describes an invitation to make.
type NewInvitation struct {
	Address string // the one it is good for; empty: any
	For     time.Duration
	Uses    int
}

// The bounds of an invitation.
const (
	maxInvitationUses = 10_000
	maxInvitationFor  = 366 * 24 * time.Hour
)

// Invite makes an invitation for an operator. Only a digest of its secret is kept, and of its address
// only what recognises it.
func (s *Service) Invite(ctx context.Context, n NewInvitation) (secret.Token, Invitation, error) {
	invalid := func(why string) error { return fault.New(fault.Invalid, "invitation_invalid", errors.New(why)) }
	var bound []byte
	if n.Address != "" {
		ident, err := s.address(n.Address)
		if err != nil {
			return secret.Token{}, Invitation{}, err
		}
		if n.Uses != 1 {
			return secret.Token{}, Invitation{}, invalid("one address opens one account: it is good for one use")
		}
		bound, _ = s.boundTo(ident)
	}
	if n.Uses < 1 || n.Uses > maxInvitationUses || n.For <= 0 || n.For > maxInvitationFor {
		return secret.Token{}, Invitation{}, invalid("want 1 to 10000 uses, and at most a year")
	}
	token := secret.NewToken(InvitationPrefix)
	i := Invitation{ID: uuid.Must(uuid.NewV7()).String(), Bound: bound != nil, Uses: n.Uses, Left: n.Uses}
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		i.CreatedAt, i.ExpiresAt = tx.Now(), tx.Now().Add(n.For)
		if err := putInvitation(ctx, tx, i, s.digest(token), bound); err != nil {
			return err
		}
		return s.byOperator(ctx, tx, audit.InvitationMade, i.ID)
	})
	return token, i, err
}

func (s *Service) byOperator(ctx context.Context, tx *sqldb.Tx, kind audit.Kind, id string) error {
	return s.Audit.Append(ctx, tx, audit.Event{Kind: kind, Actor: "operator", Detail: map[string]string{"invitation": id}})
}

// Invitations lists up to n invitations that are kept, the newest first.
func (s *Service) Invitations(ctx context.Context, n int) (all []Invitation, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		all, err = invitations(ctx, tx, n)
		return err
	})
	return all, err
}

// Revoke ends an invitation. ok is false if there is none by that id that was still good.
func (s *Service) Revoke(ctx context.Context, id string) (ok bool, err error) {
	if uuid.Validate(id) != nil {
		return false, nil
	}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if ok, err = revoke(ctx, tx, id); err != nil || !ok {
			return err
		}
		return s.byOperator(ctx, tx, audit.InvitationRevoked, id)
	})
	return ok, err
}

// invited looks whether an invitation is good for the address. Wrong, used, revoked and expired ones, and
// those for another address, are all the same to the caller.
func (s *Service) invited(ctx context.Context, tx *sqldb.Tx, token secret.Token, ident account.Identifier) (id string, ok bool, err error) {
	if !token.WellFormed(InvitationPrefix) {
		return "", false, nil
	}
	_, bound := s.boundTo(ident)
	return goodInvitation(ctx, tx, s.digests(token), bound)
}

// boundTo returns what is written of the address that an invitation is for, and what is looked for.
func (s *Service) boundTo(ident account.Identifier) (current []byte, all [][]byte) {
	return s.Ring.Indexes("registration/invitation", string(ident.Kind())+"\x00"+ident.Normal())
}

func uninvited() error {
	return fault.New(fault.Forbidden, "invitation_refused", errors.New("no such invitation, or it is used, over, or for another address"))
}
