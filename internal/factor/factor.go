// Package factor says which proofs an account has for the second door, and in which order.
package factor

import (
	"slices"

	"countersign/internal/account"
)

// Way is where a one-time code comes from.
type Way string

// The ways, the better first: a passkey signs for our host alone, so that nothing of it can be passed on; an app's
// or a token's code goes through nobody's hands; a text message needs the phone; e-mail often needs only the
// password that may just have leaked. A list's codes are for when nothing else is at hand.
const (
	Passkey Way = "passkey"
	OTP     Way = "otp"
	SMS     Way = "sms"
	Email   Way = "email"
	Backup  Way = "backup"
	// Approve is no code: a device that is recognised lets this one in.
	Approve Way = "approve"
)

// Sent reports whether a code by this way is sent to its owner.
func (w Way) Sent() bool { return w == SMS || w == Email }

// Typed reports whether by this way comes a code that its owner has already: in an app, on a token, on a list.
func (w Way) Typed() bool { return w == OTP || w == Backup }

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
