package server_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/keyring"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/session"
	"countersign/internal/testkit/dbtest"
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

// BenchmarkSessionCheck is the call that every request of every application behind us makes. It
// must reach 70 % of the bare handler's rate.
func BenchmarkSessionCheck(b *testing.B) {
	c := config.Default()
	c.Database.URL = config.NewSecret(dbtest.NewURL(b, sqldb.SQLite))
	c.Keys.Value = config.NewSecret(keyring.Generate())
	log, flush := server.NewLog(c.Log, io.Discard)
	defer flush()
	s, err := server.New(b.Context(), c, server.Deps{Log: log, Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	var work sync.WaitGroup
	work.Go(func() { s.Work(ctx) })
	token := signedIn(b, s.Core())
	srv := httptest.NewServer(s.Handler())
	b.ResetTimer()
	request(b, srv.Listener.Addr().String(), "GET /api/v1/session HTTP/1.1\r\nHost: localhost:8080\r\nAuthorization: Bearer "+token+"\r\n\r\n")
	b.StopTimer()
	srv.Close()
	stop()
	work.Wait()
	_ = s.Close()
}

// signedIn opens a session without the doors.
func signedIn(b *testing.B, core *server.Core) string {
	b.Helper()
	ident, err := account.Parse("ada@example.org")
	if err != nil {
		b.Fatal(err)
	}
	id, err := core.CreateAccount(b.Context(), server.NewAccount{Identifiers: []account.NewIdentifier{{Identifier: ident, SignsIn: true, Verified: true}}})
	if err != nil {
		b.Fatal(err)
	}
	var st session.Started
	err = core.DB.Write(b.Context(), func(tx *sqldb.Tx) (err error) {
		st, err = core.Sessions.Start(b.Context(), tx, session.New{Account: id, Name: "bench", Methods: []assurance.Method{assurance.Password, assurance.Email}})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return st.Token.Reveal()
}
