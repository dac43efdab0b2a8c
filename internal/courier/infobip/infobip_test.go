package infobip_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/couriertest"
	"countersign/internal/courier/infobip"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
)

func now() time.Time { return time.Unix(1767225600, 0) }

func config(base string) infobip.Config {
	return infobip.Config{Base: base, Key: secret.Of("key-1"), Now: now}
}

// body is a request as the OpenAPI description has it; what is not here, nobody sends.
type body struct {
	Messages []struct {
		Sender       string `json:"sender"`
		Destinations []struct {
			To        string `json:"to"`
			MessageID string `json:"messageId"`
		} `json:"destinations"`
		Content struct {
			Text string `json:"text"`
		} `json:"content"`
		Options *struct {
			ValidityPeriod struct {
				Amount   int    `json:"amount"`
				TimeUnit string `json:"timeUnit"`
			} `json:"validityPeriod"`
		} `json:"options"`
		Webhooks *struct {
			Delivery struct {
				URL string `json:"url"`
			} `json:"delivery"`
			ContentType string `json:"contentType"`
		} `json:"webhooks"`
	} `json:"messages"`
}

func decode(r *http.Request, raw []byte) (b body, err error) {
	if r.Header.Get("Authorization") != "App key-1" || r.Header.Get("Content-Type") != "application/json" {
		return b, errors.New("not authenticated, or not JSON")
	}
	if r.Method != http.MethodPost || r.URL.RequestURI() != "/sms/3/messages" {
		return b, fmt.Errorf("%s %s", r.Method, r.URL)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return b, err
	}
	if len(b.Messages) != 1 || len(b.Messages[0].Destinations) != 1 {
		return b, errors.New("not one message")
	}
	return b, nil
}

func read(r *http.Request, raw []byte) (courier.Message, error) {
	b, err := decode(r, raw)
	if err != nil {
		return courier.Message{}, err
	}
	m := b.Messages[0]
	if strings.Trim(m.Sender, "0123456789") == "" {
		m.Sender = "+" + m.Sender
	}
	return courier.Message{ID: m.Destinations[0].MessageID, Channel: message.SMS, To: "+" + m.Destinations[0].To, From: m.Sender, Text: m.Content.Text}, nil
}

func says(w http.ResponseWriter, m courier.Message, group int, name string) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"bulkId": "2034072219640523072", "messages": []any{map[string]any{
		"messageId": m.ID, "destination": m.To[1:], "status": map[string]any{"groupId": group, "groupName": "G", "id": 26, "name": name, "description": "Message to " + m.To + ": " + m.Text},
	}}})
}

func answer(w http.ResponseWriter, mood couriertest.Mood, m courier.Message) {
	switch mood {
	case couriertest.RefuseForGood:
		says(w, m, 5, "REJECTED_PREFIX_MISSING")
	case couriertest.RefuseForNow:
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		_ = json.NewEncoder(w).Encode(map[string]any{"errorCode": "E429", "description": "Too many requests to " + m.To, "action": "Wait.", "violations": []any{}, "resources": []any{}})
	default:
		says(w, m, 1, "PENDING_ACCEPTED")
	}
}

func open(t *testing.T) (*couriertest.Far, *infobip.Provider) {
	t.Helper()
	far := &couriertest.Far{Read: read, Answer: answer}
	far.Serve(t)
	c := config(far.URL)
	c.Roots = far.Roots
	p, err := infobip.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return far, p
}

func TestInfobipIsAProvider(t *testing.T) {
	couriertest.Run(t, func(t *testing.T) couriertest.Bench {
		far, p := open(t)
		gone, err := infobip.New(config("https://" + couriertest.Nowhere(t)))
		if err != nil {
			t.Fatal(err)
		}
		return couriertest.Bench{Provider: p, Channel: message.SMS, Set: far.Set, Got: far.Got, Gone: gone, Secrets: []string{"key-1"}}
	})
}

func TestTheWire(t *testing.T) {
	far, p := open(t)
	couriertest.Golden(t, far, p, "request.golden")
	c := config(far.URL)
	c.Roots, c.Reports = far.Roots, "https://id.example.org/hooks/sms/infobip"
	p, err := infobip.New(c)
	if err != nil {
		t.Fatal(err)
	}
	couriertest.Golden(t, far, p, "reported.golden")
}

var small = courier.Message{ID: "1", To: "+4915112345678", From: "Example", Text: "482913"}

