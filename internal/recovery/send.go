package recovery

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/onetime"
	"countersign/internal/outbox"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
)

// nowhere is the address of a code that goes to nobody.
const nowhere = string(account.Last)

// Send sends a code: before the first proof the first one again, to where the person said at the
// beginning; after it one to an address of that kind which was not proved yet, if the account has one.
// A flow that may not send by this way (yet) is told so in Next.TooSoon.
func (s *Service) Send(ctx context.Context, ref signin.Ref, c signin.Client, w factor.Way) (next Next, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findAt(ctx, tx, request{ref, c}, StepCode, StepMore, StepWaiting)
		if err != nil {
			return err
		}
		if !slices.Contains(s.Ways, w) || f.Step == StepCode && w != f.Way {
			return fault.New(fault.Invalid, "way_unknown", errors.New("not among the ways offered"))
		}
		f.Way = w
		next, err = s.send(ctx, tx, f)
		return err
	})
	return next, limited(err)
}

// send writes a code and its letter. Where there is nobody to write to, or a silent limit holds,
// everything is the same but that the courier withholds the letter (I-07).
func (s *Service) send(ctx context.Context, tx *sqldb.Tx, f flow) (Next, error) {
	if f.Step == "" {
		f.Step = StepCode
	}
	to, err := s.destination(ctx, tx, f)
	if err != nil {
		return Next{}, err
	}
	code, err := s.Codes.Issue(ctx, tx, onetime.Request{Flow: f.codeKey(to), Account: string(f.Account), Way: string(f.Way), FlowEnds: f.ExpiresAt})
	if err != nil || code.TooSoon {
		n, e := s.next(ctx, tx, f)
		n.TooSoon = true
		return n, errors.Join(err, e)
	}
	within, err := s.admitSend(ctx, tx, f)
	if err != nil {
		return Next{}, err
	}
	if err := setWay(ctx, tx, f); err != nil {
		return Next{}, err
	}
	if err := s.record(ctx, tx, f, audit.CodeSent, map[string]string{"way": string(f.Way), "for": "recovery"}); err != nil {
		return Next{}, err
	}
	who, err := s.Accounts.Get(ctx, tx, f.Account)
	if err != nil {
		return Next{}, err
	}
	err = s.PutCode(ctx, tx, f.codeKey(to), outbox.Letter{
		Letter: message.Letter{
			Kind: message.RecoveryCode, Channel: message.Channel(f.Way), To: to.Normal, Language: who.Language,
			Params: map[string]string{"code": code.Code.Reveal(), "minutes": minutes(code.ExpiresAt.Sub(tx.Now())), "site": s.Site},
		},
		Account: string(f.Account), Withhold: f.Barred || !within || to.ID == nowhere, ExpiresAt: code.ExpiresAt,
	})
	if err != nil {
		return Next{}, err
	}
	return s.next(ctx, tx, f)
}

func minutes(d time.Duration) string { return strconv.Itoa(max(1, int(d/time.Minute))) }

// admitSend takes one send of each limit. The source's shows (errLimited); those of name and account
// are silent, and both are taken whatever the other says, for the work.
func (s *Service) admitSend(ctx context.Context, tx *sqldb.Tx, f flow) (within bool, err error) {
	if err := s.takeBoth(ctx, tx, f.From, s.Limits.SendSource, s.Limits.SendAll); err != nil {
		return false, err
	}
	byName, err := s.Throttle.Take(ctx, tx, s.Limits.SendName, string(f.NameKey)+string(f.Way))
	if err != nil {
		return false, err
	}
	byOwner, err := s.Throttle.Take(ctx, tx, s.Limits.SendOwner, string(f.OwnerKey)+string(f.Way))
	return byName && byOwner, err
}

// destination is where a code by the flow's way goes: before the first proof to the address that was
// typed, after it to the first of that kind that was not proved. Nowhere, if the account has none, or
// has it no more. It is chosen anew each time, from what the account has now.
func (s *Service) destination(ctx context.Context, tx *sqldb.Tx, f flow) (account.Address, error) {
	who, err := s.Accounts.Get(ctx, tx, f.Account)
	if err != nil {
		return account.Address{}, err
	}
	own, err := s.Accounts.Recovers(ctx, tx, who)
	if err != nil {
		return account.Address{}, err
	}
	kind := map[factor.Way]account.Kind{factor.SMS: account.Phone, factor.Email: account.Email}[f.Way]
	for _, a := range own {
		wanted := a.ID == f.Address
		if f.Step != StepCode {
			wanted = !slices.ContainsFunc(f.Proved, func(p proof) bool { return p.of() == a.ID })
		}
		if wanted && a.Kind == kind {
			return a, nil
		}
	}
	return account.Address{ID: nowhere, Kind: kind}, nil
}

// record records an event, and counts it once it has come to stay.
func (s *Service) record(ctx context.Context, tx *sqldb.Tx, f flow, kind audit.Kind, detail map[string]string) error {
	if s.Count != nil {
		tx.AfterCommit(func() { s.Count(kind) })
	}
	return s.Audit.Append(ctx, tx, audit.Event{Kind: kind, Account: string(f.Account), Source: f.From.Source, Detail: detail})
}
