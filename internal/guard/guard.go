// Package guard keeps text messages from being pumped: sent to numbers whose owners have a share of the fee, or to nobody, at the operator's
// cost. It owns the tables guard_country and guard_spend.
//
// New numbers, which no account has proved, are limited by what they differ in: of numbers in one range, or of one country, only so many
// may be sent to before codes come back, and each code that a person types gives tries back. So what honest people do is never limited, however much of
// it there is, and what a pump does is, however slowly it does it.
//
// It stands between the outbox and the provider. A refused message is withheld like one that is to nobody, so that whoever asked for it
// sees no difference (P1). Numbers that an account has proved are trusted further than new ones, so that what is
// done about strangers' numbers keeps nobody's codes from them.
package guard

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nyaruka/phonenumbers"

	"countersign/internal/platform/sqldb"
	"countersign/internal/throttle"
)

// Guard decides which text messages are sent. DB, Throttle and Log are required. A nil Guard lets everything through.
type Guard struct {
	DB       *sqldb.DB
	Throttle *throttle.Service
	Log      *slog.Logger
	Rules    Rules
	Count    func(Refusal) // told of every message that is withheld; may be nil

	mu      sync.Mutex
	learned map[string]bool
	readAt  time.Time
}

// Rules are the operator's.
type Rules struct {
	Countries []string // ISO 3166, beside those that were learned
	Off       bool     // everything is sent, and nothing but what it costs is counted
	AnyKind   bool     // of number, not mobile ones alone
	Prices    Prices
	Caps      Caps
}

// Caps are what may be spent, in millionths of the price table's currency; 0 is no cap.
type Caps struct{ Hour, Day, CountryDay int64 }

// Message is what is to be sent.
type Message struct {
	To    string // E.164
	New   bool   // no account has proved this number
	Parts int    // segments
	ID    string // of the letter, for the log
	By    string // the provider that it is expected to go by
}

// Refusal says why a message is withheld; empty if it is not.
type Refusal string

// The refusals.
const (
	Country Refusal = "country" // none that messages go to
	Kind    Refusal = "kind"    // of number: nothing that a person carries
	Number  Refusal = "number"  // too many messages in a row that no code came back from
	Range   Refusal = "range"   // too many new numbers of its range or country from which no code came back
	Spend   Refusal = "spend"   // a cap is reached
)

// limits are how many messages go out without a code that comes back; docs/operating.md has the reasons.
type limits struct {
	number  throttle.Ladder // in a row, to one number
	starter throttle.Rate   // to new numbers while no country is known
	ranges  []rangeLimit    // to new numbers of one range
	country throttle.Rate   // and of one country
}

type rangeLimit struct {
	digits int // that vary
	rate   throttle.Rate
}

func limited() limits {
	return limits{
		number:  throttle.Ladder{Name: "guard/number", Free: 10, Delays: []time.Duration{time.Hour, 6 * time.Hour, 24 * time.Hour}, Stop: 1000},
		starter: throttle.Rate{Name: "guard/starter", Burst: 50, Every: time.Minute},
		ranges: []rangeLimit{
			{2, throttle.Rate{Name: "guard/range2", Burst: 10, Every: 6 * time.Minute}},
			{3, throttle.Rate{Name: "guard/range3", Burst: 30, Every: 2 * time.Minute}},
			{4, throttle.Rate{Name: "guard/range4", Burst: 60, Every: time.Minute}},
			{5, throttle.Rate{Name: "guard/range5", Burst: 100, Every: time.Minute}},
		},
		country: throttle.Rate{Name: "guard/country", Burst: 300, Every: time.Minute},
	}
}

// forNew is how many hundredths of a cap strangers' numbers may use up: the rest is for people who have an account.
const forNew = 80

// givesBack is how many tries a code that came back gives: of honest people's codes more than half come back.
const givesBack = 2

// Admit decides about a message, and counts it.
func (g *Guard) Admit(ctx context.Context, m Message) (why Refusal, err error) {
	if g == nil {
		return "", nil
	}
	n, err := phonenumbers.Parse(m.To, "")
	if err != nil {
		return Kind, nil // whatever it is, it is none
	}
	country := countryOf(n)
	var spent strain
	err = g.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if g.Rules.Off {
			_, err := g.spend(ctx, tx, m, country)
			return err
		}
		if why, err = g.judge(ctx, tx, m, n, country); err != nil || why != "" {
			return err
		}
		if spent, err = g.spend(ctx, tx, m, country); err != nil {
			return err
		}
		if spent.after > 100 || m.New && spent.after > forNew {
			why = Spend
			return errOver // nothing of it was sent or spent
		}
		return nil
	})
	if why == Spend {
		err = nil
	}
	if err != nil {
		return "", err
	}
	g.warn(ctx, spent)
	if why != "" {
		said := []slog.Attr{
			slog.String("why", string(why)), slog.String("letter", m.ID), slog.String("country", country),
			slog.Int("kind", int(phonenumbers.GetNumberType(n))), slog.Bool("new", m.New),
		}
		if why == Spend {
			said = append(said, slog.String("cap", spent.setting))
		}
		g.Log.LogAttrs(ctx, slog.LevelWarn, "text message withheld by the guard", said...)
		if g.Count != nil {
			g.Count(why)
		}
	}
	return why, nil
}

