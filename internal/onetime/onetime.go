// Package onetime issues and checks one-time codes sent by text message or e-mail. It owns
// the table onetime_code.
//
// A flow has one code, the newest: sending again overwrites the old. The code is stored as a
// keyed digest bound to its flow, so it is worth nothing in another. Tries are not counted
// here but by the caller's throttle, across codes and flows.
package onetime

import (
	"context"
	"time"

	"countersign/internal/keyring"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// Service issues codes. All fields are required.
type Service struct {
	Ring   *keyring.Ring
	Digits int           // at least 6 (N-3.1.3.2-04)
	TTL    time.Duration // at most 10 minutes (A-6.5.5, N-3.1.3.2-02)
}

// waits before the next code of one flow may be sent: the first is the time within which a text message
// that works arrives (the next goes by another provider, if there is one), then longer, since every one costs money. After the last there are no more.
var waits = [...]time.Duration{20 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute} //nolint:gochecknoglobals // a constant table

// Issued is a code that was written, or the time to wait for one.
type Issued struct {
	Code      secret.Token
	TooSoon   bool      // nothing was written; ResendAt says when to ask again
	ResendAt  time.Time // zero: this flow gets no further code
	ExpiresAt time.Time
}

// Request asks for a code for one flow.
type Request struct {
	Flow, Account, Way string
	FlowEnds           time.Time // the code never outlives its flow
}

// Issue writes a new code for the flow, unless the last was sent too short a time ago. The
// second need not wait if it goes another way: the phone may be at home.
func (s *Service) Issue(ctx context.Context, tx *sqldb.Tx, r Request) (Issued, error) {
	code := secret.NewDigits(s.Digits)
	expires := tx.Now().Add(s.TTL)
	if r.FlowEnds.Before(expires) {
		expires = r.FlowEnds
	}
	sends, ok, err := put(ctx, tx, r, s.digest(r.Flow, code), expires)
	if err != nil {
		return Issued{}, err
	}
	if !ok {
		last, sends, err := lastSent(ctx, tx, r.Flow)
		return Issued{TooSoon: true, ResendAt: resendAt(last, sends)}, err
	}
	return Issued{Code: code, ResendAt: resendAt(tx.Now(), sends), ExpiresAt: expires}, nil
}

// Spend uses the flow's code up if it is the one given. Of any number of parallel calls one wins.
func (s *Service) Spend(ctx context.Context, tx *sqldb.Tx, flow string, code secret.Token) (way string, ok bool, err error) {
	return spend(ctx, tx, flow, s.Ring.Digests("onetime/"+flow, code))
}

// State returns by which way the flow's last code went and when another may be asked for; ok is false if none was sent.
func (s *Service) State(ctx context.Context, tx *sqldb.Tx, flow string) (way string, resend time.Time, ok bool, err error) {
	way, last, sends, ok, err := current(ctx, tx, flow)
	return way, resendAt(last, sends), ok, err
}

// SentAs notes which letter the flow's newest code is in.
func (s *Service) SentAs(ctx context.Context, tx *sqldb.Tx, flow, letter string) error {
	return sentAs(ctx, tx, flow, letter)
}

// Letter returns the letter that the flow's newest code is in, or empty.
func (s *Service) Letter(ctx context.Context, tx *sqldb.Tx, flow string) (string, error) {
	return letterOf(ctx, tx, flow)
}

// Prune deletes a bounded number of codes that have expired and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }

// Holdings is what the table has of the ring's keys.
func (s *Service) Holdings() []keyring.Holding { return []keyring.Holding{s.Ring.Digested(digested())} }

func (s *Service) digest(flow string, code secret.Token) []byte {
	return s.Ring.Digest("onetime/"+flow, code)
}

func resendAt(last time.Time, sends int) time.Time {
	if sends < 1 || sends > len(waits) {
		return time.Time{}
	}
	return last.Add(waits[sends-1])
}
