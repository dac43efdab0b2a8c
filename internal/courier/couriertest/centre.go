package couriertest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"countersign/internal/courier"
	"countersign/internal/message"
)

// SystemID and CentrePassword are what a Centre lets in.
const (
	SystemID       = "countersign"
	CentrePassword = "pa:ss"
)

// Part is one message as a centre received it.
type Part struct {
	From, To             string
	FromType, FromPlan   int
	ToType, ToPlan       int
	Coding, ESM, Receipt int
	Ref                  int    // user_message_reference
	Concat               [3]int // reference, of how many, which
	Validity, Text       string
}

// Letters puts parts together. A letter's id is the mark of its parts.
func Letters(parts []Part) (out []courier.Message) {
	open := map[string]*courier.Message{}
	for _, p := range parts {
		key := fmt.Sprint(p.To, p.Ref, p.Concat[0])
		m, begun := open[key]
		if !begun {
			m = &courier.Message{ID: strconv.Itoa(p.Ref), Channel: message.SMS, To: "+" + p.To, From: p.From}
			if p.FromType == 1 {
				m.From = "+" + p.From
			}
		}
		m.Text += p.Text
		if p.Concat[1] == p.Concat[2] { // the last, or the only one: 0 of 0
			out = append(out, *m)
			delete(open, key)
			continue
		}
		open[key] = m
	}
	return out
}

// Centre is a message centre that speaks SMPP 3.4.
type Centre struct {
	Address string
	Roots   *x509.CertPool
	// Slow is how long each message takes to be acknowledged.
	Slow time.Duration

	mu      sync.Mutex
	mood    Mood
	parts   []Part
	ids     []string
	lines   map[*line]bool
	most    int // messages ever unanswered at once
	waiting int
	unbound int
	told    int // receipts answered
}

// line is one connection.
type line struct {
	net.Conn

	mu sync.Mutex
}

func (l *line) send(p pdu.PDU) {
	b := pdu.NewBuffer(nil)
	p.Marshal(b)
	l.raw(b.Bytes())
}

func (l *line) raw(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.Write(b)
}

// refuse answers with a header alone, as the protocol has it for whatever is not taken.
func (l *line) refuse(id data.CommandIDType, status uint32, sequence int32) {
	b := binary.BigEndian.AppendUint32(nil, 16)
	b = binary.BigEndian.AppendUint32(b, uint32(id))
	b = binary.BigEndian.AppendUint32(b, status)
	l.raw(binary.BigEndian.AppendUint32(b, uint32(sequence)))
}

// Serve starts the centre until the test ends.
func (c *Centre) Serve(t testing.TB, secure bool) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if secure {
		cert, roots := Certificate(t)
		c.Roots = roots
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	}
	c.Address, c.lines = listener.Addr().String(), map[*line]bool{}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { c.talk(&line{Conn: conn}) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); c.Cut(); all.Wait() })
}

func (c *Centre) talk(l *line) {
	defer func() {
		_ = l.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.lines, l)
	}()
	c.mu.Lock()
	c.lines[l] = true
	c.mu.Unlock()
	for {
		p, err := pdu.Parse(l)
		if err != nil {
			return
		}
		mood := c.now()
		if mood == Hang {
			continue
		}
		switch q := p.(type) {
		case *pdu.BindRequest:
			if q.SystemID != SystemID || q.Password != CentrePassword {
				l.refuse(data.BIND_TRANSCEIVER_RESP, uint32(data.ESME_RINVPASWD), q.SequenceNumber)
				return
			}
			l.send(q.GetResponse())
		case *pdu.SubmitSM:
			if !c.submit(l, q, mood) {
				return
			}
		case *pdu.Unbind:
			c.mu.Lock()
			c.unbound++
			c.mu.Unlock()
			l.send(q.GetResponse())
			return
		case *pdu.EnquireLink:
			l.send(q.GetResponse())
		case *pdu.DeliverSMResp:
			c.mu.Lock()
			c.told++
			c.mu.Unlock()
		}
	}
}

func (c *Centre) submit(l *line, q *pdu.SubmitSM, mood Mood) bool {
	switch mood {
	case CutOff:
		return false
	case RefuseForGood:
		l.refuse(data.SUBMIT_SM_RESP, uint32(data.ESME_RINVDSTADR), q.SequenceNumber)
		return true
	case RefuseForNow:
		l.refuse(data.SUBMIT_SM_RESP, uint32(data.ESME_RTHROTTLED), q.SequenceNumber)
		return true
	case Accept, Hang:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parts = append(c.parts, part(q))
	c.waiting++
	c.most = max(c.most, c.waiting)
	r, _ := q.GetResponse().(*pdu.SubmitSMResp)
	r.MessageID = fmt.Sprintf("m_%04x", len(c.parts))
	c.ids = append(c.ids, r.MessageID)
	answer := func() {
		c.mu.Lock()
		c.waiting--
		c.mu.Unlock()
		l.send(r)
	}
	if c.Slow == 0 {
		go answer() // not in their order, which no client may rely on
	} else {
		time.AfterFunc(c.Slow, answer)
	}
	return true
}

func part(q *pdu.SubmitSM) Part {
	p := Part{
		From: q.SourceAddr.Address(), FromType: int(q.SourceAddr.Ton()), FromPlan: int(q.SourceAddr.Npi()),
		To: q.DestAddr.Address(), ToType: int(q.DestAddr.Ton()), ToPlan: int(q.DestAddr.Npi()),
		Coding: int(q.Message.Encoding().DataCoding()), ESM: int(q.EsmClass), Receipt: int(q.RegisteredDelivery), Validity: q.ValidityPeriod,
	}
	p.Text, _ = q.Message.GetMessage()
	if total, n, ref, ok := q.Message.UDH().GetConcatInfo(); ok {
		p.Concat = [3]int{int(ref), int(total), int(n)}
	}
	if f := q.OptionalParameters[pdu.TagUserMessageReference]; len(f.Data) == 2 {
		p.Ref = int(binary.BigEndian.Uint16(f.Data))
	}
	return p
}

func (c *Centre) now() Mood {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mood
}

// Set changes the mood.
func (c *Centre) Set(m Mood) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mood = m
}

// Got returns the letters that arrived.
func (c *Centre) Got() []courier.Message { return Letters(c.Parts()) }

// Parts returns the messages that arrived.
func (c *Centre) Parts() []Part {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Part(nil), c.parts...)
}

// Most is how many messages ever were unanswered at once, Unbound how many said goodbye, Told how
// many receipts were answered.
func (c *Centre) Most() (most, unbound, told int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most, c.unbound, c.told
}

// Cut ends all connections.
func (c *Centre) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.lines {
		_ = l.Close()
	}
}

// Receipt delivers a receipt to whoever is connected: text, and what the fields made for it hold (none if empty or 0).
func (c *Centre) Receipt(text, id string, state byte) {
	d, _ := pdu.NewDeliverSM().(*pdu.DeliverSM)
	d.EsmClass = data.SM_SMSC_DLV_RCPT_TYPE
	_ = d.SourceAddr.SetAddress("4915112345678") // where the message went to
	_ = d.Message.SetMessageDataWithEncoding([]byte(text), data.GSM7BIT)
	if id != "" {
		d.RegisterOptionalParam(pdu.Field{Tag: pdu.TagReceiptedMessageID, Data: append([]byte(id), 0)})
	}
	if state != 0 {
		d.RegisterOptionalParam(pdu.Field{Tag: pdu.TagMessageStateOption, Data: []byte{state}})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.lines {
		l.send(d)
	}
}
