package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"countersign/internal/guard"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/web"
)

// gauges reads what the parts of the server know of themselves, when somebody asks.
type gauges struct {
	core *Core
	log  *slog.Logger
	// works says by which of several providers of text messages letters go; it may return nil.
	works func() map[string]bool
	desc  map[string]*prometheus.Desc
}

func newGauges(core *Core, log *slog.Logger, works func() map[string]bool) *gauges {
	g := &gauges{core: core, log: log, works: works, desc: map[string]*prometheus.Desc{}}
	for name, d := range map[string]struct {
		help   string
		labels []string
	}{
		"letters":                     {"Letters in the outbox, withheld ones included.", []string{"channel", "state"}},
		"letters_paused":              {"1 while an operator keeps a channel's letters waiting.", []string{"channel"}},
		"letters_oldest_seconds":      {"Age of the oldest letter that waits.", []string{"channel"}},
		"webhook_waiting":             {"Events that webhooks are still to be told of, those that nobody will be told of included.", []string{"state"}},
		"webhook_oldest_seconds":      {"Age of the oldest event that waits to be told.", nil},
		"sms_spent":                   {"What text messages cost, this hour and in 24 hours, in the currency of guard.prices.", []string{"within"}},
		"provider_works":              {"1 while letters go by a provider, 0 while it is left alone because it failed.", []string{"provider"}},
		"password_running":            {"Password hashes under way.", nil},
		"password_waiting":            {"Password hashes waiting for their turn.", nil},
		"password_places":             {"Password hashes that may wait.", nil},
		"password_refused_total":      {"Password hashes refused because the queue was full.", nil},
		"password_seconds":            {"A password hash, on average of late.", nil},
		"sessions_cached":             {"Sessions held in memory.", nil},
		"sessions_read_total":         {"Sessions read from the database because memory had none.", nil},
		"sessions_staleness_seconds":  {"How long ago ended sessions were last read.", nil},
		"client_requests_total":       {"Calls of the API, by application (those listed, and all others) and by how its version fares.", []string{"client", "version_class"}},
		"places_built_seconds":        {"When the file of places in use was made, in Unix time.", nil},
		"models_next_seconds":         {"When there is newer metadata of authenticators than the file in use, in Unix time.", nil},
		"database_connections":        {"Connections to the database.", []string{"state"}},
		"database_wait_total":         {"Times that a connection had to be waited for.", nil},
		"database_wait_seconds_total": {"Time spent waiting for a connection.", nil},
	} {
		g.desc[name] = prometheus.NewDesc("countersign_"+name, d.help, d.labels, nil)
	}
	return g
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range g.desc {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	gauge := func(name string, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(g.desc[name], prometheus.GaugeValue, v, labels...)
	}
	counter := func(name string, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(g.desc[name], prometheus.CounterValue, v, labels...)
	}
	a := g.core.Passwords.Admission()
	gauge("password_running", float64(a.Running))
	gauge("password_waiting", float64(a.Waiting))
	gauge("password_places", float64(a.Places))
	gauge("password_seconds", a.Took.Seconds())
	counter("password_refused_total", float64(a.Refused))
	held, reads := g.core.Sessions.Cached()
	gauge("sessions_cached", float64(held))
	counter("sessions_read_total", float64(reads))
	gauge("sessions_staleness_seconds", g.core.Sessions.Staleness().Seconds())
	for who, calls := range g.core.Clients.Totals() {
		counter("client_requests_total", float64(calls), who.Client, string(who.Class))
	}
	if built, ok := g.core.Places.Built(); ok {
		gauge("places_built_seconds", float64(built.Unix()))
	}
	if next, ok := g.core.Models.Next(); ok {
		gauge("models_next_seconds", float64(next.Unix()))
	}
	db := g.core.DB.Stats()
	gauge("database_connections", float64(db.InUse), "used")
	gauge("database_connections", float64(db.Idle), "idle")
	counter("database_wait_total", float64(db.WaitCount))
	counter("database_wait_seconds_total", db.WaitDuration.Seconds())
	g.letters(gauge)
	g.texts(gauge)
	g.webhooks(gauge)
}

func (g *gauges) webhooks(gauge func(string, float64, ...string)) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	d, err := g.core.Subscribers.Depth(ctx)
	if err != nil {
		g.log.LogAttrs(ctx, slog.LevelWarn, "count events for webhooks", slog.Any("error", err))
		return
	}
	gauge("webhook_waiting", float64(d.Waiting), "waiting")
	gauge("webhook_waiting", float64(d.Dead), "dead")
	age := 0.0
	if !d.Oldest.IsZero() {
		age = g.core.DB.Now().Sub(d.Oldest).Seconds()
	}
	gauge("webhook_oldest_seconds", age)
}

