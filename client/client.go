// Package client is Countersign for Go servers: whose a session is, the second door for accounts of your own, and the events of webhooks. It uses
// the standard library alone, and may be copied.
//
// What Countersign refuses is an *Error whose Code is one of docs/errors.md, or "unreachable" when there was no answer. Any other error is of the
// configuration.
package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	patience  = 5 * time.Second // for an answer: a person waits
	maxAnswer = 1 << 20         // of bytes: the longest list is a hundredth of it
)

// Config is what a Client needs. URL is Countersign's public address. ID is the application's, as countersign oidc add has it, with its Secret, or with the
// private Key (P-256 or Ed25519) whose public half is registered for private_key_jwt under KeyID, or with neither and an HTTP whose transport shows its certificate: URL is
// then oidc.mtls_url, where there is the second door alone. None of them is needed for sessions alone.
type Config struct {
	URL    string
	ID     string
	Secret string
	Key    crypto.Signer
	KeyID  string
	HTTP   *http.Client     // nil for one that waits five seconds; redirects are never followed
	Now    func() time.Time // nil for time.Now
}

// Client calls Countersign. It is safe for concurrent use.
type Client struct {
	config Config
	base   string
	http   http.Client
	now    func() time.Time
}

// New returns a client, or says what of the configuration cannot be.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !near(u.Hostname())) {
		return nil, errors.New("countersign: want URL as https and host, such as https://id.example.org; http for this machine and private networks alone")
	}
	if c.Key != nil {
		if _, _, err := algorithm(c.Key); err != nil {
			return nil, err
		}
	}
	out := &Client{config: c, base: strings.TrimSuffix(c.URL, "/"), http: http.Client{Timeout: patience}, now: c.Now}
	if c.HTTP != nil {
		out.http = *c.HTTP
	}
	out.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // it would take the secret elsewhere
	if out.now == nil {
		out.now = time.Now
	}
	return out, nil
}

// near reports whether a host is this machine's, or an address of a private network: over http the secret crosses nothing else in clear.
func near(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && (a.IsLoopback() || a.IsPrivate())
}

// Error is a refusal. Code is one of docs/errors.md, or "unreachable"; Title says it in a sentence, and Detail, which is often empty, what is known beyond it. Both are for
// people who develop, but for client_outdated.
type Error struct {
	Status        int // of HTTP; 0 without an answer
	Code          string
	Title, Detail string
	RequestID     string        // of the call in Countersign's log
	RetryAfter    time.Duration // 0 if nothing was said
	cause         error
}

// Error returns the code, what is known beside it, and by which name the log knows the call.
func (e *Error) Error() string {
	text := "countersign: " + e.Code
	switch {
	case e.cause != nil:
		text += ": " + e.cause.Error()
	case e.Detail != "" || e.Title != "":
		text += ": " + cmp.Or(e.Detail, e.Title)
	}
	if e.RequestID != "" {
		text += " (request " + e.RequestID + ")"
	}
	return text
}

// Unwrap returns what kept an answer from coming.
func (e *Error) Unwrap() error { return e.cause }

// refused reports whether an error is Countersign's, with the status.
func refused(err error, status int) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == status
}

// request is one call.
type request struct {
	method, path  string
	body          any    // nil for none
	authorization string // empty: the application's own
	once          bool   // it has an effect that must not come twice
}

// call makes a call, and one that must be done once and got no answer once more: its key sees to it.
func (c *Client) call(ctx context.Context, r request, into any) error {
	key := ""
	if r.once {
		key = `"` + rand.Text() + `"`
	}
	err := c.try(ctx, r, key, into)
	if e, ok := errors.AsType[*Error](err); ok && key != "" && (e.Status == 0 || e.Code == "call_under_way") && ctx.Err() == nil {
		err = c.try(ctx, r, key, into)
	}
	return err
}

func (c *Client) try(ctx context.Context, r request, key string, into any) error {
	var body io.Reader
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return fmt.Errorf("countersign: %w", err)
		}
		body = bytes.NewReader(text)
	}
	q, err := http.NewRequestWithContext(ctx, r.method, c.base+"/api/v1"+r.path, body)
	if err != nil {
		return fmt.Errorf("countersign: %w", err)
	}
	if r.authorization == "" {
		if r.authorization, err = c.authorization(); err != nil {
			return err
		}
	}
	q.Header.Set("Authorization", r.authorization)
	if body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		q.Header.Set("Idempotency-Key", key)
	}
	a, err := c.http.Do(q)
	if err != nil {
		return &Error{Code: "unreachable", cause: err}
	}
	defer func() { _ = a.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(a.Body, maxAnswer))
	if err != nil {
		return &Error{Code: "unreachable", cause: err}
	}
	if a.StatusCode < 200 || a.StatusCode > 299 {
		return refusal(a, text)
	}
	if into == nil || len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return &Error{Status: a.StatusCode, Code: "internal", cause: err}
	}
	return nil
}

// refusal reads a problem (RFC 9457). A proxy's page is one without a code.
func refusal(a *http.Response, text []byte) error {
	var problem struct {
		Code, Title, Detail string
		RequestID           string `json:"request_id"`
	}
	_ = json.Unmarshal(text, &problem) // left as it is, there is no code
	e := &Error{Status: a.StatusCode, Code: cmp.Or(problem.Code, "internal"), Title: problem.Title, Detail: problem.Detail, RequestID: problem.RequestID}
	if wait, err := strconv.Atoi(a.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = time.Duration(wait) * time.Second
	}
	return e
}
