package twilio_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"testing"

	"countersign/internal/courier"
	"countersign/internal/courier/couriertest"
	"countersign/internal/courier/twilio"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
)

const account = "AC00000000000000000000000000000001"

func config(base string) twilio.Config {
	return twilio.Config{AccountSID: account, User: "SK01", Password: secret.Of("pa:ss"), Base: base}
}

// read checks the form of the request as the Messages API takes it.
func read(r *http.Request, body []byte) (courier.Message, error) {
	user, pass, ok := r.BasicAuth()
	if !ok || user != "SK01" || pass != "pa:ss" {
		return courier.Message{}, errors.New("not authenticated")
	}
	if r.Method != http.MethodPost || r.URL.Path != "/2010-04-01/Accounts/"+account+"/Messages.json" || r.URL.RawQuery != "" {
		return courier.Message{}, fmt.Errorf("%s %s", r.Method, r.URL)
	}
	if r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		return courier.Message{}, errors.New("not a form")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return courier.Message{}, err
	}
	for name, v := range form {
		if len(v) != 1 || !strings.Contains(" To From MessagingServiceSid Body StatusCallback ", " "+name+" ") {
			return courier.Message{}, fmt.Errorf("field %s: %d values", name, len(v))
		}
	}
	return courier.Message{
		ID: r.Header.Get("I-Twilio-Idempotency-Token"), Channel: message.SMS,
		To: form.Get("To"), From: form.Get("From") + form.Get("MessagingServiceSid"), Text: form.Get("Body"),
	}, nil
}

func answer(w http.ResponseWriter, mood couriertest.Mood, m courier.Message) {
	w.Header().Set("Content-Type", "application/json")
	switch mood {
	case couriertest.RefuseForGood:
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"code": 21211, "status": 400, "message": "The 'To' number " + m.To + " is not a valid phone number. " + m.Text, "more_info": "https://www.twilio.com/docs/errors/21211"})
	case couriertest.RefuseForNow:
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		_ = json.NewEncoder(w).Encode(map[string]any{"code": 20429, "status": 429, "message": "Too many requests to " + m.To})
	default:
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{"sid": "SM123", "status": "queued", "to": m.To, "error_code": nil})
	}
}

func open(t *testing.T) (*couriertest.Far, *twilio.Provider) {
	t.Helper()
	far := &couriertest.Far{Read: read, Answer: answer}
	far.Serve(t)
	c := config(far.URL)
	c.Roots = far.Roots
	p, err := twilio.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return far, p
}

func TestTwilioIsAProvider(t *testing.T) {
	couriertest.Run(t, func(t *testing.T) couriertest.Bench {
		far, p := open(t)
		gone, err := twilio.New(config("https://" + couriertest.Nowhere(t)))
		if err != nil {
			t.Fatal(err)
		}
		return couriertest.Bench{Provider: p, Channel: message.SMS, Set: far.Set, Got: far.Got, Gone: gone, Secrets: []string{"pa:ss"}}
	})
}

func TestAMessagingServiceIsNamedAsOne(t *testing.T) {
	far, p := open(t)
	service := "MG0123456789abcdef0123456789abcdef"
	far.Read = func(r *http.Request, body []byte) (courier.Message, error) {
		if form, _ := url.ParseQuery(string(body)); form.Get("MessagingServiceSid") != service || form.Has("From") {
			t.Errorf("%v", form)
		}
		return read(r, body)
	}
	if _, err := p.Send(t.Context(), courier.Message{ID: "1", To: "+49", From: service, Text: "x"}); err != nil {
		t.Fatal(err)
	}
}

