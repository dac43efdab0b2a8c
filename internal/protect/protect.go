// Package protect is "this wasn't me": what the holder of an account does about somebody else in it,
// with a link from a letter and from any device, or signed in. It owns no table.
//
// It can only protect. Whoever merely reads a mailbox gets nothing by it: everybody is signed out, the
// password opens nothing any more, and the way back is recovery's, with all its proofs and waits. What
// had not settled when it happened is taken back, if the letter went to an address that may do so: an
// address that was there for account.Hold, or was until it was removed, for account.Hold from then on.
package protect

import (
	"context"
	"errors"
	"strconv"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/recovery"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/throttle"
)

// FreezeFor is how long addresses, contacts and the saved code cannot be changed afterwards.
const FreezeFor = account.Hold

// Service protects accounts. All fields are required.
type Service struct {
	signin.Parts

	Recovery *recovery.Service
	Limits   Limits
}

// Limits are how often links may be used.
type Limits struct {
	Source, All throttle.Rate
	Letters     throttle.Rate // for one account; silent: each letter has a link that makes more letters
}

// DefaultLimits are the limits unless the operator says otherwise; docs/operating.md has the reasons.
func DefaultLimits() Limits {
	return Limits{
		Source:  throttle.Rate{Name: "protect/source", Burst: 30, Every: 10 * time.Second},
		All:     throttle.Rate{Name: "protect/all", Burst: 1000, Every: 10 * time.Millisecond},
		Letters: throttle.Rate{Name: "protect/letters", Burst: 5, Every: 6 * time.Hour},
	}
}

// Disavow uses a link up and protects its account. done is false if the link is worth nothing, for
// whatever reason. fault.TooMany "too_many_attempts".
func (s *Service) Disavow(ctx context.Context, token secret.Token, c signin.Client) (done bool, err error) {
	return s.disavow(ctx, token, c, notice.PathNotMe)
}

// DisavowApp is Disavow for an application's own account: sessions and passwords there are the application's, which reads of it in the
// record (webhooks). What is ours ends: no device is remembered, and where codes go stays as it is.
func (s *Service) DisavowApp(ctx context.Context, token secret.Token, c signin.Client) (done bool, err error) {
	return s.disavow(ctx, token, c, notice.PathApp)
}

func (s *Service) disavow(ctx context.Context, token secret.Token, c signin.Client, page string) (done bool, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		l, ok, err := s.use(ctx, tx, token, c, page)
		if done = ok; err != nil || !ok {
			return err
		}
		return s.protect(ctx, tx, incident{account: l.Account, from: c, at: l.At, undo: l.Undoes, by: "link"})
	})
	return done, limited(err)
}

// Stop uses up the link of a letter about a waiting recovery and ends the recovery: nobody has got in, so
// nothing else is done. done is false if the link is worth nothing, or if no recovery is under way any more.
func (s *Service) Stop(ctx context.Context, token secret.Token, c signin.Client) (done bool, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		l, ok, err := s.use(ctx, tx, token, c, notice.PathStop)
		if done = ok; err != nil || !ok {
			return err
		}
		done, err = s.Recovery.Stop(ctx, tx, l.Account, c)
		return err
	})
	return done, limited(err)
}

// FreshFor is how long after somebody proved who they are they may change what protects the account.
const FreshFor = 10 * time.Minute

// Fresh reports whether a session proved who it is lately. One that did so by a clock that was ahead did not.
func Fresh(me session.Session, now time.Time) bool {
	age := now.Sub(me.AuthenticatedAt)
	return -sqldb.Skew <= age && age <= FreshFor
}

// DisavowSigned protects the account of whoever is signed in, whose own session ends with all others. What has
// changed since something happened is taken back only if they have just proved who they are.
func (s *Service) DisavowSigned(ctx context.Context, me session.Session, c signin.Client, since time.Time) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.Accounts.Alone(ctx, tx, me.Account); err != nil {
			return err
		}
		live, err := s.Sessions.Holds(ctx, tx, me.Account, me.ID)
		if err == nil && !live { // by another node, a moment ago: perhaps by the holder, and this is the thief
			err = fault.New(fault.Unauthenticated, "session_ended", errEnded)
		}
		if err != nil {
			return err
		}
		return s.protect(ctx, tx, incident{account: me.Account, from: c, at: since, undo: Fresh(me, tx.Now()), by: "session"})
	})
}

