package signin

import (
	"context"
	"slices"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/factor"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

// Second is an account's second door as its holder is shown it.
type Second struct {
	Policy factor.Policy // that counts
	Least  factor.Policy // that the operator wants at least
	Rules  []factor.Rule // whose strictest it is
	Ways   []SecondWay   // in the order in which they are offered, and behind them those that open nothing
}

// SecondWay is a way that an account has.
type SecondWay struct {
	Way     factor.Way
	Opens   bool // it is offered
	Off     bool // the holder does not want it
	Stopped bool // it failed too often, and must be set up anew
}

// Second returns an account's second door.
func (s *Service) Second(ctx context.Context, tx *sqldb.Tx, id account.ID) (Second, error) {
	d, err := s.door(ctx, tx, id)
	if err != nil {
		return Second{}, err
	}
	chosen, err := s.Choices.Of(ctx, tx, id)
	if err != nil {
		return Second{}, err
	}
	out := Second{}
	if out.Policy, out.Least, err = s.Choices.PolicyOf(ctx, tx, id, chosen); err != nil {
		return Second{}, err
	}
	if out.Rules, err = s.Choices.Rules(ctx, tx, id, chosen); err != nil {
		return Second{}, err
	}
	opens := d.Offer()
	all := append(slices.Clone(opens), slices.DeleteFunc(d.All(), func(w factor.Way) bool { return slices.Contains(opens, w) })...)
	for i, w := range all {
		out.Ways = append(out.Ways, SecondWay{
			Way: w, Opens: i < len(opens), Off: slices.Contains(d.Off, w), Stopped: slices.Contains(d.Stopped, w),
		})
	}
	return out, nil
}

// startAgain forgets the failures of factors.
func (s *Service) startAgain(ctx context.Context, tx *sqldb.Tx, id account.ID, ways ...factor.Way) error {
	f := flow{OwnerKey: s.ownerKey(account.Account{ID: id}, account.Identifier{})}
	for _, w := range ways {
		if err := s.Throttle.Clear(ctx, tx, s.Limits.Factor, factorKey(f, w)); err != nil {
			return err
		}
		if err := s.Choices.Start(ctx, tx, id, w); err != nil {
			return err
		}
	}
	return nil
}

// Rebound notes that a factor was set up anew: its failures are forgotten, and if it is what was wanted, the session that did it is good
// for everything and waits no more; see session.Service.Free. An operator has none.
func (s *Service) Rebound(ctx context.Context, tx *sqldb.Tx, id account.ID, by session.ID, ways ...factor.Way) error {
	if err := s.startAgain(ctx, tx, id, ways...); err != nil {
		return err
	}
	if must, err := s.MustEnrol(ctx, tx, id); err != nil || must {
		return err
	}
	return s.Sessions.Free(ctx, tx, id, by)
}

// MustEnrol reports whether an account must enrol something before anything else.
func (s *Service) MustEnrol(ctx context.Context, tx *sqldb.Tx, id account.ID) (bool, error) {
	enrolled, err := s.Enrolled(ctx, tx, id)
	if err != nil {
		return false, err
	}
	n, err := s.Choices.Nudge(ctx, tx, id, enrolled)
	return n.Must, err
}

// doorOf is the second door of a flow, which may be asked for more than usual.
func (s *Service) doorOf(ctx context.Context, tx *sqldb.Tx, f flow) (door, error) {
	d, err := s.door(ctx, tx, f.Account)
	d.hidden = s.hides(f)
	offered := d.Offer()
	weak := slices.DeleteFunc(slices.Clone(offered), func(w factor.Way) bool { return reaches(w, f.Least) })
	if len(weak) < len(offered) { // else it has none that is enough
		d.Weak = weak
	}
	return d, err
}

// reaches reports whether a right password and a proof by a way may be as much as is asked for. What a passkey proves is seen when it has signed.
func reaches(w factor.Way, least assurance.Level) bool {
	return w == factor.Passkey || assurance.Of([]string{string(assurance.Password), string(w)}).Level >= least
}
