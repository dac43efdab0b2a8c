// Package dpop reads the proofs that apps send with a session that is bound to their key (RFC 9449), and sees to it that
// each is used once. It owns the table dpop_proof.
//
// A proof is a JWT made for one request, signed with the key that it brings along. It says which method and URL it is
// for, when it was made, and which of our nonces it answers. Which key a session is bound to is the session's to know.
package dpop

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/platform/fault"
	"countersign/internal/platform/pubkey"
	"countersign/internal/platform/secret"
)

const (
	// maxProof bounds a proof, in bytes: real ones have 600. What is larger only costs us time.
	maxProof = 4 << 10
	// maxID bounds a proof's own name. A UUID has 36 characters.
	maxID = 128
	// clockOff is how wrong a phone's clock may be, which its owner sets. That a proof is new follows from the nonce, which is
	// of our clock; this ends those that somebody had signed ahead of a nonce's time.
	clockOff = 5 * time.Minute
)

// Algorithms are the signatures that are taken, as they are named in challenges.
const Algorithms = "ES256 EdDSA"

// Thumbprint names a key: its SHA-256 after RFC 7638 in base64url, 43 characters. Empty names none.
type Thumbprint string

// Proof is what one was read to say: who made it has the key, and made it for the request at hand. The zero Proof is none.
type Proof struct {
	Key   Thumbprint
	Nonce string
	id    string
}

// Request is what a proof must be for. At a sign-in there is no token yet.
type Request struct {
	Method, URL string
	Token       secret.Token
}

// claims are what a proof says.
type claims struct {
	ID     string  `json:"jti"`
	Method string  `json:"htm"`
	URL    string  `json:"htu"`
	At     float64 `json:"iat"`
	Until  float64 `json:"exp"`
	From   float64 `json:"nbf"`
	Token  string  `json:"ath"`
	Nonce  string  `json:"nonce"`
}

// Read judges a proof as far as it can be judged alone: whether it comes for the first time is for Spend, or for the step of
// the sign-in whose nonce it answers. One that does not fit is fault.Unauthenticated "dpop_proof_refused".
func Read(text string, r Request, now time.Time) (Proof, error) {
	c, key, err := read(text)
	if err == nil {
		err = c.fits(r, now)
	}
	if err != nil {
		return Proof{}, fault.New(fault.Unauthenticated, "dpop_proof_refused", err)
	}
	return Proof{Key: key, Nonce: c.Nonce, id: c.ID}, nil
}

// read takes a proof apart and verifies it by its own key.
func read(text string) (c claims, key Thumbprint, err error) {
	if len(text) > maxProof {
		return claims{}, "", errors.New("a proof is larger than any real one")
	}
	signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA}) // neither none nor HMAC, ever
	if err != nil {
		return claims{}, "", err
	}
	header := signed.Signatures[0].Protected
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); typ != "dpop+jwt" { // what the key signs for others is none
		return claims{}, "", errors.New("a proof's typ is dpop+jwt")
	}
	if header.JSONWebKey == nil {
		return claims{}, "", errors.New("a proof brings its key along as jwk")
	}
	public, err := pubkey.Of(header.JSONWebKey.Key) // neither a private key nor a secret
	if err != nil {
		return claims{}, "", err
	}
	payload, err := signed.Verify(public.Public())
	if err != nil {
		return claims{}, "", err
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return claims{}, "", err
	}
	sum, err := header.JSONWebKey.Thumbprint(crypto.SHA256)
	return c, Thumbprint(base64.RawURLEncoding.EncodeToString(sum)), err
}

// fits says what about a proof is for another request.
func (c claims) fits(r Request, now time.Time) error {
	at := float64(now.UnixMilli()) / 1000
	switch {
	case c.ID == "" || len(c.ID) > maxID:
		return fmt.Errorf("a proof's jti has 1 to %d characters", maxID)
	case c.Method != r.Method:
		return errors.New("htm is another method")
	case !sameURL(c.URL, r.URL):
		return errors.New("htu is another URL")
	case c.At < at-clockOff.Seconds() || c.At > at+clockOff.Seconds():
		return fmt.Errorf("iat is more than %v off", clockOff)
	case c.Until != 0 && c.Until <= at, c.From > at+clockOff.Seconds():
		return errors.New("exp or nbf forbid it")
	case c.Token != digest(r.Token):
		return errors.New("ath is of another token")
	}
	return nil
}

// digest is a token as proofs name it; none is named by nothing.
func digest(t secret.Token) string {
	if t.Empty() {
		return ""
	}
	sum := sha256.Sum256([]byte(t.Reveal()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// sameURL compares what a proof is for with ours, which comes from the settings. Query and fragment do not count (RFC 9449
// section 4.3), nor a port that says nothing, nor the letters' case in scheme and host.
func sameURL(theirs, ours string) bool {
	a, err := url.Parse(theirs)
	if err != nil || a.User != nil || a.Opaque != "" {
		return false
	}
	b, err := url.Parse(ours)
	return err == nil && strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(host(a), host(b)) && a.EscapedPath() == b.EscapedPath()
}

// host is a URL's host and port.
func host(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	return u.Hostname() + ":" + port
}
