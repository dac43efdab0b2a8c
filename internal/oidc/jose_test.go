package oidc_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// clientKey makes a client's key, and its public half as the client registers it.
func clientKey(t *testing.T, alg jose.SignatureAlgorithm) (jose.Signer, string) {
	t.Helper()
	private, jwks := keyPair(t, alg)
	return signerOf(t, alg, private, ""), jwks
}

func keyPair(t *testing.T, alg jose.SignatureAlgorithm) (private crypto.Signer, jwks string) {
	t.Helper()
	var err error
	switch alg {
	case jose.RS256, jose.PS256:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case jose.EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public(), KeyID: "1", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return private, string(set)
}

func signerOf(t *testing.T, alg jose.SignatureAlgorithm, private crypto.Signer, typ jose.ContentType) jose.Signer {
	t.Helper()
	o := &jose.SignerOptions{}
	if typ != "" {
		o = o.WithType(typ)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: private, KeyID: "1"}}, o)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func signed(t *testing.T, by jose.Signer, claims any) string {
	t.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	made, err := by.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := made.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}
