package amazon_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/amazon"
	"countersign/internal/courier/couriertest"
)

const topic = "arn:aws:sns:eu-central-1:123456789012:countersign"

func now() time.Time { return time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }

func open(t *testing.T) (*couriertest.SNS, *amazon.Topic) {
	t.Helper()
	far := couriertest.NewSNS(t, topic, now())
	out, err := amazon.NewTopic(topic, now, far.Client, far.Roots)
	if err != nil {
		t.Fatal(err)
	}
	return far, out
}

func TestMessagesOfTheTopicAreRead(t *testing.T) {
	for _, issuers := range []bool{false, true} {
		far, topic := open(t)
		far.Issuers = issuers
		for _, version := range []string{"1", "2"} {
			if got, err := topic.Open(far.Post(version, "{\"a\": \"größer\\n\"}\n", now(), nil)); err != nil || got != "{\"a\": \"größer\\n\"}\n" {
				t.Errorf("%s: %q, %v", version, got, err)
			}
		}
		want := []string{"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"}
		if !issuers {
			want = append(want, "https://crt.test.amazontrust.com/between.cer")
		}
		if got := far.Asked(); !slices.Equal(got, want) {
			t.Errorf("asked for %q", got)
		}
	}
}

func TestASubject(t *testing.T) {
	far, topic := open(t)
	body := far.Post("2", "text\nSubject\nhello", now(), nil) // the text that is signed is that of a message with a subject
	if got, err := topic.Open(bytes.Replace(body, []byte(`"Message":"text\nSubject\nhello"`), []byte(`"Message":"text"`), 1)); err == nil {
		t.Errorf("taken as %q", got)
	}
}

