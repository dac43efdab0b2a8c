package failover_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/failover"
)

type broken struct{ line }

func (b *broken) Send(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	if m.ID == "odd" {
		panic("odd")
	}
	return b.line.Send(ctx, m)
}

// The courier outlives a provider that panics; so must the places at it.
func TestAPanicGivesItsPlaceBack(t *testing.T) {
	b := &broken{line{name: "a"}}
	now := time.Now()
	f, err := failover.New([]courier.Provider{b}, nil, slog.New(slog.DiscardHandler), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		func() {
			defer func() { _ = recover() }()
			_, _ = f.Send(t.Context(), courier.Message{ID: "odd", To: "+4915112345678"})
		}()
		now = now.Add(time.Hour) // it has failed, and is asked again after a while
	}
	if _, err := f.Send(t.Context(), courier.Message{ID: "good", To: "+4915112345678"}); err != nil {
		t.Errorf("a good one: %v", err)
	}
}
