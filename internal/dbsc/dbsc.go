// Package dbsc reads what browsers sign with keys that do not leave their machine: the proofs of Device Bound Session
// Credentials (W3C draft, as Chromium 156 speaks it). It keeps nothing and decides nothing.
package dbsc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

const (
	// maxProof bounds a proof, in bytes: one that brings an RSA key of 4096 bits has 2 KiB, most have 300 bytes.
	maxProof = 4 << 10

	// RSA keys of security chips have 2048 bits; more than 4096 only cost us time.
	minRSA, maxRSA = 2048, 4096
)

// errProof is all that is said of a proof that is none: it comes from whoever likes to send one.
var errProof = errors.New("not a proof of a bound key")

// Enrolment reads a proof that brings its own key: the challenge it answers, and the key (SubjectPublicKeyInfo in DER).
func Enrolment(proof string) (challenge string, key []byte, err error) {
	signed, err := parse(proof, jose.ES256, jose.RS256)
	if err != nil {
		return "", nil, err
	}
	brought := signed.Signatures[0].Protected.JSONWebKey
	if brought == nil {
		return "", nil, errProof
	}
	if key, err = x509.MarshalPKIXPublicKey(brought.Key); err != nil { // not of a private key, nor of a secret
		return "", nil, errProof
	}
	challenge, err = Challenge(proof, key)
	return challenge, key, err
}

// Challenge returns the challenge that a proof by the key answers. A key that a proof brings is not looked at.
func Challenge(proof string, key []byte) (string, error) {
	public, algorithm, err := parseKey(key)
	if err != nil {
		return "", err
	}
	signed, err := parse(proof, algorithm) // of the stored key, whatever the proof says (RFC 8725 section 3.1)
	if err != nil {
		return "", err
	}
	payload, err := signed.Verify(public)
	if err != nil {
		return "", errProof
	}
	var said struct {
		Challenge string `json:"jti"`
	}
	if json.Unmarshal(payload, &said) != nil || said.Challenge == "" {
		return "", errProof
	}
	return said.Challenge, nil
}

func parse(proof string, algorithms ...jose.SignatureAlgorithm) (*jose.JSONWebSignature, error) {
	if len(proof) > maxProof {
		return nil, errProof
	}
	signed, err := jose.ParseSignedCompact(proof, algorithms)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errProof, err)
	}
	// A signature for something else that the key may sign one day is not one for this.
	if kind, _ := signed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string); kind != "dbsc+jwt" {
		return nil, errProof
	}
	return signed, nil
}

func parseKey(der []byte) (public any, algorithm jose.SignatureAlgorithm, err error) {
	if public, err = x509.ParsePKIXPublicKey(der); err != nil {
		return nil, "", errProof
	}
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return k, jose.ES256, nil
		}
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits >= minRSA && bits <= maxRSA {
			return k, jose.RS256, nil
		}
	}
	return nil, "", errProof
}
