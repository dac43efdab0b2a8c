// Package fault_test breaks what a server stands on, and watches that nothing acknowledged is
// lost and nothing half-done is left: the process, the database, the disk, the providers, the
// clock, the clients. Where a test can, it runs the real binary as an operator would.
package fault_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "countersign-fault-*")
	if err != nil {
		panic(err)
	}
	built = sync.OnceValues(func() (string, error) {
		path := filepath.Join(dir, "countersign")
		out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "countersign/cmd/countersign").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("build the binary: %w\n%s", err, out)
		}
		return path, err
	})
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// password is everybody's.
const password = servertest.Password

// built returns the path of the real binary, built once.
var built func() (string, error)

// below returns a random number from 0 to n-1.
func below(n int) int {
	v, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return int(v.Int64())
}

// quick is the cheapest hashing that the settings allow.
var quick = []string{"COUNTERSIGN_PASSWORD_MEMORY_KIB=12288", "COUNTERSIGN_PASSWORD_TIME=3"}

// site is where processes live: settings, a key file, a database and a recorder of letters.
type site struct {
	t       testing.TB
	file    string   // settings
	environ []string // settings that win over the file's
	listen  string
	public  string // host and port that people use
	mail    *recorder
}

// newSite writes the settings of a server on database; "" is a fresh SQLite file.
func newSite(t testing.TB, database string, environ ...string) *site {
	t.Helper()
	dir := t.TempDir()
	if database == "" {
		database = "sqlite:" + filepath.Join(dir, "countersign.db")
	}
	s := &site{t: t, file: filepath.Join(dir, "countersign.toml"), environ: environ, listen: testkit.FreeAddress(t), mail: newRecorder(t)}
	s.public = s.listen
	text := fmt.Sprintf(`
[site]
name = "Example"
public_url = "http://%s"
[http]
stop_after = "2s"
[database]
url = %q
[keys]
file = %q
[throttle]
exempt_sources = ["127.0.0.0/8"]
[email]
provider = "webhook"
from = "Example <no-reply@example.com>"
webhook_url = "%[4]s/email"
webhook_secret = %[5]q
[sms]
provider = "webhook"
from = "+15550100100"
webhook_url = "%[4]s/sms"
webhook_secret = %[5]q
[metrics]
listen = ""
`, s.public, database, filepath.Join(dir, "countersign.key"), s.mail.url, webhookSecret)
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// twin is another node of the same site, at an address of its own.
func (s *site) twin() *site {
	other := *s
	other.listen = testkit.FreeAddress(s.t)
	return &other
}

func (s *site) settings() []string {
	return append([]string{"COUNTERSIGN_HTTP_LISTEN=" + s.listen}, s.environ...)
}

// process is a running server.
type process struct {
	*exec.Cmd

	site *site
	log  *servertest.Log
	done chan struct{} // closed when it has ended
	err  error
}

// launch starts a server and does not wait for it.
func (s *site) launch() *process {
	s.t.Helper()
	path, err := built()
	if err != nil {
		s.t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(path, "serve", "--config", s.file), site: s, log: &servertest.Log{}, done: make(chan struct{})}
	p.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, s.settings()...)
	p.Stderr, p.Dir = p.log, filepath.Dir(s.file)
	if err := p.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { p.err = p.Wait(); close(p.done) }()
	s.t.Cleanup(p.kill)
	return p
}

// start starts a server and waits until it answers.
func (s *site) start() *process {
	s.t.Helper()
	p := s.launch()
	p.await()
	return p
}

// await waits until the server answers.
func (p *process) await() {
	s := p.site
	s.t.Helper()
	client := &http.Client{Timeout: time.Second}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(4 * time.Millisecond) {
		if res, err := client.Get("http://" + s.listen + "/healthz"); err == nil {
			_ = res.Body.Close()
			return
		}
		select {
		case <-p.done:
			s.t.Fatalf("the server ended: %v\n%s", p.err, p.log)
		default:
		}
	}
	s.t.Fatalf("the server does not answer\n%s", p.log)
}

// kill ends the process as a power cut would, as far as it is concerned.
func (p *process) kill() {
	_ = p.Process.Kill()
	<-p.done
}

