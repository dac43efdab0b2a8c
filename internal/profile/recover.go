package profile

import (
	"cmp"
	"context"
	"errors"

	"countersign/internal/audit"
	"countersign/internal/message"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/recovery"
	"countersign/internal/session"
	"countersign/internal/signin"
)

// NewSavedCode makes the account's saved recovery code, in place of the one there is. It is shown this once.
func (s *Service) NewSavedCode(ctx context.Context, me session.Session, c signin.Client) (code secret.Token, err error) {
	err = s.changeRecovery(ctx, by{me, c}, told{audit.SavedCodeChanged, "made", message.SavedCodeChanged}, func(tx *sqldb.Tx) error {
		code, err = s.Recovery.NewSavedCode(ctx, tx, me.Account)
		return err
	})
	return code, err
}

// DropSavedCode removes the account's saved recovery code. fault.NotFound "not_found" if there is none.
func (s *Service) DropSavedCode(ctx context.Context, me session.Session, c signin.Client) error {
	return s.changeRecovery(ctx, by{me, c}, told{audit.SavedCodeChanged, "removed", message.SavedCodeChanged}, func(tx *sqldb.Tx) error {
		if there, err := s.Recovery.HasSavedCode(ctx, tx, me.Account); err != nil || !there {
			return cmp.Or(err, none())
		}
		return s.Recovery.DropSavedCode(ctx, tx, me.Account)
	})
}

// NewContact is somebody whom the owner trusts to help, as typed.
type NewContact struct {
	Label   string // what the owner calls them
	Holder  string // what they call the owner
	Address string // e-mail address or phone number
}

// AddContact names a recovery contact, who is told. Refusals are those of recovery.AddContact, and
// fault.Invalid "identifier_malformed".
func (s *Service) AddContact(ctx context.Context, me session.Session, c signin.Client, n NewContact) error {
	ident, err := s.SignIn.Parser.Parse(n.Address)
	if err != nil {
		return err
	}
	return s.changeRecovery(ctx, by{me, c}, told{audit.ContactsChanged, "added", message.ContactsChanged}, func(tx *sqldb.Tx) error {
		return s.Recovery.AddContact(ctx, tx, me.Account, recovery.Contact{Label: n.Label, Holder: n.Holder, Identifier: ident})
	})
}

// RemoveContact takes a recovery contact from the account. fault.NotFound "not_found".
func (s *Service) RemoveContact(ctx context.Context, me session.Session, c signin.Client, id string) error {
	return s.changeRecovery(ctx, by{me, c}, told{audit.ContactsChanged, "removed", message.ContactsChanged}, func(tx *sqldb.Tx) error {
		if ok, err := s.Recovery.RemoveContact(ctx, tx, me.Account, id); err != nil || !ok {
			return cmp.Or(err, none())
		}
		return nil
	})
}

func (s *Service) changeRecovery(ctx context.Context, b by, t told, do func(*sqldb.Tx) error) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.may(ctx, tx, b.me); err != nil {
			return err
		}
		if err := do(tx); err != nil {
			return err
		}
		return s.tell(ctx, tx, b, t)
	})
}

func none() error {
	return fault.New(fault.NotFound, "not_found", errors.New("the account has no such thing"))
}
