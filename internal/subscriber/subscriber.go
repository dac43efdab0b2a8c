// Package subscriber tells applications of security events by signed webhooks. It owns the tables subscriber,
// subscriber_kind, subscriber_secret and subscriber_event.
//
// Which event is still to be told is written in the transaction that recorded the event, so no kill loses one; what it
// says is read from the record when it is told. An event is told at least once, always under the same id. Of one account
// a subscriber is told one event after the other, in the order of the record; of different accounts, in any order.
//
// Who does not exist is stood in for by a decoy account, whose events are written and claimed like others', and told
// to nobody: that is decided here, after the request that they happened in.
package subscriber

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

const (
	// Most is how many subscribers there may be: each is one more row for every event.
	Most = 20
	// patience is how long an event is tried: what breaks on a Friday evening is seen on Monday.
	patience = 72 * time.Hour
	// overlap is how long a replaced secret still signs: a day is enough to put the new one in place.
	overlap = 24 * time.Hour
	// firstWait and longestWait bound the wait after a failure, which doubles: a restart of the receiver costs seconds,
	// and once it is back nothing waits for more than an hour.
	firstWait, longestWait = 5 * time.Second, time.Hour
	// together is how many events a node tells one subscriber at once, all of different accounts.
	together = 8
	// timeout is how long one may take to answer: the least that Standard Webhooks advises, because others wait.
	timeout = 15 * time.Second
	// lease outlasts a round of tries, so that nobody else begins one meanwhile.
	lease = 4 * timeout
)

// All is what a subscriber of every kind asks for.
const All audit.Kind = "*"

// Message is what is sent.
type Message struct {
	ID      string // stays the same however often it is sent
	Secrets []secret.Token
	Body    []byte
}

// Answer is what came of sending. Code is a word for what went wrong, without the address; empty if nothing did.
type Answer struct {
	Gone  bool // it asks to be told no more
	After time.Duration
	Code  string
	Why   string // more of it, for the operator who tries it alone: it may name machines inside, and is neither kept nor logged
}

// Send delivers one message to one place.
type Send func(ctx context.Context, m Message) Answer

// Service keeps subscribers and tells them. DB, Ring, Audit and Accounts are required; Dial and Log too where anybody is told.
type Service struct {
	DB       *sqldb.DB
	Ring     *keyring.Ring
	Audit    *audit.Log
	Accounts *account.Service
	// Dial looks at an address, and returns what sends there.
	Dial func(url string) (Send, error)
	Log  *slog.Logger
	// Count is told of each outcome: delivered, failed, given_up. May be nil.
	Count func(outcome string)

	any   atomic.Bool // whether anybody wants to be told of anything
	mu    sync.Mutex
	awake map[string]chan struct{} // by subscriber
}

// Note writes down who is to be told of an event. It is called in the transaction that records it, and costs nothing where
// nobody is. A node learns of the first subscriber within a second (Poll).
func (s *Service) Note(ctx context.Context, tx *sqldb.Tx, id string, e audit.Event) error {
	if !s.any.Load() {
		return nil
	}
	n, err := note(ctx, tx, id, e)
	if err != nil {
		return fmt.Errorf("note who is told of an event: %w", err)
	}
	if n > 0 {
		tx.AfterCommit(s.wake)
	}
	return nil
}

// Poll learns whether anybody is to be told.
func (s *Service) Poll(ctx context.Context) error {
	all, err := s.active(ctx)
	if err == nil {
		s.any.Store(len(all.every) > 0)
	}
	return err
}

type polled struct{ every, telling []string }

func (s *Service) active(ctx context.Context) (p polled, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		p = polled{}
		return ids(ctx, tx, func(id string, paused bool) {
			p.every = append(p.every, id)
			if !paused {
				p.telling = append(p.telling, id)
			}
		})
	})
	return p, err
}

// Subscriber is one as its operator sees it.
type Subscriber struct {
	ID        string       `json:"id"`
	URL       string       `json:"url"`
	Kinds     []audit.Kind `json:"events"`
	CreatedAt time.Time    `json:"created_at"`
	PausedAt  time.Time    `json:"paused_at,omitzero"`
	PausedWhy string       `json:"paused_why,omitempty"`
	Depth
}

// Depth is how much a subscriber has still to be told.
type Depth struct {
	Waiting int       `json:"waiting"`
	Dead    int       `json:"dead"`
	Oldest  time.Time `json:"oldest,omitzero"`   // of those that wait
	Trouble string    `json:"trouble,omitempty"` // of one of those that were tried and wait
}

