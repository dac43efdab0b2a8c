// Package post sends one HTTP request to a provider and classes what came of it.
package post

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"countersign/internal/courier"
)

// Client posts to one provider's address. Make it with New.
type Client struct {
	name string // begins every error code
	http *http.Client
	dial func(ctx context.Context) (net.Conn, error) // what a request would use
}

// New returns a client for an address that must be https, or http to this machine. Certificates
// are always verified, against roots if given and the system's otherwise; no redirect is
// followed (it would carry address and code elsewhere), and no proxy is asked.
func New(name, address string, roots *x509.CertPool) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("%s: the address must be an absolute URL without user and password", name) // it may hold a secret: not quoted
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: notOfThisLink}
	switch u.Scheme {
	case "https":
	case "http":
		if !local(u.Hostname()) {
			return nil, fmt.Errorf("%s: http:// is for this machine only (localhost, 127.0.0.1): elsewhere it must be https://", name)
		}
		dialer.Control = loopbackOnly
	default:
		return nil, fmt.Errorf("%s: the address must begin with https:// (http:// only to this machine)", name)
	}
	transport := &http.Transport{
		DialContext:         dialer.DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: atOnce,
		IdleConnTimeout:     60 * time.Second,
	}
	return &Client{name: name, http: &http.Client{CheckRedirect: NoRedirect, Transport: transport}, dial: func(ctx context.Context) (net.Conn, error) {
		if u.Scheme == "https" {
			return (&tls.Dialer{NetDialer: dialer, Config: transport.TLSClientConfig}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443")))
		}
		return dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80")))
	}}, nil
}

// Check connects, and sends nothing.
func (c *Client) Check(ctx context.Context) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return c.transport(err)
	}
	return conn.Close()
}

// atOnce is how many letters a courier has under way: each has its connection, and opening one anew takes longer than the letter.
const atOnce = 256

// notOfThisLink refuses the addresses at which clouds tell a machine's secrets to whoever runs on it, and others that no provider has.
// It is asked after the name was resolved. Addresses of private networks are allowed: an operator's own programs are there.
func notOfThisLink(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap().WithZone("")
	metadata := []netip.Addr{netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200")} // of Amazon and Alibaba, outside the link's range
	if ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || slices.Contains(metadata, ip) {
		return errors.New("link-local and metadata addresses are not called")
	}
	return nil
}

// NoRedirect has a client follow no redirect: it would carry addresses, codes and tokens elsewhere.
func NoRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// local reports whether a host names this machine, which localhost always does (RFC 6761 section 6.3).
func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// loopbackOnly is asked after the name was resolved, so a name that points elsewhere is no way out.
func loopbackOnly(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return errors.New("http without TLS is for this machine only")
	}
	return nil
}

// Answer is a provider's answer with a status of 200 to 299.
type Answer struct {
	Status int
	Body   []byte // empty if it broke off
}

// Refusal is any other answer.
type Refusal struct {
	Status int
	After  time.Duration // from Retry-After
	Header http.Header
	Body   []byte // may quote the address: for codes to be found in, not to be logged
}

// Do posts. Exactly one of the three results is there; an error is a *courier.Error.
func (c *Client) Do(ctx context.Context, address string, header http.Header, body []byte) (*Answer, *Refusal, error) {
	return c.Call(ctx, http.MethodPost, address, header, body)
}

// Call is Do with another method.
func (c *Client) Call(ctx context.Context, method, address string, header http.Header, body []byte) (*Answer, *Refusal, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, nil, courier.Temporary(c.name+"_request", nil)
	}
	req.Header = header
	req.Header.Set("User-Agent", "countersign")
	res, err := c.http.Do(req)
	if err != nil {
		return nil, nil, c.transport(err)
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		if err != nil {
			got = nil // half an answer is none
		}
		return &Answer{Status: res.StatusCode, Body: got}, nil, nil // taken, even if the rest of the answer was lost
	}
	if err != nil {
		return nil, nil, c.transport(err)
	}
	return nil, &Refusal{Status: res.StatusCode, After: retryAfter(res.Header), Header: res.Header, Body: got}, nil
}

// transport classes a request that got no answer: whether the letter went is unknown.
func (c *Client) transport(err error) *courier.Error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the URL may hold a secret
	}
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() || errors.Is(err, context.Canceled) {
		return courier.Temporary(c.name+"_timeout", nil)
	}
	e := courier.Temporary(c.name+"_unreachable", err)
	if o, ok := errors.AsType[*net.OpError](err); ok {
		e.NotTaken = o.Op == "dial"
	}
	return e
}

// Fault makes the error for a refusal. Only an answer that condemns this very letter is
// permanent; what accuses our configuration (401, 403, 404) can be put right by an
// operator while the letter waits.
func (c *Client) Fault(r *Refusal, detail string) *courier.Error {
	code := c.name + "_http_" + strconv.Itoa(r.Status)
	if detail != "" {
		code += "_" + detail
	}
	e := courier.Temporary(code, nil)
	e.NotTaken = true
	switch r.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusProxyAuthRequired,
		http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
	default:
		e.Permanent = r.Status >= 400 && r.Status < 500
	}
	e.After = r.After
	return e
}

// Refused is the error for a letter that was refused in an answer of 200 to 299, which some providers give
// whatever they have done: detail is the provider's own code.
func (c *Client) Refused(detail string, permanent bool) *courier.Error {
	e := courier.Temporary(c.name+"_"+detail, nil)
	e.Permanent, e.NotTaken = permanent, true
	return e
}

// Unclear is the error for an answer of 200 to 299 that does not say whether the letter was taken.
func (c *Client) Unclear() *courier.Error { return courier.Temporary(c.name+"_answer_unclear", nil) }

// Word returns a provider's code if it is one, and nothing if it might be a sentence: those quote the address.
func Word(code string) string {
	if len(code) > 48 || strings.ContainsFunc(code, func(r rune) bool {
		return r != '_' && r != '.' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) || strings.Trim(code, "0123456789") == "" && len(code) > 6 { // as long as a number
		return ""
	}
	return code
}

func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0 // the date form is not worth a clock: our own delays serve
	}
	return time.Duration(min(n, 3600)) * time.Second
}
