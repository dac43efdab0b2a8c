package account

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
	"unique"

	"countersign/internal/platform/fault"
)

// maxReference is how many bytes an application's name for an account may have: a UUID, a number, a URL.
const maxReference = 128

// NewReference is what an application calls an account of its own. Two applications that use one name mean two accounts. Unlike what people
// type it is compared byte by byte. A malformed one is fault.Invalid "reference_malformed".
func NewReference(client, name string) (Identifier, error) {
	if name == "" || len(name) > maxReference || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }) {
		return Identifier{}, fault.New(fault.Invalid, "reference_malformed", errors.New("want 1 to 128 bytes of characters that print, without spaces"))
	}
	return Identifier{kind: Reference, normal: unique.Make(client + "\x00" + name)}, nil
}
