package sns_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/couriertest"
	"countersign/internal/courier/sns"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
)

func now() time.Time { return time.Unix(1767225600, 0) } // 2026-01-01T00:00:00Z

func config(base string) sns.Config {
	return sns.Config{Region: "eu-central-1", Key: "AKID", Secret: secret.Of("pa:ss"), Base: base, Now: now}
}

func read(r *http.Request, body []byte) (courier.Message, error) {
	if err := couriertest.AmazonSigned(r, body, "eu-central-1/sns"); err != nil {
		return courier.Message{}, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || r.Method != http.MethodPost || r.URL.RequestURI() != "/" || form.Get("Action") != "Publish" || form.Get("Version") != "2010-03-31" {
		return courier.Message{}, fmt.Errorf("%s %s %w", r.Method, r.URL, err)
	}
	m := courier.Message{Channel: message.SMS, To: form.Get("PhoneNumber"), Text: form.Get("Message")}
	for i := 1; form.Has(fmt.Sprintf("MessageAttributes.entry.%d.Name", i)); i++ {
		at := fmt.Sprintf("MessageAttributes.entry.%d.", i)
		if form.Get(at+"Value.DataType") != "String" {
			return m, errors.New("not a string")
		}
		switch value := form.Get(at + "Value.StringValue"); form.Get(at + "Name") {
		case "AWS.MM.SMS.OriginationNumber", "AWS.SNS.SMS.SenderID":
			m.From = value
		case "AWS.SNS.SMS.SMSType":
			if value != "Transactional" {
				return m, errors.New(value)
			}
		default:
			return m, errors.New(form.Get(at + "Name"))
		}
	}
	return m, nil
}

func fault(w http.ResponseWriter, status int, code, words string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>9b9e3f5d</RequestId></ErrorResponse>`, code, words)
}

func answer(w http.ResponseWriter, mood couriertest.Mood, m courier.Message) {
	switch mood {
	case couriertest.RefuseForGood:
		fault(w, 400, "InvalidParameter", "Invalid parameter: PhoneNumber Reason: "+m.To+" is not valid to publish to")
	case couriertest.RefuseForNow:
		fault(w, 400, "Throttling", "Rate exceeded for "+m.To)
	default:
		_, _ = w.Write([]byte(`<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>94f20ce6-13c5-43a0-9a9e-ca52d816e90b</MessageId></PublishResult>` +
			`<ResponseMetadata><RequestId>f187a3c1-376f-11df-8963-01868b7c937a</RequestId></ResponseMetadata></PublishResponse>`))
	}
}

func open(t *testing.T) (*couriertest.Far, *sns.Provider) {
	t.Helper()
	far := &couriertest.Far{Read: read, Answer: answer}
	far.Serve(t)
	c := config(far.URL)
	c.Roots = far.Roots
	p, err := sns.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return far, p
}

func TestSNSIsAProvider(t *testing.T) {
	couriertest.Run(t, func(t *testing.T) couriertest.Bench {
		far, p := open(t)
		gone, err := sns.New(config("https://" + couriertest.Nowhere(t)))
		if err != nil {
			t.Fatal(err)
		}
		return couriertest.Bench{
			Provider: p, Channel: message.SMS, Set: far.Set, Got: far.Got, Gone: gone,
			Marks:   func(string) string { return "" }, // there is no room for any
			Secrets: []string{"pa:ss"},
		}
	})
}

// The golden body is what service/sns v1.39.11 of the SDK sends for the same message.
func TestTheWire(t *testing.T) {
	far, p := open(t)
	couriertest.Golden(t, far, p, "request.golden")
}

func TestSenders(t *testing.T) {
	far, p := open(t)
	for from, name := range map[string]string{"Example": "AWS.SNS.SMS.SenderID", "+15005550006": "AWS.MM.SMS.OriginationNumber", "12345": "AWS.MM.SMS.OriginationNumber", "": "AWS.SNS.SMS.SMSType"} {
		far.Read = func(r *http.Request, body []byte) (courier.Message, error) {
			if form, _ := url.ParseQuery(string(body)); form.Get("MessageAttributes.entry.1.Name") != name {
				t.Errorf("%q: %v", from, form)
			}
			return read(r, body)
		}
		if _, err := p.Send(t.Context(), courier.Message{To: "+4915112345678", From: from, Text: "x"}); err != nil {
			t.Error(err)
		}
	}
}

func TestCodesAreClassed(t *testing.T) {
	far, p := open(t)
	for code, want := range map[string]struct {
		status    int
		permanent bool
	}{
		"InvalidParameterValue": {400, true}, "OptedOut": {400, true}, "ThrottlingException": {400, false}, "RequestExpired": {400, false}, "Throttled": {429, false},
		"AuthorizationError": {403, false}, "SignatureDoesNotMatch": {403, false}, "InternalError": {500, false},
	} {
		far.Answer = func(w http.ResponseWriter, _ couriertest.Mood, m courier.Message) { fault(w, want.status, code, m.To) }
		_, err := p.Send(t.Context(), courier.Message{To: "+4915112345678", From: "Example", Text: "x"})
		e, ok := errors.AsType[*courier.Error](err)
		if !ok || e.Permanent != want.permanent || !e.NotTaken || e.Code != fmt.Sprintf("sns_http_%d_%s", want.status, code) {
			t.Errorf("%s: %+v", code, err)
		}
	}
}

func TestTheKeyIsTried(t *testing.T) {
	far, p := open(t)
	far.Read = func(r *http.Request, body []byte) (courier.Message, error) {
		if string(body) != "Action=GetSMSAttributes&Version=2010-03-31" {
			t.Errorf("%s", body)
		}
		return courier.Message{}, couriertest.AmazonSigned(r, body, "eu-central-1/sns")
	}
	for code, want := range map[string]string{"": "", "AuthorizationError": "", "InvalidClientTokenId": "sns_http_403_InvalidClientTokenId"} {
		far.Answer = func(w http.ResponseWriter, _ couriertest.Mood, _ courier.Message) {
			if code != "" {
				fault(w, 403, code, "no")
			}
		}
		if err := p.Check(t.Context()); err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	for _, c := range []sns.Config{{}, {Region: "a.example/?", Key: "a", Secret: secret.Of("b"), Now: now}, {Region: "eu-central-1", Key: "a", Now: now}, config("ftp://x")} {
		if _, err := sns.New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
