package server_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"countersign/internal/testkit/servertest"
)

// request sends one request on each of many connections, again and again, and reads the answers
// with as little work as possible, so that what is measured is the server.
func request(b *testing.B, addr, text string) {
	b.Helper()
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		r := bufio.NewReader(conn)
		for pb.Next() {
			if _, err := io.WriteString(conn, text); err != nil {
				b.Error(err)
				return
			}
			if !answered(r) {
				b.Error("not a 200")
				return
			}
		}
	})
}

func answered(r *bufio.Reader) bool {
	length := 0
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil || first && !strings.HasPrefix(string(line), "HTTP/1.1 200") {
			return false
		}
		if len(line) <= 2 {
			_, err := r.Discard(length)
			return err == nil
		}
		if value, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
	}
}

// BenchmarkBareHandler is the measure: net/http and nothing else.
func BenchmarkBareHandler(b *testing.B) {
	body := []byte(strings.Repeat("x", 204))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	defer srv.Close()
	request(b, srv.Listener.Addr().String(), "GET /api/v1/session HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer css_8_Wv_q2dN7KATeihRAJ5ApVANTEBzoyA2FUIRV7QEYMHz4xmg\r\n\r\n")
}

// BenchmarkSessionCheck is the call that every request of every application behind us makes.
func BenchmarkSessionCheck(b *testing.B) {
	n := servertest.Start(b, servertest.Options{})
	token := signedIn(b, n)
	host := strings.TrimPrefix(n.URL, "http://")
	srv := httptest.NewServer(n.Handler()) // without the guard that watches answers
	defer srv.Close()
	b.ResetTimer()
	request(b, srv.Listener.Addr().String(), "GET /api/v1/session HTTP/1.1\r\nHost: "+host+"\r\nAuthorization: Bearer "+token+"\r\n\r\n")
}

// signedIn signs somebody in without the doors.
func signedIn(b *testing.B, n *servertest.Node) string {
	b.Helper()
	n.Account("ada@example.org")
	a := &app{t: b, node: n}
	a.signIn("ada@example.org", nothing)
	return a.token
}
