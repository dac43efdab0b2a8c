package server

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/platform/fault"
	"countersign/internal/recovery"
	"countersign/internal/session"
	"countersign/internal/signin"
)

// counted is the sign-in machine with its outcomes counted, whichever door they came through. It
// counts what was answered: never who, and never why a proof was refused.
type counted struct {
	*signin.Service

	outcomes *prometheus.CounterVec
}

func count(s *signin.Service, reg prometheus.Registerer) counted {
	c := counted{s, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "countersign_signin_total", Help: "Outcomes of sign-in steps: what was proved or asked, and how it ended.",
	}, []string{"step", "outcome"})}
	reg.MustRegister(c.outcomes)
	return c
}

// countRecoveries counts what happens in recoveries: codes sent (withheld ones among them: which are
// is not for a number either), proofs, waits, passwords set.
func countRecoveries(s *recovery.Service, reg prometheus.Registerer) {
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "countersign_recovery_total", Help: "Events of recoveries, as the record of events calls them.",
	}, []string{"event"})
	reg.MustRegister(events)
	s.Count = func(kind audit.Kind) { events.WithLabelValues(string(kind)).Inc() }
}

func (c counted) note(step string, next signin.Next, err error) {
	outcome := string(next.Step)
	switch {
	case err != nil && errors.Is(err, context.Canceled):
		outcome = "client_gone"
	case err != nil:
		outcome = fault.Of(err).Code
	case next.Refused:
		outcome = "refused"
	}
	c.outcomes.WithLabelValues(step, outcome).Inc()
}

// Begin counts beginnings.
func (c counted) Begin(ctx context.Context, b signin.Begin) (signin.Started, error) {
	st, err := c.Service.Begin(ctx, b)
	c.note("begin", signin.Next{Step: signin.StepPassword}, err)
	return st, err
}

// Again counts beginnings of those who are signed in.
func (c counted) Again(ctx context.Context, me session.Session, b signin.Begin) (signin.Started, error) {
	st, err := c.Service.Again(ctx, me, b)
	c.note("again", signin.Next{Step: signin.StepPassword}, err)
	return st, err
}

// Password counts first proofs.
func (c counted) Password(ctx context.Context, ref signin.Ref, client signin.Client, p signin.PasswordProof) (signin.Next, error) {
	next, err := c.Service.Password(ctx, ref, client, p)
	c.note("password", next, err)
	return next, err
}

// Device counts proofs of returning devices.
func (c counted) Device(ctx context.Context, ref signin.Ref, client signin.Client, p device.Proof) (signin.Next, error) {
	next, err := c.Service.Device(ctx, ref, client, p)
	c.note("device", next, err)
	return next, err
}

// Send counts codes sent.
func (c counted) Send(ctx context.Context, ref signin.Ref, client signin.Client, way factor.Way) (signin.Sent, error) {
	sent, err := c.Service.Send(ctx, ref, client, way)
	c.note("send", signin.Next{Step: signin.Step(sent.Way), Refused: sent.TooSoon}, err)
	return sent, err
}

// Code counts second proofs.
func (c counted) Code(ctx context.Context, ref signin.Ref, client signin.Client, p signin.CodeProof) (signin.Next, error) {
	next, err := c.Service.Code(ctx, ref, client, p)
	c.note("code", next, err)
	return next, err
}
