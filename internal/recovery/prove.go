package recovery

import (
	"context"
	"crypto/hmac"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/factor"
	"countersign/internal/password"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
	"countersign/internal/throttle"
)

// proof is something that was proved: a method, and for codes the address that had it, for a password which it was.
type proof string

func proofOf(m Method, address string) proof { return proof(string(m) + ":" + address) }

func (p proof) method() Method { m, _, _ := strings.Cut(string(p), ":"); return Method(m) }

func (p proof) of() string { _, a, _ := strings.Cut(string(p), ":"); return a }

// trial is one try of a proof.
type trial struct {
	method Method
	counts counts
	// judge evaluates it, and says what it proved. With shut it must do the same work and prove nothing.
	judge func(ctx context.Context, tx *sqldb.Tx, f *flow, shut bool) (verdict, error)
}

// verdict is what a try was worth: nothing, a proof, or a part of one.
type verdict struct {
	proof proof
	part  bool
}

// counts are the ladders a try climbs: one shows and counts by the name typed, the other is silent.
type counts struct{ shown, silent string }

func (s *Service) countsOf(f flow, what string) counts {
	return counts{string(f.NameKey) + what, string(f.OwnerKey) + what}
}

// addressCounts count the tries at one address, so that the right code of another address, which
// somebody else may have, does not give them back. Before the first proof it is the address typed. An
// address that is not there has counts too, for each way its own, as if it were.
func (s *Service) addressCounts(f flow, to account.Address) counts {
	which := string(f.Way)
	if f.Step == StepCode {
		which = string(f.ToKey)
	}
	c := counts{string(f.NameKey) + which, string(f.OwnerKey) + to.ID}
	if to.ID == nowhere {
		c.silent = string(f.OwnerKey) + which
	}
	return c
}

// Code proves an address by the code sent there: before the first proof the one typed at the
// beginning, whatever the way says. A wrong, old, foreign or expired code is Next.Refused.
func (s *Service) Code(ctx context.Context, ref signin.Ref, c signin.Client, w factor.Way, code secret.Token) (next Next, err error) {
	return s.try(ctx, request{ref, c}, func(ctx context.Context, tx *sqldb.Tx, f *flow) (trial, error) {
		if f.Step != StepCode {
			f.Way = w
		}
		to, err := s.destination(ctx, tx, *f)
		return trial{Method(f.Way), s.addressCounts(*f, to), func(ctx context.Context, tx *sqldb.Tx, f *flow, shut bool) (verdict, error) {
			if shut || f.Barred || to.ID == nowhere {
				code = secret.Token{} // the same work, and it fits nothing
			}
			_, right, err := s.Codes.Spend(ctx, tx, f.codeKey(to), code)
			if err == nil && right {
				err = s.CameBack(ctx, tx, f.codeKey(to), to.Normal)
			}
			if err != nil || !right {
				return verdict{}, err
			}
			return verdict{proof: proofOf(Method(f.Way), to.ID)}, nil
		}}, err
	}, StepCode, StepMore, StepWaiting)
}

// SavedCode proves the saved recovery code. It may be the first proof. The code is used up when the new
// password is set, not before: who gives up on the way has it still.
func (s *Service) SavedCode(ctx context.Context, ref signin.Ref, c signin.Client, typed secret.Token) (Next, error) {
	return s.try(ctx, request{ref, c}, func(_ context.Context, _ *sqldb.Tx, f *flow) (trial, error) {
		return trial{BySaved, s.countsOf(*f, "saved"), func(ctx context.Context, tx *sqldb.Tx, f *flow, shut bool) (verdict, error) {
			digest := s.savedDigest(f.Account, typed)
			stored, err := savedCode(ctx, tx, s.savedLookup(f.Account))
			if err != nil || !hmac.Equal(stored, digest) || shut || f.Barred {
				return verdict{}, err
			}
			f.Saved = digest
			return verdict{proof: proof(BySaved)}, nil
		}}, nil
	}, StepCode, StepMore, StepWaiting)
}

// OwnCode proves a code that the holder has: of an app or a token, or of a list. Never the first proof.
// fault.Invalid "way_unknown".
func (s *Service) OwnCode(ctx context.Context, ref signin.Ref, c signin.Client, w factor.Way, code secret.Token) (Next, error) {
	if !w.Typed() {
		return Next{}, fault.New(fault.Invalid, "way_unknown", errors.New("nobody has codes of that kind"))
	}
	return s.try(ctx, request{ref, c}, func(_ context.Context, _ *sqldb.Tx, f *flow) (trial, error) {
		return trial{Method(w), s.countsOf(*f, string(w)), func(ctx context.Context, tx *sqldb.Tx, f *flow, shut bool) (verdict, error) {
			who := f.Account
			if shut || f.Barred {
				who = account.Last // the same work, and it uses up nothing
			}
			right, err := s.Spend(ctx, tx, who, w, code)
			if err != nil || !right {
				return verdict{}, err
			}
			return verdict{proof: proof(w)}, nil
		}}, nil
	}, StepMore, StepWaiting)
}

