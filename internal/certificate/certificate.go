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

// Lasts says why the certificate is not good now, as far as it says itself.
func (s Shown) Lasts(now time.Time) error {
	switch {
	case len(s) == 0:
		return errors.New("no certificate was shown")
	case now.Before(s[0].NotBefore):
		return fmt.Errorf("the certificate is not good yet (%s)", s[0].NotBefore.UTC().Format(time.DateOnly))
	case now.After(s[0].NotAfter):
		return fmt.Errorf("the certificate has expired (%s)", s[0].NotAfter.UTC().Format(time.DateOnly))
	}
	return nil
}

// Vouched says why none of the roots vouches, now, for a program that calls others. Without roots nobody does: x509 would ask those of the system.
func (s Shown) Vouched(roots *x509.CertPool, now time.Time) error {
	if err := s.Lasts(now); err != nil {
		return err
	}
	switch {
	case len(s) > maxChain:
		return fmt.Errorf("more than %d certificates were shown", maxChain)
	case roots == nil:
		return errors.New("no authority is believed here: oidc.mtls_roots")
	}
	if key, ok := s[0].PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < fewestRSABits {
		return fmt.Errorf("the certificate's key has fewer than %d bits", fewestRSABits)
	}
	between := x509.NewCertPool()
	for _, c := range s[1:] {
		between.AddCert(c)
	}
	_, err := s[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if why, ok := errors.AsType[x509.CertificateInvalidError](err); ok && why.Reason == x509.IncompatibleUsage {
		return errors.New("the certificate is not for clients (clientAuth)")
	}
	if err != nil { // which quotes the certificate
		return errors.New("no authority of oidc.mtls_roots vouches for the certificate")
	}
	return nil
}

// HasKey reports whether the certificate is of a public key.
func (s Shown) HasKey(key crypto.PublicKey) bool {
	if len(s) == 0 {
		return false
	}
	own, ok := s[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && own.Equal(key)
}

// Roots are the certificates of authorities, in PEM, to ask whether they vouch.
func Roots(text []byte) (*x509.CertPool, error) {
	all, err := Authorities(text)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	for _, c := range all {
		roots.AddCert(c)
	}
	return roots, nil
}

// Authorities reads the certificates of authorities, in PEM; there is one at least.
func Authorities(text []byte) (all []*x509.Certificate, err error) {
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
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("want at least one certificate of an authority, in PEM")
	}
	return all, nil
}
