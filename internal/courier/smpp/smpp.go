// Package smpp sends SMS over SMPP 3.4, the protocol of the operators' own message centres.
//
// One connection, bound as a transceiver, is made for the first letter and kept: it is asked
// after, made again with growing pauses when it ends, and brings the delivery receipts. The wire
// format and the alphabets are github.com/linxGnu/gosmpp's. The connection and its window are
// ours: that library files a request only after it has written it, so a quick answer is lost, and
// its letter would be sent twice.
//
// SMPP knows no idempotency key. A letter whose answer does not come is sent again and may arrive
// twice; both carry the same user_message_reference, made of the letter's id.
package smpp

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"countersign/internal/courier"
	"countersign/internal/platform/secret"
)

const (
	// patience is how long a letter waits for the link or the end of a pause. A longer pause is
	// an error, and the letter waits in the outbox, where another route may take it.
	patience = time.Second
	// longestPause is between two tries to connect, and for a centre that wants fewer letters.
	longestPause = time.Minute
	// steady is how long a link must have stood for its end to be bad luck: the next is made at once.
	steady = 10 * time.Second
	// replyTime is what a centre may take to answer a bind, an enquiry or a goodbye.
	replyTime = 10 * time.Second
	// enquireEvery is how often a link is asked after. Firewalls forget quiet connections after a minute.
	enquireEvery = 30 * time.Second

	defaultWindow = 10
)

// Config reaches a message centre. Address, SystemID and Now are required.
type Config struct {
	Address string // host:port
	// TLS is off only for centres on this machine or in a private network: a tunnel's.
	TLS        bool
	SystemID   string
	Password   secret.Token
	SystemType string
	// Window is how many messages may be under way unanswered; 0 means 10.
	Window int
	// Source says what kind of address senders have. The zero value derives it from each.
	Source Source
	// Report is told of delivery receipts. It must not block. Nil asks for none.
	Report func(courier.Report)
	Now    func() time.Time
	// Roots verify the centre's certificate. Nil means the system's.
	Roots *x509.CertPool
}

// Provider is a message centre. Close it.
type Provider struct {
	c     Config
	slots chan struct{} // one for each message under way

	mu      sync.Mutex
	link    *link
	changed chan struct{} // closed, and replaced, with each change of link or why
	until   time.Time     // nothing is sent before,
	why     *courier.Error
	slower  time.Duration // the last pause that the centre asked for
	stop    context.CancelFunc
	ended   chan struct{} // nil before the first letter
	closed  bool
}

// New checks the configuration; it connects to nothing.
func New(c Config) (*Provider, error) {
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || host == "" || port == "" {
		return nil, errors.New("smpp: the address must be host:port, such as smsc.example.net:3550")
	}
	if c.SystemID == "" || c.Now == nil {
		return nil, errors.New("smpp: a system id and a clock are required")
	}
	// 15 and 12 are the protocol's. It gives passwords 8, but many centres give longer ones.
	for name, v := range map[string]struct {
		text string
		most int
	}{"system id": {c.SystemID, 15}, "password": {c.Password.Reveal(), 64}, "system type": {c.SystemType, 12}} {
		if len(v.text) > v.most || strings.ContainsFunc(v.text, func(r rune) bool { return r < ' ' || r > '~' }) {
			return nil, fmt.Errorf("smpp: the %s must be at most %d characters of ASCII", name, v.most)
		}
	}
	if c.Window == 0 {
		c.Window = defaultWindow
	}
	return &Provider{c: c, slots: make(chan struct{}, c.Window), changed: make(chan struct{})}, nil
}

// Name returns "smpp".
func (p *Provider) Name() string { return "smpp" }

// Send submits a letter, in parts if it is long, and waits for the centre to acknowledge each.
// The receipt has the last part's id, which is the one that delivery is reported for.
func (p *Provider) Send(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	parts, err := p.parts(m)
	if err != nil {
		return courier.Receipt{}, err
	}
	var id string
	for i, part := range parts {
		if id, err = p.submit(ctx, part); err != nil {
			if e, ok := errors.AsType[*courier.Error](err); ok && i > 0 {
				e.NotTaken = false // some of it was
			}
			return courier.Receipt{}, err
		}
	}
	return courier.Receipt{ID: id}, nil
}

