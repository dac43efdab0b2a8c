package recovery

import (
	"cmp"
	"context"
	"errors"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/password"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
)

// FreezeFor is how long after a recovery addresses, contacts and the saved code stay as they are.
const FreezeFor = account.Hold

// StartWait begins the waiting time, which stands in for a second proof. Every address is told, and any
// of them can stop it. It is three times as long (otherWays) if the account has an address not proved in this flow, or a passkey.
func (s *Service) StartWait(ctx context.Context, ref signin.Ref, c signin.Client) (next Next, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findAt(ctx, tx, request{ref, c}, StepMore)
		if err != nil {
			return err
		}
		if s.Wait == 0 {
			return outOfOrder("there is no waiting time")
		}
		ok, err := s.Throttle.Take(ctx, tx, s.Limits.WaitOwner, string(f.OwnerKey))
		if err != nil {
			return err
		}
		if !ok {
			return errLimited
		}
		next, err = s.wait(ctx, tx, f)
		return err
	})
	return next, limited(err)
}

func (s *Service) wait(ctx context.Context, tx *sqldb.Tx, f flow) (Next, error) {
	long, err := s.waitOf(ctx, tx, f)
	if err != nil {
		return Next{}, err
	}
	f.ReadyAt = tx.Now().Add(long)
	f.ExpiresAt = f.ReadyAt.Add(finishFor)
	first, err := setReady(ctx, tx, f)
	if err == nil && !first {
		err = outOfOrder("another request moved the flow")
	}
	if err != nil {
		return Next{}, err
	}
	if err := s.record(ctx, tx, f, audit.RecoveryWaits, nil); err != nil {
		return Next{}, err
	}
	err = s.Notices.Tell(ctx, tx, notice.Event{
		Kind: message.RecoveryWaiting, Account: f.Account, Source: f.From.Source, Device: device.NameOf(f.From.UserAgent), Ends: f.ReadyAt,
	})
	if err != nil {
		return Next{}, err
	}
	if f.Step, err = s.step(ctx, tx, f); err != nil {
		return Next{}, err
	}
	return s.next(ctx, tx, f)
}

// waitOf is how long a flow waits.
func (s *Service) waitOf(ctx context.Context, tx *sqldb.Tx, f flow) (time.Duration, error) {
	all, err := s.Accounts.Addresses(ctx, tx, f.Account)
	if err != nil {
		return 0, err
	}
	reaches, err := s.Accounts.Reaches(ctx, tx, f.Account) // those too that were removed lately
	if err != nil {
		return 0, err
	}
	for _, r := range reaches {
		all = append(all, r.Address)
	}
	for _, a := range all {
		proved := false
		for _, p := range f.Proved {
			proved = proved || p.of() == a.ID
		}
		if a.Verified && !proved {
			return otherWays * s.Wait, nil
		}
	}
	if passkey, err := s.Passkeys.Has(ctx, tx, f.Account); err != nil || passkey {
		return otherWays * s.Wait, err
	}
	return s.Wait, nil
}

// Finish sets a new password, if enough was proved. Every session and remembered device ends, changes
// freeze, every address is told, and nobody is signed in (C-FP-10). A saved code that was used is
// replaced, and the new one returned to be shown once. A locked account cannot come this far.
//
// Errors: those of password.Check, fault.Invalid "password_unchanged" for a password that was stopped, fault.Conflict "step_out_of_order", fault.Gone "flow_ended".
func (s *Service) Finish(ctx context.Context, ref signin.Ref, c signin.Client, plain string) (saved secret.Token, err error) {
	done, err := s.Passwords.Admit()
	if err != nil {
		return secret.Token{}, err
	}
	defer done()
	r := request{ref, c}
	var personal []string
	var stored password.Stored
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findAt(ctx, tx, r, StepPassword)
		if err != nil {
			return err
		}
		all, err := s.Accounts.Addresses(ctx, tx, f.Account)
		personal = personal[:0]
		for _, a := range all {
			personal = append(personal, a.Normal)
		}
		if err == nil {
			stored, err = s.Passwords.Load(ctx, tx, f.Account)
		}
		return err
	})
	if err != nil {
		return secret.Token{}, limited(err)
	}
	if err := s.Passwords.Check(plain, personal); err != nil {
		return secret.Token{}, err
	}
	v, err := s.Passwords.Verify(ctx, stored, plain)
	if err == nil && v.Stopped { // its holder stopped it because somebody else may know it
		err = fault.New(fault.Invalid, "password_unchanged", errors.New("the new password is the one that was stopped"))
	}
	if err != nil {
		return secret.Token{}, err
	}
	hash, err := s.Passwords.Hash(ctx, plain)
	if err != nil {
		return secret.Token{}, err
	}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findAt(ctx, tx, r, StepPassword)
		if err != nil {
			return err
		}
		if err := s.Accounts.Alone(ctx, tx, f.Account); err != nil {
			return err
		}
		if stands, err := s.stand(ctx, tx, f); err != nil || !stands { // its holder was changing something
			return cmp.Or(err, gone())
		}
		if err := s.Passwords.SetHash(ctx, tx, f.Account, hash); err != nil {
			return err
		}
		saved, err = s.finish(ctx, tx, f)
		return err
	})
	return saved, limited(err)
}

