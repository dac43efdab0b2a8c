// Package bounce reads what mail servers say, later, of letters that they took: delivery status notifications
// (RFC 3464, and RFC 6533 for addresses beyond ASCII), which come by mail to the address that letters are sent from.
//
// Anybody may write to that address. A notification is about a letter if it quotes its Message-ID, which has 74
// random bits and is known to nobody but the letter's recipient and the servers on its way.
package bounce

import (
	"bufio"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"countersign/internal/courier"
)

const (
	// maxSize bounds a notification, in bytes. It has a letter of ours in it, which has 20 KiB, or its head.
	maxSize = 256 << 10

	// maxParts is far above the three that a notification has.
	maxParts = 10
)

// ErrOther is the error for a message that is no delivery status notification.
var ErrOther = errors.New("not a delivery status notification")

// Parse reads a notification. The Report names the letter, by what its Message-ID begins with.
func Parse(r io.Reader) (courier.Report, error) {
	m, err := mail.ReadMessage(io.LimitReader(r, maxSize))
	if err != nil {
		return courier.Report{}, ErrOther
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || !strings.EqualFold(params["report-type"], "delivery-status") {
		return courier.Report{}, ErrOther
	}
	out := courier.Report{Provider: "smtp", State: courier.Unclear}
	told := false
	parts := multipart.NewReader(m.Body, params["boundary"])
	for range maxParts {
		part, err := parts.NextRawPart()
		if err != nil { // the end, or what is broken off: what was read before counts
			break
		}
		kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
		body := bufio.NewReader(decoded(part))
		switch kind {
		case "message/delivery-status", "message/global-delivery-status":
			out.State, out.Code, told = status(body)
		case "message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers":
			head, _ := textproto.NewReader(body).ReadMIMEHeader() // as much of it as there is
			out.Letter = letterOf(head.Get("Message-Id"))
		}
	}
	if out.Letter == "" { // RFC 3464 lets servers return nothing of it; many name it here
		out.Letter = letterOf(m.Header.Get("In-Reply-To"))
	}
	if !told || out.Letter == "" {
		return courier.Report{}, ErrOther
	}
	return out, nil
}

func decoded(p *multipart.Part) io.Reader {
	switch strings.ToLower(p.Header.Get("Content-Transfer-Encoding")) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, p)
	case "quoted-printable":
		return quotedprintable.NewReader(p)
	}
	return p
}

// code is a status of RFC 3463.
var code = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}`)

// status reads the fields of the one recipient (RFC 3464 section 2.3), which follow those of the message. A server's
// words (Diagnostic-Code) quote addresses and are left where they are.
func status(body *bufio.Reader) (state courier.State, word string, ok bool) {
	r := textproto.NewReader(body)
	for range 2 {
		fields, err := r.ReadMIMEHeader()
		if action := strings.ToLower(strings.TrimSpace(fields.Get("Action"))); action != "" {
			states := map[string]courier.State{
				"failed": courier.NotDelivered, "delayed": courier.Underway, "delivered": courier.Delivered,
				"relayed": courier.Underway, "expanded": courier.Underway, // by servers that send no more notifications
			}
			state, ok = states[action]
			return state, code.FindString(strings.TrimSpace(fields.Get("Status"))), ok
		}
		if err != nil {
			break
		}
	}
	return courier.Unclear, "", false
}

// letterOf is the letter of a Message-ID, as package smtp makes them.
func letterOf(field string) string {
	id, domain, _ := strings.Cut(strings.Trim(strings.TrimSpace(field), "<>"), "@")
	if domain == "" || strings.ContainsAny(field, " \t") || uuid.Validate(id) != nil { // anybody may write anything there
		return ""
	}
	return id
}
