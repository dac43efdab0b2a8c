package vonage_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/couriertest"
	"countersign/internal/courier/vonage"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
)

func now() time.Time { return time.Unix(1767225600, 0) }

func config(base string) vonage.Config {
	return vonage.Config{Key: "abcd1234", Secret: secret.Of("pa:ss"), Base: base, Now: now}
}

// signature is a receiver's, written from the documentation.
func signature(form url.Values) string {
	var names []string
	for name := range form {
		if name != "sig" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	text := ""
	for _, name := range names {
		text += "&" + name + "=" + strings.ReplaceAll(strings.ReplaceAll(form.Get(name), "&", "_"), "=", "_")
	}
	m := hmac.New(sha256.New, []byte("signing key"))
	m.Write([]byte(text))
	return hex.EncodeToString(m.Sum(nil))
}

// read checks the form of the request as the SMS API takes it.
func read(r *http.Request, body []byte) (courier.Message, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return courier.Message{}, err
	}
	if r.Method != http.MethodPost || r.URL.RequestURI() != "/sms/json" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		return courier.Message{}, fmt.Errorf("%s %s", r.Method, r.URL)
	}
	allowed := " to from text client-ref type "
	if form.Has("sig") {
		allowed += " api_key timestamp sig callback "
		if r.Header.Get("Authorization") != "" || form.Get("sig") != signature(form) || form.Get("api_key") != "abcd1234" || form.Get("timestamp") != "1767225600" {
			return courier.Message{}, errors.New("not signed as it should be")
		}
	} else if user, pass, _ := r.BasicAuth(); user != "abcd1234" || pass != "pa:ss" {
		return courier.Message{}, errors.New("not authenticated")
	}
	for name, v := range form {
		if len(v) != 1 || !strings.Contains(allowed, " "+name+" ") {
			return courier.Message{}, fmt.Errorf("field %s: %d values", name, len(v))
		}
	}
	if to := form.Get("to"); len(to) < 7 || len(to) > 15 || strings.Trim(to, "0123456789") != "" || len(form.Get("client-ref")) > 40 {
		return courier.Message{}, errors.New("to or client-ref is not as the API has it")
	}
	if message.GSM(form.Get("text")) == (form.Get("type") == "unicode") {
		return courier.Message{}, errors.New("the type is not the text's")
	}
	from := form.Get("from")
	if strings.Trim(from, "0123456789") == "" {
		from = "+" + from
	}
	return courier.Message{ID: form.Get("client-ref"), Channel: message.SMS, To: "+" + form.Get("to"), From: from, Text: form.Get("text")}, nil
}

// says answers as Vonage does, with an entry for each part.
func says(w http.ResponseWriter, to string, statuses ...string) {
	w.Header().Set("Content-Type", "application/json")
	var parts []map[string]string
	for i, s := range statuses {
		part := map[string]string{"to": to, "status": s}
		if s == "0" {
			part["message-id"], part["remaining-balance"], part["message-price"], part["network"] = fmt.Sprintf("0A0000000123ABC%d", i+1), "3.14159265", "0.03330000", "12345"
		} else {
			part["error-text"] = "Refused " + to
		}
		parts = append(parts, part)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"message-count": fmt.Sprint(len(parts)), "messages": parts})
}

func answer(w http.ResponseWriter, mood couriertest.Mood, m courier.Message) {
	says(w, m.To[1:], map[couriertest.Mood]string{couriertest.RefuseForGood: "6", couriertest.RefuseForNow: "1"}[mood]+map[bool]string{true: "0"}[mood == couriertest.Accept])
}

func open(t *testing.T, change func(*vonage.Config)) (*couriertest.Far, *vonage.Provider) {
	t.Helper()
	far := &couriertest.Far{Read: read, Answer: answer}
	far.Serve(t)
	c := config(far.URL)
	c.Roots = far.Roots
	change(&c)
	p, err := vonage.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return far, p
}

