package smtp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/couriertest"
	"countersign/internal/courier/smtp"
	"countersign/internal/courier/token"
	"countersign/internal/platform/secret"
)

func TestAConnectionIsKeptForTheNextLetters(t *testing.T) {
	for _, security := range []smtp.Security{smtp.StartTLS, smtp.Implicit, smtp.None} {
		s, c := serve(t, security)
		p := provider(t, c)
		for range 250 {
			if _, err := p.Send(t.Context(), letter()); err != nil {
				t.Fatal(err)
			}
		}
		if dials, _ := s.talks(); dials != 3 { // a hundred letters each
			t.Errorf("%s: %d connections for 250 letters", security, dials)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			_, open := s.talks()
			if open == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %d connections are still open", security, open)
			}
		}
		if _, err := p.Send(t.Context(), letter()); err != nil {
			t.Errorf("%s, after Close: %v", security, err)
		}
		_ = p.Close()
	}
}

func TestCheckSaysWhatTheServerHasAgainstUs(t *testing.T) {
	s, c := serve(t, smtp.StartTLS)
	c.User, c.Password = "countersign", secret.Of("geheim")
	if err := provider(t, c).Check(t.Context()); err != nil || s.logins != 1 {
		t.Errorf("%v after %d sign-ins", err, s.logins)
	}
	c.Password = secret.Of("falsch")
	if err := provider(t, c).Check(t.Context()); err == nil || err.Error() != "smtp_connect: the server refused user and password" {
		t.Errorf("%v", err)
	}
	if got := s.arrived(); len(got) != 0 {
		t.Errorf("%d letters", len(got))
	}
}

// A server hangs up when it likes, in silence or with 421. The next letter goes by a new connection, once.
func TestAConnectionThatWasHungUpOnCostsNoLetter(t *testing.T) {
	for name, hangUp := range map[string]func(s *server){
		"in silence": (*server).hangUp,
		"with 421":   func(s *server) { s.refuseOnce("from", 421) },
	} {
		s, c := serve(t, smtp.StartTLS)
		p := provider(t, c)
		for range 3 {
			if _, err := p.Send(t.Context(), letter()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			hangUp(s)
		}
		if got := len(s.arrived()); got != 3 {
			t.Errorf("%s: %d letters arrived, want 3", name, got)
		}
	}
}

// Only the envelope says where a letter comes back to: its reader sees the sender.
func TestLettersComeBackElsewhere(t *testing.T) {
	s, c := serve(t, smtp.StartTLS)
	c.Bounces, s.bounces = "bounces@example.org", "bounces@example.org"
	if _, err := provider(t, c).Send(t.Context(), letter()); err != nil {
		t.Fatal(err)
	}
	if got := s.arrived(); len(got) != 1 || got[0].From != letter().From && !strings.Contains(got[0].From, "no-reply@id.example.org") {
		t.Errorf("%v", got)
	}
}

// RFC 6531: an address beyond ASCII goes to a server that takes it, and is refused for good by us otherwise.
func TestAddressesBeyondASCII(t *testing.T) {
	m := letter()
	m.To = "zoë@xn--bcher-kva.example"
	s, c := serve(t, smtp.StartTLS)
	_, err := provider(t, c).Send(t.Context(), m)
	if e, ok := errors.AsType[*courier.Error](err); !ok || !e.Permanent || e.Code != "smtp_no_smtputf8" || len(s.arrived()) != 0 {
		t.Errorf("%v", err)
	}
	s, c = serve(t, smtp.StartTLS, beyondASCII)
	p := provider(t, c)
	for _, m := range []courier.Message{m, letter()} {
		if _, err := p.Send(t.Context(), m); err != nil {
			t.Error(err)
		}
	}
	if got := s.arrived(); len(got) != 2 || got[0].To != m.To || s.utf8 != 1 {
		t.Errorf("%v, %d of them with SMTPUTF8", got, s.utf8)
	}
}

// RFC 7628, and what was before it. A token is got once, and again when it ends.
func TestTokensInThePlaceOfAPassword(t *testing.T) {
	for mechanism, allows := range map[string]smtp.Security{"OAUTHBEARER": smtp.StartTLS, "XOAUTH2": smtp.Implicit} {
		t.Run(mechanism, func(t *testing.T) {
			asked := 0
			issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				want := "client_credentials"
				if mechanism == "XOAUTH2" {
					want = "refresh_token"
				}
				if id, secret, _ := r.BasicAuth(); id != "countersign" || secret != "geheim" || r.FormValue("grant_type") != want {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"access_token": "ein-token", "token_type": "Bearer", "expires_in": 3600}`))
			}))
			t.Cleanup(issuer.Close)
			s, c := serve(t, allows)
			s.mechanisms = []string{mechanism}
			c.User = "no-reply,=@example.org"
			c.OAuth = &token.Config{URL: issuer.URL, ClientID: "countersign", ClientSecret: secret.Of("geheim")}
			if mechanism == "XOAUTH2" {
				c.OAuth.RefreshToken = secret.Of("auffrischen")
			}
			p := provider(t, c)
			for range 3 {
				if _, err := p.Send(t.Context(), letter()); err != nil {
					t.Fatal(err)
				}
				s.hangUp()
			}
			if s.logins != 3 || asked != 1 {
				t.Errorf("%d sign-ins with %d tokens", s.logins, asked)
			}
			s.token = "another"
			_, err := p.Send(t.Context(), letter())
			if e, ok := errors.AsType[*courier.Error](err); !ok || e.Permanent || strings.Contains(err.Error(), "ein-token") {
				t.Errorf("a token that is refused: %v", err)
			}
		})
	}
}

func TestTokensThatCannotBeHad(t *testing.T) {
	answer := func(status int, body string) string {
		issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(issuer.Close)
		return issuer.URL
	}
	for url, want := range map[string]string{
		answer(401, `{"error": "invalid_client", "error_description": "geheim is wrong"}`): "smtp_oauth_invalid_client",
		answer(400, `{"error": "geheim"}`):                                                 "smtp_oauth_refused",
		answer(500, `geheim`):                                                              "smtp_oauth_refused",
		"http://" + couriertest.Nowhere(t) + "/":                                           "smtp_oauth_unreachable",
	} {
		s, c := serve(t, smtp.StartTLS)
		s.mechanisms = []string{"OAUTHBEARER"}
		c.User, c.OAuth = "countersign", &token.Config{URL: url, ClientID: "countersign", ClientSecret: secret.Of("geheim")}
		_, err := provider(t, c).Send(t.Context(), letter())
		if e, ok := errors.AsType[*courier.Error](err); !ok || e.Permanent || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	hangs := make(chan struct{})
	issuer := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hangs }))
	t.Cleanup(issuer.Close)
	t.Cleanup(func() { close(hangs) })
	_, c := serve(t, smtp.StartTLS)
	c.User, c.OAuth = "countersign", &token.Config{URL: issuer.URL, ClientID: "countersign", ClientSecret: secret.Of("geheim")}
	p, began := provider(t, c), time.Now()
	var all sync.WaitGroup
	for range 20 { // one endpoint that hangs keeps nobody longer than they have
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if _, err := p.Send(ctx, letter()); err == nil {
				t.Error("sent")
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
	if _, err := smtp.New(smtp.Config{Host: "localhost", Now: time.Now, Security: smtp.None, OAuth: &token.Config{}}); err == nil {
		t.Error("tokens in clear")
	}
}