// Add makes a subscriber of some kinds of events, and returns its secret, which nobody sees again.
func (s *Service) Add(ctx context.Context, url string, kinds []audit.Kind) (id string, key secret.Token, err error) {
	if _, err := s.Dial(url); err != nil {
		return "", key, fault.New(fault.Invalid, "webhook_url", err)
	}
	if len(kinds) == 0 {
		kinds = []audit.Kind{All}
	}
	for _, k := range kinds {
		if _, known := typeOf(k); !known && k != All {
			return "", key, fault.New(fault.Invalid, "webhook_event", fmt.Errorf("there is no event %q: countersign webhook events lists them", k))
		}
	}
	slices.Sort(kinds)
	id, key = uuid.Must(uuid.NewV7()).String(), newSecret()
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n, err := insert(ctx, tx, id, s.Ring.Seal([]byte(url), place("subscriber", id, "url")))
		if err != nil {
			return err
		}
		if n > Most { // two who add the last one at the same moment may both have it
			return fault.New(fault.Conflict, "webhook_many", fmt.Errorf("there are %d webhooks, and each is one more row for every event: remove one", Most))
		}
		for _, k := range slices.Compact(kinds) {
			if err := insertKind(ctx, tx, id, k); err != nil {
				return err
			}
		}
		if err := s.putSecret(ctx, tx, id, key); err != nil {
			return err
		}
		return s.record(ctx, tx, id, "added")
	})
	return id, key, err
}

// newSecret makes a secret as Standard Webhooks writes them, of 32 bytes: as many as HMAC-SHA-256 can use.
func newSecret() secret.Token {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	return secret.Of("whsec_" + base64.StdEncoding.EncodeToString(raw))
}

func (s *Service) putSecret(ctx context.Context, tx *sqldb.Tx, id string, key secret.Token) error {
	row := uuid.Must(uuid.NewV7()).String()
	return insertSecret(ctx, tx, secretRow{id: row, owner: id, sealed: s.Ring.Seal([]byte(key.Reveal()), place("subscriber_secret", row, "sealed"))})
}

func (s *Service) record(ctx context.Context, tx *sqldb.Tx, id, was string) error {
	actor := "operator"
	if was == "gone" {
		actor = "system"
	}
	return s.Audit.Append(ctx, tx, audit.Event{Kind: audit.WebhookChanged, Actor: actor, Detail: map[string]string{"webhook": id, "was": was}})
}

func unknown() error {
	return fault.New(fault.NotFound, "webhook_unknown", errors.New("no webhook by that id: see countersign webhook list"))
}

// change runs do on a subscriber, which says whether there is one, and records it.
func (s *Service) change(ctx context.Context, id, was string, do func(tx *sqldb.Tx) (bool, error)) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		ok, err := do(tx)
		if err == nil && !ok {
			err = unknown()
		}
		if err != nil {
			return err
		}
		return s.record(ctx, tx, id, was)
	})
}

// Remove forgets a subscriber and what it was still to be told.
func (s *Service) Remove(ctx context.Context, id string) error {
	return s.change(ctx, id, "removed", func(tx *sqldb.Tx) (bool, error) { return remove(ctx, tx, id) })
}

// Pause tells a subscriber nothing until it is resumed. What happens meanwhile waits.
func (s *Service) Pause(ctx context.Context, id, why string) error {
	return s.change(ctx, id, "paused", func(tx *sqldb.Tx) (bool, error) { return pause(ctx, tx, id, why) })
}

// Resume tells it again, beginning with what waited, which has its whole time from now on.
func (s *Service) Resume(ctx context.Context, id string) error {
	return s.change(ctx, id, "resumed", func(tx *sqldb.Tx) (bool, error) { return resume(ctx, tx, id) })
}

// Rotate gives a subscriber a new secret. The one before signs beside it for a day.
func (s *Service) Rotate(ctx context.Context, id string) (key secret.Token, until time.Time, err error) {
	key = newSecret()
	err = s.change(ctx, id, "rotated", func(tx *sqldb.Tx) (bool, error) {
		until = tx.Now().Add(overlap)
		ok, err := retire(ctx, tx, id, until)
		if err != nil || !ok {
			return ok, err
		}
		return true, s.putSecret(ctx, tx, id, key)
	})
	return key, until, err
}

// List returns every subscriber, the oldest first.
func (s *Service) List(ctx context.Context) (all []Subscriber, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		all = nil
		return list(ctx, tx, func(one Subscriber, sealed []byte) error {
			plain, err := s.Ring.Open(sealed, place("subscriber", one.ID, "url"))
			if err != nil {
				return fmt.Errorf("address of webhook %s: %w", one.ID, err)
			}
			one.URL = string(plain)
			all = append(all, one)
			return nil
		})
	})
	return all, err
}

// Depth counts what waits and what is dead, over all subscribers.
func (s *Service) Depth(ctx context.Context) (d Depth, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		d, err = depth(ctx, tx)
		return err
	})
	return d, err
}

// Test sends a made-up event at once, and returns what came of it.
func (s *Service) Test(ctx context.Context, id string) (Answer, error) {
	var to target
	err := s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		to, err = s.target(ctx, tx, id)
		return err
	})
	if err != nil {
		return Answer{}, err
	}
	send, err := s.Dial(to.url)
	if err != nil {
		return Answer{}, err
	}
	event := uuid.Must(uuid.NewV7()).String()
	body, err := json.Marshal(wire{Type: "webhook_test", Timestamp: s.DB.Now().UTC().Truncate(time.Millisecond), Data: data{ID: event, Actor: "operator"}})
	if err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return send(ctx, Message{ID: event, Secrets: to.secrets, Body: body}), nil
}

