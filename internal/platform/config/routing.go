package config

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"
)

// route is a line of SMS.Routes: by which providers some messages go.
type route struct {
	Prefix, Country string // one of them, or neither
	What            string // code, notice, or empty for both
	Order           string // empty is SMS.Order
	Providers       []string
}

// rate is a line of SMS.Rates: so many at once, and then one each Every.
type rate struct {
	Every time.Duration
	Burst int
}

func orders() []string { return []string{"listed", "weighted", "cheapest", "fastest"} }

// Rules are SMS.Routes; Validate has refused others.
func (s SMS) Rules() (all []route) {
	for _, line := range s.Routes {
		r, _ := readRoute(line)
		all = append(all, r)
	}
	return all
}

// Shares are SMS.Weights by provider.
func (s SMS) Shares() map[string]int {
	out := map[string]int{}
	for name, text := range byBeginning(s.Weights) {
		out[name], _ = strconv.Atoi(text)
	}
	return out
}

// Paces are SMS.Rates by provider.
func (s SMS) Paces() map[string]rate {
	out := map[string]rate{}
	for name, text := range byBeginning(s.Rates) {
		out[name], _ = readRate(text)
	}
	return out
}

var (
	places = regexp.MustCompile(`^(?:(\+[0-9]{1,15})|([A-Z]{2})|\*)(?:/(code|notice))?$`)
	paces  = regexp.MustCompile(`^([1-9][0-9]{0,5})/([sm])(?::([1-9][0-9]{0,5}))?$`)
)

func readRoute(line string) (r route, ok bool) {
	where, names, _ := strings.Cut(line, "=")
	m := places.FindStringSubmatch(where)
	if m == nil {
		return r, false
	}
	r.Prefix, r.Country, r.What = m[1], m[2], m[3]
	if order, rest, found := strings.Cut(names, ":"); found {
		r.Order, names = order, rest
	}
	r.Providers = strings.Split(names, ",")
	known := r.Country == "" || phonenumbers.GetSupportedRegions()[r.Country]
	return r, known && (r.Order == "" || slices.Contains(orders(), r.Order))
}

// readRate reads 30/s, 600/m or, with what may go at once, 30/s:60. Turns are rounded up, so that no second has one too many.
func readRate(text string) (r rate, ok bool) {
	m := paces.FindStringSubmatch(text)
	if m == nil {
		return r, false
	}
	n, _ := strconv.Atoi(m[1])
	r.Burst, _ = strconv.Atoi(m[3])
	r.Every = time.Duration(math.Ceil(float64(map[string]time.Duration{"s": time.Second, "m": time.Minute}[m[2]]) / float64(n)))
	return r, true
}

// checkRouting looks at how one of several providers is chosen.
func (c Config) checkRouting(k *checker) {
	s := c.SMS
	all := s.Providers()
	if s.Order != "" { // as listed
		k.oneOf("sms.order", s.Order, orders()...)
	}
	cheapest := s.Order == "cheapest"
	seen := map[string]bool{}
	for _, line := range s.Routes {
		r, ok := readRoute(line)
		where, _, _ := strings.Cut(line, "=")
		k.want(ok, "sms.routes", "%q: want the beginning of a number, a country or *, perhaps with /code or /notice, and providers, perhaps with an order, such as +49=webhook,twilio or DE/code=cheapest:twilio,vonage", line)
		for i, name := range r.Providers {
			k.want(slices.Contains(all, name), "sms.routes", "%q: %q is not among sms.provider and sms.then: name it there first", line, name)
			k.want(slices.Index(r.Providers, name) == i, "sms.routes", "%q: %s stands there twice", line, name)
		}
		k.want(!seen[where], "sms.routes", "%s stands there twice", where)
		seen[where] = true
		cheapest = cheapest || r.Order == "cheapest"
	}
	k.want(!cheapest || c.Guard.Prices != "", "sms.order", "to know the cheapest takes prices: name a file as guard.prices")
	k.ofProviders("sms.weights", s.Weights, all, func(text string) bool {
		n, err := strconv.Atoi(text)
		return err == nil && n >= 0 && n <= 1000
	}, "a provider and its share, 0 to 1000, such as twilio=3")
	k.ofProviders("sms.rates", s.Rates, all, func(text string) bool { _, ok := readRate(text); return ok }, "a provider and what it takes, such as smpp=30/s, twilio=600/m or smpp=30/s:60")
}

// ofProviders looks at settings such as twilio=value.
func (k *checker) ofProviders(key string, lines, all []string, fits func(string) bool, want string) {
	for _, line := range lines {
		name, value, _ := strings.Cut(line, "=")
		k.want(fits(value), key, "%q: want %s", line, want)
		k.want(slices.Contains(all, name), key, "%q: %q is not among sms.provider and sms.then: name it there first", line, name)
	}
	k.want(len(byBeginning(lines)) == len(lines), key, "a provider stands there twice")
}
