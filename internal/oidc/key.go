package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/audit"
	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
)

// rsaBits is what ASVS 11.2.3 wants: 128 bits of strength.
const rsaBits = 3072

// algorithms are those that we sign with, the default first. RS256 is for clients that know nothing else.
func algorithms() []string {
	return []string{string(jose.ES256), string(jose.RS256), string(jose.EdDSA)}
}

// SigningKey is a key that tokens are signed with, as an operator sees it.
type SigningKey struct {
	ID        string
	Alg       string
	CreatedAt time.Time
	EndsAt    time.Time // published until then; zero for the newest of its kind
}

// signingKey is a row.
type signingKey struct {
	SigningKey

	jwk    string
	sealed []byte
}

// keyCache remembers the signers of keys that were opened: a key never changes.
type keyCache struct {
	mu      sync.Mutex
	signers map[string]jose.Signer
}

// EnsureKeys sees to it that there is a key for an algorithm. Of several nodes that find none at once each makes one, and all of them are good.
func (s *Service) EnsureKeys(ctx context.Context, alg string) error {
	var all []signingKey
	err := s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		all, err = keysOf(ctx, tx, alg)
		return err
	})
	if err != nil || len(all) > 0 {
		return err
	}
	return s.Rotate(ctx, alg, false)
}

// Rotate makes a new key for an algorithm. It is published at once, and signs when clients have had time to see it; the one before
// is published for another day. With now it signs at once, and every other key is worth nothing from then on: for a key that
// somebody may have.
func (s *Service) Rotate(ctx context.Context, alg string, now bool) error {
	key, err := newKey(alg)
	if err != nil {
		return err
	}
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		key.CreatedAt, key.sealed = tx.Now(), s.Ring.Seal(key.sealed, keyPlace(key.ID))
		ends := tx.Now().Add(keyLead + keyOverlap)
		if now {
			ends = tx.Now()
		}
		if err := endKeys(ctx, tx, alg, ends); err != nil {
			return err
		}
		if err := putKey(ctx, tx, key); err != nil {
			return err
		}
		key.sealed = nil
		return s.Audit.Append(ctx, tx, audit.Event{Kind: audit.KeysChanged, Actor: "operator", Detail: map[string]string{"key": key.ID, "was": "signing key made"}})
	})
}

func keyPlace(id string) keyring.Place {
	return keyring.Place{Table: "oidc_key", Row: id, Column: "sealed"}
}

// newKey makes a key. Its private half stands in sealed, and is yet to be sealed.
func newKey(alg string) (k signingKey, err error) {
	var private crypto.Signer
	switch alg {
	case string(jose.ES256):
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case string(jose.RS256):
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	case string(jose.EdDSA):
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("nothing here signs by %q", alg)
	}
	if err != nil {
		return k, err
	}
	public := jose.JSONWebKey{Key: private.Public(), Algorithm: alg, Use: "sig"}
	sum, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return k, err
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(sum)
	text, err := json.Marshal(public)
	if err != nil {
		return k, err
	}
	k = signingKey{SigningKey: SigningKey{ID: public.KeyID, Alg: alg}, jwk: string(text)}
	k.sealed, err = x509.MarshalPKCS8PrivateKey(private)
	return k, err
}

// Keys lists the keys that are published, the newest first.
func (s *Service) Keys(ctx context.Context) (all []SigningKey, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		rows, err := keysOf(ctx, tx, "")
		for _, k := range rows {
			all = append(all, k.SigningKey)
		}
		return err
	})
	return all, err
}

// JWKS is the set of public keys as clients fetch it (RFC 7517).
func (s *Service) JWKS(ctx context.Context) ([]byte, error) {
	set := struct {
		Keys []json.RawMessage `json:"keys"`
	}{Keys: []json.RawMessage{}}
	err := s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		rows, err := keysOf(ctx, tx, "")
		for _, k := range rows {
			set.Keys = append(set.Keys, json.RawMessage(k.jwk))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(set)
}

// current is the key that signs: the newest that clients have had time to see, or else the oldest there is.
func current(keys []signingKey, now time.Time) (k signingKey, ok bool) {
	for _, one := range keys { // the newest first
		if k, ok = one, true; !one.CreatedAt.After(now.Add(-keyLead)) {
			break
		}
	}
	return k, ok
}

// sign makes a JWT. Where an algorithm has no key yet, one is made.
func (s *Service) sign(ctx context.Context, alg, kind string, claims any) (string, error) {
	var k signingKey
	for try := 0; k.ID == ""; try++ {
		if try > 1 {
			return "", errors.New("no key signs by " + alg)
		}
		err := s.DB.Read(ctx, func(tx *sqldb.Tx) error {
			all, err := keysOf(ctx, tx, alg)
			k, _ = current(all, tx.Now())
			return err
		})
		if err == nil && k.ID == "" {
			err = s.EnsureKeys(ctx, alg)
		}
		if err != nil {
			return "", err
		}
	}
	signer, err := s.signer(k, kind)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

func (s *Service) signer(k signingKey, kind string) (jose.Signer, error) {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	if known := s.keys.signers[k.ID+kind]; known != nil {
		return known, nil
	}
	plain, err := s.Ring.Open(k.sealed, keyPlace(k.ID))
	if err != nil {
		return nil, fmt.Errorf("open signing key %s: %w", k.ID, err)
	}
	private, err := x509.ParsePKCS8PrivateKey(plain)
	if err != nil {
		return nil, fmt.Errorf("read signing key %s: %w", k.ID, err)
	}
	made, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.Alg), Key: jose.JSONWebKey{Key: private, KeyID: k.ID}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(kind)))
	if err == nil {
		if s.keys.signers == nil {
			s.keys.signers = map[string]jose.Signer{}
		}
		s.keys.signers[k.ID+kind] = made
	}
	return made, err
}

// hint is what an ID token of ours says that somebody shows, however old: it was signed by a key that we have or had.
type hint struct {
	Issuer   string   `json:"iss"`
	Audience audience `json:"aud"`
	Subject  string   `json:"sub"`
	Session  string   `json:"sid"`
}

func (s *Service) hint(ctx context.Context, text string) (said hint, ok bool, err error) {
	if len(text) > maxAssertion {
		return hint{}, false, nil
	}
	signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA})
	if err != nil || signed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType] != idTokenType {
		return hint{}, false, nil //nolint:nilerr // no ID token of ours
	}
	var jwk string
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		jwk, err = keyByID(ctx, tx, signed.Signatures[0].Protected.KeyID)
		return err
	})
	if err != nil || jwk == "" {
		return hint{}, false, err
	}
	var key jose.JSONWebKey
	if err := json.Unmarshal([]byte(jwk), &key); err != nil {
		return hint{}, false, err
	}
	if !verified(signed, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}}, &said) || said.Issuer != s.Issuer || len(said.Audience.of) != 1 {
		return hint{}, false, nil
	}
	return said, true, nil
}

// hinted returns whose an ID token of ours is that was given to the client.
func (s *Service) hinted(ctx context.Context, client, text string) (subject string, ok bool, err error) {
	said, ok, err := s.hint(ctx, text)
	if err != nil || !ok || said.Audience.of[0] != client {
		return "", false, err
	}
	return said.Subject, true, nil
}

// half is what at_hash is: the left half of the hash that the algorithm has (OpenID Connect Core section 3.1.3.6). Ed25519 has SHA-512.
func half(alg, of string) string {
	if alg == string(jose.EdDSA) {
		sum := sha512.Sum512([]byte(of))
		return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
	}
	sum := sha256.Sum256([]byte(of))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