func (g *Guard) judge(ctx context.Context, tx *sqldb.Tx, m Message, n *phonenumbers.PhoneNumber, country string) (Refusal, error) {
	known, said, err := g.knows(ctx, tx, country)
	if err != nil {
		return "", err
	}
	if m.New && said && !known {
		return Country, nil
	}
	if ok, err := g.Throttle.Attempt(ctx, tx, limited().number, m.To); err != nil || !ok {
		return Number, err
	}
	if !m.New {
		if !known { // an account's own number says that messages go to its country
			return "", g.Learn(ctx, tx, country)
		}
		return "", nil
	}
	if !g.Rules.AnyKind && !carried(n, country) {
		return Kind, nil
	}
	if !said { // nobody has said which, and no account has a number: enough to begin with, and too little to earn from
		if ok, err := g.Throttle.Take(ctx, tx, limited().starter, ""); err != nil || !ok {
			return Country, err
		}
	}
	for _, l := range widening(m.To, country) {
		if ok, err := g.Throttle.Take(ctx, tx, l.rate, l.key); err != nil || !ok {
			return Range, err
		}
	}
	return "", nil
}

// Region is the country of a number in international form; empty if it is none.
func Region(number string) string {
	n, err := phonenumbers.Parse(number, "")
	if err != nil {
		return ""
	}
	return countryOf(n)
}

// countryOf is the country of a number, or the first of those that share its code if it is in no range that is known.
func countryOf(n *phonenumbers.PhoneNumber) string {
	return cmp.Or(phonenumbers.GetRegionCodeForNumber(n), phonenumbers.GetRegionCodeForCountryCode(int(n.GetCountryCode())))
}

type limit struct {
	rate throttle.Rate
	key  string
}

// widening are the limits of a new number, the narrowest first.
func widening(to, country string) (all []limit) {
	for _, r := range limited().ranges {
		all = append(all, limit{r.rate, to[:max(0, len(to)-r.digits)]})
	}
	return append(all, limit{limited().country, country})
}

// carried reports whether a person may carry the number: premium, toll-free, VoIP, satellite, pager and fixed lines are what pumps use. Which
// ranges are in use changes faster than this program is updated, so one of which nothing is known may be a new one.
func carried(n *phonenumbers.PhoneNumber, country string) bool {
	const world = "001" // satellites
	kind := phonenumbers.GetNumberType(n)
	return country != world && (kind == phonenumbers.MOBILE || kind == phonenumbers.FIXED_LINE_OR_MOBILE || kind == phonenumbers.UNKNOWN)
}

// Converted notes that a code that was sent to a number came back, typed by a person. Other addresses are nothing to the guard.
func (g *Guard) Converted(ctx context.Context, tx *sqldb.Tx, to string) error {
	if g == nil || !strings.HasPrefix(to, "+") {
		return nil
	}
	if err := g.Throttle.Clear(ctx, tx, limited().number, to); err != nil {
		return err
	}
	n, err := phonenumbers.Parse(to, "")
	if err != nil {
		return nil //nolint:nilerr // it was sent to all the same
	}
	for _, l := range widening(to, countryOf(n)) {
		for range givesBack {
			if err := g.Throttle.Give(ctx, tx, l.rate, l.key); err != nil {
				return err
			}
		}
	}
	return nil
}

// Learn adds the country of a number that is an account's own, or that an operator vouches for.
func (g *Guard) Learn(ctx context.Context, tx *sqldb.Tx, country string) error {
	if g == nil || country == "" {
		return nil
	}
	return putCountry(ctx, tx, country)
}

// Ready reports whether countries were ever learned from the accounts that there are. LearnAll does that.
func (g *Guard) Ready(ctx context.Context, tx *sqldb.Tx) (bool, error) {
	all, err := countries(ctx, tx)
	return slices.Contains(all, everLearned), err
}

// LearnAll adds the countries of the numbers that accounts have, and notes that it was done.
func (g *Guard) LearnAll(ctx context.Context, tx *sqldb.Tx, all []string) error {
	for _, c := range append(slices.Clone(all), everLearned) {
		if err := putCountry(ctx, tx, c); err != nil {
			return err
		}
	}
	return nil
}

// everLearned stands in the table once it has the countries of the accounts that there were.
const everLearned = "-"

const rereadEvery = 10 * time.Second

// knows reports whether messages go to a country, and whether it is said of any at all.
func (g *Guard) knows(ctx context.Context, tx *sqldb.Tx, country string) (known, said bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := tx.Now(); g.learned == nil || now.Sub(g.readAt) >= rereadEvery || now.Before(g.readAt) {
		all, err := countries(ctx, tx)
		if err != nil {
			return false, false, err
		}
		g.learned, g.readAt = map[string]bool{}, now
		for _, c := range append(all, g.Rules.Countries...) {
			g.learned[c] = c != everLearned
		}
		delete(g.learned, everLearned)
	}
	return g.learned[country], len(g.learned) > 0, nil
}

// Prune deletes what was spent over a month ago and returns how many rows that were.
func (g *Guard) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }
