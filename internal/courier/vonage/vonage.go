// Package vonage sends SMS through Vonage's SMS API, which was Nexmo's.
//
// The wire format is that of the API's OpenAPI description (Nexmo/api-specification, definitions/sms.yml;
// developer.vonage.com/en/api/sms), the signature that of developer.vonage.com/getting-started/concepts/signing-messages,
// the statuses those of developer.vonage.com/messaging/sms/guides/troubleshooting-sms. Vonage has no idempotency key: the
// letter's id goes along as client-ref, and a letter whose answer does not come may arrive twice.
package vonage

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/post"
	"countersign/internal/guard"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
)

// Config reaches an account at Vonage. Key, Now and at least one of the secrets are required.
type Config struct {
	Key    string
	Secret secret.Token
	// Signature signs requests, so that the secret itself stays here. The account must be set to SHA-256 HMAC.
	Signature secret.Token
	// Reports is where Vonage reports to. Without Signature no reports are asked for.
	Reports string
	// Base is where the API is. Empty means https://rest.nexmo.com.
	Base string
	Now  func() time.Time
	// Roots verify the API's certificate. Nil means the system's.
	Roots *x509.CertPool
}

// Provider is Vonage.
type Provider struct {
	c      Config
	client *post.Client
}

// New checks the configuration; it sends nothing.
func New(c Config) (*Provider, error) {
	if c.Key == "" || c.Secret.Empty() && c.Signature.Empty() || c.Now == nil {
		return nil, errors.New("vonage: an API key, its secret or the signature secret, and a clock are required")
	}
	if len(c.Reports) > 100 { // the most that the API takes
		return nil, errors.New("vonage: the address for reports has more than 100 characters")
	}
	if c.Base == "" {
		c.Base = "https://rest.nexmo.com"
	}
	c.Base = strings.TrimSuffix(c.Base, "/")
	client, err := post.New("vonage", c.Base, c.Roots)
	if err != nil {
		return nil, err
	}
	return &Provider{c: c, client: client}, nil
}

// Name returns "vonage".
func (p *Provider) Name() string { return "vonage" }

// Send sends a message. The answer has the status 200 whatever it says, and an entry for each part of a long message; the receipt has the
// last part's id.
func (p *Provider) Send(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	form := url.Values{"to": {strings.TrimPrefix(m.To, "+")}, "from": {strings.TrimPrefix(m.From, "+")}, "text": {m.Text}, "client-ref": {m.ID}}
	if !message.GSM(m.Text) {
		form.Set("type", "unicode")
	}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	if p.c.Signature.Empty() {
		header.Set("Authorization", p.basic())
	} else {
		if p.c.Reports != "" {
			form.Set("callback", p.c.Reports)
		}
		form.Set("api_key", p.c.Key)
		form.Set("timestamp", strconv.FormatInt(p.c.Now().Unix(), 10))
		form.Set("sig", hex.EncodeToString(sign(p.c.Signature, form)))
	}
	ok, no, err := p.client.Do(ctx, p.c.Base+"/sms/json", header, []byte(form.Encode()))
	if err != nil {
		return courier.Receipt{}, err
	}
	if no != nil {
		return courier.Receipt{}, p.client.Fault(no, "")
	}
	var made struct {
		Messages []struct {
			ID     string `json:"message-id"`
			Status string `json:"status"`
		} `json:"messages"`
	}
	if json.Unmarshal(ok.Body, &made) != nil || len(made.Messages) == 0 {
		return courier.Receipt{}, p.client.Unclear()
	}
	for i, part := range made.Messages {
		if part.Status != "0" {
			e := p.refused(part.Status)
			e.NotTaken = e.NotTaken && i == 0 // else some of it was
			return courier.Receipt{}, e
		}
	}
	return courier.Receipt{ID: made.Messages[len(made.Messages)-1].ID}, nil
}

