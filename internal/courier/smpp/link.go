package smpp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"countersign/internal/courier"
)

// link is one bound connection.
type link struct {
	conn    net.Conn
	receive func(*pdu.DeliverSM)
	over    chan struct{} // closed when nothing more will be read

	writing sync.Mutex
	mu      sync.Mutex
	last    int32
	asked   map[int32]chan answer
}

// answer is what came back for a request.
type answer struct {
	status data.CommandStatusType
	id     string // of a message that was taken
}

// connect dials and binds.
func (p *Provider) connect(ctx context.Context) (*link, *courier.Error) {
	ctx, cancel := context.WithTimeout(ctx, replyTime)
	defer cancel()
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, notTaken("smpp_unreachable", err)
	}
	l := &link{conn: conn, receive: p.receive, over: make(chan struct{}), asked: map[int32]chan answer{}}
	go l.read()
	bind := pdu.NewBindRequest(pdu.Transceiver)
	bind.SystemID, bind.Password, bind.SystemType = p.c.SystemID, p.c.Password.Reveal(), p.c.SystemType
	got, err := l.ask(ctx, bind)
	if err == nil {
		err = refusal(got.status)
	}
	if err != nil {
		_ = conn.Close()
		e, _ := errors.AsType[*courier.Error](err)
		e.NotTaken = true // a bind is no message
		return nil, e
	}
	return l, nil
}

// refusal says what the centre has against a bind.
func refusal(status data.CommandStatusType) error {
	switch status {
	case data.ESME_ROK:
		return nil
	case data.ESME_RINVPASWD:
		return notTaken("smpp_bind_password_refused", errors.New("the centre does not take smpp_password"))
	case data.ESME_RINVSYSID:
		return notTaken("smpp_bind_system_id_refused", errors.New("the centre does not know smpp_system_id"))
	case data.ESME_RALYBND:
		return notTaken("smpp_bind_already_bound", errors.New("the centre allows no further connection of smpp_system_id"))
	case data.ESME_RBINDFAIL:
		return notTaken("smpp_bind_failed", errors.New("the centre refuses: smpp_system_id, smpp_password, smpp_system_type or this machine's address may be wrong"))
	default:
		return notTaken(fmt.Sprintf("smpp_bind_%#x", uint32(status)), nil) //nolint:gosec // the same bits
	}
}

func (p *Provider) dial(ctx context.Context) (net.Conn, error) {
	d := &net.Dialer{}
	if !p.c.TLS {
		d.Control = privateOnly
		return d.DialContext(ctx, "tcp", p.c.Address)
	}
	host, _, err := net.SplitHostPort(p.c.Address)
	if err != nil {
		return nil, err
	}
	secure := tls.Dialer{NetDialer: d, Config: &tls.Config{ServerName: host, RootCAs: p.c.Roots, MinVersion: tls.VersionTLS12}}
	return secure.DialContext(ctx, "tcp", p.c.Address)
}

// privateOnly is asked after the name was resolved. Operators without TLS are reached through
// tunnels, whose ends are here or in a private network; codes must not cross the internet in clear.
func privateOnly(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() && !ip.IsPrivate() {
		return errors.New("without TLS only to this machine or a private network: set smpp_tls")
	}
	return nil
}

// stands is false for a link that has ended, and for none.
func (l *link) stands() bool {
	if l == nil {
		return false
	}
	select {
	case <-l.over:
		return false
	default:
		return true
	}
}

// serve asks after the link until it or ctx ends; at the end it is closed.
func (l *link) serve(ctx context.Context) {
	tick := time.NewTicker(enquireEvery)
	defer tick.Stop()
	defer func() { _ = l.conn.Close(); <-l.over }()
	for {
		select {
		case <-l.over:
			return
		case <-ctx.Done():
			bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_, _ = l.ask(bye, pdu.NewUnbind())
			return
		case <-tick.C:
			soon, cancel := context.WithTimeout(ctx, replyTime)
			_, err := l.ask(soon, pdu.NewEnquireLink())
			cancel()
			if err != nil && ctx.Err() == nil {
				return
			}
		}
	}
}

