package server

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"countersign/internal/courier"
	"countersign/internal/courier/bounce"
	"countersign/internal/courier/failover"
	"countersign/internal/courier/token"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/config"
	"countersign/internal/platform/fault"
	"countersign/internal/web/hooks"
)

// receipts keeps, counts and tells what became of letters, where their providers say.
type receipts struct {
	core  *Core
	log   *slog.Logger
	ways  map[message.Channel]courier.Route
	later chan waiting // of providers that we may not keep waiting
	total *prometheus.CounterVec
	took  *prometheus.HistogramVec
	swaps *prometheus.CounterVec
	tally *tally
	last  *prometheus.Desc

	bounced courier.Receiver // of what an operator's program tells; nil if none does
}

// bounces is the name under which an operator's program tells of e-mail that came back.
const bounces = "bounces"

// waiting is a report and when it came.
type waiting struct {
	courier.Report

	since time.Time
}

const (
	// overtaking is how long after a message centre has taken a letter its report may come before we have written down which letter that was.
	overtaking = time.Second
	// oneReport bounds what one report may have, in bytes, so that a forged one costs little; the largest have 1 KiB.
	oneReport = 16 << 10
	// oneEvent bounds one of SES, which may have the letter's head in it.
	oneEvent = 64 << 10
	// mostWaiting is more reports than a centre sends in that time.
	mostWaiting = 4096
)

func newReceipts(core *Core, counts *tally, log *slog.Logger) *receipts {
	return &receipts{
		core: core, log: log, later: make(chan waiting, mostWaiting),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_letters_receipts_total", Help: "What providers told of letters that they had taken, once a letter and state.",
		}, []string{"provider", "country", "prefix", "state"}),
		swaps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_sim_swap_total", Help: "What operators said of numbers' SIM cards, where they were asked.",
		}, []string{"verdict"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_letters_delivery_seconds", Help: "From when a provider took a letter to when it said that it was delivered.",
			Buckets: []float64{1, 2.5, 5, 10, 20, 30, 60, 120, 300, 900},
		}, []string{"provider", "country", "prefix"}),
		tally: counts,
		last:  prometheus.NewDesc("countersign_provider_last", "1 while a provider of text messages is asked last in a country, by why.", []string{"provider", "country", "why"}, nil),
	}
}

// take keeps a report for Run. It never blocks.
func (r *receipts) take(rep courier.Report) {
	select {
	case r.later <- waiting{rep, r.core.DB.Now()}:
	default:
		r.log.LogAttrs(context.Background(), slog.LevelWarn, "receipt lost: too many at once", slog.String("provider", rep.Provider))
	}
}

// run writes down what take was told, until ctx ends.
func (r *receipts) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case w := <-r.later:
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(overtaking - r.core.DB.Now().Sub(w.since)):
			}
			if err := r.keep(ctx, message.SMS, w.Report); err != nil && ctx.Err() == nil {
				r.log.LogAttrs(ctx, slog.LevelWarn, "receipt lost", slog.String("provider", w.Provider), slog.String("id", w.ID), slog.Any("error", err))
			}
		}
	}
}

// works says by which of several providers of text messages letters go now; nil where there is one.
func (r *receipts) works() map[string]bool {
	if several, ok := r.ways[message.SMS].Provider.(*failover.Provider); ok {
		return several.Works()
	}
	return nil
}

// mailbox is where letters come back to; nil if none is read.
func mailbox(c config.Config, log *slog.Logger, report func(context.Context, courier.Report) error) *bounce.Mailbox {
	b := c.Bounces
	if b.Host == "" {
		return nil
	}
	out := &bounce.Mailbox{Host: b.Host, Port: b.Port, User: b.User, Password: b.Password.Token, Folder: b.Folder, Log: log, Report: report}
	if b.OAuthTokenURL != "" {
		out.Tokens = token.New(token.Config{
			URL: b.OAuthTokenURL, ClientID: b.OAuthClientID, ClientSecret: b.OAuthSecret.Token, RefreshToken: b.OAuthRefresh.Token, Scopes: strings.Fields(b.OAuthScope),
		})
	}
	return out
}

