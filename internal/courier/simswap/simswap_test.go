package simswap_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/courier/simswap"
	"countersign/internal/platform/secret"
	"countersign/internal/testkit/dbtest"
)

const number = "+4915112345678"

// operator is a mobile operator's API.
type operator struct {
	t *testing.T

	mu     sync.Mutex
	status int
	answer string
	hangs  chan struct{}
	stuck  chan struct{} // the token endpoint hangs
	asked  []string      // path and body
	tokens int
}

func (o *operator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	if r.URL.Path == "/token" && o.stuck != nil {
		o.mu.Unlock()
		<-o.stuck
		return
	}
	status, answer, hangs := o.status, o.answer, o.hangs
	o.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/token" {
		o.mu.Lock()
		o.tokens++
		o.mu.Unlock()
		if id, secret, _ := r.BasicAuth(); id != "countersign" || secret != "geheim" || r.FormValue("scope") != "sim-swap:check" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error": "invalid_client", "error_description": "geheim"}`)
			return
		}
		_, _ = io.WriteString(w, `{"access_token": "ein-token", "token_type": "Bearer", "expires_in": 3600}`)
		return
	}
	body, _ := io.ReadAll(r.Body)
	o.mu.Lock()
	o.asked = append(o.asked, r.Method+" "+r.URL.Path+" "+string(body))
	o.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer ein-token" || r.Header.Get("Content-Type") != "application/json" {
		o.t.Errorf("%v", r.Header)
	}
	if hangs != nil {
		<-hangs
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer)
}

func (o *operator) says(status int, answer string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status, o.answer, o.asked = status, answer, nil
}

func (o *operator) was() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

// checker asks an operator; log is what it writes.
func checker(t *testing.T, change func(*simswap.Config)) (s *simswap.Checker, o *operator, clock *dbtest.Clock, log *bytes.Buffer) {
	t.Helper()
	o, clock, log = &operator{t: t}, dbtest.NewClock(), &bytes.Buffer{}
	srv := httptest.NewServer(o)
	t.Cleanup(srv.Close)
	c := simswap.Config{
		URL: srv.URL + "/sim-swap/v2/", TokenURL: srv.URL + "/token", ClientID: "countersign", ClientSecret: secret.Of("geheim"),
		Scope: "sim-swap:check", Within: 72 * time.Hour, Now: clock.Now, Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	change(&c)
	s, err := simswap.New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, o, clock, log
}

func TestTheOperatorsAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		byDate bool
		status int
		answer string
		want   simswap.Verdict
	}{
		"swapped":          {false, 200, `{"swapped": true}`, simswap.Swapped},
		"not swapped":      {false, 200, `{"swapped": false}`, simswap.Unchanged},
		"says nothing":     {false, 200, `{}`, simswap.Unknown},
		"no JSON":          {false, 200, `<html>`, simswap.Unknown},
		"not theirs":       {false, 404, `{"status": 404, "code": "IDENTIFIER_NOT_FOUND", "message": "+4915112345678"}`, simswap.NotCovered},
		"not applicable":   {false, 422, `{"status": 422, "code": "SERVICE_NOT_APPLICABLE", "message": "+4915112345678"}`, simswap.NotCovered},
		"too long":         {false, 400, `{"status": 400, "code": "OUT_OF_RANGE", "message": "+4915112345678"}`, simswap.Unknown},
		"refused":          {false, 403, `{"status": 403, "code": "+4915112345678"}`, simswap.Unknown},
		"elsewhere":        {false, 307, ``, simswap.Unknown},
		"broken":           {false, 503, ``, simswap.Unknown},
		"changed lately":   {true, 200, `{"latestSimChange": "2026-11-21T12:00:00Z"}`, simswap.Swapped},
		"changed long ago": {true, 200, `{"latestSimChange": "2026-11-01T14:27:08.312+02:00"}`, simswap.Unchanged},
		"never changed":    {true, 200, `{"latestSimChange": null, "monitoredPeriod": 120}`, simswap.Unchanged},
		"an odd date":      {true, 200, `{"latestSimChange": "yesterday"}`, simswap.Unknown},
	} {
		s, o, clock, log := checker(t, func(c *simswap.Config) {
			c.ByDate = c.ByDate || strings.Contains(name, "chang") || name == "an odd date"
		})
		if c.byDate {
			c.answer = strings.Replace(c.answer, "2026-11-21T12:00:00Z", clock.Now().Add(-71*time.Hour).UTC().Format(time.RFC3339), 1)
			c.answer = strings.Replace(c.answer, "2026-11-01T14:27:08.312+02:00", clock.Now().Add(-73*time.Hour).UTC().Format(time.RFC3339), 1)
		}
		o.says(c.status, c.answer)
		if got := s.Of(t.Context(), number); got != c.want {
			t.Errorf("%s: %s, want %s\n%s", name, got, c.want, log)
		}
		if strings.Contains(log.String(), "15112345678") || strings.Contains(log.String(), "geheim") || strings.Contains(log.String(), "token=") {
			t.Errorf("%s: the log tells: %s", name, log)
		}
		if (c.want == simswap.Unknown) != (log.Len() > 0) {
			t.Errorf("%s: %q in the log", name, log)
		}
	}
}

