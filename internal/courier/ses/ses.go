// Package ses sends e-mail through Amazon SES, and reads what it tells, by way of SNS, of bounces and complaints.
//
// Letters go by SendEmail of the API's version 2 (docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html). Events are those of
// docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html, which a configuration set publishes; they name the letter by a tag. Notifications
// that an identity sends by itself (…/dg/notification-contents.html) have no tags, and name it by a header if the original headers are included.
// SES has no idempotency key: a letter whose answer does not come may arrive twice.
package ses

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/mail"
	"strings"
	"time"

	"github.com/google/uuid"

	"countersign/internal/courier"
	"countersign/internal/courier/amazon"
	"countersign/internal/courier/post"
	"countersign/internal/platform/secret"
)

// Config reaches SES. Region, Key, Secret and Now are required.
type Config struct {
	Region string
	Key    string // an access key's id
	Secret secret.Token
	// Set is the configuration set that letters are sent with; empty leaves the one of the sender's identity.
	Set string
	// Topic brings the events. Nil takes none.
	Topic *amazon.Topic
	// Base is where the API is. Empty means https://email.REGION.amazonaws.com.
	Base string
	Now  func() time.Time
	// Roots verify the API's certificate. Nil means the system's.
	Roots *x509.CertPool
}

// Provider is SES.
type Provider struct {
	c      Config
	client *post.Client
	signer amazon.Signer
}

// New checks the configuration; it sends nothing.
func New(c Config) (*Provider, error) {
	signer := amazon.Signer{Service: "ses", Region: c.Region, Key: c.Key, Secret: c.Secret, Now: c.Now}
	if err := signer.Check(); err != nil {
		return nil, err
	}
	if c.Base == "" {
		c.Base = "https://email." + c.Region + ".amazonaws.com"
	}
	c.Base = strings.TrimSuffix(c.Base, "/")
	client, err := post.New("ses", c.Base, c.Roots)
	if err != nil {
		return nil, err
	}
	return &Provider{c: c, client: client, signer: signer}, nil
}

// Name returns "ses".
func (p *Provider) Name() string { return "ses" }

// The letter's id is in a tag and in a header, of which the one or the other comes back.
const (
	tag    = "letter"
	header = "X-Countersign-Letter"
)

type named struct{ Name, Value string }

type text struct{ Data, Charset string }

// email is the body of SendEmail.
type email struct {
	ConfigurationSetName string `json:",omitempty"`
	Content              struct{ Simple simple }
	Destination          struct{ ToAddresses []string }
	EmailTags            []named
	FromEmailAddress     string
}

type simple struct {
	Body struct {
		HTML *text `json:"Html,omitempty"`
		Text text
	}
	Headers []named
	Subject text
}

// Send sends a letter. SES knows no addresses beyond ASCII before the @ (…/APIReference-V2/API_Destination.html).
func (p *Provider) Send(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	from, err := mail.ParseAddress(m.From)
	if err != nil {
		return courier.Receipt{}, courier.Temporary("ses_sender_malformed", nil)
	}
	if strings.ContainsFunc(m.To, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }) {
		return courier.Receipt{}, courier.Permanent("ses_recipient_malformed")
	}
	const utf8 = "UTF-8"
	e := email{ConfigurationSetName: p.c.Set, EmailTags: []named{{tag, m.ID}}, FromEmailAddress: from.String()}
	e.Destination.ToAddresses = []string{m.To}
	e.Content.Simple.Subject = text{m.Subject, utf8}
	e.Content.Simple.Body.Text = text{m.Text, utf8}
	if m.HTML != "" {
		e.Content.Simple.Body.HTML = &text{m.HTML, utf8}
	}
	e.Content.Simple.Headers = []named{{"Auto-Submitted", "auto-generated"}, {"X-Auto-Response-Suppress", "All"}, {header, m.ID}} // as smtp has them
	body, err := json.Marshal(e)
	if err != nil {
		return courier.Receipt{}, courier.Permanent("ses_unencodable")
	}
	ok, no, err := p.call(ctx, http.MethodPost, "/v2/email/outbound-emails", body)
	if err != nil {
		return courier.Receipt{}, err
	}
	if no != nil {
		return courier.Receipt{}, p.refused(no)
	}
	var made struct {
		ID string `json:"MessageId"`
	}
	_ = json.Unmarshal(ok.Body, &made) // it was taken: an answer we cannot read is no reason to send twice
	return courier.Receipt{ID: made.ID}, nil
}

