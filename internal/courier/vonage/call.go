package vonage

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"

	"countersign/internal/courier"
	"countersign/internal/courier/post"
	"countersign/internal/courier/spoken"
	"countersign/internal/guard"
	"countersign/internal/platform/secret"
)

// CallConfig reaches an application at Vonage that may call. All but Reports, Base and Roots is required.
type CallConfig struct {
	Application string       // its id
	Key         secret.Token // its private key, PEM: requests are signed with it (RS256)
	Signature   secret.Token // the account's signature secret, which Vonage signs its questions and reports with
	From        string       // the number that calls come from, in E.164
	Reports     string       // where Vonage asks and reports; without it nobody is called
	// Base is where the API is. Empty means https://api.nexmo.com.
	Base  string
	Now   func() time.Time
	Roots *x509.CertPool
}

// Caller calls people and reads their code to them: the Voice API (developer.vonage.com/en/api/voice) and its call control objects
// (developer.vonage.com/en/voice/voice-api/ncco-reference). The code is read, twice, to whoever presses a key, which no answering machine does; it is not
// in the request for the call.
type Caller struct {
	c      CallConfig
	client *post.Client
	sign   jose.Signer
	box    *spoken.Box
}

// NewCaller checks the configuration; it calls nobody.
func NewCaller(c CallConfig) (*Caller, error) {
	if c.Application == "" || c.Signature.Empty() || !strings.HasPrefix(c.From, "+") || c.Now == nil {
		return nil, errors.New("vonage: calls need an application, the signature secret, a number to come from, and a clock")
	}
	key, err := privateKey(c.Key)
	if err != nil {
		return nil, err
	}
	sign, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, err
	}
	if c.Base == "" {
		c.Base = "https://api.nexmo.com"
	}
	c.Base = strings.TrimSuffix(c.Base, "/")
	client, err := post.New("vonage_call", c.Base, c.Roots)
	if err != nil {
		return nil, err
	}
	box, err := spoken.New(c.Signature, c.Now)
	return &Caller{c: c, client: client, sign: sign, box: box}, err
}

func privateKey(key secret.Token) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(key.Reveal()))
	if block == nil {
		return nil, errors.New("vonage: the application's private key is not PEM")
	}
	if k, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return k, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	k, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, errors.New("vonage: the application's private key is not an RSA key")
	}
	return k, nil
}

// Name returns "vonage_call".
func (c *Caller) Name() string { return "vonage_call" }

// Carries reports whether a letter has a code that somebody asked for again: nobody is called who has not waited for a message in vain.
func (c *Caller) Carries(m courier.Message) bool {
	return m.Digits != "" && m.Tried != "" && c.c.Reports != ""
}

// fresh is how long a token of ours is good for, and how old one of Vonage's may be: clocks differ by minutes, and a call lasts no longer.
const fresh = 5 * time.Minute

// claims are those that Vonage wants beside the registered ones, and those that it gives.
type claims struct {
	jwt.Claims

	Application string `json:"application_id,omitempty"`
	Hash        string `json:"payload_hash,omitempty"` // SHA-256 of the body, hexadecimal
}

// action is one of a call's (an NCCO), with the fields of those that are used.
type action struct {
	Action   string   `json:"action"`
	Text     string   `json:"text,omitempty"`
	Language string   `json:"language,omitempty"`
	BargeIn  bool     `json:"bargeIn,omitempty"` // a key ends the talk
	Loop     int      `json:"loop,omitempty"`
	Type     []string `json:"type,omitempty"`
	DTMF     *dtmf    `json:"dtmf,omitempty"`
	EventURL []string `json:"eventUrl,omitempty"`
}

type dtmf struct {
	MaxDigits int `json:"maxDigits"`
	TimeOut   int `json:"timeOut"`
}

type phone struct {
	Type   string `json:"type"`
	Number string `json:"number"` // E.164 without the plus
}

func phoneOf(number string) phone { return phone{"phone", strings.TrimPrefix(number, "+")} }

// talk says words and what is between them, in SSML.
func talk(language string, ssml string) action {
	tag := map[string]string{"de": "de-DE", "fr": "fr-FR", "es": "es-ES", "ar": "ar"}[language]
	if tag == "" {
		tag = "en-US"
	}
	return action{Action: "talk", Language: tag, Text: "<speak>" + ssml + "</speak>"}
}

const (
	waits  = `<break time="3s"/>`
	pauses = `<break time="1s"/>`
)

func said(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a builder takes everything
	return b.String()
}

