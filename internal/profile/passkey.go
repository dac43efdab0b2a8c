package profile

import (
	"cmp"
	"context"
	"errors"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/message"
	"countersign/internal/passkey"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
)

// NewPasskey is the answer to BeginPasskey. Without a name the passkey has that of the browser.
type NewPasskey struct {
	State, Response []byte
	Name            string
}

// BeginPasskey begins the enrolment of a passkey. The authenticator knows the account by one of its addresses, which
// is in the options. Errors are those of may, and fault.Conflict "too_many_passkeys".
func (s *Service) BeginPasskey(ctx context.Context, me session.Session) (b passkey.Begun, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error { // it changes nothing, so it takes no try
		if err := fresh(tx, me); err != nil {
			return err
		}
		if err := s.unfrozen(ctx, tx, me); err != nil {
			return err
		}
		b, err = s.beginPasskey(ctx, tx, me)
		return err
	})
	return b, err
}

func (s *Service) beginPasskey(ctx context.Context, tx *sqldb.Tx, me session.Session) (passkey.Begun, error) {
	addresses, err := s.Accounts.Addresses(ctx, tx, me.Account)
	if err != nil {
		return passkey.Begun{}, err
	}
	name := knownBy(addresses)
	b, refused, err := s.SignIn.Passkeys.BeginEnrol(ctx, tx, passkey.Enrol{Bound: s.enrolling(me), Account: me.Account, Name: name, Shown: name})
	if refused != "" {
		err = fault.New(fault.Conflict, "too_many_passkeys", errors.New("the account has as many passkeys as it may"))
	}
	return b, err
}

// knownBy is what somebody who signs in calls themselves: a user name before an address.
func knownBy(addresses []account.Address) (name string) {
	for _, a := range addresses {
		if a.SignsIn && (name == "" || a.Kind == account.Username) {
			name = a.Normal
		}
	}
	return name
}

// enrolling is what the enrolment is begun and finished with: another session's answer is none to it.
func (s *Service) enrolling(me session.Session) string { return "profile/" + string(me.ID) }

// AddPasskey enrols the passkey that an answer brings. refused says why it was not; it is empty if it was.
func (s *Service) AddPasskey(ctx context.Context, me session.Session, c signin.Client, n NewPasskey) (refused passkey.Refusal, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.may(ctx, tx, me); err != nil {
			return err
		}
		a := passkey.Answer{Bound: s.enrolling(me), Account: me.Account, State: n.State, Response: n.Response}
		_, refused, err = s.SignIn.Passkeys.FinishEnrol(ctx, tx, a, cmp.Or(n.Name, device.NameOf(c.UserAgent)))
		if err != nil || refused != "" {
			return err
		}
		if err := s.SignIn.Rebound(ctx, tx, me.Account, me.ID); err != nil {
			return err
		}
		return s.tell(ctx, tx, by{me, c}, told{audit.FactorChanged, "added", message.FactorAdded})
	})
	return refused, err
}

// RenamePasskey gives a passkey another name. fault.NotFound "not_found", fault.Invalid "passkey_name_empty".
func (s *Service) RenamePasskey(ctx context.Context, me session.Session, c signin.Client, id passkey.ID, name string) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.alone(ctx, tx, me); err != nil {
			return err
		}
		if ok, err := s.SignIn.Passkeys.Rename(ctx, tx, me.Account, id, name); err != nil || !ok {
			return cmp.Or(err, none())
		}
		return s.Audit.Append(ctx, tx, event(me, c, audit.FactorChanged, "renamed"))
	})
}

// RemovePasskey ends a passkey: it opens nothing any more. fault.NotFound "not_found", and
// fault.Conflict "last_passkey" where sign-ins take nothing else.
func (s *Service) RemovePasskey(ctx context.Context, me session.Session, c signin.Client, id passkey.ID) error {
	return s.changeRecovery(ctx, by{me, c}, told{audit.FactorChanged, "removed", message.FactorRemoved}, func(tx *sqldb.Tx) error {
		if err := s.keepsPasskey(ctx, tx, me.Account); err != nil {
			return err
		}
		if ok, err := s.SignIn.Passkeys.Remove(ctx, tx, me.Account, id); err != nil || !ok {
			return cmp.Or(err, none())
		}
		return nil
	})
}
