package failover

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"countersign/internal/courier"
	"countersign/internal/guard"
)

// arrival is what became of one letter.
type arrival struct {
	at   time.Time
	ok   bool
	took time.Duration // if ok: since the provider had it
}

const (
	// remembered is how many letters to a country, and for how long, say how a provider does there: long enough to tell
	// an outage from a switched-off phone, and short enough for it to be tried again while somebody still watches.
	remembered, memory = 20, 15 * time.Minute
	// enough of them must be known, and half have failed. Whoever asks for codes to numbers that are dead can bring that about: so a
	// provider is asked last then, and never not at all.
	enough = 10
	// few of them, within fresh, say how fast it is: longer than that, since what is slow now was slow before.
	few, fresh = 5, time.Hour
)

// Learn takes what a provider told of a letter, and how long after it had the letter.
func (f *Provider) Learn(ctx context.Context, r courier.Report, took time.Duration) {
	l := f.legs[r.Provider]
	if l == nil || r.Country == "" || r.State != courier.Delivered && r.State != courier.NotDelivered {
		return
	}
	now := f.now()
	was := l.arrives(r.Country, now)
	l.mu.Lock()
	all := append(l.told[r.Country], arrival{now, r.State == courier.Delivered, took})
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

// healthy reports whether nothing speaks against a provider in a country.
func (f *Provider) healthy(l *leg, country string, now time.Time) bool {
	return l.arrives(country, now) && !f.unreturned(l, country, now).bad
}

// sample is a code that was sent, of which it will be asked whether it came back.
type sample struct {
	leg     *leg
	country string
	at      time.Time // when it is asked
}

const (
	// typedWithin is how long a code may take to come back: by then nearly all that ever do have come.
	typedWithin = 3 * time.Minute
	// samples is how many codes are waited for at once, over all providers and countries, and share how many of them one provider may have in one country.
	samples, share = 4096, 40
	// codesRemembered codes to a country, within codesMemory, say how a provider does there. At 20 a provider by which seven of ten codes come back has
	// fewer than half of that by chance about once in a thousand times.
	codesRemembered, codesMemory, codesEnough = 30, 30 * time.Minute, 20
	// usualEnough codes must have been judged before a provider's own usual counts, which moves by a fiftieth with each.
	usualEnough, usualMoves = 50, 50
)

// returns is what is known of a provider's codes to a country.
type returns struct {
	pending int
	last    []arrival // whether it came back, and when that was known
	usual   float64   // the share of those that came back, over the last hundred or so
	judged  int
}

// sent notes a code of which it will be asked whether it came back. Who has too many of them already is not asked about more.
func (f *Provider) sent(l *leg, m courier.Message) {
	country := guard.Region(m.To)
	if !m.Code || country == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.codes[country]
	if c == nil {
		c = &returns{}
		l.codes[country] = c
	}
	if _, twice := f.pending[m.ID]; twice || len(f.pending) >= samples || c.pending >= share {
		return
	}
	c.pending++
	f.pending[m.ID] = sample{l, country, f.now().Add(typedWithin)}
}

// Due are letters of which it is time to know whether their codes came back; Judge is told.
func (f *Provider) Due() (ids []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, s := range f.pending {
		if !f.now().Before(s.at) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Judge takes which of the letters' codes came back.
func (f *Provider) Judge(ctx context.Context, ids []string, typed map[string]bool) {
	for _, id := range ids {
		f.mu.Lock()
		s, ok := f.pending[id]
		delete(f.pending, id)
		f.mu.Unlock()
		if !ok {
			continue
		}
		was := f.unreturned(s.leg, s.country, f.now())
		s.leg.judge(s.country, typed[id], f.now())
		if is := f.unreturned(s.leg, s.country, f.now()); is.bad != was.bad {
			f.log.LogAttrs(ctx, slog.LevelWarn, "provider", slog.String("provider", s.leg.Name()), slog.String("country", s.country),
				slog.Bool("codes_come_back", !is.bad), slog.Int("typed", is.typed), slog.Int("of", is.of),
				slog.Float64("others_share", is.others), slog.Float64("usual_share", is.usual))
		}
	}
}

func (l *leg) judge(country string, typed bool, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.codes[country]
	c.pending--
	all := append(c.last, arrival{at: now, ok: typed})
	c.last = all[max(0, len(all)-codesRemembered):]
	got := 0.0
	if typed {
		got = 1
	}
	c.judged++
	c.usual += (got - c.usual) / float64(min(c.judged, usualMoves))
}

// verdict is how a provider's codes to a country do, beside others' and its own usual; a share that is not known is -1.
type verdict struct {
	bad           bool
	typed, of     int
	others, usual float64
}

// unreturned says whether a provider's codes to a country come back less than half as often as others' do; where nothing is known of others, as its own used to.
// Where others' come back as rarely, it is the country or somebody who asks for codes and types none, and no reason to change. Whoever does that has the first
// asked last until the next fares no better: nobody is left out.
func (f *Provider) unreturned(l *leg, country string, now time.Time) (v verdict) {
	v.typed, v.of, v.usual = l.cameBack(country, now)
	v.others = -1
	typed, of := 0, 0
	for _, o := range f.legs {
		if o != l {
			t, n, _ := o.cameBack(country, now)
			typed, of = typed+t, of+n
		}
	}
	if of >= codesEnough {
		v.others = float64(typed) / float64(of)
	}
	mine := float64(v.typed) / float64(max(v.of, 1))
	v.bad = v.of >= codesEnough && (mine < v.others/2 || v.others < 0 && mine < v.usual/2)
	return v
}

func (l *leg) cameBack(country string, now time.Time) (typed, of int, usual float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.codes[country]
	if c == nil {
		return 0, 0, -1
	}
	for _, a := range c.last {
		if now.Sub(a.at) < codesMemory {
			of++
			if a.ok {
				typed++
			}
		}
	}
	if usual = c.usual; c.judged < usualEnough {
		usual = -1
	}
	return typed, of, usual
}

// countries are those of which something is known.
func (l *leg) countries() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Collect(maps.Keys(l.told))
	for country := range l.codes {
		if _, twice := l.told[country]; !twice {
			all = append(all, country)
		}
	}
	return all
}
