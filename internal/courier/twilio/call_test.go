package twilio_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/couriertest"
	"countersign/internal/courier/twilio"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
)

const at = "https://id.example.org/hooks/sms/twilio_call"

func now() time.Time { return time.Unix(1767225600, 0) }

// asked is what Twilio is asked to do, read as TwiML.
type asked struct {
	Gather struct {
		Action    string  `xml:"action,attr"`
		NumDigits int     `xml:"numDigits,attr"`
		Finish    *string `xml:"finishOnKey,attr"`
		Say       []spoken
	}
	Say []spoken
}

type spoken struct {
	Language string `xml:"language,attr"`
	Text     string `xml:",chardata"`
}

// pressed is Twilio's question what to do when a key was pressed.
func pressed(action, token string, changes ...string) courier.Arrived {
	form := url.Values{"AccountSid": {account}, "CallSid": {"CA123"}, "CallStatus": {"in-progress"}, "To": {"+4915112345678"}, "From": {"+15005550006"}, "Digits": {"5"}}
	for i := 0; i < len(changes); i += 2 {
		form.Set(changes[i], changes[i+1])
	}
	return callback(action, token, form)
}

func heard(body []byte) (words []string, digits string) {
	var got asked
	_ = xml.Unmarshal(body, &got)
	for _, s := range got.Say {
		if len(s.Text) == 1 {
			digits += s.Text
		} else {
			words = append(words, s.Text)
		}
	}
	return words, digits
}

func caller(t *testing.T, c twilio.Config, clock func() time.Time) *twilio.Caller {
	t.Helper()
	p, err := twilio.NewCaller(c, "+15005550006", clock)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// openCaller starts a Twilio that asks, as soon as it is to call, what to say when a key is pressed.
func openCaller(t *testing.T) (*couriertest.Far, *twilio.Caller, *atomic.Pointer[string]) {
	t.Helper()
	var p *twilio.Caller
	action := &atomic.Pointer[string]{}
	far := &couriertest.Far{Read: func(r *http.Request, body []byte) (courier.Message, error) {
		form, err := url.ParseQuery(string(body))
		if _, pass, _ := r.BasicAuth(); err != nil || pass != "pa:ss" || r.URL.RequestURI() != "/2010-04-01/Accounts/"+account+"/Calls.json" || form.Get("From") != "+15005550006" || form.Get("Timeout") != "25" {
			return courier.Message{}, fmt.Errorf("%s %s %w", r.URL, body, err)
		}
		var do asked
		if err := xml.Unmarshal([]byte(form.Get("Twiml")), &do); err != nil || do.Gather.NumDigits != 1 || do.Gather.Finish == nil || *do.Gather.Finish != "" || len(do.Gather.Say) != 2 || len(do.Say) != 0 || len(form.Get("Twiml")) > 4000 {
			return courier.Message{}, fmt.Errorf("%s: %w", form.Get("Twiml"), err)
		}
		if strings.Contains(string(body), "482913") {
			return courier.Message{}, errors.New("the code is in the request")
		}
		u, err := url.Parse(do.Gather.Action)
		if err != nil || form.Get("StatusCallback") != at+"?letter="+u.Query().Get("letter") {
			return courier.Message{}, fmt.Errorf("%s: %w", form.Get("StatusCallback"), err)
		}
		action.Store(&do.Gather.Action)
		answer, _, err := p.Answer(pressed(do.Gather.Action, "token"))
		_, digits := heard(answer.Body)
		return courier.Message{ID: u.Query().Get("letter"), Channel: message.SMS, To: form.Get("To"), Digits: digits[:min(len(digits), 6)], Language: do.Gather.Say[0].Language[:2]}, err
	}, Answer: answerCall}
	far.Serve(t)
	c := config(far.URL)
	c.Roots, c.Reports, c.Token = far.Roots, at, secret.Of("token")
	p = caller(t, c, now)
	return far, p, action
}

func answerCall(w http.ResponseWriter, mood couriertest.Mood, m courier.Message) {
	if mood == couriertest.Accept {
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{"sid": "CA123", "status": "queued", "to": m.To})
		return
	}
	answer(w, mood, m)
}

func TestCallsAreAProvider(t *testing.T) {
	couriertest.Run(t, func(t *testing.T) couriertest.Bench {
		far, p, _ := openCaller(t)
		c := config("https://" + couriertest.Nowhere(t))
		c.Reports, c.Token = at, secret.Of("token")
		return couriertest.Bench{Provider: p, Channel: message.SMS, Set: far.Set, Got: far.Got, Gone: caller(t, c, now), Secrets: []string{"pa:ss", "token"}}
	})
}

func call() courier.Message {
	return courier.Message{
		ID: "0189-0001", To: "+4915112345678", Digits: "482913", Language: "de", Expires: now().Add(5 * time.Minute),
		Speech: message.Speech{Hello: "Hier ist Fotoalbum.", Code: "Ihr Code ist:", Again: "Noch einmal:", End: "Auf Wiederhören."},
	}
}