// finish ends a flow, which one of any number of requests does, and then everything else.
func (s *Service) finish(ctx context.Context, tx *sqldb.Tx, f flow) (saved secret.Token, err error) {
	ended, err := endFlow(ctx, tx, f)
	if err != nil {
		return secret.Token{}, err
	}
	if !ended {
		return secret.Token{}, gone()
	}
	if f.Saved != nil {
		if saved, err = s.replaceSaved(ctx, tx, f); err != nil {
			return secret.Token{}, err
		}
	}
	for _, do := range []func() error{
		func() error { _, err := endAll(ctx, tx, f.Account); return err },
		func() error { return s.Sessions.EndAll(ctx, tx, f.Account, "password recovered") },
		func() error { return s.Devices.ForgetAll(ctx, tx, f.Account) },
		func() error { // one that somebody else added lately would outlive the new password
			began, err := beganAt(ctx, tx, f)
			if err == nil {
				_, err = s.Passkeys.EndSince(ctx, tx, f.Account, began.Add(-account.Hold))
			}
			return err
		},
		func() error { return s.Accounts.Freeze(ctx, tx, f.Account, tx.Now().Add(FreezeFor)) },
		func() error { return s.keep(ctx, tx, f) },
		func() error { return s.SignIn.ClearCounts(ctx, tx, f.Account) }, // they were of another password
		func() error {
			return s.record(ctx, tx, f, audit.RecoveryDone, map[string]string{"methods": f.methods()})
		},
		func() error { return s.tell(ctx, tx, f, message.RecoveryDone) },
	} {
		if err := do(); err != nil {
			return secret.Token{}, err
		}
	}
	return saved, nil
}

// keep calls an erasure off: whoever asked for it has lost the account, or has come back to it.
func (s *Service) keep(ctx context.Context, tx *sqldb.Tx, f flow) error {
	kept, err := s.Accounts.Keep(ctx, tx, f.Account)
	if err != nil || !kept {
		return err
	}
	return s.tell(ctx, tx, f, message.EraseStopped)
}

// replaceSaved makes a saved code anew that was used (N-4.2.1.1-05). If it is no more the one that was
// shown, the proof is void: somebody made a new one because the old was lost.
func (s *Service) replaceSaved(ctx context.Context, tx *sqldb.Tx, f flow) (secret.Token, error) {
	code := secret.NewPaper()
	same, err := swapSavedCode(ctx, tx, f.Saved, s.savedRow(f.Account, code))
	if err != nil {
		return secret.Token{}, err
	}
	if !same {
		return secret.Token{}, gone()
	}
	return code, s.tell(ctx, tx, f, message.SavedCodeChanged)
}

func (s *Service) tell(ctx context.Context, tx *sqldb.Tx, f flow, kind message.Kind) error {
	return s.Notices.Tell(ctx, tx, notice.Event{Kind: kind, Account: f.Account, Source: f.From.Source, Device: device.NameOf(f.From.UserAgent)})
}

// Stop ends every recovery of an account that is under way, because its holder said that it was not
// them. stopped is false if none was, and then nobody is told.
func (s *Service) Stop(ctx context.Context, tx *sqldb.Tx, id account.ID, c signin.Client) (stopped bool, err error) {
	n, err := endAll(ctx, tx, id)
	if err != nil || n == 0 {
		return false, err
	}
	f := flow{Account: id, From: c}
	if err := s.record(ctx, tx, f, audit.RecoveryStopped, nil); err != nil {
		return false, err
	}
	return true, s.tell(ctx, tx, f, message.RecoveryStopped)
}

// Undo takes back what was made for recovering an account since: a saved code, and contacts. Contacts
// that were removed do not come back.
func (s *Service) Undo(ctx context.Context, tx *sqldb.Tx, id account.ID, since time.Time) error {
	return deleteSince(ctx, tx, id, since)
}
