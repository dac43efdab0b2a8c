package profile

import (
	"context"
	"errors"
	"reflect"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/throttle"
)

// Choose changes what the owner has chosen about the second door; Operator is not theirs, and stays. What changes nothing is told to
// nobody. Errors are those of may and of factor.Choice.Check.
func (s *Service) Choose(ctx context.Context, me session.Session, c signin.Client, change func(*factor.Choice)) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.may(ctx, tx, me); err != nil {
			return err
		}
		was, err := s.SignIn.Choices.Of(ctx, tx, me.Account)
		if err != nil {
			return err
		}
		want := was
		change(&want)
		if reflect.DeepEqual(was, want) {
			return nil
		}
		if err := s.SignIn.Choices.Choose(ctx, tx, me.Account, want); err != nil {
			return err
		}
		was.Order = want.Order
		if !reflect.DeepEqual(was, want) {
			return s.tell(ctx, tx, by{me, c}, told{audit.FactorChanged, "chosen", message.FactorChosen})
		}
		return s.reordered(ctx, tx, by{me, c})
	})
}

// orderTold is how often it is told that another way comes first. Nothing opens that did not before, so one letter while somebody tries
// what suits them is enough, and its link undoes whatever follows.
var orderTold = throttle.Rate{Name: "choice/order", Burst: 1, Every: 30 * time.Minute} //nolint:gochecknoglobals // a constant

// reordered records that another way comes first, and tells it now and then, by no text message: that would cost more than it is worth.
func (s *Service) reordered(ctx context.Context, tx *sqldb.Tx, b by) error {
	if err := s.Audit.Append(ctx, tx, event(b.me, b.from, audit.FactorChanged, "chosen")); err != nil {
		return err
	}
	first, err := s.SignIn.Throttle.Take(ctx, tx, orderTold, string(b.me.Account))
	if err != nil || !first {
		return err
	}
	return s.SignIn.Notices.Tell(ctx, tx, notice.Event{
		Kind: message.FactorChosen, Account: b.me.Account, Source: b.from.Source, Device: device.NameOf(b.from.UserAgent), Mail: true,
	})
}

// keepsPasskey refuses to remove the last passkey of an account that must prove one: nothing else would open it.
func (s *Service) keepsPasskey(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	all, err := s.SignIn.Passkeys.List(ctx, tx, id)
	if err != nil || len(all) != 1 {
		return err
	}
	second, err := s.SignIn.Second(ctx, tx, id)
	if err == nil && second.Policy == factor.PhishingResistant {
		err = fault.New(fault.Conflict, "last_passkey", errors.New("the account's sign-ins take nothing but a passkey"))
	}
	return err
}

// SetPolicy sets an account's own policy, for an operator; "" leaves it to everybody's and its groups'. Errors are those of
// factor.Choice.Check and fault.NotFound "account_unknown".
func (s *Service) SetPolicy(ctx context.Context, id account.ID, p factor.Policy) error {
	return s.operate(ctx, id, func(tx *sqldb.Tx) error {
		if err := s.SignIn.Choices.Set(ctx, tx, id, p); err != nil {
			return err
		}
		return s.operated(ctx, tx, id, audit.AccountChanged, map[string]string{"policy": string(p)})
	})
}

// Join puts an account into a group, for an operator, or takes it out; changed is false if it was so before. Errors are
// those of account.CheckGroup and fault.NotFound "account_unknown".
func (s *Service) Join(ctx context.Context, id account.ID, group string, in bool) (changed bool, err error) {
	err = s.operate(ctx, id, func(tx *sqldb.Tx) error {
		do, which := s.Accounts.Join, "joined"
		if !in {
			do, which = s.Accounts.Leave, "left"
		}
		if changed, err = do(ctx, tx, id, group); err != nil || !changed {
			return err
		}
		return s.operated(ctx, tx, id, audit.AccountChanged, map[string]string{"group": group, "which": which})
	})
	return changed, err
}