// ContactCode proves that a contact trusts the person. With two or more contacts it takes the codes of
// two: one may have been taken in.
func (s *Service) ContactCode(ctx context.Context, ref signin.Ref, c signin.Client, code secret.Token) (Next, error) {
	return s.try(ctx, request{ref, c}, func(_ context.Context, _ *sqldb.Tx, f *flow) (trial, error) {
		return trial{ByContact, s.countsOf(*f, "contact"), func(ctx context.Context, tx *sqldb.Tx, f *flow, shut bool) (verdict, error) {
			if shut {
				code = secret.Token{}
			}
			right, err := spendContactCode(ctx, tx, f.ID, s.contactDigests(f.ID, code))
			if err != nil || !right {
				return verdict{}, err
			}
			asked, used, err := contactCodes(ctx, tx, f.ID, f.Account)
			if err != nil || used < min(2, asked) {
				return verdict{part: true}, err
			}
			return verdict{proof: proof(ByContact)}, nil
		}}, nil
	}, StepMore, StepWaiting)
}

// try runs one try of a proof: it is counted before it is evaluated, and what it proved is written if
// the flow still stands where it was read.
func (s *Service) try(ctx context.Context, r request, what func(context.Context, *sqldb.Tx, *flow) (trial, error), steps ...Step) (next Next, err error) {
	admitted := false
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findAt(ctx, tx, r, steps...)
		if err != nil {
			return err
		}
		t, err := what(ctx, tx, &f)
		if err != nil {
			return err
		}
		var shut bool
		if admitted, shut, err = s.attempt(ctx, tx, f, t); err != nil || !admitted {
			return err
		}
		v, err := t.judge(ctx, tx, &f, shut)
		if err == nil {
			next, err = s.judged(ctx, tx, f, t, v)
		}
		return err
	})
	if err == nil && !admitted {
		err = errLimited
	}
	return next, limited(err)
}

// attempt counts a try in advance. It is answered only if ok, and must prove nothing if shut.
func (s *Service) attempt(ctx context.Context, tx *sqldb.Tx, f flow, t trial) (ok, shut bool, err error) {
	if ok, err = s.Throttle.Attempt(ctx, tx, s.Limits.Try, t.counts.shown); err != nil {
		return false, false, err
	}
	if !ok {
		return false, false, s.noteLimit(ctx, tx, f)
	}
	within, err := s.Throttle.Attempt(ctx, tx, s.Limits.TryOwner, t.counts.silent)
	return true, !within, err
}

// noteLimit records that a limit held, at most once in ten minutes: a flood must not write a row a request.
func (s *Service) noteLimit(ctx context.Context, tx *sqldb.Tx, f flow) error {
	once := throttle.Rate{Name: "audit/" + s.Limits.Try.Name, Burst: 1, Every: 10 * time.Minute}
	ok, err := s.Throttle.Take(ctx, tx, once, string(f.NameKey))
	if err != nil || !ok {
		return err
	}
	return s.record(ctx, tx, f, audit.Throttled, map[string]string{"limit": s.Limits.Try.Name})
}

// judged writes what a try was worth.
func (s *Service) judged(ctx context.Context, tx *sqldb.Tx, f flow, t trial, v verdict) (Next, error) {
	if v == (verdict{}) {
		if err := s.record(ctx, tx, f, audit.RecoveryFailed, map[string]string{"method": string(t.method)}); err != nil {
			return Next{}, err
		}
		n, err := s.next(ctx, tx, f)
		n.Refused = true
		return n, err // a value, not an error: the counted try must be committed
	}
	if v.part {
		n, err := s.next(ctx, tx, f)
		n.OneMore = true
		return n, errors.Join(err, s.forgive(ctx, tx, t.counts))
	}
	if err := s.clear(ctx, tx, t.counts); err != nil {
		return Next{}, err
	}
	if err := s.record(ctx, tx, f, audit.RecoveryProved, map[string]string{"method": string(t.method)}); err != nil {
		return Next{}, err
	}
	return s.proved(ctx, tx, f, v.proof)
}

// proved adds a proof to a flow. Of two proofs at once one is written, and the other is asked for again.
func (s *Service) proved(ctx context.Context, tx *sqldb.Tx, f flow, p proof) (Next, error) {
	before := f.Proved
	if !slices.Contains(before, p) {
		f.Proved = append(slices.Clone(before), p)
	}
	f.Way = ""
	var err error
	if f.Step, err = s.step(ctx, tx, f); err != nil {
		return Next{}, err
	}
	switch until := tx.Now().Add(moreFor); {
	case f.Step == StepPassword && f.ReadyAt.IsZero():
		f.ExpiresAt = tx.Now().Add(setFor)
	case f.ExpiresAt.Before(until):
		f.ExpiresAt = until
	}
	moved, err := setProved(ctx, tx, f, before)
	if err == nil && !moved {
		err = outOfOrder("another request moved the flow")
	}
	if err != nil {
		return Next{}, err
	}
	return s.next(ctx, tx, f)
}

