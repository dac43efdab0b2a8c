package certificate_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/certificate"
	"countersign/internal/testkit"
)

func shop(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "shop"} }

func roots(t *testing.T, all ...*testkit.Authority) *x509.CertPool {
	t.Helper()
	var text []byte
	for _, a := range all {
		text = append(text, a.PEM()...)
	}
	pool, err := certificate.Roots(text)
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

// RFC 8705 section 2.1: a certificate is vouched for by one of the roots that the operator has named, now, and for a program that calls others.
func TestWhoVouches(t *testing.T) {
	ours, other := testkit.NewAuthority(t, "Our CA"), testkit.NewAuthority(t, "Our CA")
	below := ours.Below("Below")
	now := time.Now()
	leaf := func(a *testkit.Authority, change func(*x509.Certificate)) *x509.Certificate {
		return a.Issue(func(c *x509.Certificate) {
			shop(c)
			if change != nil {
				change(c)
			}
		}).Leaf
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	good := certificate.Shown{leaf(ours, nil)}
	if good.Vouched(roots(t, ours), now) != nil || good.Vouched(roots(t, other, ours), now) != nil {
		t.Error("our own is not vouched for")
	}
	if chain := (certificate.Shown{leaf(below, nil), below.Certificate()}); chain.Vouched(roots(t, ours), now) != nil || chain.Vouched(roots(t, below), now) != nil {
		t.Error("one of an authority below is not vouched for")
	}
	system := filepath.Join(t.TempDir(), "system.pem") // whom this machine believes, who are asked by none but x509
	if err := os.WriteFile(system, ours.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", system)
	if good.Vouched(nil, now) == nil {
		t.Error("without roots somebody vouches")
	}
	if later := now.Add(25 * time.Hour); good.Vouched(roots(t, ours), later) == nil {
		t.Error("whether it is over is this machine's clock to say")
	}
	date := now.Add(-time.Second).UTC().Format(time.DateOnly)
	for what, one := range map[string]struct {
		shown certificate.Shown
		why   string
	}{
		"none":                             {nil, "no certificate was shown"},
		"of another root of the same name": {certificate.Shown{leaf(other, nil)}, "no authority of oidc.mtls_roots vouches for the certificate"},
		"over":                             {certificate.Shown{leaf(ours, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) })}, "the certificate has expired (" + date + ")"},
		"not yet":                          {certificate.Shown{leaf(ours, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) })}, "the certificate is not good yet"},
		"a server's":                       {certificate.Shown{leaf(ours, testkit.ForLoopback)}, "the certificate is not for clients (clientAuth)"},
		"without what lies between":        {certificate.Shown{leaf(below, nil)}, "no authority"},
		"of one who is no authority":       {certificate.Shown{leaf(other, nil), good[0]}, "no authority"},
		"its own":                          {certificate.Shown{testkit.SelfSigned(t, shop).Leaf}, "no authority"},
		"with a long chain":                {certificate.Shown{good[0], good[0], good[0], good[0], good[0], good[0]}, "more than 5"},
		"of a weak key":                    {certificate.Shown{ours.Vouch(&weak.PublicKey, shop)}, "fewer than 2048 bits"},
	} {
		if err := one.shown.Vouched(roots(t, ours), now); err == nil || !strings.Contains(err.Error(), one.why) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestRoots(t *testing.T) {
	a := testkit.NewAuthority(t, "Our CA")
	for what, text := range map[string]string{
		"nothing": "", "no PEM": "x", "a key beside": string(a.PEM()) + "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n",
		"one that vouches for nobody": string(pemOf(testkit.SelfSigned(t, shop).Leaf)), "no certificate": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
	} {
		if _, err := certificate.Roots([]byte(text)); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
}

func TestTimesAndNames(t *testing.T) {
	c := certificate.Shown{testkit.SelfSigned(t, shop).Leaf}
	if c.Lasts(time.Now()) != nil || c.Lasts(time.Now().Add(25*time.Hour)) == nil || c.Lasts(time.Now().Add(-25*time.Hour)) == nil || (certificate.Shown{}).Lasts(time.Now()) == nil {
		t.Error("the times of a certificate do not count")
	}
	other := certificate.Shown{testkit.SelfSigned(t, shop).Leaf}
	if len(c.Thumbprint()) != 43 || c.Thumbprint() == other.Thumbprint() || (certificate.Shown{}).Thumbprint() != "" {
		t.Error(c.Thumbprint(), other.Thumbprint())
	}
	if !c.HasKey(c[0].PublicKey) || c.HasKey(other[0].PublicKey) || (certificate.Shown{}).HasKey(c[0].PublicKey) || c.HasKey(nil) {
		t.Error("of which key it is")
	}
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func TestSubjectsThatCannotBe(t *testing.T) {
	for what, s := range map[string]certificate.Subject{
		"none": {}, "two": {DNS: "a.example", URI: "https://a.example"}, "long": {DNS: strings.Repeat("a", 501)},
		"every host": {DNS: "*.example"}, "a URL as a host": {DNS: "https://a.example"}, "a host as a URI": {URI: "a.example"}, "no IP": {IP: "a.example"}, "a zone": {IP: "fe80::1%eth0"},
		"a host as an address": {Email: "a.example"}, "a space": {DNS: "a example"},
	} {
		if certificate.CheckSubject(s) == nil {
			t.Errorf("%s: taken", what)
		}
	}
}
