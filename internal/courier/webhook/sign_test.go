package webhook

import (
	"testing"
	"time"

	"countersign/internal/platform/secret"
)

// The test vector of the Standard Webhooks reference libraries.
func TestSignatureIsTheStandards(t *testing.T) {
	p, err := New(Config{URL: "https://x.example", Secrets: []secret.Token{secret.Of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	got := p.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
