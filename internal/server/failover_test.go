package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/platform/config"
	"countersign/internal/testkit/servertest"
)

// With a second provider set, a code arrives though the first answers with nothing but failures.
func TestCodesGoByTheNextProvider(t *testing.T) {
	var first, second atomic.Int32
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		first.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer down.Close()
	up := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { second.Add(1) }))
	defer up.Close()
	n := servertest.Start(t, servertest.Options{Config: func(c *config.Config) {
		c.SMS = config.SMS{
			Provider: "twilio", From: "+15005550006", TwilioAccount: "AC1", TwilioPassword: config.NewSecret("x"), TwilioURL: down.URL,
			Then: []string{"webhook"}, WebhookURL: up.URL, WebhookSecret: config.NewSecret("whsec_" + strings.Repeat("QUFB", 10)),
		}
	}})
	n.Account("ada@example.org", "+4915112345678")
	a := &app{t: t, node: n}
	flow := a.begin("ada@example.org").Flow
	a.want(200, a.call("POST", "/api/v1/signin/password", `{"flow":"`+flow+`","password":"`+servertest.Password+`"}`))
	a.want(202, a.call("POST", "/api/v1/signin/code/send", `{"flow":"`+flow+`","way":"sms"}`))
	for range 500 {
		if second.Load() > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if first.Load() == 0 || second.Load() != 1 {
		t.Errorf("%d asked of the first, %d taken by the second", first.Load(), second.Load())
	}
}
