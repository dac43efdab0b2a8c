package post_test

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"countersign/internal/courier/post"
)

// Whoever can have us call an address, or have a name point there, must not reach what a cloud tells this machine alone.
func TestAddressesOfTheLinkAreNotCalled(t *testing.T) {
	for _, host := range []string{
		"169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1%25lo]", "[fd00:ec2::254]", "100.100.100.200", "224.0.0.1", "0.0.0.0", "[::]",
	} {
		address := "https://" + host + "/latest/meta-data/"
		client, err := post.New("webhook", address, nil)
		if err != nil {
			t.Fatal(host, err)
		}
		if _, _, err := client.Do(t.Context(), address, map[string][]string{}, nil); err == nil || !strings.Contains(err.Error(), "are not called") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// A provider that cannot be reached is known before a letter is for it: nothing is sent to see.
func TestCheckConnectsAndSendsNothing(t *testing.T) {
	asked := false
	for _, serve := range []func(http.Handler) *httptest.Server{httptest.NewServer, httptest.NewTLSServer} {
		far := serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
		roots := x509.NewCertPool()
		if far.Certificate() != nil {
			roots.AddCert(far.Certificate())
		}
		client, err := post.New("webhook", far.URL, roots)
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Check(t.Context()); err != nil || asked {
			t.Errorf("%s: %v, asked %t", far.URL, err, asked)
		}
		if stranger, err := post.New("webhook", far.URL, x509.NewCertPool()); err != nil || far.Certificate() != nil && stranger.Check(t.Context()) == nil {
			t.Errorf("%s: a certificate of nobody's is taken: %v", far.URL, err)
		}
		far.Close()
		if err := client.Check(t.Context()); err == nil {
			t.Errorf("%s is gone, and is said to be there", far.URL)
		}
	}
}
