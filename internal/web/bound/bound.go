// Package bound is what every door knows of keys that browsers bind to the machine: the cookies they get for proofs, and where.
package bound

import (
	"net/http"
	"strings"

	"countersign/internal/platform/secret"
)

// RefreshPath is where browsers prove such keys. They drop a key for good at any 4xx but 403 and 429: so whoever is turned away
// there is told to come again.
const RefreshPath = "/dbsc/refresh"

const (
	// prefix with the end of a device's id is the name of its cookie: each account's device has one of its own.
	prefix = "__Host-cs_bound_"
	most   = 16 // of which most may be of devices that are over: the browser keeps the cookies for a month
)

// Cookie is the name of the cookie that a browser gets for a proof of a device's key.
func Cookie(device string) string { return prefix + device[max(0, len(device)-12):] }

// Cookies are those that came with a request, of whichever devices.
func Cookies(r *http.Request) (found []secret.Token) {
	for _, line := range r.Header["Cookie"] {
		for part := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(strings.Trim(part, " "), "=") // only spaces: see web.Cookie
			if strings.HasPrefix(name, prefix) {
				found = append(found, secret.Of(value))
			}
		}
	}
	return found[max(0, len(found)-most):] // browsers send the newest last
}
