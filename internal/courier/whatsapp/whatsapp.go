// Package whatsapp sends codes by WhatsApp's Cloud API, in an authentication template that Meta has approved, and reads its status webhooks.
//
// The request is that of developers.facebook.com/docs/whatsapp/cloud-api/guides/send-message-templates/auth-otp-template-messages: the code stands twice in it, in
// the body and in the button that copies it. The letter's id goes along as biz_opaque_callback_data, and comes back with each status
// (…/documentation/business-messaging/whatsapp/webhooks/reference/messages/status). Webhooks are signed with the app's secret: HMAC-SHA256 over the body, in
// X-Hub-Signature-256 (developers.facebook.com/docs/graph-api/webhooks/getting-started). There is no idempotency key: a letter whose answer does not come may
// arrive twice.
package whatsapp

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/post"
	"countersign/internal/guard"
	"countersign/internal/platform/secret"
)

// Config reaches a business' number at WhatsApp. Phone, Token, Template and Now are required.
type Config struct {
	Phone    string // the number's id, which is not the number
	Token    secret.Token
	Template string
	// Languages are those that the template is approved in, as WhatsApp calls them, by ours; empty means that it is called as ours in each.
	Languages map[string]string
	// Secret is the app's, which webhooks are signed with, and Verify what Meta shows when the webhook is set up. Without them none are taken.
	Secret, Verify secret.Token
	// Base is where the API is, with its version. Empty means https://graph.facebook.com/v21.0.
	Base string
	Now  func() time.Time
	// Roots verify the API's certificate. Nil means the system's.
	Roots *x509.CertPool
}

// Provider is WhatsApp.
type Provider struct {
	c      Config
	client *post.Client
}

// New checks the configuration; it sends nothing.
func New(c Config) (*Provider, error) {
	if c.Phone == "" || strings.Trim(c.Phone, "0123456789") != "" || c.Token.Empty() || c.Template == "" || c.Now == nil {
		return nil, errors.New("whatsapp: the id of the sending number (digits), an access token, a template and a clock are required")
	}
	if c.Secret.Empty() != c.Verify.Empty() {
		return nil, errors.New("whatsapp: the app's secret and the verify token go together")
	}
	if c.Base == "" {
		c.Base = "https://graph.facebook.com/v21.0"
	}
	c.Base = strings.TrimSuffix(c.Base, "/")
	client, err := post.New("whatsapp", c.Base, c.Roots)
	if err != nil {
		return nil, err
	}
	return &Provider{c: c, client: client}, nil
}

// Name returns "whatsapp".
func (p *Provider) Name() string { return "whatsapp" }

// Carries reports whether a letter has a code: the template says nothing else.
func (p *Provider) Carries(m courier.Message) bool { return m.Digits != "" }

type parameter struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type component struct {
	Type       string      `json:"type"`
	SubType    string      `json:"sub_type,omitempty"`
	Index      string      `json:"index,omitempty"`
	Parameters []parameter `json:"parameters"`
}

type template struct {
	Name       string            `json:"name"`
	Language   map[string]string `json:"language"`
	Components []component       `json:"components"`
}

type request struct {
	Product  string   `json:"messaging_product"`
	Kind     string   `json:"recipient_type"`
	To       string   `json:"to"`
	Type     string   `json:"type"`
	Template template `json:"template"`
	Letter   string   `json:"biz_opaque_callback_data"`
}

// Send sends the code of a letter.
func (p *Provider) Send(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	if !p.Carries(m) {
		return courier.Receipt{}, &courier.Error{Code: "whatsapp_no_code", NotTaken: true}
	}
	language := m.Language
	if named, ok := p.c.Languages[language]; ok {
		language = named
	}
	code := []parameter{{"text", m.Digits}}
	body, err := json.Marshal(request{
		Product: "whatsapp", Kind: "individual", To: strings.TrimPrefix(m.To, "+"), Type: "template", Letter: m.ID,
		Template: template{p.c.Template, map[string]string{"code": language}, []component{
			{Type: "body", Parameters: code}, {Type: "button", SubType: "url", Index: "0", Parameters: code},
		}},
	})
	if err != nil {
		return courier.Receipt{}, courier.Permanent("whatsapp_unencodable")
	}
	ok, no, err := p.client.Do(ctx, p.c.Base+"/"+p.c.Phone+"/messages", http.Header{
		"Authorization": {"Bearer " + p.c.Token.Reveal()}, "Content-Type": {"application/json"},
	}, body)
	if err != nil {
		return courier.Receipt{}, err
	}
	if no != nil {
		return courier.Receipt{}, p.refused(no)
	}
	var made struct {
		Messages []struct {
			ID string `json:"id"`
		} `json:"messages"`
	}
	if json.Unmarshal(ok.Body, &made) != nil || len(made.Messages) == 0 {
		return courier.Receipt{}, nil //nolint:nilerr // it was taken: an answer we cannot read is no reason to send twice
	}
	return courier.Receipt{ID: made.Messages[0].ID}, nil
}

