package amazon

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // what SNS signs with unless a topic is set to version 2
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/post"
)

// Topic is a topic of SNS that posts its messages to an address of ours. Make it with NewTopic.
//
// Messages are those of docs.aws.amazon.com/sns/latest/dg/http-notification-json.html and http-subscription-confirmation-json.html, signed as
// sns-verify-signature-of-message.html there has it, in both versions.
type Topic struct {
	arn, host string
	now       func() time.Time
	client    *http.Client
	roots     *x509.CertPool

	mu    sync.Mutex
	known map[string]*x509.Certificate // by address
	ask   time.Time                    // no certificate is asked for before
}

// arn is a topic's name, with its region.
var arn = regexp.MustCompile(`^arn:aws(?:-us-gov)?:sns:([a-z0-9-]+):\d{12}:[A-Za-z0-9_-]{1,256}$`)

const (
	// oldest is how old a message may be: SNS tries for an hour.
	oldest = 2 * time.Hour
	// ahead is how much another clock may be.
	ahead = 5 * time.Minute
	// askEvery keeps forged messages, which name certificates that are not there, from having us ask Amazon for each.
	askEvery = 5 * time.Second
	// timeout bounds one question to Amazon.
	timeout = 5 * time.Second
	// most is more than a certificate has, in bytes.
	most = 64 << 10
)

// NewTopic returns the topic of a name. client asks Amazon, nil for a usual one; roots verify the certificates that messages are signed with, nil for the
// system's.
func NewTopic(name string, now func() time.Time, client *http.Client, roots *x509.CertPool) (*Topic, error) {
	part := arn.FindStringSubmatch(name)
	if part == nil || now == nil {
		return nil, errors.New("want a topic such as arn:aws:sns:eu-central-1:123456789012:name, and a clock")
	}
	if client == nil {
		client = &http.Client{Timeout: timeout}
	}
	asks := *client
	asks.CheckRedirect = post.NoRedirect
	return &Topic{arn: name, host: "sns." + part[1] + ".amazonaws.com", now: now, client: &asks, roots: roots, known: map[string]*x509.Certificate{}}, nil
}

// message is what SNS posts.
type message struct {
	Type             string
	MessageID        string `json:"MessageId"`
	TopicArn         string
	Subject          *string
	Message          string
	Timestamp        string
	Token            string
	SubscribeURL     string
	SignatureVersion string
	Signature        string
	SigningCertURL   string
}

// Open returns what was published to the topic; empty for a message about the subscription itself, which is confirmed if this topic asks for it. Its error is
// courier.ErrForged for what SNS has not signed for this topic or has signed too long ago; any other may pass.
func (t *Topic) Open(body []byte) (published string, err error) {
	var m message
	if json.Unmarshal(body, &m) != nil || m.TopicArn != t.arn { // looked at first: the rest costs more
		return "", courier.ErrForged
	}
	at, err := time.Parse(time.RFC3339, m.Timestamp)
	if age := t.now().Sub(at); err != nil || age > oldest || age < -ahead {
		return "", courier.ErrForged
	}
	signed, err := m.signed()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*timeout)
	defer cancel()
	cert, err := t.certificate(ctx, m.SigningCertURL)
	if err != nil {
		return "", err
	}
	if !fits(cert, m, signed) {
		return "", courier.ErrForged
	}
	if m.Type == "SubscriptionConfirmation" {
		return "", t.confirm(ctx, m.Token)
	}
	if m.Type == "Notification" {
		return m.Message, nil
	}
	return "", nil // the subscription has ended
}

// signed is the text that the signature is over. Types are compared with all of a value: a text that was published to a topic of somebody else may
// hold lines that look like fields, but never the last ones.
func (m message) signed() (string, error) {
	fields := [][2]string{{"Message", m.Message}, {"MessageId", m.MessageID}}
	switch m.Type {
	case "Notification":
		if m.Subject != nil {
			fields = append(fields, [2]string{"Subject", *m.Subject})
		}
		fields = append(fields, [2]string{"Timestamp", m.Timestamp})
	case "SubscriptionConfirmation", "UnsubscribeConfirmation":
		fields = append(fields, [2]string{"SubscribeURL", m.SubscribeURL}, [2]string{"Timestamp", m.Timestamp}, [2]string{"Token", m.Token})
	default:
		return "", courier.ErrForged
	}
	var b strings.Builder
	for _, f := range append(fields, [2]string{"TopicArn", m.TopicArn}, [2]string{"Type", m.Type}) {
		b.WriteString(f[0] + "\n" + f[1] + "\n")
	}
	return b.String(), nil
}

