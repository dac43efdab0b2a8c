// Package amazon is what Amazon's services have in common: the signature over requests to them, and the messages that SNS brings of others.
//
// Keys are an IAM user's: roles of machines are not asked for.
package amazon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"countersign/internal/platform/secret"
)

// Signer signs requests (version 4), by the signer of aws-sdk-go-v2 alone. All fields are required.
type Signer struct {
	Service string // as Amazon calls it: sns, ses
	Region  string // such as eu-central-1
	Key     string // an access key's id
	Secret  secret.Token
	Now     func() time.Time
}

// Check says what is missing.
func (s Signer) Check() error {
	if s.Region == "" || strings.Trim(s.Region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return errors.New(s.Service + ": a region such as eu-central-1 is required")
	}
	if s.Key == "" || s.Secret.Empty() || s.Now == nil {
		return errors.New(s.Service + ": an access key, its secret and a clock are required")
	}
	return nil
}

// Sign returns the headers of a request with this method, address, type and body. Host, length and headers are what the signature is over:
// the request must be made as package post makes it.
func (s Signer) Sign(ctx context.Context, method, address, kind string, body []byte) (http.Header, error) {
	like, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(string(body)))
	if err != nil {
		return nil, err
	}
	if kind != "" {
		like.Header.Set("Content-Type", kind)
	}
	sum := sha256.Sum256(body)
	key := aws.Credentials{AccessKeyID: s.Key, SecretAccessKey: s.Secret.Reveal()}
	if err := v4.NewSigner().SignHTTP(ctx, key, like, hex.EncodeToString(sum[:]), s.Service, s.Region, s.Now()); err != nil {
		return nil, err
	}
	return like.Header, nil
}
