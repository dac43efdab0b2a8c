// Package couriertest is what every provider must do, as tests.
package couriertest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/message"
)

// Mood is how the other end behaves.
type Mood int

// The moods.
const (
	Accept        Mood = iota
	RefuseForGood      // this letter can never be delivered; the answer quotes the address and the text
	RefuseForNow       // come back later; the answer quotes the address and the text
	Hang               // accept the connection and answer nothing
	CutOff             // close the connection instead of an answer
)

// Bench is a provider and the other end of its wire.
type Bench struct {
	Provider courier.Provider
	Channel  message.Channel
	// Set changes the other end's mood. Nil for a provider without another end.
	Set func(Mood)
	// Got returns what arrived, decoded from the wire.
	Got func() []courier.Message
	// Marks is what of a letter's id a wire has room for; nil where it is all of it.
	Marks func(id string) string
	// Nameless is a wire on which letters get no id of the other end's.
	Nameless bool
	// Secrets are what the provider signs in or signs with.
	Secrets []string
	// NeverForGood is a provider whose refusals say nothing of the letter's next provider.
	NeverForGood bool
	// Gone is a provider whose other end does not exist; nil where there is no other end.
	Gone courier.Provider
}

// marks is what the other end can know of a letter's id.
func (b Bench) marks(id string) string {
	if b.Marks == nil {
		return id
	}
	return b.Marks(id)
}

// letter is a letter with everything that is hard to transport.
func letter(ch message.Channel, id string) courier.Message {
	m := courier.Message{ID: id, Channel: ch}
	if ch == message.SMS {
		m.To, m.From = "+4915112345678", "+15005550006"
		m.Code, m.Digits, m.Language = true, "482913", "de"
		m.Speech = message.Speech{Hello: "Hier ist Fotoalbum & Co.", Code: "Ihr Code ist:", Again: "Noch einmal:", End: "Auf Wiederhören."}
		m.Text = "Fotoalbum: 482913 + 100 % & größer = ja?\n\n@id.example.org #482913"
		return m
	}
	m.To, m.From = "ada+signin@example.org", `"Fotoalbum" <no-reply@id.example.org>`
	m.Subject = "Ihr Anmeldecode für das große Fotoalbum, und zwar für alle, die es lieben: 写真"
	m.Text = "Ihr Code:\n\n    482913\n\n.\n. Punkt am Anfang\nFrom hier\n-- \n" + strings.Repeat("lang ", 300) + "\n"
	m.HTML = "<!doctype html><p>Ihr Code: <b>482913</b> – größer = besser</p>\n.\n" + strings.Repeat("x", 1200)
	return m
}

// Run runs the suite; open makes a fresh bench.
func Run(t *testing.T, open func(t *testing.T) Bench) {
	t.Helper()
	t.Run("a letter arrives whole", func(t *testing.T) { arrives(t, open(t)) })
	t.Run("a second try has the same id", func(t *testing.T) { sameID(t, open(t)) })
	t.Run("many at once", func(t *testing.T) { manyAtOnce(t, open(t)) })
	t.Run("a cancelled letter is not sent", func(t *testing.T) { cancelled(t, open(t)) })
	t.Run("the log of a whole run tells nothing", func(t *testing.T) { quiet(t, open(t)) })
	b := open(t)
	if b.Set == nil {
		return
	}
	t.Run("a refusal for good is permanent", func(t *testing.T) { refused(t, b, RefuseForGood, !b.NeverForGood) })
	t.Run("a refusal for now is temporary", func(t *testing.T) { refused(t, b, RefuseForNow, false) })
	t.Run("a broken connection is temporary", func(t *testing.T) { refused(t, b, CutOff, false) })
	t.Run("and then letters arrive again", func(t *testing.T) { b.Set(Accept); arrives(t, b) })
	t.Run("a hanging end is left when time is over", func(t *testing.T) { hangs(t, open(t)) })
	t.Run("an end that is not there is temporary", func(t *testing.T) {
		_, err := b.Gone.Send(context.Background(), letter(b.Channel, "0199-gone"))
		check(t, err, letter(b.Channel, "0199-gone"), false)
	})
}

