// Package assurance says how much a sign-in proved: its level by NIST SP 800-63B-4, and its methods in the
// words of RFC 8176. Nobody else decides either.
//
// What cannot be shown is not claimed. A level is that of the sign-in itself: how long ago it was, and whether that is
// recent enough, is for whoever asks.
package assurance

import "iter"

// Method is one thing that a sign-in proved, as a session's row has it.
type Method string

// The methods. Those marked "to come" are written by nobody yet; their rules stand here so that whoever builds them
// finds the question answered.
const (
	Password Method = "password"
	SMS      Method = "sms"
	Email    Method = "email"
	OTP      Method = "otp"    // a code that an app or a hardware token computed; the level is the same for both
	Backup   Method = "backup" // a code of a list on paper
	Device   Method = "device" // a key in a remembered browser or app, which nothing keeps in hardware
	DBSC     Method = "dbsc"   // a key that the browser of a remembered device binds to the machine

	Passkey         Method = "passkey"                   // it showed that somebody is present, and no more
	PasskeyVerified Method = "passkey_verified"          // its user was verified; it is copied to their other devices
	PasskeyBound    Method = "passkey_bound_verified"    // the same, and it says that it is never copied
	PasskeyAttested Method = "passkey_attested_verified" // the same, and its maker attested a certified model that is hardware
	AppKey          Method = "app_key"                   // to come: a key in a phone's keystore, as the app says
	AppKeyAttested  Method = "app_key_attested"          // to come: the same, and the phone's maker attested it
	Approved        Method = "approved"                  // by another remembered device
)

// Level is an authenticator assurance level.
type Level string

// The levels. They sort as they rank.
const (
	None Level = "aal0" // nothing that was proved counts
	AAL1 Level = "aal1" // one factor
	AAL2 Level = "aal2" // two
	AAL3 Level = "aal3" // two, and a key in hardware, attested, that cannot be phished
)

// proof is what a method is worth.
type proof struct {
	known, had bool // which factors it proves: something known, something had
	hardware   bool // it is a key that AAL3 takes: attested hardware, bound to the name of our host
	amr        reference
}

// worth judges one method. Whatever is not listed, a word of a later release or of a former one, is worth nothing.
//
// RFC 8176 has no word for e-mail, nor for an approval by a device that is no authenticator itself: such a word would read
// stronger than the thing is. How a passkey verified its user it does not say, so no word says it.
func worth(m Method) proof {
	switch m {
	case Password:
		return proof{known: true, amr: pwd}
	case SMS: // restricted, but an authenticator (3.1.3.3, 3.2.9)
		return proof{had: true, amr: sms | mca}
	case OTP:
		return proof{had: true, amr: otp}
	case Backup: // a look-up secret (3.1.2); each is used once, as RFC 4949 has it of a one-time password
		return proof{had: true, amr: otp}
	case Email: // whoever has the password often has the mailbox: "shall not be used" (3.1.3.1)
		return proof{}
	case Device:
		// The key lies in the browser's profile, and whoever copies the profile has it. Nor is it asked for with
		// anybody's knowledge, and it may have been bound after a code by e-mail: it spares the second step and is none.
		return proof{amr: swk}
	case DBSC, AppKey: // as Device: where the key is kept the browser or the app says, and nobody attests
		return proof{amr: pop}
	case AppKeyAttested:
		return proof{had: true, amr: hwk}
	case Approved: // by a device whose own key is worth no more than Device
		return proof{}
	case Passkey: // without the flag that its user was verified it is one factor (3.1.7.2)
		return proof{had: true, amr: pop | user}
	case PasskeyVerified: // a copied key is kept by software; never AAL3 (2.3.2)
		return proof{known: true, had: true, amr: swk | user}
	case PasskeyBound: // that it is never copied is a flag that the authenticator sets itself: not enough for AAL3, nor for hwk
		return proof{known: true, had: true, amr: pop | user}
	case PasskeyAttested: // such sessions end within 12 hours (2.3.3)
		return proof{known: true, had: true, hardware: true, amr: hwk | user}
	}
	return proof{}
}

// Assurance is what a sign-in proved, all in all.
type Assurance struct {
	Level Level
	amr   reference
}

// Of judges the methods of a session as its row has them, in any order. Words that this release does not know neither
// raise the level nor lower it.
func Of(methods []string) Assurance {
	var all proof
	for _, m := range methods {
		p := worth(Method(m))
		all.known, all.had, all.hardware = all.known || p.known, all.had || p.had, all.hardware || p.hardware
		all.amr |= p.amr
	}
	two := all.known && all.had
	if two {
		all.amr |= mfa
	}
	switch {
	case two && all.hardware:
		return Assurance{AAL3, all.amr}
	case two:
		return Assurance{AAL2, all.amr}
	case all.known || all.had:
		return Assurance{AAL1, all.amr}
	}
	return Assurance{None, all.amr}
}

// reference is a set of authentication method references (RFC 8176).
type reference uint16

const (
	pwd reference = 1 << iota
	otp
	sms
	mca // more channels than one
	swk // a key that software keeps
	hwk // a key that hardware keeps
	pop // a key, and nobody knows what keeps it
	user
	mfa
)

var words = [...]string{"pwd", "otp", "sms", "mca", "swk", "hwk", "pop", "user", "mfa"} //nolint:gochecknoglobals // a constant

// AMR yields the authentication method references, always in the same order: what OpenID Connect calls amr.
func (a Assurance) AMR() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i, w := range words {
			if a.amr&(1<<i) != 0 && !yield(w) {
				return
			}
		}
	}
}
