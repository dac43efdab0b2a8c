package server

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
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
