package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts requests by route, never by who asked. A nil Metrics counts nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	reports  prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
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

func (m *Metrics) request(route string, status int, took time.Duration) {
	if m == nil {
		return
	}
	text := "200" // the usual case without an allocation
	if status != http.StatusOK {
		text = strconv.Itoa(status)
	}
	m.requests.WithLabelValues(route, text).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

func (m *Metrics) report() {
	if m != nil {
		m.reports.Inc()
	}
}
