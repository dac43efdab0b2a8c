package guard

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"countersign/internal/platform/sqldb"
)

// Prices are what a segment costs, in millionths, by the beginning of a number in E.164 ("+49"). The longest that fits counts.
type Prices map[string]int64

const maxPrice = 1000 // a segment; more is a column taken for another

// ReadPrices reads lines of a prefix and a price, with a comma between: "+49,0.0750". A # begins a comment, and the prefix "+" is for
// every number that no other line is for.
func ReadPrices(r io.Reader) (Prices, error) {
	out := Prices{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		prefix, price, _ := strings.Cut(text, ",")
		prefix = strings.TrimSpace(prefix)
		if !strings.HasPrefix(prefix, "+") || strings.Trim(prefix[1:], "0123456789") != "" || len(prefix) > 16 {
			return nil, fmt.Errorf("line %d: %q is no beginning of a number: write +49, or + for every other", n, prefix)
		}
		if _, twice := out[prefix]; twice {
			return nil, fmt.Errorf("line %d: %s stands there twice", n, prefix)
		}
		micros, err := ReadMoney(price)
		if err != nil || micros > maxPrice*1e6 {
			return nil, fmt.Errorf("line %d: %q is no price of a message: write 0.075", n, strings.TrimSpace(price))
		}
		out[prefix] = micros
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

// of is the price of a message.
func (p Prices) of(m Message) int64 {
	for n := len(m.To); n > 0; n-- {
		if price, ok := p[m.To[:n]]; ok {
			return price * int64(max(1, m.Parts))
		}
	}
	return 0
}

var errOver = errors.New("a cap is reached")

// strain is how many hundredths of the nearest cap were spent before a message and are after it, and the setting that says which cap it is.
type strain struct {
	before, after int64
	setting       string
}

// spend adds a message's price to what was spent.
func (g *Guard) spend(ctx context.Context, tx *sqldb.Tx, m Message, country string) (on strain, err error) {
	price, hour := g.Rules.Prices.of(m), hourOf(tx.Now())
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