func TestStatusesAreClassed(t *testing.T) {
	far, p := open(t)
	for name, want := range map[string]struct {
		group               int
		code                string
		permanent, notTaken bool
	}{
		"REJECTED_DESTINATION":          {5, "infobip_rejected_destination", true, true},
		"REJECTED_NOT_ENOUGH_CREDITS":   {5, "infobip_rejected_not_enough_credits", false, true},
		"REJECTED_SENDER":               {5, "infobip_rejected_sender", false, true},
		"UNDELIVERABLE_NOT_DELIVERED":   {2, "infobip_undeliverable_not_delivered", true, true},
		"REJECTED for +4915112345678":   {5, "infobip_", false, true},
		"SOMETHING_NEW":                 {9, "infobip_answer_unclear", false, false},
		"REJECTED_DUPLICATE_MESSAGE_ID": {5, "", false, false}, // the try before went
		"MESSAGE_ACCEPTED":              {0, "", false, false},
	} {
		far.Answer = func(w http.ResponseWriter, _ couriertest.Mood, m courier.Message) { says(w, m, want.group, name) }
		rec, err := p.Send(t.Context(), small)
		e, ok := errors.AsType[*courier.Error](err)
		if want.code == "" {
			if err != nil || rec.ID != "1" {
				t.Errorf("%s: %+v %v", name, rec, err)
			}
			continue
		}
		if !ok || e.Permanent != want.permanent || e.NotTaken != want.notTaken || e.Code != want.code {
			t.Errorf("%s: %+v", name, err)
		}
	}
	far.Answer = func(w http.ResponseWriter, _ couriertest.Mood, m courier.Message) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"errorCode":"E401","description":"` + m.To + `"}`))
	}
	if _, err := p.Send(t.Context(), small); err == nil || err.Error() != "infobip_http_401_E401" {
		t.Error(err)
	}
	far.Answer = func(w http.ResponseWriter, _ couriertest.Mood, _ courier.Message) {
		_, _ = w.Write([]byte(`{"messages":[]}`))
	}
	if _, err := p.Send(t.Context(), small); err == nil || err.Error() != "infobip_answer_unclear" {
		t.Error(err)
	}
}

func TestACodeThatHasExpiredIsNotDelivered(t *testing.T) {
	far, p := open(t)
	for left, want := range map[time.Duration]int{10 * time.Minute: 10, 90 * time.Second: 1, -time.Minute: 1} {
		far.Read = func(r *http.Request, raw []byte) (courier.Message, error) {
			b, err := decode(r, raw)
			if err == nil && (b.Messages[0].Options == nil || b.Messages[0].Options.ValidityPeriod.Amount != want || b.Messages[0].Options.ValidityPeriod.TimeUnit != "MINUTES") {
				err = fmt.Errorf("%s left: %s", left, raw)
			}
			return small, err
		}
		m := small
		m.Expires = now().Add(left)
		if _, err := p.Send(t.Context(), m); err != nil {
			t.Error(err)
		}
	}
}

func TestTheKeyIsTried(t *testing.T) {
	far, p := open(t)
	status := 200
	far.Read = func(r *http.Request, _ []byte) (courier.Message, error) {
		if r.Method != http.MethodGet || r.URL.Path != "/account/1/balance" || r.Header.Get("Authorization") != "App key-1" {
			return courier.Message{}, fmt.Errorf("%s %s", r.Method, r.URL)
		}
		return courier.Message{}, nil
	}
	far.Answer = func(w http.ResponseWriter, _ couriertest.Mood, _ courier.Message) { w.WriteHeader(status) }
	if err := p.Check(t.Context()); err != nil {
		t.Error(err)
	}
	status = 401
	if err := p.Check(t.Context()); err == nil || err.Error() != "infobip_http_401" {
		t.Error(err)
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	for _, c := range []infobip.Config{{}, {Base: "https://x", Now: now}, {Base: "https://x", Key: secret.Of("k")}, config("ftp://x"), config("https://u:p@x")} {
		if _, err := infobip.New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

func TestReports(t *testing.T) {
	far, _ := open(t)
	c := config(far.URL)
	c.Roots, c.Reports = far.Roots, "https://id.example.org/hooks/sms/infobip"
	p, err := infobip.New(c)
	if err != nil {
		t.Fatal(err)
	}
	asked := ""
	far.Read = func(r *http.Request, raw []byte) (courier.Message, error) {
		b, err := decode(r, raw)
		if err == nil {
			asked = b.Messages[0].Webhooks.Delivery.URL
		}
		return small, err
	}
	if _, err := p.Send(t.Context(), small); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(asked)
	if err != nil || !strings.HasPrefix(asked, c.Reports+"?") {
		t.Fatal(asked)
	}
	report := func(letter string, group int, name, failure string) courier.Arrived {
		return courier.Arrived{Header: http.Header{"Content-Type": {"application/json"}}, Query: u.Query(), Body: fmt.Appendf(nil,
			`{"results":[{"bulkId":"B","messageId":%q,"to":"4915112345678","sentAt":"2026-01-01T16:00:00.000+0000","doneAt":"2026-01-01T16:00:03.000+0000","smsCount":1,"price":{"pricePerMessage":0.01,"currency":"EUR"},`+
				`"status":{"groupId":%d,"groupName":"G","id":5,"name":%q,"description":"d"},"error":{"groupId":0,"groupName":"Ok","id":0,"name":%q,"description":"d","permanent":false}}]}`, letter, group, name, failure)}
	}
	want := courier.Report{Provider: "infobip", Letter: "1", State: courier.Delivered, Code: "NO_ERROR", To: "+4915112345678", Country: "DE"}
	couriertest.Reports(t, p, report("1", 3, "DELIVERED_TO_HANDSET", "NO_ERROR"), want, "Content-Type")
	if got, err := p.Receive(report("2", 3, "DELIVERED_TO_HANDSET", "NO_ERROR")); err != nil || len(got) != 0 {
		t.Errorf("another letter's: %+v %v", got, err)
	}
	for name, c := range map[string]struct {
		group int
		state courier.State
	}{
		"PENDING_ENROUTE": {1, courier.Underway}, "UNDELIVERABLE_NOT_DELIVERED": {2, courier.NotDelivered}, "EXPIRED_EXPIRED": {4, courier.NotDelivered},
		"EXPIRED_DLR_UNKNOWN": {4, courier.Unclear}, "REJECTED_NETWORK": {5, courier.NotDelivered}, "NEW": {9, courier.Unclear},
	} {
		if got, err := p.Receive(report("1", c.group, name, "EC_ABSENT_SUBSCRIBER")); err != nil || got[0].State != c.state || got[0].Code != "EC_ABSENT_SUBSCRIBER" {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}
