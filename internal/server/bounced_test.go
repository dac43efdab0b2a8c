package server_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/courier/amazon"
	"countersign/internal/courier/couriertest"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

// service is a stand-in for a service that takes e-mail by HTTP; it keeps what it was posted.
type service struct {
	mu     sync.Mutex
	bodies []string
	answer string
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, string(body))
	_, _ = w.Write([]byte(s.answer))
}

func (s *service) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.bodies...)
}

// letterTo puts a letter with a code into the outbox of a node.
func letterTo(t *testing.T, n *servertest.Node, ch message.Channel, to string) (id string) {
	t.Helper()
	core := n.Core()
	err := core.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
		id, err = core.Outbox.Put(t.Context(), tx, outbox.Letter{
			Letter:    message.Letter{Channel: ch, Kind: "signin_code", To: to, Language: "de", Params: map[string]string{"code": "482913", "minutes": "10", "site": "Fotoalbum"}},
			ExpiresAt: tx.Now().Add(10 * time.Minute),
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func fateOf(t *testing.T, n *servertest.Node, id string) (f outbox.Fate) {
	t.Helper()
	core := n.Core()
	err := core.DB.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
		f, err = core.Outbox.Fate(t.Context(), tx, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// tells posts to the node what a provider would, and returns the answer's status.
func tells(n *servertest.Node, path string, header http.Header, body []byte) int {
	r := httptest.NewRequest("POST", "https://id.example.org"+path, strings.NewReader(string(body)))
	for name := range header {
		r.Header.Set(name, header.Get(name))
	}
	w := httptest.NewRecorder()
	n.Handler().ServeHTTP(w, r)
	return w.Code
}

func TestABounceBySESReachesItsLetter(t *testing.T) {
	const arn = "arn:aws:sns:eu-central-1:123456789012:letters"
	far := &service{answer: `{"MessageId": "EXAMPLE7c191be45"}`}
	api := httptest.NewServer(far)
	defer api.Close()
	clock := dbtest.NewClock()
	sns := couriertest.NewSNS(t, arn, clock.Now())
	n := servertest.Start(t, servertest.Options{
		Clock: clock,
		Topic: func(arn string) (*amazon.Topic, error) { return amazon.NewTopic(arn, clock.Now, sns.Client, sns.Roots) },
		Config: func(c *config.Config) {
			c.Site.PublicURL, c.SMS.Provider = "https://id.example.org", "none"
			c.Email = config.Email{Provider: "ses", From: "no-reply@example.org", SESRegion: "eu-central-1", SESKey: "AKID", SESSecret: config.NewSecret("hunter2"), SESTopic: arn, SESURL: api.URL}
		},
	})
	id := letterTo(t, n, message.Email, "ada@elsewhere.example")
	eventually(t, func() bool { return len(far.got()) == 1 })
	if !strings.Contains(far.got()[0], `"EmailTags":[{"Name":"letter","Value":"`+id+`"}]`) {
		t.Fatal(far.got()[0])
	}
	event := func(kind, letter string) string {
		text, _ := json.Marshal(map[string]any{
			"eventType": kind, "mail": map[string]any{"messageId": "EXAMPLE7c191be45", "destination": []string{"ada@elsewhere.example"}, "tags": map[string][]string{"letter": {letter}}},
			"bounce":    map[string]any{"bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": []map[string]string{{"emailAddress": "ada@elsewhere.example", "status": "5.1.1"}}},
			"complaint": map[string]string{"complaintFeedbackType": "abuse"},
		})
		return string(text)
	}
	const path = "/hooks/mail/ses"
	now := clock.Now()
	if code := tells(n, path, nil, sns.Subscribe("1", "token", now, nil)); code != http.StatusNoContent || len(sns.Asked()) == 0 {
		t.Errorf("a subscription: %d", code)
	}
	stranger := couriertest.NewSNS(t, arn, now)
	for what, c := range map[string]struct {
		path string
		body []byte
	}{
		"forged":             {path, stranger.Post("2", event("Bounce", id), now, nil)},
		"replayed":           {path, sns.Post("2", event("Bounce", id), now.Add(-3*time.Hour), nil)},
		"swapped":            {path, sns.Post("2", event("Bounce", "0196f0c1-7a50-7c55-9e2f-3f0e7b6d1a10"), now, map[string]string{"Message": event("Bounce", id)})},
		"at another door":    {"/hooks/sms/ses", sns.Post("2", event("Bounce", id), now, nil)},
		"another provider's": {"/hooks/mail/webhook", sns.Post("2", event("Bounce", id), now, nil)},
		"too much":           {path, sns.Post("2", event("Bounce", id)+strings.Repeat(" ", 70<<10), now, nil)},
	} {
		if code := tells(n, c.path, nil, c.body); code != http.StatusForbidden || fateOf(t, n, id) != "" {
			t.Errorf("%s: %d, %s", what, code, fateOf(t, n, id))
		}
	}
	if code := tells(n, path, nil, sns.Post("2", event("Bounce", "0196f0c1-7a50-7c55-9e2f-3f0e7b6d1a10"), now, nil)); code != http.StatusNoContent { // as a known one
		t.Errorf("of a letter nobody knows: %d", code)
	}
	for range 2 {
		if code := tells(n, path, nil, sns.Post("2", event("Bounce", id), now, nil)); code != http.StatusNoContent {
			t.Error(code)
		}
	}
	if fateOf(t, n, id) != outbox.NotDelivered {
		t.Errorf("%q", fateOf(t, n, id))
	}
	tells(n, path, nil, sns.Post("2", event("Delivery", id), now, nil))
	tells(n, path, nil, sns.Post("2", event("Complaint", id), now, nil))
	log := n.Log.String()
	if !strings.Contains(log, `"msg":"complaint","provider":"ses","letter":"`+id+`","code":"complaint_abuse"`) || strings.Count(log, `"state":"not_delivered"`) != 1 {
		t.Error(log)
	}
	for _, private := range []string{"ada@", "482913", "hunter2", "Token=token"} {
		if strings.Contains(log, private) {
			t.Errorf("the log has %q:\n%s", private, log)
		}
	}
}

// signedReport is a report as the Standard Webhooks specification has it, by the key that the setting holds.
func signedReport(secretText, body string, at time.Time) http.Header {
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secretText, "whsec_"))
	stamp := strconv.FormatInt(at.Unix(), 10)
	m := hmac.New(sha256.New, key)
	m.Write([]byte("msg_1." + stamp + "." + body))
	return http.Header{"Webhook-Id": {"msg_1"}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))}}
}

