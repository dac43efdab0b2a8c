package anyhttp_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"countersign/internal/courier"
	"countersign/internal/courier/anyhttp"
	"countersign/internal/courier/couriertest"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
)

// A gateway is described, and read by somebody who knows nothing of the description.
type gateway struct {
	config anyhttp.Config // its URL is what follows the host
	read   func(r *http.Request, body []byte) (courier.Message, error)
	taken  string
	good   string // refused for good
	now    string // refused for now
}

func authorized(r *http.Request) error {
	if r.Header.Get("Authorization") != "Bearer pa:ss" {
		return errors.New("not authenticated")
	}
	return nil
}

func gateways() map[string]gateway {
	return map[string]gateway{
		"json": {
			config: anyhttp.Config{
				URL: "/v1/sms", Headers: []string{"Authorization: Bearer {secret}", "Idempotency-Key:{id}"}, Secret: secret.Of("pa:ss"),
				Body: `{"messages": [{"to": "{to}", "sender": "{from}", "body": "{text}"}]}`, Taken: []string{"2xx", "messages.0.status=0"}, Refused: []string{"messages.0.status=6"}, ID: "messages.0.id",
			},
			read: func(r *http.Request, body []byte) (courier.Message, error) {
				var b struct {
					Messages []struct{ To, Sender, Body string }
				}
				if err := json.Unmarshal(body, &b); err != nil || len(b.Messages) != 1 || r.Method != http.MethodPost || r.URL.RequestURI() != "/v1/sms" {
					return courier.Message{}, fmt.Errorf("%s: %w", body, err)
				}
				return courier.Message{ID: r.Header.Get("Idempotency-Key"), Channel: message.SMS, To: b.Messages[0].To, From: b.Messages[0].Sender, Text: b.Messages[0].Body}, authorized(r)
			},
			taken: `{"messages":[{"status":0,"id":77}]}`, good: `{"messages":[{"status":6,"why":"no number %s: %s"}]}`, now: `{"messages":[{"status":1,"why":"too many to %s: %s"}]}`,
		},
		"form": {
			config: anyhttp.Config{
				URL: "/send?ref={id}", Method: "PUT", Type: "application/x-www-form-urlencoded", Headers: []string{"Authorization: Bearer {secret}"}, Secret: secret.Of("pa:ss"),
				Body: "to={number}&from={from}&text={text}", Taken: []string{"200", "~OK"}, Refused: []string{"~ERR 114"}, ID: "",
			},
			read: func(r *http.Request, body []byte) (courier.Message, error) {
				form, err := url.ParseQuery(string(body))
				if err != nil || r.Method != http.MethodPut || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
					return courier.Message{}, fmt.Errorf("%s: %w", body, err)
				}
				return courier.Message{ID: r.URL.Query().Get("ref"), Channel: message.SMS, To: "+" + form.Get("to"), From: form.Get("from"), Text: form.Get("text")}, authorized(r)
			},
			taken: "OK: id 1", good: "ERR 114: %s %s", now: "ERR 130: %s %s",
		},
		"xml": {
			config: anyhttp.Config{
				URL: "/x", Type: "text/xml; charset=utf-8", Headers: []string{"Authorization: Bearer {secret}"}, Secret: secret.Of("pa:ss"), Refused: []string{"~<bad>"}, Taken: []string{"~<good>"},
				Body: `<sms id="{id}" to="{to}" from="{from}"><text>{text}</text></sms>`,
			},
			read: func(r *http.Request, body []byte) (courier.Message, error) {
				var b struct {
					ID   string `xml:"id,attr"`
					To   string `xml:"to,attr"`
					From string `xml:"from,attr"`
					Text string `xml:"text"`
				}
				if err := xml.Unmarshal(body, &b); err != nil {
					return courier.Message{}, err
				}
				return courier.Message{ID: b.ID, Channel: message.SMS, To: b.To, From: b.From, Text: b.Text}, authorized(r)
			},
			taken: "<r><good>1</good></r>", good: "<r><bad>%s %s</bad></r>", now: "<r><later>%s %s</later></r>",
		},
		"get": {
			config: anyhttp.Config{
				URL: "/http-api?to={to}&from={from}&text={text}&id={id}&key={secret}", Method: "GET", Secret: secret.Of("pa:ss"), Taken: []string{"2xx", "ok=true"}, Refused: []string{"ok=false"}, ID: "ref",
			},
			read: func(r *http.Request, body []byte) (courier.Message, error) {
				q := r.URL.Query()
				if r.Method != http.MethodGet || len(body) != 0 || r.Header.Get("Content-Type") != "" || q.Get("key") != "pa:ss" {
					return courier.Message{}, fmt.Errorf("%s %s", r.Method, r.URL)
				}
				return courier.Message{ID: q.Get("id"), Channel: message.SMS, To: q.Get("to"), From: q.Get("from"), Text: q.Get("text")}, nil
			},
			taken: `{"ok":true,"ref":"a-1"}`, good: `{"ok":false,"text":"%s %s"}`, now: `{"text":"%s %s"}`,
		},
	}
}

