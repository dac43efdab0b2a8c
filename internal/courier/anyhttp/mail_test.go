package anyhttp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/mail"
	"strings"
	"testing"

	"countersign/internal/courier"
	"countersign/internal/courier/anyhttp"
	"countersign/internal/courier/couriertest"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
)

// services are two that take e-mail by HTTP, each described as its documentation has its request: Postmark (postmarkapp.com/developer/api/email-api) takes a
// sender whole, SendGrid (docs.sendgrid.com/api-reference/mail-send/mail-send) in parts.
func services() map[string]anyhttp.Config {
	return map[string]anyhttp.Config{
		"postmark": {
			Mail: true, URL: "/email", Headers: []string{"X-Postmark-Server-Token: {secret}", "Accept: application/json"}, Secret: secret.Of("pa:ss"),
			Body:  `{"From": "{from}", "To": "{to}", "Subject": "{subject}", "TextBody": "{text}", "HtmlBody": "{html}", "Headers": [{"Name": "Auto-Submitted", "Value": "auto-generated"}], "Metadata": {"letter": "{id}"}}`,
			Taken: []string{"200", "ErrorCode=0"}, Refused: []string{"ErrorCode=300", "ErrorCode=406"}, ID: "MessageID",
		},
		"sendgrid": {
			Mail: true, URL: "/v3/mail/send", Headers: []string{"Authorization: Bearer {secret}"}, Secret: secret.Of("pa:ss"),
			Body: `{"personalizations": [{"to": [{"email": "{to}"}], "custom_args": {"letter": "{id}"}}], "from": {"email": "{from_address}", "name": "{from_name}"}, "subject": "{subject}",` +
				` "content": [{"type": "text/plain", "value": "{text}"}, {"type": "text/html", "value": "{html}"}]}`,
			Taken: []string{"202"}, Refused: []string{"400"},
		},
	}
}

func readMail(r *http.Request, body []byte) (courier.Message, error) {
	m := courier.Message{Channel: message.Email}
	switch r.URL.RequestURI() {
	case "/email":
		var b struct {
			From, To, Subject, TextBody string
			HTMLBody                    string `json:"HtmlBody"`
			Metadata                    struct{ Letter string }
		}
		if err := json.Unmarshal(body, &b); err != nil || r.Header.Get("X-Postmark-Server-Token") != "pa:ss" {
			return m, fmt.Errorf("%s: %w", body, err)
		}
		m.ID, m.From, m.To, m.Subject, m.Text, m.HTML = b.Metadata.Letter, b.From, b.To, b.Subject, b.TextBody, b.HTMLBody
	case "/v3/mail/send":
		var b struct {
			Personalizations []struct {
				To         []struct{ Email string }
				CustomArgs struct{ Letter string } `json:"custom_args"`
			}
			From    struct{ Email, Name string }
			Subject string
			Content []struct{ Value string }
		}
		if err := json.Unmarshal(body, &b); err != nil || len(b.Personalizations) != 1 || len(b.Content) != 2 {
			return m, fmt.Errorf("%s: %w", body, err)
		}
		from := mail.Address{Name: b.From.Name, Address: b.From.Email}
		m.ID, m.From, m.To, m.Subject = b.Personalizations[0].CustomArgs.Letter, from.String(), b.Personalizations[0].To[0].Email, b.Subject
		m.Text, m.HTML = b.Content[0].Value, b.Content[1].Value
		return m, authorized(r)
	default:
		return m, fmt.Errorf("%s", r.URL)
	}
	return m, nil
}

func answerMail(r string) func(http.ResponseWriter, couriertest.Mood, courier.Message) {
	return func(w http.ResponseWriter, mood couriertest.Mood, m courier.Message) {
		status, text := map[couriertest.Mood]int{couriertest.RefuseForGood: 422, couriertest.RefuseForNow: 429}[mood], `{"ErrorCode":0,"MessageID":"b7bc2f4a"}`
		if r == "sendgrid" {
			status, text = map[couriertest.Mood]int{couriertest.Accept: 202, couriertest.RefuseForGood: 400, couriertest.RefuseForNow: 429}[mood], `{"errors":[{"message":"`+m.To+`"}]}`
		} else if mood != couriertest.Accept {
			text = `{"ErrorCode":300,"Message":"Error parsing 'To': ` + m.To + `"}`
			if mood == couriertest.RefuseForNow {
				text = `{"ErrorCode":100,"Message":"Maintenance, ` + m.To + `"}`
			}
		}
		if status == 0 {
			status = 200
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	}
}

func TestServicesForMailAreProviders(t *testing.T) {
	for name, c := range services() {
		t.Run(name, func(t *testing.T) {
			open := func(t *testing.T) (*couriertest.Far, *anyhttp.Provider) {
				t.Helper()
				far := &couriertest.Far{Read: readMail, Answer: answerMail(name)}
				far.Serve(t)
				c := c
				c.URL, c.Roots = far.URL+c.URL, far.Roots
				p, err := anyhttp.New(c)
				if err != nil {
					t.Fatal(err)
				}
				return far, p
			}
			couriertest.Run(t, func(t *testing.T) couriertest.Bench {
				far, p := open(t)
				c := c
				c.URL = "https://" + couriertest.Nowhere(t)
				gone, err := anyhttp.New(c)
				if err != nil {
					t.Fatal(err)
				}
				return couriertest.Bench{Provider: p, Channel: message.Email, Set: far.Set, Got: far.Got, Gone: gone, Secrets: []string{"pa:ss"}, Nameless: c.ID == ""}
			})
			far, p := open(t)
			couriertest.GoldenLetter(t, far, p, message.Email, name+".golden")
		})
	}
}

func TestReportsOfMail(t *testing.T) {
	c := services()["sendgrid"]
	c.URL, c.Reports, c.NotDelivered = "https://api.example/v3/mail/send", "https://id.example.org/hooks/mail/http", []string{"event=bounce"}
	c.Body = strings.Replace(c.Body, `"letter": "{id}"`, `"letter": "{report}"`, 1)
	p, err := anyhttp.New(c)
	if err != nil {
		t.Fatal(err)
	}
	address := courier.ReportAddress(c.Reports, c.Secret, "0189-0001")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	genuine := courier.Arrived{Header: http.Header{}, Query: r.URL.Query(), Body: []byte(`{"event":"bounce","email":"ada@example.org"}`)}
	couriertest.Reports(t, p, genuine, courier.Report{Provider: "http", Letter: "0189-0001", State: courier.NotDelivered})
}

func TestADescriptionOfMailThatCannotWorkIsRefused(t *testing.T) {
	for what, c := range map[string]anyhttp.Config{
		"no subject":          {Body: `{"to": "{to}", "text": "{text}"}`},
		"a number":            {Body: `{"to": "{number}", "text": "{text}", "subject": "{subject}"}`},
		"a subject in a head": {Body: `{"to": "{to}", "text": "{text}"}`, Headers: []string{"Subject: {subject}"}},
		"no text":             {Body: `{"to": "{to}", "html": "{html}", "subject": "{subject}"}`},
		"no report":           {Body: `{"to": "{to}", "text": "{text}", "subject": "{subject}"}`, NotDelivered: []string{"a=b"}},
	} {
		c.Mail, c.URL = true, "https://api.example"
		if _, err := anyhttp.New(c); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
}
