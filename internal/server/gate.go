package server

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"countersign/internal/access"
	"countersign/internal/assurance"
	"countersign/internal/platform/config"
	"countersign/internal/web/forwardauth"
)

// newGate makes what decides about sites behind a proxy.
func newGate(core *Core) *access.Service {
	s := &access.Service{DB: core.DB, Ring: core.Ring, Sessions: core.Sessions, Accounts: core.Accounts}
	for _, r := range core.Config.Forward.Parsed() {
		s.Rules = append(s.Rules, access.Rule{
			Site: access.Site(r.Site), Path: r.Path, Methods: r.Methods,
			Need: access.Need{Who: access.Who(r.Who), Groups: r.Groups, Level: assurance.Level(r.Level), Within: r.Within},
		})
	}
	for _, site := range core.Config.Forward.Emails {
		s.Emails = append(s.Emails, access.Site(site))
	}
	return s
}

// gateHandler is what the proxies' listener serves.
func gateHandler(c config.Config, gate *access.Service, registry prometheus.Registerer, log *slog.Logger) http.Handler {
	decisions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "countersign_forward_auth_decisions_total",
		Help: "Requests that a proxy asked about, by verdict: allowed, unsigned, weak, forbidden, odd, unknown, or failed.",
	}, []string{"verdict"})
	registry.MustRegister(decisions)
	return (&forwardauth.Door{
		Gate: gate, Log: log, Public: c.Public().String(), Count: func(verdict string) { decisions.WithLabelValues(verdict).Inc() },
	}).Handler()
}

// gateServer serves proxies, which keep their connections open.
func (s *Server) gateServer() *http.Server {
	return &http.Server{
		Handler: s.gate, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout:    2 * time.Minute, // longer than the proxies keep theirs, so that none sends into one that we close
		MaxHeaderBytes: 64 << 10,        // the cookies of a site are not ours to count
	}
}
