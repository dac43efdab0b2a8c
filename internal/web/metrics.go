package web

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts requests by route, never by who asked. A nil Metrics counts nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	reports  prometheus.Counter

	mu     sync.RWMutex
	routes map[string]route
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		routes: map[string]route{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_http_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_http_request_seconds", Help: "Time to answer a request, by route.",
			Buckets: []float64{.001, .005, .025, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route"}),
		reports: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "countersign_csp_reports_total", Help: "Reports by browsers of what the content security policy stopped.",
		}),
	}
	reg.MustRegister(m.requests, m.seconds, m.reports)
	return m
}

// route is what is counted of one route, looked up once.
type route struct {
	seconds prometheus.Observer
	fine    prometheus.Counter // status 200, the usual case
}

func (m *Metrics) route(pattern string) route {
	m.mu.RLock()
	r, ok := m.routes[pattern]
	m.mu.RUnlock()
	if ok {
		return r
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r = route{m.seconds.WithLabelValues(pattern), m.requests.WithLabelValues(pattern, "200")}
	m.routes[pattern] = r // patterns come from the mux: there are only so many
	return r
}

func (m *Metrics) request(pattern string, status int, took time.Duration) {
	if m == nil {
		return
	}
	r := m.route(pattern)
	r.seconds.Observe(took.Seconds())
	if status == http.StatusOK {
		r.fine.Inc()
		return
	}
	m.requests.WithLabelValues(pattern, strconv.Itoa(status)).Inc()
}

func (m *Metrics) report() {
	if m != nil {
		m.reports.Inc()
	}
}
