// Package appkey judges what phones say of the keys that their apps make: Android key attestation and Apple's App Attest,
// offline, against roots that the operator names. It keeps nothing.
package appkey

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Format is how a phone vouches for a key. The words are those of WebAuthn's registry.
type Format string

// The formats.
const (
	Android Format = "android-key"
	Apple   Format = "apple-appattest"
)

// Attestation is what an app sends.
type Attestation struct {
	Format Format
	Chain  [][]byte // with Android: certificates in DER, the key's own first
	Object []byte   // with Apple: of DCAppAttestService.attestKey
}

// ErrUnset is of a format that the operator has set up nothing for.
var ErrUnset = errors.New("attestations of this format are not looked at")

// Kind says what a phone vouches for, and so how hard the key is to copy.
type Kind string

// The kinds.
const (
	TEE       Kind = "android_tee"       // in the part of an Android phone's processor that its system cannot read
	StrongBox Kind = "android_strongbox" // in a chip of its own
	AppAttest Kind = "app_attest"        // where the app says, and Apple says that the app is unchanged, on a device of theirs
)

// Policy is whose attestations are believed, and of which apps. Without roots none of that platform are.
type Policy struct {
	AndroidRoots, AppleRoots *x509.CertPool
	// AndroidApps are package names with the SHA-256 digests of the certificates that sign them.
	AndroidApps map[string][][]byte
	AppleApp    string // an App ID: the team's, a dot, the bundle's
	// Revoked are serial numbers of certificates, in hexadecimal of small letters, that are not believed any more. Nil: none are.
	Revoked func() map[string]bool
}

// Judge judges an attestation of a key (SubjectPublicKeyInfo in DER), which was made for a statement that nobody could know
// before. On Android the key itself is attested, and its challenge is the statement's SHA-256. A key of App Attest signs
// nothing but what Apple's service makes of it, so that it cannot be a device's key: it says that the app is ours, and the
// app names its key by having it attested for the statement, a line feed, and the key in base64url.
func (p Policy) Judge(a Attestation, spki, statement []byte, now time.Time) (Kind, error) {
	switch {
	case a.Format == Android && p.AndroidRoots != nil:
		challenge := sha256.Sum256(statement)
		return p.android(a.Chain, spki, challenge[:], now)
	case a.Format == Apple && p.AppleRoots != nil:
		challenge := sha256.Sum256([]byte(string(statement) + "\n" + base64.RawURLEncoding.EncodeToString(spki)))
		return AppAttest, p.apple(a.Object, challenge[:], now)
	}
	return "", ErrUnset
}

// What strangers may have us verify: real chains have up to six certificates, with RSA of up to 4096 bits.
const (
	maxChain = 8
	maxRSA   = 4096
)

// chain verifies a chain, whose first certificate is the key's, and returns that.
func (p Policy) chain(certificates [][]byte, roots *x509.CertPool, now time.Time) (leaf *x509.Certificate, path []*x509.Certificate, err error) {
	if len(certificates) == 0 || len(certificates) > maxChain {
		return nil, nil, fmt.Errorf("a chain has 1 to %d certificates", maxChain)
	}
	between, names := x509.NewCertPool(), []string{}
	for i, der := range certificates {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil, err
		}
		// With two of one name there would be many ways to a root, and each is tried.
		if slices.Contains(names, string(c.RawSubject)) {
			return nil, nil, errors.New("two certificates of one name")
		}
		names = append(names, string(c.RawSubject))
		if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > maxRSA {
			return nil, nil, errors.New("an RSA key larger than any real one")
		}
		if i == 0 {
			leaf = c
		} else {
			between.AddCert(c)
		}
	}
	// The certificate of an attestation has no key usage that we could ask for: what it says stands in its extension.
	paths, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil, nil, err
	}
	var revoked map[string]bool
	if p.Revoked != nil {
		revoked = p.Revoked()
	}
	for _, c := range paths[0] {
		if revoked[c.SerialNumber.Text(16)] {
			return nil, nil, errors.New("a certificate of the chain is revoked")
		}
	}
	return leaf, paths[0], nil
}