// refused classes a status. Only what condemns this very message is for good: an invalid parameter (3), a number that nobody has (6), that is
// barred (7) or given up (33), a text too long (12), a network that is not the number's (22).
func (p *Provider) refused(status string) *courier.Error {
	e := p.client.Refused("status_"+post.Word(status), slices.Contains([]string{"3", "6", "7", "12", "22", "33"}, status))
	if status == "5" { // an error while the message was processed
		e.NotTaken = false
	}
	return e
}

func (p *Provider) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(p.c.Key+":"+p.c.Secret.Reveal()))
}

// unmarked takes out of a value what separates values.
var unmarked = strings.NewReplacer("&", "_", "=", "_") //nolint:gochecknoglobals // a constant

// sign makes the signature over parameters: each as "&name=value", sorted by name, with "_" for any "&" and "=" of a value.
func sign(key secret.Token, form url.Values) []byte {
	m := hmac.New(sha256.New, []byte(key.Reveal()))
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if name != "sig" {
			m.Write([]byte("&" + name + "=" + unmarked.Replace(form.Get(name))))
		}
	}
	return m.Sum(nil)
}

// oldest is how old a report may be: Vonage tries for a day.
const oldest = 25 * time.Hour

// A report has some twenty fields in half a KiB. More is not looked at, so that a forged one costs little.
const maxReport, maxFields = 8 << 10, 64

// Receive reads a delivery receipt, a form or the JSON of the same fields, which Vonage signs once its support has turned that on.
func (p *Provider) Receive(a courier.Arrived) ([]courier.Report, error) {
	if len(a.Body) > maxReport {
		return nil, courier.ErrForged
	}
	form, err := fields(a.Body)
	if err != nil || len(form) > maxFields {
		return nil, courier.ErrForged
	}
	at, err := strconv.ParseInt(form.Get("timestamp"), 10, 64)
	if err != nil || p.c.Now().Sub(time.Unix(at, 0)).Abs() > oldest {
		return nil, courier.ErrForged
	}
	sent, err := hex.DecodeString(form.Get("sig"))
	if err != nil || p.c.Signature.Empty() || !hmac.Equal(sent, sign(p.c.Signature, form)) {
		return nil, courier.ErrForged
	}
	state := map[string]courier.State{
		"delivered": courier.Delivered, "expired": courier.NotDelivered, "failed": courier.NotDelivered, "rejected": courier.NotDelivered,
		"accepted": courier.Underway, "buffered": courier.Underway,
	}[form.Get("status")]
	if state == "" {
		state = courier.Unclear
	}
	return []courier.Report{{
		Provider: p.Name(), Letter: form.Get("client-ref"), ID: post.Word(form.Get("messageId")), State: state, Code: post.Word(form.Get("err-code")),
		To: courier.Number("+" + form.Get("msisdn")), Country: guard.Region("+" + form.Get("msisdn")),
	}}, nil
}

// fields reads a form, or flat JSON. A field that stands there twice is none: two readers could believe different ones.
func fields(body []byte) (url.Values, error) {
	out := url.Values{}
	var flat map[string]string
	if json.Unmarshal(body, &flat) == nil {
		for name, value := range flat {
			out.Set(name, value)
		}
		return out, nil
	}
	out, err := url.ParseQuery(string(body))
	for _, values := range out {
		if len(values) != 1 {
			return nil, errors.New("a field stands there twice")
		}
	}
	return out, err
}

// Check asks for the account's balance, which takes the key and its secret; with the signature secret alone it asks nothing.
func (p *Provider) Check(ctx context.Context) error {
	if p.c.Secret.Empty() {
		return nil
	}
	_, no, err := p.client.Call(ctx, http.MethodGet, p.c.Base+"/account/get-balance", http.Header{"Authorization": {p.basic()}, "Accept": {"application/json"}}, nil)
	if no != nil {
		return p.client.Fault(no, "")
	}
	return err
}
