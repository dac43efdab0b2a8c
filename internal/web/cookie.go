package web

import (
	"net/http"
	"strings"
	"time"

	"countersign/internal/platform/secret"
)

// The cookies. All are __Host-: bound to this origin, so no neighbour on a sister domain can plant one.
const (
	SessionCookie = "__Host-cs_session" // the session's token; ends with the browser
	BrowserCookie = "__Host-cs_browser" // binds a sign-in to the browser that began it; ends with the browser
	DeviceCookie  = "__Host-cs_device"  // handles of remembered devices, newest first, joined with "."
	LangCookie    = "__Host-cs_lang"    // the language that the person has chosen; no secret
)

// SetCookie sets one of our cookies. A keep of zero lasts until the browser closes; a negative one removes the cookie.
func SetCookie(w http.ResponseWriter, name string, value secret.Token, keep time.Duration) {
	c := &http.Cookie{
		Name: name, Value: value.Reveal(), Path: "/", Secure: true, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, MaxAge: int(keep.Seconds()),
	}
	if keep < 0 {
		c.MaxAge = -1 // a fraction of a second would round to "until the browser closes"
	}
	http.SetCookie(w, c)
}

// Cookie returns the value of a cookie, or nothing. It does not allocate. Of two cookies with one
// name it returns nothing: a browser never sends two of a __Host- name, so somebody else wrote them.
//
// Only spaces are trimmed, no other white space: behind that a browser does not see the prefix
// __Host-, and a neighbour's cookie would pass for ours.
func Cookie(r *http.Request, name string) secret.Token {
	var found string
	for _, line := range r.Header["Cookie"] {
		for line != "" {
			var part string
			part, line, _ = strings.Cut(line, ";")
			key, value, _ := strings.Cut(strings.Trim(part, " "), "=")
			if key != name {
				continue
			}
			if found != "" {
				return secret.Token{}
			}
			found = value
		}
	}
	return secret.Of(found)
}
