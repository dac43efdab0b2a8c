// Package password hashes and checks passwords, and says which may be chosen. It owns the
// tables password and password_kind.
//
// A hash is argon2id over the keyed pepper of the NFC form. One that another system made is kept sealed, or
// under ours, until its owner signs in. Hashing is admitted through a
// bounded queue, so that a flood costs its senders time and not this machine its memory (P10).
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pool "github.com/minio/argon2"
	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/password/foreign"
	"countersign/internal/platform/sqldb"
)

// Options makes a Service. DB and Ring are required.
type Options struct {
	DB   *sqldb.DB
	Ring *keyring.Ring
	// Params is the cost of new hashes. Zero means DefaultParams. It may be raised at any time.
	// After lowering it, those with an older, costlier hash answer more slowly than those
	// without an account until they have signed in once.
	Params Params
	// Policy says which passwords may be chosen. Its zero fields have defaults.
	Policy Policy
	// Parallel is how many hashes run at once; memory is that times Params.MemoryKiB. 0 means GOMAXPROCS.
	Parallel int
	// MaxWait is how long a queue is let grow, in time it takes to work it off. 0 means 2 s.
	MaxWait time.Duration
	// Now measures how long hashes take. Nil means the database's clock.
	Now func() time.Time
	// WeakForTests lets Params be below the floor.
	WeakForTests bool
}

// Service keeps the passwords. It is safe for concurrent use.
type Service struct {
	db     *sqldb.DB
	ring   *keyring.Ring
	params Params
	policy Policy
	queue  *admission
	now    func() time.Time
	dummy  string                 // the PHC string of what those without a password are checked against
	sealed atomic.Pointer[[]byte] // opened for those who have nothing to open
	pooled sync.Map               // Params to argon2id at that cost; as many as there ever were in the configuration
}

// New makes a Service. It hashes nothing and is quick.
func New(o Options) (*Service, error) {
	if o.Params == (Params{}) {
		o.Params = DefaultParams()
	}
	if o.Parallel == 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	if o.MaxWait == 0 {
		o.MaxWait = 2 * time.Second
	}
	if o.Now == nil {
		o.Now = o.DB.Now
	}
	policy, err := o.Policy.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := o.Params.valid(); err != nil {
		return nil, err
	}
	if !o.WeakForTests && o.Params.Weak() {
		return nil, fmt.Errorf("a password cost of %s is below the floor: at least 19 MiB and t=2, 12 MiB and t=3, or 46 MiB and t=1", o.Params)
	}
	if o.Parallel < 1 || o.MaxWait < 0 {
		return nil, errors.New("at least one password hash must run at a time, and the wait cannot be negative")
	}
	s := &Service{
		db: o.DB, ring: o.Ring, params: o.Params, policy: policy, now: o.Now,
		queue: newAdmission(o.Parallel, o.MaxWait), dummy: newDummy(o.Params),
	}
	s.empty()
	return s, nil
}

// newDummy returns what those without a password are checked against: well-formed, of the
// current cost. Its tag is random and was never a password's.
func newDummy(params Params) string { return params.encode(random(saltLen), random(tagLen)) }

// blank is the dummy under the current key.
func (s *Service) blank() Hash { return Hash{PHC: s.dummy, KeyID: s.ring.ID()} }

// Hash is what is stored of a password.
type Hash struct {
	PHC   string // $argon2id$v=19$m=…,t=…,p=…$salt$tag
	KeyID string // of the pepper

	stopped bool
	inner   foreign.Hash // what another system made: see Keep and Wrap
}

