package registration

import (
	"context"
	"strconv"
	"time"

	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/onetime"
	"countersign/internal/outbox"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
	"countersign/internal/throttle"
)

// Sent says that a letter was accepted for sending, or with TooSoon that one was lately and when another
// may be asked for (zero: this flow gets no more).
type Sent struct {
	Way       factor.Way
	TooSoon   bool
	ResendAt  time.Time
	ExpiresAt time.Time // of the code
}

// Send sends a new code to the flow's address; the old code is worthless from then on. In a barred flow
// everything is the same but what the letter says, or that the courier withholds it.
func (s *Service) Send(ctx context.Context, ref signin.Ref, c signin.Client) (sent Sent, err error) {
	var refused error
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		sent, refused = Sent{}, nil
		f, err := s.findAt(ctx, tx, request{ref, c}, StepCode)
		if err != nil {
			return err
		}
		way, resend, ok, err := s.Codes.State(ctx, tx, f.ID)
		if err != nil {
			return err
		}
		if ok && (resend.IsZero() || tx.Now().Before(resend)) { // known before anything is counted
			sent = Sent{Way: factor.Way(way), TooSoon: true, ResendAt: resend}
			return nil
		}
		admitted, err := s.admitSend(ctx, tx, f)
		if err != nil || !admitted {
			refused = tooMany()
			return err
		}
		sent, err = s.send(ctx, tx, f)
		return err
	})
	if err == nil && refused != nil {
		return Sent{}, refused
	}
	return sent, err
}

// send writes the code and one of two letters. Both are put together each time, so that which of them
// goes takes no time to tell.
func (s *Service) send(ctx context.Context, tx *sqldb.Tx, f flow) (Sent, error) {
	way := wayTo(f.Address)
	code, err := s.Codes.Issue(ctx, tx, onetime.Request{Flow: f.ID, Way: string(way), FlowEnds: f.ExpiresAt})
	if err != nil || code.TooSoon {
		return Sent{Way: way, TooSoon: true, ResendAt: code.ResendAt}, err
	}
	told, err := s.Throttle.Take(ctx, tx, s.Limits.Told, string(f.NameKey)) // for everybody, or its row would tell
	if err != nil {
		return Sent{}, err
	}
	if err := s.record(ctx, tx, f, audit.CodeSent, map[string]string{"way": string(way)}); err != nil {
		return Sent{}, err
	}
	minutes := strconv.Itoa(max(1, int(code.ExpiresAt.Sub(tx.Now())/time.Minute)))
	proof := message.Letter{
		Kind: message.AddressCode, Channel: message.Channel(way), To: f.Address.Normal(), Language: f.Language,
		Params: map[string]string{"code": code.Code.Reveal(), "minutes": minutes, "site": s.Site},
	}
	attempt := s.attempt(f, tx.Now())
	err = s.PutCode(ctx, tx, f.ID, outbox.Letter{
		Letter: proof, Twin: &attempt, SendTwin: f.Barred, Withhold: f.Barred && !told, ExpiresAt: code.ExpiresAt,
	})
	return Sent{Way: way, ResendAt: code.ResendAt, ExpiresAt: code.ExpiresAt}, err
}

// attempt tells whoever has an account that somebody tried to open one with its address.
func (s *Service) attempt(f flow, now time.Time) message.Letter {
	l := message.Letter{
		Kind: message.RegistrationAttempt, Channel: message.Channel(wayTo(f.Address)), To: f.Address.Normal(), Language: f.Owner,
		Params: map[string]string{"when": now.UTC().Format(time.RFC3339), "device": device.NameOf(f.From.UserAgent), "site": s.Site},
	}
	if l.Language == "" {
		l.Language = f.Language
	}
	if s.Notices.Where != nil {
		if place := s.Notices.Where(f.From.Source, l.Language); place != "" {
			l.Params["place"] = place
		}
	}
	return l
}

// Code proves the address. A wrong, old, foreign or expired code is Next{Step: StepCode, Refused: true};
// over the limit nothing is evaluated.
func (s *Service) Code(ctx context.Context, ref signin.Ref, c signin.Client, code secret.Token) (next Next, err error) {
	admitted := false
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findAt(ctx, tx, request{ref, c}, StepCode)
		if err != nil {
			return err
		}
		if admitted, err = s.admitCode(ctx, tx, f); err != nil || !admitted {
			return err
		}
		next, err = s.tryCode(ctx, tx, f, code)
		return err
	})
	if err == nil && !admitted {
		err = tooMany()
	}
	return next, err
}

// admitCode counts a try before it is evaluated, by the address typed, across flows and codes.
func (s *Service) admitCode(ctx context.Context, tx *sqldb.Tx, f flow) (bool, error) {
	if ok, err := s.admitStep(ctx, tx, f.From); err != nil || !ok {
		return false, err
	}
	ok, err := s.Throttle.Attempt(ctx, tx, s.Limits.Code, string(f.NameKey))
	if err != nil || ok {
		return ok, err
	}
	once := throttle.Rate{Name: "audit/" + s.Limits.Code.Name, Burst: 1, Every: 10 * time.Minute}
	if note, err := s.Throttle.Take(ctx, tx, once, string(f.NameKey)); err != nil || !note {
		return false, err
	}
	return false, s.record(ctx, tx, f, audit.Throttled, map[string]string{"limit": s.Limits.Code.Name})
}

func (s *Service) tryCode(ctx context.Context, tx *sqldb.Tx, f flow, code secret.Token) (Next, error) {
	_, right, err := s.Codes.Spend(ctx, tx, f.ID, code)
	if err != nil {
		return Next{}, err
	}
	if !right || f.Barred {
		if err := s.record(ctx, tx, f, audit.CodeFailed, nil); err != nil {
			return Next{}, err
		}
		n, err := s.next(ctx, tx, f)
		n.Refused = true
		return n, err // a value, not an error: the counted try must be committed
	}
	if err := s.Throttle.Clear(ctx, tx, s.Limits.Code, string(f.NameKey)); err != nil {
		return Next{}, err
	}
	if err := s.CameBack(ctx, tx, f.ID, f.Address.Normal()); err != nil {
		return Next{}, err
	}
	if err := s.advance(ctx, tx, &f, StepAbout); err != nil {
		return Next{}, err
	}
	return s.next(ctx, tx, f)
}
