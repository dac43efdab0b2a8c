package ses_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/amazon"
	"countersign/internal/courier/couriertest"
	"countersign/internal/courier/ses"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
)

func now() time.Time { return time.Unix(1767225600, 0) } // 2026-01-01T00:00:00Z

func config(base string) ses.Config {
	return ses.Config{Region: "eu-central-1", Key: "AKID", Secret: secret.Of("pa:ss"), Set: "letters", Base: base, Now: now}
}

// wire is the body of SendEmail as its documentation has it.
type wire struct {
	ConfigurationSetName string
	Content              struct {
		Simple struct {
			Subject, Ignored struct{ Data, Charset string }
			Body             struct {
				Text struct{ Data, Charset string }
				HTML struct{ Data, Charset string } `json:"Html"`
			}
			Headers []struct{ Name, Value string }
		}
	}
	Destination      struct{ ToAddresses []string }
	EmailTags        []struct{ Name, Value string }
	FromEmailAddress string
}

func read(r *http.Request, body []byte) (courier.Message, error) {
	if err := couriertest.AmazonSigned(r, body, "eu-central-1/ses"); err != nil {
		return courier.Message{}, err
	}
	var got wire
	if err := json.Unmarshal(body, &got); err != nil || r.Method != http.MethodPost || r.URL.RequestURI() != "/v2/email/outbound-emails" || r.Header.Get("Content-Type") != "application/json" {
		return courier.Message{}, fmt.Errorf("%s %s: %w", r.Method, r.URL, err)
	}
	s := got.Content.Simple
	if got.ConfigurationSetName != "letters" || len(got.Destination.ToAddresses) != 1 || len(got.EmailTags) != 1 || got.EmailTags[0].Name != "letter" ||
		s.Subject.Charset != "UTF-8" || s.Body.Text.Charset != "UTF-8" || s.Body.HTML.Charset != "UTF-8" {
		return courier.Message{}, fmt.Errorf("%s", body)
	}
	headers := map[string]string{}
	for _, h := range s.Headers {
		headers[h.Name] = h.Value
	}
	if headers["Auto-Submitted"] != "auto-generated" || headers["X-Countersign-Letter"] != got.EmailTags[0].Value {
		return courier.Message{}, fmt.Errorf("headers %v", headers)
	}
	return courier.Message{
		ID: got.EmailTags[0].Value, Channel: message.Email, To: got.Destination.ToAddresses[0], From: got.FromEmailAddress,
		Subject: s.Subject.Data, Text: s.Body.Text.Data, HTML: s.Body.HTML.Data,
	}, nil
}

func fault(w http.ResponseWriter, status int, name, words string) {
	w.Header().Set("X-Amzn-Errortype", name+":http://internal.amazon.com/coral/com.amazon.email.v2/")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": words})
}

func answer(w http.ResponseWriter, mood couriertest.Mood, m courier.Message) {
	switch mood {
	case couriertest.RefuseForGood:
		fault(w, 400, "BadRequestException", "Missing final '@domain' in "+m.To)
	case couriertest.RefuseForNow:
		fault(w, 429, "TooManyRequestsException", "Maximum sending rate exceeded for "+m.To+m.Text)
	default:
		_, _ = w.Write([]byte(`{"MessageId": "EXAMPLE7c191be45-e9aedb9a-02f9-4d12-a87d-dd0099a07f8a-000000"}`))
	}
}

func open(t *testing.T) (*couriertest.Far, *ses.Provider) {
	t.Helper()
	far := &couriertest.Far{Read: read, Answer: answer}
	far.Serve(t)
	c := config(far.URL)
	c.Roots = far.Roots
	p, err := ses.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return far, p
}

func TestSESIsAProvider(t *testing.T) {
	couriertest.Run(t, func(t *testing.T) couriertest.Bench {
		far, p := open(t)
		gone, err := ses.New(config("https://" + couriertest.Nowhere(t)))
		if err != nil {
			t.Fatal(err)
		}
		return couriertest.Bench{Provider: p, Channel: message.Email, Set: far.Set, Got: far.Got, Gone: gone, Secrets: []string{"pa:ss"}}
	})
}

func TestTheWire(t *testing.T) {
	far, p := open(t)
	couriertest.GoldenLetter(t, far, p, message.Email, "request.golden")
}

