package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestMessagesAreShown(t *testing.T) {
	s := newShell(t)
	if out := s.ok("message", "preview"); strings.Contains(out, "{") || strings.Count(out, "== ") < 50 {
		t.Error(out)
	}
	if out := s.ok("message", "preview", "signin_code", "--channel", "sms"); !strings.Contains(out, "GSM-7") || !strings.Contains(out, ", paid as 1\n") || strings.Contains(out, "email") {
		t.Error(out)
	}
	s.fails(exitFailed, "listen tcp", "message", "preview", "--serve", "--listen", "nowhere.invalid:1")
	s.fails(exitUsage, "there is no kind", "message", "preview", "nothing")
	s.fails(exitUsage, "want one of en", "message", "preview", "--language", "xx")
}

func TestATestMessageIsSent(t *testing.T) {
	got := make(chan string, 1)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- string(body)
	}))
	defer hook.Close()
	s := newShell(t)
	s.environ = append(s.environ, "COUNTERSIGN_SMS_PROVIDER=webhook", "COUNTERSIGN_SMS_WEBHOOK_URL="+hook.URL,
		"COUNTERSIGN_SMS_WEBHOOK_SECRET=whsec_"+strings.Repeat("QUFB", 10))
	s.ok("migrate")
	if out := s.ok("message", "test", "--to", "+4915112345678", "--language", "de"); !strings.Contains(out, "taken by webhook") {
		t.Error(out)
	}
	if body := <-got; !strings.Contains(body, "Testnachricht") || !strings.Contains(body, "+4915112345678") {
		t.Error(body)
	}
	s.fails(exitFailed, "the provider inbox", "message", "test", "--to", "ada@example.org")
	s.fails(exitUsage, "want an e-mail address", "message", "test", "--to", "ada")
}
