// Package label cleans the names that people give to what is theirs.
package label

import (
	"strings"
	"unicode"
)

// longest is the longest name kept, in characters: what fits a line on a phone.
const longest = 60

// Clean drops what does not print (controls, bidi overrides, zero width) and cuts to 60 characters.
// It returns "" for a name in which nothing prints.
func Clean(name string) string {
	name = strings.ToValidUTF8(name, "")
	var b strings.Builder
	n := 0
	for _, r := range name {
		if !unicode.IsPrint(r) {
			continue
		}
		if n++; n > longest {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}