func fits(cert *x509.Certificate, m message, signed string) bool {
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	signature, err := base64.StdEncoding.DecodeString(m.Signature)
	if !ok || err != nil {
		return false
	}
	switch m.SignatureVersion {
	case "1":
		sum := sha1.Sum([]byte(signed)) //nolint:gosec // see the import
		return rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], signature) == nil
	case "2":
		sum := sha256.Sum256([]byte(signed))
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
	}
	return false
}

// place is where SNS keeps its certificates.
var place = regexp.MustCompile(`^/SimpleNotificationService-[0-9a-f]{1,64}\.pem$`)

// certificate is the one at an address, which must be of SNS in the topic's region. It is kept for as long as it is good.
func (t *Topic) certificate(ctx context.Context, address string) (*x509.Certificate, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host != t.host || !place.MatchString(u.Path) || address != "https://"+t.host+u.Path {
		return nil, courier.ErrForged
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if cert := t.known[address]; cert != nil && now.Before(cert.NotAfter) {
		return cert, nil
	}
	if now.Before(t.ask) {
		return nil, errors.New("another certificate of SNS was asked for just now")
	}
	t.ask = now.Add(askEvery)
	text, err := t.get(ctx, address)
	if err != nil {
		return nil, err
	}
	cert, err := t.verified(ctx, text, now)
	if err != nil {
		return nil, err
	}
	clear(t.known) // a topic has one, and now and then another
	t.known[address] = cert
	return cert, nil
}

// verified is the first of some certificates, if it is of SNS and somebody whom we trust has issued it.
func (t *Topic) verified(ctx context.Context, text []byte, now time.Time) (*x509.Certificate, error) {
	var chain []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate of SNS: %w", err)
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, errors.New("there is no certificate where SNS keeps its certificates")
	}
	leaf := chain[0]
	if leaf.VerifyHostname("sns.amazonaws.com") != nil && leaf.VerifyHostname(t.host) != nil {
		return nil, errors.New("the certificate is not that of SNS")
	}
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	how := x509.VerifyOptions{Roots: t.roots, Intermediates: between, CurrentTime: now}
	_, err := leaf.Verify(how)
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		if issuer := t.issuer(ctx, leaf); issuer != nil {
			between.AddCert(issuer)
			_, err = leaf.Verify(how)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("certificate of SNS: %w", err)
	}
	return leaf, nil
}

// issuer is who has issued a certificate, as Amazon's authority (amazontrust.com) publishes it: SNS shows its own certificate alone. Where it is from does
// not matter, since it is verified as well.
func (t *Topic) issuer(ctx context.Context, leaf *x509.Certificate) *x509.Certificate {
	for _, address := range leaf.IssuingCertificateURL {
		u, err := url.Parse(address)
		if err != nil || !strings.HasSuffix(u.Hostname(), ".amazontrust.com") {
			continue
		}
		if der, err := t.get(ctx, address); err == nil {
			if cert, err := x509.ParseCertificate(der); err == nil {
				return cert
			}
		}
	}
	return nil
}

// confirm tells SNS that its messages are wanted. The address is made here, and not the one that a message brings.
func (t *Topic) confirm(ctx context.Context, token string) error {
	ask := url.Values{"Action": {"ConfirmSubscription"}, "TopicArn": {t.arn}, "Token": {token}}
	_, err := t.get(ctx, "https://"+t.host+"/?"+ask.Encode())
	return err
}

// get asks Amazon. Its errors quote no address: that of a confirmation holds a token.
func (t *Topic) get(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errors.New("ask SNS: the address is malformed")
	}
	res, err := t.client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return nil, fmt.Errorf("ask SNS: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask SNS: status %d", res.StatusCode)
	}
	return io.ReadAll(io.LimitReader(res.Body, most))
}
