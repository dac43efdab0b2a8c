package smpp

import (
	"bytes"
	"encoding/hex"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

// linked returns a link and the centre's end of it.
func linked() (*link, net.Conn) {
	near, far := net.Pipe()
	l := &link{conn: near, receive: func(*pdu.DeliverSM) {}, over: make(chan struct{}), asked: map[int32]chan answer{}}
	go l.read()
	return l, far
}

func TestALinkThatDoesNotAnswerIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, far := linked()
		answers := 0
		go func() {
			for {
				p, err := pdu.Parse(far)
				if err != nil {
					return
				}
				if _, ok := p.(*pdu.EnquireLink); ok && answers < 3 {
					answers++
					b := pdu.NewBuffer(nil)
					p.GetResponse().Marshal(b)
					_, _ = far.Write(b.Bytes())
				}
			}
		}()
		began := time.Now()
		l.serve(t.Context())
		if took := time.Since(began); took != 4*enquireEvery+replyTime || answers != 3 {
			t.Errorf("left after %s and %d answers", took, answers)
		}
	})
}

func TestACentreThatReadsNothingHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, far := linked()
		defer func() { _ = far.Close() }()
		began := time.Now()
		_, err := l.ask(t.Context(), pdu.NewEnquireLink())
		if took := time.Since(began); err == nil || took != replyTime {
			t.Errorf("%v after %s", err, took)
		}
	})
}

func TestEveryRequestOfACentreIsAnswered(t *testing.T) {
	for name, c := range map[string]struct{ request, want string }{
		"an enquiry":              {"00000010000000150000000000000007", "00000010800000150000000000000007"},
		"a message we can't read": {"0000001200000005000000000000000841ff", "00000011800000050000000000000008" + "00"},
		"what we don't know":      {"00000010000001ff0000000000000009", "00000010800000000000000300000009"},
		"a goodbye":               {"0000001000000006000000000000000a", "0000001080000006000000000000000a"},
	} {
		t.Run(name, func(t *testing.T) {
			_, far := linked()
			request, err := hex.DecodeString(c.request)
			if err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = far.Write(request) }()
			got := make([]byte, len(c.want)/2)
			if _, err := io.ReadFull(far, got); err != nil || hex.EncodeToString(got) != c.want {
				t.Errorf("%x, %v", got, err)
			}
			_ = far.Close()
		})
	}
}

func TestALengthThatCannotBeEndsTheLink(t *testing.T) {
	for _, length := range []string{"00000000", "0000000f", "7fffffff", "ffffffff"} {
		l, far := linked()
		head, _ := hex.DecodeString(length + "000000150000000000000001")
		_, _ = far.Write(head)
		<-l.over
	}
}

// An answer to a request that nobody waits for any more, or never made, is nobody's.
func TestALateAnswerIsNotAnothers(t *testing.T) {
	l, far := linked()
	defer func() { _ = far.Close() }()
	go func() {
		for n := range 2 {
			p, err := pdu.Parse(far)
			if err != nil {
				return
			}
			for _, sequence := range []int32{p.GetSequenceNumber() - 1, p.GetSequenceNumber() + 1, p.GetSequenceNumber()} {
				r, _ := pdu.NewSubmitSMResp().(*pdu.SubmitSMResp)
				r.MessageID = []string{"a", "b"}[n]
				if sequence != p.GetSequenceNumber() {
					r.MessageID = "another's"
				}
				r.SetSequenceNumber(sequence)
				b := pdu.NewBuffer(nil)
				r.Marshal(b)
				_, _ = far.Write(b.Bytes())
			}
		}
	}()
	for _, want := range []string{"a", "b"} {
		got, err := l.ask(t.Context(), pdu.NewSubmitSM())
		if err != nil || got.id != want {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func TestCodesCrossNoPublicNetworkInClear(t *testing.T) {
	for address, allowed := range map[string]bool{
		"127.0.0.1:2775": true, "[::1]:2775": true, "10.1.2.3:2775": true, "192.168.0.1:2775": true, "[fd00::1]:2775": true,
		"192.0.2.1:2775": false, "8.8.8.8:2775": false, "[2001:db8::1]:2775": false, "169.254.169.254:80": false, "nonsense": false,
	} {
		if err := privateOnly("tcp", address, nil); (err == nil) != allowed {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// What a centre sends is read in a goroutine of its own, where a panic would end the server.
func FuzzWhatACentreSends(f *testing.F) {
	for _, p := range []pdu.PDU{pdu.NewDeliverSM(), pdu.NewSubmitSMResp(), pdu.NewBindTransceiverResp(), pdu.NewGenericNack(), pdu.NewEnquireLink()} {
		b := pdu.NewBuffer(nil)
		p.Marshal(b)
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < data.PDU_HEADER_SIZE {
			return
		}
		frame[0], frame[1], frame[2], frame[3] = 0, 0, byte(len(frame)>>8), byte(len(frame))
		if d, ok := parse(bytes.Clone(frame)).(*pdu.DeliverSM); ok {
			if r, ok := receipt(d); ok && (r.ID != plain(r.ID) || r.Code != plain(r.Code) || r.State == "") {
				t.Errorf("%+v", r)
			}
		}
	})
}
