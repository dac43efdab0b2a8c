package whatsapp_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/couriertest"
	"countersign/internal/courier/whatsapp"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
)

func now() time.Time { return time.Unix(1767225600, 0) } // 2026-01-01T00:00:00Z

const phone = "105954558954427"

func config(base string) whatsapp.Config {
	return whatsapp.Config{
		Phone: phone, Token: secret.Of("EAAJB"), Template: "verification_code", Languages: map[string]string{"en": "en_US"}, Base: base, Now: now,
		Secret: secret.Of("app secret"), Verify: secret.Of("our word"),
	}
}

// read checks the request as the documentation has it.
func read(r *http.Request, body []byte) (courier.Message, error) {
	var b struct {
		Product  string `json:"messaging_product"`
		Kind     string `json:"recipient_type"`
		To, Type string
		Template struct {
			Name       string
			Language   struct{ Code string }
			Components []struct {
				Type       string
				SubType    string `json:"sub_type"`
				Index      string
				Parameters []struct{ Type, Text string }
			}
		}
		Letter string `json:"biz_opaque_callback_data"`
	}
	if err := json.Unmarshal(body, &b); err != nil || r.Method != http.MethodPost || r.URL.RequestURI() != "/v21.0/"+phone+"/messages" || r.Header.Get("Authorization") != "Bearer EAAJB" {
		return courier.Message{}, fmt.Errorf("%s %s: %w", r.Method, r.URL, err)
	}
	c := b.Template.Components
	if b.Product != "whatsapp" || b.Kind != "individual" || b.Type != "template" || b.Template.Name != "verification_code" || len(c) != 2 || c[0].Type != "body" || len(c[0].Parameters) != 1 ||
		c[1].Type != "button" || c[1].SubType != "url" || c[1].Index != "0" || len(c[1].Parameters) != 1 || c[0].Parameters[0] != c[1].Parameters[0] || c[0].Parameters[0].Type != "text" {
		return courier.Message{}, fmt.Errorf("%s", body)
	}
	return courier.Message{ID: b.Letter, Channel: message.SMS, To: "+" + b.To, Digits: c[0].Parameters[0].Text, Language: b.Template.Language.Code}, nil
}

