package client

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

// assertionFor is how long an assertion is good: for one call, and for clocks that differ.
const assertionFor = time.Minute

// authorization proves who calls: by the secret, or by an assertion that is good for one call (RFC 7523). Where the connection shows a certificate (RFC 8705) it says whose.
func (c *Client) authorization() (string, error) {
	switch {
	case c.config.Key != nil:
		text, err := c.assertion()
		return "Bearer " + text, err
	case c.config.ID != "" && c.config.Secret != "":
		plain := url.QueryEscape(c.config.ID) + ":" + url.QueryEscape(c.config.Secret) // RFC 6749 section 2.3.1
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(plain)), nil
	case c.config.ID != "" && c.config.HTTP != nil:
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.config.ID)+":")), nil
	}
	return "", errors.New("countersign: the second door wants ID with Secret or Key, or with an HTTP that shows a certificate")
}

func (c *Client) assertion() (string, error) {
	alg, hash, err := algorithm(c.config.Key)
	if err != nil {
		return "", err
	}
	now := c.now()
	head, err := json.Marshal(map[string]string{"alg": alg, "kid": c.config.KeyID, "typ": "JWT"})
	if err != nil {
		return "", fmt.Errorf("countersign: %w", err)
	}
	body, err := json.Marshal(map[string]any{
		"iss": c.config.ID, "sub": c.config.ID, "aud": c.base, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(assertionFor).Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("countersign: %w", err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64(head) + "." + b64(body)
	signed := []byte(text)
	if hash != 0 {
		sum := sha256.Sum256(signed)
		signed = sum[:]
	}
	signature, err := c.config.Key.Sign(rand.Reader, signed, hash)
	if err == nil && alg == "ES256" {
		signature, err = fixed(signature)
	}
	if err != nil {
		return "", fmt.Errorf("countersign: sign an assertion: %w", err)
	}
	return text + "." + b64(signature), nil
}

// algorithm is what a key signs by; hash is 0 for one that signs the text itself.
func algorithm(key crypto.Signer) (alg string, hash crypto.Hash, err error) {
	switch public := key.Public().(type) {
	case *ecdsa.PublicKey:
		if public.Curve == elliptic.P256() {
			return "ES256", crypto.SHA256, nil
		}
	case ed25519.PublicKey:
		return "EdDSA", 0, nil
	}
	return "", 0, errors.New("countersign: want a P-256 or Ed25519 key")
}

// fixed makes of a signature in ASN.1 the two numbers of 32 bytes that a JWS has (RFC 7518 section 3.4).
func fixed(signature []byte) ([]byte, error) {
	var pair struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(signature, &pair); err != nil {
		return nil, err
	}
	out := make([]byte, 64)
	pair.R.FillBytes(out[:32])
	pair.S.FillBytes(out[32:])
	return out, nil
}
