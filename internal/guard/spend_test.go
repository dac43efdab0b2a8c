package guard_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"countersign/internal/guard"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

const contracts = "+49,0.10\n+4915,0.20\n+49, 0.05 , twilio\n+,1\n"

func TestPricesOfProviders(t *testing.T) {
	prices, err := guard.ReadPrices(strings.NewReader(contracts), "twilio", "vonage")
	if err != nil {
		t.Fatal(err)
	}
	for of, want := range map[[2]string]int64{
		{"twilio", "+4915112345678"}: 50_000, // its own, and not the longer one of all
		{"vonage", "+4915112345678"}: 200_000,
		{"", "+4930123456"}:          100_000,
		{"twilio", "+33612345678"}:   1_000_000,
	} {
		if got, known := prices.Of(of[0], of[1]); got != want || !known {
			t.Errorf("%s: %d, want %d", of, got, want)
		}
	}
	if _, known := (guard.Prices{"+49": 1}).Of("twilio", "+33612345678"); known {
		t.Error("a price that nobody has said")
	}
	for text, want := range map[string]string{
		"+49,1,twilo":                 `line 1: there is no provider "twilo" in sms.provider and sms.then`,
		"+49,1,twilio\n+49,2,twilio":  "line 2: +49 twilio stands there twice",
		"+49,1,twilio,something else": "there is no provider",
	} {
		if _, err := guard.ReadPrices(strings.NewReader(text), "twilio"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What is spent is what the provider takes that took the message.
func TestWhatIsSpentIsTheProvidersPrice(t *testing.T) {
	prices, err := guard.ReadPrices(strings.NewReader(contracts), "twilio", "vonage")
	if err != nil {
		t.Fatal(err)
	}
	each(t, guard.Rules{Prices: prices, Caps: guard.Caps{Hour: 1e6}}, func(t *testing.T, g gate, clock *dbtest.Clock) {
		spent := func(want int64) {
			t.Helper()
			var s guard.Spent
			g.write(func(ctx context.Context, tx *sqldb.Tx) (err error) {
				s, err = g.Spent(ctx, tx)
				return err
			})
			if s.Hour != want {
				t.Errorf("spent %d, want %d", s.Hour, want)
			}
		}
		m := guard.Message{To: german(1), Parts: 2, By: "twilio"}
		settle := func(by string) {
			t.Helper()
			if err := g.Settle(t.Context(), m, by); err != nil {
				t.Fatal(err)
			}
		}
		g.send(m)
		spent(100_000)
		settle("twilio")
		spent(100_000)
		settle("vonage")
		spent(400_000)
		for range 6 {
			if why := g.send(m); why != "" {
				t.Fatal(why)
			}
		}
		if why := g.send(m); why != guard.Spend { // 0.40 + 6 × 0.10, where all by vonage would have stopped after two
			t.Errorf("above the cap: %q", why)
		}
		clock.Advance(time.Hour)
		m.By = "vonage"
		g.send(m)
		settle("twilio")
		spent(100_000)
	})
	if err := (*guard.Guard)(nil).Settle(t.Context(), guard.Message{}, "twilio"); err != nil {
		t.Error(err)
	}
}
