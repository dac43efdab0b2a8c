package signin

import (
	"context"
	"errors"
	"slices"
	"time"

	"countersign/internal/account"
	"countersign/internal/approval"
	"countersign/internal/assurance"
	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

// approvable reports whether a flow may be let in from another device: only after the right password, so that no
// stranger can have people asked or learn who is signed in; and not a flow of the signed-in, who could let themselves in.
func (s *Service) approvable(ctx context.Context, tx *sqldb.Tx, f flow) (bool, error) {
	if s.HidePasswordResult || f.App != "" || f.Replaces != "" || f.Barred || f.Least > assurance.AAL1 { // of what is asked for then an approval proves nothing
		return false, nil
	}
	// A number can be read out to somebody who is not on our page.
	if p, err := s.policy(ctx, tx, f.Account); err != nil || p == factor.PhishingResistant {
		return false, err
	}
	if ok, err := s.Approvals.Offered(ctx, tx, f.Account); err != nil || !ok {
		return false, err
	}
	devices, err := s.Devices.Live(ctx, tx, f.Account)
	if err != nil || len(devices) == 0 {
		return false, err
	}
	sessions, err := s.Sessions.Live(ctx, tx, f.Account)
	return slices.ContainsFunc(sessions, func(one session.Session) bool {
		return slices.ContainsFunc(devices, func(d device.Device) bool { return d.ID == one.Device })
	}), err
}

// Approval is a flow's wait for another device.
type Approval struct {
	ID        approval.ID
	State     approval.State
	Number    secret.Token // to be typed there
	ExpiresAt time.Time
}

// ApprovePath is the page where numbers are typed.
const ApprovePath = "/approve"

// Path is where the number is typed, with the number behind the #, which no browser sends: for a QR code.
func (a Approval) Path() string { return ApprovePath + "#" + string(a.ID) + "." + a.Number.Reveal() }

// Ask asks for a flow to be let in from another device, or says again what was asked: a flow asks once. One that it is
// not offered to is fault.Invalid "way_unknown".
func (s *Service) Ask(ctx context.Context, ref Ref, c Client) (a Approval, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findAt(ctx, tx, request{ref, c}, StepSecond)
		if err != nil {
			return err
		}
		var asked bool
		if a, asked, err = s.approvalOf(ctx, tx, f); err != nil || asked {
			return err
		}
		if err := s.askOthers(ctx, tx, f); err != nil {
			return err
		}
		a, _, err = s.approvalOf(ctx, tx, f)
		return err
	})
	if errors.Is(err, errLimited) {
		return Approval{}, tooMany()
	}
	return a, err
}

// askOthers has the account's other devices asked.
func (s *Service) askOthers(ctx context.Context, tx *sqldb.Tx, f flow) error {
	may, err := s.approvable(ctx, tx, f)
	if err == nil && !may {
		err = fault.New(fault.Invalid, "way_unknown", errors.New("no other device is asked for this sign-in"))
	}
	if err != nil {
		return err
	}
	ok, err := s.admitStep(ctx, tx, f.From)
	if err == nil && ok {
		ok, err = s.Throttle.Take(ctx, tx, s.Limits.Approval, string(f.Account))
	}
	if err == nil && !ok {
		err = errLimited
	}
	if err != nil {
		return err
	}
	made, err := s.Approvals.Ask(ctx, tx, approval.New{
		ID: approval.ID(f.ID), Account: f.Account, Source: f.From.Source, Device: device.NameOf(f.From.UserAgent), FlowEnds: f.ExpiresAt,
	})
	if err != nil || !made {
		return err
	}
	return s.record(ctx, tx, f, audit.ApprovalAsked, nil)
}

// Approval says how a flow's wait for another device stands. One that has not asked is fault.Conflict "step_out_of_order".
func (s *Service) Approval(ctx context.Context, ref Ref) (a Approval, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findAt(ctx, tx, request{ref: ref}, StepSecond)
		if err != nil {
			return err
		}
		var asked bool
		if a, asked, err = s.approvalOf(ctx, tx, f); err == nil && !asked {
			err = fault.New(fault.Conflict, "step_out_of_order", errors.New("no other device was asked"))
		}
		return err
	})
	return a, err
}

func (s *Service) approvalOf(ctx context.Context, tx *sqldb.Tx, f flow) (a Approval, ok bool, err error) {
	shown, ok, err := s.Approvals.Of(ctx, tx, approval.ID(f.ID))
	return Approval{approval.ID(f.ID), shown.State, shown.Number, shown.ExpiresAt}, ok, err
}

// Enter finishes a flow that another device has let in; of p it looks at Remember and Handles. Of any number of calls
// at once one gets in. As long as nobody has approved it the answer is Next{Step: StepSecond, Refused: true}.
//
// An approval is worth as much as the session that gave it: if its owner has ended that one, nothing.
func (s *Service) Enter(ctx context.Context, ref Ref, c Client, p CodeProof) (next Next, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findAt(ctx, tx, request{ref, c}, StepSecond)
		if err != nil {
			return err
		}
		if p.Remember != nil {
			if err := s.Devices.Check(p.Remember, f.Nonce); err != nil {
				return err
			}
		}
		by, ok, err := s.Approvals.Spend(ctx, tx, approval.ID(f.ID))
		if err == nil && ok {
			ok, err = s.Sessions.Holds(ctx, tx, f.Account, by)
		}
		if err != nil {
			return err
		}
		policy, err := s.policy(ctx, tx, f.Account) // it may have changed since this was offered
		if err != nil {
			return err
		}
		if !ok || f.Barred || policy == factor.PhishingResistant {
			next, err = s.next(ctx, tx, f)
			next.Refused = true
			return err
		}
		if err := s.Throttle.Give(ctx, tx, s.Limits.Approval, string(f.Account)); err != nil {
			return err
		}
		next, err = s.enter(ctx, tx, f, p, assurance.Approved)
		return err
	})
	return next, err
}

// Drop ends a flow of an account whose owner has refused it.
func (s *Service) Drop(ctx context.Context, tx *sqldb.Tx, who account.ID, id approval.ID) error {
	return end(ctx, tx, who, string(id))
}
