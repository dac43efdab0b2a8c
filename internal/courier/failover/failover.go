// Package failover sends letters by several providers: by the first that works of those for where a letter goes. One by which
// letters to a country are taken but do not arrive is asked last for that country.
//
// A provider that fails is left within seconds, and asked again with single letters until it works. A letter that a provider refused
// for a passing reason goes to the next at once. One of which nobody knows whether it was taken is not sent by another in the same
// breath: it is tried again as every letter is, and by then its provider has been left.
package failover

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"countersign/internal/courier"
	"countersign/internal/guard"
)

const (
	patience  = 2                // failures in a row after which a provider is left; one is enough if it did not even answer
	perTry    = 5 * time.Second  // half of what a letter has: who waits for a code does not wait for a provider
	firstRest = 15 * time.Second // and for how long, doubled each time
	mostRest  = 5 * time.Minute

	// atOnce is how many letters are with one provider: half of what a courier has under way, so that one that hangs leaves room for the
	// others' letters. A few may wait for a place, and only as long as nobody notices.
	atOnce   = 64
	waiting  = 16
	waitsFor = 500 * time.Millisecond
)

// Rule says by which providers, in which order, letters go to addresses that begin with Prefix.
type Rule struct {
	Prefix    string // of a number in E.164; "" is for all
	Providers []string
}

// Provider sends by others. Make it with New.
type Provider struct {
	rules []Rule // the longest prefix first
	legs  map[string]*leg
	log   *slog.Logger
	now   func() time.Time
}

// leg is one provider and how it is doing.
type leg struct {
	courier.Provider

	places, queue chan struct{} // taken by letters under way, and by those that wait for a place

	mu       sync.Mutex
	failures int       // in a row
	until    time.Time // it is left alone
	probing  bool      // one letter has gone to see
	told     map[string][]arrival
}

// arrival is what became of one letter.
type arrival struct {
	at time.Time
	ok bool
}

const (
	// remembered is how many letters to a country, and for how long, say how a provider does there: long enough to tell
	// an outage from a switched-off phone, and short enough for it to be tried again while somebody still watches.
	remembered, memory = 20, 15 * time.Minute
	// enough of them must be known, and half have failed. Whoever asks for codes to numbers that are dead can bring that about: so a
	// provider is asked last then, and never not at all.
	enough = 10
)

// New makes one of at least one provider; without a rule for all, letters that no other rule is for go by all of them in the order given. An error names
// a provider that is not there, or there twice.
func New(providers []courier.Provider, rules []Rule, log *slog.Logger, now func() time.Time) (*Provider, error) {
	if len(providers) == 0 {
		return nil, errors.New("no providers")
	}
	f := &Provider{rules: slices.Clone(rules), legs: map[string]*leg{}, log: log, now: now}
	var names []string
	for _, p := range providers {
		if f.legs[p.Name()] != nil {
			return nil, errors.New("the provider " + p.Name() + " is named twice")
		}
		f.legs[p.Name()], names = &leg{Provider: p, places: make(chan struct{}, placesOf(p)), queue: make(chan struct{}, waiting), told: map[string][]arrival{}}, append(names, p.Name())
	}
	f.rules = append(f.rules, Rule{Providers: names}) // behind one of the operator's own for all
	for _, r := range f.rules {
		for _, name := range r.Providers {
			if f.legs[name] == nil {
				return nil, errors.New("there is no provider " + name)
			}
		}
	}
	slices.SortStableFunc(f.rules, func(a, b Rule) int { return len(b.Prefix) - len(a.Prefix) })
	return f, nil
}

func placesOf(p courier.Provider) int {
	if p, ok := p.(courier.Limited); ok {
		return min(p.AtOnce(), atOnce)
	}
	return atOnce
}

// Name is what the outbox and the log call it; a receipt says which provider took a letter.
func (f *Provider) Name() string { return "failover" }

// Send sends by the first provider that works.
func (f *Provider) Send(ctx context.Context, m courier.Message) (rec courier.Receipt, err error) {
	err = courier.Temporary("no_provider_works", nil)
	for _, l := range f.order(m.To) {
		got, asked, failed := f.by(ctx, l, m)
		if !asked {
			continue
		}
		rec, err = got, failed
		if err == nil {
			rec.Provider = l.Name()
			return rec, nil
		}
		why, ours := errors.AsType[*courier.Error](err)
		if ctx.Err() != nil || !ours || why.Permanent || !why.NotTaken {
			return courier.Receipt{}, err
		}
	}
	return courier.Receipt{}, err
}