func open(t *testing.T, g gateway) (*couriertest.Far, *anyhttp.Provider) {
	t.Helper()
	far := &couriertest.Far{Read: g.read, Answer: func(w http.ResponseWriter, mood couriertest.Mood, m courier.Message) {
		switch mood {
		case couriertest.RefuseForGood:
			_, _ = fmt.Fprintf(w, g.good, m.To, strings.ReplaceAll(m.Text, "\n", " "))
		case couriertest.RefuseForNow:
			_, _ = fmt.Fprintf(w, g.now, m.To, strings.ReplaceAll(m.Text, "\n", " "))
		default:
			_, _ = w.Write([]byte(g.taken))
		}
	}}
	far.Serve(t)
	c := g.config
	c.URL, c.Roots = far.URL+c.URL, far.Roots
	p, err := anyhttp.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return far, p
}

func TestAnyGatewayIsAProvider(t *testing.T) {
	for name, g := range gateways() {
		t.Run(name, func(t *testing.T) {
			couriertest.Run(t, func(t *testing.T) couriertest.Bench {
				far, p := open(t, g)
				c := g.config
				c.URL = "https://" + couriertest.Nowhere(t) + c.URL
				gone, err := anyhttp.New(c)
				if err != nil {
					t.Fatal(err)
				}
				return couriertest.Bench{Provider: p, Channel: message.SMS, Set: far.Set, Got: far.Got, Gone: gone, Secrets: []string{"pa:ss"}, Nameless: g.config.ID == ""}
			})
			far, p := open(t, g)
			couriertest.Golden(t, far, p, name+".golden")
		})
	}
}

func TestAnAnswerSaysHow(t *testing.T) {
	far, p := open(t, gateways()["json"])
	for _, c := range []struct {
		status              int
		body, code          string
		permanent, notTaken bool
	}{
		{200, `{"messages":[{"status":"0","id":"x"}]}`, "", false, false},
		{200, ``, "gateway_answer_unclear", false, false},
		{200, `{"messages":[]}`, "gateway_http_200_not_taken", false, true},
		{400, `{"messages":[{"status":0}]}`, "gateway_http_400", false, true}, // refused for good by what the operator named, and by nothing else
		{400, `{"messages":[{"status":6}]}`, "gateway_http_400", true, true},
		{503, ``, "gateway_http_503", false, true},
	} {
		far.Answer = func(w http.ResponseWriter, _ couriertest.Mood, _ courier.Message) {
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}
		rec, err := p.Send(t.Context(), courier.Message{ID: "1", To: "+49", From: "Example", Text: "x"})
		if c.code == "" {
			if err != nil || rec.ID != "x" {
				t.Errorf("%+v: %+v %v", c, rec, err)
			}
			continue
		}
		e, ok := errors.AsType[*courier.Error](err)
		if !ok || e.Code != c.code || e.Permanent != c.permanent || e.NotTaken != c.notTaken {
			t.Errorf("%+v: %+v", c, err)
		}
	}
}

// What people are called or write is never read as a field, nor as JSON.
func TestAFieldInATextIsText(t *testing.T) {
	far, p := open(t, gateways()["json"])
	m := courier.Message{ID: "1", Channel: message.SMS, To: "+4915112345678", From: `a","to":"+1`, Text: `{secret} "}], "x": "` + "\n\u2028{to}"}
	if _, err := p.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got := far.Got(); len(got) != 1 || got[0] != m {
		t.Errorf("%q %q", got[0].From, got[0].Text)
	}
}

