package secret

import (
	"crypto/rand"
	"strings"
)

// paperAlphabet has no letter that is taken for a digit or another letter (Crockford's base32).
const paperAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// NewPaper returns a code to be kept on paper and typed some day: six groups of four, 120 bits.
func NewPaper() Token {
	raw := make([]byte, 24)
	_, _ = rand.Read(raw) // never fails
	var b strings.Builder
	for i, r := range raw {
		if i > 0 && i%4 == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(paperAlphabet[r%32])
	}
	return Of(b.String())
}

// ReadPaper is the code as it was meant, however it was typed: small letters, other hyphens or none, and the letters that
// the alphabet leaves out, for the digits they are taken for. Digest this, not what was typed.
func ReadPaper(typed Token) Token {
	return Of(strings.Map(func(r rune) rune {
		switch {
		case r == 'O':
			return '0'
		case r == 'I' || r == 'L':
			return '1'
		case strings.ContainsRune(paperAlphabet, r):
			return r
		}
		return -1
	}, strings.ToUpper(typed.Reveal())))
}
