// Package twilio sends SMS through Twilio's Messages API, and reads its status callbacks.
//
// Callbacks are those of twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks, signed as
// twilio.com/docs/usage/security has it: HMAC-SHA1 under the account's auth token, whatever a request of ours was made with.
package twilio

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what Twilio signs with; as an HMAC it holds
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"countersign/internal/courier"
	"countersign/internal/courier/post"
	"countersign/internal/guard"
	"countersign/internal/platform/secret"
)

// Config reaches an account at Twilio. AccountSID and the two of User and Password are
// required: an API key's SID and secret, or the account's SID and auth token.
type Config struct {
	AccountSID string
	User       string
	Password   secret.Token
	// Reports is where Twilio reports to, and Token the auth token that it signs with. Without both no reports are asked for.
	Reports string
	Token   secret.Token
	// Base is where the API is. Empty means https://api.twilio.com.
	Base string
	// Roots verify the API's certificate. Nil means the system's.
	Roots *x509.CertPool
}

// Provider is Twilio.
type Provider struct {
	c       Config
	client  *post.Client
	address string
	auth    string
}

// New checks the configuration; it sends nothing.
func New(c Config) (*Provider, error) {
	if c.AccountSID == "" || c.User == "" || c.Password.Empty() {
		return nil, errors.New("twilio: account SID, user and password are required")
	}
	if c.Base == "" {
		c.Base = "https://api.twilio.com"
	}
	client, err := post.New("twilio", c.Base, c.Roots)
	if err != nil {
		return nil, err
	}
	return &Provider{
		c: c, client: client,
		address: strings.TrimSuffix(c.Base, "/") + "/2010-04-01/Accounts/" + url.PathEscape(c.AccountSID) + "/Messages.json",
		auth:    "Basic " + base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Password.Reveal())),
	}, nil
}

// Name returns "twilio".
func (p *Provider) Name() string { return "twilio" }

// Send creates a message. The From of m is a number, a sender id, or the SID of a messaging
// service (MG and 32 hex digits).
//
// The letter's id goes along as I-Twilio-Idempotency-Token. Twilio documents that header
// for its own calls to customers and promises nothing for ours, so after a timeout a person may
// get the same code twice, which is better than never.
func (p *Provider) Send(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	sender := "From"
	if strings.HasPrefix(m.From, "MG") && len(m.From) == 34 {
		sender = "MessagingServiceSid"
	}
	form := url.Values{"To": {m.To}, sender: {m.From}, "Body": {m.Text}}
	if p.reports() {
		form.Set("StatusCallback", p.callback(m.ID))
	}
	ok, no, err := p.client.Do(ctx, p.address, http.Header{
		"Authorization":              {p.auth},
		"Content-Type":               {"application/x-www-form-urlencoded"},
		"Accept":                     {"application/json"},
		"I-Twilio-Idempotency-Token": {m.ID},
	}, []byte(form.Encode()))
	if err != nil {
		return courier.Receipt{}, err
	}
	if no != nil {
		return courier.Receipt{}, p.refused(no)
	}
	var made struct {
		SID string `json:"sid"`
	}
	_ = json.Unmarshal(ok.Body, &made) // it was taken: an answer we cannot read is no reason to send twice
	return courier.Receipt{ID: made.SID}, nil
}

// refused reads Twilio's error number; its message quotes the number the letter went to.
func (p *Provider) refused(r *post.Refusal) error {
	var why struct {
		Code int `json:"code"`
	}
	_ = json.Unmarshal(r.Body, &why)
	if why.Code == 0 {
		return p.client.Fault(r, "")
	}
	return p.client.Fault(r, strconv.Itoa(why.Code))
}

func (p *Provider) reports() bool { return p.c.Reports != "" && !p.c.Token.Empty() }

func (p *Provider) callback(letter string) string {
	return p.c.Reports + "?" + url.Values{"letter": {letter}}.Encode()
}

// Receive reads a status callback. The signature is over the address that the callback was asked to come to, letter and all, and over every
// field; the address that it did come to may have been changed by a proxy.
func (p *Provider) Receive(a courier.Arrived) ([]courier.Report, error) {
	letter := a.Query.Get("letter")
	form, err := p.signed(a, p.callback(letter))
	if err != nil {
		return nil, err
	}
	state := map[string]courier.State{
		"delivered": courier.Delivered, "read": courier.Delivered, "undelivered": courier.NotDelivered, "failed": courier.NotDelivered, "canceled": courier.NotDelivered,
	}[form.Get("MessageStatus")]
	if state == "" {
		state = courier.Underway // accepted, scheduled, queued, sending, sent
	}
	return []courier.Report{{
		Provider: p.Name(), Letter: letter, ID: post.Word(form.Get("MessageSid")), State: state, Code: post.Word(form.Get("ErrorCode")),
		To: courier.Number(form.Get("To")), Country: guard.Region(form.Get("To")),
	}}, nil
}

// signed returns the fields of what Twilio sent to an address.
func (p *Provider) signed(a courier.Arrived, address string) (url.Values, error) {
	form, err := url.ParseQuery(string(a.Body))
	sent, malformed := base64.StdEncoding.DecodeString(a.Header.Get("X-Twilio-Signature"))
	if err != nil || malformed != nil || !p.reports() {
		return nil, courier.ErrForged
	}
	m := hmac.New(sha1.New, []byte(p.c.Token.Reveal()))
	m.Write([]byte(address))
	for _, name := range slices.Sorted(maps.Keys(form)) {
		m.Write([]byte(name + strings.Join(form[name], "")))
	}
	if !hmac.Equal(sent, m.Sum(nil)) {
		return nil, courier.ErrForged
	}
	return form, nil
}
