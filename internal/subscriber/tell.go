package subscriber

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
)

const (
	// look is how often a node looks for new subscribers, and for events that other nodes recorded.
	look = time.Second
	// trouble is after how many rounds without a success a subscriber is taken to be away. From then on one event at a time
	// is tried, so that a backlog does not spend its time on an address that nobody answers at.
	trouble = 3
	// longestRest is the longest rest between such tries.
	longestRest = time.Minute
)

// Run tells subscribers until ctx ends, and lets what is under way end. Each has a loop of its own: one that is slow or away
// holds up nobody else.
func (s *Service) Run(ctx context.Context) error {
	loops := map[string]context.CancelFunc{}
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		p, err := s.active(ctx)
		if err == nil {
			s.any.Store(len(p.every) > 0)
			s.follow(ctx, &wg, loops, p.telling)
		} else if ctx.Err() == nil {
			s.Log.LogAttrs(ctx, slog.LevelWarn, "look for webhooks", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// follow has one loop for each that is to be told.
func (s *Service) follow(ctx context.Context, wg *sync.WaitGroup, loops map[string]context.CancelFunc, telling []string) {
	wanted := map[string]bool{}
	for _, id := range telling {
		if wanted[id] = true; loops[id] != nil {
			continue
		}
		one, stop := context.WithCancel(ctx)
		loops[id] = stop
		wake := make(chan struct{}, 1)
		s.mu.Lock()
		if s.awake == nil {
			s.awake = map[string]chan struct{}{}
		}
		s.awake[id] = wake
		s.mu.Unlock()
		wg.Go(func() { s.serve(one, id, wake) })
	}
	for id, stop := range loops {
		if wanted[id] {
			continue
		}
		stop()
		delete(loops, id)
		s.mu.Lock()
		delete(s.awake, id)
		s.mu.Unlock()
	}
}

// wake has every loop of this node look at once.
func (s *Service) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.awake {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// line is a loop's to one subscriber, whose address never changes.
type line struct {
	id   string
	send Send // nil before the first event
}

// serve tells one subscriber.
func (s *Service) serve(ctx context.Context, id string, wake <-chan struct{}) {
	bad, to := 0, &line{id: id} // rounds without a success
	for ctx.Err() == nil {
		n := together
		if bad >= trouble {
			n = 1
		}
		r, err := s.round(ctx, to, n)
		if err == nil && r.told > 0 && bad >= trouble {
			err = s.DB.Write(ctx, func(tx *sqldb.Tx) error { return hurry(ctx, tx, id) })
		}
		if err != nil && ctx.Err() == nil {
			s.Log.LogAttrs(ctx, slog.LevelWarn, "tell by webhook", slog.String("webhook", id), slog.Any("error", err))
		}
		rest, woken := look, wake
		switch {
		case err != nil:
		case r.told > 0:
			bad = 0
			continue
		case r.failed > 0:
			if bad++; bad >= trouble {
				rest, woken = min(max(waitAfter(bad-trouble+1), r.after), longestRest), nil // more events make it no less away
			}
		case r.claimed > 0: // of decoys
			continue
		}
		pause := time.NewTimer(rest)
		select {
		case <-ctx.Done():
		case <-woken:
		case <-pause.C:
		}
		pause.Stop()
	}
}

// waitAfter is how long to wait after so many failures.
func waitAfter(failures int) time.Duration {
	return min(firstWait<<min(failures-1, 20), longestWait)
}

// result is what a round came to.
type result struct {
	claimed, told, failed int
	after                 time.Duration // the longest that the subscriber asks us to wait
}

// failure is a try that was none.
type failure struct {
	why   string
	wait  time.Duration
	final bool
}

// letter is an event with what is to be said of it. Without words it is a decoy's.
type letter struct {
	claimed

	body []byte
	why  string // it cannot be told
}

// round claims up to n events and tells them, all at once: they are of different accounts.
func (s *Service) round(ctx context.Context, line *line, n int) (r result, err error) {
	all, to, err := s.take(ctx, line.id, n)
	if err != nil || len(all) == 0 {
		return r, err
	}
	if line.send == nil {
		if line.send, err = s.Dial(to.url); err != nil {
			return r, err
		}
	}
	// What was begun ends, and is written down, also while the server stops.
	ctx = context.WithoutCancel(ctx)
	answers := make([]Answer, len(all))
	var wg sync.WaitGroup
	for i, l := range all {
		switch {
		case l.why != "":
			answers[i].Code = l.why
		case l.body != nil:
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, timeout)
				defer cancel()
				answers[i] = line.send(ctx, Message{ID: l.event, Secrets: to.secrets, Body: l.body})
			})
		}
	}
	wg.Wait()
	r = s.count(all, answers)
	return r, s.settle(ctx, line.id, all, answers)
}

// take claims events, and reads what is to be said of them, and to whom.
func (s *Service) take(ctx context.Context, id string, n int) (all []letter, to target, err error) {
	due := false
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) { // idle nodes must not queue for SQLite's one writer
		due, err = anyDue(ctx, tx, id)
		return err
	})
	if err != nil || !due {
		return nil, to, err
	}
	var rows []claimed
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		rows, err = claim(ctx, tx, id, uuid.NewString(), n)
		return err
	})
	if err != nil {
		return nil, to, err
	}
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		all = make([]letter, 0, len(rows))
		for _, c := range rows {
			l, err := s.write(ctx, tx, c)
			if err != nil {
				return err
			}
			all = append(all, l)
		}
		to, err = s.target(ctx, tx, id)
		return err
	})
	return all, to, err
}