func TestStatusesAreClassed(t *testing.T) {
	far, p := open(t)
	for status, want := range map[int]struct {
		permanent bool
		code      string
	}{
		400: {true, "twilio_http_400_21610"}, 401: {false, "twilio_http_401_21610"}, 403: {false, "twilio_http_403_21610"},
		404: {false, "twilio_http_404_21610"}, 422: {true, "twilio_http_422_21610"}, 429: {false, "twilio_http_429_21610"},
		302: {false, "twilio_http_302_21610"}, 500: {false, "twilio_http_500_21610"}, 503: {false, "twilio_http_503_21610"},
	} {
		far.Answer = func(w http.ResponseWriter, _ couriertest.Mood, _ courier.Message) {
			w.Header().Set("Retry-After", "9")
			w.Header().Set("Location", far.URL+"/elsewhere") // following it would fail in read
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"code": 21610, "message": "+49"}`))
		}
		_, err := p.Send(t.Context(), courier.Message{ID: "1", To: "+49", From: "+1", Text: "x"})
		e, ok := errors.AsType[*courier.Error](err)
		if !ok || e.Permanent != want.permanent || e.Code != want.code || e.After.Seconds() != 9 {
			t.Errorf("%d: %+v", status, err)
		}
	}
}

func TestACertificateNobodyVouchesForIsRefused(t *testing.T) {
	far, _ := open(t)
	p, err := twilio.New(config(far.URL)) // the system's roots
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Send(t.Context(), courier.Message{ID: "1", To: "+49", From: "+1", Text: "x"})
	if e, ok := errors.AsType[*courier.Error](err); !ok || e.Permanent || e.Code != "twilio_unreachable" || len(far.Got()) != 0 {
		t.Errorf("%v", err)
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	for _, c := range []twilio.Config{{}, {AccountSID: "a", User: "b"}, config("ftp://x"), config("https://u:p@x"), config("nowhere")} {
		if _, err := twilio.New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

func TestTheWire(t *testing.T) {
	far := &couriertest.Far{Read: read, Answer: answer}
	far.Serve(t)
	c := config(far.URL)
	c.Roots, c.Reports, c.Token = far.Roots, "https://id.example.org/hooks/sms/twilio", secret.Of("token")
	p, err := twilio.New(c)
	if err != nil {
		t.Fatal(err)
	}
	couriertest.Golden(t, far, p, "request.golden")
}

// callback is a status callback as Twilio sends and signs it, written from its documentation.
func callback(address, token string, form url.Values) courier.Arrived {
	var names []string
	for name := range form {
		names = append(names, name)
	}
	sort.Strings(names)
	text := address
	for _, name := range names {
		text += name + form.Get(name)
	}
	m := hmac.New(sha1.New, []byte(token))
	m.Write([]byte(text))
	u, _ := url.Parse(address)
	return courier.Arrived{Header: http.Header{"X-Twilio-Signature": {base64.StdEncoding.EncodeToString(m.Sum(nil))}}, Query: u.Query(), Body: []byte(form.Encode())}
}

// The signature of Twilio's own example (twilio.com/docs/usage/security), by the function that the tests sign with.
func TestTheExampleOfTheDocumentation(t *testing.T) {
	a := callback("https://mycompany.com/myapp.php?foo=1&bar=2", "12345", url.Values{
		"CallSid": {"CA1234567890ABCDE"}, "Caller": {"+14158675309"}, "Digits": {"1234"}, "From": {"+14158675309"}, "To": {"+18005551212"},
	})
	if got := a.Header.Get("X-Twilio-Signature"); got != "RSOYDt4T1cUTdK1PDd93/VVr8B8=" {
		t.Error(got)
	}
}

func TestReports(t *testing.T) {
	c := config("https://api.example")
	c.Reports, c.Token = "https://id.example.org/hooks/sms/twilio", secret.Of("token")
	p, err := twilio.New(c)
	if err != nil {
		t.Fatal(err)
	}
	address := c.Reports + "?letter=0189-0001"
	form := func(status string) url.Values {
		return url.Values{
			"AccountSid": {account}, "ApiVersion": {"2010-04-01"}, "From": {"+15005550006"}, "To": {"+4915112345678"}, "MessageSid": {"SM123"}, "SmsSid": {"SM123"}, "MessageStatus": {status}, "SmsStatus": {status}, "ErrorCode": {"30003"},
		}
	}
	want := courier.Report{Provider: "twilio", Letter: "0189-0001", ID: "SM123", State: courier.NotDelivered, Code: "30003", To: "+4915112345678", Country: "DE"}
	genuine := callback(address, "token", form("undelivered"))
	couriertest.Reports(t, p, genuine, want)
	couriertest.Signed(t, p, genuine)
	for status, state := range map[string]courier.State{"sent": courier.Underway, "delivered": courier.Delivered, "failed": courier.NotDelivered, "queued": courier.Underway} {
		if got, err := p.Receive(callback(address, "token", form(status))); err != nil || got[0].State != state {
			t.Errorf("%s: %+v %v", status, got, err)
		}
	}
	for what, a := range map[string]courier.Arrived{
		"another key": callback(address, "tokem", form("delivered")), "an empty key": callback(address, "", form("delivered")),
		"another host": callback("https://evil.example/hooks/sms/twilio?letter=0189-0001", "token", form("delivered")),
	} {
		if _, err := p.Receive(a); !errors.Is(err, courier.ErrForged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	c.Token = secret.Token{}
	if p, err = twilio.New(c); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Receive(callback(address, "", form("delivered"))); err == nil {
		t.Error("taken without a token")
	}
}
