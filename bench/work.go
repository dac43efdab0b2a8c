package main

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"

	"countersign/internal/password"
)

// repeat has some clients do one thing again and again. What is under way when time is up is
// finished and counted, with the time it took: nothing is cut off that has cost something.
func (l *load) repeat(j job, once func() error) (outcome, error) {
	var (
		mu    sync.Mutex
		done  int
		first error
		wg    sync.WaitGroup
	)
	began := l.now()
	for range j.Clients {
		wg.Go(func() {
			for l.now().Sub(began) < j.For {
				err := once()
				mu.Lock()
				done++
				if first == nil {
					first = err
				}
				stop := first != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	return outcome{Done: done, Seconds: l.now().Sub(began).Seconds()}, first
}

// hashOnce is the ceiling of a sign-in: its argon2id and nothing else.
func hashOnce() error {
	p, salt := password.DefaultParams(), make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	argon2.IDKey([]byte(secretWord), salt, p.Time, p.MemoryKiB, p.Lanes, 32)
	return nil
}

// bare is the ceiling of a session check: net/http writing the same bytes under the same headers.
func bare(header http.Header, body []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for name, values := range header {
			h[name] = values
		}
		_, _ = w.Write(body)
	})
}

// serve serves on a port of this machine until the helper goes, and returns the address.
func serve(ctx context.Context, h http.Handler) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	srv := &http.Server{Handler: h}
	go func() { _ = srv.Serve(l) }()
	return l.Addr().String(), nil
}

func newClient() *http.Client {
	return &http.Client{Timeout: 90 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 2000, IdleConnTimeout: 20 * time.Second}}
}
