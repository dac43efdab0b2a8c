package device

import (
	"github.com/mileusna/useragent"

	"countersign/internal/platform/label"
)

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
	if s := label.Clean(name); s != "" {
		return s
	}
	return "Unknown device"
}
