package smpp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"countersign/internal/courier"
)

// Source is a type of number and a numbering plan (SMPP 3.4, 5.2.5 and 5.2.6).
type Source struct{ Type, Plan byte }

const (
	unknown       = 0
	international = 1
	network       = 3 // short codes
	alphanumeric  = 5
	isdn          = 1 // the plan of telephone numbers, E.164

	longestName   = 11 // characters of an alphanumeric sender (3GPP TS 23.040)
	longestCode   = 8  // digits of a short code
	longestNumber = 15 // digits of an E.164 number
	mostParts     = 255
)

// ParseSource reads what an operator's sheet says of senders, such as "5/0". Empty derives the
// type from the sender.
func ParseSource(s string) (Source, error) {
	if s == "" {
		return Source{}, nil
	}
	if len(s) != 3 || s[1] != '/' || s[0] < '0' || s[0] > '6' || s[2] < '0' || s[2] > '9' {
		return Source{}, errors.New(`want a type of number and a numbering plan, such as "5/0", or nothing`)
	}
	return Source{s[0] - '0', s[2] - '0'}, nil
}

// parts makes the messages that a letter is sent as.
func (p *Provider) parts(m courier.Message) ([]*pdu.SubmitSM, error) {
	from, err := p.source(m.From)
	if err != nil {
		return nil, err
	}
	number, plus := strings.CutPrefix(m.To, "+")
	if !plus || !digits(number, longestNumber) {
		return nil, courier.Permanent("smpp_recipient_malformed")
	}
	to, err := pdu.NewAddressWithTonNpiAddr(international, isdn, number)
	if err != nil {
		return nil, courier.Permanent("smpp_recipient_malformed")
	}
	texts, alphabet, err := split(m.Text)
	if err != nil || len(texts) > mostParts {
		return nil, courier.Permanent("smpp_text_malformed")
	}
	mark := reference(m.ID)
	out := make([]*pdu.SubmitSM, len(texts))
	for i, text := range texts {
		s, _ := pdu.NewSubmitSM().(*pdu.SubmitSM)
		s.SourceAddr, s.DestAddr, s.ValidityPeriod = from, to, validity(m.Expires.Sub(p.c.Now()))
		if err := s.Message.SetMessageDataWithEncoding(text, alphabet); err != nil {
			return nil, courier.Permanent("smpp_text_malformed")
		}
		if len(texts) > 1 {
			s.EsmClass |= data.SM_UDH_GSM
			s.Message.SetUDH(pdu.UDH{pdu.NewIEConcatMessage(byte(len(texts)), byte(i+1), mark[1])}) //nolint:gosec // at most 255
		}
		if i == len(texts)-1 && p.c.Report != nil { // one letter, one receipt
			s.RegisteredDelivery = data.SM_SMSC_RECEIPT_REQUESTED
		}
		s.RegisterOptionalParam(pdu.Field{Tag: pdu.TagUserMessageReference, Data: mark})
		out[i] = s
	}
	return out, nil
}

// validity has a centre give up on a phone that is off when nobody wants the code any more; it must
// not ring at night for one of the afternoon. The form is the relative one of SMPP 3.4, 7.1.1.
func validity(left time.Duration) string {
	if left <= 0 || left > 31*24*time.Hour {
		return "" // the centre's own
	}
	s := int(left / time.Second)
	return fmt.Sprintf("0000%02d%02d%02d%02d000R", s/86400, s/3600%24, s/60%60, s%60)
}

// reference is two bytes of a letter's id: the same in every try, so that a phone which got some
// parts of the first takes those of the second for the same.
func reference(id string) []byte {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return binary.BigEndian.AppendUint16(nil, uint16(h.Sum32())) //nolint:gosec // two bytes are wanted
}

func (p *Provider) source(from string) (pdu.Address, error) {
	number, plus := strings.CutPrefix(from, "+")
	kind := p.c.Source
	switch {
	case kind != Source{}:
	case plus && digits(number, longestNumber), digits(number, longestNumber) && len(number) > longestCode:
		kind = Source{international, isdn}
	case digits(number, longestCode):
		kind = Source{network, unknown}
	case !plus && len(from) <= longestName:
		kind = Source{alphanumeric, unknown}
	}
	a, err := pdu.NewAddressWithTonNpiAddr(kind.Type, kind.Plan, number)
	if err != nil || number == "" || kind == (Source{}) || strings.ContainsFunc(number, func(r rune) bool { return r < ' ' || r > '~' }) {
		return a, courier.Temporary("smpp_sender_malformed", nil)
	}
	return a, nil
}

func digits(s string, most int) bool {
	return s != "" && len(s) <= most && strings.Trim(s, "0123456789") == ""
}

// split encodes a text as one or more parts: in GSM 03.38, a septet to the byte, of 160 or several
// times 153; in UCS-2, of 70 characters or several times 67. No character is cut, be it of two bytes.
//
// The library has a splitter, but it counts characters where an escape makes two septets of one.
func split(text string) (parts [][]byte, alphabet data.Encoding, err error) {
	alphabet, one, part := data.GSM7BIT, 160, 153
	if len(data.ValidateGSM7String(text)) > 0 {
		alphabet, one, part = data.UCS2, 140, 134
	}
	whole, err := alphabet.Encode(text)
	if err != nil || len(whole) <= one {
		return [][]byte{whole}, alphabet, err
	}
	var now []byte
	for _, r := range text {
		c, err := alphabet.Encode(string(r))
		if err != nil {
			return nil, nil, err
		}
		if len(now)+len(c) > part {
			parts, now = append(parts, now), nil
		}
		now = append(now, c...)
	}
	return append(parts, now), alphabet, nil
}
