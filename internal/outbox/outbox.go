// Package outbox holds letters accepted and not yet sent. It owns the table outbox_letter.
//
// A letter is written in the transaction that decided on it: if that commits, the letter is
// sent at least once, kill -9 or not (P11); if not, there never was a letter. Whoever sends
// claims letters by lease and finishes them; a lease that runs out gives the letter to the
// next. So a letter can be sent twice, always under the same id.
//
// Recipient and words are sealed, and wiped when the letter is done. A withheld letter
// stands in for a letter to nobody: it is written, claimed and finished by the same
// statements as the others, its row looks the same until it is done, and no provider sees it.
package outbox

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"countersign/internal/keyring"
	"countersign/internal/message"
	"countersign/internal/platform/sqldb"
)

// Box is the outbox. DB and Ring are required to claim; Put needs Ring only.
type Box struct {
	DB   *sqldb.DB
	Ring *keyring.Ring
	// Wake is told of a committed letter, so that the courier on this node sends it at
	// once; others find it by asking. It must not block. Nil where no courier runs.
	Wake func(message.Channel)
	// Attempts is how often a letter is tried before it is dead. 0 means 24, which with
	// the growing delays is half a day.
	Attempts int
	// Keep is how long a done letter's row (by then without address or words) stays. 0 means 7 days.
	Keep time.Duration
	// Typed is told of each code that came back: who had taken it to which address. May be nil.
	Typed func(provider, to string)

	ending ending
}

// Letter is a letter to be sent.
type Letter struct {
	message.Letter

	// Account is the account it is about, or empty.
	Account string
	// Withhold makes a letter that is never handed to a provider.
	Withhold bool
	// Twin is what may be sent in the letter's place, to the same address. Which of the two it is shows
	// nowhere: the row has the kind of Letter and room for either, and both are made ready.
	Twin *message.Letter
	// SendTwin sends the twin.
	SendTwin bool
	// Follows is the letter before, if this one was asked for because that had not arrived: it goes another way, if there is one.
	Follows string
	// ExpiresAt is when the letter is worthless: it is not sent any more and its words
	// are wiped. Zero means three days.
	ExpiresAt time.Time
}

const lifetime = 3 * 24 * time.Hour

// Put writes a letter in the caller's transaction and returns its id, which is also the
// provider's idempotency key. A real and a withheld letter leave rows that differ in nothing
// but random bytes. An error means the letter is malformed or the database is in trouble;
// a withheld letter may lack the address, for want of one, without being malformed.
func (b *Box) Put(ctx context.Context, tx *sqldb.Tx, l Letter) (id string, err error) {
	if err := l.validate(); err != nil {
		return "", err
	}
	if l.ExpiresAt.IsZero() {
		l.ExpiresAt = tx.Now().Add(lifetime)
	}
	key, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	id = key.String()
	plain, err := pack(l)
	if err != nil {
		return "", err
	}
	if err := insert(ctx, tx, id, l, b.Ring.Seal(plain, place(id))); err != nil {
		return "", fmt.Errorf("put letter: %w", err)
	}
	if b.Wake != nil {
		tx.AfterCommit(func() { b.Wake(l.Channel) })
	}
	return id, nil
}

func (l Letter) validate() error {
	if err := l.Validate(); err != nil {
		return err
	}
	if l.To == "" && !l.Withhold {
		return errors.New("letter without an address")
	}
	if l.Twin == nil {
		return nil
	}
	if l.Twin.To != l.To || l.Twin.Channel != l.Channel {
		return errors.New("letter whose twin goes elsewhere")
	}
	return l.Twin.Validate()
}

// Claimed is a letter that is ours until the lease runs out.
type Claimed struct {
	Letter

	ID       string
	Shows    message.Kind // the kind that the row has, which is all that a log may say
	Attempts int          // this one included
	putOff   int          // of them were none
	lease    string
	damaged  error
}

// Damaged says why the letter cannot be opened (a key is missing), or is nil. The only
// thing to do with a damaged letter is to Bury it.
func (c Claimed) Damaged() error { return c.damaged }

// tries is how often somebody was asked to take it.
func (c Claimed) tries() int { return c.Attempts - c.putOff }

