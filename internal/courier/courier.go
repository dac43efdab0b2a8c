// Package courier takes letters from the outbox to the world.
//
// Each channel has a route of its own, with its own workers: a provider that hangs delays
// its own letters and no others. A letter is sent at least once, always under the same id;
// a timeout means "unknown", so it is tried again under that id. The log knows letters by
// id only: no address, no words, no code.
package courier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"countersign/internal/guard"
	"countersign/internal/message"
	"countersign/internal/outbox"
)

// Route is how one channel's letters leave.
type Route struct {
	Provider Provider
	From     string            // sender address, number or name
	Senders  map[string]string // others, by the beginning of the address; the longest counts
	Workers  int               // letters under way at once; 0 means as many as the provider can do, or usualWorkers
	Timeout  time.Duration     // for one try; 0 means 10 s
}

// from is who a letter to an address is from.
func (r Route) from(to string) string {
	for n := len(to); n > 0; n-- {
		if s, ok := r.Senders[to[:n]]; ok {
			return s
		}
	}
	return r.From
}

// Now sends one letter at once, whose id is new.
func (r Route) Now(ctx context.Context, words *message.Catalog, l message.Letter) (Receipt, error) {
	said, err := words.Render(l)
	if err != nil {
		return Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, or(r.Timeout, usualTimeout))
	defer cancel()
	rec, err := r.Provider.Send(ctx, Message{
		ID: uuid.Must(uuid.NewV7()).String(), Channel: l.Channel, To: l.To, From: r.from(l.To), Subject: said.Subject, Text: said.Text, HTML: said.HTML,
	})
	rec.Provider = cmp.Or(rec.Provider, r.Provider.Name())
	return rec, err
}

// usualWorkers are enough for a thousand letters a second at a provider that takes a fifth of a second for each.
const usualWorkers = 256

// usualTimeout is how long one try may take.
const usualTimeout = 10 * time.Second

// Courier empties the outbox. Make it with New; Run it once a node.
type Courier struct {
	box     *outbox.Box
	catalog *message.Catalog
	routes  map[message.Channel]Route
	log     *slog.Logger
	wake    map[message.Channel]chan struct{}
	poll    time.Duration
	drain   time.Duration
	guard   *guard.Guard
	suspect func(context.Context, outbox.Claimed) (bool, error)
	took    func(Message, string)
}

// Options makes a courier. Poll and Drain may be zero.
type Options struct {
	Box     *outbox.Box
	Catalog *message.Catalog
	Routes  map[message.Channel]Route
	Log     *slog.Logger
	Poll    time.Duration // how often to look for letters put by other nodes; 0 means 500 ms
	Guard   *guard.Guard  // of text messages; nil sends them all
	// Suspect reports whether a text message is withheld because somebody else may read what goes to the number. It is asked of what goes to
	// numbers that an account has proved.
	// nil suspects nobody.
	Suspect func(context.Context, outbox.Claimed) (bool, error)
	// Took is told of each letter that a provider took, and of the provider. It must not block; nil hears nothing.
	Took  func(m Message, provider string)
	Drain time.Duration // how long Run waits at its end for letters under way; 0 means 12 s
}

// New returns a courier. A channel without a route keeps its letters until they expire.
func New(o Options) *Courier {
	c := &Courier{
		box: o.Box, catalog: o.Catalog, log: o.Log, guard: o.Guard, suspect: o.Suspect, took: o.Took,
		routes: map[message.Channel]Route{}, wake: map[message.Channel]chan struct{}{},
		poll: or(o.Poll, 500*time.Millisecond), drain: or(o.Drain, 12*time.Second),
	}
	for ch, r := range o.Routes {
		if p, ok := r.Provider.(Limited); ok && r.Workers == 0 {
			r.Workers = p.AtOnce()
		}
		if r.Workers == 0 {
			r.Workers = usualWorkers
		}
		r.Timeout = or(r.Timeout, usualTimeout)
		c.routes[ch], c.wake[ch] = r, make(chan struct{}, 1)
	}
	return c
}