func TestTheCodeIsReadTwiceToWhoeverPressesAKey(t *testing.T) {
	_, p, action := openCaller(t)
	if _, err := p.Send(t.Context(), call()); err != nil {
		t.Fatal(err)
	}
	got, asks, err := p.Answer(pressed(*action.Load(), "token"))
	words, digits := heard(got.Body)
	if err != nil || !asks || digits != "482913482913" || strings.Join(words, "|") != "Ihr Code ist:|Noch einmal:|Auf Wiederhören." || got.Type != "text/xml; charset=utf-8" {
		t.Errorf("%q %q %v %v", words, digits, asks, err)
	}
	want := courier.Report{Provider: "twilio_call", Letter: "0189-0001", ID: "CA123", State: courier.Delivered, Country: "DE"}
	if len(got.Reports) != 1 || got.Reports[0] != want {
		t.Errorf("%+v", got.Reports)
	}
	other := strings.Replace(*action.Load(), "0189-0001", "0189-0002", 1)
	spoiled := (*action.Load())[:len(*action.Load())-2] + "AA"
	for what, a := range map[string]courier.Arrived{
		"forged": pressed(*action.Load(), "tokem"), "unsigned": {Header: http.Header{}, Query: pressed(*action.Load(), "token").Query, Body: pressed(*action.Load(), "token").Body},
		"swapped to another letter": pressed(other, "token"), "another code": pressed(spoiled, "token"), "no key pressed": pressed(*action.Load(), "token", "Digits", ""),
		"another number": pressed(*action.Load(), "token", "To", "+4915112345679"),
	} {
		if got, asks, err := p.Answer(a); !asks || !errors.Is(err, courier.ErrForged) || len(got.Body) != 0 {
			t.Errorf("%s: %s %v", what, got.Body, err)
		}
	}
	c := config("https://api.example")
	c.Reports, c.Token = at, secret.Of("token")
	later := caller(t, c, func() time.Time { return now().Add(5*time.Minute + time.Second) }) // another node, once the code is old
	if _, _, err := later.Answer(pressed(*action.Load(), "token")); !errors.Is(err, courier.ErrForged) {
		t.Errorf("replayed: %v", err)
	}
	sameTime := caller(t, c, now)
	if _, _, err := sameTime.Answer(pressed(*action.Load(), "token")); err != nil {
		t.Errorf("on another node: %v", err)
	}
}

// What Twilio takes of a call's TwiML must be enough for every language and the longest name that a site may have.
func TestACallFitsInWhatTwilioTakes(t *testing.T) {
	words, err := message.New("id.example.org")
	if err != nil {
		t.Fatal(err)
	}
	for _, language := range []string{"en", "de", "fr", "es", "ar"} {
		for _, site := range []string{strings.Repeat("写", 64), strings.Repeat("&", 64)} {
			said, err := words.Render(message.Letter{Kind: message.SigninCode, Channel: message.SMS, To: "+491", Language: language, Params: map[string]string{"code": "482913", "minutes": "5", "site": site}})
			if err != nil || said.Speech.Hello == "" {
				t.Fatal(said.Speech, err)
			}
			m := call()
			m.ID, m.Language, m.Speech = "01890000-0000-7000-8000-000000000001", language, said.Speech
			_, p, _ := openCaller(t) // which refuses what is longer
			if _, err := p.Send(t.Context(), m); err != nil {
				t.Errorf("%s, %.3s…: %v", language, site, err)
			}
		}
	}
}

func TestNobodyIsCalledWhoHasNotWaited(t *testing.T) {
	_, p, _ := openCaller(t)
	waited, first, notice := call(), call(), call()
	waited.Tried, notice.Tried, notice.Digits = "twilio", "twilio", ""
	if !p.Carries(waited) || p.Carries(first) || p.Carries(notice) {
		t.Error("calls for another letter than a code that was asked for again")
	}
	unreachable := caller(t, config("https://api.example"), now)
	if unreachable.Carries(waited) {
		t.Error("calls without an address for what to say")
	}
	if _, err := unreachable.Send(t.Context(), waited); err == nil {
		t.Error("called")
	}
}

func TestReportsOfCalls(t *testing.T) {
	_, p, _ := openCaller(t)
	status := func(s string) courier.Arrived {
		return callback(at+"?letter=0189-0001", "token", url.Values{"AccountSid": {account}, "CallSid": {"CA123"}, "CallStatus": {s}, "To": {"+4915112345678"}, "CallDuration": {"12"}})
	}
	genuine := status("busy")
	couriertest.Reports(t, p, genuine, courier.Report{Provider: "twilio_call", Letter: "0189-0001", ID: "CA123", State: courier.NotDelivered, Code: "busy", Country: "DE"})
	couriertest.Signed(t, p, genuine)
	for s, want := range map[string]courier.State{"ringing": courier.Underway, "completed": courier.NotDelivered, "no-answer": courier.NotDelivered, "canceled": courier.NotDelivered} {
		if got, err := p.Receive(status(s)); err != nil || got[0].State != want {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
}
