package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/couriertest"
	"countersign/internal/courier/webhook"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
)

// first is the secret of the Standard Webhooks test vectors.
const first = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var second = "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))

func config(url string) webhook.Config {
	return webhook.Config{URL: url, Secrets: []secret.Token{secret.Of(first), secret.Of(second)}, Now: time.Now}
}

// verify is a receiver's check, written from the specification.
func verify(r *http.Request, body []byte, whsec string) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(whsec, "whsec_"))
	if err != nil {
		return err
	}
	stamp, err := strconv.ParseInt(r.Header.Get("webhook-timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(stamp, 0)).Abs() > 5*time.Minute {
		return fmt.Errorf("timestamp %d: %w", stamp, err)
	}
	m := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(m, "%s.%d.%s", r.Header.Get("webhook-id"), stamp, body)
	for _, s := range strings.Fields(r.Header.Get("webhook-signature")) {
		if s == "v1,"+base64.StdEncoding.EncodeToString(m.Sum(nil)) {
			return nil
		}
	}
	return errors.New("no signature fits")
}

func read(r *http.Request, body []byte) (courier.Message, error) {
	for _, s := range []string{first, second} { // both sign while one is being replaced
		if err := verify(r, body, s); err != nil {
			return courier.Message{}, err
		}
	}
	var e struct {
		Type      string
		Timestamp time.Time
		Data      struct{ ID, Channel, To, From, Subject, Text, HTML string }
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return courier.Message{}, err
	}
	d := e.Data
	if e.Type != "letter.send" || e.Timestamp.IsZero() || d.ID != r.Header.Get("webhook-id") || r.Header.Get("Content-Type") != "application/json" || r.Method != http.MethodPost {
		return courier.Message{}, fmt.Errorf("malformed: %s", body)
	}
	return courier.Message{ID: d.ID, Channel: message.Channel(d.Channel), To: d.To, From: d.From, Subject: d.Subject, Text: d.Text, HTML: d.HTML}, nil
}

func answer(w http.ResponseWriter, mood couriertest.Mood, m courier.Message) {
	switch mood {
	case couriertest.RefuseForGood:
		http.Error(w, "cannot send "+m.Text+" to "+m.To, http.StatusUnprocessableEntity) //nolint:forbidigo // not ours: the receiver
	case couriertest.RefuseForNow:
		http.Error(w, "not now, "+m.To, http.StatusServiceUnavailable) //nolint:forbidigo // as above
	default:
		_, _ = w.Write([]byte(`{"id": "theirs-1"}`))
	}
}

func TestWebhookIsAProvider(t *testing.T) {
	for _, ch := range []message.Channel{message.Email, message.SMS} {
		t.Run(string(ch), func(t *testing.T) {
			couriertest.Run(t, func(t *testing.T) couriertest.Bench {
				far := &couriertest.Far{Read: read, Answer: answer}
				far.Serve(t)
				c := config(far.URL + "/letters?key=hidden")
				c.Roots = far.Roots
				p, err := webhook.New(c)
				if err != nil {
					t.Fatal(err)
				}
				gone, err := webhook.New(config("https://" + couriertest.Nowhere(t)))
				if err != nil {
					t.Fatal(err)
				}
				return couriertest.Bench{Provider: p, Channel: ch, Set: far.Set, Got: far.Got, Gone: gone, Secrets: []string{first, second}}
			})
		})
	}
}

func TestPlainHTTPIsForThisMachineOnly(t *testing.T) {
	taken := 0
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { taken++ }))
	t.Cleanup(srv.Close)
	p, err := webhook.New(config(srv.URL))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Send(t.Context(), courier.Message{ID: "1"}); err != nil || taken != 1 {
		t.Errorf("to this machine: %v, taken %d", err, taken)
	}
	for _, other := range []string{"http://192.0.2.1/x", "http://sms.example.org", "http://localhost.example.org", "http://[2001:db8::1]/"} {
		if _, err = webhook.New(config(other)); err == nil || !strings.Contains(err.Error(), "this machine only") {
			t.Errorf("to %s: %v", other, err)
		}
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	followed := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
	t.Cleanup(elsewhere.Close)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(srv.Close)
	p, err := webhook.New(config(srv.URL))
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Send(t.Context(), courier.Message{ID: "1", To: "+4930"})
	if e, ok := errors.AsType[*courier.Error](err); !ok || e.Permanent || e.Code != "webhook_http_307" || followed {
		t.Errorf("%v, followed %v", err, followed)
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	good := config("https://receiver.example")
	for name, change := range map[string]func(*webhook.Config){
		"scheme":     func(c *webhook.Config) { c.URL = "ftp://x" },
		"no address": func(c *webhook.Config) { c.URL = "" },
		"no secret":  func(c *webhook.Config) { c.Secrets = nil },
		"short secret": func(c *webhook.Config) {
			c.Secrets = []secret.Token{secret.Of("whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 16)))}
		},
		"no prefix": func(c *webhook.Config) { c.Secrets = []secret.Token{secret.Of(strings.TrimPrefix(first, "whsec_"))} },
		"no clock":  func(c *webhook.Config) { c.Now = nil },
	} {
		c := good
		change(&c)
		if _, err := webhook.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestReports(t *testing.T) {
	p, err := webhook.New(config("https://gateway.example"))
	if err != nil {
		t.Fatal(err)
	}
	report := func(whsec, id string, at time.Time, body string) courier.Arrived {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(whsec, "whsec_"))
		if err != nil {
			t.Fatal(err)
		}
		stamp := strconv.FormatInt(at.Unix(), 10)
		m := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(m, "%s.%s.%s", id, stamp, body)
		return courier.Arrived{Query: nil, Body: []byte(body), Header: http.Header{
			"Webhook-Id": {id}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)) + " v1a,none"},
		}}
	}
	good := `{"type":"letter.report","data":{"id":"0189-0001","state":"not_delivered","code":"absent"}}`
	want := courier.Report{Provider: "webhook", Letter: "0189-0001", State: courier.NotDelivered, Code: "absent"}
	for _, key := range []string{first, second} {
		couriertest.Reports(t, p, report(key, "msg_1", time.Now(), good), want)
		couriertest.Signed(t, p, report(key, "msg_1", time.Now(), good))
	}
	for what, a := range map[string]courier.Arrived{
		"a strange key":   report("whsec_"+base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))), "msg_1", time.Now(), good),
		"six minutes old": report(first, "msg_1", time.Now().Add(-6*time.Minute), good), "six minutes early": report(first, "msg_1", time.Now().Add(6*time.Minute), good),
		"another event": report(first, "msg_1", time.Now(), strings.Replace(good, "report", "send", 1)), "another state": report(first, "msg_1", time.Now(), strings.Replace(good, "not_", "un", 1)),
	} {
		if _, err := p.Receive(a); !errors.Is(err, courier.ErrForged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