func TestVonageIsAProvider(t *testing.T) {
	for name, change := range map[string]func(*vonage.Config){
		"with the secret": func(*vonage.Config) {}, "signed": func(c *vonage.Config) { c.Signature = secret.Of("signing key") },
	} {
		t.Run(name, func(t *testing.T) {
			couriertest.Run(t, func(t *testing.T) couriertest.Bench {
				far, p := open(t, change)
				gone, err := vonage.New(config("https://" + couriertest.Nowhere(t)))
				if err != nil {
					t.Fatal(err)
				}
				return couriertest.Bench{Provider: p, Channel: message.SMS, Set: far.Set, Got: far.Got, Gone: gone, Secrets: []string{"pa:ss", "signing key"}}
			})
		})
	}
}

func TestTheWire(t *testing.T) {
	far, p := open(t, func(*vonage.Config) {})
	couriertest.Golden(t, far, p, "request.golden")
	far, p = open(t, func(c *vonage.Config) {
		c.Signature, c.Reports = secret.Of("signing key"), "https://id.example.org/hooks/sms/vonage"
	})
	couriertest.Golden(t, far, p, "signed.golden")
}

func TestUCS2IsCalledUnicode(t *testing.T) {
	_, p := open(t, func(*vonage.Config) {})
	if _, err := p.Send(t.Context(), courier.Message{ID: "1", To: "+4915112345678", From: "Example", Text: "код 482913"}); err != nil { // read looks
		t.Error(err)
	}
}

func TestStatusesAreClassed(t *testing.T) {
	far, p := open(t, func(*vonage.Config) {})
	for statuses, want := range map[string]struct {
		code                string
		permanent, notTaken bool
	}{
		"1": {"vonage_status_1", false, true}, "3": {"vonage_status_3", true, true}, "4": {"vonage_status_4", false, true}, "5": {"vonage_status_5", false, false},
		"7": {"vonage_status_7", true, true}, "9": {"vonage_status_9", false, true}, "14": {"vonage_status_14", false, true}, "33": {"vonage_status_33", true, true},
		"0,1": {"vonage_status_1", false, false}, "+4915112345678": {"vonage_status_", false, true}, "": {"vonage_answer_unclear", false, false},
	} {
		far.Answer = func(w http.ResponseWriter, _ couriertest.Mood, m courier.Message) {
			if statuses == "" {
				_, _ = w.Write([]byte("<html>to " + m.To))
				return
			}
			says(w, m.To[1:], strings.Split(statuses, ",")...)
		}
		_, err := p.Send(t.Context(), courier.Message{ID: "1", To: "+4915112345678", From: "Example", Text: "x"})
		e, ok := errors.AsType[*courier.Error](err)
		if !ok || e.Permanent != want.permanent || e.NotTaken != want.notTaken || e.Code != want.code {
			t.Errorf("%s: %+v", statuses, err)
		}
	}
	far.Answer = func(w http.ResponseWriter, _ couriertest.Mood, m courier.Message) { says(w, m.To[1:], "0", "0") }
	if rec, err := p.Send(t.Context(), courier.Message{ID: "1", To: "+4915112345678", From: "Example", Text: "x"}); err != nil || rec.ID != "0A0000000123ABC2" {
		t.Errorf("%+v %v", rec, err)
	}
}