// Claim takes up to n letters that are due on a channel, for the time of the lease. Of any
// number of couriers, one gets each letter. The try is counted now, so a letter that
// kills whoever sends it is not tried for ever.
func (b *Box) Claim(ctx context.Context, ch message.Channel, n int, lease time.Duration) ([]Claimed, error) {
	// Look first: an idle courier must not queue for SQLite's one writer several times a second.
	due := false
	err := b.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		due, err = anyDue(ctx, tx, ch)
		return err
	})
	if err != nil || !due {
		return nil, err
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return nil, err
	}
	var rows []row
	err = b.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		rows, err = claim(ctx, tx, ch, n, leaseTerm{id.String(), tx.Now().Add(lease)})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim letters: %w", err)
	}
	out := make([]Claimed, 0, len(rows))
	for _, r := range rows {
		c := b.open(r, id.String())
		if c.tries() > b.attempts() { // nobody came back from the last try to give it up
			err = errors.Join(err, b.Bury(ctx, c, "lease_ran_out"))
			continue
		}
		out = append(out, c)
	}
	return out, err
}

func (b *Box) open(r row, lease string) Claimed {
	c := Claimed{ID: r.id, Attempts: r.attempts, putOff: r.putOff, lease: lease}
	plain, err := b.Ring.Open(r.sealed, place(r.id))
	if err == nil {
		c.Letter, err = unpack(plain)
	}
	if c.Kind == "" {
		c.Kind = r.kind
	}
	c.Shows, c.Channel, c.Account, c.Follows, c.ExpiresAt = r.kind, r.channel, r.account, r.follows, r.expiresAt
	c.damaged = err
	return c
}

// Receipt says who took a letter and under which id of theirs.
type Receipt struct{ Provider, ID string }

// Finish records that a letter is done, sent or withheld, and wipes its words. Whoever
// holds the lease by now: what was sent was sent. Letters that are done while others are written down go into one transaction.
func (b *Box) Finish(ctx context.Context, c Claimed, r Receipt) error {
	state := stateSent
	if c.Withhold {
		state = stateWithheld
	}
	r.ID = printable(r.ID)
	return b.ending.add(done{c.ID, state, r}, func(all []done) error {
		return b.DB.Write(ctx, func(tx *sqldb.Tx) error { return finish(ctx, tx, all) })
	})
}

// longestID is far above any that a provider gives, in bytes.
const longestID = 200

// printable is a provider's id as every database takes it: what is odd in one letter's must not keep those beside it from being written.
func printable(id string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(id[:min(len(id), longestID)], "\x00", ""), "")
}

// done is a letter that is done.
type done struct {
	id, state string
	receipt   Receipt
}

// ending gathers letters that are done.
type ending struct {
	turn sync.Mutex // held while some are written
	mu   sync.Mutex
	next *ended // those who are written next
}

type ended struct {
	all  []done
	over chan struct{}
	err  error
}

// add returns once the letter is written, with others perhaps.
func (e *ending) add(d done, write func([]done) error) error {
	e.mu.Lock()
	mine := e.next
	leads := mine == nil
	if leads {
		mine = &ended{over: make(chan struct{})}
		e.next = mine
	}
	mine.all = append(mine.all, d)
	e.mu.Unlock()
	if !leads {
		<-mine.over
		return mine.err
	}
	e.turn.Lock()
	defer e.turn.Unlock()
	e.mu.Lock()
	e.next = nil
	e.mu.Unlock()
	defer close(mine.over)
	mine.err = write(mine.all)
	return mine.err
}

// Told is what a provider tells of a letter it took. Letter is our id; a provider that does not know it is named with its own.
type Told struct {
	Letter, Provider, ID string
	State                Fate
}

// Fate is how far a letter has come, as its provider tells.
type Fate string

// The fates, each above those before: a report that comes late, or again, takes none back. That a letter was delivered is believed after
// the opposite, since it may have been sent twice.
const (
	Underway     Fate = "underway"
	Unclear      Fate = "unclear"
	NotDelivered Fate = "not_delivered"
	Delivered    Fate = "delivered"
)

// reportable is how long after it was put a letter's reports are looked at. Providers try for two days at the most.
const reportable = 72 * time.Hour

