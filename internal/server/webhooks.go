package server

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"countersign/internal/courier"
	"countersign/internal/courier/webhook"
	"countersign/internal/subscriber"
)

// subscribers are the applications that are told of security events.
func subscribers(d Deps, c *Core) *subscriber.Service {
	s := &subscriber.Service{DB: c.DB, Ring: c.Ring, Audit: c.Audit, Accounts: c.Accounts, Log: d.Log}
	s.Dial = func(url string) (subscriber.Send, error) {
		events, err := webhook.NewEvents(url, d.Now, nil)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, m subscriber.Message) (a subscriber.Answer) {
			gone, err := events.Post(ctx, m.ID, m.Secrets, m.Body)
			if e, ok := errors.AsType[*courier.Error](err); ok {
				a = subscriber.Answer{Gone: gone, After: e.After, Code: e.Code}
				if cause := e.Unwrap(); cause != nil {
					a.Why = cause.Error()
				}
			}
			return a
		}, nil
	}
	c.Audit.Told = s.Note
	return s
}

// countTold counts what became of events that subscribers were to be told of. Those of decoy accounts are not counted.
func countTold(s *subscriber.Service, reg prometheus.Registerer) {
	told := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "countersign_webhook_events_total", Help: "Tries to tell a webhook of an event, by outcome.",
	}, []string{"outcome"})
	reg.MustRegister(told)
	s.Count = func(outcome string) { told.WithLabelValues(outcome).Inc() }
}