func TestTheKeyIsTried(t *testing.T) {
	status := 200
	far := &couriertest.Far{
		Read: func(r *http.Request, _ []byte) (courier.Message, error) {
			if user, pass, _ := r.BasicAuth(); r.Method != http.MethodGet || r.URL.Path != "/account/get-balance" || user != "abcd1234" || pass != "pa:ss" {
				return courier.Message{}, fmt.Errorf("%s %s", r.Method, r.URL)
			}
			return courier.Message{}, nil
		},
		Answer: func(w http.ResponseWriter, _ couriertest.Mood, _ courier.Message) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"value":3.14159,"autoReload":false}`))
		},
	}
	far.Serve(t)
	c := config(far.URL)
	c.Roots = far.Roots
	p, err := vonage.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(t.Context()); err != nil {
		t.Error(err)
	}
	status = 401
	if err := p.Check(t.Context()); err == nil || err.Error() != "vonage_http_401" {
		t.Error(err)
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	for _, c := range []vonage.Config{{}, {Key: "a", Now: now}, {Key: "a", Secret: secret.Of("b")}, config("ftp://x"), config("https://u:p@x")} {
		if _, err := vonage.New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

// receipt is a delivery receipt as the OpenAPI description has it, signed.
func receipt(change func(url.Values)) url.Values {
	form := url.Values{
		"msisdn": {"4915112345678"}, "to": {"Example & Co"}, "network-code": {"26201"}, "messageId": {"0A0000001234567B"}, "price": {"0.03330000"}, "status": {"delivered"}, "scts": {"2601011400"},
		"err-code": {"0"}, "api-key": {"abcd1234"}, "client-ref": {"0189-0001"}, "message-timestamp": {"2026-01-01 12:00:00"}, "timestamp": {"1767225600"}, "nonce": {"aaaaaaaa-bbbb-cccc-dddd-0123456789ab"},
	}
	change(form)
	form.Set("sig", strings.ToUpper(signature(form)))
	return form
}

func flat(form url.Values) []byte {
	out := map[string]string{}
	for name := range form {
		out[name] = form.Get(name)
	}
	b, _ := json.Marshal(out)
	return b
}

func TestReports(t *testing.T) {
	c := config("https://rest.example")
	c.Signature = secret.Of("signing key")
	p, err := vonage.New(c)
	if err != nil {
		t.Fatal(err)
	}
	want := courier.Report{Provider: "vonage", Letter: "0189-0001", ID: "0A0000001234567B", State: courier.Delivered, Code: "0", To: "+4915112345678", Country: "DE"}
	good := receipt(func(url.Values) {})
	for _, body := range [][]byte{[]byte(good.Encode()), flat(good)} {
		a := courier.Arrived{Header: http.Header{}, Query: url.Values{}, Body: body}
		couriertest.Reports(t, p, a, want)
		for name := range good {
			changed := url.Values{}
			for n, v := range good {
				changed[n] = v
			}
			changed[name] = []string{good.Get(name) + "1"}
			if _, err := p.Receive(courier.Arrived{Body: []byte(changed.Encode())}); !errors.Is(err, courier.ErrForged) {
				t.Errorf("another %s: %v", name, err)
			}
			delete(changed, name)
			if _, err := p.Receive(courier.Arrived{Body: flat(changed)}); !errors.Is(err, courier.ErrForged) {
				t.Errorf("without %s: %v", name, err)
			}
		}
	}
	for status, state := range map[string]courier.State{"expired": courier.NotDelivered, "failed": courier.NotDelivered, "rejected": courier.NotDelivered, "accepted": courier.Underway, "buffered": courier.Underway, "unknown": courier.Unclear} {
		got, err := p.Receive(courier.Arrived{Body: []byte(receipt(func(f url.Values) { f.Set("status", status) }).Encode())})
		if err != nil || got[0].State != state {
			t.Errorf("%s: %+v %v", status, got, err)
		}
	}
	for what, body := range map[string]string{
		"two days old": receipt(func(f url.Values) { f.Set("timestamp", "1767052800") }).Encode(), "two days early": receipt(func(f url.Values) { f.Set("timestamp", "1767398400") }).Encode(),
		"no time": receipt(func(f url.Values) { f.Del("timestamp") }).Encode(), "a field twice": good.Encode() + "&status=failed",
	} {
		if _, err := p.Receive(courier.Arrived{Body: []byte(body)}); !errors.Is(err, courier.ErrForged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	unsigned, err := vonage.New(config("https://rest.example"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unsigned.Receive(courier.Arrived{Body: []byte(good.Encode())}); !errors.Is(err, courier.ErrForged) {
		t.Errorf("without a signature secret: %v", err)
	}
}
