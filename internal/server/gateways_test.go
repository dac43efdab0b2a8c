package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"countersign/internal/platform/config"
	"countersign/internal/server"
)

func TestTheDoctorTriesKeysWithoutSending(t *testing.T) {
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, pass, _ := r.BasicAuth()
		if r.URL.Path != "/account/get-balance" && r.URL.Path != "/account/1/balance" || r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		if user+pass != "abcd1234right" && r.Header.Get("Authorization") != "App right" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer far.Close()
	look := func(change func(*config.SMS)) server.Finding {
		t.Helper()
		c := config.Default()
		c.Email.Provider, c.SMS.From = "none", "Example"
		c.SMS.VonageKey, c.SMS.VonageURL, c.SMS.InfobipURL = "abcd1234", far.URL, far.URL
		change(&c.SMS)
		for _, f := range server.Examine(t.Context(), c, server.Deps{Now: time.Now}) {
			if f.Part == "letters" {
				return f
			}
		}
		t.Fatal("not looked at")
		return server.Finding{}
	}
	for what, c := range map[string]struct {
		change func(*config.SMS)
		want   string // in a broken finding; nothing means a fine one
	}{
		"right keys": {func(s *config.SMS) {
			s.Provider, s.Then, s.VonageSecret, s.InfobipKey = "vonage", []string{"infobip"}, config.NewSecret("right"), config.NewSecret("right")
		}, ""},
		"a wrong one": {func(s *config.SMS) {
			s.Provider, s.VonageSecret = "vonage", config.NewSecret("hunter2")
		}, "SMS by vonage: vonage_http_401"},
		"the second is wrong": {func(s *config.SMS) {
			s.Provider, s.Then, s.VonageSecret, s.InfobipKey = "vonage", []string{"infobip"}, config.NewSecret("right"), config.NewSecret("hunter2")
		}, "SMS by infobip: infobip_http_401"},
		"a gateway that is badly described": {func(s *config.SMS) {
			s.Provider, s.HTTPURL, s.HTTPBody = "http", "https://sms.example.net/", `{"to": "{to}", "text": {text}}`
		}, "the body is no JSON once its fields are filled in"},
		"a gateway": {func(s *config.SMS) {
			s.Provider, s.HTTPURL, s.HTTPBody = "http", far.URL, `{"to": "{to}", "text": "{text}"}`
		}, ""},
		"a gateway that is not there": {func(s *config.SMS) {
			s.Provider, s.HTTPURL, s.HTTPBody = "http", "http://127.0.0.1:1/", `{"to": "{to}", "text": "{text}"}`
		}, "SMS by http: gateway_unreachable"},
	} {
		f := look(c.change)
		if (f.State == server.Fine) != (c.want == "") || !strings.Contains(f.Words, c.want) || strings.Contains(f.Words, "hunter2") {
			t.Errorf("%s: %+v", what, f)
		}
	}
}