// returned reads what mail servers say of letters, until ctx ends.
func (r *receipts) returned(ctx context.Context) error {
	keep := func(ctx context.Context, rep courier.Report) error { return r.keep(ctx, message.Email, rep) }
	if box := mailbox(r.core.Config, r.log, keep); box != nil {
		box.Run(ctx)
	}
	return nil
}

// arrived is what the door for reports asks.
func (r *receipts) arrived(ctx context.Context, a hooks.Report) (hooks.Answer, error) {
	ch := map[string]message.Channel{"sms": message.SMS, "mail": message.Email}[a.Channel]
	p, ok := receiver(r.ways[ch].Provider, a.Provider)
	if ch == message.Email && a.Provider == bounces && r.bounced != nil {
		p, ok = r.bounced, true
	}
	if !ok || len(a.Body) > largest(a.Provider) {
		return hooks.Answer{}, nil
	}
	answer, err := read(p, courier.Arrived{Header: a.Header, Query: a.Query, Body: a.Body})
	if errors.Is(err, courier.ErrForged) {
		return hooks.Answer{}, nil // it is no failure of ours
	}
	if err != nil { // and the provider tries again
		return hooks.Answer{}, fault.Later(fault.Unavailable, "busy", 30*time.Second, err)
	}
	for _, rep := range answer.Reports {
		if err := r.keep(ctx, ch, rep); err != nil {
			return hooks.Answer{}, err
		}
	}
	return hooks.Answer{Genuine: true, Type: answer.Type, Body: answer.Body}, nil
}

// read reads what a provider sent: a question, or reports.
func read(p courier.Receiver, a courier.Arrived) (courier.Answer, error) {
	if q, ok := p.(courier.Asked); ok {
		if answer, asks, err := q.Answer(a); asks {
			return answer, err
		}
	}
	reports, err := p.Receive(a)
	return courier.Answer{Reports: reports}, err
}

// largest is how many bytes a provider may send at once, of those that the door lets through. Infobip and WhatsApp send
// many reports at once.
func largest(provider string) int {
	switch provider {
	case "infobip", "whatsapp":
		return math.MaxInt
	case "ses":
		return oneEvent
	}
	return oneReport
}

// receiver finds the provider of a name, if it receives reports.
func receiver(p courier.Provider, name string) (courier.Receiver, bool) {
	if several, ok := p.(*failover.Provider); ok {
		p = several.Leg(name)
	}
	if p == nil || p.Name() != name {
		return nil, false
	}
	out, ok := p.(courier.Receiver)
	return out, ok
}

// keep writes a report down, and tells of it if it is news.
func (r *receipts) keep(ctx context.Context, ch message.Channel, rep courier.Report) error {
	took, news, err := r.core.Outbox.Report(ctx, outbox.Told{Letter: rep.Letter, Provider: rep.Provider, ID: rep.ID, State: outbox.Fate(rep.State)})
	if err != nil || !news && !rep.Complaint {
		return err
	}
	if rep.Complaint { // is told of as often as it is made: it comes after the letter was delivered, and changes nothing of that
		r.log.LogAttrs(ctx, slog.LevelWarn, "complaint", slog.String("provider", rep.Provider), slog.String("letter", rep.Letter), slog.String("code", rep.Code))
		if !news {
			return nil
		}
	}
	prefix := r.tally.of(string(rep.To))
	r.total.WithLabelValues(rep.Provider, rep.Country, prefix, string(rep.State)).Inc()
	if rep.State == courier.Delivered {
		r.took.WithLabelValues(rep.Provider, rep.Country, prefix).Observe(took.Seconds())
	}
	if several, ok := r.ways[ch].Provider.(*failover.Provider); ok {
		several.Learn(ctx, rep, took)
	}
	r.log.LogAttrs(ctx, slog.LevelInfo, "receipt", slog.String("provider", rep.Provider), slog.String("letter", rep.Letter),
		slog.String("id", rep.ID), slog.String("state", string(rep.State)), slog.String("code", rep.Code))
	return nil
}
