// Package keyring holds the server's own keys: it seals contact data, indexes it blindly,
// digests tokens and codes, and peppers passwords. It owns the table keyring_check.
//
// The keys live in a file (or the environment), never in the database: a stolen database
// alone opens nothing (P4). Every purpose has its own key, derived by HKDF-SHA-256
// (RFC 5869) from a root key, so a value made for one purpose is worth nothing for another.
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
	"sync"

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

// Ring is the set of keys in use. It is safe for concurrent use and never changes.
type Ring struct {
	current string // key id new values are sealed with
	first   string // key id of the blind index, digests and peppers
	keys    map[string]derived
}

type derived struct {
	seal                       cipher.AEAD
	index, digest, pepper, mac *macKey
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

// New derives a ring from root keys. The first indexes, digests and peppers, the last seals.
func New(roots []Root) (*Ring, error) {
	if len(roots) == 0 {
		return nil, errors.New("no keys")
	}
	r := &Ring{first: roots[0].ID, current: roots[len(roots)-1].ID, keys: map[string]derived{}}
	for _, root := range roots {
		if len(root.ID) != idLen || len(root.Key) != 32 {
			// What stands where the id belongs may be the key: print neither.
			return nil, fmt.Errorf("a root key has an id of %d characters and 32 bytes", idLen)
		}
		d, err := derive(root)
		if err != nil {
			return nil, err
		}
		r.keys[root.ID] = d
	}
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
	d.index, d.digest, d.pepper, d.mac = newMACKey(sub("index")), newMACKey(sub("digest")), newMACKey(sub("pepper")), newMACKey(sub("mac"))
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

// Seal encrypts plain for its place: version, key id, nonce, ciphertext and tag.
func (r *Ring) Seal(plain []byte, at Place) []byte {
	out := append([]byte{version}, r.current...)
	return r.keys[r.current].seal.Seal(out, nil, plain, at.bytes()) //nolint:gosec // G407: this AEAD makes the nonce itself
}

// ErrSealed means a sealed value does not open: wrong key, wrong place, or damaged.
var ErrSealed = errors.New("sealed value does not open")

// Open decrypts what Seal made for the same place.
func (r *Ring) Open(sealed []byte, at Place) ([]byte, error) {
	if len(sealed) < 1+idLen || sealed[0] != version {
		return nil, ErrSealed
	}
	d, ok := r.keys[string(sealed[1:1+idLen])]
	if !ok {
		return nil, fmt.Errorf("%w: key %q is not in the key file", ErrSealed, sealed[1:1+idLen])
	}
	plain, err := d.seal.Open(nil, nil, sealed[1+idLen:], at.bytes())
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// Index returns the blind index of a value: 32 bytes, equal for equal values of one kind,
// meaningless without the key.
func (r *Ring) Index(kind, value string) []byte { return r.keys[r.first].index.sum(kind, value) }

// Digest returns what is stored of a token or code: 32 bytes, bound to its purpose.
// A short code is bound to its flow by putting the flow's id into purpose.
func (r *Ring) Digest(purpose string, t secret.Token) []byte {
	return r.keys[r.first].digest.sum(purpose, t.Reveal())
}

// MAC authenticates a record for one purpose: 32 bytes. It is also the source of stable
// choices for those who do not exist.
func (r *Ring) MAC(purpose string, record []byte) []byte {
	return r.keys[r.first].mac.sum(purpose, string(record))
}

// Pepper keys a password before it is hashed: 32 bytes, and the id of the key, which is stored with the hash.
func (r *Ring) Pepper(password []byte) (peppered []byte, keyID string) {
	return r.keys[r.first].pepper.sum("password", string(password)), r.first
}

// PepperWith peppers with the key a stored hash was made with; ok is false if it is not in the ring.
func (r *Ring) PepperWith(keyID string, password []byte) (peppered []byte, ok bool) {
	d, ok := r.keys[keyID]
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