// EnsureDummies writes a password that nothing opens for each of the accounts that has none, so that
// looking for the password of a decoy reads a row as well, and one that is as seldom looked at as
// anybody's. Those of another cost or pepper are written anew, or decoys alone would keep the old one.
// The last of the accounts is written last; if it has a current one, all have.
func (s *Service) EnsureDummies(ctx context.Context, accounts []account.ID) error {
	if len(accounts) == 0 {
		return nil
	}
	var last Hash
	err := s.db.Read(ctx, func(tx *sqldb.Tx) error {
		r, err := get(ctx, tx, accounts[len(accounts)-1])
		last = r.hash
		return err
	})
	if err != nil {
		return err
	}
	if p, _, _, err := decode(last.PHC); err == nil && p == s.params && last.KeyID == s.ring.ID() {
		return nil
	}
	const batch = 64 // keeps each transaction short
	for some := range slices.Chunk(accounts, batch) {
		err := s.db.Write(ctx, func(tx *sqldb.Tx) error {
			for _, id := range some {
				if err := putDummy(ctx, tx, id, Hash{PHC: newDummy(s.params), KeyID: s.ring.ID()}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("write dummy passwords: %w", err)
		}
	}
	return nil
}

// Stored is an account's password, or the dummy that stands in for none. From outside the
// two cannot be told apart.
type Stored struct {
	account account.ID
	hash    Hash
	dummy   bool
	version Version
	sealed  []byte         // what another system made
	kinds   []foreign.Kind // what other systems made for anybody here
}

// Version tells the passwords of one account from each other: clocks that are set back or differ must not
// make an old proof good again, so nothing is compared with the time. A hash made anew has its password's.
type Version int64

// Version returns that of the password.
func (s Stored) Version() Version { return s.version }

// Verdict is the outcome of Verify.
type Verdict struct {
	OK bool
	// Stale means that the hash has another cost or pepper than new ones, or was another system's: call
	// Rehash. Only with OK.
	Stale bool
	// Unusable means that there is a hash and this server cannot check it: it is damaged, or
	// its pepper is not in the key file. The caller records it and treats the
	// password as wrong, in the same time as any other.
	Unusable bool
	// Stopped means that it is the password and opens nothing until it is replaced: see Stop. OK is false.
	Stopped bool

	renewed string // see Renewal
}

// Load reads an account's password. For an account without one it makes the same query, reads
// another's row and returns the dummy.
func (s *Service) Load(ctx context.Context, tx *sqldb.Tx, id account.ID) (Stored, error) {
	r, err := get(ctx, tx, id)
	if err != nil {
		return Stored{}, fmt.Errorf("read password of %s: %w", id, err)
	}
	if r.hash.PHC == "" {
		return Stored{account: id, hash: s.blank(), dummy: true, version: Version(r.setAt), kinds: r.kinds}, nil
	}
	return Stored{account: id, hash: r.hash, version: Version(r.setAt), sealed: r.sealed, kinds: r.kinds}, nil
}

// Admit lets a sign-in begin that will need Verify, unless so many are under way that it would
// not have its turn: fault.Unavailable "busy". Without it a crowd would first wait for the database,
// only to be refused afterwards. Call done when the sign-in has its answer.
func (s *Service) Admit() (done func(), err error) {
	if err := s.queue.come(); err != nil {
		return nil, err
	}
	return s.queue.depart, nil
}

// Verify compares a password. It costs the same for every Stored, and never succeeds for
// the dummy. It returns fault.Unavailable "busy" when the queue is full, and the context's
// error to a caller that stopped waiting; both come before stored is looked at.
func (s *Service) Verify(ctx context.Context, stored Stored, plain string) (Verdict, error) {
	if len(plain) > s.policy.maxBytes() {
		return Verdict{}, nil // decided by the input alone, so it says nothing about the account
	}
	if err := s.queue.enter(ctx); err != nil {
		return Verdict{}, err
	}
	defer s.leave(s.now())
	return s.compare(stored, plain), nil
}

func (s *Service) compare(stored Stored, plain string) Verdict {
	h, usable := s.read(stored.hash)
	inner, opened := s.open(stored)
	if usable = usable && opened; !usable {
		h, _ = s.read(s.blank())
	}
	before := elsewhere(inner, stored.kinds, plain)
	if inner.Slow() { // another hash decides, and the work of ours, which everybody pays, makes the one that replaces it
		h = readHash{params: s.params, salt: random(saltLen), tag: make([]byte, tagLen), keyID: s.ring.ID()}
	}
	peppered, _ := s.ring.PepperWith(h.keyID, before.input(plain))
	tag := s.tag(h.params, peppered, h.salt, len(h.tag))
	equal := subtle.ConstantTimeCompare(tag, h.tag) == 1
	s.pad(h.params, h.salt)
	renewed := ""
	if inner.Slow() {
		if equal = before.equal; equal {
			renewed = h.keyID + h.params.encode(h.salt, tag)
		}
	}
	fits := equal && !before.never && usable && !stored.dummy
	return Verdict{
		OK:       fits && !stored.hash.stopped,
		Stopped:  fits && stored.hash.stopped,
		Stale:    fits && !stored.hash.stopped && (h.params != s.params || h.keyID != s.ring.ID() || inner.Text() != ""),
		Unusable: !usable,
		renewed:  renewed,
	}
}

type readHash struct {
	params    Params
	salt, tag []byte
	keyID     string
}

// read decodes a stored hash; usable is false if it is damaged or its pepper is missing.
func (s *Service) read(h Hash) (out readHash, usable bool) {
	params, salt, tag, err := decode(h.PHC)
	_, known := s.ring.PepperWith(h.KeyID, nil)
	return readHash{params: params, salt: salt, tag: tag, keyID: h.KeyID}, err == nil && known
}

// pad makes a hash of an older, lower cost take as long as a current one. Without it, once
// the cost is raised, quick answers would be those of people who have an account.
func (s *Service) pad(was Params, salt []byte) {
	if p, needed := s.params.missing(was); needed {
		s.tag(p, nil, salt, tagLen)
	}
}

// Hash hashes a password as Set does, without checking the policy. Like Verify it waits its turn.
func (s *Service) Hash(ctx context.Context, plain string) (Hash, error) {
	return s.hash(ctx, normal(plain))
}

func (s *Service) hash(ctx context.Context, input []byte) (Hash, error) {
	if err := s.queue.enter(ctx); err != nil {
		return Hash{}, err
	}
	defer s.leave(s.now())
	peppered, keyID := s.ring.Pepper(input)
	salt := random(saltLen)
	return Hash{PHC: s.params.encode(salt, s.tag(s.params, peppered, salt, tagLen)), KeyID: keyID}, nil
}

func (s *Service) leave(began time.Time) { s.queue.leave(s.now().Sub(began)) }

// Set checks a new password against the policy and stores it. personal are words that a
// stranger would try first: the person's own addresses and names.
//
// It opens a transaction of its own. Where one is open already, call Check and Hash before
// it and SetHash inside.
func (s *Service) Set(ctx context.Context, id account.ID, plain string, personal []string) error {
	if err := s.Check(plain, personal); err != nil {
		return err
	}
	h, err := s.Hash(ctx, plain)
	if err != nil {
		return err
	}
	return s.db.Write(ctx, func(tx *sqldb.Tx) error { return s.SetHash(ctx, tx, id, h) })
}

// SetHash stores a ready hash, in place of the one there is. The hash must be one that this
// server can check: an argon2id PHC string over a pepper of the ring.
func (s *Service) SetHash(ctx context.Context, tx *sqldb.Tx, id account.ID, h Hash) error {
	e, err := s.entry(Setting{Account: id, Hash: h, At: tx.Now()})
	if err != nil {
		return err
	}
	if err := put(ctx, tx, e); err != nil {
		return fmt.Errorf("store password of %s: %w", id, err)
	}
	return nil
}

// Replace stores a ready hash in place of the password that was verified. ok is false if that one is
// there no more, or opens nothing any more: of two changes at once one wins.
func (s *Service) Replace(ctx context.Context, tx *sqldb.Tx, verified Stored, h Hash) (ok bool, err error) {
	ok, err = replace(ctx, tx, verified, h)
	if err != nil {
		return false, fmt.Errorf("replace password of %s: %w", verified.account, err)
	}
	return ok && !verified.dummy, nil
}

// SetAt is when an account's password was set; the zero time if it has none.
func (s *Service) SetAt(ctx context.Context, tx *sqldb.Tx, id account.ID) (time.Time, error) {
	return setAt(ctx, tx, id)
}

// Erase deletes an account's password.
func (s *Service) Erase(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	return erase(ctx, tx, id)
}

// Stop makes an account's password open nothing until another is set, because somebody may know it.
// Whoever tries it sees what a wrong one shows.
func (s *Service) Stop(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	return stop(ctx, tx, id)
}

// Changed reports whether an account's password is another than the one proved, or opens nothing. The proof
// is worth nothing then. Whoever sets or stops it waits for the end of the transaction.
func (s *Service) Changed(ctx context.Context, tx *sqldb.Tx, id account.ID, proved Version) (bool, error) {
	return changed(ctx, tx, id, proved)
}

// Rehash stores the verified password with the current cost and pepper. It changes nothing
// if the password was changed meanwhile, and the age of the password stays. A hash of ours is left to a later sign-in
// while anybody else's password is judged: when keys change everybody's is to be made anew, which must not halve what a node can do.
func (s *Service) Rehash(ctx context.Context, verified Stored, plain string) error {
	if verified.dummy {
		return errors.New("rehash: there is no password")
	}
	if verified.sealed == nil && !s.queue.idle() {
		return nil
	}
	h, err := s.Hash(ctx, plain)
	if err != nil {
		return err
	}
	return s.db.Write(ctx, func(tx *sqldb.Tx) error {
		if err := swap(ctx, tx, verified, h); err != nil {
			return fmt.Errorf("rehash password of %s: %w", verified.account, err)
		}
		return nil
	})
}

// Admission says how busy hashing is.
func (s *Service) Admission() Admission { return s.queue.gauge() }

// normal returns the form that is hashed: NFC, because keyboards differ in how they compose
// letters, and nothing else: no trimming, no folding, no cutting.
func normal(plain string) []byte { return norm.NFC.Bytes([]byte(plain)) }

// tag is argon2id in memory that it worked in before, which spares the system 19 MiB of fresh pages,
// and the collector their remains, at each sign-in. That goes for older costs too: a hash that had to
// ask for memory would take longer, and tell.
func (s *Service) tag(p Params, peppered, salt []byte, size int) []byte {
	hash, ok := s.pooled.Load(p)
	if !ok {
		hash, _ = s.pooled.LoadOrStore(p, pool.NewIDKey(p.Time, p.MemoryKiB, p.Lanes))
	}
	return hash.(argon2id)(peppered, salt, nil, nil, uint32(size)) //nolint:gosec,forcetypeassert // small; nothing else is stored
}

// argon2id is the type of pool.NewIDKey's result.
type argon2id = func(password, salt, secret, data []byte, size uint32) []byte

func (p Params) tag(peppered, salt []byte, size int) []byte {
	return argon2.IDKey(peppered, salt, p.Time, p.MemoryKiB, p.Lanes, uint32(size)) //nolint:gosec // tag sizes are small
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
