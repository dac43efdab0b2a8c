// Package webhook hands letters to a program of the operator's own by a signed JSON POST,
// after the Standard Webhooks specification, so that any receiver library can check it.
package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/post"
	"countersign/internal/platform/secret"
)

// Config reaches the receiver. URL, Secrets and Now are required.
type Config struct {
	URL string // https, or http to this machine
	// Secrets sign, each in the form "whsec_" and base64 of 24 to 64 bytes. More than one
	// while one is being replaced: the receiver accepts any.
	Secrets []secret.Token
	Now     func() time.Time
	// Reports is where the receiver may tell what became of a letter, signed in the same way; empty offers no such place.
	Reports string
	// Roots verify the receiver's certificate. Nil means the system's.
	Roots *x509.CertPool
}

// Provider is the receiver.
type Provider struct {
	*Reader

	client  *post.Client
	url     string
	reports string
}

// New checks the configuration; it sends nothing.
func New(c Config) (*Provider, error) {
	client, err := post.New("webhook", c.URL, c.Roots)
	if err != nil {
		return nil, err
	}
	reader, err := NewReader("webhook", c.Secrets, c.Now)
	if err != nil {
		return nil, err
	}
	return &Provider{Reader: reader, client: client, url: c.URL, reports: c.Reports}, nil
}

// Reader reads reports that are signed as posted letters are.
type Reader struct {
	provider string
	keys     [][]byte
	now      func() time.Time
}

// NewReader returns a reader of reports of letters that a provider took, which may be another than this package's.
func NewReader(provider string, secrets []secret.Token, now func() time.Time) (*Reader, error) {
	r := &Reader{provider: provider, now: now}
	for _, s := range secrets {
		b64, found := strings.CutPrefix(s.Reveal(), "whsec_")
		key, err := base64.StdEncoding.DecodeString(b64)
		if !found || err != nil || len(key) < 24 || len(key) > 64 {
			return nil, errors.New(`webhook: a secret must be "whsec_" and base64 of 24 to 64 bytes`)
		}
		r.keys = append(r.keys, key)
	}
	if len(r.keys) == 0 || r.now == nil {
		return nil, errors.New("webhook: a secret and a clock are required")
	}
	return r, nil
}

// Check connects, and sends nothing.
func (p *Provider) Check(ctx context.Context) error { return p.client.Check(ctx) }

// Name returns "webhook".
func (p *Provider) Name() string { return "webhook" }

// event is the body. Fields are only ever added.
type event struct {
	Type      string    `json:"type"` // "letter.send"
	Timestamp time.Time `json:"timestamp"`
	Data      letter    `json:"data"`
}

type letter struct {
	ID      string `json:"id"`
	Channel string `json:"channel"` // email, sms
	To      string `json:"to"`
	From    string `json:"from"`
	Subject string `json:"subject,omitempty"`
	Text    string `json:"text"`
	HTML    string `json:"html,omitempty"`
	Report  string `json:"report,omitempty"` // where to tell what became of it
}

// Send posts the letter. The receiver has taken it when it answers 200 to 299; it may name
// its own id as {"id": "…"}. webhook-id is the letter's id, the same in every try.
func (p *Provider) Send(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	now := p.now().UTC()
	body, err := json.Marshal(event{"letter.send", now, letter{
		ID: m.ID, Channel: string(m.Channel), To: m.To, From: m.From, Subject: m.Subject, Text: m.Text, HTML: m.HTML, Report: p.reports,
	}})
	if err != nil {
		return courier.Receipt{}, courier.Permanent("webhook_unencodable")
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	ok, no, err := p.client.Do(ctx, p.url, http.Header{
		"Content-Type":      {"application/json"},
		"Webhook-Id":        {m.ID},
		"Webhook-Timestamp": {stamp},
		"Webhook-Signature": {p.sign(m.ID, stamp, body)},
	}, body)
	if err != nil {
		return courier.Receipt{}, err
	}
	if no != nil {
		return courier.Receipt{}, p.client.Fault(no, "")
	}
	var taken struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(ok.Body, &taken) // an answer without it will do
	return courier.Receipt{ID: taken.ID[:min(len(taken.ID), 200)]}, nil
}

// sign makes the signature header: one "v1,<base64>" a key, over "id.timestamp.body".
func (r *Reader) sign(id, stamp string, body []byte) string {
	var out []string
	for _, key := range r.keys {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(id + "." + stamp + "."))
		m.Write(body)
		out = append(out, "v1,"+base64.StdEncoding.EncodeToString(m.Sum(nil)))
	}
	return strings.Join(out, " ")
}

// tolerance is how old or new a report may be, as the specification advises.
const tolerance = 5 * time.Minute

// report is what a receiver tells: {"type": "letter.report", "data": {"id": "…", "state": "delivered"}}.
type report struct {
	Type string `json:"type"`
	Data struct {
		ID    string        `json:"id"` // the letter's, or its Message-ID
		State courier.State `json:"state"`
		Code  string        `json:"code"`
	} `json:"data"`
}

// Receive reads a report.
func (r *Reader) Receive(a courier.Arrived) ([]courier.Report, error) {
	id, stamp := a.Header.Get("Webhook-Id"), a.Header.Get("Webhook-Timestamp")
	at, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || r.now().Sub(time.Unix(at, 0)).Abs() > tolerance || !r.signed(a.Header.Get("Webhook-Signature"), id, stamp, a.Body) {
		return nil, courier.ErrForged
	}
	var told report
	if json.Unmarshal(a.Body, &told) != nil || told.Type != "letter.report" {
		return nil, courier.ErrForged
	}
	switch told.Data.State {
	case courier.Underway, courier.Delivered, courier.NotDelivered, courier.Unclear:
		return []courier.Report{{Provider: r.provider, Letter: letterOf(told.Data.ID), State: told.Data.State, Code: post.Word(told.Data.Code)}}, nil
	}
	return nil, courier.ErrForged
}

// signed reports whether any signature of the header is by any of the keys.
func (r *Reader) signed(header, id, stamp string, body []byte) bool {
	fits := false
	for ours := range strings.FieldsSeq(r.sign(id, stamp, body)) {
		for theirs := range strings.FieldsSeq(header) {
			fits = hmac.Equal([]byte(ours), []byte(theirs)) || fits
		}
	}
	return fits
}

// letterOf is the letter of its id or of its Message-ID, as package smtp makes them.
func letterOf(id string) string {
	id, _, _ = strings.Cut(strings.Trim(id, "<>"), "@")
	return id
}
