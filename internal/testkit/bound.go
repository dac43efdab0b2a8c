package testkit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// BoundKey is a key that a browser binds to its machine (DBSC).
type BoundKey struct {
	t         testing.TB
	algorithm jose.SignatureAlgorithm
	private   crypto.Signer
}

// NewBoundKey makes a P-256 key, as most browsers do.
func NewBoundKey(t testing.TB) BoundKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return BoundKey{t, jose.ES256, private}
}

// NewBoundRSAKey makes an RSA key, as old security chips do.
func NewBoundRSAKey(t testing.TB, bits int) BoundKey {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return BoundKey{t, jose.RS256, private}
}

// Public is the public half.
func (k BoundKey) Public() crypto.PublicKey { return k.private.Public() }

// Enrol signs a challenge and brings the key along, as at registration.
func (k BoundKey) Enrol(challenge string) string {
	k.t.Helper()
	return k.Say("dbsc+jwt", `{"jti":"`+challenge+`"}`, jose.JSONWebKey{Key: k.private.Public()})
}

// Sign signs a challenge, as at a refresh.
func (k BoundKey) Sign(challenge string) string {
	k.t.Helper()
	return k.Say("dbsc+jwt", `{"jti":"`+challenge+`"}`, nil)
}

// Say signs whatever it is given, with a jwk in the header unless that is nil.
func (k BoundKey) Say(typ jose.ContentType, payload string, jwk any) string {
	k.t.Helper()
	o := (&jose.SignerOptions{}).WithType(typ)
	if jwk != nil {
		o = o.WithHeader("jwk", jwk)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.algorithm, Key: k.private}, o)
	if err != nil {
		k.t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(payload))
	if err != nil {
		k.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		k.t.Fatal(err)
	}
	return text
}
