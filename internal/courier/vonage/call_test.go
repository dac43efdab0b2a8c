package vonage_test

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"countersign/internal/courier"
	"countersign/internal/courier/couriertest"
	"countersign/internal/courier/vonage"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
)

const (
	askedAt     = "https://id.example.org/hooks/sms/vonage_call"
	application = "78d335fa-323d-0114-9c3d-d6f0d48968cf"
)

var applicationKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func callConfig(base string) vonage.CallConfig {
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(applicationKey())})
	return vonage.CallConfig{Application: application, Key: secret.Of(string(text)), Signature: secret.Of("signing key"), From: "+15005550006", Reports: askedAt, Base: base, Now: now}
}

func caller(t *testing.T, c vonage.CallConfig) *vonage.Caller {
	t.Helper()
	p, err := vonage.NewCaller(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tells is what Vonage posts about a call, signed as the documentation of its webhooks has it, by hand.
func tells(address string, e map[string]any, key string, changes map[string]any) courier.Arrived {
	u, _ := url.Parse(address)
	body, _ := json.Marshal(e)
	digest := sha256.Sum256(body)
	given := map[string]any{"iat": now().Unix(), "jti": "a", "iss": "Vonage", "api_key": "abcd1234", "application_id": application, "payload_hash": hex.EncodeToString(digest[:])}
	alg := "HS256"
	for name, v := range changes {
		if name == "alg" {
			alg = v.(string)
			continue
		}
		given[name] = v
	}
	part := func(v any) string { raw, _ := json.Marshal(v); return base64.RawURLEncoding.EncodeToString(raw) }
	text := part(map[string]string{"alg": alg, "typ": "JWT"}) + "." + part(given)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return courier.Arrived{Header: http.Header{"Authorization": {"Bearer " + text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))}}, Query: u.Query(), Body: body}
}

func pressed(digits string) map[string]any {
	return map[string]any{"uuid": "63f61863-4a51", "to": "4915112345678", "from": "15005550006", "dtmf": map[string]any{"digits": digits, "timed_out": digits == ""}}
}

type spoken struct {
	Action, Text, Language string
	BargeIn                bool
	Loop                   int
	Type, EventURL         []string
	DTMF                   struct{ MaxDigits, TimeOut int }
}

// heard is what somebody hears, and the digits that stand alone in it.
func heard(body []byte) (text, digits string) {
	var all []spoken
	_ = json.Unmarshal(body, &all)
	for _, s := range all {
		for _, word := range strings.Split(strings.TrimSuffix(strings.TrimPrefix(s.Text, "<speak>"), "</speak>"), `<break time="1s"/>`) {
			if len(word) == 1 {
				digits += word
			} else {
				text += word + "|"
			}
		}
	}
	return text, digits
}

