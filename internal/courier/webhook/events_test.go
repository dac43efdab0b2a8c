package webhook_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/webhook"
	"countersign/internal/platform/secret"
)

// What a subscriber answers decides whether it has the event; a redirect takes it nowhere else.
func TestWhatASubscriberAnswersDecides(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	for status, want := range map[int]string{
		200: "", 204: "", 302: "webhook_http_302", 307: "webhook_http_307", 404: "webhook_http_404", 410: "webhook_http_410", 429: "webhook_http_429", 500: "webhook_http_500",
	} {
		signatures := ""
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			signatures = r.Header.Get("Webhook-Signature")
			w.Header().Set("Location", elsewhere.URL)
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
		}))
		events, err := webhook.NewEvents(app.URL, time.Now, nil)
		if err != nil {
			t.Fatal(err)
		}
		keys := []secret.Token{secret.Of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), secret.Of("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")}
		gone, err := events.Post(t.Context(), "id", keys, []byte("{}"))
		app.Close()
		e, _ := errors.AsType[*courier.Error](err)
		switch {
		case want == "" && err != nil, want != "" && (e == nil || e.Code != want || e.After != 7*time.Second):
			t.Errorf("%d: %v, want %q", status, err, want)
		case gone != (status == http.StatusGone):
			t.Errorf("%d: gone %t", status, gone)
		case strings.Count(signatures, "v1,") != 2:
			t.Errorf("signatures %q, want one of each secret", signatures)
		}
	}
}
