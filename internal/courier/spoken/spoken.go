// Package spoken keeps what a call is to say until somebody presses a key.
//
// A provider of calls asks at an address what to say then. The code stands in that address, sealed, so that any node can answer and no log of
// the request for the call has it. The key comes from a secret that the provider has too: it is told the code in any case.
package spoken

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"countersign/internal/courier"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
)

// What a call takes, in seconds: it rings for less than it takes most answering machines to come on, and ends by itself.
const Ringing, Lasting = 25, 90

// longest is how long an address is good for where the code is longer.
const longest = 10 * time.Minute

// Call is what is said. Its greeting is not kept, since it was said before and the address is to be short.
type Call struct {
	Digits, Language, To string
	Speech               message.Speech
	Until                int64 // Unix seconds
}

// Box seals calls.
type Box struct {
	seal cipher.AEAD
	now  func() time.Time
}

// New returns a box whose key comes from a secret that every node has.
func New(key secret.Token, now func() time.Time) (*Box, error) {
	h := hmac.New(sha256.New, []byte(key.Reveal()))
	h.Write([]byte("countersign call"))
	block, err := aes.NewCipher(h.Sum(nil))
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCM(block)
	return &Box{seal: seal, now: now}, err
}

// Seal returns what stands in the address, in the alphabet of base64url.
func (b *Box) Seal(m courier.Message) (string, error) {
	until := b.now().Add(longest)
	if !m.Expires.IsZero() && m.Expires.Before(until) {
		until = m.Expires
	}
	said := m.Speech
	said.Hello = ""
	plain, err := json.Marshal(Call{m.Digits, m.Language, m.To, said, until.Unix()})
	if err != nil {
		return "", err
	}
	nonce := make([]byte, b.seal.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return base64.RawURLEncoding.EncodeToString(b.seal.Seal(nonce, nonce, plain, []byte(m.ID))), nil
}

// Open returns what Seal sealed for the letter, while its code is good. Everything else is courier.ErrForged.
func (b *Box) Open(letter, sealed string) (c Call, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(raw) < b.seal.NonceSize() {
		return Call{}, courier.ErrForged
	}
	plain, err := b.seal.Open(nil, raw[:b.seal.NonceSize()], raw[b.seal.NonceSize():], []byte(letter))
	if err != nil || json.Unmarshal(plain, &c) != nil || b.now().Unix() > c.Until {
		return Call{}, courier.ErrForged
	}
	return c, nil
}
