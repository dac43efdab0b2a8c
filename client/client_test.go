package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"countersign/client"
)

// stand stands in for Countersign.
func stand(t *testing.T, serve http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(serve)
	t.Cleanup(s.Close)
	return s
}

func dial(t *testing.T, c client.Config) *client.Client {
	t.Helper()
	out, err := client.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

// person is somebody whose session may end.
type person struct {
	asked atomic.Int64
	over  atomic.Bool
	down  atomic.Bool
}

func (p *person) serve(w http.ResponseWriter, r *http.Request) {
	p.asked.Add(1)
	switch {
	case p.down.Load():
		w.WriteHeader(http.StatusBadGateway)
	case p.over.Load() || r.Header.Get("Authorization") != "Bearer css_good":
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"code":"session_ended"}`))
	default:
		_, _ = fmt.Fprintf(w, `{"id":"s1","account":"a1","expires_at":%q,"aal":"aal2","amr":["pwd","otp"]}`, time.Now().Add(time.Hour).Format(time.RFC3339))
	}
}

// A session that ended is refused when what was told of it is too old, and at once where the application hears of it.
func TestASessionThatEndedIsRefusedInTime(t *testing.T) {
	p, now := &person{}, time.Now()
	s := &client.Sessions{Client: dial(t, client.Config{URL: stand(t, p.serve).URL, Now: func() time.Time { return now }}), Keep: 5 * time.Second}
	app := s.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		me, ok := client.SessionOf(r.Context())
		_, _ = fmt.Fprint(w, ok, me.Account, me.AAL)
	}))
	ask := func(authorization string) (int, string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		app.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for range 10 {
		if status, said := ask("Bearer css_good"); status != 200 || said != "true"+"a1"+"aal2" {
			t.Fatal(status, said)
		}
	}
	if p.asked.Load() != 1 {
		t.Errorf("asked %d times", p.asked.Load())
	}
	p.over.Store(true)
	now = now.Add(5*time.Second + 1)
	if status, _ := ask("Bearer css_good"); status != 401 {
		t.Errorf("five seconds after it ended: %d", status)
	}
	p.over.Store(false)
	ask("Bearer css_good")
	p.over.Store(true)
	s.Forget("a1")
	if status, _ := ask("Bearer css_good"); status != 401 {
		t.Errorf("after it was told: %d", status)
	}
	p.down.Store(true)
	if status, _ := ask("Bearer css_good"); status != 503 {
		t.Errorf("while nobody answers: %d", status)
	}
	p.down.Store(false)
	for _, authorization := range []string{"", "Bearer ", "Bearer css_bad", "Basic css_good", "Bearer css_good\u00e4", "css_good"} {
		if status, _ := ask(authorization); status != 401 {
			t.Errorf("%q: %d", authorization, status)
		}
	}
}

// An answer that was under way when the session ended is not remembered.
func TestAnAnswerUnderWayIsNotRemembered(t *testing.T) {
	p := &person{}
	var s *client.Sessions
	server := stand(t, func(w http.ResponseWriter, r *http.Request) {
		p.serve(w, r)
		s.Forget("a1")
		p.over.Store(true)
	})
	s = &client.Sessions{Client: dial(t, client.Config{URL: server.URL})}
	if _, err := s.Check(t.Context(), "css_good"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Check(t.Context(), "css_good"); codeOf(err) != "session_ended" {
		t.Errorf("the next time: %v", err)
	}
}

// Memory is bounded, whatever comes.
func TestMemoryIsBounded(t *testing.T) {
	asked := 0
	server := stand(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		_, _ = fmt.Fprintf(w, `{"account":%q,"expires_at":%q}`, r.Header.Get("Authorization"), time.Now().Add(time.Hour).Format(time.RFC3339))
	})
	s := &client.Sessions{Client: dial(t, client.Config{URL: server.URL}), Most: 10, Keep: time.Hour}
	for i := range 100 {
		if _, err := s.Check(t.Context(), fmt.Sprint("css_", i)); err != nil {
			t.Fatal(err)
		}
	}
	asked = 0
	for i := range 100 {
		if _, err := s.Check(t.Context(), fmt.Sprint("css_", i)); err != nil {
			t.Fatal(err)
		}
	}
	if asked < 90 {
		t.Errorf("%d of 100 sessions were remembered, want ten at most", 100-asked)
	}
}

// A call whose answer was lost is made once more under the same key; it goes nowhere else, and a secret follows no redirect.
func TestACallIsRepeatedUnderItsKey(t *testing.T) {
	var keys []string
	server := stand(t, func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		if len(keys) == 1 {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write([]byte(`{"step":"done","allowed":true}`))
	})
	c := dial(t, client.Config{URL: server.URL, ID: "photos", Secret: "s"})
	a, err := c.ProveCode(t.Context(), "csf_x", client.Person{}, client.Code{Code: "123456"})
	if err != nil || !a.Allowed || len(keys) != 2 || keys[0] == "" || keys[0] != keys[1] {
		t.Errorf("%v, %+v, keys %q", err, a, keys)
	}
	away := stand(t, func(http.ResponseWriter, *http.Request) { t.Error("the secret was taken elsewhere") })
	moved := stand(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, away.URL, http.StatusTemporaryRedirect)
	})
	if _, err := dial(t, client.Config{URL: moved.URL, ID: "photos", Secret: "s"}).Begin(t.Context(), client.Arrival{}); err == nil {
		t.Error("a redirect was an answer")
	}
	if _, err := dial(t, client.Config{URL: server.URL}).Begin(t.Context(), client.Arrival{}); err == nil {
		t.Error("a call without a secret")
	}
}

// An assertion is for one call, for Countersign, and verifies by the application's public key.
func TestAssertions(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	shown := ""
	server := stand(t, func(_ http.ResponseWriter, r *http.Request) { shown = r.Header.Get("Authorization") })
	for alg, config := range map[jose.SignatureAlgorithm]client.Config{jose.ES256: {Key: p256}, jose.EdDSA: {Key: ed}} {
		config.URL, config.ID, config.KeyID = server.URL+"/", "bank", "k1"
		c := dial(t, config)
		seen := map[string]bool{}
		for range 20 {
			if err := c.RemoveAccount(t.Context(), "u/17"); err != nil {
				t.Fatal(err)
			}
			token, err := jwt.ParseSigned(shown[len("Bearer "):], []jose.SignatureAlgorithm{alg})
			if err != nil {
				t.Fatal(err)
			}
			var claims jwt.Claims
			if err := token.Claims(config.Key.Public(), &claims); err != nil {
				t.Fatal(err)
			}
			err = claims.Validate(jwt.Expected{Issuer: "bank", Subject: "bank", AnyAudience: jwt.Audience{server.URL}, Time: time.Now()})
			if err != nil || claims.ID == "" || seen[claims.ID] || token.Headers[0].KeyID != "k1" {
				t.Errorf("%s: %v, %+v", alg, err, claims)
			}
			seen[claims.ID] = true
		}
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.New(client.Config{URL: server.URL, Key: p384}); err == nil {
		t.Error("a key that Countersign does not take")
	}
}

// What it says of a refusal is Countersign's code, or that there was none.
func TestRefusals(t *testing.T) {
	problem := map[string]string{"code": "too_many_attempts", "title": "There were too many tries", "request_id": "9f86d081884c7d65"}
	server := stand(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
		_ = json.NewEncoder(w).Encode(problem)
	})
	refused := func() *client.Error {
		e, _ := errors.AsType[*client.Error](dial(t, client.Config{URL: server.URL, ID: "a", Secret: "b"}).RemoveAccount(t.Context(), "u-17"))
		return e
	}
	e := refused()
	if e == nil || e.Status != 429 || e.Code != "too_many_attempts" || e.RetryAfter != time.Minute || e.Title != problem["title"] || e.RequestID != problem["request_id"] {
		t.Fatalf("%+v", e)
	}
	if want := "countersign: too_many_attempts: There were too many tries (request 9f86d081884c7d65)"; e.Error() != want {
		t.Errorf("%q, want %q", e, want)
	}
	problem["detail"] = "Of codes."
	if want := "countersign: too_many_attempts: Of codes. (request 9f86d081884c7d65)"; refused().Error() != want {
		t.Errorf("%q, want %q", refused(), want)
	}
	server.Close()
	if _, err := dial(t, client.Config{URL: server.URL}).Session(context.Background(), "css_x"); codeOf(err) != "unreachable" {
		t.Errorf("nobody there: %v", err)
	}
	for _, url := range []string{"", "id.example.org", "ftp://id.example.org"} {
		if _, err := client.New(client.Config{URL: url}); err == nil {
			t.Errorf("%q was taken", url)
		}
	}
}

// The headers of the proxy say who it is; without them it is nobody.
func TestWhoTheProxySaysItIs(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if _, ok := client.UserOf(r); ok {
		t.Error("nobody is somebody")
	}
	r.Header.Set("Remote-User", "a1")
	r.Header.Set("Remote-Groups", "admins,staff")
	if u, ok := client.UserOf(r); !ok || u.ID != "a1" || len(u.Groups) != 2 {
		t.Errorf("%+v", u)
	}
}
