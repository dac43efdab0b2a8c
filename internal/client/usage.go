package client

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"countersign/internal/platform/sqldb"
)

const (
	// maxVersions is how many versions of a client are told apart; names and versions are whatever a
	// stranger sends, and the table must not grow by them.
	maxVersions = 50
	// maxHeld is how many versions of a client are told apart in memory until the next flush: more
	// than are kept, so that a flood of invented ones does not keep the real ones out.
	maxHeld = 1000
	// stale is when a version that nobody uses makes room for a new one.
	stale = 24 * time.Hour
	// forget is when a version that nobody uses is forgotten.
	forget = 90 * 24 * time.Hour
)

// usage counts calls until they are written. Its zero value is ready.
type usage struct {
	mu     sync.Mutex
	calls  map[what]*tally
	held   map[string]map[string]bool // versions by client
	totals map[Total]int64
}

// what is counted apart.
type what struct{ client, version, route string }

type tally struct{ calls, refused, first, last int64 }

func (t *tally) add(o tally) {
	t.calls, t.refused = t.calls+o.calls, t.refused+o.refused
	if t.first == 0 || o.first < t.first {
		t.first = o.first
	}
	t.last = max(t.last, o.last)
}

// Total is what a node's metrics count apart.
type Total struct {
	Client string
	Class  Class
}

// Count counts a call that was judged, under its route. It costs no database access.
func (s *Service) Count(who Caller, route string, at time.Time) {
	one := tally{calls: 1, first: at.UnixMilli(), last: at.UnixMilli()}
	if who.Class == Refused {
		one.refused = 1
	}
	u := &s.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	u.add(what{who.Client, who.Version, route}, one)
	if u.totals == nil {
		u.totals = map[Total]int64{}
	}
	u.totals[Total{who.Client, who.Class}]++
}

// add counts under a version that may have to be told apart no more.
func (u *usage) add(w what, t tally) {
	if have := u.calls[w]; have != nil {
		have.add(t)
		return
	}
	if u.calls == nil {
		u.calls, u.held = map[what]*tally{}, map[string]map[string]bool{}
	}
	if held := u.held[w.client]; w.version != "" && !held[w.version] {
		switch {
		case held == nil:
			u.held[w.client] = map[string]bool{w.version: true}
		case len(held) >= maxHeld:
			w.version = Other
		default:
			held[w.version] = true
		}
	}
	if have := u.calls[w]; have != nil {
		have.add(t)
		return
	}
	w.version = strings.Clone(w.version) // it is a part of a whole header
	first := t                           // a copy, so that the usual call, which gets no further than the top, allocates nothing
	u.calls[w] = &first
}

// take returns what was counted since the last time.
func (u *usage) take() map[what]*tally {
	u.mu.Lock()
	defer u.mu.Unlock()
	calls := u.calls
	u.calls, u.held = nil, nil
	return calls
}

// putBack counts again what could not be written.
func (u *usage) putBack(calls map[what]*tally) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for w, t := range calls {
		u.add(w, *t)
	}
}

// Totals counts the calls that this node has judged since it started.
func (s *Service) Totals() map[Total]int64 {
	s.usage.mu.Lock()
	defer s.usage.mu.Unlock()
	return maps.Clone(s.usage.totals)
}

// Flush writes what was counted, in one transaction. What cannot be written is kept for the next time.
func (s *Service) Flush(ctx context.Context) error {
	calls := s.usage.take()
	if len(calls) == 0 {
		return nil
	}
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) error { return write(ctx, tx, calls) })
	if err != nil {
		s.usage.putBack(calls)
	}
	return err
}

