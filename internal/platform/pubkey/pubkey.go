// Package pubkey reads public keys that strangers send, of the two kinds that we take, and verifies what was signed with them.
package pubkey

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
)

// SignatureSize is the size of every signature, of either kind.
const SignatureSize = 64

// maxSPKI bounds what is parsed: ours have 91 bytes (P-256) and 44 (Ed25519); RSA of 4096 bits, which is told that it is not taken, has 550.
const maxSPKI = 768

var (
	// ErrMalformed is of bytes that are no key, or one that anybody could sign for.
	ErrMalformed = errors.New("not a public key (SubjectPublicKeyInfo in DER)")
	// ErrUnsupported is of a key of another kind or curve.
	ErrUnsupported = errors.New("a public key that is neither P-256 nor Ed25519")
)

// Key is a public key that was looked at: a point of P-256, or one of Ed25519 whose signatures only the holder of the private key can make.
type Key struct {
	public any // *ecdsa.PublicKey or ed25519.PublicKey
}

// Parse reads a SubjectPublicKeyInfo. A key is taken in its one DER form alone, so that it can be known again by its bytes.
func Parse(spki []byte) (Key, error) {
	if len(spki) > maxSPKI {
		return Key{}, ErrMalformed
	}
	public, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return Key{}, errors.Join(ErrMalformed, err)
	}
	k, err := Of(public)
	if err != nil {
		return Key{}, err
	}
	if again, err := k.SPKI(); err != nil || !bytes.Equal(again, spki) {
		return Key{}, ErrMalformed
	}
	return k, nil
}

// Of takes a key that another parser has read.
func Of(public any) (Key, error) {
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			return Key{}, ErrUnsupported
		}
		if _, err := p.ECDH(); err != nil { // not a point of the curve, or the one at infinity
			return Key{}, ErrMalformed
		}
		return Key{p}, nil
	case ed25519.PublicKey:
		if len(p) != ed25519.PublicKeySize || !canonical(p) || lowOrder(p) {
			return Key{}, ErrMalformed
		}
		return Key{p}, nil
	}
	return Key{}, ErrUnsupported
}

// SPKI is the key as it is written.
func (k Key) SPKI() ([]byte, error) { return x509.MarshalPKIXPublicKey(k.public) }

// Public is the key as the standard library has it.
func (k Key) Public() any { return k.public }

// Verify reports whether the holder of the key signed the message: with P-256, ECDSA over its SHA-256 in the form r‖s of
// 32 bytes each (RFC 7518 section 3.4); with Ed25519, over the message itself (RFC 8032, without prehash).
func (k Key) Verify(message, signature []byte) bool {
	if len(signature) != SignatureSize {
		return false
	}
	switch p := k.public.(type) {
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(message)
		return ecdsa.Verify(p, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	case ed25519.PublicKey:
		return ed25519.Verify(p, message, signature)
	}
	return false
}

// canonical reports whether the y of an Ed25519 key is less than the prime, 2^255 - 19: crypto/ed25519 takes others for the
// same keys.
func canonical(p ed25519.PublicKey) bool {
	y := ordinate(p)
	slices.Reverse(y)
	prime := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	return new(big.Int).SetBytes(y).Cmp(prime) < 0
}

// lowOrder reports whether a key is one of the eight points of a small order, for which anybody can make signatures: they
// have these five y.
func lowOrder(p ed25519.PublicKey) bool {
	return slices.Contains([]string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	}, hex.EncodeToString(ordinate(p)))
}

// ordinate is the y of a point, without the sign of x.
func ordinate(p ed25519.PublicKey) []byte {
	y := bytes.Clone(p)
	y[31] &= 0x7f
	return y
}
