// Package profile is what an account's owner may see and change once signed in, and what an
// operator may do to the account as a whole.
//
// What can only protect asks for nothing more than the session: ending sessions, forgetting devices,
// calling an erasure off, saying that it was not oneself. So does naming a device. A new password asks for
// the current one. Everything else asks for a proof that is fresh: see fresh and free.
package profile

import (
	"context"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/platform/sqldb"
	"countersign/internal/protect"
	"countersign/internal/recovery"
	"countersign/internal/registration"
	"countersign/internal/session"
	"countersign/internal/signin"
)

// Service changes what is the owner's. All fields are required.
type Service struct {
	DB       *sqldb.DB
	Audit    *audit.Log
	Accounts *account.Service
	Devices  *device.Service
	Sessions *session.Service
	SignIn   *signin.Service
	Recovery *recovery.Service
	Protect  *protect.Service
	Entry    *registration.Service

	EraseAfter time.Duration // from an owner's wish to the erasure: no shorter than what happened can be taken back
	Erasers    []Eraser      // of every package that keeps something of accounts, but of account itself
	// Applications is what of those that sign people in through us stands in the file of the owner's data; nil for nothing.
	Applications func(ctx context.Context, tx *sqldb.Tx, id account.ID) (any, error)
	// ApplicationName is what people know an application by; empty for one that there is not. nil knows none.
	ApplicationName func(ctx context.Context, tx *sqldb.Tx, client string) (string, error)
}

// Prune deletes a bounded number of unfinished changes whose time is over and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }

// ListSessions lists the owner's live sessions, the one last seen first.
func (s *Service) ListSessions(ctx context.Context, me session.Session) ([]session.Session, error) {
	return s.Sessions.List(ctx, me.Account)
}

// ListDevices lists the owner's remembered devices, the one last seen first.
func (s *Service) ListDevices(ctx context.Context, me session.Session) ([]device.Device, error) {
	return s.Devices.List(ctx, me.Account)
}

// EndSession ends one session of the owner. ok is false if the owner has no such live session:
// somebody else's is the same as none.
func (s *Service) EndSession(ctx context.Context, me session.Session, c signin.Client, id session.ID) (ok bool, err error) {
	if uuid.Validate(string(id)) != nil { // whatever stood in the path; PostgreSQL takes not every text
		return false, nil
	}
	err = s.change(ctx, event(me, c, audit.SessionEnded, string(id)), func(tx *sqldb.Tx) (bool, error) {
		ok, err = s.Sessions.End(ctx, tx, me.Account, id)
		return ok, err
	})
	return ok, err
}

// EndOtherSessions ends every session of the owner but this one.
func (s *Service) EndOtherSessions(ctx context.Context, me session.Session, c signin.Client) error {
	return s.change(ctx, event(me, c, audit.SessionEnded, "others"), func(tx *sqldb.Tx) (bool, error) {
		return true, s.Sessions.EndOthers(ctx, tx, me.Account, me.ID)
	})
}

// EndAllSessions ends every session of the owner, this one included.
func (s *Service) EndAllSessions(ctx context.Context, me session.Session, c signin.Client) error {
	return s.change(ctx, event(me, c, audit.SessionEnded, "all"), func(tx *sqldb.Tx) (bool, error) {
		return true, s.Sessions.EndAll(ctx, tx, me.Account, "ended by its owner")
	})
}

// ForgetDevice ends the remembering of one device and the sessions opened from it, other than
// this one: who forgets a lost phone wants it signed out.
func (s *Service) ForgetDevice(ctx context.Context, me session.Session, c signin.Client, id device.ID) (ok bool, err error) {
	if uuid.Validate(string(id)) != nil {
		return false, nil
	}
	err = s.change(ctx, event(me, c, audit.DeviceForgotten, string(id)), func(tx *sqldb.Tx) (bool, error) {
		if ok, err = s.Devices.Forget(ctx, tx, me.Account, id); err != nil || !ok {
			return ok, err
		}
		return true, s.Sessions.EndFrom(ctx, tx, me.Account, id, me.ID)
	})
	return ok, err
}

// RenameDevice gives a remembered device of the owner another name. ok is false if the owner has no such
// device; a name in which nothing prints is fault.Invalid "device_name_empty".
func (s *Service) RenameDevice(ctx context.Context, me session.Session, c signin.Client, id device.ID, name string) (ok bool, err error) {
	if uuid.Validate(string(id)) != nil {
		return false, nil
	}
	err = s.change(ctx, event(me, c, audit.DeviceRenamed, string(id)), func(tx *sqldb.Tx) (bool, error) {
		ok, err = s.Devices.Rename(ctx, tx, me.Account, id, name)
		return ok, err
	})
	return ok, err
}

// ForgetAllDevices ends the remembering of every device, and every session but this one.
func (s *Service) ForgetAllDevices(ctx context.Context, me session.Session, c signin.Client) error {
	return s.change(ctx, event(me, c, audit.DeviceForgotten, "all"), func(tx *sqldb.Tx) (bool, error) {
		if err := s.Devices.ForgetAll(ctx, tx, me.Account); err != nil {
			return false, err
		}
		return true, s.Sessions.EndOthers(ctx, tx, me.Account, me.ID)
	})
}

// change runs do and records it, if it changed anything.
func (s *Service) change(ctx context.Context, e audit.Event, do func(*sqldb.Tx) (bool, error)) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		changed, err := do(tx)
		if err != nil || !changed {
			return err
		}
		return s.Audit.Append(ctx, tx, e)
	})
}

func event(me session.Session, c signin.Client, kind audit.Kind, which string) audit.Event {
	return audit.Event{
		Kind: kind, Account: string(me.Account), Source: c.Source,
		Detail: map[string]string{"by_session": string(me.ID), "which": which},
	}
}

// Lock locks an account and ends its sessions; its devices stay remembered.
func (s *Service) Lock(ctx context.Context, id account.ID) error {
	return s.stand(ctx, id, account.Locked, func(tx *sqldb.Tx) error {
		if err := s.Accounts.Lock(ctx, tx, id); err != nil {
			return err
		}
		return s.Sessions.EndAll(ctx, tx, id, "account locked")
	})
}

// Unlock lets a locked account sign in again, and clears its counts of wrong passwords and codes.
func (s *Service) Unlock(ctx context.Context, id account.ID) error {
	return s.stand(ctx, id, account.Active, func(tx *sqldb.Tx) error {
		if err := s.Accounts.Unlock(ctx, tx, id); err != nil {
			return err
		}
		return s.SignIn.ClearCounts(ctx, tx, id)
	})
}

// Close closes an account for good, ends its sessions and forgets its devices.
func (s *Service) Close(ctx context.Context, id account.ID) error {
	return s.stand(ctx, id, account.Closed, func(tx *sqldb.Tx) error {
		if err := s.Accounts.Close(ctx, tx, id); err != nil {
			return err
		}
		if err := s.Devices.ForgetAll(ctx, tx, id); err != nil {
			return err
		}
		return s.Sessions.EndAll(ctx, tx, id, "account closed")
	})
}

func (s *Service) stand(ctx context.Context, id account.ID, to account.State, do func(*sqldb.Tx) error) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := do(tx); err != nil {
			return err
		}
		return s.Audit.Append(ctx, tx, audit.Event{
			Kind: audit.AccountChanged, Account: string(id), Actor: "operator", Detail: map[string]string{"state": string(to)},
		})
	})
}