func or(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// Wake tells the courier of a new letter. It never blocks; it is what outbox.Box.Wake wants.
func (c *Courier) Wake(ch message.Channel) {
	select {
	case c.wake[ch] <- struct{}{}:
	default: // already awake, or no route
	}
}

const (
	sweepEvery = time.Minute
	// gather is short beside what a provider takes, and long beside a transaction.
	gather = 10 * time.Millisecond
	// margin is what a lease outlasts a try by: time to record the outcome before another
	// courier takes the letter for abandoned.
	margin = 20 * time.Second
	// grace is how long a provider may take to notice that it is being stopped.
	grace = 2 * time.Second
)

// Run sends letters until ctx ends. Then it takes no more, gives those under way time to
// finish (Drain), cancels the rest, and returns nil, or an error that says how many
// providers did not even let themselves be cancelled. No letter is lost either way.
func (c *Courier) Run(ctx context.Context) error {
	// Letters under way outlive ctx, and end with sending.
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var loops sync.WaitGroup
	var under flight
	for ch := range c.routes {
		loops.Go(func() { c.channel(ctx, sending, ch, &under) })
	}
	loops.Go(func() { c.sweep(ctx) })
	loops.Wait() // each ends with ctx

	if under.landed(c.drain) {
		return nil
	}
	stop()
	if under.landed(grace) {
		return nil
	}
	return fmt.Errorf("courier stopped with %d letters under way; they will be sent again", under.count())
}

// channel claims one channel's letters, never more than it has free workers for.
func (c *Courier) channel(ctx, sending context.Context, ch message.Channel, under *flight) {
	r := c.routes[ch]
	free := make(chan struct{}, r.Workers)
	for range r.Workers {
		free <- struct{}{}
	}
	troubled := false
	for {
		n := take(ctx, free)
		if n == 0 {
			return
		}
		letters, err := c.box.Claim(ctx, ch, n, r.Timeout+margin)
		for _, l := range letters {
			under.begin()
			go func() {
				defer func() { free <- struct{}{}; under.end() }()
				c.deliver(sending, r, l)
			}()
		}
		for range n - len(letters) {
			free <- struct{}{}
		}
		if ctx.Err() == nil && (err != nil) != troubled { // say it once, not twice a second
			troubled = err != nil
			c.log.LogAttrs(ctx, level(troubled), "outbox", slog.String("channel", string(ch)), slog.Bool("reachable", !troubled), slog.Any("error", err))
		}
		if len(letters) == n { // there may be more
			if n < r.Workers/4 { // let some workers come back, so that one transaction claims for several
				time.Sleep(gather)
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-c.wake[ch]:
		case <-time.After(c.poll):
		}
	}
}

func level(trouble bool) slog.Level {
	if trouble {
		return slog.LevelError
	}
	return slog.LevelInfo
}

// take waits for a free worker and takes all that are free; 0 means that ctx has ended.
func take(ctx context.Context, free chan struct{}) (n int) {
	if ctx.Err() != nil {
		return 0
	}
	select {
	case <-ctx.Done():
		return 0
	case <-free:
		n++
	}
	for {
		select {
		case <-free:
			n++
		default:
			return n
		}
	}
}

// deliver takes one letter to its end or gives it back.
func (c *Courier) deliver(ctx context.Context, r Route, l outbox.Claimed) {
	began := c.box.DB.Now()
	rec, err := c.send(ctx, r, l)
	if err == nil {
		c.record(ctx, l, func(ctx context.Context) error {
			l.Withhold = l.Withhold || rec.withheld
			return c.box.Finish(ctx, l, outbox.Receipt{Provider: cmp.Or(rec.Provider, r.Provider.Name()), ID: rec.ID})
		})
		c.log.LogAttrs(ctx, slog.LevelDebug, "letter done", c.attrs(r, l, slog.Int64("us", c.box.DB.Now().Sub(began).Microseconds()))...)
		return
	}
	f := failure(err)
	if f.Turn {
		c.record(ctx, l, func(ctx context.Context) error { return c.box.PutOff(ctx, l, f.After) })
		return
	}
	dead := f.Permanent
	c.record(ctx, l, func(ctx context.Context) (err error) {
		if f.Permanent {
			return c.box.Bury(ctx, l, f.Code)
		}
		dead, err = c.box.Retry(ctx, l, f.Code, f.After)
		return err
	})
	c.log.LogAttrs(ctx, slog.LevelWarn, "letter not sent", c.attrs(r, l, slog.Bool("dead", dead), slog.String("reason", f.Error()))...)
}

func (c *Courier) attrs(r Route, l outbox.Claimed, more ...slog.Attr) []slog.Attr {
	return append([]slog.Attr{
		slog.String("letter", l.ID), slog.String("kind", string(l.Shows)), slog.String("channel", string(l.Channel)),
		slog.String("provider", r.Provider.Name()), slog.Int("attempt", l.Attempts),
	}, more...)
}

// send renders a letter and hands it to the provider, unless it is withheld: that one is
// rendered and goes no further.
func (c *Courier) send(ctx context.Context, r Route, l outbox.Claimed) (rec Receipt, err error) {
	defer func() {
		if p := recover(); p != nil { // one letter must not end the server for all; p might quote it
			c.log.LogAttrs(ctx, slog.LevelError, "provider panicked", slog.String("letter", l.ID), slog.String("stack", string(debug.Stack())))
			err = Temporary("panic", nil)
		}
	}()
	if l.Damaged() != nil {
		return Receipt{}, Permanent("cannot_be_opened")
	}
	words, err := c.catalog.Render(l.Letter.Letter)
	if err != nil {
		return Receipt{}, Permanent("cannot_be_rendered")
	}
	if l.Withhold {
		return Receipt{}, nil
	}
	m := Message{
		ID: l.ID, Channel: l.Channel, To: l.To, From: r.from(l.To),
		Subject: words.Subject, Text: words.Text, HTML: words.HTML, Expires: l.ExpiresAt, Code: l.Kind.Typed(), Language: words.Language,
	}
	if m.Code {
		m.Digits, m.Speech = l.Params["code"], words.Speech
	}
	if why, err := c.guarded(ctx, r, l, m); err != nil {
		return Receipt{}, Temporary("guard", err)
	} else if why != "" {
		return Receipt{withheld: true}, nil
	}
	if c.suspect != nil && l.Channel == message.SMS && !l.Kind.Unproved() {
		if yes, err := c.suspect(ctx, l); err != nil {
			return Receipt{}, Temporary("suspect", err)
		} else if yes {
			return Receipt{withheld: true}, nil
		}
	}
	if l.Follows != "" {
		before, err := c.box.Before(ctx, l.Follows)
		if err != nil {
			return Receipt{}, Temporary("outbox", err)
		}
		m.Tried = strings.Join(before, ",")
	}
	return c.hand(ctx, r, m)
}

// hand gives a letter to the provider, and tells of one that was taken.
func (c *Courier) hand(ctx context.Context, r Route, m Message) (Receipt, error) {
	within, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	rec, err := r.Provider.Send(within, m)
	if err != nil {
		return Receipt{}, err
	}
	rec.Provider = cmp.Or(rec.Provider, r.Provider.Name())
	if c.took != nil {
		c.took(m, rec.Provider)
	}
	if m.Channel == message.SMS {
		if err := c.guard.Settle(ctx, r.priced(m), rec.Provider); err != nil {
			c.log.LogAttrs(ctx, slog.LevelWarn, "what a message cost is not written down", slog.String("letter", m.ID), slog.Any("error", err))
		}
	}
	return rec, nil
}

// priced is what the guard knows of a message: its price is that of the provider which is the first to be asked.
func (r Route) priced(m Message) guard.Message {
	by := r.Provider.Name()
	if c, ok := r.Provider.(Chooser); ok {
		by = c.First(m)
	}
	return guard.Message{To: m.To, Parts: message.Segments(m.Text), ID: m.ID, By: by}
}

// guarded asks the guard about a text message, once however often it is tried.
func (c *Courier) guarded(ctx context.Context, r Route, l outbox.Claimed, m Message) (guard.Refusal, error) {
	if l.Channel != message.SMS || l.Attempts > 1 {
		return "", nil
	}
	priced := r.priced(m)
	priced.New = l.Kind.Unproved()
	return c.guard.Admit(ctx, priced)
}

// record writes an outcome down, trying again while the database is away but not past the
// lease: by then the letter belongs to whoever claims it next.
func (c *Courier) record(ctx context.Context, l outbox.Claimed, write func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), margin/2)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := write(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			c.log.LogAttrs(ctx, slog.LevelError, "letter's outcome not recorded; it will be sent again",
				slog.String("letter", l.ID), slog.Any("error", err))
			return
		case <-time.After(wait):
		}
	}
}

func (c *Courier) sweep(ctx context.Context) {
	for {
		if err := c.box.Sweep(ctx); err != nil && !errors.Is(err, context.Canceled) && ctx.Err() == nil {
			c.log.LogAttrs(ctx, slog.LevelError, "sweep outbox", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweepEvery):
		}
	}
}

// flight counts the letters under way.
type flight struct {
	wg sync.WaitGroup
	mu sync.Mutex
	n  int
}

func (f *flight) begin() { f.wg.Add(1); f.add(1) }
func (f *flight) end()   { f.add(-1); f.wg.Done() }

func (f *flight) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n += n
}

func (f *flight) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// landed waits for all of them, at most for d.
func (f *flight) landed(d time.Duration) bool {
	done := make(chan struct{})
	go func() { f.wg.Wait(); close(done) }()
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
}
