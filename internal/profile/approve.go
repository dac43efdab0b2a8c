package profile

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"countersign/internal/approval"
	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
)

// ApproveFor is how long after somebody proved who they are their session may let another device in: as long as a
// session may last at AAL2 (N-2.2.3-01). It keeps whoever finds an old device from letting themselves in.
const ApproveFor = 24 * time.Hour

// Approver says whether a session may let another device in, and what it lacks.
type Approver struct{ Recognised, Recent bool }

// MayApprove says it as far as the session tells. Approve looks again, and has the device prove itself.
func MayApprove(me session.Session, now time.Time) Approver {
	age := now.Sub(me.AuthenticatedAt)
	return Approver{Recognised: me.Device != "", Recent: -sqldb.Skew <= age && age <= ApproveFor}
}

// Approvals are the sign-ins that wait for the owner, the newest first.
func (s *Service) Approvals(ctx context.Context, me session.Session) (all []approval.Request, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		all, err = s.SignIn.Approvals.List(ctx, tx, me.Account)
		return err
	})
	return all, err
}

// Approval is what lets a sign-in in: the number that its device shows, and the proof that this device is the
// recognised one that the session was opened from. A copied cookie lets nobody in (P5).
type Approval struct {
	ID     approval.ID
	Number secret.Token
	Proof  device.Proof
}

// Approve lets a sign-in in. right is false for a wrong number, of which a request takes approval.Tries.
// fault.NotFound "not_found" if none waits there; fault.Forbidden "device_unproved", "reauthentication_required";
// fault.TooMany.
func (s *Service) Approve(ctx context.Context, me session.Session, c signin.Client, a Approval) (right bool, err error) {
	if uuid.Validate(string(a.ID)) != nil { // whatever stood in the path
		return false, none()
	}
	admitted, found := false, false
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		admitted, found = false, false // a lost race runs this again
		if err := s.mayApprove(ctx, tx, me, a); err != nil {
			return err
		}
		// Neither a new request nor another session gives new tries (N-3.1.3.2-05, -06).
		if admitted, err = s.SignIn.Throttle.Attempt(ctx, tx, s.SignIn.Limits.Number, string(me.Account)); err != nil || !admitted {
			return err
		}
		right, found, err = s.SignIn.Approvals.Approve(ctx, tx, approval.Answer{Account: me.Account, ID: a.ID, Number: a.Number, By: me.ID})
		if err != nil {
			return err
		}
		if !found {
			return s.SignIn.Throttle.Forgive(ctx, tx, s.SignIn.Limits.Number, string(me.Account)) // nothing was evaluated
		}
		if !right {
			return s.Audit.Append(ctx, tx, s.about(me, c, audit.ApprovalFailed, a.ID))
		}
		if err := s.SignIn.Throttle.Clear(ctx, tx, s.SignIn.Limits.Number, string(me.Account)); err != nil {
			return err
		}
		return s.Audit.Append(ctx, tx, s.about(me, c, audit.ApprovalGiven, a.ID))
	})
	switch {
	case err != nil:
		return false, err
	case !admitted:
		return false, fault.Later(fault.TooMany, "too_many_attempts", time.Minute, errors.New("too many wrong numbers"))
	case !found:
		return false, none()
	}
	return right, nil
}

func (s *Service) mayApprove(ctx context.Context, tx *sqldb.Tx, me session.Session, a Approval) error {
	if err := s.alone(ctx, tx, me); err != nil {
		return err
	}
	id, proved, err := s.Devices.Approves(ctx, tx, me.Account, a.Proof, string(a.ID))
	if err == nil && (!proved || id != me.Device) {
		err = fault.New(fault.Forbidden, "device_unproved", errors.New("not the recognised device that the session is of"))
	}
	if err == nil && !MayApprove(me, tx.Now()).Recent {
		err = fault.New(fault.Forbidden, "reauthentication_required", errors.New("the session proved who it is too long ago"))
	}
	return err
}

// RefuseSignIn ends a sign-in that waits, and tells every address: whoever began it had the password. Any session may,
// since it can only protect. ok is false if there is none.
func (s *Service) RefuseSignIn(ctx context.Context, me session.Session, c signin.Client, id approval.ID) (ok bool, err error) {
	if known := uuid.Validate(string(id)) == nil; !known {
		return false, nil
	}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.alone(ctx, tx, me); err != nil {
			return err
		}
		refused, found, err := s.SignIn.Approvals.Refuse(ctx, tx, me.Account, id)
		if ok = found; err != nil || !found {
			return err
		}
		if err := s.SignIn.Drop(ctx, tx, me.Account, id); err != nil {
			return err
		}
		if err := s.Audit.Append(ctx, tx, s.about(me, c, audit.ApprovalRefused, id)); err != nil {
			return err
		}
		return s.SignIn.Notices.Tell(ctx, tx, notice.Event{
			Kind: message.SigninRefused, Account: me.Account, Source: refused.Source, Device: refused.Device,
		})
	})
	return ok && err == nil, err
}

func (s *Service) about(me session.Session, c signin.Client, kind audit.Kind, id approval.ID) audit.Event {
	e := event(me, c, kind, "")
	e.Detail["flow"] = string(id)
	return e
}