// openCaller starts a Vonage that asks, as soon as it is to call, what to say when a key is pressed.
func openCaller(t *testing.T) (*couriertest.Far, *vonage.Caller, *atomic.Pointer[string]) {
	t.Helper()
	var p *vonage.Caller
	action := &atomic.Pointer[string]{}
	far := &couriertest.Far{Read: func(r *http.Request, body []byte) (courier.Message, error) {
		token, err := jwt.ParseSigned(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), []jose.SignatureAlgorithm{jose.RS256})
		if err != nil || r.Method != http.MethodPost || r.URL.RequestURI() != "/v1/calls" || r.Header.Get("Content-Type") != "application/json" {
			return courier.Message{}, fmt.Errorf("%s %s %w", r.Method, r.URL, err)
		}
		var got map[string]any
		if err := token.Claims(&applicationKey().PublicKey, &got); err != nil || got["application_id"] != application || got["iat"] != float64(now().Unix()) || got["jti"] == "" {
			return courier.Message{}, fmt.Errorf("%v: %w", got, err)
		}
		type number struct{ Type, Number string }
		var do struct {
			To           []number
			From         number
			EventURL     []string `json:"event_url"`
			RingingTimer int      `json:"ringing_timer"`
			LengthTimer  int      `json:"length_timer"`
			NCCO         []spoken
		}
		if err := json.Unmarshal(body, &do); err != nil || len(do.To) != 1 || do.From != (number{"phone", "15005550006"}) || do.RingingTimer != 25 || do.LengthTimer != 90 || len(do.EventURL) != 1 || len(do.NCCO) != 2 {
			return courier.Message{}, fmt.Errorf("%s: %w", body, err)
		}
		hello, input := do.NCCO[0], do.NCCO[1]
		if hello.Action != "talk" || !hello.BargeIn || hello.Loop != 2 || input.Action != "input" || input.DTMF.MaxDigits != 1 || len(input.EventURL) != 1 || strings.Join(input.Type, "") != "dtmf" {
			return courier.Message{}, fmt.Errorf("%s", body)
		}
		if strings.Contains(string(body), "482913") {
			return courier.Message{}, errors.New("the code is in the request")
		}
		action.Store(&input.EventURL[0])
		answer, _, err := p.Answer(tells(input.EventURL[0], pressed("5"), "signing key", map[string]any{}))
		if err != nil { // the conformance suite calls other numbers
			e := pressed("5")
			e["to"] = do.To[0].Number
			answer, _, err = p.Answer(tells(input.EventURL[0], e, "signing key", nil))
		}
		_, digits := heard(answer.Body)
		u, _ := url.Parse(input.EventURL[0])
		return courier.Message{ID: u.Query().Get("letter"), Channel: message.SMS, To: "+" + do.To[0].Number, Digits: digits[:min(len(digits), 6)], Language: hello.Language[:2]}, err
	}, Answer: func(w http.ResponseWriter, mood couriertest.Mood, m courier.Message) {
		if mood == couriertest.Accept {
			w.WriteHeader(http.StatusCreated)
			_ = json.NewEncoder(w).Encode(map[string]string{"uuid": "63f61863-4a51", "status": "started", "direction": "outbound"})
			return
		}
		answerCall(w, mood, m)
	}}
	far.Serve(t)
	c := callConfig(far.URL)
	c.Roots = far.Roots
	p = caller(t, c)
	return far, p, action
}

// answerCall refuses as the Voice API does.
func answerCall(w http.ResponseWriter, mood couriertest.Mood, m courier.Message) {
	status := map[couriertest.Mood]int{couriertest.RefuseForGood: http.StatusBadRequest, couriertest.RefuseForNow: http.StatusTooManyRequests}[mood]
	if mood == couriertest.RefuseForNow {
		w.Header().Set("Retry-After", "7")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"title": http.StatusText(status), "detail": "no call to " + m.To})
}

func TestCallsAreAProvider(t *testing.T) {
	couriertest.Run(t, func(t *testing.T) couriertest.Bench {
		far, p, _ := openCaller(t)
		return couriertest.Bench{
			Provider: p, Channel: message.SMS, Set: far.Set, Got: far.Got, Gone: caller(t, callConfig("https://"+couriertest.Nowhere(t))), Secrets: []string{"signing key"},
		}
	})
}

func call() courier.Message {
	return courier.Message{
		ID: "0189-0001", To: "+4915112345678", Digits: "482913", Language: "de", Expires: now().Add(5 * time.Minute), Tried: "vonage",
		Speech: message.Speech{Hello: "Hier ist Salz & Pfeffer.", Code: "Ihr Code ist:", Again: "Noch einmal:", End: "Auf Wiederhören."},
	}
}

