package smtp

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"syscall"
	"time"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"
	gosmtp "github.com/wneessen/go-mail/smtp"

	"countersign/internal/courier"
	"countersign/internal/courier/token"
)

const (
	// idleFor is how long a connection is kept for the next letter. Servers wait five minutes (RFC 5321 section
	// 4.5.3.2.7), and many less: Exchange Online hangs up after two, and busy relays after half a minute.
	idleFor = 20 * time.Second

	// maxLetters is how many letters take one connection: servers that allow so many and no more are common.
	maxLetters = 100

	// quietFor is how long the server may be silent, where the caller has set no end.
	quietFor = 30 * time.Second
)

// link is a conversation with the mail server.
type link struct {
	client  *gomail.Client
	smtp    *gosmtp.Client
	conn    net.Conn
	letters int
	ends    *time.Timer // while it is idle
}

// send hands a letter over. The end of ctx closes the connection under whatever the library is doing.
func (l *link) send(ctx context.Context, to string, msg *gomail.Msg) error {
	defer context.AfterFunc(ctx, l.close)()
	plain := true
	for i := range len(to) {
		plain = plain && to[i] < utf8.RuneSelf
	}
	if offers, _ := l.smtp.Extension("SMTPUTF8"); !plain && !offers { // RFC 6531: it may not even be tried
		return courier.Permanent("smtp_no_smtputf8")
	}
	l.smtp.SkipSMTPUTF8(plain)
	l.letters++
	return l.client.SendWithSMTPClient(l.smtp, msg)
}

func (l *link) close() { _ = l.conn.Close() }

// goodbye ends the conversation politely, but waits for no answer long.
func (l *link) goodbye() {
	_ = l.smtp.UpdateDeadline(time.Second)
	_ = l.smtp.Quit()
	l.close()
}

// hungUp reports whether the server had ended the conversation before the letter began, so that it took nothing.
func hungUp(err error) bool {
	sent, ok := errors.AsType[*gomail.SendError](err)
	const closing = 421 // RFC 5321 section 3.8
	return ok && (sent.Reason == gomail.ErrSMTPMailFrom || sent.Reason == gomail.ErrConnCheck) && (sent.ErrorCode() == 0 || sent.ErrorCode() == closing)
}

// take returns a connection, and whether it was kept from letters before.
func (p *Provider) take(ctx context.Context, domain string) (l *link, kept bool, err error) {
	p.mu.Lock()
	for n := len(p.idle); n > 0 && l == nil; n = len(p.idle) {
		last := p.idle[n-1]
		p.idle = p.idle[:n-1]
		if last.ends.Stop() { // otherwise it is closed at this moment
			l = last
		}
	}
	p.mu.Unlock()
	if l != nil {
		return l, true, nil
	}
	l, err = p.dial(ctx, domain)
	return l, false, err
}

// keep keeps a connection for the next letter.
func (p *Provider) keep(l *link) {
	p.mu.Lock()
	full := len(p.idle) >= p.c.Connections || l.letters >= maxLetters
	if !full {
		l.ends = time.AfterFunc(idleFor, func() { p.drop(l) })
		p.idle = append(p.idle, l)
	}
	p.mu.Unlock()
	if full {
		l.goodbye()
	}
}

func (p *Provider) drop(l *link) {
	p.mu.Lock()
	p.idle = slices.DeleteFunc(p.idle, func(other *link) bool { return other == l })
	p.mu.Unlock()
	l.goodbye()
}

// AtOnce is the number of connections.
func (p *Provider) AtOnce() int { return p.c.Connections }

// Check begins a conversation and ends it.
func (p *Provider) Check(ctx context.Context) error {
	l, err := p.dial(ctx, "localhost")
	if err != nil {
		return classify(ctx, err)
	}
	l.goodbye()
	return nil
}

// Close ends the conversations that are kept. Letters may still be sent, by new ones.
func (p *Provider) Close() error {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, l := range idle {
		if l.ends.Stop() {
			l.goodbye()
		}
	}
	return nil
}

// dial begins a conversation: greeting, TLS, and who we are.
func (p *Provider) dial(ctx context.Context, domain string) (*link, error) {
	l := &link{}
	stop := func() bool { return true }
	defer func() { stop() }()
	opts := []gomail.Option{
		gomail.WithPort(p.c.Port), gomail.WithHELO(cmp.Or(p.c.Hello, domain)), gomail.WithoutNoop(),
		gomail.WithTimeout(quietFor), gomail.WithTLSConfig(p.tls()),
		gomail.WithDialContextFunc(func(dial context.Context, network, address string) (conn net.Conn, err error) {
			if l.conn, err = p.connect(dial, network, address); err == nil {
				stop = context.AfterFunc(ctx, l.close)
			}
			return l.conn, err
		}),
	}
	switch p.c.Security {
	case Implicit:
		opts = append(opts, gomail.WithSSL())
	case StartTLS:
		opts = append(opts, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case None:
		opts = append(opts, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	switch {
	case p.tokens != nil:
		got, err := p.tokens.Get(ctx)
		if err != nil {
			return nil, courier.Temporary("smtp_oauth_"+token.Code(err), nil)
		}
		opts = append(opts, gomail.WithSMTPAuthCustom(&bearer{p.c.Host, p.c.Port, p.c.User, got.AccessToken}))
	case p.c.User != "":
		opts = append(opts, gomail.WithUsername(p.c.User), gomail.WithPassword(p.c.Password.Reveal()),
			gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin))
	}
	var err error
	if l.client, err = gomail.NewClient(p.c.Host, opts...); err != nil {
		return nil, courier.Temporary("smtp_configuration", nil)
	}
	if l.smtp, err = l.client.DialToSMTPClientWithContext(ctx); err != nil {
		if l.conn != nil {
			l.close()
		}
		return nil, err
	}
	return l, nil
}

func (p *Provider) connect(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{}
	switch p.c.Security {
	case Implicit:
		return (&tls.Dialer{NetDialer: d, Config: p.tls()}).DialContext(ctx, network, address)
	case None:
		d.Control = func(_, address string, _ syscall.RawConn) error {
			host, _, err := net.SplitHostPort(address)
			if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
				return errors.New("mail without TLS is for this machine only")
			}
			return nil
		}
	case StartTLS: // go-mail upgrades the plain connection
	}
	return d.DialContext(ctx, network, address)
}