func (p *Provider) submit(ctx context.Context, part *pdu.SubmitSM) (id string, err error) {
	select {
	case <-ctx.Done():
		return "", notTaken("smpp_timeout", nil)
	case p.slots <- struct{}{}:
	}
	defer func() { <-p.slots }()
	l, err := p.ready(ctx)
	if err != nil {
		return "", err
	}
	got, err := l.ask(ctx, part)
	if err != nil {
		return "", err
	}
	return got.id, p.judge(got.status)
}

// ready waits for the link and for the end of a pause, if that is near.
func (p *Provider) ready(ctx context.Context) (*link, error) {
	for {
		p.mu.Lock()
		if p.ended == nil && !p.closed {
			life, stop := context.WithCancel(context.WithoutCancel(ctx)) // the link outlives its first letter
			p.stop, p.ended = stop, make(chan struct{})
			go p.keep(life)
		}
		l, changed, closed, wait, why := p.link, p.changed, p.closed, p.until.Sub(p.c.Now()), p.why
		p.mu.Unlock()
		switch {
		case closed:
			return nil, notTaken("smpp_closed", nil)
		case ctx.Err() != nil:
			return nil, notTaken("smpp_timeout", nil)
		case wait > patience:
			again := *why
			again.After = wait
			return nil, &again
		case wait <= 0 && l.stands():
			return l, nil
		}
		var over <-chan time.Time
		if wait > 0 {
			over = time.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-over:
		}
	}
}

// keep holds a link until ctx ends.
func (p *Provider) keep(ctx context.Context) {
	defer close(p.ended)
	pause := time.Duration(0)
	for ctx.Err() == nil {
		l, err := p.connect(ctx)
		if err == nil {
			began := p.c.Now()
			p.set(l)
			l.serve(ctx)
			p.set(nil)
			if p.c.Now().Sub(began) >= steady {
				pause = 0
				continue
			}
			err = notTaken("smpp_link_lost", nil) // of those that wait for the next
			pause = min(max(2*pause, patience), longestPause)
		} else {
			pause = min(max(2*pause, 2*patience), longestPause) // those who wait are told at once
		}
		p.rest(err, pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (p *Provider) set(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link = l
	p.tell()
}

// tell wakes those who wait. The caller holds the lock.
func (p *Provider) tell() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// rest has nothing sent for a while.
func (p *Provider) rest(why *courier.Error, pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := p.c.Now().Add(pause); until.After(p.until) {
		p.until, p.why = until, why
	}
	p.tell()
}

// judge classes the answer to a message. Only what condemns this very message is permanent: what
// accuses our settings, such as the sender, can be put right while the letter waits.
func (p *Provider) judge(status data.CommandStatusType) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	code := fmt.Sprintf("smpp_%#x", uint32(status)) //nolint:gosec // the same bits
	switch status {
	case data.ESME_ROK:
		p.slower = 0
		return nil
	case data.ESME_RTHROTTLED, data.ESME_RMSGQFUL:
		e := notTaken(code, nil)
		if !p.c.Now().Before(p.until) { // else one of a full window has said so already
			p.slower = min(max(2*p.slower, patience), longestPause)
			p.until, p.why = p.c.Now().Add(p.slower), e
		}
		e.After = p.until.Sub(p.c.Now())
		return new(*e) // p.why is for others, too
	case data.ESME_RINVDSTADR, data.ESME_RINVMSGLEN:
		return courier.Permanent(code)
	default:
		return notTaken(code, nil)
	}
}

// notTaken is the error for a failure that may pass, and after which it is certain that nothing was sent.
func notTaken(code string, cause error) *courier.Error {
	e := courier.Temporary(code, cause)
	e.NotTaken = true
	return e
}

// Check connects and binds once, beside whatever else is connected, and says what is wrong.
func (p *Provider) Check(ctx context.Context) error {
	l, fault := p.connect(ctx)
	if fault != nil {
		return fault
	}
	ctx, stop := context.WithCancel(ctx)
	stop()
	l.serve(ctx)
	return nil
}

// AtOnce is the window.
func (p *Provider) AtOnce() int { return p.c.Window }

// Close says goodbye and ends the link. Letters are not sent any more.
func (p *Provider) Close() error {
	p.mu.Lock()
	p.closed = true
	stop, ended := p.stop, p.ended
	p.tell()
	p.mu.Unlock()
	if ended != nil {
		stop()
		<-ended
	}
	return nil
}
