package profile

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/passkey"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/totp"
)

// BackupList stands where an id does, for the list of backup codes: an account has one.
const BackupList = "backup-codes"

// Equipment tells an operator what an account has set up, and records that one looked.
func (s *Service) Equipment(ctx context.Context, id account.ID) (has Factors, err error) {
	err = s.operate(ctx, id, func(tx *sqldb.Tx) error {
		if has, err = s.factors(ctx, tx, id); err != nil {
			return err
		}
		return s.operated(ctx, tx, id, audit.AccountRead, map[string]string{"revealed": "false"})
	})
	return has, err
}

// TakeFactor removes one thing that an account has set up, for an operator, and tells its holder. fault.NotFound "not_found".
func (s *Service) TakeFactor(ctx context.Context, id account.ID, which string) error {
	return s.operate(ctx, id, func(tx *sqldb.Tx) error {
		if which == BackupList {
			ended, err := s.SignIn.BackupCodes.EndSince(ctx, tx, id, time.UnixMilli(0))
			if err != nil || !ended {
				return cmp.Or(err, none())
			}
			if err := s.operated(ctx, tx, id, audit.BackupChanged, map[string]string{"which": "removed"}); err != nil {
				return err
			}
			return s.tellOf(ctx, tx, id, message.BackupChanged)
		}
		if uuid.Validate(which) != nil { // whatever was typed; PostgreSQL takes not every text
			return none()
		}
		ok, err := s.SignIn.Authenticators.Remove(ctx, tx, id, totp.ID(which))
		if err == nil && !ok {
			ok, err = s.SignIn.Passkeys.Remove(ctx, tx, id, passkey.ID(which))
		}
		if err != nil || !ok {
			return cmp.Or(err, none())
		}
		if err := s.operated(ctx, tx, id, audit.FactorChanged, map[string]string{"which": "removed", "authenticator": which}); err != nil {
			return err
		}
		return s.tellOf(ctx, tx, id, message.FactorRemoved)
	})
}

// ResetFactors removes everything that an account has set up, for a holder who has lost it all, and tells them. Hardware
// tokens are nobody's again. Sessions end and no device is remembered any more: what was lost may have been one, and whoever
// found it must not be the one that stays in. was is what there was; if there was nothing, nothing is done.
func (s *Service) ResetFactors(ctx context.Context, id account.ID) (was Factors, err error) {
	err = s.operate(ctx, id, func(tx *sqldb.Tx) error {
		if was, err = s.factors(ctx, tx, id); err != nil || was.None() && !was.stopped() {
			return err
		}
		if err := s.SignIn.EndAll(ctx, tx, id, "reset by an operator"); err != nil {
			return err
		}
		if err := s.SignIn.Rebound(ctx, tx, id, "", factor.OTP, factor.Backup, factor.SMS, factor.Email); err != nil {
			return err
		}
		if err := s.Devices.ForgetAll(ctx, tx, id); err != nil {
			return err
		}
		if err := s.Sessions.EndAll(ctx, tx, id, "factors reset"); err != nil {
			return err
		}
		if err := s.operated(ctx, tx, id, audit.FactorChanged, map[string]string{"which": "reset"}); err != nil {
			return err
		}
		return s.tellOf(ctx, tx, id, message.FactorsReset)
	})
	return was, err
}

// GiveToken gives a hardware token to an account and tells its holder. Refusals are those of totp.Service.Assign.
func (s *Service) GiveToken(ctx context.Context, serial string, id account.ID) error {
	return s.operate(ctx, id, func(tx *sqldb.Tx) error {
		if err := s.SignIn.Authenticators.Assign(ctx, tx, serial, id); err != nil {
			return err
		}
		if err := s.SignIn.Rebound(ctx, tx, id, "", factor.OTP); err != nil {
			return err
		}
		return s.tellOf(ctx, tx, id, message.FactorAdded)
	})
}

// TakeToken takes a hardware token from whoever has it, tells them, and returns who that was. Refusals are those of
// totp.Service.Unassign.
func (s *Service) TakeToken(ctx context.Context, serial string) (was account.ID, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if was, err = s.SignIn.Authenticators.Unassign(ctx, tx, serial); err != nil || was == "" {
			return err
		}
		return s.tellOf(ctx, tx, was, message.FactorRemoved)
	})
	return was, err
}

// operate does what an operator does to an account, while nobody else changes it: of two at once the second sees what the
// first has done. fault.NotFound "account_unknown".
func (s *Service) operate(ctx context.Context, id account.ID, do func(*sqldb.Tx) error) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		who, err := s.Accounts.Get(ctx, tx, id)
		if err != nil {
			return err
		}
		if who.State == account.Decoy { // whose authenticators are there for the time they take
			return fault.New(fault.NotFound, "account_unknown", errors.New("nobody's"))
		}
		if err := s.Accounts.Alone(ctx, tx, id); err != nil {
			return err
		}
		return do(tx)
	})
}

func (s *Service) operated(ctx context.Context, tx *sqldb.Tx, id account.ID, kind audit.Kind, detail map[string]string) error {
	return s.Audit.Append(ctx, tx, audit.Event{Kind: kind, Account: string(id), Actor: "operator", Detail: detail})
}

func (s *Service) tellOf(ctx context.Context, tx *sqldb.Tx, id account.ID, letter message.Kind) error {
	return s.SignIn.Notices.Tell(ctx, tx, notice.Event{Kind: letter, Account: id, Operator: true})
}
