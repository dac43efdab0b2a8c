package story_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// heard is what a story's receiver of webhooks took, by type.
type heard struct {
	mu    sync.Mutex
	types map[string]int
}

type heardKey struct{}

func (h *heard) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var event struct{ Type string }
	if json.Unmarshal(body, &event) == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.types[event.Type]++
	}
}

func heardIn(ts *testscript.TestScript) *heard { return ts.Value(heardKey{}).(*heard) } //nolint:forcetypeassert // Setup puts it there

// receiver takes webhooks at a URL: "receiver URL".
func receiver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: receiver URL")
	}
	u, err := url.Parse(args[0])
	ts.Check(err)
	l, err := net.Listen("tcp", u.Host)
	ts.Check(err)
	srv := &http.Server{Handler: heardIn(ts), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = srv.Serve(l) }()
	ts.Defer(func() { _ = srv.Close() })
}

// webhook keeps the id of a webhook that was just added as $WEBHOOK.
func webhook(ts *testscript.TestScript, neg bool, args []string) {
	m := regexp.MustCompile(`(?m)^webhook (\S+) `).FindStringSubmatch(ts.ReadFile("stdout"))
	if neg || len(args) != 0 || m == nil {
		ts.Fatalf("usage: webhook, after countersign webhook add")
	}
	ts.Setenv("WEBHOOK", m[1])
}

// received waits until so many events of a type have come: "received TYPE N".
func received(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: received TYPE N")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	h, got := heardIn(ts), 0
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		h.mu.Lock()
		got = h.types[args[0]]
		h.mu.Unlock()
		if got >= want {
			break
		}
	}
	if got != want {
		ts.Fatalf("%d events %s came, want %d", got, args[0], want)
	}
}
