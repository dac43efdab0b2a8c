package failover

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"time"

	"countersign/internal/courier"
	"countersign/internal/guard"
)

// Order is how the next provider is chosen of those that a letter may go by.
type Order string

// The orders. An order of equals is the one in which they are listed.
const (
	Listed   Order = "listed"
	Weighted Order = "weighted" // each has its share
	Cheapest Order = "cheapest" // by the operator's prices
	Fastest  Order = "fastest"  // by how long letters to the country took to be delivered of late
)

// Policy is what the operator wants of all providers. The zero Policy asks them as they are listed.
type Policy struct {
	Order   Order                                    // where a rule has none; empty is Listed
	Weights map[string]int                           // of providers; one that is not there has 1, and one with 0 is asked last
	Rates   map[string]Rate                          // of providers; one that is not there has none
	Price   func(provider, to string) (micros int64) // what a message costs; nil where nobody knows
}

// Rule says by which providers, in which order, some letters go. Of those that fit a letter the narrowest counts: the longest beginning, then a country,
// then one for all; and of two for one place, the one for what the letter is.
type Rule struct {
	Prefix    string // of a number in E.164; "" is for all
	Providers []string
	Country   string // ISO 3166, in the place of a prefix
	What      What
	Order     Order // empty: the policy's
}

// What is what letters a rule is for.
type What string

// What there is.
const (
	Codes   What = "code"   // letters with a code that somebody waits for
	Notices What = "notice" // all others
)

func (r Rule) narrower(o Rule) int {
	breadth := func(s string) int { return map[bool]int{true: 1}[s == ""] }
	return cmp.Or(len(o.Prefix)-len(r.Prefix), breadth(r.Country)-breadth(o.Country), breadth(string(r.What))-breadth(string(o.What)))
}

func (r Rule) fits(m courier.Message, country string) bool {
	what := Notices
	if m.Code {
		what = Codes
	}
	return strings.HasPrefix(m.To, r.Prefix) && (r.Country == "" || r.Country == country) && (r.What == "" || r.What == what)
}

func (f *Provider) rule(m courier.Message, country string) Rule {
	i := slices.IndexFunc(f.rules, func(r Rule) bool { return r.fits(m, country) }) // the last fits all
	r := f.rules[i]
	r.Order = cmp.Or(r.Order, f.policy.Order, Listed)
	return r
}

// First is by which provider a message would go if all worked and nothing was known of their speed.
func (f *Provider) First(m courier.Message) string {
	r := f.rule(m, guard.Region(m.To))
	if r.Order == Fastest {
		r.Order = Listed
	}
	if all := f.ranked(m, r, ""); len(all) > 0 {
		return all[0].Name()
	}
	return f.Name()
}

// order is by which providers a letter may go, the better first. Those by which somebody waits in vain come last, whatever is said of them; before them,
// those that do badly in the country.
func (f *Provider) order(m courier.Message) []*leg {
	country, now := guard.Region(m.To), f.now()
	all := f.ranked(m, f.rule(m, country), country)
	tried := strings.Split(m.Tried, ",")
	rank := map[*leg]int{}
	for _, l := range all {
		if i := slices.Index(tried, l.Name()); i >= 0 {
			rank[l] = 2 + len(tried) - i // the latest last
		} else if !f.healthy(l, country, now) && !f.sees(m, l) {
			rank[l] = 1
		}
	}
	slices.SortStableFunc(all, func(a, b *leg) int { return rank[a] - rank[b] })
	return all
}

// ranked are those of a rule's providers that carry a letter, in its order.
func (f *Provider) ranked(m courier.Message, r Rule, country string) []*leg {
	var all []*leg
	for _, name := range r.Providers {
		l := f.legs[name]
		if p, ok := l.Provider.(courier.Particular); !ok || p.Carries(m) {
			all = append(all, l)
		}
	}
	key := map[*leg]float64{}
	switch r.Order {
	case Weighted:
		for _, l := range all {
			key[l] = f.draw(m, l)
		}
	case Cheapest:
		for _, l := range all {
			if f.policy.Price != nil {
				key[l] = float64(f.policy.Price(l.Name(), m.To))
			}
		}
	case Fastest:
		for _, l := range all {
			took, known := l.speed(country, f.now())
			switch {
			case known:
				key[l] = took.Seconds()
			case f.sees(m, l):
				key[l] = -1
			default:
				key[l] = math.Inf(1)
			}
		}
	case Listed:
	}
	slices.SortStableFunc(all, func(a, b *leg) int { return cmp.Compare(key[a], key[b]) })
	return all
}

// draw is a lot, the smaller the better, by which each provider comes first as often as its weight says (Efraimidis and Spirakis, 2006). It is drawn of
// the letter's id: a letter that is tried again goes by the same provider, which knows it by that id.
func (f *Provider) draw(m courier.Message, l *leg) float64 {
	weight, set := f.policy.Weights[l.Name()]
	if !set {
		weight = 1
	}
	if weight == 0 {
		return math.Inf(1)
	}
	u := (float64(lot(m.ID, l.Name())>>11) + 1) / (1 << 53) // above 0, and at most 1
	return -math.Log(u) / float64(weight)
}

// looks is how many letters of a hundred go to see how a provider does that would get none otherwise: enough to learn it within minutes where it matters, and
// few enough for those who wait in vain, who ask for another.
const looks = 5

// sees reports whether a letter goes to see how a provider does.
func (f *Provider) sees(m courier.Message, l *leg) bool {
	return lot("see "+m.ID, l.Name())%100 < looks
}

// lot is drawn once a letter and provider.
func lot(id, provider string) uint64 {
	sum := sha256.Sum256([]byte(id + "\n" + provider))
	return binary.BigEndian.Uint64(sum[:])
}

// speed is the median of how long letters to a country took to be delivered of late, once that is known of a few.
func (l *leg) speed(country string, now time.Time) (median time.Duration, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []time.Duration
	for _, a := range l.told[country] {
		if a.ok && now.Sub(a.at) < fresh {
			all = append(all, a.took)
		}
	}
	if len(all) < few {
		return 0, false
	}
	slices.Sort(all)
	return all[len(all)/2], true
}
