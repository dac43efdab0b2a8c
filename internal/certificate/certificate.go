// Package certificate judges the certificates by which programs prove who they are (RFC 8705): whose one is, whether a root vouches for it, and how a token names
// the one that it is bound to. That whoever shows one has its private key is what the TLS handshake has proved.
package certificate

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"countersign/internal/platform/reread"
)

const (
	maxChain      = 5    // an authority has one or two others below its root
	fewestRSABits = 2048 // shorter ones have been refused everywhere since 2014 (NIST SP 800-131A)
)

// Thumbprint names a certificate: its SHA-256 in base64url (x5t#S256), 43 characters. Empty names none.
type Thumbprint string

// Door is where certificates are shown. The zero Door is nowhere.
type Door struct {
	Origin string                       // its own
	Roots  *reread.File[*x509.CertPool] // who vouches for whoever comes; nil for nobody
}

// Shown is what somebody has shown in a handshake: their certificate first, and then those that lead from it to a root. Empty if they have shown none.
type Shown []*x509.Certificate

// Thumbprint names the certificate.
func (s Shown) Thumbprint() Thumbprint {
	if len(s) == 0 {
		return ""
	}
	sum := sha256.Sum256(s[0].Raw)
	return Thumbprint(base64.RawURLEncoding.EncodeToString(sum[:]))
}

// Lasts reports whether the certificate is good now, as far as it says itself.
func (s Shown) Lasts(now time.Time) bool {
	return len(s) > 0 && !now.Before(s[0].NotBefore) && !now.After(s[0].NotAfter)
}

// Vouched reports whether one of the roots vouches, now, for a program that calls others. Without roots nobody does: x509 would ask those of the system.
func (s Shown) Vouched(roots *x509.CertPool, now time.Time) bool {
	if len(s) == 0 || len(s) > maxChain || roots == nil {
		return false
	}
	if key, ok := s[0].PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < fewestRSABits {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range s[1:] {
		between.AddCert(c)
	}
	_, err := s[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}

// HasKey reports whether the certificate is of a public key.
func (s Shown) HasKey(key crypto.PublicKey) bool {
	if len(s) == 0 {
		return false
	}
	own, ok := s[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && own.Equal(key)
}

// Roots reads the certificates of authorities, in PEM.
func Roots(text []byte) (*x509.CertPool, error) {
	roots, n := x509.NewCertPool(), 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("want certificates alone, in PEM: there is a %s", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if !c.IsCA {
			return nil, fmt.Errorf("the certificate of %s is no authority's: it vouches for nobody", c.Subject)
		}
		roots.AddCert(c)
		n++
	}
	if n == 0 {
		return nil, errors.New("want at least one certificate of an authority, in PEM")
	}
	return roots, nil
}
