package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whoever tries a webhook from here reads why nobody took the event.
func TestAWebhookThatIsTriedSaysWhy(t *testing.T) {
	s := newShell(t)
	s.ok("migrate")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + closed.Addr().String()
	_ = closed.Close()
	unknown := httptest.NewTLSServer(http.NotFoundHandler())
	defer unknown.Close()
	refuses := httptest.NewServer(http.NotFoundHandler())
	defer refuses.Close()
	for url, want := range map[string]string{
		nobody:                      "it did not take the event: webhook_unreachable: dial tcp " + strings.TrimPrefix(nobody, "http://") + ": connect: connection refused",
		"https://nowhere.invalid":   "it did not take the event: webhook_unreachable: dial tcp: lookup nowhere.invalid",
		unknown.URL:                 "it did not take the event: webhook_unreachable: tls: failed to verify certificate: x509: certificate signed by unknown authority",
		refuses.URL:                 "it did not take the event: webhook_http_404",
		"https://169.254.169.254:1": "link-local and metadata addresses are not called",
	} {
		words := strings.Fields(s.ok("webhook", "add", url+"/hook")) // webhook ID is told…
		s.fails(exitFailed, want, "webhook", "test", words[1])
	}
	if list := s.ok("webhook", "list", "--json"); strings.Contains(list, "refused") {
		t.Errorf("the list says why:\n%s", list)
	}
}