func answer(w http.ResponseWriter, mood couriertest.Mood, m courier.Message) {
	switch mood {
	case couriertest.RefuseForGood, couriertest.RefuseForNow:
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": "(#131030) Recipient phone number " + m.To + " not in allowed list", "code": 131030, "fbtrace_id": "Az8or2yhqkZfEZ"}})
	default:
		_, _ = fmt.Fprintf(w, `{"messaging_product":"whatsapp","contacts":[{"input":"%s","wa_id":"%s"}],"messages":[{"id":"wamid.HBgLMTY1MDUwNzY1MjAVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA"}]}`, m.To, m.To[1:])
	}
}

func open(t *testing.T) (*couriertest.Far, *whatsapp.Provider) {
	t.Helper()
	far := &couriertest.Far{Read: read, Answer: answer}
	far.Serve(t)
	c := config(far.URL + "/v21.0")
	c.Roots = far.Roots
	p, err := whatsapp.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return far, p
}

func TestWhatsAppIsAProvider(t *testing.T) {
	couriertest.Run(t, func(t *testing.T) couriertest.Bench {
		far, p := open(t)
		gone, err := whatsapp.New(config("https://" + couriertest.Nowhere(t)))
		if err != nil {
			t.Fatal(err)
		}
		return couriertest.Bench{Provider: p, Channel: message.SMS, Set: far.Set, Got: far.Got, Gone: gone, NeverForGood: true, Secrets: []string{"EAAJB"}}
	})
}

func TestTheWire(t *testing.T) {
	far, p := open(t)
	couriertest.Golden(t, far, p, "request.golden")
}

func TestATemplatesLanguagesAreCalledAsItsMakerDoes(t *testing.T) {
	far, p := open(t)
	for ours, theirs := range map[string]string{"en": "en_US", "ar": "ar"} {
		if _, err := p.Send(t.Context(), courier.Message{ID: "1", To: "+4915112345678", Digits: "482913", Language: ours}); err != nil {
			t.Fatal(err)
		}
		got := far.Got()
		if last := got[len(got)-1]; last.Language != theirs {
			t.Errorf("%s: %s", ours, last.Language)
		}
	}
}

// A notice has no code: nothing of it is asked of WhatsApp.
func TestALetterWithoutACodeIsNotCarried(t *testing.T) {
	far, p := open(t)
	notice := courier.Message{ID: "1", To: "+4915112345678", Text: "Your password was changed", Language: "en"}
	_, err := p.Send(t.Context(), notice)
	if e, ok := errors.AsType[*courier.Error](err); !ok || !e.NotTaken || e.Permanent || p.Carries(notice) || len(far.Got()) != 0 {
		t.Errorf("%v", err)
	}
}

func statuses(letter, status string, at time.Time) []byte {
	return []byte(fmt.Sprintf(`{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[{"value":{"messaging_product":"whatsapp",`+
		`"metadata":{"display_phone_number":"15550783881","phone_number_id":"%s"},"statuses":[{"id":"wamid.HBgL","status":"%s","timestamp":"%d","recipient_id":"4915112345678",`+
		`"biz_opaque_callback_data":"%s","errors":[{"code":131026,"title":"Message undeliverable","message":"to 4915112345678"}]}]},"field":"messages"}]}]}`, phone, status, at.Unix(), letter))
}

func signed(key string, body []byte) courier.Arrived {
	m := hmac.New(sha256.New, []byte(key))
	m.Write(body)
	return courier.Arrived{Header: http.Header{"X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(m.Sum(nil))}}, Query: url.Values{}, Body: body}
}

func TestStatuses(t *testing.T) {
	_, p := open(t)
	want := courier.Report{Provider: "whatsapp", Letter: "0189-0001", ID: "wamid.HBgL", State: courier.NotDelivered, Code: "131026", Country: "DE"}
	genuine := signed("app secret", statuses("0189-0001", "failed", now()))
	couriertest.Reports(t, p, genuine, want)
	couriertest.Signed(t, p, genuine)
	for status, state := range map[string]courier.State{"sent": courier.Underway, "delivered": courier.Delivered, "read": courier.Delivered} {
		if got, err := p.Receive(signed("app secret", statuses("0189-0001", status, now()))); err != nil || len(got) != 1 || got[0].State != state {
			t.Errorf("%s: %+v, %v", status, got, err)
		}
	}
	for what, a := range map[string]courier.Arrived{
		"forged":    signed("app secreu", statuses("0189-0001", "delivered", now())),
		"unsigned":  {Header: http.Header{}, Body: statuses("0189-0001", "delivered", now())},
		"swapped":   {Header: signed("app secret", statuses("0189-0002", "delivered", now())).Header, Body: statuses("0189-0001", "delivered", now())},
		"old hash":  {Header: http.Header{"X-Hub-Signature": {"sha1=00"}}, Body: statuses("0189-0001", "delivered", now())},
		"no object": signed("app secret", []byte(`{"entry":[]}`)),
	} {
		if got, err := p.Receive(a); !errors.Is(err, courier.ErrForged) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	for what, body := range map[string][]byte{
		"replayed after days": statuses("0189-0001", "delivered", now().Add(-73*time.Hour)),
		"another number's":    []byte(strings.Replace(string(statuses("0189-0001", "delivered", now())), phone, "1", 1)),
		"an odd one":          statuses("0189-0001", "warning", now()),
		"nobody's":            statuses("", "delivered", now()),
		"a person's message":  []byte(`{"object":"whatsapp_business_account","entry":[{"changes":[{"value":{"messages":[{"from":"4915112345678","text":{"body":"hi"}}]}}]}]}`),
	} {
		if got, err := p.Receive(signed("app secret", body)); err != nil || len(got) != 0 {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	c := config("https://api.example")
	c.Secret, c.Verify = secret.Token{}, secret.Token{}
	none, err := whatsapp.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := none.Receive(signed("", statuses("0189-0001", "delivered", now()))); !errors.Is(err, courier.ErrForged) {
		t.Errorf("without a secret: %+v, %v", got, err)
	}
}

func TestTheWebhookIsSetUpByWhoeverKnowsOurWord(t *testing.T) {
	_, p := open(t)
	ask := func(changes ...string) (courier.Answer, bool, error) {
		q := url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {"our word"}, "hub.challenge": {"1158201444"}}
		for i := 0; i < len(changes); i += 2 {
			q[changes[i]] = strings.Split(changes[i+1], "|")
		}
		return p.Answer(courier.Arrived{Query: q})
	}
	if got, asks, err := ask(); err != nil || !asks || string(got.Body) != "1158201444" || got.Type != "text/plain; charset=utf-8" {
		t.Errorf("%+v, %v, %v", got, asks, err)
	}
	for _, change := range [][2]string{
		{"hub.verify_token", "our wore"}, {"hub.verify_token", ""}, {"hub.verify_token", "our word|x"}, {"hub.mode", "unsubscribe"}, {"hub.challenge", "<script>"}, {"hub.challenge", ""},
	} {
		if got, asks, err := ask(change[0], change[1]); !asks || !errors.Is(err, courier.ErrForged) {
			t.Errorf("%v: %+v, %v, %v", change, got, asks, err)
		}
	}
	if _, asks, err := p.Answer(courier.Arrived{Query: url.Values{}}); asks || err != nil {
		t.Error("statuses are taken for a question")
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	for what, change := range map[string]func(*whatsapp.Config){
		"no number": func(c *whatsapp.Config) { c.Phone = "" }, "a number with its plus": func(c *whatsapp.Config) { c.Phone = "+4915112345678" }, "no token": func(c *whatsapp.Config) { c.Token = secret.Token{} },
		"no template": func(c *whatsapp.Config) { c.Template = "" }, "no verify token": func(c *whatsapp.Config) { c.Verify = secret.Token{} }, "an odd address": func(c *whatsapp.Config) { c.Base = "ftp://x" },
	} {
		c := config("https://graph.example")
		change(&c)
		if _, err := whatsapp.New(c); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
}
