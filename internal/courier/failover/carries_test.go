package failover_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/failover"
	"countersign/internal/courier/inbox"
)

// particular carries codes alone.
type particular struct {
	*inbox.Inbox

	name  string
	fails bool
	asked []string
}

func (p *particular) Name() string                   { return p.name }
func (p *particular) Carries(m courier.Message) bool { return m.Digits != "" }

func (p *particular) Send(_ context.Context, m courier.Message) (courier.Receipt, error) {
	p.asked = append(p.asked, m.ID)
	if p.fails {
		return courier.Receipt{}, &courier.Error{Code: "no", NotTaken: true}
	}
	return courier.Receipt{ID: "1"}, nil
}

// A provider that carries codes alone gets no notice, and one that fails leaves the code to the next.
func TestAProviderIsNotAskedForWhatItDoesNotCarry(t *testing.T) {
	codes := &particular{name: "codes"}
	box := &inbox.Inbox{Now: time.Now}
	f, err := failover.New([]courier.Provider{codes, box}, nil, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	send := func(id, digits string) string {
		t.Helper()
		m := courier.Message{ID: id, To: "+4915112345678", From: "Example", Text: "x", Code: digits != "", Digits: digits}
		if first := f.First(m); (first == "codes") != (digits != "") {
			t.Errorf("%s would go by %s", id, first)
		}
		rec, err := f.Send(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		return rec.Provider
	}
	if by := send("1", "482913"); by != "codes" {
		t.Errorf("a code goes by %s", by)
	}
	if by := send("2", ""); by != "inbox" {
		t.Errorf("a notice goes by %s", by)
	}
	codes.fails = true
	if by := send("3", "482913"); by != "inbox" {
		t.Errorf("a code that was refused goes by %s", by)
	}
	if !slices.Equal(codes.asked, []string{"1", "3"}) {
		t.Errorf("asked for %v", codes.asked)
	}
	alone, err := failover.New([]courier.Provider{codes}, nil, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	notice := courier.Message{ID: "4", To: "+4915112345678", Text: "x"}
	if _, err := alone.Send(t.Context(), notice); err == nil || alone.First(notice) != "failover" {
		t.Errorf("a notice that nobody carries: %v", err)
	} else if e, ok := errors.AsType[*courier.Error](err); !ok || e.Permanent {
		t.Errorf("%v", err)
	}
}
