package couriertest

import (
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"countersign/internal/courier"
)

// Far is the other end of a provider that speaks HTTP: Read decodes a request, or says what
// is wrong with it; the moods are played here.
type Far struct {
	URL   string
	Roots *x509.CertPool
	// Read decodes one request from the wire. An error fails the test.
	Read func(r *http.Request, body []byte) (courier.Message, error)
	// Answer writes the answer of Accept, RefuseForGood or RefuseForNow.
	Answer func(w http.ResponseWriter, mood Mood, m courier.Message)

	mu   sync.Mutex
	mood Mood
	got  []courier.Message
}

// Serve starts the other end, with TLS, until the test ends.
func (f *Far) Serve(t *testing.T) {
	t.Helper()
	over := make(chan struct{})
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the test cut it off
		}
		f.mu.Lock()
		mood := f.mood
		f.mu.Unlock()
		switch mood {
		case Hang:
			select {
			case <-over:
			case <-r.Context().Done():
			}
			panic(http.ErrAbortHandler) // a return would be an answer, which a slow client may still read while it hangs up
		case CutOff:
			panic(http.ErrAbortHandler)
		case Accept, RefuseForGood, RefuseForNow: // answered below
		}
		m, err := f.Read(r, body)
		if err != nil {
			t.Errorf("on the wire: %v", err)
		}
		if mood == Accept {
			f.mu.Lock()
			f.got = append(f.got, m)
			f.mu.Unlock()
		}
		f.Answer(w, mood, m)
	}))
	t.Cleanup(func() { close(over); srv.Close() })
	f.URL = srv.URL
	f.Roots = x509.NewCertPool()
	f.Roots.AddCert(srv.Certificate())
}

// Set changes the mood.
func (f *Far) Set(m Mood) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mood = m
}

// Got returns what arrived.
func (f *Far) Got() []courier.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]courier.Message(nil), f.got...)
}

// Nowhere returns an address of this machine at which nobody listens.
func Nowhere(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return fmt.Sprint(l.Addr())
}
