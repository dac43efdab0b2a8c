package server

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/guard"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/recovery"
	"countersign/internal/registration"
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

// countRefusals counts the text messages that the guard withholds, by why.
func countRefusals(g *guard.Guard, reg prometheus.Registerer) {
	refusals := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "countersign_sms_withheld_total", Help: "Text messages that the guard withheld, by why.",
	}, []string{"why"})
	reg.MustRegister(refusals)
	g.Count = func(why guard.Refusal) { refusals.WithLabelValues(string(why)).Inc() }
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

// Passkey counts passkeys.
func (c counted) Passkey(ctx context.Context, at signin.Asked, client signin.Client, p signin.PasskeyProof) (signin.Next, error) {
	next, err := c.Service.Passkey(ctx, at, client, p)
	c.note("passkey", next, err)
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

// Ask counts requests for another device.
func (c counted) Ask(ctx context.Context, ref signin.Ref, client signin.Client) (signin.Approval, error) {
	a, err := c.Service.Ask(ctx, ref, client)
	c.note("ask", signin.Next{Step: signin.StepSecond}, err)
	return a, err
}

// Enter counts those that another device has let in. As long as it has not, there is nothing to count.
func (c counted) Enter(ctx context.Context, ref signin.Ref, client signin.Client, p signin.CodeProof) (signin.Next, error) {
	next, err := c.Service.Enter(ctx, ref, client, p)
	if err != nil || !next.Refused {
		c.note("enter", next, err)
	}
	return next, err
}

// countedNewcomers is registration with its outcomes counted. No step before the code counts apart who has an account.
type countedNewcomers struct {
	*registration.Service

	outcomes *prometheus.CounterVec
}

func countNewcomers(s *registration.Service, reg prometheus.Registerer) countedNewcomers {
	n := countedNewcomers{s, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "countersign_registration_total", Help: "Outcomes of registration steps: what was asked, and how it ended.",
	}, []string{"step", "outcome"})}
	reg.MustRegister(n.outcomes)
	return n
}

func (n countedNewcomers) note(step, outcome string, err error) {
	switch {
	case err != nil && errors.Is(err, context.Canceled):
		outcome = "client_gone"
	case err != nil:
		outcome = fault.Of(err).Code
	}
	n.outcomes.WithLabelValues(step, outcome).Inc()
}

// Begin counts beginnings.
func (n countedNewcomers) Begin(ctx context.Context, b registration.Begin) (registration.Begun, error) {
	begun, err := n.Service.Begin(ctx, b)
	n.note("begin", string(begun.Sent.Way), err)
	return begun, err
}

// Send counts further messages.
func (n countedNewcomers) Send(ctx context.Context, ref signin.Ref, client signin.Client) (registration.Sent, error) {
	sent, err := n.Service.Send(ctx, ref, client)
	n.note("send", outcomeOf(string(sent.Way), sent.TooSoon), err)
	return sent, err
}

// Code counts codes.
func (n countedNewcomers) Code(ctx context.Context, ref signin.Ref, client signin.Client, code secret.Token) (registration.Next, error) {
	next, err := n.Service.Code(ctx, ref, client, code)
	n.note("code", outcomeOf(string(next.Step), next.Refused), err)
	return next, err
}

// Finish counts accounts opened, and forms to be put right.
func (n countedNewcomers) Finish(ctx context.Context, ref signin.Ref, client signin.Client, a registration.About) (registration.Opened, error) {
	opened, err := n.Service.Finish(ctx, ref, client, a)
	n.note("finish", outcomeOf("opened", len(opened.Problems) > 0), err)
	return opened, err
}

func outcomeOf(otherwise string, refused bool) string {
	if refused {
		return "refused"
	}
	return otherwise
}