// What a program of the operator's tells of bounces lands on the letter, whichever provider took it, and whether it knows the letter's id or its Message-ID.
func TestABounceThatAProgramTellsReachesItsLetter(t *testing.T) {
	const key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	far := &service{answer: `{"MessageID": "b7bc2f4a"}`}
	api := httptest.NewServer(far)
	defer api.Close()
	n := servertest.Start(t, servertest.Options{Config: func(c *config.Config) {
		c.Site.PublicURL, c.SMS.Provider = "https://id.example.org", "none"
		c.Email = config.Email{Provider: "http", From: "Fotoalbum <no-reply@example.org>", HTTPURL: api.URL, HTTPMethod: "POST", HTTPType: "application/json", HTTPBody: `{"to": "{to}", "subject": "{subject}", "text": "{text}", "id": "{id}"}`}
		c.Bounces.Secret = config.NewSecret(key)
	}})
	id := letterTo(t, n, message.Email, "ada@elsewhere.example")
	eventually(t, func() bool { return len(far.got()) == 1 })
	if !strings.Contains(far.got()[0], id) {
		t.Fatal(far.got()[0])
	}
	told := func(letter string) string {
		return `{"type":"letter.report","data":{"id":"` + letter + `","state":"not_delivered","code":"5.1.1"}}`
	}
	now, path := n.Clock.Now(), "/hooks/mail/bounces"
	for what, c := range map[string]struct {
		path   string
		header http.Header
		body   string
	}{
		"forged":          {path, signedReport("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", told(id), now), told(id)},
		"unsigned":        {path, nil, told(id)},
		"replayed":        {path, signedReport(key, told(id), now.Add(-6*time.Minute)), told(id)},
		"swapped":         {path, signedReport(key, told("0196f0c1-7a50-7c55-9e2f-3f0e7b6d1a10"), now), told(id)},
		"at another door": {"/hooks/sms/bounces", signedReport(key, told(id), now), told(id)},
	} {
		if code := tells(n, c.path, c.header, []byte(c.body)); code != http.StatusForbidden || fateOf(t, n, id) != "" {
			t.Errorf("%s: %d, %s", what, code, fateOf(t, n, id))
		}
	}
	if code := tells(n, path, signedReport(key, told("<"+id+"@example.org>"), now), []byte(told("<"+id+"@example.org>"))); code != http.StatusNoContent || fateOf(t, n, id) != outbox.NotDelivered {
		t.Errorf("%d, %q", code, fateOf(t, n, id))
	}
}