// write adds counts to the table, in which no client has more than maxVersions.
func write(ctx context.Context, tx *sqldb.Tx, calls map[what]*tally) error {
	if err := nextCounts(ctx, tx); err != nil { // one node after the other, or together they would keep too many
		return err
	}
	byClient := map[string]map[string]tally{}
	for w, t := range calls {
		if byClient[w.client] == nil {
			byClient[w.client] = map[string]tally{}
		}
		sum := byClient[w.client][w.version]
		sum.add(*t)
		byClient[w.client][w.version] = sum
	}
	crowded := map[[2]string]bool{}
	for _, name := range slices.Sorted(maps.Keys(byClient)) {
		kept, err := versions(ctx, tx, name)
		if err != nil {
			return err
		}
		out, late := makeRoom(kept, byClient[name], tx.Now())
		for _, version := range out {
			if err := mergeIntoOther(ctx, tx, name, version); err != nil {
				return err
			}
		}
		for _, version := range late {
			crowded[[2]string{name, version}] = true
		}
	}
	merged := map[what]*tally{}
	for w, t := range calls {
		if crowded[[2]string{w.client, w.version}] {
			w.version = Other
		}
		if merged[w] == nil {
			merged[w] = &tally{}
		}
		merged[w].add(*t)
	}
	rows := slices.SortedFunc(maps.Keys(merged), func(a, b what) int {
		return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(a.version, b.version), cmp.Compare(a.route, b.route))
	})
	return addCounts(ctx, tx, rows, merged)
}

// makeRoom decides which versions are kept. A new one takes a free place, else that of one nobody has
// used for a day, else that of one with fewer calls in all than the new one has now. So versions that
// somebody invents do not stand in the way of real ones for long. It returns the versions that go
// out, and those that stay out.
func makeRoom(kept, now map[string]tally, at time.Time) (out, late []string) {
	for version, t := range now { // what is in use is not stale
		if have, ok := kept[version]; ok {
			kept[version] = tally{calls: have.calls + t.calls, last: at.UnixMilli()}
		}
	}
	newcomers := slices.SortedFunc(maps.Keys(now), func(a, b string) int {
		return cmp.Or(cmp.Compare(now[b].calls, now[a].calls), cmp.Compare(a, b))
	})
	for _, version := range newcomers {
		if _, has := kept[version]; has || version == "" || version == Other {
			continue
		}
		if len(kept) >= maxVersions {
			victim := weakest(kept, at)
			if kept[victim].last >= at.Add(-stale).UnixMilli() && kept[victim].calls >= now[version].calls {
				late = append(late, version) // as all that follow, which have fewer calls; none pushes out an earlier one
				continue
			}
			delete(kept, victim)
			out = append(out, victim)
		}
		kept[version] = tally{calls: now[version].calls, last: at.UnixMilli()}
	}
	return out, late
}

// weakest is the version that has gone unused longest, if for a day, else the one with the fewest calls.
func weakest(kept map[string]tally, at time.Time) string {
	old := at.Add(-stale).UnixMilli()
	return slices.MinFunc(slices.Sorted(maps.Keys(kept)), func(a, b string) int {
		x, y := kept[a], kept[b]
		if x.last < old || y.last < old {
			return cmp.Compare(x.last, y.last)
		}
		return cmp.Compare(x.calls, y.calls)
	})
}

// Used is how often a version of a client called something.
type Used struct {
	Client    string    `json:"client"`
	Version   string    `json:"version,omitempty"`
	Route     string    `json:"route"`
	Calls     int64     `json:"calls"`
	Refused   int64     `json:"refused"` // of the calls
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
}

// Usage returns what was called, by client, newest version first. An empty name means all clients.
func (s *Service) Usage(ctx context.Context, name string) (all []Used, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		all, err = used(ctx, tx, name)
		return err
	})
	slices.SortStableFunc(all, func(a, b Used) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), -compareText(a.Version, b.Version), cmp.Compare(a.Route, b.Route))
	})
	return all, err
}

// compareText puts what is no version before all versions.
func compareText(a, b string) int {
	v, _ := ParseVersion(a)
	w, _ := ParseVersion(b)
	if v.text == "" || w.text == "" {
		return cmp.Or(cmp.Compare(len(v.text), len(w.text)), cmp.Compare(a, b))
	}
	return cmp.Or(v.Compare(w), cmp.Compare(a, b))
}

// Prune forgets, a bounded number at a time, versions that nobody has used for 90 days, and returns how many rows.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	return prune(ctx, tx, tx.Now().Add(-forget))
}
