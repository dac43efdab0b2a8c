// Package smtp sends e-mail through a mail server.
package smtp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"strconv"
	"strings"
	"sync"
	"time"

	gomail "github.com/wneessen/go-mail"

	"countersign/internal/courier"
	"countersign/internal/courier/token"
	"countersign/internal/platform/secret"
)

// Security says how the connection is protected.
type Security string

// The kinds of protection. There is no "if the server offers it": whoever stands
// between could take the offer out.
const (
	StartTLS Security = "starttls" // plain, then TLS before anything else (port 587)
	Implicit Security = "implicit" // TLS from the first byte (port 465)
	None     Security = "none"     // to this machine only
)

// Config reaches a mail server. Host and Now are required.
type Config struct {
	Host     string
	Port     int      // 0 means 587, 465 or 25, after Security
	Security Security // empty means StartTLS
	User     string   // empty: no authentication
	Password secret.Token
	OAuth    *token.Config // tokens in the place of a password
	// Connections is how many are had at once; 0 means 8.
	Connections int
	Hello       string // the name we greet with; empty means the domain of the sender
	Bounces     string // where letters that cannot be delivered come back to; empty means the sender's address
	Now         func() time.Time
	// Roots verify the server's certificate. Nil means the system's.
	Roots *x509.CertPool
}

// Provider is a mail server.
type Provider struct {
	c Config

	tokens *token.Source // nil: User and Password

	mu   sync.Mutex
	idle []*link // the one used last at the end
}

// New checks the configuration; it connects to nothing.
func New(c Config) (*Provider, error) {
	if c.Host == "" || c.Now == nil {
		return nil, errors.New("smtp: host and clock are required")
	}
	if c.Security == "" {
		c.Security = StartTLS
	}
	port, ok := map[Security]int{StartTLS: 587, Implicit: 465, None: 25}[c.Security]
	if !ok {
		return nil, fmt.Errorf("smtp: security %q: want starttls, implicit or none", c.Security)
	}
	if c.Port == 0 {
		c.Port = port
	}
	if ip := net.ParseIP(c.Host); c.Security == None && c.Host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, errors.New("smtp: security none is for a mail server on this machine only")
	}
	if c.Connections == 0 {
		c.Connections = 8
	}
	if c.OAuth != nil && c.Security == None {
		return nil, errors.New("smtp: tokens are for a connection with TLS only")
	}
	p := &Provider{c: c}
	if c.OAuth != nil {
		p.tokens = token.New(*c.OAuth)
	}
	return p, nil
}

// Name returns "smtp".
func (p *Provider) Name() string { return "smtp" }

// Send hands one letter over, on a connection that is kept from others or a new one. Its Message-ID is made of the
// letter's id, so a letter that is sent twice can be recognised.
func (p *Provider) Send(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	msg, domain, err := p.compose(m)
	if err != nil {
		return courier.Receipt{}, err
	}
	l, kept, err := p.take(ctx, domain)
	if err == nil {
		err = l.send(ctx, m.To, msg)
	}
	if kept && hungUp(err) { // as servers do when they have heard nothing for a while: nothing was taken
		l.close()
		if l, err = p.dial(ctx, domain); err == nil {
			err = l.send(ctx, m.To, msg)
		}
	}
	if err == nil {
		p.keep(l)
	} else if l != nil {
		l.close()
	}
	if err == nil || msg.IsDelivered() { // a lost goodbye does not undo the delivery
		return courier.Receipt{ID: strings.Trim(msg.GetMessageID(), "<>")}, nil
	}
	return courier.Receipt{}, classify(ctx, err)
}

// compose builds the letter. Errors of the address parser quote the address, so they are replaced.
func (p *Provider) compose(m courier.Message) (msg *gomail.Msg, domain string, err error) {
	from, err := mail.ParseAddress(m.From)
	if err != nil {
		return nil, "", courier.Temporary("smtp_sender_malformed", nil)
	}
	domain = from.Address[strings.LastIndexByte(from.Address, '@')+1:]
	to, err := mail.ParseAddress(m.To)
	if err != nil || to.Address != m.To || strings.ContainsAny(m.To+m.Subject, "\r\n") {
		return nil, "", courier.Permanent("smtp_recipient_malformed")
	}
	msg = gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(from)
	msg.ToMailAddress(to)
	if p.c.Bounces != "" {
		if err := msg.EnvelopeFrom(p.c.Bounces); err != nil {
			return nil, "", courier.Temporary("smtp_bounces_malformed", nil)
		}
	}
	msg.Subject(m.Subject)
	msg.SetMessageIDWithValue(m.ID + "@" + domain)
	msg.SetDateWithValue(p.c.Now())
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office answers
	msg.SetGenHeader("X-Auto-Response-Suppress", "All")  // the same for Exchange
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	return msg, domain, nil
}

func (p *Provider) tls() *tls.Config {
	return &tls.Config{ServerName: p.c.Host, RootCAs: p.c.Roots, MinVersion: tls.VersionTLS12}
}

// classify keeps a server's codes and drops its words, which quote the address. Only a
// refusal of this recipient or this text is permanent: a refused sender or password is ours
// to put right while the letter waits.
func classify(ctx context.Context, err error) *courier.Error {
	if e, ok := errors.AsType[*courier.Error](err); ok {
		return e
	}
	if n, ok := errors.AsType[net.Error](err); ctx.Err() != nil || ok && n.Timeout() {
		return courier.Temporary("smtp_timeout", nil)
	}
	sent, ok := errors.AsType[*gomail.SendError](err)
	if !ok {
		return courier.Temporary("smtp_connect", transport(err))
	}
	if sent.ErrorCode() == 0 {
		return courier.Temporary("smtp_interrupted", nil)
	}
	code := "smtp_" + strconv.Itoa(sent.ErrorCode())
	if enhanced := sent.EnhancedStatusCode(); enhanced != "" {
		code += "_" + enhanced
	}
	ours := sent.Reason != gomail.ErrSMTPRcptTo && sent.Reason != gomail.ErrSMTPData && sent.Reason != gomail.ErrSMTPDataClose
	if sent.ErrorCode() < 500 || ours {
		return courier.Temporary(code, nil)
	}
	return courier.Permanent(code)
}

// transport returns the part of a connection error that an operator needs and that cannot
// hold an address: a failed dial or handshake, or a refusal's first word.
func transport(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	if strings.Contains(err.Error(), "STARTTLS") {
		return errors.New("the server offers no STARTTLS")
	}
	if strings.Contains(err.Error(), "AUTH") {
		return errors.New("the server refused user and password")
	}
	return errors.New("no conversation")
}