// A code goes by WhatsApp, and by text message where that refuses it; a notice never does. Statuses land on the letter, and Meta sets the webhook up.
func TestCodesByWhatsAppAndTheRestByTextMessage(t *testing.T) {
	meta, texts := &service{answer: `{"messages":[{"id":"wamid.HBgL"}]}`}, &service{answer: `{"ok":true}`}
	graph, gateway := httptest.NewServer(meta), httptest.NewServer(texts)
	defer graph.Close()
	defer gateway.Close()
	n := servertest.Start(t, servertest.Options{Config: func(c *config.Config) {
		c.Site.PublicURL, c.Email.Provider = "https://id.example.org", "none"
		c.SMS.Provider, c.SMS.Then, c.SMS.From, c.SMS.Reports = "whatsapp", []string{"http"}, "Example", true
		c.SMS.HTTPURL, c.SMS.HTTPBody = gateway.URL, `{"to": "{to}", "text": "{text}"}`
		c.SMS.WhatsAppURL, c.SMS.WhatsAppPhone, c.SMS.WhatsAppText = graph.URL, "105954558954427", "verification_code"
		c.SMS.WhatsAppToken, c.SMS.WhatsAppSecret, c.SMS.WhatsAppVerify = config.NewSecret("hunter2"), config.NewSecret("app secret"), config.NewSecret("our word")
	}})
	id := letterTo(t, n, message.SMS, "+4915112345678")
	eventually(t, func() bool { return len(meta.got()) == 1 })
	if sent := meta.got()[0]; !strings.Contains(sent, `"biz_opaque_callback_data":"`+id+`"`) || strings.Contains(sent, "Fotoalbum") || len(texts.got()) != 0 {
		t.Errorf("%s\n%v", sent, texts.got())
	}
	core := n.Core()
	if err := core.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := core.Outbox.Put(t.Context(), tx, outbox.Letter{Letter: message.Letter{Channel: message.SMS, Kind: message.Test, To: "+4915112345678", Language: "de", Params: map[string]string{"site": "Fotoalbum"}}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return len(texts.got()) == 1 })
	if len(meta.got()) != 1 {
		t.Error("a notice went by WhatsApp")
	}
	body := func(letter, status string) []byte {
		return []byte(`{"object":"whatsapp_business_account","entry":[{"changes":[{"value":{"metadata":{"phone_number_id":"105954558954427"},"statuses":[{"id":"wamid.HBgL","status":"` + status +
			`","timestamp":"` + strconv.FormatInt(n.Clock.Now().Unix(), 10) + `","recipient_id":"4915112345678","biz_opaque_callback_data":"` + letter + `"}]}}]}]}`)
	}
	header := func(key string, body []byte) http.Header {
		m := hmac.New(sha256.New, []byte(key))
		m.Write(body)
		return http.Header{"X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(m.Sum(nil))}}
	}
	const path = "/hooks/sms/whatsapp"
	delivered := body(id, "delivered")
	for what, h := range map[string]http.Header{"forged": header("app secreu", delivered), "swapped": header("app secret", body(id, "sent"))} {
		if code := tells(n, path, h, delivered); code != http.StatusForbidden || fateOf(t, n, id) != "" {
			t.Errorf("%s: %d, %q", what, code, fateOf(t, n, id))
		}
	}
	if code := tells(n, path, header("app secret", delivered), delivered); code != http.StatusNoContent || fateOf(t, n, id) != outbox.Delivered {
		t.Errorf("%d, %q", code, fateOf(t, n, id))
	}
	late := body(id, "failed")
	if tells(n, path, header("app secret", late), late); fateOf(t, n, id) != outbox.Delivered { // a replay, or one that comes late
		t.Errorf("%q", fateOf(t, n, id))
	}
	for word, want := range map[string]int{"our+word": http.StatusOK, "another": http.StatusForbidden} {
		w := httptest.NewRecorder()
		n.Handler().ServeHTTP(w, httptest.NewRequest("GET", "https://id.example.org"+path+"?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="+word, nil))
		if w.Code != want || (w.Body.String() == "1158201444") != (want == http.StatusOK) {
			t.Errorf("%s: %d %q", word, w.Code, w.Body)
		}
	}
	for _, private := range []string{"15112345678", "482913", "hunter2", "app secret", "our word", "our+word"} {
		if strings.Contains(n.Log.String(), private) {
			t.Errorf("the log has %q:\n%s", private, n.Log)
		}
	}
}
