// Package factor says which proofs an account has for the second door, and in which order.
package factor

import (
	"context"
	"slices"

	"countersign/internal/account"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// Way is where a one-time code comes from.
type Way string

// The ways, the better first: an app's or a token's code goes through nobody's hands; a text message
// needs the phone; e-mail often needs only the password that may just have leaked. A list's codes are
// for when nothing else is at hand.
const (
	OTP    Way = "otp"
	SMS    Way = "sms"
	Email  Way = "email"
	Backup Way = "backup"
)

// Sent reports whether a code by this way is sent to its owner.
func (w Way) Sent() bool { return w == SMS || w == Email }

// Typed is a kind of code that its holder has already: in an app, on a token, on a list.
type Typed interface {
	// Has reports whether an account has one enrolled.
	Has(ctx context.Context, tx *sqldb.Tx, id account.ID) (bool, error)
	// Spend uses a code up and reports whether it was right. Where none is enrolled it does the same work.
	Spend(ctx context.Context, tx *sqldb.Tx, id account.ID, code secret.Token) (right bool, err error)
}

// Offer lists the ways of a second door, the better first: those by which a code can be sent, and those that
// are enrolled. E-mail opens it only for an account with nothing better; with hidden, where strangers come as
// far, it is listed all the same, and no letter goes out (see Outdone). What can be sent is then listed first, since
// most people have nothing enrolled, and nobody is told who has.
func Offer(sent []Way, enrolled map[Way]bool, hidden bool) (ways []Way) {
	order := []Way{OTP, SMS, Email, Backup}
	if hidden {
		order = []Way{SMS, Email, OTP, Backup}
	}
	for _, w := range order {
		if enrolled[w] || slices.Contains(sent, w) && (hidden || !Outdone(w, enrolled)) {
			ways = append(ways, w)
		}
	}
	return ways
}

// Outdone reports whether an account has enrolled something that makes a way no second door.
func Outdone(w Way, enrolled map[Way]bool) bool { return w == Email && enrolled[OTP] }

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