// What goes over the wire is as the API's description has it.
func TestTheQuestion(t *testing.T) {
	golden, err := os.ReadFile("testdata/questions.golden")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, byDate := range []bool{false, true} {
		s, o, _, _ := checker(t, func(c *simswap.Config) { c.ByDate = byDate })
		o.says(200, `{"swapped": false}`)
		s.Of(t.Context(), number)
		got.WriteString(strings.Join(o.was(), "\n") + "\n")
	}
	if got.String() != string(golden) {
		t.Errorf("got:\n%swant:\n%s", got.String(), golden)
	}
}

func TestVerdictsAreKept(t *testing.T) {
	s, o, clock, _ := checker(t, func(*simswap.Config) {})
	asks := func(want int, verdict simswap.Verdict) {
		t.Helper()
		if v := s.Of(t.Context(), number); v != verdict || len(o.was()) != want {
			t.Errorf("%s after %d questions, want %s after %d", v, len(o.was()), verdict, want)
		}
	}
	o.says(200, `{"swapped": false}`)
	asks(1, simswap.Unchanged)
	asks(1, simswap.Unchanged)
	clock.Advance(10 * time.Minute)
	asks(2, simswap.Unchanged)
	clock.Advance(10 * time.Minute)
	o.says(200, `{"swapped": true}`)
	asks(1, simswap.Swapped)
	o.says(200, `{"swapped": false}`)
	clock.Advance(59 * time.Minute)
	asks(0, simswap.Swapped)
	clock.Advance(time.Minute)
	asks(1, simswap.Unchanged)
	if o.tokens != 1 {
		t.Errorf("%d tokens", o.tokens)
	}
}

// An operator that does not answer keeps no code waiting long, and soon none at all.
func TestAnOperatorThatHangs(t *testing.T) {
	s, o, clock, _ := checker(t, func(*simswap.Config) {})
	o.says(503, ``)
	for range 5 {
		if v := s.Of(t.Context(), number); v != simswap.Unknown {
			t.Error(v)
		}
	}
	if v := s.Of(t.Context(), number); v != simswap.Unknown || len(o.was()) != 5 {
		t.Errorf("%s after %d questions", v, len(o.was()))
	}
	clock.Advance(30 * time.Second)
	o.says(200, `{"swapped": true}`)
	if v := s.Of(t.Context(), number); v != simswap.Swapped {
		t.Error("it is not asked again")
	}
	o.mu.Lock()
	o.hangs = make(chan struct{})
	o.mu.Unlock()
	began := time.Now()
	if v := s.Of(t.Context(), "+4915112345679"); v != simswap.Unknown {
		t.Error(v)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	close(o.hangs)
}

// Nor does the endpoint of its tokens.
func TestATokenEndpointThatHangs(t *testing.T) {
	s, o, _, _ := checker(t, func(*simswap.Config) {})
	o.stuck = make(chan struct{})
	defer close(o.stuck)
	began := time.Now()
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if v := s.Of(t.Context(), fmt.Sprintf("+49151123456%02d", i)); v != simswap.Unknown {
				t.Error(v)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestOtherNumbersAreNotAskedAbout(t *testing.T) {
	s, o, _, _ := checker(t, func(c *simswap.Config) { c.Numbers = []string{"+34", "+4917"} })
	o.says(200, `{"swapped": true}`)
	if v := s.Of(t.Context(), number); v != simswap.NotCovered || len(o.was()) != 0 {
		t.Errorf("%s after %d questions", v, len(o.was()))
	}
	if v := s.Of(t.Context(), "+491791234567"); v != simswap.Swapped {
		t.Error(v)
	}
}

func TestAWrongSecretIsSaidWithoutIt(t *testing.T) {
	s, o, _, log := checker(t, func(c *simswap.Config) { c.ClientSecret = secret.Of("falsch") })
	if v := s.Of(t.Context(), number); v != simswap.Unknown || len(o.was()) != 0 {
		t.Error(v)
	}
	if !strings.Contains(log.String(), "no token: invalid_client") || strings.Contains(log.String(), "geheim") || strings.Contains(log.String(), "falsch") {
		t.Errorf("%s", log)
	}
}

func TestManyAtOnce(t *testing.T) {
	s, o, _, _ := checker(t, func(*simswap.Config) {})
	o.says(200, `{"swapped": false}`)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if v := s.Of(t.Context(), number); v != simswap.Unchanged {
				t.Error(v)
			}
		})
	}
	all.Wait()
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	whole := simswap.Config{
		URL: "https://a.example", TokenURL: "https://b.example", ClientID: "c", ClientSecret: secret.Of("d"), Within: time.Hour, Now: time.Now, Log: slog.Default(),
	}
	for _, change := range []func(*simswap.Config){
		func(c *simswap.Config) { c.URL = "" }, func(c *simswap.Config) { c.ClientSecret = secret.Token{} },
		func(c *simswap.Config) { c.Within = time.Minute }, func(c *simswap.Config) { c.Within = 2401 * time.Hour },
	} {
		c := whole
		change(&c)
		if _, err := simswap.New(c, nil); err == nil {
			text, _ := json.Marshal(c.URL)
			t.Errorf("accepted: %s %s", text, c.Within)
		}
	}
	if _, err := simswap.New(whole, nil); err != nil {
		t.Error(err)
	}
}
