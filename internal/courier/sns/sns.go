// Package sns sends SMS through Amazon SNS.
//
// It is one form, Action=Publish (docs.aws.amazon.com/sns/latest/api/API_Publish.html), signed as package amazon does; the
// bytes are those that the client for SNS of aws-sdk-go-v2 sends.
// SNS has no idempotency key for numbers, so a letter whose answer does not come may arrive twice, and reports delivery to CloudWatch only.
package sns

import (
	"context"
	"crypto/x509"
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/amazon"
	"countersign/internal/courier/post"
	"countersign/internal/platform/secret"
)

// Config reaches SNS. Region, Key, Secret and Now are required.
type Config struct {
	Region string // such as eu-central-1; not every region sends SMS
	Key    string // an access key's id
	Secret secret.Token
	// Base is where the API is. Empty means https://sns.REGION.amazonaws.com.
	Base string
	Now  func() time.Time
	// Roots verify the API's certificate. Nil means the system's.
	Roots *x509.CertPool
}

// Provider is SNS.
type Provider struct {
	c      Config
	client *post.Client
	signer amazon.Signer
}

// New checks the configuration; it sends nothing.
func New(c Config) (*Provider, error) {
	signer := amazon.Signer{Service: "sns", Region: c.Region, Key: c.Key, Secret: c.Secret, Now: c.Now}
	if err := signer.Check(); err != nil {
		return nil, err
	}
	if c.Base == "" {
		c.Base = "https://sns." + c.Region + ".amazonaws.com"
	}
	c.Base = strings.TrimSuffix(c.Base, "/") + "/"
	client, err := post.New("sns", c.Base, c.Roots)
	if err != nil {
		return nil, err
	}
	return &Provider{c: c, client: client, signer: signer}, nil
}

// Name returns "sns".
func (p *Provider) Name() string { return "sns" }

// Send publishes a message to a number. The From of m is a number or short code of the account, or a sender id.
func (p *Provider) Send(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	form := url.Values{"Action": {"Publish"}, "Version": {version}, "PhoneNumber": {m.To}, "Message": {m.Text}}
	attributes := [][2]string{{"AWS.SNS.SMS.SMSType", "Transactional"}}
	switch {
	case m.From == "": // one of the account's
	case strings.Trim(m.From, "+0123456789") == "":
		attributes = slices.Insert(attributes, 0, [2]string{"AWS.MM.SMS.OriginationNumber", m.From})
	default:
		attributes = slices.Insert(attributes, 0, [2]string{"AWS.SNS.SMS.SenderID", m.From})
	}
	for i, a := range attributes {
		entry := "MessageAttributes.entry." + string(rune('1'+i))
		form.Set(entry+".Name", a[0])
		form.Set(entry+".Value.DataType", "String")
		form.Set(entry+".Value.StringValue", a[1])
	}
	ok, no, err := p.post(ctx, form)
	if err != nil {
		return courier.Receipt{}, err
	}
	if no != nil {
		return courier.Receipt{}, p.refused(no)
	}
	var made struct {
		ID string `xml:"PublishResult>MessageId"`
	}
	_ = xml.Unmarshal(ok.Body, &made) // it was taken: an answer we cannot read is no reason to send twice
	return courier.Receipt{ID: made.ID}, nil
}

// version is the API's.
const version = "2010-03-31"

func (p *Provider) post(ctx context.Context, form url.Values) (*post.Answer, *post.Refusal, error) {
	body := []byte(form.Encode())
	header, err := p.signer.Sign(ctx, http.MethodPost, p.c.Base, "application/x-www-form-urlencoded", body)
	if err != nil {
		return nil, nil, courier.Temporary("sns_sign", nil)
	}
	return p.client.Do(ctx, p.c.Base, header, body)
}

// refused reads the code; its message may quote the number. A status of 400 may also mean that there are too many requests, or that ours is
// too old: only what accuses a parameter is for good.
func (p *Provider) refused(r *post.Refusal) error {
	e := p.client.Fault(r, code(r))
	e.Permanent = slices.Contains([]string{"InvalidParameter", "InvalidParameterValue", "OptedOut"}, code(r))
	return e
}

func code(r *post.Refusal) string {
	var why struct {
		Code string `xml:"Error>Code"`
	}
	_ = xml.Unmarshal(r.Body, &why)
	return post.Word(why.Code)
}

// Check asks for settings. That this user may not see them says that the key is right.
func (p *Provider) Check(ctx context.Context) error {
	_, no, err := p.post(ctx, url.Values{"Action": {"GetSMSAttributes"}, "Version": {version}})
	if no != nil && code(no) != "AuthorizationError" {
		return p.refused(no)
	}
	return err
}
