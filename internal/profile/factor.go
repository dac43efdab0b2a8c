package profile

import (
	"cmp"
	"context"
	"slices"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/passkey"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/totp"
)

// Factors are what an owner has set up to be asked for beside the password.
type Factors struct {
	Passkeys []passkey.Passkey    // the oldest first
	Signal   passkey.Signal       // for authenticators, so that they offer no passkey that was removed
	Apps     []totp.Authenticator // apps and tokens, the oldest first
	Backup   int                  // backup codes that are left
	Second   signin.Second
	Nudge    factor.Nudge // whether the next sign-in will ask for something better
}

// None reports whether nothing is set up.
func (f Factors) None() bool { return len(f.Passkeys)+len(f.Apps)+f.Backup == 0 }

// stopped reports whether anything had too many wrong codes.
func (f Factors) stopped() bool {
	return slices.ContainsFunc(f.Second.Ways, func(w signin.SecondWay) bool { return w.Stopped })
}

// Factors returns the owner's.
func (s *Service) Factors(ctx context.Context, me session.Session) (f Factors, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		f, err = s.factors(ctx, tx, me.Account)
		return err
	})
	return f, err
}

func (s *Service) factors(ctx context.Context, tx *sqldb.Tx, id account.ID) (f Factors, err error) {
	if f.Passkeys, err = s.SignIn.Passkeys.List(ctx, tx, id); err != nil {
		return Factors{}, err
	}
	if f.Signal, err = s.SignIn.Passkeys.Signal(ctx, tx, id); err != nil {
		return Factors{}, err
	}
	if f.Apps, err = s.SignIn.Authenticators.List(ctx, tx, id); err != nil {
		return Factors{}, err
	}
	if f.Backup, _, err = s.SignIn.BackupCodes.Left(ctx, tx, id); err != nil {
		return Factors{}, err
	}
	if f.Second, err = s.SignIn.Second(ctx, tx, id); err != nil {
		return Factors{}, err
	}
	enrolled, err := s.SignIn.Enrolled(ctx, tx, id)
	if err != nil {
		return Factors{}, err
	}
	f.Nudge, err = s.SignIn.Choices.Nudge(ctx, tx, id, enrolled)
	return f, err
}

// BeginApp makes the secret of a new app. It counts for nothing until ConfirmApp has
// seen a code. Errors are those of may, and fault.Conflict "too_many_authenticators".
func (s *Service) BeginApp(ctx context.Context, me session.Session) (e totp.Enrolment, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.may(ctx, tx, me); err != nil {
			return err
		}
		l, err := s.label(ctx, tx, me.Account)
		if err != nil {
			return err
		}
		e, err = s.SignIn.Authenticators.Begin(ctx, tx, me.Account, l)
		return err
	})
	return e, err
}

// BegunApp is what BeginApp made, for the page on which its code is typed again. ok is false if it is over. Errors are those of may.
func (s *Service) BegunApp(ctx context.Context, me session.Session, id totp.ID) (e totp.Enrolment, ok bool, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error { // it changes nothing, so it takes no try
		if err := fresh(tx, me); err != nil {
			return err
		}
		if err := s.unfrozen(ctx, tx, me); err != nil {
			return err
		}
		l, err := s.label(ctx, tx, me.Account)
		if err != nil {
			return err
		}
		e, ok, err = s.SignIn.Authenticators.Begun(ctx, tx, me.Account, id, l)
		return err
	})
	return e, ok, err
}

// label is what an app shows beside its codes: whoever has two accounts here tells them apart by the name they sign in with.
func (s *Service) label(ctx context.Context, tx *sqldb.Tx, id account.ID) (totp.Label, error) {
	addresses, err := s.Accounts.Addresses(ctx, tx, id)
	return totp.Label{Issuer: s.SignIn.Site, Account: cmp.Or(knownBy(addresses), s.SignIn.Site)}, err
}

// ConfirmApp enrols an app. ok is false if the code does not fit, or the enrolment is over.
func (s *Service) ConfirmApp(ctx context.Context, me session.Session, c signin.Client, n totp.Confirmation) (ok bool, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.may(ctx, tx, me); err != nil {
			return err
		}
		if ok, err = s.SignIn.Authenticators.Confirm(ctx, tx, me.Account, n); err != nil || !ok {
			return err
		}
		if err := s.SignIn.Rebound(ctx, tx, me.Account, me.ID, factor.OTP); err != nil {
			return err
		}
		return s.tell(ctx, tx, by{me, c}, told{audit.FactorChanged, "added", message.FactorAdded})
	})
	return ok && err == nil, err
}

// RenameApp gives an app or a token another name. fault.NotFound "not_found", fault.Invalid "authenticator_name_empty".
func (s *Service) RenameApp(ctx context.Context, me session.Session, c signin.Client, id totp.ID, name string) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.alone(ctx, tx, me); err != nil {
			return err
		}
		if ok, err := s.SignIn.Authenticators.Rename(ctx, tx, me.Account, id, name); err != nil || !ok {
			return cmp.Or(err, none())
		}
		return s.Audit.Append(ctx, tx, event(me, c, audit.FactorChanged, "renamed"))
	})
}

// RemoveApp takes an app or a token off the account: it is not asked for any more. fault.NotFound "not_found".
func (s *Service) RemoveApp(ctx context.Context, me session.Session, c signin.Client, id totp.ID) error {
	return s.changeRecovery(ctx, by{me, c}, told{audit.FactorChanged, "removed", message.FactorRemoved}, func(tx *sqldb.Tx) error {
		if ok, err := s.SignIn.Authenticators.Remove(ctx, tx, me.Account, id); err != nil || !ok {
			return cmp.Or(err, none())
		}
		return nil
	})
}

// NewBackupCodes makes a list of backup codes, in place of the one there is. They are shown this once.
func (s *Service) NewBackupCodes(ctx context.Context, me session.Session, c signin.Client) (codes []secret.Token, err error) {
	err = s.changeRecovery(ctx, by{me, c}, told{audit.BackupChanged, "made", message.BackupChanged}, func(tx *sqldb.Tx) error {
		if codes, err = s.SignIn.BackupCodes.Reissue(ctx, tx, me.Account); err != nil {
			return err
		}
		return s.SignIn.Rebound(ctx, tx, me.Account, me.ID, factor.Backup)
	})
	return codes, err
}
