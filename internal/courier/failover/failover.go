// Package failover sends letters by several providers: in the order that the operator has chosen for where a letter goes, by the first
// that works. One by which letters to a country are taken but do not arrive, or whose codes do not come back, is asked last for that country.
//
// A provider that fails is left within seconds, and asked again with single letters until it works. A letter that a provider refused
// for a passing reason goes to the next at once. One of which nobody knows whether it was taken is not sent by another in the same
// breath: it is tried again as every letter is, and by then its provider has been left.
package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"countersign/internal/courier"
)

const (
	patience  = 2                // failures in a row after which a provider is left; one is enough if it did not even answer
	perTry    = 5 * time.Second  // half of what a letter has: who waits for a code does not wait for a provider
	firstRest = 15 * time.Second // and for how long, doubled each time
	mostRest  = 5 * time.Minute

	// atOnce is how many letters are with one provider: a quarter of what a courier has under way, so that one that hangs leaves room for the
	// others' letters, and makes few late. A few may wait for a place, and only as long as nobody notices.
	atOnce   = 64
	waiting  = 16
	waitsFor = 500 * time.Millisecond
)

// Provider sends by others. Make it with New.
type Provider struct {
	policy Policy
	rules  []Rule // the first that fits counts
	legs   map[string]*leg
	log    *slog.Logger
	now    func() time.Time

	mu      sync.Mutex
	pending map[string]sample // codes of which nobody knows yet whether they come back
}

// leg is one provider and how it is doing.
type leg struct {
	courier.Provider

	places, queue chan struct{} // taken by letters under way, and by those that wait for a place

	mu       sync.Mutex
	failures int       // in a row
	until    time.Time // it is left alone
	probing  bool      // one letter has gone to see
	pace     pace
	rate     Rate
	told     map[string][]arrival // by country
	codes    map[string]*returns
}

// New makes one of at least one provider; without a rule for all, letters that no other rule is for go by all of them in the order given. An error names
// a provider that is not there, or there twice.
func New(providers []courier.Provider, rules []Rule, log *slog.Logger, now func() time.Time) (*Provider, error) {
	if len(providers) == 0 {
		return nil, errors.New("no providers")
	}
	f := &Provider{rules: slices.Clone(rules), legs: map[string]*leg{}, log: log, now: now, pending: map[string]sample{}}
	var names []string
	for _, p := range providers {
		if f.legs[p.Name()] != nil {
			return nil, errors.New("the provider " + p.Name() + " is named twice")
		}
		f.legs[p.Name()] = &leg{
			Provider: p, places: make(chan struct{}, placesOf(p)), queue: make(chan struct{}, waiting),
			told: map[string][]arrival{}, codes: map[string]*returns{},
		}
		names = append(names, p.Name())
	}
	f.rules = append(f.rules, Rule{Providers: names}) // behind one of the operator's own for all
	for _, r := range f.rules {
		for _, name := range r.Providers {
			if f.legs[name] == nil {
				return nil, errors.New("there is no provider " + name)
			}
		}
	}
	slices.SortStableFunc(f.rules, Rule.narrower)
	return f, nil
}

func placesOf(p courier.Provider) int {
	if p, ok := p.(courier.Limited); ok {
		return min(p.AtOnce(), atOnce)
	}
	return atOnce
}

// Follow sets what the operator wants. It is called before the first letter.
func (f *Provider) Follow(p Policy) {
	f.policy = p
	for name, l := range f.legs {
		l.rate = p.Rates[name]
	}
}

// Name is what the outbox and the log call it; a receipt says which provider took a letter.
func (f *Provider) Name() string { return "failover" }

// Send sends by the first provider that works and has its turn for the letter soon.
func (f *Provider) Send(ctx context.Context, m courier.Message) (rec courier.Receipt, err error) {
	err = courier.Temporary("no_provider_works", nil)
	var later *leg
	var before []string
	for _, l := range f.order(m) {
		if !l.open(f.now()) {
			continue
		}
		if wait, ok := l.turn(f.now()); !ok {
			if later = soonest(later, l, f.now()); !m.Code { // it is in no hurry, and the next provider was not chosen for it
				break
			}
			continue
		} else if !sleep(ctx, wait) {
			return courier.Receipt{}, courier.Turn(0)
		}
		got, asked, failed := f.by(ctx, l, m)
		if !asked {
			continue
		}
		rec, err = got, failed
		if err == nil {
			rec.Provider, rec.Before = l.Name(), before
			f.sent(l, m)
			return rec, nil
		}
		before = append(before, l.Name()+": "+said(err))
		why, ours := errors.AsType[*courier.Error](err)
		if ctx.Err() != nil || !ours || why.Permanent || !why.NotTaken {
			return courier.Receipt{}, all(err, before)
		}
	}
	if later != nil {
		return courier.Receipt{}, courier.Turn(later.promise(f.now()))
	}
	return courier.Receipt{}, all(err, before)
}

// all is the last error, with what those said that were asked before.
func all(err error, before []string) error {
	if len(before) < 2 {
		return err
	}
	return fmt.Errorf("%s; and last %w", strings.Join(before[:len(before)-1], "; "), err)
}

// said is what a provider said, without words of its own, which may quote the address.
func said(err error) string {
	if e, ours := errors.AsType[*courier.Error](err); ours {
		return e.Error()
	}
	return "unclassified"
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

// Leg returns the provider of a name, or nil.
func (f *Provider) Leg(name string) courier.Provider {
	if l := f.legs[name]; l != nil {
		return l.Provider
	}
	return nil
}

// open reports whether admit would let a letter go.
func (l *leg) open(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failures < patience || !now.Before(l.until) && !l.probing
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
		reason := ""
		if err != nil {
			reason = said(err)
		}
		f.log.LogAttrs(ctx, slog.LevelWarn, "provider", slog.String("provider", l.Name()), slog.Bool("works", !is), slog.String("reason", reason))
	}
}

// Last says of each country and provider that is asked last there, why.
func (f *Provider) Last() map[[2]string]string {
	out := map[[2]string]string{}
	now := f.now()
	for name, l := range f.legs {
		for _, country := range l.countries() {
			switch {
			case !l.arrives(country, now):
				out[[2]string{name, country}] = "not delivered"
			case f.unreturned(l, country, now).bad:
				out[[2]string{name, country}] = "codes do not come back"
			}
		}
	}
	return out
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
