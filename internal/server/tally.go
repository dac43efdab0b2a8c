package server

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"countersign/internal/courier"
	"countersign/internal/courier/failover"
	"countersign/internal/guard"
	"countersign/internal/message"
	"countersign/internal/platform/config"
)

// mostPrefixes bounds a label: each has a line for each provider, and one of times another dozen.
const mostPrefixes = 100

// prefixes are the beginnings of numbers that letters are counted by: those that the operator names where prices, routes and senders are set. They are what
// the operator pays and chooses by, and no number's owner has had a part in them: those of the guard's ranges, or of numbers as they come, would show
// numbers but for their last digits (P1). The first that are used count, and all others are "other".
type prefixes struct {
	known map[string]bool

	mu   sync.Mutex
	used map[string]bool
}

func newPrefixes(c config.Config, prices guard.Prices) *prefixes {
	p := &prefixes{known: map[string]bool{}, used: map[string]bool{}}
	for key := range prices {
		_, digits, _ := strings.Cut(key, "+") // behind a provider's name, perhaps
		p.known["+"+digits] = true
	}
	for _, r := range c.SMS.Rules() {
		p.known[r.Prefix] = true
	}
	for prefix := range c.SMS.Froms() {
		p.known[prefix] = true
	}
	return p
}

// of is what a number is counted by; empty for what is none, or not known.
func (p *prefixes) of(number string) string {
	if !strings.HasPrefix(number, "+") {
		return ""
	}
	for n := len(number); n > 1; n-- {
		if prefix := number[:n]; p.known[prefix] && p.admit(prefix) {
			return prefix
		}
	}
	return "other"
}

func (p *prefixes) admit(prefix string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.used) < mostPrefixes {
		p.used[prefix] = true
	}
	return p.used[prefix]
}

// tally counts letters by who took them, and to where.
type tally struct {
	*prefixes

	sent, typed *prometheus.CounterVec
}

func newTally(c config.Config, prices guard.Prices) *tally {
	by := []string{"provider", "country", "prefix"}
	return &tally{
		prefixes: newPrefixes(c, prices),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_letters_sent_total", Help: "Letters that a provider took, by where they went and whether they have a code.",
		}, append(by, "what")),
		typed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_letters_typed_total", Help: "Letters with a code that was typed by whoever got it.",
		}, by),
	}
}

// took is what the courier tells of.
func (t *tally) took(m courier.Message, provider string) {
	what := failover.Notices
	if m.Code {
		what = failover.Codes
	}
	t.sent.WithLabelValues(provider, region(m.To), t.of(m.To), string(what)).Inc()
}

// back is what the outbox tells of.
func (t *tally) back(provider, to string) {
	t.typed.WithLabelValues(provider, region(to), t.of(to)).Inc()
}

// region is the country of an address, if it is a number.
func region(to string) string {
	if !strings.HasPrefix(to, "+") {
		return ""
	}
	return guard.Region(to)
}

// returns has what chooses among providers know which codes came back, until ctx ends.
func (r *receipts) returns(ctx context.Context) error {
	several, ok := r.ways[message.SMS].Provider.(*failover.Provider)
	if !ok {
		return nil
	}
	each(ctx, 10*time.Second, func() {
		ids := several.Due()
		typed, err := r.core.Outbox.WereTyped(ctx, ids)
		if err != nil {
			if ctx.Err() == nil {
				r.log.LogAttrs(ctx, slog.LevelWarn, "see which codes came back", slog.Any("error", err))
			}
			return // they are due still
		}
		several.Judge(ctx, ids, typed)
	})
	return nil
}

// Describe implements prometheus.Collector.
func (r *receipts) Describe(ch chan<- *prometheus.Desc) { ch <- r.last }

// Collect says who is asked last.
func (r *receipts) Collect(ch chan<- prometheus.Metric) {
	if several, ok := r.ways[message.SMS].Provider.(*failover.Provider); ok {
		for who, why := range several.Last() {
			ch <- prometheus.MustNewConstMetric(r.last, prometheus.GaugeValue, 1, who[0], who[1], why)
		}
	}
}