func (p *Provider) call(ctx context.Context, method, path string, body []byte) (*post.Answer, *post.Refusal, error) {
	kind := ""
	if body != nil {
		kind = "application/json"
	}
	head, err := p.signer.Sign(ctx, method, p.c.Base+path, kind, body)
	if err != nil {
		return nil, nil, courier.Temporary("ses_sign", nil)
	}
	return p.client.Call(ctx, method, p.c.Base+path, head, body)
}

// refused reads the exception's name; its message may quote the address. Only an input that is invalid is for good: a rejected message
// (MessageRejected) is one whose sender is not verified, as a rule, and the others are about the account.
func (p *Provider) refused(r *post.Refusal) error {
	name, _, _ := strings.Cut(r.Header.Get("X-Amzn-Errortype"), ":")
	e := p.client.Fault(r, post.Word(name))
	e.Permanent = name == "BadRequestException"
	return e
}

// Check asks for the account. That this user may not see it says that the key is right.
func (p *Provider) Check(ctx context.Context) error {
	_, no, err := p.call(ctx, http.MethodGet, "/v2/email/account", nil)
	if no != nil && !strings.HasPrefix(no.Header.Get("X-Amzn-Errortype"), "AccessDenied") {
		return p.refused(no)
	}
	return err
}

// event is what SES publishes: an eventType where a configuration set does, a notificationType where an identity does.
type event struct {
	EventType        string `json:"eventType"`
	NotificationType string `json:"notificationType"`
	Mail             struct {
		MessageID string              `json:"messageId"`
		Tags      map[string][]string `json:"tags"`
		Headers   []named             `json:"headers"`
	} `json:"mail"`
	Bounce struct {
		Type       string `json:"bounceType"`
		SubType    string `json:"bounceSubType"`
		Recipients []struct {
			Status string `json:"status"`
		} `json:"bouncedRecipients"`
	} `json:"bounce"`
	Complaint struct {
		Type string `json:"complaintFeedbackType"`
	} `json:"complaint"`
}

// Receive reads an event.
func (p *Provider) Receive(a courier.Arrived) ([]courier.Report, error) {
	if p.c.Topic == nil {
		return nil, courier.ErrForged
	}
	published, err := p.c.Topic.Open(a.Body)
	if err != nil || published == "" {
		return nil, err
	}
	var e event
	if json.Unmarshal([]byte(published), &e) != nil {
		return nil, nil //nolint:nilerr // somebody else's message to this topic, such as SES's own first one
	}
	r := courier.Report{Provider: p.Name(), Letter: e.letter(), ID: post.Word(e.Mail.MessageID)}
	switch e.EventType + e.NotificationType {
	case "Delivery":
		r.State = courier.Delivered
	case "Send", "DeliveryDelay":
		r.State = courier.Underway
	case "Reject", "Rendering Failure":
		r.State, r.Code = courier.NotDelivered, "rejected"
	case "Complaint": // it has arrived, and somebody calls it spam
		r.State, r.Code, r.Complaint = courier.Delivered, post.Word("complaint_"+e.Complaint.Type), true
	case "Bounce":
		r.State, r.Code = e.bounced()
	default:
		return nil, nil
	}
	if r.Letter == "" {
		return nil, nil // mail of somebody else's from the same identity
	}
	return []courier.Report{r}, nil
}

// bounced classes a bounce. A transient one without a reason may also be an absence note, and an undetermined one is what it says.
func (e event) bounced() (courier.State, string) {
	code := "bounce_" + e.Bounce.Type + "_" + e.Bounce.SubType
	if len(e.Bounce.Recipients) == 1 && e.Bounce.Recipients[0].Status != "" {
		code = e.Bounce.Recipients[0].Status
	}
	if e.Bounce.Type == "Permanent" || e.Bounce.Type == "Transient" && e.Bounce.SubType != "General" {
		return courier.NotDelivered, post.Word(code)
	}
	return courier.Unclear, post.Word(code)
}

// letter is ours that the event is about.
func (e event) letter() string {
	ids := e.Mail.Tags[tag]
	for _, h := range e.Mail.Headers {
		if strings.EqualFold(h.Name, header) {
			ids = append(ids, h.Value)
		}
	}
	if len(ids) == 0 || uuid.Validate(ids[0]) != nil {
		return ""
	}
	return ids[0]
}
