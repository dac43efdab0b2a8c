package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	"countersign/internal/oidc"
	"countersign/internal/web"
)

// check asks for sessions over connections that are kept, with as little work of its own as
// possible: whatever the client spends, it takes from the server it shares the machine with.
func (l *load) check(ctx context.Context, j job) (outcome, error) {
	var (
		mu    sync.Mutex
		total outcome
		errs  []error
		wg    sync.WaitGroup
	)
	began := l.now()
	for c := range j.Clients {
		wg.Go(func() {
			n, err := l.checking(ctx, j, c, func() bool { return l.now().Sub(began) < j.For })
			mu.Lock()
			total.Done += n
			errs = append(errs, err)
			mu.Unlock()
		})
	}
	wg.Wait()
	total.Seconds = l.now().Sub(began).Seconds()
	return total, errors.Join(errs...)
}

// checking is one client, which asks for every so-many-th person's session in turn.
func (l *load) checking(ctx context.Context, j job, client int, more func() bool) (n int, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", cmp.Or(j.Gate, j.Addr))
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	var asks [][]byte
	for i := client % len(l.people); i < len(l.people); i += j.Clients {
		asks = append(asks, question(j, l.people[i]))
	}
	r := bufio.NewReader(conn)
	for i := 0; n%16 != 0 || more(); i, n = i+1, n+1 {
		if _, err := conn.Write(asks[i%len(asks)]); err != nil {
			return n, err
		}
		if err := answer(r, "200"); err != nil {
			return n, err
		}
	}
	return n, nil
}

func question(j job, p person) []byte {
	if j.Gate != "" {
		return proxied(j, p)
	}
	if j.Kind == kindUserInfo {
		return []byte("GET " + string(oidc.UserInfoPath) + " HTTP/1.1\r\nHost: " + j.Addr + "\r\nAuthorization: Bearer " + p.Access + "\r\n\r\n")
	}
	show := "Authorization: Bearer " + p.Session
	if j.Cookie {
		show = "Cookie: " + web.SessionCookie + "=" + p.Session
	}
	return []byte("GET /api/v1/session HTTP/1.1\r\nHost: " + j.Addr + "\r\n" + show + "\r\n\r\n")
}

// answer reads one answer and wants it to have the status.
func answer(r *bufio.Reader, status string) error {
	length := -1
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && (len(line) < 12 || string(line[9:12]) != status) { // after "HTTP/1.1 "
			return fmt.Errorf("not %s but %s", status, bytes.TrimSpace(line))
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return io.ErrUnexpectedEOF
	}
	_, err := r.Discard(length)
	return err
}
