// Package keyring holds the server's own keys: it seals contact data, indexes it blindly,
// digests tokens and codes, and peppers passwords. It owns the tables keyring_check and keyring_lack.
//
// The keys live in a file (or the environment), never in the database: a stolen database
// alone opens nothing (P4). Every purpose has its own key, derived by HKDF-SHA-256
// (RFC 5869) from a root key, so a value made for one purpose is worth nothing for another.
//
// A key takes over from another while the server serves: see Rotation.
package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"countersign/internal/platform/secret"
)

// Place says where a sealed value stands. It is the associated data of the seal, so a value
// moved to another table, row or column does not open.
type Place struct{ Table, Row, Column string }

func (p Place) bytes() []byte {
	var b []byte
	for _, s := range []string{p.Table, p.Row, p.Column} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s))) //nolint:gosec // names and ids are short
		b = append(b, s...)
	}
	return b
}

// Ring is the set of keys in use. It is safe for concurrent use. The key file says which keys there are;
// what each is for is written in the database, for all nodes alike, and Follow keeps up with that.
type Ring struct {
	state atomic.Pointer[state]

	mu     sync.Mutex
	known  map[string]derived     // all that we have, whether anything needs them or not
	source func() ([]Root, error) // looks for more; nil where there cannot be any
	looked look
}

// state is what the keys are for. It is never changed, only replaced.
type state struct {
	epoch   int64 // of the database; 0 before a database was asked
	current string
	now     derived  // the current key
	listed  []string // whose digests are looked for, the oldest key first
	keys    map[string]derived
	bare    string // the key whose digests do not begin with its id: the first that the database had
	stable  *macKey
	lacking string // a key that is coming, and that we do not have
}

type derived struct {
	seal                       cipher.AEAD
	index, digest, pepper, mac *macKey
	macKey                     []byte
}

// Root is one root key: 32 bytes with an id of 8 characters.
type Root struct {
	ID  string
	Key []byte
}

const hidden = "[key]"

// Format writes "[key]" whatever the verb, and so in the log.
func (r Root) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// MarshalText returns "[key]".
func (r Root) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Format writes "[key]" whatever the verb, and so in the log.
func (r *Ring) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// New derives a ring from root keys. Until a database says otherwise, the first of them makes everything.
func New(roots []Root) (*Ring, error) {
	if len(roots) == 0 {
		return nil, errors.New("no keys")
	}
	r := &Ring{known: map[string]derived{}}
	for _, root := range roots {
		if len(root.ID) != idLen || len(root.Key) != 32 {
			// What stands where the id belongs may be the key: print neither.
			return nil, fmt.Errorf("a root key has an id of %d characters and 32 bytes", idLen)
		}
		d, err := derive(root)
		if err != nil {
			return nil, err
		}
		r.known[root.ID] = d
	}
	first := roots[0].ID
	r.state.Store(&state{
		current: first, now: r.known[first], listed: []string{first}, keys: maps.Clone(r.known),
		bare: first, stable: r.known[first].mac,
	})
	return r, nil
}

func derive(root Root) (d derived, err error) {
	sub := func(purpose string) (key []byte) {
		if err == nil {
			key, err = hkdf.Key(sha256.New, root.Key, nil, "countersign/v1/"+purpose, 32)
		}
		return key
	}
	sealKey := sub("seal")
	d.macKey = sub("mac")
	d.index, d.digest, d.pepper, d.mac = newMACKey(sub("index")), newMACKey(sub("digest")), newMACKey(sub("pepper")), newMACKey(d.macKey)
	if err != nil {
		return derived{}, err
	}
	block, err := aes.NewCipher(sealKey)
	if err != nil {
		return derived{}, err
	}
	d.seal, err = cipher.NewGCMWithRandomNonce(block)
	return d, err
}

const (
	idLen   = 8
	version = 1 // AES-256-GCM, random 96-bit nonce
)

// Several reports whether more than one key is looked for.
func (r *Ring) Several() bool { return len(r.state.Load().listed) > 1 }

// ID is the id of the key that everything new is made with.
func (r *Ring) ID() string { return r.state.Load().current }

// Seal encrypts plain for its place: version, key id, nonce, ciphertext and tag.
func (r *Ring) Seal(plain []byte, at Place) []byte {
	s := r.state.Load()
	return s.now.sealAs(s.current, plain, at)
}

func (d derived) sealAs(id string, plain []byte, at Place) []byte {
	out := append([]byte{version}, id...)
	return d.seal.Seal(out, nil, plain, at.bytes()) //nolint:gosec // G407: this AEAD makes the nonce itself
}

// ErrSealed means a sealed value does not open: wrong key, wrong place, or damaged.
var ErrSealed = errors.New("sealed value does not open")

// Open decrypts what Seal made for the same place.
func (r *Ring) Open(sealed []byte, at Place) ([]byte, error) {
	return open(r.state.Load().keys, sealed, at)
}

