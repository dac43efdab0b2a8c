// Package clientip finds the address a request came from, believing only proxies it was told to trust.
//
// A header is a claim. What the connection says is a fact, and what a trusted proxy appended is
// as good as the proxy; everything to the left of that was written by a stranger.
package clientip

import (
	"net/http"
	"net/netip"
	"strings"
)

// Source says which header the trusted proxies write.
type Source string

// The sources. A proxy that writes one of them passes the other through as the stranger sent
// it, so exactly one is ever read.
const (
	XForwardedFor Source = "x-forwarded-for"
	Forwarded     Source = "forwarded" // RFC 7239
)

// Finder finds addresses. The zero Finder trusts nobody and returns the peer's address.
type Finder struct {
	Trusted []netip.Prefix
	Source  Source // XForwardedFor when empty
}

// maxHops bounds the walk: no real chain of trusted proxies is longer.
const maxHops = 16

// Of returns the client's address: the first, from the right, that is not a trusted proxy's.
// If any address that has to be believed is malformed, it returns the peer's. The result is
// unmapped and has no zone; it is invalid only for a peer that has no address.
func (f Finder) Of(r *http.Request) netip.Addr {
	peer := parse(r.RemoteAddr)
	if !f.trusts(peer) {
		return peer
	}
	hops, ok := f.hops(r.Header)
	if !ok {
		return peer
	}
	found := peer
	for i := len(hops) - 1; i >= 0 && len(hops)-i <= maxHops; i-- {
		found = parse(hops[i])
		if !found.IsValid() {
			return peer
		}
		if !f.trusts(found) {
			break
		}
	}
	return found
}

func (f Finder) trusts(a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	for _, p := range f.Trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// hops returns the chain, nearest last. Several header lines are one list (RFC 9110, 5.3).
func (f Finder) hops(h http.Header) (hops []string, ok bool) {
	name := "X-Forwarded-For"
	if f.Source == Forwarded {
		name = "Forwarded"
	}
	for _, line := range h[name] {
		for part := range strings.SplitSeq(line, ",") {
			part = strings.TrimSpace(part)
			if f.Source == Forwarded {
				part = forwardedFor(part)
			}
			hops = append(hops, part)
		}
	}
	return hops, len(hops) > 0
}

// forwardedFor returns the for= of one element of a Forwarded header, or "", which is malformed.
// A comma or semicolon inside quotes splits the element and makes it malformed too: no address has one.
func forwardedFor(element string) (node string) {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if !strings.EqualFold(name, "for") {
			continue
		}
		if node != "" {
			return ""
		}
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		node = value
	}
	return node
}

// parse reads "1.2.3.4", "1.2.3.4:5", "::1", "[::1]" and "[::1]:5".
func parse(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return normal(ap.Addr())
	}
	if len(s) >= 2 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
		if !strings.Contains(s, ":") {
			return netip.Addr{}
		}
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return normal(a)
}

// normal makes equal what is one place: ::ffff:192.0.2.1 is 192.0.2.1, and a zone is the proxy's affair.
func normal(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
