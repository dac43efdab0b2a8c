package server

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"countersign/internal/platform/config"
)

// tlsFiles serves the newest certificate in its files, so that renewing it needs no restart.
type tlsFiles struct {
	setting           string // that names them
	certFile, keyFile string
	now               func() time.Time
	complain          func(error) // of files that cannot be used

	mu      sync.Mutex
	current *tls.Certificate
	made    time.Time // when the file was written
	looked  time.Time
}

// publicFiles are those of the public listener; nil if it does not end TLS.
func publicFiles(c config.Config) *tlsFiles {
	if c.HTTP.TLSCertFile == "" {
		return nil
	}
	return &tlsFiles{setting: "http.tls_cert_file, http.tls_key_file", certFile: c.HTTP.TLSCertFile, keyFile: c.HTTP.TLSKeyFile}
}

// mtlsFiles are those of the listener where applications show certificates; nil if there is none.
func mtlsFiles(c config.Config) *tlsFiles {
	if c.OIDC.MTLSListen == "" {
		return nil
	}
	return &tlsFiles{setting: "oidc.mtls_cert_file, oidc.mtls_key_file", certFile: c.OIDC.MTLSCertFile, keyFile: c.OIDC.MTLSKeyFile}
}

// check says why the files cannot be used. There is nothing wrong with none.
func (c *tlsFiles) check() error {
	if c == nil {
		return nil
	}
	if _, err := tls.LoadX509KeyPair(c.certFile, c.keyFile); err != nil {
		return fmt.Errorf("%s: %w", c.setting, err)
	}
	return nil
}

// examine says until when the certificate is good, and for whom it is not.
func (c *tlsFiles) examine(host string, now time.Time) (state State, words, remedy string) {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return Broken, fmt.Sprintf("%s: %s", c.setting, err), "name a certificate and the key that belongs to it"
	}
	leaf := pair.Leaf
	soon := min(14*24*time.Hour, leaf.NotAfter.Sub(leaf.NotBefore)/5) // by then whoever renews it has tried several times
	words = "its certificate is good until " + leaf.NotAfter.UTC().Format(time.DateOnly)
	switch {
	case now.After(leaf.NotAfter):
		return Broken, "its certificate was good until " + leaf.NotAfter.UTC().Format(time.RFC3339), "renew it: a new one is used within seconds"
	case now.Before(leaf.NotBefore):
		return Broken, "its certificate is not good before " + leaf.NotBefore.UTC().Format(time.RFC3339), "wait for it, or compare the clocks"
	case leaf.VerifyHostname(host) != nil:
		return Warning, words + ", and not for " + host, "get one for the host that clients call"
	case leaf.NotAfter.Sub(now) < soon:
		return Warning, words, "renew it: a new one is used within seconds"
	}
	return Fine, words, ""
}

// get returns the certificate; it looks at the files at most once in ten seconds. New files that
// do not fit together (one is written after the other) leave the old certificate in use, and are
// complained of until they do, since one day the old one expires.
func (c *tlsFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.current != nil && now.Sub(c.looked) < 10*time.Second {
		return c.current, nil
	}
	c.looked = now
	st, err := os.Stat(c.certFile)
	if err == nil && (c.current == nil || !st.ModTime().Equal(c.made)) {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(c.certFile, c.keyFile); err == nil {
			c.current, c.made = &pair, st.ModTime()
		}
	}
	if c.current == nil {
		return nil, fmt.Errorf("load certificate (%s): %w", c.setting, err)
	}
	if err != nil {
		c.complain(err)
	}
	return c.current, nil
}