// texts are what text messages cost, and by whom they go.
func (g *gauges) texts(gauge func(string, float64, ...string)) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var spent guard.Spent
	err := g.core.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		spent, err = g.core.Guard.Spent(ctx, tx)
		return err
	})
	if err != nil {
		g.log.LogAttrs(ctx, slog.LevelWarn, "count costs", slog.Any("error", err))
		return
	}
	const whole = 1e6 // millionths
	gauge("sms_spent", float64(spent.Hour)/whole, "hour")
	gauge("sms_spent", float64(spent.Day)/whole, "day")
	for name, works := range g.works() {
		gauge("provider_works", map[bool]float64{true: 1}[works], name)
	}
}

func (g *gauges) letters(gauge func(string, float64, ...string)) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	depth, err := g.core.Outbox.Depth(ctx)
	if err != nil {
		g.log.LogAttrs(ctx, slog.LevelWarn, "count letters", slog.Any("error", err))
		return
	}
	for _, d := range depth {
		gauge("letters", float64(d.Waiting), string(d.Channel), "waiting")
		gauge("letters", float64(d.Dead), string(d.Channel), "dead")
		gauge("letters_paused", map[bool]float64{true: 1}[d.Paused], string(d.Channel))
		age := 0.0
		if !d.Oldest.IsZero() {
			age = g.core.DB.Now().Sub(d.Oldest).Seconds()
		}
		gauge("letters_oldest_seconds", age, string(d.Channel))
	}
}

// health is how the server is, for whoever watches.
type health struct {
	Status    string  `json:"status"`   // ready, degraded, unready
	Database  string  `json:"database"` // reached, away, failed
	Keys      string  `json:"keys"`     // fit, missing
	Staleness float64 `json:"staleness_seconds"`
}

// health looks. While the database is away the server goes on from memory, degraded, until that
// is older than database.max_staleness; then, and while it stops, it is unready. So is a node that
// lacks a key that the database needs, and one whose disk did not take what was written: it writes nothing more until it is started anew.
func (s *Server) health(ctx context.Context) health {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	stale := s.core.Sessions.Staleness()
	h := health{Status: "ready", Database: "reached", Keys: "fit", Staleness: stale.Seconds()}
	nothing := func(*sqldb.Tx) error { return nil } // what comes before every transaction compares the keys
	if err := s.core.DB.Read(ctx, nothing); fault.Of(err).Code == "keys_missing" {
		h.Keys = "missing"
	} else if err != nil {
		h.Status, h.Database = "degraded", "away"
	}
	if err := s.core.DB.Writable(); err != nil {
		h.Status, h.Database = "unready", "failed"
	}
	if h.Database == "away" && stale > s.core.Config.Database.MaxStaleness.D() || h.Keys == "missing" || s.stopping.Load() {
		h.Status = "unready"
	}
	if stale > 365*24*time.Hour { // nothing was read yet
		h.Staleness = -1
	}
	return h
}

// Watch returns what the private listener serves: metrics and health.
func (s *Server) Watch() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	mux.HandleFunc("GET /healthz", alive)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		h := s.health(r.Context())
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if h.Status == "unready" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(h)
	})
	return mux
}

// alive says that the process answers, and nothing else.
func alive(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

func newRegistry(core *Core, log *slog.Logger, works func() map[string]bool) (*prometheus.Registry, *web.Metrics) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newGauges(core, log, works))
	return reg, web.NewMetrics(reg)
}
