// Package factor says which proofs an account has for the second door, and in which order.
package factor

import (
	"slices"

	"countersign/internal/account"
)

// Way is a way for a one-time code to reach its owner.
type Way string

// The ways, the better first: a text message needs the phone; e-mail often needs only the
// password that may just have leaked.
const (
	SMS   Way = "sms"
	Email Way = "email"
)

// Ways lists the ways an account's verified addresses give, the better first, each once.
// Every account has at least one (P5): an account is covered whether or not it enrolled anything.
func Ways(addresses []account.Address) []Way {
	var ways []Way
	for _, w := range []Way{SMS, Email} {
		if _, ok := Destination(addresses, w); ok {
			ways = append(ways, w)
		}
	}
	return ways
}

// Destination is the address a code by this way goes to: the first verified one of its kind.
func Destination(addresses []account.Address, w Way) (account.Address, bool) {
	kind := map[Way]account.Kind{SMS: account.Phone, Email: account.Email}[w]
	i := slices.IndexFunc(addresses, func(a account.Address) bool { return a.Kind == kind && a.Verified })
	if i < 0 {
		return account.Address{}, false
	}
	return addresses[i], true
}
