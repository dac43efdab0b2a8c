package appkey

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// nonceID is the extension in which Apple says what a key was attested for.
const nonceID = "1.2.840.113635.100.8.2"

// The places of an authenticator's data (WebAuthn, section 6.1).
const (
	appHash    = 32             // of the App ID
	counterAt  = appHash + 1    // four bytes, behind the flags
	modelAt    = counterAt + 4  // sixteen, in an attestation alone
	idLengthAt = modelAt + 16   // two
	idAt       = idLengthAt + 2 // as many as they say
	keyIDSize  = sha256.Size
)

// production is the environment that apps of the shop are in. An app in development can be, too: it says so in its entitlements.
const production = "appattest\x00\x00\x00\x00\x00\x00\x00"

// apple judges an attestation object of App Attest: DCAppAttestService.attestKey with challenge as clientDataHash.
func (p Policy) apple(object, challenge []byte, now time.Time) error {
	var a struct {
		Format    string `cbor:"fmt"`
		Statement struct {
			Chain   [][]byte `cbor:"x5c"`
			Receipt []byte   `cbor:"receipt"`
		} `cbor:"attStmt"`
		Data []byte `cbor:"authData"`
	}
	if err := read(object, &a); err != nil {
		return err
	}
	if a.Format != string(Apple) {
		return errors.New("an attestation of another format")
	}
	leaf, _, err := p.chain(a.Statement.Chain, p.AppleRoots, now)
	if err != nil {
		return err
	}
	public, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return errors.New("the chain is of no such key")
	}
	point, err := public.Bytes()
	if err != nil {
		return err
	}
	keyID, appID := sha256.Sum256(point), sha256.Sum256([]byte(p.AppleApp))
	d := a.Data
	if len(d) < idAt+keyIDSize || int(binary.BigEndian.Uint16(d[idLengthAt:])) != keyIDSize {
		return errors.New("an authenticator's data is short, or of another key")
	}
	model := string(d[modelAt:idLengthAt])
	switch {
	case !said(leaf, sum(d, challenge)):
		return errors.New("the key was not attested for this")
	case !bytes.Equal(d[:appHash], appID[:]):
		return errors.New("the key is of another app")
	case binary.BigEndian.Uint32(d[counterAt:]) != 0:
		return errors.New("the key was used before")
	case model != production:
		return errors.New("the key is of an app in development, or of another authenticator")
	case !bytes.Equal(d[idAt:idAt+keyIDSize], keyID[:]):
		return errors.New("the key is not the one that is named")
	}
	return nil
}

func sum(data, hash []byte) []byte {
	s := sha256.Sum256(slices.Concat(data, hash))
	return s[:]
}

// said reports whether a certificate is for a nonce.
func said(c *x509.Certificate, nonce []byte) bool {
	for _, e := range c.Extensions {
		if e.Id.String() != nonceID {
			continue
		}
		var v struct {
			Nonce []byte `asn1:"explicit,tag:1"`
		}
		rest, err := asn1.Unmarshal(e.Value, &v)
		return err == nil && len(rest) == 0 && bytes.Equal(v.Nonce, nonce)
	}
	return false
}

// maxObject bounds what is parsed, in bytes: attestations have 6 KiB, half of it a receipt.
const maxObject = 16 << 10

// read parses CBOR strictly: no name twice, nothing behind it, no deeper than these are.
func read(text []byte, into any) error {
	if len(text) > maxObject {
		return errors.New("larger than any real one")
	}
	mode, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden, MaxNestedLevels: 4}.DecMode()
	if err != nil {
		return err
	}
	return mode.Unmarshal(text, into)
}
