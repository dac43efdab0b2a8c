package password

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/password/foreign"
	"countersign/internal/platform/sqldb"
)

// Keep takes over a hash that another system made, as it is. It is stored sealed, since whoever finds it could
// guess at it without our pepper; and beside a dummy, whose work everybody pays. A hash that is quick to guess is not kept.
func (s *Service) Keep(h foreign.Hash) (Hash, error) {
	if !h.Slow() {
		return Hash{}, errors.New("a hash that is quick to guess must be wrapped")
	}
	return Hash{PHC: newDummy(s.params), KeyID: s.ring.ID(), inner: h}, nil
}

// Wrap takes over a hash that is quick to guess: it is hashed again, as if it were a password, and forgotten.
// Like Hash it waits its turn.
func (s *Service) Wrap(ctx context.Context, h foreign.Hash) (Hash, error) {
	inner, err := foreign.Parse(h.Recipe())
	if err != nil || h.Slow() {
		return Hash{}, errors.Join(errors.New("only a hash that is quick to guess is wrapped"), err)
	}
	out, err := s.hash(ctx, wrapped(h.Sum()))
	if err != nil {
		return Hash{}, err
	}
	out.inner = inner
	return out, nil
}

// wrapped is what is hashed of another system's sum, which is another thing than a password of the same bytes.
func wrapped(sum []byte) []byte { return append([]byte("\x00sum\x00"), sum...) }

// open returns what another system made, and opens something for those who have nothing: to open
// takes time. ok is false if it does not open.
func (s *Service) open(stored Stored) (inner foreign.Hash, ok bool) {
	sealed, at := stored.sealed, stored.account
	if sealed == nil {
		sealed, at = s.empty(), account.Last
	}
	text, err := s.ring.Open(sealed, place(at))
	if err != nil {
		return foreign.Hash{}, false
	}
	inner, err = foreign.Parse(string(text))
	if stored.sealed == nil {
		return foreign.Hash{}, true
	}
	return inner, err == nil
}

// empty is something sealed for those who have nothing, with the current key: the old one may be dropped.
func (s *Service) empty() []byte {
	if b := s.sealed.Load(); b != nil && s.ring.Fresh(*b) {
		return *b
	}
	b := s.ring.Seal([]byte(foreign.Stand(foreign.Kind{Family: "bcrypt", Work: 1 << 10}).Text()), place(account.Last))
	s.sealed.Store(&b)
	return b
}

func place(id account.ID) keyring.Place {
	return keyring.Place{Table: "password", Row: string(id), Column: "sealed"}
}

// other is what was found out with other systems' hashes.
type other struct {
	sum   []byte // of the password, where that is what ours is of
	equal bool   // the password is right, where another's hash decides alone
	never bool   // no password that is so long is right
}

func (o other) input(plain string) []byte {
	if o.sum == nil {
		return normal(plain)
	}
	return wrapped(o.sum)
}

// elsewhere does the work of checking against every kind of hash that any account here has: the account's
// own in earnest, and the others for their time, so that it is the same for all, and for those who have no account.
func elsewhere(own foreign.Hash, kinds []foreign.Kind, plain string) (found other) {
	mine, done := own.Kind(), own.Text() == ""
	for _, k := range kinds {
		if k.Family != mine.Family {
			foreign.Stand(k).Matches(plain)
			continue
		}
		found, done = inEarnest(own, plain), true
		foreign.Rest(k.Family, plain, k.Work-mine.Work)
	}
	if !done { // the kinds are told before there are any, so this should not be
		found = inEarnest(own, plain)
	}
	return found
}

func inEarnest(own foreign.Hash, plain string) (found other) {
	if own.Slow() {
		return other{equal: own.Matches(plain)}
	}
	sum, ok := own.Digest(plain)
	return other{sum: sum, never: !ok}
}

// Renewal is what may replace another system's hash later, when the password itself is no longer known. There is one of
// the same length for every verdict, so that it can be kept for all.
func (s *Service) Renewal(v Verdict) string {
	other := "-" + s.ring.ID() + newDummy(s.params)
	if v.OK && v.renewed != "" {
		return "+" + v.renewed
	}
	return other
}

// Renew puts a renewal in the place of another system's hash, if it is one for that and the hash is still there. One
// from before the keys changed is not used: once a key has been given up nothing may be written with it.
func (s *Service) Renew(ctx context.Context, tx *sqldb.Tx, id account.ID, renewal string) error {
	h := Hash{}
	if key, phc, meant := strings.Cut(strings.TrimPrefix(renewal, "+"), "$"); meant && strings.HasPrefix(renewal, "+") {
		h = Hash{PHC: "$" + phc, KeyID: key}
	}
	if _, usable := s.read(h); !usable || h.KeyID != s.ring.ID() {
		return nil
	}
	return replaceKept(ctx, tx, id, h)
}

// Setting is a password to store, or one that is stored.
type Setting struct {
	Account account.ID
	Hash    Hash
	At      time.Time // when it was chosen
}

