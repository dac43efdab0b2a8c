package testkit

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// DPoP is an app's key with which it proves its sessions (RFC 9449).
type DPoP struct {
	t   testing.TB
	key Key
}

// NewDPoP makes one of a key of either kind.
func NewDPoP(t testing.TB, key Key) DPoP { return DPoP{t, key} }

// Claims are what a proof says.
type Claims map[string]any

// About are the claims of a proof for a call. Without a token it is for a sign-in.
func About(now time.Time, method, url, token, nonce string) Claims {
	c := Claims{"jti": rand.Text(), "htm": method, "htu": url, "iat": now.Unix(), "nonce": nonce}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		c["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return c
}

// Proof signs the claims as a proof.
func (d DPoP) Proof(c Claims) string {
	d.t.Helper()
	return d.Say("dpop+jwt", jose.JSONWebKey{Key: d.key.private.Public()}, c)
}

// Say signs whatever it is given, under a typ and with a jwk, if that is not nil.
func (d DPoP) Say(typ string, jwk any, c Claims) string {
	d.t.Helper()
	payload, err := json.Marshal(c)
	if err != nil {
		d.t.Fatal(err)
	}
	algorithm := jose.EdDSA
	if _, ok := d.key.private.(*ecdsa.PrivateKey); ok {
		algorithm = jose.ES256
	}
	o := (&jose.SignerOptions{}).WithType(jose.ContentType(typ))
	if jwk != nil {
		o = o.WithHeader("jwk", jwk)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: d.key.private}, o)
	if err != nil {
		d.t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		d.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		d.t.Fatal(err)
	}
	return text
}

// Private is the private half, which no proof may show.
func (d DPoP) Private() any { return d.key.private }