// Span says what is replayed: what was recorded since a time and until another, of one account or of all.
type Span struct {
	Since, Until time.Time
	Account      string
}

// batch is how many events one transaction of a replay looks at, so that nobody waits long for SQLite's one writer.
const batch = 500

// Replay tells a subscriber again of what was recorded, as far as it wants it. It goes through the record from its beginning, some
// events in each transaction; one that is stopped may be begun again.
func (s *Service) Replay(ctx context.Context, id string, span Span) (n int, err error) {
	err = s.change(ctx, id, "replayed", func(tx *sqldb.Tx) (bool, error) { return exists(ctx, tx, id) })
	for after := ""; err == nil; {
		last, added := "", 0
		err = s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
			last, added = "", 0
			wanted, err := kindsOf(ctx, tx, id)
			if err != nil {
				return err
			}
			all, err := s.Audit.After(ctx, tx, after, audit.Since{At: span.Since, Account: span.Account, Most: batch})
			if err != nil {
				return err
			}
			for _, e := range all {
				last = e.ID
				if !e.At.Before(span.Until) || !slices.Contains(wanted, All) && !slices.Contains(wanted, e.Kind) {
					continue
				}
				ok, err := again(ctx, tx, id, e)
				if err != nil {
					return err
				}
				if ok {
					added++
				}
			}
			return nil
		})
		if n, after = n+added, last; last == "" {
			return n, err
		}
	}
	return n, err
}

// Given is an event that was given up.
type Given struct {
	Subscriber, Event, Account string
	Attempts                   int
	At                         time.Time // when it was recorded to be told
	Why                        string
}

// Dead lists what was given up, the latest first.
func (s *Service) Dead(ctx context.Context, most int) (all []Given, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		all, err = dead(ctx, tx, most)
		return err
	})
	return all, err
}

// Retry tells an event that was given up again, or all ("").
func (s *Service) Retry(ctx context.Context, event string) (n int64, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		n, err = revive(ctx, tx, event)
		return err
	})
	return n, err
}

// Drop forgets that an event was to be told, or all that were given up (""). The record keeps it.
func (s *Service) Drop(ctx context.Context, event string) (n int64, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		n, err = drop(ctx, tx, event)
		return err
	})
	return n, err
}

// target is where a subscriber is, and what signs for it.
type target struct {
	url     string
	secrets []secret.Token // the newest first
}

func (s *Service) target(ctx context.Context, tx *sqldb.Tx, id string) (to target, err error) {
	sealed, ok, err := address(ctx, tx, id)
	if err == nil && !ok {
		err = unknown()
	}
	if err != nil {
		return to, err
	}
	plain, err := s.Ring.Open(sealed, place("subscriber", id, "url"))
	if err != nil {
		return to, fmt.Errorf("address of webhook %s: %w", id, err)
	}
	to.url = string(plain)
	rows, err := secrets(ctx, tx, id)
	for _, r := range rows {
		plain, err := s.Ring.Open(r.sealed, place("subscriber_secret", r.id, "sealed"))
		if err != nil {
			return to, fmt.Errorf("secret of webhook %s: %w", id, err)
		}
		to.secrets = append(to.secrets, secret.Of(string(plain)))
	}
	return to, err
}

// Prune deletes secrets that no longer sign, and what subscribers that are gone were still to be told: an event may have been
// recorded while its subscriber was removed.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }

// Holdings is what the tables have of the ring's keys.
func (s *Service) Holdings() []keyring.Holding {
	return []keyring.Holding{s.Ring.Sealed(addresses()), s.Ring.Sealed(signers())}
}

func place(table, row, column string) keyring.Place {
	return keyring.Place{Table: table, Row: row, Column: column}
}

// wire is the body, as Standard Webhooks advises. Fields are only ever added.
type wire struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // when it happened
	Data      data      `json:"data"`
}

type data struct {
	ID      string            `json:"id"`
	Account string            `json:"account,omitempty"`
	Of      string            `json:"application,omitempty"` // whose own account it is
	Named   string            `json:"reference,omitempty"`   // and what it calls it
	Actor   string            `json:"actor"`
	Detail  map[string]string `json:"detail,omitempty"`
}

// body says of an event what its type promises, and nothing else: what another part of the program has put into the record
// besides leaves the house only once somebody has looked at it.
func body(e audit.Past, app, reference string) ([]byte, error) {
	d := data{ID: e.ID, Account: e.Account, Of: app, Named: reference, Actor: e.Actor}
	t, _ := typeOf(e.Kind) // of a later release's kind nothing is promised
	for _, field := range strings.Fields(t.Fields) {
		if v, there := e.Detail[field]; there {
			if d.Detail == nil {
				d.Detail = map[string]string{}
			}
			d.Detail[field] = v
		}
	}
	return json.Marshal(wire{Type: string(e.Kind), Timestamp: e.At.UTC(), Data: d})
}
