// Package approval lets whoever is signed in on a recognised device let a sign-in on another device in. It owns
// the table approval.
//
// The new device shows a number, and its owner types it on the old one: nothing is approved by pressing yes, which
// people do to be left alone (N-3.1.3-02). Nothing is pushed either: a request waits on a page. One belongs to one
// sign-in, lives for ten minutes, takes three wrong numbers and lets one session begin.
//
// The number is computed from a random seed under a key: the new device can show it again, and the database has no
// number.
package approval

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

const (
	// TTL is how long a request waits (A-6.5.5, N-3.1.3.2-02).
	TTL = 10 * time.Minute
	// Tries are the wrong numbers that a request takes: of a million a guesser hits one in 333,333 requests.
	Tries = 3
	// Most is how many requests of an account may have come to nothing within an hour; then none is offered.
	Most = 3
	// QuietFor is how long none is offered after one was refused: by then the password should be another.
	QuietFor = 24 * time.Hour
)

// Service keeps requests. Ring is required.
type Service struct{ Ring *keyring.Ring }

// ID names a request to its owner, and the sign-in that it is of. It is not a secret.
type ID string

// State is where a request stands.
type State string

// The states.
const (
	Waiting  State = "waiting"
	Approved State = "approved"
	Over     State = "over" // refused, used, too old, or out of tries
)

// Request is a sign-in that waits for its owner, as the owner sees it.
type Request struct {
	ID                 ID
	Source             netip.Addr // whence it is; the zero Addr where it cannot be opened
	Device             string     // the browser or app, as it calls itself
	AskedAt, ExpiresAt time.Time
}

// New is a request to be made.
type New struct {
	ID       ID
	Account  account.ID
	Source   netip.Addr
	Device   string
	FlowEnds time.Time // it never outlives its sign-in
}

// Shown is what the new device shows.
type Shown struct {
	State     State
	Number    secret.Token
	ExpiresAt time.Time
}

// from is whence a request is, as it is sealed.
type from struct {
	Source netip.Addr `json:"source"`
	Device string     `json:"device"`
}

// Ask makes a sign-in's request, once. made is false if it had one already.
func (s *Service) Ask(ctx context.Context, tx *sqldb.Tx, n New) (made bool, err error) {
	expires := tx.Now().Add(TTL)
	if n.FlowEnds.Before(expires) {
		expires = n.FlowEnds
	}
	raw, err := json.Marshal(from{n.Source, n.Device})
	if err != nil {
		return false, err
	}
	return put(ctx, tx, kept{
		Request: Request{ID: n.ID, ExpiresAt: expires}, account: n.Account, seed: newSeed(), from: s.Ring.Seal(raw, place(n.ID)),
	})
}

// Of is a sign-in's request as its own device sees it. ok is false if it has none.
func (s *Service) Of(ctx context.Context, tx *sqldb.Tx, id ID) (sh Shown, ok bool, err error) {
	k, ok, err := find(ctx, tx, id)
	if err != nil || !ok {
		return Shown{}, false, err
	}
	return Shown{State: k.state, Number: s.number(k), ExpiresAt: k.ExpiresAt}, true, nil
}

// Offered reports whether an account may be asked for another: not while too many came to nothing, nor after one was
// refused. What is offered is asked for under a limit of the caller's all the same.
func (s *Service) Offered(ctx context.Context, tx *sqldb.Tx, who account.ID) (bool, error) {
	failed, refused, err := lately(ctx, tx, who)
	return failed < Most && !refused, err
}

// List is what waits for an owner, the newest first.
func (s *Service) List(ctx context.Context, tx *sqldb.Tx, who account.ID) (all []Request, err error) {
	rows, err := waiting(ctx, tx, who)
	for _, k := range rows {
		all = append(all, s.open(k))
	}
	return all, err
}

// Answer is a number that was typed, and the session it was typed in.
type Answer struct {
	Account account.ID
	ID      ID
	Number  secret.Token
	By      session.ID
}

// Approve takes one try from a request that waits and, if the number fits, approves it. found is false if none waits
// there. Of any number at once each pays for its own try.
func (s *Service) Approve(ctx context.Context, tx *sqldb.Tx, a Answer) (right, found bool, err error) {
	k, ok, err := find(ctx, tx, a.ID)
	if err != nil || !ok || k.account != a.Account {
		return false, false, err
	}
	return answer(ctx, tx, a, s.number(k).Equal(a.Number))
}

// Refuse ends a request that has let nobody in yet, approved or not. found is false if there is none.
func (s *Service) Refuse(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (r Request, found bool, err error) {
	k, ok, err := find(ctx, tx, id)
	if err != nil || !ok || k.account != who {
		return Request{}, false, err
	}
	found, err = refuse(ctx, tx, who, id)
	return s.open(k), found, err
}

// Spend uses an approval up, and says whose session gave it. Of any number at once one gets it.
func (s *Service) Spend(ctx context.Context, tx *sqldb.Tx, id ID) (by session.ID, ok bool, err error) {
	return spend(ctx, tx, id)
}

// Erase deletes every request of an account.
func (s *Service) Erase(ctx context.Context, tx *sqldb.Tx, who account.ID) error {
	return erase(ctx, tx, who)
}

// Prune deletes a bounded number of requests that nobody asks about any more, and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }

// Holdings is what the table has of the ring's keys.
func (s *Service) Holdings() []keyring.Holding { return []keyring.Holding{s.Ring.Sealed(sealed())} }

func (s *Service) number(k kept) secret.Token {
	sum := s.Ring.Stable("approval/number/"+string(k.ID), k.seed)
	return secret.Of(fmt.Sprintf("%06d", binary.BigEndian.Uint64(sum)%1_000_000))
}

func (s *Service) open(k kept) Request {
	var f from
	if raw, err := s.Ring.Open(k.from, place(k.ID)); err == nil {
		_ = json.Unmarshal(raw, &f) // whence it is is a help; the request must show without it
	}
	k.Source, k.Device = f.Source, f.Device
	return k.Request
}

func place(id ID) keyring.Place {
	return keyring.Place{Table: "approval", Row: string(id), Column: "asked_from"}
}
