package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"countersign/internal/audit"
	"countersign/internal/platform/sqldb"
)

const (
	// poll is how often a node looks whether the rules changed: four times within the promised second.
	poll = 250 * time.Millisecond
	// flush is how often counts are written. A crash loses that much of them, which harms nobody.
	flush = 5 * time.Second
)

// Run reads changed rules and writes counts until ctx ends, then writes them once more.
func (s *Service) Run(ctx context.Context) error {
	polls, flushes := time.NewTicker(poll), time.NewTicker(flush)
	defer polls.Stop()
	defer flushes.Stop()
	for {
		// A failed poll leaves the rules as they were last known; the next comes at once.
		_ = s.Poll(ctx)
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			return s.Flush(last)
		case <-flushes.C:
			_ = s.Flush(ctx) // kept in memory and tried again
		case <-polls.C:
		}
	}
}

// Poll reads the rules if they have changed. While it fails the last known rules hold.
func (s *Service) Poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	old := s.book.Load()
	return s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		// The revision first: rules that change in between are read under an old one, and so again.
		revision, err := currentRevision(ctx, tx)
		if err != nil || old != nil && old.revision == revision {
			return err
		}
		b, err := read(ctx, tx)
		if err != nil {
			return err
		}
		b.revision = revision
		s.book.Store(b)
		return nil
	})
}

func read(ctx context.Context, tx *sqldb.Tx) (*book, error) {
	b := &book{rules: map[string]Rule{}, apis: map[string]API{}}
	err := eachRule(ctx, tx, func(r Rule) { b.rules[r.Client] = r })
	return b, errors.Join(err, eachAPI(ctx, tx, func(a API) { b.apis[a.Version] = a }))
}

// Rules returns what the operator decided, by name.
func (s *Service) Rules(ctx context.Context) (rules []Rule, apis []API, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		b, err := read(ctx, tx)
		if err != nil {
			return err
		}
		rules, apis = nil, nil
		for _, name := range slices.Sorted(maps.Keys(b.rules)) {
			rules = append(rules, b.rules[name])
		}
		for _, name := range slices.Sorted(maps.Keys(b.apis)) {
			apis = append(apis, b.apis[name])
		}
		return nil
	})
	return rules, apis, err
}

// Change is what an operator changes of a rule; nil leaves a part as it is.
type Change struct {
	WarnBelow, RefuseBelow *Bound
	Sunset                 *time.Time // zero takes it away
}

// What a rule may not say.
var (
	ErrName     = errors.New(`want a name as clients send it: letters, digits and hyphens, 32 at most, or "unnamed" or "unknown"`)
	ErrTooMany  = fmt.Errorf("there are %d clients already: clear one first", MaxClients)
	ErrVersions = errors.New(`"unnamed" and "unknown" have no versions: want all or none`)
	ErrOrder    = errors.New("who is warned must not be below who is refused: nobody would be warned")
	ErrSunset   = errors.New("a sunset is in the future, and of versions that are warned")
)

// Set makes or changes a client's rule, which every node follows within a second.
func (s *Service) Set(ctx context.Context, name string, c Change) (r Rule, err error) {
	if !validName(name) {
		return Rule{}, ErrName
	}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := nextRevision(ctx, tx); err != nil { // one change after the other: what is read below stays so
			return err
		}
		b, err := read(ctx, tx)
		if err != nil {
			return err
		}
		old, known := b.rules[name]
		if !known && len(b.rules) >= MaxClients {
			return ErrTooMany
		}
		old.Client = name
		if r, err = c.apply(old, tx.Now()); err != nil {
			return err
		}
		if err := putRule(ctx, tx, r); err != nil {
			return err
		}
		return s.Audit.Append(ctx, tx, audit.Event{Kind: audit.ClientRuleChanged, Actor: "operator", Detail: r.detail()})
	})
	return r, err
}

// apply changes a rule and checks it.
func (c Change) apply(r Rule, now time.Time) (Rule, error) {
	r.ChangedAt = now
	if c.RefuseBelow != nil {
		r.RefuseBelow = *c.RefuseBelow
	}
	if c.WarnBelow != nil && *c.WarnBelow != r.WarnBelow {
		r.WarnBelow, r.WarnedAt = *c.WarnBelow, now
		if !r.WarnBelow.Set() {
			r.WarnedAt, r.Sunset = time.Time{}, time.Time{}
		}
	}
	if c.Sunset != nil {
		r.Sunset = *c.Sunset
		if !r.Sunset.IsZero() && (!r.WarnBelow.Set() || !r.Sunset.After(now)) {
			return r, ErrSunset
		}
	}
	if special := r.Client == Unnamed || r.Client == Unknown; special && (r.WarnBelow.least.text != "" || r.RefuseBelow.least.text != "") {
		return r, ErrVersions
	}
	if r.WarnBelow.Set() && !r.WarnBelow.all && (r.RefuseBelow.all || r.RefuseBelow.over(r.WarnBelow.least)) {
		return r, ErrOrder
	}
	return r, nil
}

func (r Rule) detail() map[string]string {
	d := map[string]string{"client": r.Client, "warn_below": r.WarnBelow.String(), "refuse_below": r.RefuseBelow.String()}
	if !r.Sunset.IsZero() {
		d["sunset"] = r.Sunset.UTC().Format(time.RFC3339)
	}
	return d
}

// Clear takes a client's rule away, so that it is unknown. ok is false if it had none.
func (s *Service) Clear(ctx context.Context, name string) (ok bool, err error) {
	return s.change(ctx, audit.Event{Kind: audit.ClientRuleChanged, Detail: map[string]string{"client": name, "cleared": "true"}},
		func(tx *sqldb.Tx) (bool, error) { return deleteRule(ctx, tx, name) })
}

// Retire withdraws a version of the API at a time. Until then its calls are warned.
func (s *Service) Retire(ctx context.Context, version string, at time.Time) error {
	_, err := s.change(ctx, audit.Event{Kind: audit.APIRetired, Detail: map[string]string{"api": version, "at": at.UTC().Format(time.RFC3339)}},
		func(tx *sqldb.Tx) (bool, error) {
			if now := tx.Now(); !at.After(now) {
				at = now.Add(-sqldb.Skew) // on a node whose clock is behind, too
			}
			return true, putAPI(ctx, tx, API{version, tx.Now(), at})
		})
	return err
}

// Unretire takes a retirement back. ok is false if there was none.
func (s *Service) Unretire(ctx context.Context, version string) (ok bool, err error) {
	return s.change(ctx, audit.Event{Kind: audit.APIUnretired, Detail: map[string]string{"api": version}},
		func(tx *sqldb.Tx) (bool, error) { return deleteAPI(ctx, tx, version) })
}

// change does something to the rules and records that an operator did, if there was anything to do.
func (s *Service) change(ctx context.Context, e audit.Event, do func(*sqldb.Tx) (bool, error)) (ok bool, err error) {
	e.Actor = "operator"
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		if err := nextRevision(ctx, tx); err != nil {
			return err
		}
		if ok, err = do(tx); err != nil || !ok {
			return err
		}
		return s.Audit.Append(ctx, tx, e)
	})
	return ok, err
}
