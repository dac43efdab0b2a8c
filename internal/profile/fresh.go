package profile

import (
	"context"
	"errors"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/protect"
	"countersign/internal/session"
	"countersign/internal/throttle"
)

// FreshFor is how long after somebody proved who they are they may change what protects the account.
const FreshFor = protect.FreshFor

var errEnded = errors.New("the session has ended")

// fresh refuses a session that proved who it is too long ago: fault.Forbidden "reauthentication_required".
func fresh(tx *sqldb.Tx, me session.Session) error {
	if protect.Fresh(me, tx.Now()) {
		return nil
	}
	return fault.New(fault.Forbidden, "reauthentication_required", errors.New("the session proved who it is too long ago"))
}

// proved refuses a session that is over or proved who it is too long ago. Until the transaction is over nobody
// else changes the account.
func (s *Service) proved(ctx context.Context, tx *sqldb.Tx, me session.Session) error {
	if err := fresh(tx, me); err != nil {
		return err
	}
	return s.alone(ctx, tx, me)
}

// alone waits for whoever else is changing the account, after whom the session may be over.
func (s *Service) alone(ctx context.Context, tx *sqldb.Tx, me session.Session) error {
	if err := s.Accounts.Alone(ctx, tx, me.Account); err != nil {
		return err
	}
	live, err := s.Sessions.Holds(ctx, tx, me.Account, me.ID)
	if err == nil && !live {
		err = fault.New(fault.Unauthenticated, "session_ended", errEnded)
	}
	if err != nil {
		return err
	}
	return s.admit(ctx, tx, me)
}

// changes is how often one session may change something, or try to: a person mends a whole account with fewer, and each
// is a letter and a text message that somebody pays. It is the session's own: a thief's must not use up the holder's.
var changes = throttle.Rate{Name: "profile/change", Burst: 30, Every: 2 * time.Minute} //nolint:gochecknoglobals // a constant

func (s *Service) admit(ctx context.Context, tx *sqldb.Tx, me session.Session) error {
	ok, err := s.SignIn.Throttle.Take(ctx, tx, changes, string(me.ID))
	if err == nil && !ok {
		err = fault.Later(fault.TooMany, "too_many_attempts", changes.Every, errors.New("too many changes by one session"))
	}
	return err
}

// may refuses what neither fresh nor free lets be done, and a session that waits for what is there already: it was opened by less, at the
// moment at which another enrolled it.
func (s *Service) may(ctx context.Context, tx *sqldb.Tx, me session.Session) error {
	if err := fresh(tx, me); err != nil {
		return err
	}
	if err := s.free(ctx, tx, me); err != nil || !me.Enrol {
		return err
	}
	must, err := s.SignIn.MustEnrol(ctx, tx, me.Account)
	if err == nil && !must {
		err = fault.New(fault.Unauthenticated, "session_ended", errEnded)
	}
	return err
}

// free refuses a change of what the account is reached or recovered by while it is frozen, unless the
// session was opened from a device that had been remembered long before: fault.Conflict "account_frozen".
// Until the transaction is over nobody else freezes the account or changes its addresses.
func (s *Service) free(ctx context.Context, tx *sqldb.Tx, me session.Session) error {
	if err := s.alone(ctx, tx, me); err != nil {
		return err
	}
	return s.unfrozen(ctx, tx, me)
}

func (s *Service) unfrozen(ctx context.Context, tx *sqldb.Tx, me session.Session) error {
	if me.Enrol { // it reaches nothing but what enrols a factor, without which nobody could use the account at all
		return nil
	}
	st, err := s.Accounts.Standing(ctx, tx, me.Account)
	if err != nil || st.FrozenUntil.IsZero() {
		return err
	}
	known, err := s.known(ctx, tx, me, st)
	if err == nil && !known {
		err = fault.New(fault.Conflict, "account_frozen", errors.New("addresses and recovery stay as they are for now"))
	}
	return err
}

// known reports whether the session was opened from a device that is the holder's own beyond doubt: it was
// remembered before what the account was frozen for can have begun.
func (s *Service) known(ctx context.Context, tx *sqldb.Tx, me session.Session, st account.Standing) (bool, error) {
	if me.Device == "" {
		return false, nil
	}
	return s.Devices.KnownBefore(ctx, tx, me.Account, me.Device, st.FrozenAt.Add(-account.Hold))
}
