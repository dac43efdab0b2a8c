package twilio

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/post"
	"countersign/internal/courier/spoken"
	"countersign/internal/guard"
)

// Caller calls people and reads their code to them (twilio.com/docs/voice/api/call-resource). What it says is TwiML (…/docs/voice/twiml).
//
// The code is read to whoever presses a key (<Gather>), twice, and to nobody else: an answering machine presses none. It is not in the request for the call
// either, but in the answer to Twilio's question what to do then, whose address holds it sealed; so any node can answer.
type Caller struct {
	p    *Provider
	from string
	box  *spoken.Box
}

// NewCaller returns a caller from a number of the account's. Without Reports and Token in c it carries nothing.
func NewCaller(c Config, from string, now func() time.Time) (*Caller, error) {
	p, err := New(c)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(from, "+") || now == nil {
		return nil, errors.New("twilio: calls need a number to come from, and a clock")
	}
	p.address = strings.TrimSuffix(p.address, "/Messages.json") + "/Calls.json"
	box, err := spoken.New(c.Token, now)
	return &Caller{p: p, from: from, box: box}, err
}

// Name returns "twilio_call".
func (c *Caller) Name() string { return "twilio_call" }

// Carries reports whether a letter has a code that somebody asked for again: nobody is called who has not waited for a message in vain.
func (c *Caller) Carries(m courier.Message) bool {
	return m.Digits != "" && m.Tried != "" && c.p.reports()
}

// voice is how Twilio calls a language, and a voice of Amazon Polly's where it has none of its own (docs.aws.amazon.com/polly/latest/dg/available-voices.html).
type voice struct {
	Language string `xml:"language,attr"`
	Voice    string `xml:"voice,attr,omitempty"`
}

func voiceOf(language string) voice {
	switch language {
	case "de":
		return voice{Language: "de-DE"}
	case "fr":
		return voice{Language: "fr-FR"}
	case "es":
		return voice{Language: "es-ES"}
	case "ar":
		return voice{"arb", "Polly.Zeina"}
	}
	return voice{Language: "en-US"}
}

type say struct {
	XMLName xml.Name `xml:"Say"`
	voice

	Text string `xml:",chardata"`
}

type pause struct {
	XMLName xml.Name `xml:"Pause"`
	Length  int      `xml:"length,attr"`
}

type gather struct {
	XMLName xml.Name `xml:"Gather"`
	Action  string   `xml:"action,attr"`
	Digits  int      `xml:"numDigits,attr"`
	Finish  string   `xml:"finishOnKey,attr"` // empty: any key is a digit; by default # is none, and whoever pressed it would hear nothing
	Timeout int      `xml:"timeout,attr"`
	Verbs   []any
}

type response struct {
	XMLName xml.Name `xml:"Response"`
	Verbs   []any
}

// Send calls.
func (c *Caller) Send(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	if m.Digits == "" || !c.p.reports() {
		return courier.Receipt{}, &courier.Error{Code: "twilio_call_no_code", NotTaken: true}
	}
	hidden, err := c.box.Seal(m)
	if err != nil {
		return courier.Receipt{}, courier.Permanent("twilio_call_unencodable")
	}
	hello := say{voice: voiceOf(m.Language), Text: m.Speech.Hello}
	twiml, err := xml.Marshal(response{Verbs: []any{gather{
		Action: c.answerAt(m.ID, hidden), Digits: 1, Timeout: 10, Verbs: []any{hello, pause{Length: 3}, hello},
	}}})
	if err != nil {
		return courier.Receipt{}, courier.Permanent("twilio_call_unencodable")
	}
	form := url.Values{"To": {m.To}, "From": {c.from}, "Twiml": {string(twiml)}, "Timeout": {strconv.Itoa(spoken.Ringing)}, "TimeLimit": {strconv.Itoa(spoken.Lasting)}, "StatusCallback": {c.p.callback(m.ID)}}
	ok, no, err := c.p.client.Do(ctx, c.p.address, http.Header{
		"Authorization": {c.p.auth}, "Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"},
	}, []byte(form.Encode()))
	if err != nil {
		return courier.Receipt{}, err
	}
	if no != nil {
		return courier.Receipt{}, c.p.refused(no)
	}
	var made struct {
		SID string `json:"sid"`
	}
	_ = json.Unmarshal(ok.Body, &made) // it was taken: an answer we cannot read is no reason to call twice
	return courier.Receipt{ID: made.SID}, nil
}

func (c *Caller) answerAt(letter, hidden string) string {
	return c.p.c.Reports + "?" + url.Values{"letter": {letter}, "say": {hidden}}.Encode()
}

// Answer says what is read to whoever has pressed a key.
func (c *Caller) Answer(a courier.Arrived) (courier.Answer, bool, error) {
	if !a.Query.Has("say") {
		return courier.Answer{}, false, nil
	}
	letter, hidden := a.Query.Get("letter"), a.Query.Get("say")
	form, err := c.p.signed(a, c.answerAt(letter, hidden))
	if err != nil || form.Get("Digits") == "" {
		return courier.Answer{}, true, courier.ErrForged
	}
	s, err := c.box.Open(letter, hidden)
	if err != nil || form.Get("To") != s.To {
		return courier.Answer{}, true, courier.ErrForged
	}
	v := voiceOf(s.Language)
	var verbs []any
	for _, before := range []string{s.Speech.Code, s.Speech.Again} {
		verbs = append(verbs, say{voice: v, Text: before}, pause{Length: 1})
		for _, digit := range s.Digits { // one by one, so that they can be written down
			verbs = append(verbs, say{voice: v, Text: string(digit)}, pause{Length: 1})
		}
	}
	body, err := xml.Marshal(response{Verbs: append(verbs, say{voice: v, Text: s.Speech.End})})
	if err != nil {
		return courier.Answer{}, true, err
	}
	return courier.Answer{Type: "text/xml; charset=utf-8", Body: append([]byte(xml.Header), body...), Reports: []courier.Report{{
		Provider: c.Name(), Letter: letter, ID: post.Word(form.Get("CallSid")), State: courier.Delivered, Country: guard.Region(s.To),
	}}}, true, nil
}

// Receive reads a status callback. A call that has ended has delivered the code only if a key was pressed, which is known by then.
func (c *Caller) Receive(a courier.Arrived) ([]courier.Report, error) {
	letter := a.Query.Get("letter")
	form, err := c.p.signed(a, c.p.callback(letter))
	if err != nil {
		return nil, err
	}
	r := courier.Report{Provider: c.Name(), Letter: letter, ID: post.Word(form.Get("CallSid")), State: courier.Underway, Country: guard.Region(form.Get("To"))}
	switch status := form.Get("CallStatus"); status {
	case "completed":
		r.State, r.Code = courier.NotDelivered, "no_key_pressed"
	case "busy", "no-answer", "failed", "canceled":
		r.State, r.Code = courier.NotDelivered, status
	}
	return []courier.Report{r}, nil
}