// The attacks: each byte changed, another key, another topic, too old, and fields that are lines of a text.
func TestWhatSNSHasNotSignedForThisTopicIsForged(t *testing.T) {
	far, topic := open(t)
	genuine := far.Post("2", "text", now(), nil)
	if _, err := topic.Open(genuine); err != nil {
		t.Fatal(err)
	}
	var fields map[string]string
	if err := json.Unmarshal(genuine, &fields); err != nil {
		t.Fatal(err)
	}
	for name, value := range fields {
		for i := range value {
			b := []byte(value)
			b[i] ^= 1
			changed, _ := json.Marshal(map[string]string{name: string(b)})
			forged := map[string]string{}
			_ = json.Unmarshal(genuine, &forged)
			_ = json.Unmarshal(changed, &forged)
			body, _ := json.Marshal(forged)
			if got, err := topic.Open(body); !errors.Is(err, courier.ErrForged) {
				if name == "SigningCertURL" { // one that is not there, or was asked for just now
					if err == nil {
						t.Errorf("%s: taken as %q", forged[name], got)
					}
					continue
				}
				t.Errorf("%s %q: %q, %v", name, forged[name], got, err)
			}
		}
	}
	other := couriertest.NewSNS(t, topic1, now())
	stranger := couriertest.NewSNS(t, topic0, now())
	for what, body := range map[string][]byte{
		"another topic":                  other.Post("2", "text", now(), nil),
		"another topic under this name":  other.Post("2", "text", now(), map[string]string{"TopicArn": topic0}),
		"somebody else's key":            stranger.Post("2", "text", now(), nil),
		"another version":                far.Post("2", "text", now(), map[string]string{"SignatureVersion": "1"}),
		"no version":                     far.Post("1", "text", now(), map[string]string{"SignatureVersion": ""}),
		"an old one":                     far.Post("2", "text", now().Add(-2*time.Hour-time.Second), nil),
		"one of tomorrow":                far.Post("2", "text", now().Add(6*time.Minute), nil),
		"an old one that is new":         far.Post("2", "text", now().Add(-3*time.Hour), map[string]string{"Timestamp": "2027-01-01T00:00:00.000Z"}),
		"a confirmation as notification": far.Subscribe("2", "token", now(), map[string]string{"Type": "Notification"}),
		"a notification as confirmation": far.Post("2", "text", now(), map[string]string{"Type": "SubscriptionConfirmation", "Token": "token"}),
		"nothing":                        nil,
		"no message":                     []byte("{}"),
	} {
		if got, err := topic.Open(body); !errors.Is(err, courier.ErrForged) {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	far.Asked()
	for _, address := range []string{
		"http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem", "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-0123456789abcdef.pem",
		"https://evil.example/SimpleNotificationService-0123456789abcdef.pem", "https://sns.eu-central-1.amazonaws.com/evil/SimpleNotificationService-0123456789abcdef.pem",
		"https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem", "https://x@sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
		"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem?x", "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription", "",
		"https://sns.eu-central-1.amazonaws.com:444/SimpleNotificationService-0123456789abcdef.pem",
	} {
		if got, err := topic.Open(far.Post("2", "text", now(), map[string]string{"SigningCertURL": address})); !errors.Is(err, courier.ErrForged) {
			t.Errorf("%q: %q, %v", address, got, err)
		}
	}
	if got := far.Asked(); len(got) > 0 {
		t.Errorf("asked for %q", got)
	}
}

const (
	topic0 = topic
	topic1 = "arn:aws:sns:eu-central-1:999999999999:evil"
)

// Whoever has a topic of their own at SNS has texts signed there. One that holds lines like those of fields must not pass for a message of ours.
func TestFieldsInATextAreNone(t *testing.T) {
	far, topic := open(t)
	far.Topic = topic1
	stamp := now().Format("2006-01-02T15:04:05.000Z")
	text := "evil\nMessageId\nx\nTimestamp\n" + stamp + "\nTopicArn\n" + topic0 + "\nType\nNotification"
	body := far.Post("2", text, now(), nil)
	tail := "\nMessageId\n22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324\nTimestamp\n" + stamp + "\nTopicArn\n" + topic1 + "\nType\nNotification"
	var fields map[string]string
	if err := json.Unmarshal(body, &fields); err != nil {
		t.Fatal(err)
	}
	for _, change := range []map[string]string{
		{"Message": "evil", "MessageId": "x", "TopicArn": topic0, "Type": "Notification" + tail},
		{"Message": "evil", "MessageId": "x", "TopicArn": topic0, "Type": "Notification"},
		{"Message": "evil", "MessageId": "x", "TopicArn": topic0 + "\nType\nNotification" + strings.TrimSuffix(tail, "\nType\nNotification")},
	} {
		forged := map[string]string{}
		for name, value := range fields {
			forged[name] = value
		}
		for name, value := range change {
			forged[name] = value
		}
		sent, _ := json.Marshal(forged)
		if got, err := topic.Open(sent); !errors.Is(err, courier.ErrForged) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestASubscriptionIsConfirmedToThisTopicAlone(t *testing.T) {
	far, topic := open(t)
	if got, err := topic.Open(far.Subscribe("2", "a+b/c=", now(), nil)); err != nil || got != "" {
		t.Fatalf("%q, %v", got, err)
	}
	// The message's own address is not the one that is visited.
	const want = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=a%2Bb%2Fc%3D&TopicArn=arn%3Aaws%3Asns%3Aeu-central-1%3A123456789012%3Acountersign"
	if got := far.Asked(); got[len(got)-1] != want {
		t.Errorf("%q", got)
	}
	for what, body := range map[string][]byte{
		"another token":         far.Subscribe("2", "token", now(), map[string]string{"Token": "other"}),
		"another topic's":       couriertest.NewSNS(t, topic1, now()).Subscribe("2", "token", now(), nil),
		"another topic renamed": couriertest.NewSNS(t, topic1, now()).Subscribe("2", "token", now(), map[string]string{"TopicArn": topic0}),
		"an old one":            far.Subscribe("2", "token", now().Add(-3*time.Hour), nil),
	} {
		if _, err := topic.Open(body); !errors.Is(err, courier.ErrForged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := far.Asked(); len(got) > 0 {
		t.Errorf("asked for %q", got)
	}
}

// A certificate that is where SNS keeps its own counts only if somebody whom we trust has issued it, and for SNS.
func TestACertificateNobodyVouchesForIsNone(t *testing.T) {
	far := couriertest.NewSNS(t, topic0, now())
	for what, c := range map[string]struct {
		roots *x509.CertPool
		now   time.Time
	}{"other roots": {x509.NewCertPool(), now()}, "expired": {far.Roots, now().Add(25 * time.Hour)}} {
		at := func() time.Time { return c.now }
		topic, err := amazon.NewTopic(topic0, at, far.Client, c.roots)
		if err != nil {
			t.Fatal(err)
		}
		_, err = topic.Open(far.Post("2", "text", c.now, nil))
		if e, ok := errors.AsType[x509.CertificateInvalidError](err); err == nil || errors.Is(err, courier.ErrForged) || what == "expired" && (!ok || e.Reason != x509.Expired) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Forged messages that name certificates cost Amazon one question in five seconds.
func TestAFloodAsksForFewCertificates(t *testing.T) {
	far, topic := open(t)
	for i := range 100 {
		name := strings.Repeat("a", i%60+1)
		if _, err := topic.Open(far.Post("2", "text", now(), map[string]string{"SigningCertURL": "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-" + name + ".pem"})); err == nil {
			t.Fatal("taken")
		}
	}
	if got := far.Asked(); len(got) != 1 {
		t.Errorf("asked %d times", len(got))
	}
}

func TestATopicThatIsNoneIsRefused(t *testing.T) {
	for _, name := range []string{"", "topic", "arn:aws:sns:eu-central-1:123456789012:a b", "arn:aws:sns:evil.example/:123456789012:a", "arn:aws:sqs:eu-central-1:123456789012:a", topic + "\n"} {
		if _, err := amazon.NewTopic(name, now, http.DefaultClient, nil); err == nil { //nolint:forbidigo // it is not used
			t.Errorf("%q was accepted", name)
		}
	}
}
