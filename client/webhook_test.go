package client_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	"countersign/client"
)

// The signature is Standard Webhooks': the first of these is the example of its specification.
func TestADeliveryIsChecked(t *testing.T) {
	const secret, stamp, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "1614265330", `{"test": 2432232314}`
	key, _ := base64.StdEncoding.DecodeString(secret[len("whsec_"):])
	sign := func(text string) string {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	if got := sign("msg_p5jXN8AQM9LWM0D4loKWxJek." + stamp + "." + body); got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Fatalf("this test signs by another rule: %s", got)
	}
	now := time.Unix(1614265330, 0)
	w := client.Webhook{Secrets: []string{"whsec_AAAA", secret}, Now: func() time.Time { return now }}
	event := `{"type":"account_protected","timestamp":"2027-01-01T08:00:00Z","data":{"id":"e1","account":"a1","application":"photos","reference":"u-17","actor":"person","detail":{"by":"link"}}}`
	header := func(id, stamp, signature string) http.Header {
		return http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {signature}}
	}
	good := sign("e1." + stamp + "." + event)
	got, err := w.Verify(header("e1", stamp, "v1,AAAA "+good), []byte(event))
	if err != nil || got.Type != "account_protected" || got.Reference != "u-17" || got.Detail["by"] != "link" || got.At.Year() != 2027 {
		t.Fatalf("%v, %+v", err, got)
	}
	for what, h := range map[string]http.Header{
		"none":           {},
		"another's":      header("e1", stamp, "v1,AAAA"),
		"another id":     header("e2", stamp, good),
		"an old one":     header("e1", "1614264000", sign("e1.1614264000."+event)),
		"not of a time":  header("e1", "now", good),
		"another kind":   header("e1", stamp, "v1a,"+good[3:]),
		"signed for it":  header("e2", stamp, sign("e2."+stamp+"."+event)),
		"no signature":   header("e1", stamp, ""),
		"one of the two": header("e1", stamp, "v1"),
	} {
		if _, err := w.Verify(h, []byte(event)); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	if _, err := w.Verify(header("e1", stamp, good), []byte(event+" ")); err == nil {
		t.Error("another body was taken")
	}
	if _, err := (client.Webhook{Secrets: []string{"whsec_"}, Now: w.Now}).Verify(header("e1", stamp, sign("")), []byte(event)); err == nil {
		t.Error("an empty secret was taken")
	}
}