// stop asks the server to end, as systemd does, and returns how long it took.
func (p *process) stop() time.Duration {
	p.site.t.Helper()
	began := time.Now()
	_ = p.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.site.t.Fatalf("the server does not stop\n%s", p.log)
	}
	if p.err != nil {
		p.site.t.Errorf("the server ended with %v\n%s", p.err, p.log)
	}
	return time.Since(began)
}

// answer is what the API said.
type answer struct {
	status int
	header http.Header
	text   string
	Step   string
	Flow   string
	Nonce  string
	Code   string
	ID     string
	Ways   []string

	Session struct{ Token string }
	Device  struct{ ID, Handle string }
}

// is reports whether the answer has the status and the code, if one is named.
func (a answer) is(status int, code string) bool {
	return a.status == status && (code == "" || a.Code == code)
}

// app is an application that speaks to the API of one node.
type app struct {
	t     testing.TB
	base  string // where the node listens
	host  string // what it is called
	http  *http.Client
	token string
}

func (s *site) app() *app {
	return &app{t: s.t, base: "http://" + s.listen, host: s.public, http: &http.Client{
		Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}}
}

// inside are texts that no answer may contain: our own insides, and contact data.
var inside = regexp.MustCompile(`goroutine \d|\.go:\d|panic:|SQLITE_|SQLSTATE|failed to connect|@example\.org|\+49151`)

// try calls the API; the error is the connection's.
func (a *app) try(ctx context.Context, method, path, body string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, a.base+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.Host = a.host
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	res, err := a.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	out := answer{status: res.StatusCode, header: res.Header, text: string(text)}
	if found := inside.FindString(out.text); found != "" {
		a.t.Errorf("%s %s: %q is in the answer:\n%s", method, path, found, text)
	}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &out); err != nil {
			a.t.Errorf("%s %s: %v in %q", method, path, err, text)
		}
	}
	if (out.status == http.StatusServiceUnavailable || out.status == http.StatusTooManyRequests) && out.header.Get("Retry-After") == "" {
		a.t.Errorf("%s %s: %d without Retry-After", method, path, out.status)
	}
	return out, nil
}

// want calls the API and fails the test unless the answer has the status.
func (a *app) want(status int, method, path, body string) answer {
	a.t.Helper()
	got, err := a.try(a.t.Context(), method, path, body)
	if err != nil || got.status != status {
		a.t.Fatalf("%s %s: got %d %s (%v), want %d", method, path, got.status, got.text, err, status)
	}
	return got
}

// flow is a sign-in under way.
type flow struct{ handle, nonce string }

func jsonOf(pairs ...string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	b, _ := json.Marshal(m) // strings always marshal
	return string(b)
}

// toSecond goes as far as the second door.
func (a *app) toSecond(name string) flow {
	a.t.Helper()
	begun := a.want(201, "POST", "/signin", jsonOf("identifier", name))
	second := a.want(200, "POST", "/signin/password", jsonOf("flow", begun.Flow, "password", password))
	if second.Step != "second" {
		a.t.Fatalf("step %s", second.Step)
	}
	return flow{begun.Flow, second.Nonce}
}

// signIn signs in by a code.
func (a *app) signIn(s *site, p person) flow {
	a.t.Helper()
	f := a.toSecond(p.email)
	since := s.mail.mark(p.email)
	a.want(202, "POST", "/signin/code/send", jsonOf("flow", f.handle, "way", "email"))
	a.token = a.want(200, "POST", "/signin/code", jsonOf("flow", f.handle, "code", s.mail.waitCode(a.t, p.email, since))).Session.Token
	return f
}

// key is a device's.
type key struct {
	testkit.Key
	origin string
}

func (s *site) newKey() key { return key{testkit.NewKey(s.t), "http://" + s.public} }

func (k key) sign(purpose, nonce string) string {
	return base64.RawURLEncoding.EncodeToString(k.Sign(purpose, k.origin, nonce))
}

func (k key) remember(nonce, name string) string {
	return fmt.Sprintf(`"remember":{"public_key":%q,"signature":%q,"name":%q}`,
		base64.RawURLEncoding.EncodeToString(k.Public()), k.sign("remember", nonce), name)
}

func (k key) proof(f, nonce, handle string) string {
	return fmt.Sprintf(`{"flow":%q,"password":%q,"device":{"handle":%q,"signature":%q}}`, f, password, handle, k.sign("recognise", nonce))
}

var webhookSecret = "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))

