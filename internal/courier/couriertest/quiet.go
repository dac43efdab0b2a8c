package couriertest

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/keyring"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// quiet sends letters through a whole courier to an end of every mood, and to none, and reads all that was logged: that each letter was sent or why it was not, and
// neither an address, nor words, nor a code, nor a secret of the provider's.
func quiet(t *testing.T, b Bench) {
	t.Helper()
	log := &testkit.Log{}
	one := func(p courier.Provider, mood Mood, outcome string) {
		t.Helper()
		if b.Set != nil {
			b.Set(mood)
		}
		id, stop := post(t, p, b.Channel, log)
		defer stop()
		for end := time.Now().Add(20 * time.Second); !strings.Contains(log.String(), `"msg":"`+outcome+`","letter":"`+id+`"`); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("mood %d: nothing says %q of the letter:\n%s", mood, outcome, log)
			}
		}
	}
	one(b.Provider, Accept, "letter done")
	if b.Set != nil {
		for _, mood := range []Mood{RefuseForGood, RefuseForNow, CutOff, Hang} {
			one(b.Provider, mood, "letter not sent")
		}
		one(b.Gone, Accept, "letter not sent")
	}
	m := letter(b.Channel, "")
	private := []string{m.To[1:], "ada+", "15112345678", "482913", "Fotoalbum", "Authorization"}
	for _, s := range append(b.Secrets, CentrePassword) {
		private = append(private, s, url.QueryEscape(s), base64.StdEncoding.EncodeToString([]byte(s)))
	}
	for _, p := range private {
		if strings.Contains(log.String(), p) {
			t.Errorf("the log tells %q:\n%s", p, log)
		}
	}
}

// post puts a letter into an outbox of its own, and runs a courier that sends it by p until stop.
func post(t *testing.T, p courier.Provider, ch message.Channel, log *testkit.Log) (id string, stop func()) {
	t.Helper()
	words, err := message.New("id.example.org")
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.New([]keyring.Root{{ID: "ktest001", Key: bytes.Repeat([]byte{7}, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	like := letter(ch, "")
	box := &outbox.Box{DB: dbtest.SQLite(t), Ring: ring}
	err = box.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
		id, err = box.Put(t.Context(), tx, outbox.Letter{Letter: message.Letter{
			Kind: message.SigninCode, Channel: ch, To: like.To, Language: "de", Params: map[string]string{"code": "482913", "minutes": "10", "site": "Fotoalbum"},
		}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c := courier.New(courier.Options{
		Box: box, Catalog: words, Poll: 20 * time.Millisecond, Drain: time.Millisecond,
		Routes: map[message.Channel]courier.Route{ch: {Provider: p, From: like.From, Timeout: 300 * time.Millisecond}},
		Log:    slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	return id, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(fmt.Errorf("the courier: %w", err))
		}
	}
}