// ask sends a request and waits for its answer. Whatever goes wrong, it may have been received.
func (l *link) ask(ctx context.Context, q pdu.PDU) (answer, error) {
	if ctx.Err() != nil {
		return answer{}, notTaken("smpp_timeout", nil)
	}
	got := make(chan answer, 1)
	l.mu.Lock()
	l.last = l.last%(1<<31-1) + 1 // 1 to 0x7FFFFFFF
	n := l.last
	l.asked[n] = got // before it is written: the answer may be here before the write returns
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.asked, n)
	}()
	q.SetSequenceNumber(n)
	err := l.write(q)
	if err == nil {
		select {
		case a := <-got:
			return a, nil
		case <-ctx.Done():
			return answer{}, courier.Temporary("smpp_timeout", nil)
		case <-l.over:
		}
	}
	select {
	case a := <-got: // it came before the end
		return a, nil
	default:
		return answer{}, courier.Temporary("smpp_link_lost", err)
	}
}

func (l *link) write(q pdu.PDU) error {
	b := pdu.NewBuffer(nil)
	q.Marshal(b)
	l.writing.Lock()
	defer l.writing.Unlock()
	late := time.AfterFunc(replyTime, func() { _ = l.conn.Close() }) // a centre that reads nothing holds up nobody for longer
	defer late.Stop()
	_, err := l.conn.Write(b.Bytes())
	return err
}

// read takes what the centre sends until the connection ends.
func (l *link) read() {
	defer close(l.over)
	defer func() { _ = l.conn.Close() }()
	for {
		var head [data.PDU_HEADER_SIZE]byte
		if _, err := io.ReadFull(l.conn, head[:]); err != nil {
			return
		}
		h := pdu.ParseHeader(head)
		if h.CommandLength < data.PDU_HEADER_SIZE || h.CommandLength > data.MAX_PDU_LEN {
			return
		}
		frame := append(head[:], make([]byte, h.CommandLength-data.PDU_HEADER_SIZE)...)
		if _, err := io.ReadFull(l.conn, frame[data.PDU_HEADER_SIZE:]); err != nil {
			return
		}
		if l.take(h, frame) != nil || h.CommandID == data.UNBIND {
			return
		}
	}
}

// take files an answer, or answers a request. Of what can be told from the header alone the rest
// is not looked at: a refusal need not have one.
func (l *link) take(h pdu.Header, frame []byte) error {
	reply := pdu.NewGenericNack()
	switch h.CommandID {
	case data.ENQUIRE_LINK:
		reply = pdu.NewEnquireLinkResp()
	case data.UNBIND:
		reply = pdu.NewUnbindResp()
	case data.DELIVER_SM:
		if d, ok := parse(frame).(*pdu.DeliverSM); ok {
			l.receive(d)
		}
		reply = pdu.NewDeliverSMResp() // for one we cannot read, too: it would come again for ever
	default:
		if h.CommandID < 0 { // the top bit: an answer
			l.file(h, frame)
			return nil
		}
		reply.(*pdu.GenericNack).CommandStatus = data.ESME_RINVCMDID
	}
	reply.SetSequenceNumber(h.SequenceNumber)
	return l.write(reply)
}

func (l *link) file(h pdu.Header, frame []byte) {
	a := answer{status: h.CommandStatus}
	if h.CommandID == data.GENERIC_NACK && a.status == data.ESME_ROK {
		a.status = data.ESME_RUNKNOWNERR
	}
	if s, ok := parse(frame).(*pdu.SubmitSMResp); ok && a.status == data.ESME_ROK {
		a.id = s.MessageID
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if got, ok := l.asked[h.SequenceNumber]; ok {
		delete(l.asked, h.SequenceNumber)
		got <- a
	}
}

// parse returns nil for what it cannot read.
func parse(frame []byte) pdu.PDU {
	p, err := pdu.Parse(bytes.NewReader(frame))
	if err != nil {
		return nil
	}
	return p
}
