package device

import (
	"strings"
	"unicode"

	"github.com/mileusna/useragent"
)

// maxName is the longest name kept, in characters: what fits a line on a phone.
const maxName = 60

// NameOf describes a browser or app from its User-Agent, coarsely: "Firefox on Linux". It is a
// help for the owner's memory and decides nothing.
func NameOf(userAgent string) string {
	if len(userAgent) > 512 { // real ones have under 300
		userAgent = userAgent[:512]
	}
	ua := useragent.Parse(userAgent)
	switch {
	case ua.Name == "":
		return "Unknown device"
	case ua.OS == "":
		return clean(ua.Name)
	default:
		return clean(ua.Name + " on " + ua.OS)
	}
}

// clean is what prints of a name, or a name for what has none.
func clean(name string) string {
	if s := printable(name); s != "" {
		return s
	}
	return "Unknown device"
}

// printable drops what does not print (controls, bidi overrides, zero width) and cuts to maxName.
func printable(name string) string {
	name = strings.ToValidUTF8(name, "")
	var b strings.Builder
	n := 0
	for _, r := range name {
		if !unicode.IsPrint(r) {
			continue
		}
		if n++; n > maxName {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}