func open(keys map[string]derived, sealed []byte, at Place) ([]byte, error) {
	id := sealer(sealed)
	if id == "" {
		return nil, ErrSealed
	}
	d, ok := keys[id]
	if !ok {
		return nil, fmt.Errorf("%w: key %q is not in the key file", ErrSealed, id)
	}
	plain, err := d.seal.Open(nil, nil, sealed[1+idLen:], at.bytes())
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// sealer is the id of the key that sealed it, or "" if it is no sealed value.
func sealer(sealed []byte) string {
	if len(sealed) < 1+idLen || sealed[0] != version {
		return ""
	}
	return string(sealed[1 : 1+idLen])
}

// A digest of any key but the database's first begins with the key's id, so that it can be told which
// rows still need which key.
func (s *state) sum(id string, k *macKey, purpose, value string) []byte {
	if id == s.bare {
		return k.sum(purpose, value)
	}
	return append([]byte(id), k.sum(purpose, value)...)
}

// maker is the id of the key that made an index, a digest or a MAC.
func (s *state) maker(digest []byte) string {
	if len(digest) == idLen+sha256.Size {
		return string(digest[:idLen])
	}
	return s.bare
}

// Fresh reports whether the current key has made a sealed value, and the digests that stand with it.
func (r *Ring) Fresh(sealed []byte, digests ...[]byte) bool {
	s := r.state.Load()
	if sealed != nil && sealer(sealed) != s.current {
		return false
	}
	for _, d := range digests {
		if s.maker(d) != s.current {
			return false
		}
	}
	return true
}

// Index returns the blind index of a value: equal for equal values of one kind, meaningless
// without the key. It is what is written; what is looked for is Indexes.
func (r *Ring) Index(kind, value string) []byte {
	s := r.state.Load()
	return s.sum(s.current, s.now.index, kind, value)
}

// Indexes returns the blind index that is written, and those under every key that anything may have been
// written with. Their order is the same on every node, whichever key it writes with: the oldest key's is the first.
func (r *Ring) Indexes(kind, value string) (current []byte, all [][]byte) {
	s := r.state.Load()
	all = s.each(func(id string, d derived) []byte { return s.sum(id, d.index, kind, value) })
	return all[slices.Index(s.listed, s.current)], all
}

func (s *state) each(sum func(id string, d derived) []byte) [][]byte {
	all := make([][]byte, len(s.listed))
	for i, id := range s.listed {
		all[i] = sum(id, s.keys[id])
	}
	return all
}

// Digest returns what is stored of a token or code, bound to its purpose. A short code is bound to
// its flow by putting the flow's id into purpose. It is what is written; what is looked for is Digests.
func (r *Ring) Digest(purpose string, t secret.Token) []byte {
	s := r.state.Load()
	return s.sum(s.current, s.now.digest, purpose, t.Reveal())
}

// Digests returns the digests under every key, as Indexes does: what was begun under an older key
// goes on, and the work does not tell which key it was.
func (r *Ring) Digests(purpose string, t secret.Token) [][]byte {
	s := r.state.Load()
	return s.each(func(id string, d derived) []byte { return s.sum(id, d.digest, purpose, t.Reveal()) })
}

// MAC authenticates a record for one purpose.
func (r *Ring) MAC(purpose string, record []byte) []byte {
	s := r.state.Load()
	return s.sum(s.current, s.now.mac, purpose, string(record))
}

// Authentic reports whether MAC made mac for the record, under whichever key.
func (r *Ring) Authentic(purpose string, record, mac []byte) bool {
	s := r.state.Load()
	id := s.maker(mac)
	d, ok := s.keys[id]
	return ok && hmac.Equal(s.sum(id, d.mac, purpose, string(record)), mac)
}

// Stable is a keyed digest of 32 bytes that stays what it is when keys change: for choices that a stranger sees and
// could compare over the years (which decoy stands in for a name), for what another key digests again,
// and for secrets of a hundred bits that are to be kept for years. Its own secret is sealed in the database.
func (r *Ring) Stable(purpose, value string) []byte { return r.state.Load().stable.sum(purpose, value) }

// Pepper keys a password before it is hashed: 32 bytes, and the id of the key, which is stored with the hash.
func (r *Ring) Pepper(password []byte) (peppered []byte, keyID string) {
	s := r.state.Load()
	return s.now.pepper.sum("password", string(password)), s.current
}

// PepperWith peppers with the key a stored hash was made with; ok is false if it is not in the ring.
func (r *Ring) PepperWith(keyID string, password []byte) (peppered []byte, ok bool) {
	d, ok := r.state.Load().keys[keyID]
	if !ok {
		return nil, false
	}
	return d.pepper.sum("password", string(password)), true
}

// macKey is an HMAC-SHA-256 key with its states kept for the next use: a session check is
// little more than one of these, and half of making one is hashing the key.
type macKey struct{ states sync.Pool }

type macState struct {
	hash   hash.Hash
	buffer []byte
}

func newMACKey(key []byte) *macKey {
	return &macKey{sync.Pool{New: func() any { return &macState{hash: hmac.New(sha256.New, key)} }}}
}

func (k *macKey) sum(purpose, value string) []byte {
	m := k.states.Get().(*macState)                                              //nolint:forcetypeassert // the pool's New makes nothing else
	m.buffer = binary.BigEndian.AppendUint32(m.buffer[:0], uint32(len(purpose))) //nolint:gosec // purposes are short
	m.buffer = append(append(m.buffer, purpose...), value...)
	m.hash.Reset()
	m.hash.Write(m.buffer)
	out := m.hash.Sum(nil)
	clear(m.buffer) // it may have been a password
	k.states.Put(m)
	return out
}
