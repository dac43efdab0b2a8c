package factor_test

import (
	"slices"
	"testing"

	"countersign/internal/factor"
)

func enrolled(ways ...factor.Way) map[factor.Way]bool {
	all := map[factor.Way]bool{}
	for _, w := range ways {
		all[w] = true
	}
	return all
}

func TestADoorOffersWhatOpensIt(t *testing.T) {
	const p, o, s, e, b = factor.Passkey, factor.OTP, factor.SMS, factor.Email, factor.Backup
	both, everything := []factor.Way{s, e}, enrolled(p, o, b)
	for what, c := range map[string]struct {
		door factor.Door
		want []factor.Way
	}{
		"what can be sent, the better first":                  {factor.Door{Sent: []factor.Way{e, s}}, []factor.Way{s, e}},
		"the strongest first, and no letters (decision 0012)": {factor.Door{Sent: both, Enrolled: everything}, []factor.Way{p, o, s, b}},
		"the holder's own order":                              {factor.Door{Sent: both, Enrolled: everything, Order: []factor.Way{b, s}}, []factor.Way{b, s, p, o}},
		"an order opens nothing":                              {factor.Door{Sent: both, Enrolled: enrolled(o), Order: []factor.Way{e, p, o}}, []factor.Way{o, s}},
		"what is turned off":                                  {factor.Door{Sent: both, Enrolled: enrolled(o), Off: []factor.Way{s}}, []factor.Way{o}},
		"turned off, and the other is left":                   {factor.Door{Sent: both, Off: []factor.Way{s}}, []factor.Way{e}},
		"everything turned off is back":                       {factor.Door{Sent: both, Off: both}, both},
		"a list is for when nothing else is at hand":          {factor.Door{Sent: []factor.Way{s}, Enrolled: enrolled(b), Off: []factor.Way{s}}, []factor.Way{s, b}},
		"stopped":                           {factor.Door{Sent: both, Enrolled: enrolled(o), Stopped: []factor.Way{o}}, []factor.Way{s}},
		"turned off, and the other stopped": {factor.Door{Sent: both, Off: []factor.Way{s}, Stopped: []factor.Way{e}}, []factor.Way{s}},
		"turned off, and the app stopped: no weaker door": {factor.Door{Sent: both, Enrolled: enrolled(o), Off: []factor.Way{s}, Stopped: []factor.Way{o}}, nil},
		"phishing-resistant":                              {factor.Door{Policy: factor.PhishingResistant, Sent: both, Enrolled: everything, Order: []factor.Way{s}}, []factor.Way{p}},
		"phishing-resistant, and none there yet":          {factor.Door{Policy: factor.PhishingResistant, Sent: both, Enrolled: enrolled(o)}, []factor.Way{o, s}},
	} {
		if got := c.door.Offer(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
		for _, w := range c.door.All() {
			if c.door.Opens(w) != slices.Contains(c.want, w) {
				t.Errorf("%s: opens by %s: %t", what, w, c.door.Opens(w))
			}
		}
	}
	hidden := factor.Door{Sent: []factor.Way{e}, Policy: factor.PhishingResistant, Enrolled: everything}
	if got := hidden.OfferAll(); !slices.Equal(got, []factor.Way{e, p, o, b}) {
		t.Errorf("where strangers come as far: %v", got)
	}
}

func TestChoicesThatAreNone(t *testing.T) {
	for what, c := range map[string]factor.Choice{
		"a way twice":           {Order: []factor.Way{factor.SMS, factor.SMS}},
		"a way nobody knows":    {Order: []factor.Way{"carrier pigeon"}},
		"another's approval":    {Order: []factor.Way{factor.Approve}},
		"what cannot be off":    {Off: []factor.Way{factor.Passkey}},
		"a policy nobody has":   {Holder: "never"},
		"one of the operator's": {Operator: "sometimes"},
		"a passkey alone":       {Holder: factor.PhishingResistant}, // by whoever has their session, and a passkey of their own
	} {
		if c.Check() == nil {
			t.Errorf("%s is taken", what)
		}
	}
	if err := (factor.Choice{Holder: factor.Always, Order: []factor.Way{factor.SMS, factor.Passkey}, Off: []factor.Way{factor.Email}}).Check(); err != nil {
		t.Error(err)
	}
}
