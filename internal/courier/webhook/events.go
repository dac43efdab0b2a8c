package webhook

import (
	"context"
	"crypto/x509"
	"net/http"
	"strconv"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/post"
	"countersign/internal/platform/secret"
)

// Events posts security events to one subscriber.
type Events struct {
	client *post.Client
	url    string
	now    func() time.Time
}

// NewEvents looks at the address; it sends nothing. Roots are as in Config.
func NewEvents(url string, now func() time.Time, roots *x509.CertPool) (*Events, error) {
	client, err := post.New("webhook", url, roots)
	if err != nil {
		return nil, err
	}
	return &Events{client: client, url: url, now: now}, nil
}

// Post sends one event. The subscriber has it when it answers 200 to 299; any other answer is an error, and gone says that it was 410.
func (e *Events) Post(ctx context.Context, id string, secrets []secret.Token, body []byte) (gone bool, err error) {
	signer, err := NewReader("webhook", secrets, e.now)
	if err != nil {
		return false, courier.Temporary("webhook_secret", err)
	}
	stamp := strconv.FormatInt(e.now().Unix(), 10)
	_, no, err := e.client.Do(ctx, e.url, http.Header{
		"Content-Type":      {"application/json"},
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {stamp},
		"Webhook-Signature": {signer.sign(id, stamp, body)},
	}, body)
	if no != nil {
		return no.Status == http.StatusGone, e.client.Fault(no, "")
	}
	return false, err
}
