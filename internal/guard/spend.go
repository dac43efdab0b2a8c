package guard

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"countersign/internal/platform/sqldb"
)

// Prices are what a segment costs, in millionths, by the beginning of a number in E.164 ("+49"), with the name of a provider before it where only its price is meant
// ("twilio+49"). A provider's own count before those of all, and of them the longest that fits.
type Prices map[string]int64

const maxPrice = 1000 // a segment; more is a column taken for another

// ReadPrices reads lines of a prefix, a price and perhaps a provider, with commas between: "+49,0.0750" or "+49,0.0690,twilio". A # begins a comment, and
// the prefix "+" is for every number that no other line is for.
func ReadPrices(r io.Reader, providers ...string) (Prices, error) {
	out := Prices{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		prefix, price, _ := strings.Cut(text, ",")
		price, provider, _ := strings.Cut(price, ",")
		prefix, provider = strings.TrimSpace(prefix), strings.TrimSpace(provider)
		if !strings.HasPrefix(prefix, "+") || strings.Trim(prefix[1:], "0123456789") != "" || len(prefix) > 16 {
			return nil, fmt.Errorf("line %d: %q is no beginning of a number: write +49, or + for every other", n, prefix)
		}
		if provider != "" && !slices.Contains(providers, provider) {
			return nil, fmt.Errorf("line %d: there is no provider %q in sms.provider and sms.then", n, provider)
		}
		if _, twice := out[provider+prefix]; twice {
			return nil, fmt.Errorf("line %d: %s stands there twice", n, strings.TrimSpace(prefix+" "+provider))
		}
		micros, err := ReadMoney(price)
		if err != nil || micros > maxPrice*1e6 {
			return nil, fmt.Errorf("line %d: %q is no price of a message: write 0.075", n, strings.TrimSpace(price))
		}
		out[provider+prefix] = micros
	}
	return out, lines.Err()
}

// ReadMoney reads an amount such as 25.50, in millionths.
func ReadMoney(s string) (int64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || v < 0 || v > 1e9 || math.IsNaN(v) {
		return 0, errors.New("no amount")
	}
	return int64(math.Round(v * 1e6)), nil
}

// Of is the price of a segment by a provider; known is false if there is none.
func (p Prices) Of(provider, to string) (micros int64, known bool) {
	for _, by := range []string{provider, ""} {
		for n := len(to); n > 0; n-- {
			if price, ok := p[by+to[:n]]; ok {
				return price, true
			}
		}
	}
	return 0, false
}

// of is the price of a message by a provider.
func (p Prices) of(m Message, by string) int64 {
	price, _ := p.Of(by, m.To)
	return price * int64(max(1, m.Parts))
}

// Settle writes down what a message cost that went by another provider than Admit was told. Caps may be passed by the difference, as by a message whose price is
// known afterwards; the next one is held to them.
func (g *Guard) Settle(ctx context.Context, m Message, by string) error {
	if g == nil {
		return nil
	}
	more := g.Rules.Prices.of(m, by) - g.Rules.Prices.of(m, m.By)
	if more == 0 {
		return nil
	}
	return g.DB.Write(ctx, func(tx *sqldb.Tx) error { return addSpent(ctx, tx, hourOf(tx.Now()), Region(m.To), more) })
}

var errOver = errors.New("a cap is reached")

// strain is how many hundredths of the nearest cap were spent before a message and are after it, and the setting that says which cap it is.
type strain struct {
	before, after int64
	setting       string
}

// spend adds a message's price to what was spent.
func (g *Guard) spend(ctx context.Context, tx *sqldb.Tx, m Message, country string) (on strain, err error) {
	price, hour := g.Rules.Prices.of(m, m.By), hourOf(tx.Now())
	if price == 0 {
		return strain{}, nil
	}
	if err := addSpent(ctx, tx, hour, country, price); err != nil {
		return strain{}, err
	}
	s, err := spent(ctx, tx, hour, country)
	if err != nil {
		return strain{}, err
	}
	for _, c := range []struct {
		setting    string
		cap, spent int64
	}{
		{"guard.hour_cap", g.Rules.Caps.Hour, s.hour}, {"guard.day_cap", g.Rules.Caps.Day, s.day}, {"guard.country_cap", g.Rules.Caps.CountryDay, s.country},
	} {
		if c.cap == 0 {
			continue
		}
		if after := (c.spent*100 + c.cap - 1) / c.cap; after > on.after {
			on = strain{(c.spent - price) * 100 / c.cap, after, c.setting}
		}
	}
	return on, nil
}

func hourOf(t time.Time) int64 { return t.UnixMilli() / time.Hour.Milliseconds() }

// warn says when half, four fifths and all of a cap is spent.
func (g *Guard) warn(ctx context.Context, on strain) {
	for _, at := range []int64{50, 80, 100} {
		if on.before < at && on.after >= at {
			g.Log.LogAttrs(ctx, slog.LevelWarn, "text messages: much of a cap is spent", slog.Int64("percent", at), slog.String("cap", on.setting))
		}
	}
}

// Spent is what was spent on text messages, in millionths of the price table's currency.
type Spent struct{ Hour, Day int64 }

// Spent says what was spent within the hour and the last 24.
func (g *Guard) Spent(ctx context.Context, tx *sqldb.Tx) (Spent, error) {
	s, err := spent(ctx, tx, hourOf(tx.Now()), "")
	return Spent{s.hour, s.day}, err
}
