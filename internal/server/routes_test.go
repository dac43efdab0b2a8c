package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/platform/config"
	"countersign/internal/testkit/servertest"
)

// gateways are two providers' other ends, and what each took.
type gateways struct {
	mu   sync.Mutex
	took []string // provider and text
}

func (g *gateways) handler(name string, text func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		said := text(r)
		g.mu.Lock()
		g.took = append(g.took, name+" "+said)
		g.mu.Unlock()
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprint(w, `{"sid":"SM1","status":"queued"}`)
	})
}

// wait returns what was taken, once there are n.
func (g *gateways) wait(t *testing.T, n int) []string {
	t.Helper()
	for range 500 {
		g.mu.Lock()
		all := slices.Clone(g.took)
		g.mu.Unlock()
		if len(all) >= n {
			return all
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("fewer than %d messages left", n)
	return nil
}

// routed is a node with two providers, Twilio first.
func routed(t *testing.T, change func(*config.Config)) (*servertest.Node, *gateways) {
	t.Helper()
	g := &gateways{}
	first := httptest.NewServer(g.handler("twilio", func(r *http.Request) string { _ = r.ParseForm(); return r.PostForm.Get("Body") }))
	t.Cleanup(first.Close)
	second := httptest.NewServer(g.handler("webhook", func(r *http.Request) string {
		var body struct{ Data struct{ Text string } }
		_ = json.NewDecoder(r.Body).Decode(&body)
		return body.Data.Text
	}))
	t.Cleanup(second.Close)
	return servertest.Start(t, servertest.Options{Config: func(c *config.Config) {
		c.SMS = config.SMS{
			Provider: "twilio", From: "+15005550006", TwilioAccount: "AC1", TwilioPassword: config.NewSecret("x"), TwilioURL: first.URL,
			Then: []string{"webhook"}, WebhookURL: second.URL, WebhookSecret: config.NewSecret("whsec_" + strings.Repeat("QUFB", 10)),
		}
		if change != nil {
			change(c)
		}
	}}), g
}

var sixDigits = regexp.MustCompile(`#(\d{6})`)

// Who asks for another code after 20 seconds gets it by the next provider, though the first had taken the one before: it is that one that does not deliver.
// The new code is the one that counts, and tries are counted on (P6).
func TestAnotherCodeGoesByTheNextProvider(t *testing.T) {
	n, g := routed(t, nil)
	n.Account("ada@example.org", "+4915112345678")
	a := &app{t: t, node: n}
	flow := a.begin("ada@example.org").Flow
	a.want(200, a.call("POST", "/api/v1/signin/password", `{"flow":"`+flow+`","password":"`+servertest.Password+`"}`))
	send := `{"flow":"` + flow + `","way":"sms"}`
	code := func(code string) string { return `{"flow":"` + flow + `","code":"` + code + `"}` }
	a.want(202, a.call("POST", "/api/v1/signin/code/send", send))
	first := sixDigits.FindStringSubmatch(g.wait(t, 1)[0])[1]
	eventually(t, func() bool { return waiting(t, n) == 0 }) // by whom it went is written down after it went
	n.Clock.Advance(19 * time.Second)
	a.want(429, a.call("POST", "/api/v1/signin/code/send", send))
	for range 4 {
		a.want(401, a.call("POST", "/api/v1/signin/code", code("000000")))
	}
	n.Clock.Advance(time.Second)
	a.want(202, a.call("POST", "/api/v1/signin/code/send", send))
	all := g.wait(t, 2)
	if !strings.HasPrefix(all[0], "twilio ") || !strings.HasPrefix(all[1], "webhook ") {
		t.Fatalf("they went by %.8s and %.8s", all[0], all[1])
	}
	second := sixDigits.FindStringSubmatch(all[1])[1]
	a.want(401, a.call("POST", "/api/v1/signin/code", code(first)))  // the fifth wrong one
	a.want(429, a.call("POST", "/api/v1/signin/code", code(second))) // which a new code would have forgotten
}

// Letters, and codes that came back, are counted by who took them and to where. Where they went is told no closer than the operator has named it (P1).
func TestLettersAreCountedByProviderCountryAndPrefix(t *testing.T) {
	prices := filepath.Join(t.TempDir(), "prices")
	if err := os.WriteFile(prices, []byte("+49,0.075\n+4915,0.07,webhook\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, g := routed(t, func(c *config.Config) {
		c.Guard.Prices, c.SMS.Routes = prices, []string{"*/code=cheapest:twilio,webhook"}
	})
	n.Account("ada@example.org", "+4915112345678")
	a := &app{t: t, node: n}
	flow := a.begin("ada@example.org").Flow
	a.want(200, a.call("POST", "/api/v1/signin/password", `{"flow":"`+flow+`","password":"`+servertest.Password+`"}`))
	a.want(202, a.call("POST", "/api/v1/signin/code/send", `{"flow":"`+flow+`","way":"sms"}`))
	took := g.wait(t, 1)[0]
	if !strings.HasPrefix(took, "webhook ") {
		t.Errorf("it did not go by the cheapest: %.8s", took)
	}
	const cost = `countersign_sms_spent{within="hour"} 0.07` + "\n"
	for range 200 {
		if page := metrics(n); strings.Contains(page, "countersign_letters_sent_total{") && strings.Contains(page, cost) && sentLetters(t, n) == 1 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if page := metrics(n); !strings.Contains(page, cost) {
		t.Error("it did not cost what the cheapest takes")
	}
	a.want(200, a.call("POST", "/api/v1/signin/code", `{"flow":"`+flow+`","code":"`+sixDigits.FindStringSubmatch(took)[1]+`"}`))
	for _, line := range []string{
		`countersign_letters_sent_total{country="DE",prefix="+4915",provider="webhook",what="code"} 1`,
		`countersign_letters_typed_total{country="DE",prefix="+4915",provider="webhook"} 1`,
	} {
		if page := metrics(n); !strings.Contains(page, line) {
			t.Errorf("%s is not among\n%s", line, strings.Join(regexp.MustCompile(`(?m)^countersign_(letters|sms).*$`).FindAllString(page, -1), "\n"))
		}
	}
}

func metrics(n *servertest.Node) string {
	w := httptest.NewRecorder()
	n.Watch().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// sentLetters is how many are known to be sent.
func sentLetters(t *testing.T, n *servertest.Node) (sent int) {
	t.Helper()
	all, err := n.Core().Outbox.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		sent += s.SentLately
	}
	return sent
}