// SetAll stores ready hashes of many accounts.
func (s *Service) SetAll(ctx context.Context, tx *sqldb.Tx, all []Setting) error {
	entries := make([]entry, 0, len(all))
	for _, p := range all {
		e, err := s.entry(p)
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	return put(ctx, tx, entries...)
}

func (s *Service) entry(p Setting) (entry, error) {
	if _, usable := s.read(p.Hash); !usable {
		return entry{}, fmt.Errorf("store password of %s: the hash is not one that this server can check", p.Account)
	}
	e := entry{id: p.Account, hash: p.Hash, setAt: p.At}
	if p.Hash.inner.Slow() {
		e.hash.KeyID = s.ring.ID() // of no password: it must not need an older key than what is sealed beside it
	}
	if text := p.Hash.inner.Text(); text != "" {
		e.sealed = s.ring.Seal([]byte(text), place(p.Account))
	}
	return e, nil
}

// Between returns the passwords of the accounts from one id to another, in that order. Stopped ones, and those that this server cannot check, are left out: they open no account.
func (s *Service) Between(ctx context.Context, tx *sqldb.Tx, first, last account.ID) (all []Setting, err error) {
	entries, err := between(ctx, tx, first, last)
	if err != nil {
		return nil, fmt.Errorf("read passwords: %w", err)
	}
	for _, e := range entries {
		inner, ok := s.open(Stored{account: e.id, sealed: e.sealed})
		if e.hash.inner = inner; ok {
			all = append(all, Setting{Account: e.id, Hash: e.hash, At: e.setAt})
		}
	}
	return all, nil
}

// Written is a hash as it is written down elsewhere.
type Written struct {
	Hash   string // our PHC string, or what another system made
	Pepper string // the id of the key that ours are peppered with
	Inner  string // of a wrapped one: how the sum is made
}

// Write writes a hash down. Without the keys it is of no use, unless another system made it.
func (h Hash) Write() Written {
	switch {
	case h.inner.Slow():
		return Written{Hash: h.inner.Text()}
	default:
		return Written{Hash: h.PHC, Pepper: h.KeyID, Inner: h.inner.Text()}
	}
}

// ErrPepper means that a hash was peppered with a key that is not here.
var ErrPepper = errors.New("the pepper's key is not in the key file")

// mostWork is how many times the server's own work one of our hashes may ask for that is brought along: sixteen
// sign-ins' worth of a queue that holds more.
const mostWork = 16

// Read reads one of ours, that is, one with a pepper.
func (s *Service) Read(w Written) (Hash, error) {
	h := Hash{PHC: w.Hash, KeyID: w.Pepper}
	if _, known := s.ring.PepperWith(w.Pepper, nil); !known {
		return Hash{}, ErrPepper
	}
	ours, usable := s.read(h)
	switch {
	case !usable:
		return Hash{}, foreign.Malformed
	case ours.params.work() > mostWork*max(s.params.work(), DefaultParams().work()):
		return Hash{}, foreign.TooCostly
	}
	if w.Inner == "" {
		return h, nil
	}
	inner, err := foreign.Parse(w.Inner)
	if err == nil && inner.Slow() {
		err = foreign.Malformed
	}
	h.inner = inner
	return h, err
}

// Family is one kind of other systems' hashes.
type Family struct {
	Kind     foreign.Kind
	Accounts int64
}

// Kinds returns what other systems' hashes there are, as every sign-in sees them.
func (s *Service) Kinds(ctx context.Context, tx *sqldb.Tx) ([]foreign.Kind, error) {
	r, err := get(ctx, tx, account.Last)
	return r.kinds, err
}

// Families counts the accounts that still have another system's hash. It reads all of those.
func (s *Service) Families(ctx context.Context, tx *sqldb.Tx) ([]Family, error) {
	return countFamilies(ctx, tx)
}

// ForgetFamily takes the password from a bounded number of accounts that still have such a hash, and
// returns from how many. They get in by recovery.
func (s *Service) ForgetFamily(ctx context.Context, tx *sqldb.Tx, family string) (int64, error) {
	return deleteFamily(ctx, tx, family)
}

// Prune forgets which kinds of hashes there were. What it returns is always 0: once is enough.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	return 0, pruneKinds(ctx, tx, tx.Now().Add(-time.Hour))
}

// Kind is what another system made; its family is empty if none did.
func (h Hash) Kind() foreign.Kind { return h.inner.Kind() }

// Measure returns about how long everybody's sign-in takes for one kind: the best of three.
func (s *Service) Measure(k foreign.Kind) time.Duration {
	best := time.Duration(0)
	for range 3 {
		debug.FreeOSMemory() // a hash may take many MiB: what is measured must not hold three times as much
		began := s.now()
		foreign.Stand(k).Matches("")
		if took := s.now().Sub(began); best == 0 || took < best {
			best = took
		}
	}
	return best
}
