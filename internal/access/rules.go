// Package access decides which addresses of sites behind a proxy a session may open (forward-auth), and lets browsers carry a session from
// our host to theirs. It has no table: what a browser carries is sealed, and whether the session is still live is asked each time.
package access

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"countersign/internal/assurance"
)

// Who may open what a rule is about.
type Who string

// The words of a rule.
const (
	Anyone   Who = "anyone"
	SignedIn Who = "signed-in"
	Nobody   Who = "nobody"
)

// Rule is about the addresses of a site that begin with Path. Of several the first that fits counts; what none fits, nobody opens.
type Rule struct {
	Site    Site
	Path    string   // "/" is all of them
	Methods []string // none: all
	Need
}

// Need is what it takes to open something.
type Need struct {
	Who    Who
	Groups []string        // one of them
	Level  assurance.Level // at least; "" is any
	Within time.Duration   // since the person last proved who they are; 0: whenever
}

// Site is the origin of a site, such as https://wiki.example.org. A host that begins with *. is any below the rest.
type Site string

// fits returns the origin if the host of a request is the site's.
func (s Site) fits(host string) (origin string, ok bool) {
	scheme, pattern, _ := strings.Cut(string(s), "://")
	port := ":443"
	if scheme == "http" {
		port = ":80"
	}
	host = strings.TrimSuffix(strings.ToLower(host), port)
	rest, wild := strings.CutPrefix(pattern, "*")
	if wild {
		below, ok := strings.CutSuffix(host, rest)
		return scheme + "://" + host, ok && below != "" && strings.Trim(below, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
	}
	return string(s), host == pattern
}

// Asked is a request as the proxy tells of it.
type Asked struct {
	Method string
	Host   string // with the port, if it is not the scheme's own
	Path   string // as it was sent, with the query
}

// found is the rule that a request meets, and the origin of its site.
type found struct {
	origin string
	need   Need
	odd    bool // the site has rules by path, and this one can be read in two ways
}

// find returns the rule that fits; ok is false if the site is none of ours.
func find(rules []Rule, a Asked) (f found, ok bool) {
	f.need.Who = Nobody
	raw, _, _ := strings.Cut(a.Path, "?")
	path, plain := plainPath(raw)
	decided, byPath := false, false
	for _, r := range rules {
		origin, ours := r.Site.fits(a.Host)
		if !ours {
			continue
		}
		if !ok {
			f.origin, ok = origin, true
		}
		byPath = byPath || r.Path != "/"
		if !decided && (len(r.Methods) == 0 || slices.Contains(r.Methods, strings.ToUpper(a.Method))) && r.covers(path) {
			f.need, decided = r.Need, true
		}
	}
	f.odd = byPath && !plain
	return f, ok
}

// covers compares by whole segments. What lets everybody in is compared letter by letter; what asks for something covers other
// cases too, since to some applications /Admin is /admin.
func (r Rule) covers(path string) bool {
	begin := strings.TrimSuffix(r.Path, "/")
	if r.Who != Anyone {
		begin, path = strings.ToLower(begin), strings.ToLower(path)
	}
	rest, ok := strings.CutPrefix(path, begin)
	return ok && (rest == "" || rest[0] == '/')
}

// plainPath decodes a path. plain is false for one that an application may read otherwise than we do: with dots or empty parts to be
// resolved, a slash, an end or a per cent sign in disguise, parameters, or what is no path at all.
func plainPath(raw string) (path string, plain bool) {
	path, err := url.PathUnescape(raw)
	if err != nil || !strings.HasPrefix(path, "/") {
		return raw, false
	}
	coded := strings.ToLower(raw)
	for _, bad := range []string{"#", "%23", "%2f", "%3f", "%5c", "%25", "%00"} {
		if strings.Contains(coded, bad) {
			return path, false
		}
	}
	if strings.ContainsFunc(path, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' || c == ';' || c == '\ufffd' }) {
		return path, false
	}
	parts := strings.Split(path[1:], "/")
	for i, p := range parts {
		if p == "." || p == ".." || p == "" && i < len(parts)-1 {
			return path, false
		}
	}
	return path, true
}