// passwordProof is what knowing that password proves: until it is replaced.
func passwordProof(stored password.Stored) proof {
	return proofOf(ByPassword, strconv.FormatInt(int64(stored.Version()), 10))
}

// stand reports whether all that was proved still is the account's. What its holder has removed meanwhile, an
// address, a contact or a password, proves nothing more: they may have learnt who has it.
func (s *Service) stand(ctx context.Context, tx *sqldb.Tx, f flow) (bool, error) {
	who, err := s.Accounts.Get(ctx, tx, f.Account)
	if err != nil {
		return false, err
	}
	own, err := s.Accounts.Recovers(ctx, tx, who)
	if err != nil {
		return false, err
	}
	stored, err := s.Passwords.Load(ctx, tx, f.Account)
	if err != nil {
		return false, err
	}
	for _, p := range f.Proved {
		stands := true
		switch p.method() {
		case BySMS, ByEmail:
			stands = slices.ContainsFunc(own, func(a account.Address) bool { return a.ID == p.of() })
		case ByPassword:
			stands = p == passwordProof(stored)
		case ByContact: // looked at here alone: it takes longer the more contacts there are, and not everybody may know how many
			asked, used, err := contactCodes(ctx, tx, f.ID, f.Account)
			if err != nil {
				return false, err
			}
			stands = used > 0 && used >= min(2, asked)
		case ByOTP:
			if stands, err = s.Authenticators.Has(ctx, tx, f.Account); err != nil {
				return false, err
			}
		case BySaved, ByBackup: // replaceSaved sees to the one; the other was used up
		}
		if !stands {
			return false, nil
		}
	}
	return true, nil
}

// OldPassword proves the password that the account had. One that was stopped counts too, since the
// proof before it came from an address that the password alone does not open; but not while changes
// are frozen, when the holder has just said that somebody knows it.
func (s *Service) OldPassword(ctx context.Context, ref signin.Ref, c signin.Client, typed string) (next Next, err error) {
	done, err := s.Passwords.Admit()
	if err != nil {
		return Next{}, err
	}
	defer done()
	r := request{ref, c}
	var t trial
	var shut, admitted bool
	var stored password.Stored
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findAt(ctx, tx, r, StepMore, StepWaiting)
		if err != nil {
			return err
		}
		t = trial{method: ByPassword, counts: s.countsOf(f, "password")}
		if admitted, shut, err = s.attempt(ctx, tx, f, t); err != nil || !admitted {
			return err
		}
		stored, err = s.Passwords.Load(ctx, tx, f.Account)
		return err
	})
	if err == nil && !admitted {
		err = errLimited
	}
	if err != nil {
		return Next{}, limited(err)
	}
	v, err := s.Passwords.Verify(ctx, stored, typed) // outside any transaction: it takes as long as it takes
	if err != nil {
		after := context.WithoutCancel(ctx)
		if shut {
			t.counts.silent = "" // it was not counted there
		}
		return Next{}, errors.Join(err, s.DB.Write(after, func(tx *sqldb.Tx) error { return s.forgive(after, tx, t.counts) }))
	}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findAt(ctx, tx, r, StepMore, StepWaiting)
		if err != nil {
			return err
		}
		standing, err := s.Accounts.Standing(ctx, tx, f.Account)
		if err != nil {
			return err
		}
		var worth verdict
		if fits := v.OK || v.Stopped && standing.FrozenUntil.IsZero(); fits && !shut {
			worth.proof = passwordProof(stored)
		}
		next, err = s.judged(ctx, tx, f, t, worth)
		return err
	})
	return next, limited(err)
}

func (s *Service) clear(ctx context.Context, tx *sqldb.Tx, c counts) error {
	err := s.Throttle.Clear(ctx, tx, s.Limits.Try, c.shown)
	if err == nil {
		err = s.Throttle.Clear(ctx, tx, s.Limits.TryOwner, c.silent)
	}
	return err
}

// forgive takes the counts of a try back that was not a failure.
func (s *Service) forgive(ctx context.Context, tx *sqldb.Tx, c counts) error {
	err := s.Throttle.Forgive(ctx, tx, s.Limits.Try, c.shown)
	if err == nil && c.silent != "" {
		err = s.Throttle.Forgive(ctx, tx, s.Limits.TryOwner, c.silent)
	}
	return err
}
