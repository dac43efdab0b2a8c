// Package infobip sends SMS through Infobip's SMS API, version 3.
//
// The wire format is that of Infobip's OpenAPI description as its client libraries have it (infobip/infobip-api-java-client,
// SmsApi and the models it names), the statuses those of infobip.com/docs/essentials/api-essentials/response-status-and-error-codes.
//
// The letter's id is the messageId, and Infobip refuses one that it has seen: a letter that is sent again after an answer that got
// lost arrives once. Infobip does not say whether it remembers an id that it refused for another reason; then the second try
// is taken for sent, and the person asks for another code.
package infobip

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/post"
	"countersign/internal/guard"
	"countersign/internal/platform/secret"
)

// Config reaches an account at Infobip. Base, Key and Now are required.
type Config struct {
	Base string // the account's own address, such as https://xyz123.api.infobip.com
	Key  secret.Token
	Now  func() time.Time
	// Reports is where Infobip reports to; empty asks for no reports. Infobip signs none, so each letter's has an address of its own.
	Reports string
	// Roots verify the API's certificate. Nil means the system's.
	Roots *x509.CertPool
}

// Provider is Infobip.
type Provider struct {
	c      Config
	client *post.Client
}

// New checks the configuration; it sends nothing.
func New(c Config) (*Provider, error) {
	if c.Key.Empty() || c.Now == nil {
		return nil, errors.New("infobip: an API key and a clock are required")
	}
	c.Base = strings.TrimSuffix(c.Base, "/")
	client, err := post.New("infobip", c.Base, c.Roots)
	if err != nil {
		return nil, err
	}
	return &Provider{c: c, client: client}, nil
}

// Name returns "infobip".
func (p *Provider) Name() string { return "infobip" }

type request struct {
	Messages []sms `json:"messages"`
}

type sms struct {
	Sender       string        `json:"sender"`
	Destinations []destination `json:"destinations"`
	Content      content       `json:"content"`
	Options      *options      `json:"options,omitempty"`
	Webhooks     *webhooks     `json:"webhooks,omitempty"`
}

type destination struct {
	To string `json:"to"`
	ID string `json:"messageId"`
}

type content struct {
	Text string `json:"text"`
}

type options struct {
	Validity validity `json:"validityPeriod"`
}

type validity struct {
	Amount int    `json:"amount"`
	Unit   string `json:"timeUnit"`
}

type webhooks struct {
	Delivery    delivery `json:"delivery"`
	ContentType string   `json:"contentType"`
}

type delivery struct {
	URL string `json:"url"`
}

// status is what Infobip says of a message, in answers and in reports.
type status struct {
	Group int    `json:"groupId"`
	Name  string `json:"name"`
}

// The groups of statuses.
const (
	accepted      = 0
	pending       = 1
	undeliverable = 2
	delivered     = 3
	expired       = 4
	rejected      = 5
)

// Send sends a message that is not delivered any more once nobody wants it.
func (p *Provider) Send(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	out := sms{
		Sender: strings.TrimPrefix(m.From, "+"), Content: content{m.Text},
		Destinations: []destination{{To: strings.TrimPrefix(m.To, "+"), ID: m.ID}},
	}
	if !m.Expires.IsZero() {
		out.Options = &options{validity{Amount: max(1, int(m.Expires.Sub(p.c.Now()).Minutes())), Unit: "MINUTES"}}
	}
	if p.c.Reports != "" {
		out.Webhooks = &webhooks{delivery{courier.ReportAddress(p.c.Reports, p.c.Key, m.ID)}, "application/json"}
	}
	body, err := json.Marshal(request{[]sms{out}})
	if err != nil {
		return courier.Receipt{}, courier.Permanent("infobip_unencodable")
	}
	ok, no, err := p.client.Do(ctx, p.c.Base+"/sms/3/messages", p.header(), body)
	if err != nil {
		return courier.Receipt{}, err
	}
	if no != nil {
		return courier.Receipt{}, p.fault(no)
	}
	var made struct {
		Messages []struct {
			ID     string  `json:"messageId"`
			Status *status `json:"status"`
		} `json:"messages"`
	}
	if json.Unmarshal(ok.Body, &made) != nil || len(made.Messages) != 1 || made.Messages[0].Status == nil {
		return courier.Receipt{}, p.client.Unclear()
	}
	return courier.Receipt{ID: m.ID}, p.judge(*made.Messages[0].Status)
}

// judge classes a status. Of the rejected only those are for good that condemn the number or the text: what accuses our account
// (credit, sender, routes) can be put right while the letter waits.
func (p *Provider) judge(s status) error {
	forGood := s.Group == undeliverable || s.Group == expired || slices.Contains([]string{
		"REJECTED_PREFIX_MISSING", "REJECTED_DND", "REJECTED_DESTINATION", "REJECTED_INVALID_DESTINATION", "REJECTED_MESSAGE_TOO_LONG", "MISSING_TO",
	}, s.Name)
	switch s.Group {
	case accepted, pending, delivered:
		return nil
	case undeliverable, expired, rejected:
		if s.Name == "REJECTED_DUPLICATE_MESSAGE_ID" {
			return nil // by an earlier try, whose answer did not reach us
		}
		return p.client.Refused(strings.ToLower(post.Word(s.Name)), forGood)
	}
	return p.client.Unclear()
}

func (p *Provider) header() http.Header {
	return http.Header{"Authorization": {"App " + p.c.Key.Reveal()}, "Content-Type": {"application/json"}, "Accept": {"application/json"}}
}

// fault reads Infobip's error code; its description may quote what was sent.
func (p *Provider) fault(r *post.Refusal) error {
	var why struct {
		Code string `json:"errorCode"`
	}
	_ = json.Unmarshal(r.Body, &why)
	return p.client.Fault(r, post.Word(why.Code))
}

// Receive reads delivery reports. Only the one is taken whose address it came to.
func (p *Provider) Receive(a courier.Arrived) ([]courier.Report, error) {
	letter, err := a.Letter(p.c.Key)
	var told struct {
		Results []struct {
			ID     string `json:"messageId"`
			To     string `json:"to"`
			Status status `json:"status"`
			Error  status `json:"error"`
		} `json:"results"`
	}
	if err != nil || json.Unmarshal(a.Body, &told) != nil {
		return nil, courier.ErrForged
	}
	var out []courier.Report
	for _, r := range told.Results {
		if r.ID != letter {
			continue
		}
		state := map[int]courier.State{
			accepted: courier.Underway, pending: courier.Underway, delivered: courier.Delivered,
			undeliverable: courier.NotDelivered, expired: courier.NotDelivered, rejected: courier.NotDelivered,
		}[r.Status.Group]
		if state == "" || r.Status.Name == "EXPIRED_DLR_UNKNOWN" {
			state = courier.Unclear
		}
		out = append(out, courier.Report{
			Provider: p.Name(), Letter: letter, State: state, Code: post.Word(cmp.Or(r.Error.Name, r.Status.Name)),
			To: courier.Number("+" + strings.TrimPrefix(r.To, "+")), Country: guard.Region("+" + strings.TrimPrefix(r.To, "+")),
		})
	}
	return out, nil
}

// Check asks for the account's balance.
func (p *Provider) Check(ctx context.Context) error {
	_, no, err := p.client.Call(ctx, http.MethodGet, p.c.Base+"/account/1/balance", p.header(), nil)
	if no != nil {
		return p.fault(no)
	}
	return err
}
