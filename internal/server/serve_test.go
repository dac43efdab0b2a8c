package server_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/platform/config"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

// served is a node that listens for the world.
type served struct {
	public, watch string
	core          *server.Core
	told          *[]string
	stop          func() error
}

func serve(t *testing.T, change func(*config.Config)) served {
	t.Helper()
	c := settings(t, dbtest.NewURL(t, sqldb.SQLite))
	c.HTTP.Listen, c.Metrics.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.HTTP.StopAfter = config.Duration(time.Second)
	if change != nil {
		change(&c)
	}
	l, err := server.Listen(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	scheme := "http://"
	if c.HTTP.TLSCertFile != "" {
		scheme = "https://"
	}
	c.Site.PublicURL = scheme + l.Public.Addr().String()
	d, told := deps(), []string{}
	d.Notify = func(state string) { told = append(told, state) }
	s, err := server.New(t.Context(), c, d)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return served{public: c.Site.PublicURL, watch: "http://" + l.Watch.Addr().String(), core: s.Core(), told: &told, stop: stop}
}

func client() *http.Client { return &http.Client{Timeout: 10 * time.Second} }

func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// numbers and health stand where the public does not come.
func TestWhatWatchersSeeIsNotForThePublic(t *testing.T) {
	n := serve(t, nil)
	for path, words := range map[string]string{
		"/metrics": "countersign_password_running", "/healthz": "ok", "/readyz": `"status":"ready"`,
	} {
		if status, text := get(t, client(), n.watch+path); status != 200 || !strings.Contains(text, words) {
			t.Errorf("%s: %d %.200s", path, status, text)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/metrics": 404, "/readyz": 404, "/debug/pprof/": 404, "/demo": 404, "/demo/inbox": 404} {
		if status, text := get(t, client(), n.public+path); status != want || want == 200 && text != "ok\n" {
			t.Errorf("public %s: %d %.100s", path, status, text)
		}
	}
}

func TestMetricsCountRoutesAndNobody(t *testing.T) {
	n := serve(t, nil)
	get(t, client(), n.public+"/signin?canary=1")
	get(t, client(), n.public+"/canary")
	_, text := get(t, client(), n.watch+"/metrics")
	for _, want := range []string{`countersign_http_requests_total{route="GET /signin",status="200"} 1`, `countersign_http_requests_total{route="GET unmatched",status="404"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(text, "canary") {
		t.Error("a label says what was asked")
	}
}

// The database is away: the node says so, and is ready no longer than it trusts its memory.
func TestHealthFollowsTheDatabase(t *testing.T) {
	n := serve(t, func(c *config.Config) { c.Database.MaxStaleness = config.Duration(time.Second) })
	for _, text := get(t, client(), n.watch+"/readyz"); strings.Contains(text, ":-1"); _, text = get(t, client(), n.watch+"/readyz") {
		time.Sleep(10 * time.Millisecond) // nothing was read yet
	}
	if err := n.core.DB.Close(); err != nil {
		t.Fatal(err)
	}
	var seen []int
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		status, text := get(t, client(), n.watch+"/readyz")
		if !strings.Contains(text, `"database":"away"`) {
			t.Fatal(text)
		}
		if len(seen) == 0 || seen[len(seen)-1] != status {
			seen = append(seen, status)
		}
		if status == http.StatusServiceUnavailable {
			break
		}
	}
	if len(seen) != 2 || seen[0] != 200 || seen[1] != 503 {
		t.Errorf("statuses %v", seen)
	}
	if status, _ := get(t, client(), n.watch+"/healthz"); status != 200 {
		t.Error("alive is alive")
	}
}

// P11: a disk did not take what was written. Nothing is written after that, and whoever watches is told to look.
func TestHealthSaysThatTheDiskFailed(t *testing.T) {
	var log string
	n := serve(t, func(c *config.Config) { log = strings.TrimPrefix(c.Database.URL.Reveal(), "sqlite:") + "-wal" })
	if status, text := get(t, client(), n.watch+"/readyz"); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", log); err != nil { // which cannot be synced
		t.Fatal(err)
	}
	if err := n.core.DB.Sync(); err == nil {
		t.Fatal("the disk did not fail")
	}
	if status, text := get(t, client(), n.watch+"/readyz"); status != 503 || !strings.Contains(text, `"status":"unready","database":"failed"`) {
		t.Errorf("%d %s", status, text)
	}
	if err := n.core.DB.WriteSoon(t.Context(), func(*sqldb.Tx) error { return nil }); fault.Of(err).Code != "database_unavailable" {
		t.Errorf("it is written on: %v", err)
	}
}

func TestStoppingLetsRequestsFinishAndTellsTheManager(t *testing.T) {
	n := serve(t, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(n.public, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	body := "username=ada&password=x"
	_, _ = io.WriteString(conn, "POST /reports/csp HTTP/1.1\r\nHost: "+conn.RemoteAddr().String()+"\r\nContent-Length: 23\r\n\r\n"+body[:10])
	time.Sleep(100 * time.Millisecond)
	stopped := make(chan error)
	go func() { stopped <- n.stop() }()
	time.Sleep(100 * time.Millisecond)
	_, _ = io.WriteString(conn, body[10:])
	answer := make([]byte, 12)
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 204" {
		t.Errorf("the request under way got %q, %v", answer, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if told := strings.Join(*n.told, " "); told != "READY=1 STOPPING=1" {
		t.Errorf("told %q", told)
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(n.public, "http://")); err == nil {
		t.Error("still listening")
	}
}

// Slow headers do not hold a connection for long.
func TestASlowSenderIsDropped(t *testing.T) {
	t.Parallel()
	n := serve(t, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(n.public, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("still held after 10 s")
	}
}

func TestHugeHeadersAreRefused(t *testing.T) {
	n := serve(t, nil)
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, n.public+"/signin", nil)
	r.Header.Set("X-Huge", strings.Repeat("x", 32<<10))
	res, err := client().Do(r)
	if err != nil {
		return // the connection was closed: refused as well
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %d", res.StatusCode)
	}
}

//
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	roots := writeCert(t, certFile, keyFile)
	n := serve(t, func(c *config.Config) { c.HTTP.TLSCertFile, c.HTTP.TLSKeyFile = certFile, keyFile })
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	res, err := client.Get(n.public + "/signin")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.TLS.Version != tls.VersionTLS13 || res.ProtoMajor != 2 || res.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("TLS %x, HTTP/%d, HSTS %q", res.TLS.Version, res.ProtoMajor, res.Header.Get("Strict-Transport-Security"))
	}
	old := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if conn, err := tls.Dial("tcp", strings.TrimPrefix(n.public, "https://"), old); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 was accepted")
	}
}

// A renewed certificate needs no restart, and one that does not fit its key is said so and not used.
func TestRenewingACertificate(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	now, complaints := time.Now(), 0
	get := server.Certificate(certFile, keyFile, func() time.Time { return now }, func(error) { complaints++ })
	if _, err := get(nil); err == nil || !strings.Contains(err.Error(), "http.tls_cert_file") {
		t.Fatalf("without files: %v", err)
	}
	served := func() string {
		t.Helper()
		now = now.Add(11 * time.Second)
		cert, err := get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(cert.Certificate[0])
	}
	touch := func(age time.Duration) { // two writes may fall into one tick of the file system's clock
		if err := os.Chtimes(certFile, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	writeCert(t, certFile, keyFile)
	touch(3 * time.Hour)
	first := served()
	writeCert(t, certFile, keyFile)
	touch(2 * time.Hour)
	second := served()
	if first == second || complaints != 0 {
		t.Fatalf("the renewed certificate is not served, or complained of (%d)", complaints)
	}
	writeCert(t, certFile, filepath.Join(dir, "other.pem"))
	touch(time.Hour)
	if served() != second {
		t.Error("a certificate without its key is served")
	}
	if complaints != 1 {
		t.Errorf("%d complaints, want 1", complaints)
	}
}

func writeCert(t *testing.T, certFile, keyFile string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	return pool
}

// sink is a log's end.
type sink struct {
	mu     sync.Mutex
	all    bytes.Buffer
	writes int
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	return s.all.Write(p)
}

func (s *sink) state() (writes int, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes, s.all.String()
}

func TestTheLogIsGatheredAndNothingOfItIsLost(t *testing.T) {
	s := &sink{}
	log, flush := server.NewLog(config.Log{Format: "json", Level: "info"}, s)
	for range 100 {
		log.InfoContext(t.Context(), "request")
	}
	if n, _ := s.state(); n > 3 {
		t.Errorf("%d writes for 100 lines", n)
	}
	time.Sleep(300 * time.Millisecond)
	if _, text := s.state(); strings.Count(text, "\n") != 100 {
		t.Errorf("%d lines after a tenth of a second", strings.Count(text, "\n"))
	}
	log.ErrorContext(t.Context(), "at once")
	if _, text := s.state(); !strings.Contains(text, "at once") {
		t.Error("an error waits")
	}
	log.With(slog.String("a", "b")).InfoContext(t.Context(), "last")
	flush()
	if _, text := s.state(); !strings.Contains(text, "last") {
		t.Error("the last line is lost")
	}
}

// P1: what net/http says of a broken connection names the client; our log does not.
func TestTheLogHasNoClientsAddress(t *testing.T) {
	s := &sink{}
	h := server.Quiet(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug}))
	slog.NewLogLogger(h, slog.LevelDebug).Print("http: TLS handshake error from 192.0.2.7:50000: EOF")
	if _, text := s.state(); strings.Contains(text, "192.0.2.7") || !strings.Contains(text, "connection dropped") {
		t.Error(text)
	}
}

// The watchdog is fed for as long as the work goes on.
func TestTheWatchdogIsFed(t *testing.T) {
	d := deps()
	fed := make(chan string)
	d.Watchdog, d.Notify = time.Millisecond, func(state string) { fed <- state }
	s, err := server.New(t.Context(), settings(t, dbtest.NewURL(t, sqldb.SQLite)), d)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { s.Work(ctx); done <- s.Close() }()
	for range 3 {
		if got := <-fed; got != "WATCHDOG=1" {
			t.Errorf("told %q", got)
		}
	}
	stop()
	for {
		select {
		case <-fed: // the last, already on its way
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		}
	}
}

func TestTheServiceManagerHearsUs(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	environ := map[string]string{"NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "2000000"}
	notify, watchdog := server.Notifier(func(k string) string { return environ[k] })
	notify("READY=1")
	got := make([]byte, 64)
	n, err := conn.Read(got)
	if err != nil || string(got[:n]) != "READY=1" || watchdog != time.Second {
		t.Errorf("heard %q, %v; watchdog %s", got[:n], err, watchdog)
	}
	if notify, _ := server.Notifier(func(string) string { return "" }); notify != nil {
		t.Error("there is nobody to tell")
	}
}

// P9, C-BM-04: an answer that says "wait" does not say for how long exactly.
func TestWaitsAreCoarse(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	a := &app{t: t, node: n}
	flow := a.begin("ada@example.org").Flow
	a.want(200, a.call("POST", "/api/v1/signin/password", `{"flow":"`+flow+`","password":"`+servertest.Password+`"}`))
	a.want(202, a.call("POST", "/api/v1/signin/code/send", `{"flow":"`+flow+`","way":"email"}`))
	n.Clock.Advance(7 * time.Second)
	again := a.want(429, a.call("POST", "/api/v1/signin/code/send", `{"flow":"`+flow+`","way":"email"}`))
	if again.Code != "resend_too_soon" || again.header.Get("Retry-After") != "30" {
		t.Errorf("%s, Retry-After %q", again.Code, again.header.Get("Retry-After"))
	}
}