// Report records what became of a letter. News is false where nothing changes: the letter is unknown, long gone or another provider's, or as much was
// known of it. Took is the time since it was handed over.
func (b *Box) Report(ctx context.Context, t Told) (took time.Duration, news bool, err error) {
	if t.Letter != printable(t.Letter) || t.ID != printable(t.ID) { // no letter's
		return 0, false, nil
	}
	err = b.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		took, news, err = tell(ctx, tx, t)
		return err
	})
	return took, news, err
}

// Fate returns what became of a letter: empty if nobody has told. One that was given up is not delivered. Of a withheld one nobody ever tells.
func (b *Box) Fate(ctx context.Context, tx *sqldb.Tx, id string) (Fate, error) {
	return fate(ctx, tx, id)
}

// Retry gives a letter back after a passing failure. It becomes due after a delay that
// doubles with each try (1 s to 1 h, give or take a quarter), or after the provider's own wish if
// that is longer; after the last try it is dead, which is what Retry returns. why must not
// contain the address. If the lease ran out meanwhile nothing changes.
func (b *Box) Retry(ctx context.Context, c Claimed, why string, after time.Duration) (dead bool, err error) {
	if c.tries() >= b.attempts() {
		return true, b.Bury(ctx, c, why)
	}
	wait := max(backoff(c.ID, c.tries()), min(after, time.Hour))
	return false, b.DB.Write(ctx, func(tx *sqldb.Tx) error { return retry(ctx, tx, c, why, tx.Now().Add(wait)) })
}

// PutOff gives a letter back that nobody was asked to take, since its turn comes later: the try does not count.
func (b *Box) PutOff(ctx context.Context, c Claimed, after time.Duration) error {
	return b.DB.Write(ctx, func(tx *sqldb.Tx) error { return putOff(ctx, tx, c, tx.Now().Add(min(after, time.Hour))) })
}

// Before says who took a letter and those that it followed, the latest first.
func (b *Box) Before(ctx context.Context, id string) (providers []string, err error) {
	err = b.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		providers, err = before(ctx, tx, id)
		return err
	})
	return providers, err
}

// CameBack notes that the code in a letter was typed by whoever it went to.
func (b *Box) CameBack(ctx context.Context, tx *sqldb.Tx, id, to string) error {
	provider, err := cameBack(ctx, tx, id)
	if err == nil && provider != "" && b.Typed != nil {
		tx.AfterCommit(func() { b.Typed(provider, to) })
	}
	return err
}

// WereTyped says of which of the letters the codes were typed.
func (b *Box) WereTyped(ctx context.Context, ids []string) (out map[string]bool, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	err = b.DB.Read(ctx, func(tx *sqldb.Tx) error {
		out = map[string]bool{}
		return typed(ctx, tx, ids, func(id string) { out[id] = true })
	})
	return out, err
}

// Bury records that a letter cannot be sent. Its words stay sealed until it expires, so
// that an operator can Revive it. why must not contain the address.
func (b *Box) Bury(ctx context.Context, c Claimed, why string) error {
	return b.DB.Write(ctx, func(tx *sqldb.Tx) error { return bury(ctx, tx, c, why) })
}

// DeadLetter is a letter that could not be sent, as an operator sees it: without address and words.
type DeadLetter struct {
	ID        string
	Kind      message.Kind
	Channel   message.Channel
	Account   string
	Attempts  int
	DiedAt    time.Time
	ExpiresAt time.Time
	Why       string
	Revivable bool // its words are still there
}

// Dead lists the dead letters, the latest first.
func (b *Box) Dead(ctx context.Context, limit int) (out []DeadLetter, err error) {
	err = b.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		out, err = dead(ctx, tx, limit)
		return err
	})
	return out, err
}

// Revive makes dead letters due again with all their tries: the one of an id, or all if it is empty. It returns how many there
// were whose time is not over.
func (b *Box) Revive(ctx context.Context, id string) (n int, err error) {
	err = b.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n = 0
		return revive(ctx, tx, id, func(ch message.Channel) {
			if n++; b.Wake != nil {
				tx.AfterCommit(func() { b.Wake(ch) })
			}
		})
	})
	return n, err
}