func TestExceptionsAreClassed(t *testing.T) {
	far, p := open(t)
	for name, want := range map[string]struct {
		status    int
		permanent bool
	}{
		"BadRequestException": {400, true}, "MessageRejected": {400, false}, "AccountSuspendedException": {400, false}, "SendingPausedException": {400, false},
		"MailFromDomainNotVerifiedException": {400, false}, "LimitExceededException": {400, false}, "NotFoundException": {404, false}, "TooManyRequestsException": {429, false},
		"SignatureDoesNotMatch": {403, false}, "InternalServiceErrorException": {500, false},
	} {
		far.Answer = func(w http.ResponseWriter, _ couriertest.Mood, m courier.Message) { fault(w, want.status, name, m.To) }
		_, err := p.Send(t.Context(), letter("ada@example.org"))
		e, ok := errors.AsType[*courier.Error](err)
		if !ok || e.Permanent != want.permanent || !e.NotTaken || e.Code != fmt.Sprintf("ses_http_%d_%s", want.status, name) {
			t.Errorf("%s: %+v", name, err)
		}
	}
}

func letter(to string) courier.Message {
	return courier.Message{ID: id, To: to, From: "no-reply@example.org", Subject: "s", Text: "t", HTML: "h"}
}

func TestAddressesThatSESDoesNotKnow(t *testing.T) {
	far, p := open(t)
	for _, to := range []string{"größe@example.org", "a@example.org, b@example.org", "a b@example.org", "a@example.org\r\nBcc: b@example.org"} {
		_, err := p.Send(t.Context(), letter(to))
		if e, ok := errors.AsType[*courier.Error](err); !ok || !e.Permanent || len(far.Got()) > 0 {
			t.Errorf("%q: %v", to, err)
		}
	}
}

