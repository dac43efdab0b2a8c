package seconddoor

import (
	"cmp"
	"context"
	"errors"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
	"countersign/internal/totp"
)

// Factors are what an account has set up to be asked for at the second door.
type Factors struct {
	Apps   []totp.Authenticator // the oldest first
	Backup int                  // backup codes that are left
}

// Factors returns an account's.
func (s *Service) Factors(ctx context.Context, n Named) (f Factors, err error) {
	who, err := s.find(ctx, n)
	if err != nil {
		return Factors{}, err
	}
	err = s.Parts.DB.Read(ctx, func(tx *sqldb.Tx) error {
		if f.Apps, err = s.Parts.Authenticators.List(ctx, tx, who.ID); err != nil {
			return err
		}
		f.Backup, _, err = s.Parts.BackupCodes.Left(ctx, tx, who.ID)
		return err
	})
	return f, err
}

// change changes what protects an account, alone with it: after the second door, as where codes go (see Put). proof is a flow of the account's that has
// ended well within its time: else it is fault.Forbidden "second_door_required". fault.Conflict "account_frozen".
func (s *Service) change(ctx context.Context, n Named, proof secret.Token, do func(*sqldb.Tx, account.ID) error) error {
	who, err := s.find(ctx, n)
	if err != nil {
		return err
	}
	return s.Parts.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.Parts.Accounts.Alone(ctx, tx, who.ID); err != nil {
			return err
		}
		passed, err := s.SignIn.Passed(ctx, tx, signin.Ref{Flow: proof}, n.App, who.ID)
		if err == nil && !passed {
			err = fault.New(fault.Forbidden, "second_door_required", errors.New("what protects the account changes after the second door alone"))
		}
		if err == nil {
			err = s.unfrozen(ctx, tx, who.ID)
		}
		if err != nil {
			return err
		}
		return do(tx, who.ID)
	})
}

// BeginApp makes the key of a new authenticator app, for the application to show to the person. It counts for nothing until ConfirmApp has seen a code.
// The app calls it by the application's name, and by label: no address of the account is in it. fault.Conflict "too_many_authenticators".
func (s *Service) BeginApp(ctx context.Context, n Named, proof secret.Token, label string) (e totp.Enrolment, err error) {
	err = s.change(ctx, n, proof, func(tx *sqldb.Tx, who account.ID) error {
		params, err := s.Parts.Notices.From(ctx, tx, who)
		if err != nil {
			return err
		}
		name := cmp.Or(params["app"], n.App)
		e, err = s.Parts.Authenticators.Begin(ctx, tx, who, totp.Label{Issuer: name, Account: cmp.Or(label, name)})
		return err
	})
	return e, err
}

// ConfirmApp enrols an app: from then on it is asked for, and no code by e-mail is sent. ok is false if the code does not fit, or the enrolment is
// over.
func (s *Service) ConfirmApp(ctx context.Context, n Named, proof secret.Token, c totp.Confirmation) (ok bool, err error) {
	err = s.change(ctx, n, proof, func(tx *sqldb.Tx, who account.ID) error {
		if ok, err = s.Parts.Authenticators.Confirm(ctx, tx, who, c); err != nil || !ok {
			return err
		}
		if err := s.SignIn.Rebound(ctx, tx, who, "", factor.OTP); err != nil {
			return err
		}
		return s.tell(ctx, tx, who, changed{audit.FactorChanged, "added", message.FactorAdded, n.App})
	})
	return ok && err == nil, err
}

// RemoveApp takes an app off the account. ok is false if there is no such one.
func (s *Service) RemoveApp(ctx context.Context, n Named, proof secret.Token, id totp.ID) (ok bool, err error) {
	err = s.change(ctx, n, proof, func(tx *sqldb.Tx, who account.ID) error {
		if ok, err = s.Parts.Authenticators.Remove(ctx, tx, who, id); err != nil || !ok {
			return err
		}
		return s.tell(ctx, tx, who, changed{audit.FactorChanged, "removed", message.FactorRemoved, n.App})
	})
	return ok && err == nil, err
}

// NewBackupCodes makes a list of backup codes, in place of the one there is. They are shown this once.
func (s *Service) NewBackupCodes(ctx context.Context, n Named, proof secret.Token) (codes []secret.Token, err error) {
	err = s.change(ctx, n, proof, func(tx *sqldb.Tx, who account.ID) error {
		if codes, err = s.Parts.BackupCodes.Reissue(ctx, tx, who); err != nil {
			return err
		}
		if err := s.SignIn.Rebound(ctx, tx, who, "", factor.Backup); err != nil {
			return err
		}
		return s.tell(ctx, tx, who, changed{audit.BackupChanged, "made", message.BackupChanged, n.App})
	})
	return codes, err
}

// changed is what is recorded and written to the holder of a change.
type changed struct {
	event  audit.Kind
	which  string
	letter message.Kind
	app    string
}

func (s *Service) tell(ctx context.Context, tx *sqldb.Tx, who account.ID, c changed) error {
	if err := s.record(ctx, tx, c.event, who, map[string]string{"app": c.app, "which": c.which}); err != nil {
		return err
	}
	return s.Parts.Notices.Tell(ctx, tx, notice.Event{Kind: c.letter, Account: who, App: true})
}