// Depth is how full the box is, for one channel. Withheld letters count like the others.
type Depth struct {
	Channel message.Channel
	Waiting int
	Dead    int
	Oldest  time.Time // when the oldest waiting letter was put; zero if none waits
	Paused  bool
}

// Depth counts what waits and what is dead, by channel.
func (b *Box) Depth(ctx context.Context) (out []Depth, err error) {
	err = b.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		out, err = depth(ctx, tx)
		return err
	})
	return out, err
}

// Erase deletes the letters of an account that still hold words. Of those that are done there is a row
// without any, for as long as Keep says.
func (b *Box) Erase(ctx context.Context, tx *sqldb.Tx, account string) error {
	return erase(ctx, tx, account)
}

// Sweep wipes the words of letters whose time is over and removes the rows of letters long
// done: in small transactions, and as many as it takes. Every node may call it as often as it likes.
func (b *Box) Sweep(ctx context.Context) error {
	keep := b.Keep
	if keep == 0 {
		keep = 7 * 24 * time.Hour
	}
	old := func(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx, tx.Now().Add(-keep)) }
	for _, pass := range []func(context.Context, *sqldb.Tx) (int64, error){expire, old} {
		for n := int64(sweepBatch); n == sweepBatch; {
			err := b.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
				n, err = pass(ctx, tx)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *Box) attempts() int {
	if b.Attempts == 0 {
		return 24
	}
	return b.Attempts
}

// backoff is the delay after the n-th try: 1 s, 2 s, 4 s … 1 h, spread by up to a quarter
// either way, so that letters that failed together do not come back together. The spread
// comes from the id: it needs to differ between letters, not to be secret.
func backoff(id string, n int) time.Duration {
	d := time.Hour
	if n < 13 {
		d = min(d, time.Second<<max(n-1, 0))
	}
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s/%d", id, n)
	return d*3/4 + d/2*time.Duration(h.Sum32()%1000)/1000
}

// content is what is sealed. Whether a letter is withheld, and whether it is a twin, is only told in here.
type content struct {
	To       string            `json:"to"`
	Kind     message.Kind      `json:"kind,omitempty"` // of a twin; otherwise the row's
	Language string            `json:"language"`
	Params   map[string]string `json:"params"`
	Withhold bool              `json:"withhold"`
}

// Sealed sizes come in steps, the first of which holds nearly every letter: what is
// left of a row's length says nothing about the address.
const (
	padFirst = 512
	padStep  = 256
)

// pack writes the letter, or its twin, with room for either.
func pack(l Letter) ([]byte, error) {
	raw, err := json.Marshal(content{To: l.To, Language: l.Language, Params: l.Params, Withhold: l.Withhold})
	if err != nil {
		return nil, err
	}
	size := padded(raw)
	if l.Twin != nil {
		twin, err := json.Marshal(content{To: l.To, Kind: l.Twin.Kind, Language: l.Twin.Language, Params: l.Twin.Params, Withhold: l.Withhold})
		if err != nil {
			return nil, err
		}
		size = max(size, padded(twin))
		if l.SendTwin {
			raw = twin
		}
	}
	out := make([]byte, size)
	binary.BigEndian.PutUint32(out, uint32(len(raw))) //nolint:gosec // letters are short
	copy(out[4:], raw)
	return out, nil
}

func padded(raw []byte) int { return max(padFirst, (4+len(raw)+padStep-1)/padStep*padStep) }

func unpack(plain []byte) (l Letter, err error) {
	if len(plain) < 4 || int64(binary.BigEndian.Uint32(plain)) > int64(len(plain)-4) {
		return l, errors.New("sealed letter is malformed")
	}
	var c content
	if err := json.Unmarshal(plain[4:4+binary.BigEndian.Uint32(plain)], &c); err != nil {
		return l, errors.New("sealed letter is malformed") // the cause would quote it
	}
	l.To, l.Kind, l.Language, l.Params, l.Withhold = c.To, c.Kind, c.Language, c.Params, c.Withhold
	return l, nil
}

// Holdings is what the table has of the ring's keys.
func (b *Box) Holdings() []keyring.Holding { return []keyring.Holding{b.Ring.Sealed(sealed())} }

func place(id string) keyring.Place {
	return keyring.Place{Table: "outbox_letter", Row: id, Column: "sealed"}
}
