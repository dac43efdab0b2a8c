package password

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"countersign/internal/platform/fault"
)

// Policy says which passwords may be chosen. There are no composition rules and no expiry.
type Policy struct {
	// Min is the fewest code points. 0 means 15, for a password that may be the only proof;
	// 8 is the least, and only for a server that asks everybody for a second proof every time.
	Min int
	// Max is the most code points: 0 means 1024, 64 is the least.
	Max int
	// Words are names a stranger would try here: the site, the company, its products.
	Words []string
}

func (p Policy) withDefaults() (Policy, error) {
	if p.Min == 0 {
		p.Min = 15
	}
	if p.Max == 0 {
		p.Max = 1024
	}
	if p.Min < 8 || p.Max < 64 || p.Max < p.Min {
		return p, errors.New("the password policy must let the shortest be at least 8, and the longest at least 64")
	}
	return p, nil
}

// maxBytes bounds the input before any work. NFC makes one code point of at most four.
func (p Policy) maxBytes() int { return p.Max * utf8.UTFMax * 4 }

// Check says whether plain may be chosen: nil, or fault.Invalid with the code
// password_malformed, password_too_short, password_too_long, password_context or
// password_common. The error tells the reason and never the password.
//
// The whole password is judged, never a part of it. It is refused if it is on the list of
// common passwords or on nobody's list but made entirely from one entry by a rule that
// guessing programs try: the same word over and over, a run of neighbours on the keyboard
// or in the alphabet, a few digits around it. A password that merely contains a listed
// word is not refused.
func (s *Service) Check(plain string, personal []string) error {
	if len(plain) > s.policy.maxBytes() {
		return refuse("password_too_long", "it is too long")
	}
	if !utf8.ValidString(plain) || strings.ContainsRune(plain, 0) {
		return refuse("password_malformed", "it is not text")
	}
	switch n := utf8.RuneCount(normal(plain)); {
	case n < s.policy.Min:
		return refuse("password_too_short", "it is too short")
	case n > s.policy.Max:
		return refuse("password_too_long", "it is too long")
	}
	guess := newGuess(plain, append(words(s.policy.Words), words(personal)...))
	switch {
	case guess.fromContext():
		return refuse("password_context", "it is made of names and addresses that belong to the person or the site")
	case guess.listed():
		return refuse("password_common", "it is one of the commonest passwords")
	case guess.patterned():
		return refuse("password_common", "it is a common word, a keyboard pattern or a sequence, repeated or padded")
	}
	return nil
}

func refuse(code, why string) error { return fault.New(fault.Invalid, code, errors.New(why)) }

// fold is how passwords and words are compared for guessability only, never for verifying.
func fold(s string) string { return strings.ToLower(norm.NFKC.String(s)) }

// words returns the context words, folded, and their parts: an address is also its local
// part and its domain's labels. Parts under three letters would match by chance.
func words(context []string) []string {
	var out []string
	for _, text := range context {
		text = fold(text)
		parts := strings.FieldsFunc(text, func(r rune) bool { return !unicode.In(r, unicode.L, unicode.M, unicode.N) })
		for _, w := range append(parts, text, strings.Join(parts, "")) {
			if utf8.RuneCountInString(w) >= 3 {
				out = append(out, w)
			}
		}
	}
	return out
}