func TestTheCodeIsReadTwiceToWhoeverPressesAKey(t *testing.T) {
	_, p, action := openCaller(t)
	if _, err := p.Send(t.Context(), call()); err != nil {
		t.Fatal(err)
	}
	at := *action.Load()
	got, asks, err := p.Answer(tells(at, pressed("5"), "signing key", nil))
	text, digits := heard(got.Body)
	if err != nil || !asks || digits != "482913482913" || text != "Ihr Code ist:|Noch einmal:|Auf Wiederhören.|" || got.Type != "application/json" {
		t.Errorf("%q %q %v %v", text, digits, asks, err)
	}
	want := courier.Report{Provider: "vonage_call", Letter: "0189-0001", ID: "63f61863-4a51", State: courier.Delivered, Country: "DE"}
	if len(got.Reports) != 1 || got.Reports[0] != want {
		t.Errorf("%+v", got.Reports)
	}
	// Whoever pressed nothing hears nothing more, and nothing was delivered.
	if got, asks, err := p.Answer(tells(at, pressed(""), "signing key", nil)); err != nil || !asks || string(got.Body) != "[]" || len(got.Reports) != 0 {
		t.Errorf("no key: %s %v", got.Body, err)
	}
	stranger, unsigned, spoiled := pressed("5"), tells(at, pressed("5"), "signing key", nil), tells(at, pressed("5"), "signing key", nil)
	stranger["to"] = "4915112345679"
	unsigned.Header = http.Header{}
	spoiled.Body = []byte(strings.Replace(string(spoiled.Body), `"5"`, `"6"`, 1))
	for what, a := range map[string]courier.Arrived{
		"forged": tells(at, pressed("5"), "signing kez", nil), "unsigned": unsigned, "another body": spoiled, "another number": tells(at, stranger, "signing key", nil),
		"swapped to another letter": tells(strings.Replace(at, "0189-0001", "0189-0002", 1), pressed("5"), "signing key", nil),
		"another code":              tells(at[:len(at)-2]+"AA", pressed("5"), "signing key", nil),
		"signed by nobody":          tells(at, pressed("5"), "signing key", map[string]any{"alg": "none"}),
		"of another application":    tells(at, pressed("5"), "signing key", map[string]any{"application_id": "other"}),
		"old":                       tells(at, pressed("5"), "signing key", map[string]any{"iat": now().Add(-6 * time.Minute).Unix()}),
		"without a time":            tells(at, pressed("5"), "signing key", map[string]any{"iat": nil}),
	} {
		if got, asks, err := p.Answer(a); !asks || !errors.Is(err, courier.ErrForged) || len(got.Body) != 0 {
			t.Errorf("%s: %s %v", what, got.Body, err)
		}
	}
	c := callConfig("https://api.example")
	if _, _, err := caller(t, c).Answer(tells(at, pressed("5"), "signing key", nil)); err != nil {
		t.Errorf("on another node: %v", err)
	}
	c.Now = func() time.Time { return now().Add(5*time.Minute + time.Second) } // once the code is old
	if _, _, err := caller(t, c).Answer(tells(at, pressed("5"), "signing key", map[string]any{"iat": c.Now().Unix()})); !errors.Is(err, courier.ErrForged) {
		t.Errorf("replayed: %v", err)
	}
}

func TestNobodyIsCalledWhoHasNotWaited(t *testing.T) {
	_, p, _ := openCaller(t)
	first, notice := call(), call()
	first.Tried, notice.Digits = "", ""
	if !p.Carries(call()) || p.Carries(first) || p.Carries(notice) {
		t.Error("calls for another letter than a code that was asked for again")
	}
	c := callConfig("https://api.example")
	c.Reports = ""
	unreachable := caller(t, c)
	if _, err := unreachable.Send(t.Context(), call()); err == nil || unreachable.Carries(call()) {
		t.Error("calls without an address for what to say")
	}
}

func TestReportsOfCalls(t *testing.T) {
	_, p, _ := openCaller(t)
	at := courier.ReportAddress(askedAt, secret.Of("signing key"), "0189-0001")
	status := func(s string) courier.Arrived {
		return tells(at, map[string]any{"uuid": "63f61863-4a51", "to": "4915112345678", "from": "15005550006", "status": s, "direction": "outbound"}, "signing key", nil)
	}
	couriertest.Reports(t, p, status("busy"), courier.Report{Provider: "vonage_call", Letter: "0189-0001", ID: "63f61863-4a51", State: courier.NotDelivered, Code: "busy", Country: "DE"})
	couriertest.Signed(t, p, status("busy"))
	for s, want := range map[string]courier.State{"ringing": courier.Underway, "answered": courier.Underway, "completed": courier.NotDelivered, "unanswered": courier.NotDelivered, "cancelled": courier.NotDelivered} {
		if got, err := p.Receive(status(s)); err != nil || got[0].State != want {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
}

func TestAnApplicationsKeyIsLookedAt(t *testing.T) {
	for _, key := range []string{"", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		c := callConfig("https://api.example")
		c.Key = secret.Of(key)
		if _, err := vonage.NewCaller(c); err == nil {
			t.Errorf("%q is taken for a key", key)
		}
	}
}
