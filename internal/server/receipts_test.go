package server_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/servertest"
)

// exchange is a stand-in for Twilio: it takes messages, and knows where it was asked to report to.
type exchange struct {
	mu      sync.Mutex
	reports []string
}

func (e *exchange) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reports = append(e.reports, r.PostForm.Get("StatusCallback"))
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"sid":"SM%d","status":"queued"}`, len(e.reports))
}

func (e *exchange) asked() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.reports...)
}

// report posts a status callback to the node, signed with a token.
func report(n *servertest.Node, address, token, status string) *httptest.ResponseRecorder {
	form := url.Values{"MessageSid": {"SM1"}, "MessageStatus": {status}, "To": {"+4915112345678"}, "From": {"+15005550006"}}
	var names []string
	for name := range form {
		names = append(names, name)
	}
	sort.Strings(names)
	text := address
	for _, name := range names {
		text += name + form.Get(name)
	}
	m := hmac.New(sha1.New, []byte(token))
	m.Write([]byte(text))
	r := httptest.NewRequest("POST", address, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Twilio-Signature", base64.StdEncoding.EncodeToString(m.Sum(nil)))
	w := httptest.NewRecorder()
	n.Handler().ServeHTTP(w, r)
	return w
}

func TestAReportReachesItsLetterAndAForgedOneDoesNot(t *testing.T) {
	far := &exchange{}
	twilio := httptest.NewServer(far)
	defer twilio.Close()
	n := servertest.Start(t, servertest.Options{Config: func(c *config.Config) {
		c.Site.PublicURL, c.Email.Provider = "https://id.example.org", "none"
		c.SMS = config.SMS{Provider: "twilio", From: "+15005550006", TwilioAccount: "AC1", TwilioPassword: config.NewSecret("token"), TwilioURL: twilio.URL, Reports: true}
	}})
	core := n.Core()
	var id string
	err := core.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
		id, err = core.Outbox.Put(t.Context(), tx, outbox.Letter{
			Letter:    message.Letter{Channel: message.SMS, Kind: "signin_code", To: "+4915112345678", Language: "de", Params: map[string]string{"code": "482913", "minutes": "10", "site": "Fotoalbum"}},
			ExpiresAt: tx.Now().Add(10 * time.Minute),
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return len(far.asked()) == 1 })
	address := far.asked()[0]
	if address != "https://id.example.org/hooks/sms/twilio?letter="+id {
		t.Fatal(address)
	}
	fate := func() (f outbox.Fate) {
		t.Helper()
		err := core.DB.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
			f, err = core.Outbox.Fate(t.Context(), tx, id)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	page := func() string {
		rec := httptest.NewRecorder()
		n.Watch().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
		return rec.Body.String()
	}
	counted := func(state string, times int) bool {
		line := `countersign_letters_receipts_total{country="DE",prefix="other",provider="twilio",state="` + state + `"}`
		if times == 0 {
			return !strings.Contains(page(), line)
		}
		return strings.Contains(page(), fmt.Sprintf("%s %d\n", line, times))
	}

	// The attacks: nobody's signature, another letter's, a provider that is not there, too much. None is looked at further.
	other := strings.Replace(address, id, "01890000-0000-7000-8000-000000000001", 1)
	stolen := report(n, other, "token", "delivered") // genuine, of a letter that nobody knows
	for what, w := range map[string]*httptest.ResponseRecorder{
		"another key": report(n, address, "tokem", "delivered"), "another provider": report(n, strings.Replace(address, "twilio", "vonage", 1), "token", "delivered"),
		"no provider": report(n, strings.Replace(address, "twilio", "..%2Ftwilio", 1), "token", "delivered"),
	} {
		if w.Code != http.StatusForbidden {
			t.Errorf("%s: %d", what, w.Code)
		}
	}
	r := httptest.NewRequest("POST", address, strings.NewReader(strings.Repeat("x", 257<<10)))
	w := httptest.NewRecorder()
	if n.Handler().ServeHTTP(w, r); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("too much: %d", w.Code)
	}
	if fate() != "" || !counted("delivered", 0) {
		t.Fatalf("a forged report was taken: %s", fate())
	}

	known := report(n, address, "token", "sent")
	if known.Code != http.StatusNoContent || stolen.Code != known.Code || stolen.Body.String() != known.Body.String() {
		t.Errorf("a known letter's report is answered %d %q, an unknown one's %d %q", known.Code, known.Body, stolen.Code, stolen.Body)
	}
	for range 3 { // a replay
		report(n, address, "token", "delivered")
		report(n, address, "token", "sent")
		report(n, address, "token", "undelivered")
	}
	if fate() != outbox.Delivered || !counted("delivered", 1) || !counted("underway", 1) || !counted("not_delivered", 0) {
		t.Errorf("%s\n%s", fate(), page())
	}
	if !strings.Contains(page(), `countersign_letters_delivery_seconds_count{country="DE",prefix="other",provider="twilio"} 1`) {
		t.Error(page())
	}
	for _, private := range []string{"15112345678", "482913", "X-Twilio-Signature"} {
		if strings.Contains(n.Log.String(), private) {
			t.Errorf("the log has %q:\n%s", private, n.Log)
		}
	}
}

func TestNoReportsAreAskedForWhereNobodyCanReach(t *testing.T) {
	for what, change := range map[string]func(*config.Config){
		"this machine":             func(*config.Config) {},
		"turned off":               func(c *config.Config) { c.Site.PublicURL, c.SMS.Reports = "https://id.example.org", false },
		"an API key without token": func(c *config.Config) { c.Site.PublicURL, c.SMS.TwilioUser = "https://id.example.org", "SK1" },
	} {
		t.Run(what, func(t *testing.T) {
			far := &exchange{}
			twilio := httptest.NewServer(far)
			defer twilio.Close()
			n := servertest.Start(t, servertest.Options{Config: func(c *config.Config) {
				c.SMS = config.SMS{Provider: "twilio", From: "+15005550006", TwilioAccount: "AC1", TwilioPassword: config.NewSecret("token"), TwilioURL: twilio.URL, Reports: true}
				change(c)
				c.Email.Provider = "none"
			}})
			err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
				_, err := n.Core().Outbox.Put(t.Context(), tx, outbox.Letter{
					Letter: message.Letter{Channel: message.SMS, Kind: "signin_code", To: "+4915112345678", Language: "de", Params: map[string]string{"code": "482913", "minutes": "10", "site": "Fotoalbum"}},
				})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, func() bool { return len(far.asked()) == 1 })
			if got := far.asked()[0]; got != "" {
				t.Errorf("asked to report to %s", got)
			}
		})
	}
}
