package totp

import (
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"countersign/internal/platform/secret"
)

// Kind is what a code is computed from, beside the secret.
type Kind string

// The kinds.
const (
	TOTP Kind = "totp" // the time (RFC 6238)
	HOTP Kind = "hotp" // a counter (RFC 4226)
)

// Algorithm is the hash under the HMAC, as otpauth:// names it.
type Algorithm string

// The algorithms.
const (
	SHA1   Algorithm = "SHA1"
	SHA256 Algorithm = "SHA256"
	SHA512 Algorithm = "SHA512"
)

// size is how many bytes a new secret has: as many as the hash, which RFC 4226 section 4 asks for.
func (a Algorithm) size() int {
	return map[Algorithm]int{SHA1: 20, SHA256: 32, SHA512: 64}[a]
}

func (a Algorithm) name() otp.Algorithm {
	return map[Algorithm]otp.Algorithm{SHA1: otp.AlgorithmSHA1, SHA256: otp.AlgorithmSHA256, SHA512: otp.AlgorithmSHA512}[a]
}

// Shape is how codes are computed.
type Shape struct {
	Kind      Kind
	Algorithm Algorithm
	Digits    int // 6 to 8
	Period    int // seconds of a step, 10 to 120; 0 for HOTP
}

// Default is what every app knows; some ignore what else they are told.
func Default() Shape { return Shape{Kind: TOTP, Algorithm: SHA1, Digits: 6, Period: 30} }

var (
	errKind      = errors.New("want totp or hotp")
	errAlgorithm = errors.New("want SHA1, SHA256 or SHA512")
	errDigits    = errors.New("want 6 to 8 digits")
	errPeriod    = errors.New("want a step of 10 to 120 seconds") // N-3.1.4.1-04: two minutes at the most
)

func (s Shape) check() error {
	switch {
	case s.Kind != TOTP && s.Kind != HOTP:
		return errKind
	case s.Algorithm.size() == 0:
		return errAlgorithm
	case s.Digits < 6 || s.Digits > 8:
		return errDigits
	case s.Kind == TOTP && (s.Period < 10 || s.Period > 120), s.Kind == HOTP && s.Period != 0:
		return errPeriod
	}
	return nil
}

const (
	// maxDrift is how many steps a clock may be wrong, either way: ten minutes of 30 seconds. Tokens stray by
	// some two minutes a year.
	maxDrift = 20
	// lookAhead is how many codes of a counter are tried: its button is pressed in pockets.
	lookAhead = 10
	// resyncAhead is how many are searched for two in a row.
	resyncAhead = 100
)

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding) //nolint:gochecknoglobals // a constant

// key computes the codes of one authenticator.
type key struct {
	row

	secret string // base32, as the library wants it
}

func newKey(raw []byte, r row) key { return key{row: r, secret: encoding.EncodeToString(raw)} }

// code is that of a step or counter. It is empty below zero, where there is none.
func (k key) code(at int64) string {
	if at < 0 {
		return ""
	}
	code, err := hotp.GenerateCodeCustom(k.secret, uint64(at), hotp.ValidateOpts{Digits: otp.Digits(k.shape.Digits), Algorithm: k.shape.Algorithm.name()})
	if err != nil { // a secret that is not base32, and newKey made it
		return ""
	}
	return code
}

// is compares in constant time.
func (k key) is(at int64, typed string) bool {
	return subtle.ConstantTimeCompare([]byte(k.code(at)), []byte(typed)) == 1 && typed != ""
}

// step is the clock's, by our time.
func (k key) step(now time.Time) int64 { return now.Unix() / int64(max(k.shape.Period, 1)) }

// span is a stretch of steps or counters, the last not included.
type span struct{ from, to int64 }

// around is where the first code of an authenticator may be, or two in a row of one that has strayed.
func (k key) around(now time.Time) span {
	if k.shape.Kind == HOTP {
		return span{k.next, k.next + lookAhead}
	}
	t := k.step(now)
	return span{t - maxDrift, t + maxDrift + 1}
}

// search looks through the whole span, whatever it finds.
func (k key) search(in span, typed string) (at int64, found bool) {
	for n := in.from; n < in.to; n++ {
		if k.is(n, typed) && n >= k.next {
			at, found = n, true
		}
	}
	return at, found
}

// checks is how many codes are computed for every authenticator at every check, whatever it is.
const checks = lookAhead + 1

// window lists the steps or counters whose code is looked at, always as many as checks. Those after the first n are
// not accepted: they are computed so that it takes as long.
//
// For a clock: the current step and the one before; and where the token's clock is known to differ, its
// current step and the ones beside it. For a counter: the next ten, and first the last one, to tell that it was
// used already.
func (k key) window(now time.Time) (at [checks]int64, n int) {
	add := func(one int64) {
		for _, there := range at[:n] {
			if there == one {
				return
			}
		}
		at[n] = one
		n++
	}
	if k.shape.Kind == HOTP {
		for i := range int64(checks) {
			add(k.next - 1 + i)
		}
		return at, n
	}
	t := k.step(now)
	add(t)
	add(t - 1)
	if k.drift != 0 {
		for _, beside := range []int64{0, -1, 1} {
			add(t + k.drift + beside)
		}
	}
	return at, n
}

// driftAt is how far ahead the token's clock is by a code that was right: what is kept of it.
//
// Whoever types slowly makes a clock look slow. With one that is fast that must not undo what was
// learned, since a fast clock's next code is accepted for no other reason. The plain window is open anyhow, so what a slow
// typist teaches costs nothing.
func (k key) driftAt(at int64, now time.Time) int64 {
	if k.shape.Kind == HOTP {
		return 0
	}
	seen := at - k.step(now)
	if late := k.drift - seen; k.drift > 0 && (late == 1 || late == 2) {
		return k.drift
	}
	return min(max(seen, -maxDrift), maxDrift)
}

// plain is a code as it was meant: apps show it in groups.
func plain(typed secret.Token) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, typed.Reveal())
}

// grouped is a secret as it is typed into an app: base32 in groups of four.
func grouped(raw []byte) string {
	var b strings.Builder
	for i, r := range encoding.EncodeToString(raw) {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func (s Shape) String() string {
	if s.Kind == HOTP {
		return fmt.Sprintf("hotp, %s, %d digits", s.Algorithm, s.Digits)
	}
	return fmt.Sprintf("totp, %s, %d digits, %d s", s.Algorithm, s.Digits, s.Period)
}