// enter takes a place. A provider that has none for a while hangs, or is asked for more than it can do.
func (l *leg) enter(ctx context.Context) bool {
	select {
	case l.places <- struct{}{}:
		return true
	default:
	}
	select {
	case l.queue <- struct{}{}:
		defer func() { <-l.queue }()
	default:
		return false
	}
	wait := time.NewTimer(waitsFor)
	defer wait.Stop()
	select {
	case l.places <- struct{}{}:
		return true
	case <-wait.C:
	case <-ctx.Done():
	}
	return false
}

func (l *leg) leave() { <-l.places }

// by sends by one provider, if it has a place and works. A provider that panics has failed, and gives its place back.
func (f *Provider) by(ctx context.Context, l *leg, m courier.Message) (rec courier.Receipt, asked bool, err error) {
	if !l.enter(ctx) {
		return rec, false, nil
	}
	defer l.leave()
	if !l.admit(f.now()) {
		return rec, false, nil
	}
	err = courier.Temporary("panic", nil)
	defer func() { f.note(ctx, l, err) }()
	rec, err = l.try(ctx, m)
	return rec, true, err
}

func (l *leg) try(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, perTry)
	defer cancel()
	return l.Send(ctx, m)
}

// order is by which providers a letter may go, the better first.
func (f *Provider) order(to string) (all []*leg) {
	i := slices.IndexFunc(f.rules, func(r Rule) bool { return strings.HasPrefix(to, r.Prefix) })
	country := guard.Region(to)
	var last []*leg
	for _, name := range f.rules[i].Providers {
		if l := f.legs[name]; l.arrives(country, f.now()) {
			all = append(all, l)
		} else {
			last = append(last, l)
		}
	}
	return append(all, last...)
}

// Learn takes what a provider told of a letter.
func (f *Provider) Learn(ctx context.Context, r courier.Report) {
	l := f.legs[r.Provider]
	if l == nil || r.Country == "" || r.State != courier.Delivered && r.State != courier.NotDelivered {
		return
	}
	now := f.now()
	was := l.arrives(r.Country, now)
	l.mu.Lock()
	all := append(l.told[r.Country], arrival{now, r.State == courier.Delivered})
	l.told[r.Country] = all[max(0, len(all)-remembered):]
	l.mu.Unlock()
	if is := l.arrives(r.Country, now); is != was {
		f.log.LogAttrs(ctx, slog.LevelWarn, "provider", slog.String("provider", l.Name()), slog.String("country", r.Country), slog.Bool("arrives", is))
	}
}

// arrives reports whether letters to a country that go by a provider arrive lately, or nobody knows.
func (l *leg) arrives(country string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, failed := 0, 0
	for _, a := range l.told[country] {
		if now.Sub(a.at) < memory {
			known++
			if !a.ok {
				failed++
			}
		}
	}
	return known < enough || 2*failed <= known
}

// Leg returns the provider of a name, or nil.
func (f *Provider) Leg(name string) courier.Provider {
	if l := f.legs[name]; l != nil {
		return l.Provider
	}
	return nil
}

// admit reports whether a letter may go by a provider: it works, or it is time to see whether it does again.
func (l *leg) admit(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failures < patience {
		return true
	}
	if now.Before(l.until) || l.probing {
		return false
	}
	l.probing = true
	return true
}

// note keeps how a provider did. That it refused this one letter for good says that it works.
func (f *Provider) note(ctx context.Context, l *leg, err error) {
	why, ours := errors.AsType[*courier.Error](err)
	failed := err != nil && (!ours || !why.Permanent)
	l.mu.Lock()
	was := l.failures >= patience
	l.probing = false
	if failed {
		l.failures++
		if !ours || !why.NotTaken {
			l.failures = max(l.failures, patience)
		}
		if over := l.failures - patience; over >= 0 {
			l.until = f.now().Add(min(firstRest<<min(over, 8), mostRest))
		}
	} else {
		l.failures = 0
	}
	is := l.failures >= patience
	l.mu.Unlock()
	if was != is {
		f.log.LogAttrs(ctx, slog.LevelWarn, "provider", slog.String("provider", l.Name()), slog.Bool("works", !is))
	}
}

// Close closes those that keep a connection.
func (f *Provider) Close() (err error) {
	for _, l := range f.legs {
		if p, ok := l.Provider.(io.Closer); ok {
			err = errors.Join(err, p.Close())
		}
	}
	return err
}

// Works says of each provider whether letters go by it now.
func (f *Provider) Works() map[string]bool {
	out := map[string]bool{}
	for name, l := range f.legs {
		l.mu.Lock()
		out[name] = l.failures < patience
		l.mu.Unlock()
	}
	return out
}
