package profile

import (
	"context"
	"errors"

	"golang.org/x/text/unicode/norm"

	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/password"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
)

// PasswordChange is a new password with the current one, which is the proof that it takes.
// Handles are those of remembered devices that the browser holds.
type PasswordChange struct {
	Current, New string
	Handles      []secret.Token
}

// ChangePassword sets a new password. Every other session ends and every device is forgotten but the one
// that this session was opened from; this session gets a new token. ok is false if the current password
// is wrong, which is counted as at a sign-in: a stolen session is nothing to guess it with.
//
// Errors are those of password.Check, fault.Invalid "password_unchanged" and fault.TooMany.
func (s *Service) ChangePassword(ctx context.Context, me session.Session, c signin.Client, p PasswordChange) (started session.Started, ok bool, err error) {
	personal, err := s.words(ctx, me)
	if err != nil {
		return session.Started{}, false, err
	}
	if err := s.SignIn.Passwords.Check(p.New, personal); err != nil {
		return session.Started{}, false, err
	}
	if norm.NFC.String(p.New) == norm.NFC.String(p.Current) {
		return session.Started{}, false, fault.New(fault.Invalid, "password_unchanged", errors.New("the new password is the current one"))
	}
	stored, right, err := s.SignIn.Confirm(ctx, me, c, signin.PasswordProof{Password: p.Current, Handles: p.Handles})
	if err != nil || !right {
		return session.Started{}, false, err
	}
	hash, err := s.SignIn.Passwords.Hash(ctx, p.New)
	if err != nil {
		return session.Started{}, false, err
	}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		started, ok, err = s.replacePassword(ctx, tx, by{me, c}, replacement{stored, hash})
		return err
	})
	return started, ok && err == nil, err
}

// words are what a stranger would try first: the account's own addresses. Judging a password takes a while, so that
// each is counted.
func (s *Service) words(ctx context.Context, me session.Session) (all []string, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.admit(ctx, tx, me); err != nil {
			return err
		}
		all = all[:0]
		addresses, err := s.Accounts.Addresses(ctx, tx, me.Account)
		for _, a := range addresses {
			all = append(all, a.Normal)
		}
		return err
	})
	return all, err
}

// by is who changes something, and from where.
type by struct {
	me   session.Session
	from signin.Client
}

type replacement struct {
	verified password.Stored
	hash     password.Hash
}

func (s *Service) replacePassword(ctx context.Context, tx *sqldb.Tx, b by, r replacement) (session.Started, bool, error) {
	ok, err := s.SignIn.Passwords.Replace(ctx, tx, r.verified, r.hash)
	if err != nil || !ok { // another request was faster: the current password is another one by now
		return session.Started{}, false, err
	}
	who := b.me.Account
	if err := s.Sessions.EndOthers(ctx, tx, who, b.me.ID); err != nil {
		return session.Started{}, false, err
	}
	if err := s.Devices.ForgetOthers(ctx, tx, who, b.me.Device); err != nil {
		return session.Started{}, false, err
	}
	started, err := s.Sessions.Renew(ctx, tx, who, b.me.ID)
	if err != nil {
		return session.Started{}, false, err
	}
	return started, true, s.tell(ctx, tx, b, told{audit.PasswordChanged, "", message.PasswordChanged})
}

// told is what is recorded and written to the holder of a change.
type told struct {
	event  audit.Kind
	which  string
	letter message.Kind
}

// tell records a change and writes to every address of the account, in the transaction that made it.
func (s *Service) tell(ctx context.Context, tx *sqldb.Tx, b by, t told) error {
	if err := s.Audit.Append(ctx, tx, event(b.me, b.from, t.event, t.which)); err != nil {
		return err
	}
	return s.write(ctx, tx, b, t.letter)
}

// write writes to every address of the account.
func (s *Service) write(ctx context.Context, tx *sqldb.Tx, b by, letter message.Kind) error {
	return s.SignIn.Notices.Tell(ctx, tx, notice.Event{
		Kind: letter, Account: b.me.Account, Source: b.from.Source, Device: device.NameOf(b.from.UserAgent),
	})
}
