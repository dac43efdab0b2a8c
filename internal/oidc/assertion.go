package oidc

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/platform/sqldb"
)

// AssertionType is what an assertion says of itself (RFC 7523 section 2.2).
const AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

const (
	maxAssertion   = 8 << 10 // real ones have 800 bytes
	maxAssertionID = 128
	fewestRSABits  = 2048
	maxKeys        = 10 // of a client: one in use and one to come for each algorithm
)

// asserted are the signatures that are taken of clients: neither none nor HMAC, ever.
func asserted() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.ES256, jose.PS256, jose.RS256, jose.EdDSA}
}

// readJWKS reads public keys, and refuses private ones: whoever sends us theirs has made a mistake.
func readJWKS(text string) (set jose.JSONWebKeySet, err error) {
	if err := json.Unmarshal([]byte(text), &set); err != nil && strings.Contains(text, "-----BEGIN ") {
		return set, errors.New(`jwks: want a JWK set as JSON, {"keys": […]}; this is PEM: docs/openid.md says how to turn it into one`)
	} else if err != nil {
		return set, fmt.Errorf(`jwks: want a JWK set as JSON, {"keys": […]}: %w`, err)
	}
	var single struct {
		Kind string `json:"kty"`
	}
	if len(set.Keys) == 0 && json.Unmarshal([]byte(text), &single) == nil && single.Kind != "" {
		return set, errors.New(`jwks: this is one key: put it into {"keys": […]}`)
	}
	if len(set.Keys) == 0 || len(set.Keys) > maxKeys {
		return set, fmt.Errorf("jwks: want one to %d keys", maxKeys)
	}
	for _, k := range set.Keys {
		switch key := k.Key.(type) {
		case *ecdsa.PublicKey, ed25519.PublicKey:
		case *rsa.PublicKey:
			if key.N.BitLen() < fewestRSABits {
				return set, fmt.Errorf("jwks: an RSA key has fewer than %d bits", fewestRSABits)
			}
		default:
			return set, errors.New("jwks: want public keys alone: EC, OKP or RSA")
		}
	}
	return set, nil
}

// audience is one text, or several.
type audience struct {
	of   []string
	text bool // and no list, be it of one
}

// UnmarshalJSON reads either form.
func (a *audience) UnmarshalJSON(b []byte) error {
	if a.text = bytes.HasPrefix(b, []byte(`"`)); a.text {
		a.of = make([]string, 1)
		return json.Unmarshal(b, &a.of[0])
	}
	return json.Unmarshal(b, &a.of)
}

// assertion is what a client says of itself.
type assertion struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience audience `json:"aud"`
	ID       string   `json:"jti"`
	Until    float64  `json:"exp"`
	From     float64  `json:"nbf"`
	At       float64  `json:"iat"`
}

// issuerOf is who an assertion says it is from, before anything of it was verified.
func issuerOf(text string) string {
	if len(text) > maxAssertion {
		return ""
	}
	signed, err := jose.ParseSignedCompact(text, asserted())
	if err != nil {
		return ""
	}
	var a assertion
	if json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &a) != nil {
		return ""
	}
	return a.Issuer
}

// signatures are those that are taken of a client.
func (c Client) signatures() []jose.SignatureAlgorithm {
	if c.FAPI {
		return []jose.SignatureAlgorithm{jose.ES256, jose.PS256, jose.EdDSA} // FAPI 2.0 section 5.4.1
	}
	return asserted()
}

// asserts judges a client's assertion, and uses it up. why says what is wrong with it; empty for nothing.
func (s *Service) asserts(ctx context.Context, c Client, by Caller) (why string, err error) {
	if by.AssertionType != AssertionType {
		return "client_assertion_type is not " + AssertionType, nil
	}
	signed, err := jose.ParseSignedCompact(by.Assertion, c.signatures())
	if err != nil {
		return "the assertion's algorithm is not taken of this client", nil
	}
	if !slices.Contains([]string{"", "jwt", "client-authentication+jwt"}, typeOf(signed)) { // request objects stand in address bars
		return "the assertion's typ says that it is something else", nil
	}
	var a assertion
	if !verified(signed, c.keys, &a) {
		return "its signature fits none of the client's keys", nil
	}
	if why = a.doubts(c, s.audiences(), s.DB.Now()); why != "" {
		return why, nil
	}
	id := sha256.Sum256([]byte(c.ID + "\x00" + a.ID))
	first := false
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		first, err = putAssertion(ctx, tx, id[:], time.Unix(int64(a.Until), 0).Add(sqldb.Skew))
		return err
	})
	if err == nil && !first {
		why = "the assertion was used before"
	}
	return why, err
}

// verified reads a payload that one of the keys has signed. A key with an id is tried only for a signature that names it, and
// one of another algorithm not at all.
func verified(signed *jose.JSONWebSignature, keys jose.JSONWebKeySet, into any) bool {
	header := signed.Signatures[0].Protected
	for _, k := range keys.Keys {
		if header.KeyID != "" && k.KeyID != "" && header.KeyID != k.KeyID || k.Algorithm != "" && k.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := signed.Verify(k.Key); err == nil {
			return json.Unmarshal(payload, into) == nil
		}
	}
	return false
}

// audiences are how an assertion may name us: by our issuer, which RFC 7523bis and FAPI 2.0 want alone, or by the token endpoint, which most clients still send, or by the one
// where requests are pushed (RFC 9126 section 2).
func (s *Service) audiences() []string {
	all := []string{s.Issuer, s.at(TokenPath), s.at(PushPath)}
	if s.MTLS.Origin != "" {
		all = append(all, s.MTLS.Origin+string(TokenPath), s.MTLS.Origin+string(PushPath))
	}
	return all
}

// doubts says why an assertion is not taken that the client has signed; empty if it is. It is for us, whose first name is our issuer, and never for several: another server could
// pass it on.
func (a assertion) doubts(c Client, us []string, now time.Time) string {
	at := float64(now.UnixMilli()) / 1000
	soon := at + ahead.Seconds()
	switch {
	case a.Issuer != c.ID || a.Subject != c.ID:
		return "the assertion's iss and sub are not both the client's id"
	case len(a.Audience.of) != 1:
		return "the assertion is for no audience, or for several"
	case c.FAPI && (!a.Audience.text || a.Audience.of[0] != us[0]):
		return "the assertion is for another audience: of fapi clients it is the issuer, as a text"
	case !slices.Contains(us, a.Audience.of[0]):
		return "the assertion is for another audience"
	case a.ID == "":
		return "no jti"
	case len(a.ID) > maxAssertionID:
		return "the assertion's jti is too long"
	case a.Until == 0:
		return "the assertion has no exp"
	case a.Until <= at:
		return "the assertion has expired"
	case a.Until > soon+assertionFor.Seconds():
		return "the assertion lasts too long"
	case a.From > soon || a.At > soon:
		return "the assertion's nbf or iat is to come: is a clock wrong?"
	}
	return ""
}
