package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"countersign/internal/audit"
	"countersign/internal/platform/secret"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

type delivery struct {
	header http.Header
	body   []byte
}

// listener is an application that takes webhooks.
type listener struct {
	*httptest.Server

	mu  sync.Mutex
	got []delivery
}

func listens(t *testing.T) *listener {
	t.Helper()
	l := &listener{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.got = append(l.got, delivery{r.Header, body})
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(l.Close)
	return l
}

// wait returns the n-th delivery.
func (l *listener) wait(t *testing.T, n int) delivery {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		if len(l.got) >= n {
			defer l.mu.Unlock()
			return l.got[n-1]
		}
		l.mu.Unlock()
	}
	t.Fatalf("delivery %d has not come", n)
	return delivery{}
}

// The reference library takes what we send, by the old secret and by the new one while they overlap, and refuses what
// somebody has changed on the way, or kept.
func TestAnIndependentReceiverTakesOurWebhooks(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			n := servertest.Start(t, servertest.Options{Database: dbtest.NewURL(t, engine)})
			receiver := listens(t)
			ada := n.Account("ada@example.org")
			webhooks := n.Core().Subscribers
			id, first, err := webhooks.Add(t.Context(), receiver.URL, []audit.Kind{audit.AccountChanged})
			if err != nil {
				t.Fatal(err)
			}
			if err := webhooks.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := n.Core().Owner.Lock(t.Context(), ada); err != nil {
				t.Fatal(err)
			}
			d := receiver.wait(t, 1)
			takes := func(key secret.Token, d delivery) error {
				t.Helper()
				hook, err := standardwebhooks.NewWebhook(key.Reveal())
				if err != nil {
					t.Fatal(err)
				}
				return hook.Verify(d.body, d.header)
			}
			if err := takes(first, d); err != nil {
				t.Errorf("%v: %s %v", err, d.body, d.header)
			}
			if want := `{"type":"user_updated","timestamp":"`; !strings.HasPrefix(string(d.body), want) ||
				!strings.Contains(string(d.body), `"account":"`+string(ada)+`","actor":"operator","detail":{"state":"locked"}}}`) {
				t.Errorf("body %s", d.body)
			}
			next, _, err := webhooks.Rotate(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if takes(next, d) == nil {
				t.Error("a secret fits what was signed before it was made")
			}
			if err := n.Core().Owner.Unlock(t.Context(), ada); err != nil {
				t.Fatal(err)
			}
			d = receiver.wait(t, 2)
			if err := takes(first, d); err != nil {
				t.Error("the old secret, while they overlap:", err)
			}
			if err := takes(next, d); err != nil {
				t.Error("the new secret:", err)
			}
			for what, change := range map[string]func(*delivery){
				"body": func(d *delivery) { d.body = []byte(strings.Replace(string(d.body), "active", "locked", 1)) },
				"id":   func(d *delivery) { d.header.Set("Webhook-Id", "another") },
				"time": func(d *delivery) { d.header.Set("Webhook-Timestamp", "1767225600") },
			} {
				other := delivery{d.header.Clone(), d.body}
				if change(&other); takes(next, other) == nil {
					t.Errorf("another %s is taken", what)
				}
			}
		})
	}
}

// P1, and nothing that the documentation does not name: a whole sign-in and a failed one, as an application is told of them.
func TestASignInIsToldWithoutContactData(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	receiver := listens(t)
	n.Account("ada@example.org")
	if _, _, err := n.Core().Subscribers.Add(t.Context(), receiver.URL, nil); err != nil {
		t.Fatal(err)
	}
	if err := n.Core().Subscribers.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	(&app{t: t, node: n}).signIn("ada@example.org", nothing)
	seen := map[string]bool{}
	for i := 1; !seen["authn_login_success"]; i++ {
		body := string(receiver.wait(t, i).body)
		_, rest, _ := strings.Cut(body, `"type":"`)
		kind, _, _ := strings.Cut(rest, `"`)
		seen[kind] = true
		if strings.Contains(body, "ada") || strings.Contains(body, "127.0.0.1") {
			t.Error(body)
		}
	}
	if !seen["authn_code_sent"] {
		t.Errorf("told before the sign-in: %v", seen)
	}
}
