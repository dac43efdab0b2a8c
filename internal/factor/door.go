package factor

import (
	"slices"
)

// Policy says when a second proof is asked for, and which will do.
type Policy string

// The policies, each stricter than the one before.
const (
	// Unrecognised asks whoever comes from a device that is not recognised (P5).
	Unrecognised Policy = "unrecognised_device"
	// Always asks at every sign-in; a device is recognised all the same, and its holder not told of a strange one.
	Always Policy = "always"
	// PhishingResistant asks at every sign-in for a passkey, which signs for our host alone. Until an account has one, any
	// other way opens a session that is good for nothing but enrolling one.
	PhishingResistant Policy = "phishing_resistant"
)

// Policies are all of them, the least strict first.
func Policies() []Policy { return []Policy{Unrecognised, Always, PhishingResistant} }

// Known reports whether there is such a policy.
func (p Policy) Known() bool { return slices.Contains(Policies(), p) }

// or is the stricter of two. What is none counts as the least strict.
func (p Policy) or(q Policy) Policy {
	all := Policies()
	return all[max(slices.Index(all, p), slices.Index(all, q), 0)]
}

// Door is the second door of an account: which proofs open it, and in which order they are offered.
type Door struct {
	Policy   Policy
	Order    []Way        // the holder's own
	Off      []Way        // of those that can be sent, which the holder does not want
	Weak     []Way        // not enough for what is asked for this time, where another is
	Stopped  []Way        // failed too often in a row: they open nothing before they are set up anew
	Sent     []Way        // that can be sent to the account
	Enrolled map[Way]bool // that the holder has set up
}

// best are the ways, the better first: see Way.
var best = []Way{Passkey, OTP, SMS, Email, Backup} //nolint:gochecknoglobals // a constant

// Offer lists the ways that open the door, the holder's own order first and then the better first.
func (d Door) Offer() (ways []Way) {
	for _, w := range append(slices.Clone(d.Order), best...) {
		if d.has(w) && d.Opens(w) && !slices.Contains(ways, w) {
			ways = append(ways, w)
		}
	}
	return ways
}

// OfferAll is the list where strangers come as far: whatever anybody may have set up, in one order. What can be sent is
// first, since most people have nothing enrolled, and nobody is told who has.
func (d Door) OfferAll() (ways []Way) {
	for _, w := range []Way{SMS, Email, Passkey, OTP, Backup} {
		if !w.Sent() || slices.Contains(d.Sent, w) {
			ways = append(ways, w)
		}
	}
	return ways
}

func (d Door) has(w Way) bool { return d.Enrolled[w] || slices.Contains(d.Sent, w) }

// All are the ways that the account has, whether or not they open the door, the better first.
func (d Door) All() (ways []Way) {
	for _, w := range best {
		if d.has(w) {
			ways = append(ways, w)
		}
	}
	return ways
}

// Opens reports whether a right proof by this way is taken. A way that the holder has turned off is taken again when
// nothing else is left but a list, which is for when nothing else is at hand: nobody shuts themselves out. What the holder has set
// up counts as left though it is stopped: a guesser must not choose the weaker door.
func (d Door) Opens(w Way) bool {
	if !d.may(w) {
		return false
	}
	if !slices.Contains(d.Off, w) {
		return true
	}
	return !slices.ContainsFunc(best, func(other Way) bool {
		return other != Backup && (d.Enrolled[other] || d.has(other) && d.may(other)) && !slices.Contains(d.Off, other)
	})
}

func (d Door) may(w Way) bool {
	if d.Policy == PhishingResistant && d.Enrolled[Passkey] {
		return w == Passkey
	}
	if slices.Contains(d.Stopped, w) || slices.Contains(d.Weak, w) {
		return false
	}
	// E-mail often needs only the password that may just have leaked: it opens the door only for an account with nothing better.
	return w != Email || !d.Enrolled[OTP] && !d.Enrolled[Passkey]
}