func TestTheKeyIsTried(t *testing.T) {
	far, p := open(t)
	far.Read = func(r *http.Request, body []byte) (courier.Message, error) {
		if r.Method != http.MethodGet || r.URL.RequestURI() != "/v2/email/account" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		return courier.Message{}, couriertest.AmazonSigned(r, body, "eu-central-1/ses")
	}
	for name, want := range map[string]string{"": "", "AccessDeniedException": "", "InvalidClientTokenId": "ses_http_403_InvalidClientTokenId"} {
		far.Answer = func(w http.ResponseWriter, _ couriertest.Mood, _ courier.Message) {
			if name != "" {
				fault(w, 403, name, "no")
			}
		}
		if err := p.Check(t.Context()); err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	for _, c := range []ses.Config{{}, {Region: "a.example/?", Key: "a", Secret: secret.Of("b"), Now: now}, {Region: "eu-central-1", Key: "a", Now: now}, config("ftp://x")} {
		if _, err := ses.New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

const (
	topic = "arn:aws:sns:eu-central-1:123456789012:countersign"
	id    = "0196f0c1-7a50-7c55-9e2f-3f0e7b6d1a10"
)

// mail is what events and notifications say of the letter, shortened from the examples of the documentation.
const mail = `"mail":{"timestamp":"2017-08-05T00:40:02.012Z","source":"Sender Name <sender@example.com>","sourceArn":"arn:aws:ses:us-east-1:123456789012:identity/sender@example.com",` +
	`"sendingAccountId":"123456789012","messageId":"EXAMPLE7c191be45-e9aedb9a-02f9-4d12-a87d-dd0099a07f8a-000000","destination":["recipient@example.com"],"headersTruncated":false,` +
	`"headers":[{"name":"From","value":"Sender Name <sender@example.com>"},{"name":"Subject","value":"482913"}%s],` +
	`"tags":{"ses:configuration-set":["letters"],"ses:from-domain":["example.com"]%s}}`

func TestEventsAndNotifications(t *testing.T) {
	far := couriertest.NewSNS(t, topic, now())
	c := config("https://api.example")
	var err error
	if c.Topic, err = amazon.NewTopic(topic, now, far.Client, far.Roots); err != nil {
		t.Fatal(err)
	}
	p, err := ses.New(c)
	if err != nil {
		t.Fatal(err)
	}
	tagged := fmt.Sprintf(mail, "", `,"letter":["`+id+`"]`)
	headed := fmt.Sprintf(mail, `,{"name":"x-countersign-letter","value":"`+id+`"}`, "")
	bounce := func(kind, sub, status string) string {
		return `"bounce":{"bounceType":"` + kind + `","bounceSubType":"` + sub + `","bouncedRecipients":[{"emailAddress":"recipient@example.com","action":"failed",` + status +
			`"diagnosticCode":"smtp; 550 5.1.1 user recipient@example.com unknown"}],"timestamp":"2017-08-05T00:41:02.669Z","feedbackId":"01000157c44f053b","reportingMTA":"dsn; mta.example.com"},`
	}
	report := func(state courier.State, code string) courier.Report {
		return courier.Report{Provider: "ses", Letter: id, State: state, Code: code}
	}
	for what, c := range map[string]struct {
		text string
		want courier.Report
	}{
		"a hard bounce":            {`{"eventType":"Bounce",` + bounce("Permanent", "General", `"status":"5.1.1",`) + tagged + `}`, report(courier.NotDelivered, "5.1.1")},
		"of an identity":           {`{"notificationType":"Bounce",` + bounce("Permanent", "General", `"status":"5.1.1",`) + headed + `}`, report(courier.NotDelivered, "5.1.1")},
		"a suppressed address":     {`{"eventType":"Bounce",` + bounce("Permanent", "OnAccountSuppressionList", "") + tagged + `}`, report(courier.NotDelivered, "bounce_Permanent_OnAccountSuppressionList")},
		"a full mailbox":           {`{"eventType":"Bounce",` + bounce("Transient", "MailboxFull", `"status":"4.2.2",`) + tagged + `}`, report(courier.NotDelivered, "4.2.2")},
		"perhaps an absence note":  {`{"eventType":"Bounce",` + bounce("Transient", "General", "") + tagged + `}`, report(courier.Unclear, "bounce_Transient_General")},
		"an undetermined one":      {`{"eventType":"Bounce",` + bounce("Undetermined", "Undetermined", "") + tagged + `}`, report(courier.Unclear, "bounce_Undetermined_Undetermined")},
		"a status of a sentence":   {`{"eventType":"Bounce",` + bounce("Permanent", "General", `"status":"see a@b.example",`) + tagged + `}`, report(courier.NotDelivered, "")},
		"a delivery":               {`{"eventType":"Delivery",` + tagged + `}`, report(courier.Delivered, "")},
		"one that is sent":         {`{"eventType":"Send",` + tagged + `}`, report(courier.Underway, "")},
		"a delay":                  {`{"eventType":"DeliveryDelay",` + tagged + `}`, report(courier.Underway, "")},
		"one with a virus":         {`{"eventType":"Reject","reject":{"reason":"Bad content"},` + tagged + `}`, report(courier.NotDelivered, "rejected")},
		"a complaint":              {`{"eventType":"Complaint","complaint":{"complaintFeedbackType":"abuse","complainedRecipients":[{"emailAddress":"recipient@example.com"}]},` + tagged + `}`, courier.Report{Provider: "ses", Letter: id, State: courier.Delivered, Code: "complaint_abuse", Complaint: true}},
		"somebody else's mail":     {`{"eventType":"Bounce",` + bounce("Permanent", "General", "") + fmt.Sprintf(mail, "", "") + `}`, courier.Report{}},
		"a letter that is none":    {`{"eventType":"Delivery",` + fmt.Sprintf(mail, "", `,"letter":["' OR 1=1"]`) + `}`, courier.Report{}},
		"an open":                  {`{"eventType":"Open",` + tagged + `}`, courier.Report{}},
		"SES's first message":      {"Successfully validated SNS topic for Amazon SES event publishing.", courier.Report{}},
		"a message of an operator": {`["hello"]`, courier.Report{}},
	} {
		got, err := p.Receive(courier.Arrived{Body: far.Post("2", c.text, now(), nil)})
		if err != nil || len(got) > 1 || len(got) == 0 && c.want != (courier.Report{}) || len(got) == 1 && got[0] != c.want {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}

	// The attacks that package amazon knows, once more at this door; a swapped letter is a byte changed.
	genuine := courier.Arrived{Body: far.Post("1", `{"eventType":"Bounce",`+bounce("Permanent", "General", `"status":"5.1.1",`)+tagged+`}`, now(), nil)}
	couriertest.Reports(t, p, genuine, report(courier.NotDelivered, "5.1.1"))
	for what, body := range map[string][]byte{
		"forged":   couriertest.NewSNS(t, topic, now()).Post("2", `{"eventType":"Bounce",`+tagged+`}`, now(), nil),
		"replayed": far.Post("2", `{"eventType":"Bounce",`+tagged+`}`, now().Add(-3*time.Hour), nil),
		"swapped":  far.Post("2", `{"eventType":"Bounce",`+tagged+`}`, now(), map[string]string{"Message": `{"eventType":"Bounce",` + fmt.Sprintf(mail, "", `,"letter":["0196f0c1-7a50-7c55-9e2f-3f0e7b6d1a11"]`) + `}`}),
	} {
		if got, err := p.Receive(courier.Arrived{Body: body}); !errors.Is(err, courier.ErrForged) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	none, err := ses.New(config("https://api.example"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := none.Receive(genuine); !errors.Is(err, courier.ErrForged) {
		t.Errorf("without a topic: %+v, %v", got, err)
	}
}
