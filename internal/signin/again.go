package signin

import (
	"context"
	"errors"

	"countersign/internal/account"
	"countersign/internal/password"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

// Again starts a flow in which whoever is signed in proves once more who they are (A-7.5.1, N-5.2).
// b.Identifier is not looked at: the session says whose flow it is. Everything else is as in any
// sign-in, second door and limits included, so a stolen session is nothing to guess passwords with.
//
// The flow takes the place of me: it ends in a new session with a new token, and me ends in the same
// transaction. Once me has ended, by another tab or by its owner, the flow leads nowhere.
func (s *Service) Again(ctx context.Context, me session.Session, b Begin) (Started, error) {
	started, _, err := s.start(ctx, b, func(tx *sqldb.Tx) (flow, error) {
		f, err := s.ofSession(ctx, tx, me)
		f.Replaces, f.Back, f.Least = me.ID, b.Back, b.Least
		return f, err
	})
	return started, err
}

// ofSession is the beginning of a flow of the session's account. No name was typed, so what counts by
// name counts by the account, beside the names that strangers try.
func (s *Service) ofSession(ctx context.Context, tx *sqldb.Tx, me session.Session) (flow, error) {
	who, err := s.Accounts.Get(ctx, tx, me.Account)
	return flow{
		Account: who.ID, Barred: who.State != account.Active,
		NameKey: s.againKey(me.Account), OwnerKey: s.ownerKey(who, account.Identifier{}),
	}, err
}

func (s *Service) againKey(id account.ID) []byte { return s.Ring.Stable("signin/again", string(id)) }

// replace ends the session that the flow takes the place of. Of two flows of one session one wins,
// and none brings back a session that its owner has ended.
func (s *Service) replace(ctx context.Context, tx *sqldb.Tx, f flow) error {
	if f.Replaces == "" {
		return nil
	}
	ended, err := s.Sessions.Replace(ctx, tx, f.Account, f.Replaces)
	if err == nil && !ended {
		err = gone()
	}
	return err
}

// origin is the first of the line of sessions that the flow's will be of; empty if it begins one.
func (s *Service) origin(ctx context.Context, tx *sqldb.Tx, f flow) (session.ID, error) {
	if f.Replaces == "" {
		return "", nil
	}
	return s.Sessions.OriginOf(ctx, tx, f.Account, f.Replaces)
}

// keyed sees to it that the proof of a key is for this step of this flow, so that it is used once, and that a session takes
// the place of one that is bound to a key only by that key.
func (s *Service) keyed(ctx context.Context, tx *sqldb.Tx, f flow) error {
	p := f.From.Proof
	if p.Key != "" && p.Nonce != f.Nonce {
		return fault.New(fault.Unauthenticated, "dpop_proof_refused", errors.New("it does not answer the nonce of this step"))
	}
	if f.Replaces == "" {
		return nil
	}
	key, err := s.Sessions.KeyOf(ctx, tx, f.Account, f.Replaces)
	if err == nil && key != "" && key != p.Key {
		err = fault.New(fault.Unauthenticated, "session_key_unproved", errors.New("the session is bound to another key"))
	}
	return err
}

// Confirm compares the password of whoever is signed in, for what asks for it anew, and counts the try
// as a sign-in's: by the remembered device whose handle is held, else by the account, and by the source.
// right is false for a wrong password and for an account that may not sign in.
func (s *Service) Confirm(ctx context.Context, me session.Session, c Client, p PasswordProof) (stored password.Stored, right bool, err error) {
	find := func(tx *sqldb.Tx) (flow, error) {
		f, err := s.ofSession(ctx, tx, me)
		f.From = c
		return f, err
	}
	t, err := s.tryPassword(ctx, p, find)
	if err != nil {
		return password.Stored{}, false, err
	}
	defer t.done()
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := find(tx)
		if err != nil {
			return err
		}
		right = t.right && !f.Barred
		if !right {
			return s.recordWrong(ctx, tx, f, t)
		}
		if !t.lane.device {
			f.Taken = 1
		}
		return s.credit(ctx, tx, &f, t.lane)
	})
	return t.stored, right && err == nil, err
}