// use takes a try of the limits and uses a link up.
func (s *Service) use(ctx context.Context, tx *sqldb.Tx, token secret.Token, c signin.Client, page string) (notice.Link, bool, error) {
	ok, err := s.Throttle.TakeSource(ctx, tx, s.Limits.Source, c.Source)
	if err == nil && ok {
		ok, err = s.Throttle.Take(ctx, tx, s.Limits.All, "")
	}
	if err == nil && !ok {
		err = errLimited
	}
	if err != nil {
		return notice.Link{}, false, err
	}
	return s.Notices.Use(ctx, tx, token, page)
}

// incident is what somebody says they did not do.
type incident struct {
	account account.ID
	from    signin.Client // who says so
	at      time.Time     // when it happened
	undo    bool
	by      string // link, session
}

// protect does everything in the caller's transaction, alone with the account: of two at once, and of a change
// at once, the second finds what the first has left. Sessions end after the password, which a sign-in that
// is just finishing holds until it has its session.
func (s *Service) protect(ctx context.Context, tx *sqldb.Tx, i incident) error {
	undone := 0
	for _, do := range []func() error{
		func() error { return s.Accounts.Alone(ctx, tx, i.account) },
		func() error { return s.Accounts.Freeze(ctx, tx, i.account, tx.Now().Add(FreezeFor)) },
		func() error { _, err := s.Recovery.Stop(ctx, tx, i.account, i.from); return err },
		func() error { return s.Passwords.Stop(ctx, tx, i.account) },
		func() (err error) { undone, err = s.undo(ctx, tx, i); return err },
		func() error { return s.Devices.ForgetAll(ctx, tx, i.account) },
		func() error { return s.Sessions.EndAll(ctx, tx, i.account, "disavowed") },
		func() error { return s.keep(ctx, tx, i) },
		func() error { return s.tell(ctx, tx, i, message.Protected) },
	} {
		if err := do(); err != nil {
			return err
		}
	}
	return s.Audit.Append(ctx, tx, audit.Event{
		Kind: audit.Protected, Account: string(i.account), Source: i.from.Source,
		Detail: map[string]string{"by": i.by, "undone": strconv.Itoa(undone)},
	})
}

// undo takes back what had not settled when it happened: whoever takes an account over adds an address
// of theirs before they remove the holder's, and the letter about the one must undo the other too.
func (s *Service) undo(ctx context.Context, tx *sqldb.Tx, i incident) (int, error) {
	if !i.undo {
		return 0, nil
	}
	since := i.at.Add(-account.Hold)
	if err := s.Recovery.Undo(ctx, tx, i.account, since); err != nil {
		return 0, err
	}
	n, err := s.Accounts.Undo(ctx, tx, i.account, since)
	if err != nil {
		return 0, err
	}
	ended, err := s.EndSince(ctx, tx, i.account, since)
	return n + ended, err
}

// keep calls an erasure off, which a stranger may have asked for.
func (s *Service) keep(ctx context.Context, tx *sqldb.Tx, i incident) error {
	kept, err := s.Accounts.Keep(ctx, tx, i.account)
	if err != nil || !kept {
		return err
	}
	return s.tell(ctx, tx, i, message.EraseStopped)
}

// tell writes to every address, those included that have just come back.
func (s *Service) tell(ctx context.Context, tx *sqldb.Tx, i incident, kind message.Kind) error {
	within, err := s.Throttle.Take(ctx, tx, s.Limits.Letters, string(kind)+" "+string(i.account))
	if err != nil {
		return err
	}
	return s.Notices.Tell(ctx, tx, notice.Event{
		Kind: kind, Account: i.account, Source: i.from.Source, Device: device.NameOf(i.from.UserAgent), Withhold: !within,
	})
}

var errEnded = errors.New("the session has ended")

// errLimited rolls a transaction back whose work turned out to be over a limit.
var errLimited = errors.New("over a limit")

func limited(err error) error {
	if errors.Is(err, errLimited) {
		return fault.Later(fault.TooMany, "too_many_attempts", time.Minute, errLimited)
	}
	return err
}
