package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/couriertest"
	"countersign/internal/courier/inbox"
	"countersign/internal/message"
)

func TestInboxIsAProvider(t *testing.T) {
	for _, ch := range []message.Channel{message.Email, message.SMS} {
		t.Run(string(ch), func(t *testing.T) {
			couriertest.Run(t, func(*testing.T) couriertest.Bench {
				b := &inbox.Inbox{Now: time.Now}
				return couriertest.Bench{Provider: b, Channel: ch, Got: func() (out []courier.Message) {
					for _, r := range b.Messages() {
						m := r.Message // which has the code beside the words
						m.Code, m.Digits, m.Language, m.Speech = false, "", "", message.Speech{}
						out = append(out, m)
					}
					return out
				}}
			})
		})
	}
}

func send(t *testing.T, b *inbox.Inbox, id, to string) {
	t.Helper()
	if _, err := b.Send(t.Context(), courier.Message{ID: id, To: to}); err != nil {
		t.Fatal(err)
	}
}

func TestWaitReturnsEachLetterOnceAndWaitsForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &inbox.Inbox{Now: time.Now}
		send(t, b, "1", "ada")
		send(t, b, "2", "bob")
		send(t, b, "3", "ada")
		go func() {
			time.Sleep(time.Minute)
			send(t, b, "4", "bob")
			send(t, b, "5", "ada")
		}()
		for _, want := range []string{"1", "3", "5"} {
			if r, err := b.Wait(t.Context(), "ada"); err != nil || r.ID != want {
				t.Errorf("got %v, %v, want %s", r.ID, err, want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Wait(ctx, "ada"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

func TestOnlyTheNewest500AreKept(t *testing.T) {
	b := &inbox.Inbox{Now: time.Now}
	for i := range 510 {
		send(t, b, fmt.Sprint(i), "ada")
	}
	got := b.Messages()
	if len(got) != 500 || got[0].ID != "10" || got[499].Seq != 510 {
		t.Errorf("%d, from %s to %d", len(got), got[0].ID, got[499].Seq)
	}
}

func TestChangedTellsOfTheNextLetter(t *testing.T) {
	b := &inbox.Inbox{Now: time.Now}
	c := b.Changed()
	select {
	case <-c:
		t.Fatal("nothing has changed")
	default:
	}
	send(t, b, "1", "ada")
	<-c
}