// refused reads Meta's error number; its message may quote the number. Nothing is for good: that a number has no WhatsApp, or that a template is paused, says
// nothing of the text messages that go there next.
func (p *Provider) refused(r *post.Refusal) error {
	var why struct {
		Error struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	_ = json.Unmarshal(r.Body, &why)
	detail := ""
	if why.Error.Code != 0 {
		detail = strconv.Itoa(why.Error.Code)
	}
	e := p.client.Fault(r, detail)
	e.Permanent = false
	return e
}

// oldest is how old a status may be: Meta tries again for a week, and nobody looks at a letter's reports for longer than three days.
const oldest = 3 * 24 * time.Hour

// webhook is what Meta posts: statuses of several messages, and messages that people wrote, which are nobody's here.
type webhook struct {
	Object string `json:"object"`
	Entry  []struct {
		Changes []struct {
			Value struct {
				Metadata struct {
					Phone string `json:"phone_number_id"`
				} `json:"metadata"`
				Statuses []status `json:"statuses"`
			} `json:"value"`
		} `json:"changes"`
	} `json:"entry"`
}

type status struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	At     string `json:"timestamp"`
	To     string `json:"recipient_id"`
	Letter string `json:"biz_opaque_callback_data"`
	Errors []struct {
		Code int `json:"code"`
	} `json:"errors"`
}

// Receive reads statuses.
func (p *Provider) Receive(a courier.Arrived) ([]courier.Report, error) {
	signature, marked := strings.CutPrefix(a.Header.Get("X-Hub-Signature-256"), "sha256=")
	sent, err := hex.DecodeString(signature)
	if err != nil || !marked || p.c.Secret.Empty() {
		return nil, courier.ErrForged
	}
	m := hmac.New(sha256.New, []byte(p.c.Secret.Reveal()))
	m.Write(a.Body)
	if !hmac.Equal(sent, m.Sum(nil)) {
		return nil, courier.ErrForged
	}
	var told webhook
	if json.Unmarshal(a.Body, &told) != nil || told.Object != "whatsapp_business_account" {
		return nil, courier.ErrForged
	}
	var out []courier.Report
	for _, entry := range told.Entry {
		for _, change := range entry.Changes {
			if change.Value.Metadata.Phone != p.c.Phone { // another number's of the same business
				continue
			}
			for _, s := range change.Value.Statuses {
				if r, ok := p.report(s); ok {
					out = append(out, r)
				}
			}
		}
	}
	return out, nil
}

func (p *Provider) report(s status) (courier.Report, bool) {
	at, err := strconv.ParseInt(s.At, 10, 64)
	if err != nil || p.c.Now().Sub(time.Unix(at, 0)).Abs() > oldest || s.Letter == "" {
		return courier.Report{}, false
	}
	r := courier.Report{Provider: p.Name(), Letter: s.Letter, ID: post.Word(strings.TrimSuffix(s.ID, "=")), Country: guard.Region("+" + s.To)}
	r.State = map[string]courier.State{"sent": courier.Underway, "delivered": courier.Delivered, "read": courier.Delivered, "failed": courier.NotDelivered}[s.Status]
	if r.State == "" {
		return courier.Report{}, false
	}
	if len(s.Errors) > 0 {
		r.Code = strconv.Itoa(s.Errors[0].Code)
	}
	return r, true
}

// challenge is what Meta has us say, when the webhook is set up, to show that it is ours.
var challenge = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// Answer answers Meta's question whether the webhook is ours.
func (p *Provider) Answer(a courier.Arrived) (courier.Answer, bool, error) {
	if !a.Query.Has("hub.mode") {
		return courier.Answer{}, false, nil
	}
	shown := []byte(a.Query.Get("hub.verify_token"))
	if p.c.Verify.Empty() || subtle.ConstantTimeCompare(shown, []byte(p.c.Verify.Reveal())) != 1 || a.Query.Get("hub.mode") != "subscribe" || !once(a.Query) ||
		!challenge.MatchString(a.Query.Get("hub.challenge")) {
		return courier.Answer{}, true, courier.ErrForged
	}
	return courier.Answer{Type: "text/plain; charset=utf-8", Body: []byte(a.Query.Get("hub.challenge"))}, true, nil
}

// once reports whether no parameter stands there twice: two readers could believe different ones.
func once(q url.Values) bool {
	for _, values := range q {
		if len(values) != 1 {
			return false
		}
	}
	return true
}

// Check asks for the number that letters are sent from.
func (p *Provider) Check(ctx context.Context) error {
	_, no, err := p.client.Call(ctx, http.MethodGet, p.c.Base+"/"+p.c.Phone, http.Header{"Authorization": {"Bearer " + p.c.Token.Reveal()}}, nil)
	if no != nil {
		return p.refused(no)
	}
	return err
}