func TestADescriptionThatCannotWorkIsRefused(t *testing.T) {
	good := func() anyhttp.Config {
		return anyhttp.Config{URL: "https://x.example/", Body: `{"to":"{to}","text":"{text}"}`}
	}
	if _, err := anyhttp.New(good()); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*anyhttp.Config){
		"in clear":                func(c *anyhttp.Config) { c.URL = "ftp://x" },
		"the host is a field":     func(c *anyhttp.Config) { c.URL = "https://{from}.example/" },
		"a field nobody knows":    func(c *anyhttp.Config) { c.Body = `{"to":"{to}","text":"{txt}"}` },
		"no text":                 func(c *anyhttp.Config) { c.Body = `{"to":"{to}"}` },
		"nobody":                  func(c *anyhttp.Config) { c.Body = `{"text":"{text}"}` },
		"no JSON":                 func(c *anyhttp.Config) { c.Body = `{"to":"{to}","text":{text}}` },
		"a type nobody escapes":   func(c *anyhttp.Config) { c.Type = "text/plain" },
		"a method":                func(c *anyhttp.Config) { c.Method = "DELETE" },
		"a secret without place":  func(c *anyhttp.Config) { c.Secret = secret.Of("x") },
		"a place without secret":  func(c *anyhttp.Config) { c.Headers = []string{"A: {secret}"} },
		"a header without colon":  func(c *anyhttp.Config) { c.Headers = []string{"A"} },
		"a header of two lines":   func(c *anyhttp.Config) { c.Headers = []string{"A: b\r\nC: d"} },
		"a text in a header":      func(c *anyhttp.Config) { c.Headers = []string{"A: {text}"} },
		"a condition of nothing":  func(c *anyhttp.Config) { c.Taken = []string{"ok"} },
		"a refusal of no meaning": func(c *anyhttp.Config) { c.Refused = []string{"600"} },
	} {
		c := good()
		spoil(&c)
		if _, err := anyhttp.New(c); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func TestReports(t *testing.T) {
	g := gateways()["json"]
	g.config.Body = `{"messages": [{"to": "{to}", "sender": "{from}", "body": "{text}", "callback": "{report}"}]}`
	g.config.Reports, g.config.Delivered, g.config.NotDelivered = "https://id.example.org/hooks/sms/http", []string{"status=delivered", "dlr.0.ok=true"}, []string{"status=failed"}
	asked := ""
	read := g.read
	g.read = func(r *http.Request, body []byte) (courier.Message, error) {
		var b struct{ Messages []struct{ Callback string } }
		if err := json.Unmarshal(body, &b); err != nil {
			return courier.Message{}, err
		}
		asked = b.Messages[0].Callback
		return read(r, body)
	}
	_, p := open(t, g)
	if _, err := p.Send(t.Context(), courier.Message{ID: "0189-0001", To: "+4915112345678", From: "Example", Text: "x"}); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(asked)
	if err != nil || !strings.HasPrefix(asked, "https://id.example.org/hooks/sms/http?") {
		t.Fatal(asked)
	}
	for body, state := range map[string]courier.State{
		`{"status":"delivered"}`: courier.Delivered, `{"dlr":[{"ok":true}]}`: courier.Delivered, "status=failed&to=4915112345678": courier.NotDelivered, "status=sent": courier.Underway, "": courier.Underway,
	} {
		couriertest.Reports(t, p, courier.Arrived{Header: http.Header{}, Query: u.Query(), Body: []byte(body)}, courier.Report{Provider: "http", Letter: "0189-0001", State: state})
	}
	byGet := u.Query()
	byGet.Set("status", "delivered")
	couriertest.Reports(t, p, courier.Arrived{Header: http.Header{}, Query: byGet}, courier.Report{Provider: "http", Letter: "0189-0001", State: courier.Delivered}, "status")
	for what, spoil := range map[string]func(*anyhttp.Config){
		"no word for delivered": func(c *anyhttp.Config) { c.Delivered = nil },
		"no place for reports":  func(c *anyhttp.Config) { c.Body = gateways()["json"].config.Body },
		"no secret":             func(c *anyhttp.Config) { c.Secret, c.Headers = secret.Token{}, nil },
	} {
		c := g.config
		c.URL = "https://x.example/"
		spoil(&c)
		if _, err := anyhttp.New(c); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	_, without := open(t, gateways()["json"])
	if _, err := without.Receive(courier.Arrived{Query: u.Query(), Body: []byte("status=delivered")}); err == nil {
		t.Error("taken by a gateway that was asked for no reports")
	}
}