// Send calls.
func (c *Caller) Send(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	if m.Digits == "" || c.c.Reports == "" {
		return courier.Receipt{}, &courier.Error{Code: "vonage_call_no_code", NotTaken: true}
	}
	sealed, err := c.box.Seal(m)
	if err != nil {
		return courier.Receipt{}, courier.Permanent("vonage_call_unencodable")
	}
	hello := talk(m.Language, said(m.Speech.Hello)+waits)
	hello.BargeIn, hello.Loop = true, 2
	reports := courier.ReportAddress(c.c.Reports, c.c.Signature, m.ID)
	body, err := json.Marshal(map[string]any{
		"to": []phone{phoneOf(m.To)}, "from": phoneOf(c.c.From), "ringing_timer": spoken.Ringing, "length_timer": spoken.Lasting,
		"event_url": []string{reports}, "event_method": "POST",
		"ncco": []action{hello, {
			Action: "input", Type: []string{"dtmf"}, DTMF: &dtmf{MaxDigits: 1, TimeOut: 10}, EventURL: []string{reports + "&" + url.Values{"say": {sealed}}.Encode()},
		}},
	})
	if err != nil {
		return courier.Receipt{}, courier.Permanent("vonage_call_unencodable")
	}
	at := c.c.Now()
	token, err := jwt.Signed(c.sign).Claims(claims{
		Claims: jwt.Claims{ID: uuid.NewString(), IssuedAt: jwt.NewNumericDate(at), Expiry: jwt.NewNumericDate(at.Add(fresh))}, Application: c.c.Application,
	}).Serialize()
	if err != nil {
		return courier.Receipt{}, courier.Permanent("vonage_call_unsigned")
	}
	ok, no, err := c.client.Do(ctx, c.c.Base+"/v1/calls", http.Header{
		"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}, "Accept": {"application/json"},
	}, body)
	if err != nil {
		return courier.Receipt{}, err
	}
	if no != nil {
		return courier.Receipt{}, c.client.Fault(no, "")
	}
	var made struct {
		UUID string `json:"uuid"`
	}
	_ = json.Unmarshal(ok.Body, &made) // it was taken: an answer we cannot read is no reason to call twice
	return courier.Receipt{ID: made.UUID}, nil
}

// event is what Vonage tells of a call, and what it asks.
type event struct {
	UUID   string `json:"uuid"`
	To     string `json:"to"`
	Status string `json:"status"`
	DTMF   *struct {
		Digits string `json:"digits"`
	} `json:"dtmf"`
}

// signed reads what Vonage has signed: a token whose claims hold the digest of the body
// (developer.vonage.com/en/getting-started/concepts/webhooks, "Signed webhooks"). The letter is bound by the address, which nobody else can make.
func (c *Caller) signed(a courier.Arrived) (letter string, e event, err error) {
	letter, err = a.Letter(c.c.Signature)
	if err != nil || len(a.Body) > maxReport {
		return "", event{}, courier.ErrForged
	}
	bearer, found := strings.CutPrefix(a.Header.Get("Authorization"), "Bearer ")
	token, err := jwt.ParseSigned(bearer, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil || !found {
		return "", event{}, courier.ErrForged
	}
	var got claims
	digest := sha256.Sum256(a.Body)
	if token.Claims(c.hmacKey(), &got) != nil || !strings.EqualFold(got.Hash, hex.EncodeToString(digest[:])) ||
		got.IssuedAt == nil || c.c.Now().Sub(got.IssuedAt.Time()).Abs() > fresh || got.Application != "" && got.Application != c.c.Application {
		return "", event{}, courier.ErrForged
	}
	if json.Unmarshal(a.Body, &e) != nil {
		return "", event{}, courier.ErrForged
	}
	return letter, e, nil
}

// hmacKey is the signature secret, filled up to the length that the library wants of a key: HMAC fills it with zeros itself (RFC 2104, section 2).
func (c *Caller) hmacKey() []byte {
	key := []byte(c.c.Signature.Reveal())
	return append(key, make([]byte, max(0, sha256.Size-len(key)))...)
}

// Answer says what is read to whoever has pressed a key, and nothing to whoever has not.
func (c *Caller) Answer(a courier.Arrived) (courier.Answer, bool, error) {
	if !a.Query.Has("say") {
		return courier.Answer{}, false, nil
	}
	letter, e, err := c.signed(a)
	if err != nil {
		return courier.Answer{}, true, err
	}
	out := courier.Answer{Type: "application/json", Body: []byte("[]")}
	if e.DTMF == nil || e.DTMF.Digits == "" {
		return out, true, nil
	}
	s, err := c.box.Open(letter, a.Query.Get("say"))
	if err != nil || "+"+strings.TrimPrefix(e.To, "+") != s.To {
		return courier.Answer{}, true, courier.ErrForged
	}
	digits := strings.Join(strings.Split(s.Digits, ""), pauses) // one by one, so that they can be written down
	words := said(s.Speech.Code) + pauses + digits + pauses + said(s.Speech.Again) + pauses + digits + pauses + said(s.Speech.End)
	if out.Body, err = json.Marshal([]action{talk(s.Language, words)}); err != nil {
		return courier.Answer{}, true, err
	}
	out.Reports = []courier.Report{{Provider: c.Name(), Letter: letter, ID: post.Word(e.UUID), State: courier.Delivered, Country: guard.Region(s.To)}}
	return out, true, nil
}

// Receive reads an event. A call that has ended has delivered the code only if a key was pressed, which is known by then.
func (c *Caller) Receive(a courier.Arrived) ([]courier.Report, error) {
	letter, e, err := c.signed(a)
	if err != nil {
		return nil, err
	}
	r := courier.Report{Provider: c.Name(), Letter: letter, ID: post.Word(e.UUID), State: courier.Underway, Country: guard.Region("+" + strings.TrimPrefix(e.To, "+"))}
	switch {
	case e.Status == "completed":
		r.State, r.Code = courier.NotDelivered, "no_key_pressed"
	case slices.Contains([]string{"busy", "timeout", "unanswered", "rejected", "failed", "cancelled", "machine"}, e.Status):
		r.State, r.Code = courier.NotDelivered, e.Status
	}
	return []courier.Report{r}, nil
}
