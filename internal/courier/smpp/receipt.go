package smpp

import (
	"regexp"
	"strings"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"

	"countersign/internal/courier"
	"countersign/internal/guard"
)

// receive takes what a centre delivers: receipts. Answers to our messages ("STOP") come the same
// way; nobody reads those here, and they are not kept.
func (p *Provider) receive(d *pdu.DeliverSM) {
	const kind = 0x3C // bits of esm_class that say what a message is (SMPP 3.4, 5.2.12)
	if d.EsmClass&kind != data.SM_SMSC_DLV_RCPT_TYPE || p.c.Report == nil {
		return
	}
	if r, ok := receipt(d); ok {
		p.c.Report(r)
	}
}

// receipt reads the fields that were made for it, and else the text, whose form SMPP 3.4 gives as
// an example in appendix B and most centres follow:
//
//	id:IIIIIIIIII sub:SSS dlvrd:DDD submit date:YYMMDDhhmm done date:YYMMDDhhmm stat:DDDDDDD err:E text:…
//
// Its dates are in whatever zone the centre is in, so they are left.
func receipt(d *pdu.DeliverSM) (courier.Report, bool) {
	raw, err := d.Message.GetMessageData() // bytes: read as GSM 03.38, the "_" of an id would be a "§"
	if payload, ok := d.OptionalParameters[pdu.TagMessagePayload]; err != nil || len(raw) == 0 && ok {
		raw = payload.Data
	}
	text, _, _ := strings.Cut(string(raw), " text:")            // what follows is the letter
	to := "+" + strings.TrimPrefix(d.SourceAddr.Address(), "+") // a receipt is from where the letter went to
	r := courier.Report{
		Provider: "smpp", ID: field(text, "id"), State: state(field(text, "stat")), Code: field(text, "err"),
		To: courier.Number(to), Country: guard.Region(to),
	}
	if id, ok := d.OptionalParameters[pdu.TagReceiptedMessageID]; ok {
		r.ID = plain(strings.TrimRight(string(id.Data), "\x00"))
	}
	if s, ok := d.OptionalParameters[pdu.TagMessageStateOption]; ok && len(s.Data) == 1 {
		r.State = numbered(s.Data[0])
	}
	return r, r.ID != "" && r.State != ""
}

// field returns the value of a name, if it is one word.
func field(text, name string) string {
	for word := range strings.FieldsSeq(text) {
		if key, value, ok := strings.Cut(word, ":"); ok && strings.EqualFold(key, name) {
			return plain(value)
		}
	}
	return ""
}

// plain returns s if it can be an id or a code, which may be logged; else nothing.
func plain(s string) string {
	if ok, err := regexp.MatchString(`^[0-9A-Za-z_.-]{1,64}$`, s); err != nil || !ok {
		return ""
	}
	return s
}

func state(stat string) courier.State {
	switch strings.ToUpper(stat) {
	case "DELIVRD":
		return courier.Delivered
	case "EXPIRED", "DELETED", "UNDELIV", "REJECTD":
		return courier.NotDelivered
	case "ENROUTE", "ACCEPTD", "SCHEDLD":
		return courier.Underway
	case "UNKNOWN":
		return courier.Unclear
	}
	return ""
}

func numbered(n byte) courier.State {
	names := []string{"SCHEDLD", "ENROUTE", "DELIVRD", "EXPIRED", "DELETED", "UNDELIV", "ACCEPTD", "UNKNOWN", "REJECTD"}
	if int(n) >= len(names) {
		return courier.Unclear
	}
	return state(names[n])
}