func arrives(t *testing.T, b Bench) {
	t.Helper()
	want := letter(b.Channel, "01890000-0000-7000-8000-000000000001")
	before := len(b.Got())
	rec, err := b.Provider.Send(t.Context(), want)
	if err != nil {
		t.Fatalf("send: %v", err)
	}
	if rec.ID == "" && !b.Nameless {
		t.Error("no receipt id")
	}
	got := b.Got()[before:]
	if len(got) != 1 {
		t.Fatalf("%d letters arrived", len(got))
	}
	want.ID = b.marks(want.ID)
	want.Speech = message.Speech{}
	if got[0].Digits == "" { // a wire for words
		want.Code, want.Digits, want.Language = false, "", ""
	} else { // and one for the code alone
		want.Code, want.From, want.Text = false, "", ""
	}
	if got[0] != want {
		t.Errorf("got  %q\nwant %q", fields(got[0]), fields(want))
	}
}

// fields shows what Message hides.
func fields(m courier.Message) []string {
	return []string{m.ID, string(m.Channel), m.To, m.From, m.Subject, m.Text, m.HTML}
}

func sameID(t *testing.T, b Bench) {
	t.Helper()
	for range 2 {
		if _, err := b.Provider.Send(t.Context(), letter(b.Channel, "0189-same")); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range b.Got() {
		if m.ID != b.marks("0189-same") {
			t.Errorf("arrived as %q", m.ID)
		}
	}
}

func manyAtOnce(t *testing.T, b Bench) {
	t.Helper()
	var all sync.WaitGroup
	const n = 20
	for i := range n {
		all.Go(func() {
			if _, err := b.Provider.Send(t.Context(), letter(b.Channel, fmt.Sprintf("0189-%d", i))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	ids, want := map[string]bool{}, map[string]bool{}
	for _, m := range b.Got() {
		ids[m.ID] = true
	}
	for i := range n {
		want[b.marks(fmt.Sprintf("0189-%d", i))] = true
	}
	if len(b.Got()) != n || !maps.Equal(ids, want) {
		t.Errorf("%d letters of %d ids arrived, want %d", len(b.Got()), len(ids), n)
	}
}

func cancelled(t *testing.T, b Bench) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Provider.Send(ctx, letter(b.Channel, "0189-cancelled"))
	check(t, err, letter(b.Channel, "0189-cancelled"), false)
	if len(b.Got()) != 0 {
		t.Error("it arrived")
	}
}

func refused(t *testing.T, b Bench, mood Mood, permanent bool) {
	t.Helper()
	b.Set(mood)
	m := letter(b.Channel, "0189-refused")
	_, err := b.Provider.Send(t.Context(), m)
	check(t, err, m, permanent)
}

func hangs(t *testing.T, b Bench) {
	t.Helper()
	b.Set(Hang)
	for name, limit := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 200*time.Millisecond)
		},
		"cancel": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(200*time.Millisecond, cancel)
			return ctx, cancel
		},
	} {
		ctx, cancel := limit(t.Context())
		defer cancel()
		began := time.Now()
		m := letter(b.Channel, "0189-hang")
		_, err := b.Provider.Send(ctx, m)
		check(t, err, m, false)
		if took := time.Since(began); took > 2*time.Second || took < 150*time.Millisecond {
			t.Errorf("%s: returned after %v", name, took)
		}
	}
}

// check holds an error to the contract: an *Error of the right class that tells nothing of the letter.
func check(t *testing.T, err error, m courier.Message, permanent bool) {
	t.Helper()
	e, ok := errors.AsType[*courier.Error](err)
	if !ok {
		t.Fatalf("not an *Error: %v", err)
	}
	if e.Permanent != permanent || e.Code == "" || strings.ContainsAny(e.Code, " \r\n") {
		t.Errorf("permanent %v, code %q: %v", e.Permanent, e.Code, err)
	}
	for _, private := range []string{m.To, m.To[1:], "ada", "15112345678", "482913", "Ihr Code"} {
		if strings.Contains(fmt.Sprintf("%v %+v", err, err), private) {
			t.Errorf("the error tells %q: %v", private, err)
		}
	}
}

// Certificate makes a certificate for a server on this machine, and the roots that verify it.
func Certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "couriertest"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}