// recorder is the provider of e-mail and SMS: it takes letters and remembers them.
type recorder struct {
	t     testing.TB
	url   string
	mu    sync.Mutex
	all   map[string][]post // by address
	texts map[string]string // by webhook-id
	twice int               // letters that came again

	hang  atomic.Pointer[chan struct{}] // e-mail does not answer until it is closed
	down  atomic.Bool                   // e-mail answers that it is out of order
	asked atomic.Int64                  // letters that an ill e-mail provider was offered
	delay atomic.Int64                  // longest random wait before an answer
}

// post is a letter received.
type post struct{ id, text string }

func newRecorder(t testing.TB) *recorder {
	r := &recorder{t: t, all: map[string][]post{}, texts: map[string]string{}}
	srv := httptest.NewServer(r)
	r.url = srv.URL
	t.Cleanup(func() { r.release(); srv.CloseClientConnections(); srv.Close() })
	return r
}

// stall makes the e-mail provider hang.
func (r *recorder) stall() {
	c := make(chan struct{})
	r.hang.Store(&c)
}

// refuse makes the e-mail provider fail.
func (r *recorder) refuse() { r.down.Store(true) }

// release mends the e-mail provider.
func (r *recorder) release() {
	r.down.Store(false)
	if c := r.hang.Swap(nil); c != nil {
		close(*c)
	}
}

// ServeHTTP takes a letter as a receiver of Standard Webhooks does.
func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender was killed meanwhile
	}
	if r.down.Load() && req.URL.Path == "/email" {
		r.asked.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if c := r.hang.Load(); c != nil && req.URL.Path == "/email" {
		r.asked.Add(1)
		select {
		case <-*c:
		case <-req.Context().Done():
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	id := req.Header.Get("Webhook-Id")
	mac := hmac.New(sha256.New, bytes.Repeat([]byte{7}, 32))
	_, _ = mac.Write([]byte(id + "." + req.Header.Get("Webhook-Timestamp") + "."))
	_, _ = mac.Write(body)
	if req.Header.Get("Webhook-Signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
		r.t.Errorf("a letter with a wrong signature")
	}
	var event struct {
		Data struct{ ID, To, Text string }
	}
	if err := json.Unmarshal(body, &event); err != nil || event.Data.ID != id {
		r.t.Errorf("letter %s: %v", id, err)
	}
	r.mu.Lock()
	if was, again := r.texts[id]; again {
		r.twice++
		if was != event.Data.Text {
			r.t.Errorf("two letters under one id")
		}
	}
	r.texts[id] = event.Data.Text
	r.all[event.Data.To] = append(r.all[event.Data.To], post{id, event.Data.Text})
	r.mu.Unlock()
	if d := int(r.delay.Load()); d > 0 {
		time.Sleep(time.Duration(below(d)))
	}
	w.WriteHeader(http.StatusNoContent)
}

// mark is how many letters an address has had.
func (r *recorder) mark(to string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all[to])
}

var sixDigits = regexp.MustCompile(`\b\d{6}\b`)

// code returns the newest code in the letters to an address from the n-th on.
func (r *recorder) code(to string, n int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.all[to][min(n, len(r.all[to])):] {
		if c := sixDigits.FindString(p.text); c != "" {
			return c
		}
	}
	return ""
}

// notices counts the different letters to an address that have no code.
func (r *recorder) notices(to string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := map[string]bool{}
	for _, p := range r.all[to] {
		if sixDigits.FindString(p.text) == "" {
			ids[p.id] = true
		}
	}
	return len(ids)
}

var errNoLetter = errors.New("no letter came")

func (r *recorder) awaitCode(ctx context.Context, to string, since int) (string, error) {
	for {
		if c := r.code(to, since); c != "" {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return "", errNoLetter
		case <-time.After(3 * time.Millisecond):
		}
	}
}

// waitCode waits for a code.
func (r *recorder) waitCode(t testing.TB, to string, since int) string {
	t.Helper()
	return r.within(t, 20*time.Second, to, since)
}

func (r *recorder) within(t testing.TB, d time.Duration, to string, since int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	c, err := r.awaitCode(ctx, to, since)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually fails unless f becomes true within d; it returns how long that took.
func eventually(t testing.TB, d time.Duration, what string, f func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !f() {
		if time.Since(began) > d {
			t.Fatalf("not within %v: %s", d, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began)
}