// write reads what is to be said of an event.
func (s *Service) write(ctx context.Context, tx *sqldb.Tx, c claimed) (l letter, err error) {
	l.claimed = c
	e, ok, err := s.Audit.Read(ctx, tx, c.event)
	if err != nil {
		return l, err
	}
	if !ok {
		l.why = "record_changed" // or gone: what was not written like that is not told
		return l, nil
	}
	if c.account != "" {
		a, err := s.Accounts.Get(ctx, tx, account.ID(c.account))
		switch {
		case fault.Of(err).Kind == fault.NotFound: // erased meanwhile; there it was
		case err != nil:
			return l, err
		case a.State == account.Decoy:
			return l, nil
		}
	}
	app, reference, err := s.Accounts.Named(ctx, tx, account.ID(c.account))
	if err != nil {
		return l, err
	}
	l.body, err = body(e, app, reference)
	return l, err
}

func (s *Service) count(all []letter, answers []Answer) (r result) {
	r.claimed = len(all)
	for i, l := range all {
		outcome := "delivered"
		switch {
		case l.body == nil && l.why == "":
			continue
		case answers[i].Code == "":
			r.told++
		case l.last || l.why != "":
			outcome = "given_up"
			r.failed++
		default:
			outcome = "failed"
			r.failed++
		}
		r.after = max(r.after, answers[i].After)
		if s.Count != nil {
			s.Count(outcome)
		}
	}
	return r
}

// settle writes down what came of a round. What a power cut takes back is told once more.
func (s *Service) settle(ctx context.Context, id string, all []letter, answers []Answer) error {
	return s.DB.WriteSoon(ctx, func(tx *sqldb.Tx) error {
		gone := false
		for i, l := range all {
			a := answers[i]
			gone = gone || a.Gone
			if a.Code == "" {
				if err := told(ctx, tx, id, l.claimed); err != nil {
					return err
				}
				continue
			}
			f := failure{why: a.Code, wait: max(waitAfter(l.attempts), min(a.After, longestWait)), final: (l.last || l.why != "") && !a.Gone}
			if err := failed(ctx, tx, id, l.claimed, f); err != nil {
				return err
			}
		}
		if !gone {
			return nil
		}
		ok, err := pause(ctx, tx, id, "it answered 410: it wants no more")
		if err != nil || !ok {
			return err
		}
		return s.record(ctx, tx, id, "gone")
	})
}
