package clientip_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"countersign/internal/platform/clientip"
)

// an end user cannot choose the address that limits count by.
func TestOnlyTrustedProxiesAreBelieved(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, c := range map[string]struct {
		peer    string
		xff     []string
		other   map[string]string
		source  clientip.Source
		trusted []netip.Prefix
		want    string
	}{
		"no proxy":                                      {peer: "192.0.2.1:1234", want: "192.0.2.1"},
		"forged by an untrusted peer":                   {peer: "192.0.2.1:1", xff: []string{"203.0.113.9"}, trusted: proxies, want: "192.0.2.1"},
		"forged when nobody is trusted":                 {peer: "10.0.0.1:1", xff: []string{"203.0.113.9"}, want: "10.0.0.1"},
		"one proxy":                                     {peer: "10.0.0.1:1", xff: []string{"203.0.113.9"}, trusted: proxies, want: "203.0.113.9"},
		"the stranger's own entry stands left":          {peer: "10.0.0.1:1", xff: []string{"198.51.100.7, 203.0.113.9"}, trusted: proxies, want: "203.0.113.9"},
		"the stranger claims to be a proxy":             {peer: "10.0.0.1:1", xff: []string{"198.51.100.7, 10.9.9.9, 203.0.113.9, 10.0.0.2"}, trusted: proxies, want: "203.0.113.9"},
		"two proxies":                                   {peer: "10.0.0.1:1", xff: []string{"203.0.113.9, 10.0.0.2"}, trusted: proxies, want: "203.0.113.9"},
		"several lines are one list":                    {peer: "10.0.0.1:1", xff: []string{"198.51.100.7", "203.0.113.9"}, trusted: proxies, want: "203.0.113.9"},
		"from inside":                                   {peer: "10.0.0.1:1", xff: []string{"10.0.0.7"}, trusted: proxies, want: "10.0.0.7"},
		"no header":                                     {peer: "10.0.0.1:1", trusted: proxies, want: "10.0.0.1"},
		"empty header":                                  {peer: "10.0.0.1:1", xff: []string{""}, trusted: proxies, want: "10.0.0.1"},
		"malformed nearest":                             {peer: "10.0.0.1:1", xff: []string{"203.0.113.9, unknown"}, trusted: proxies, want: "10.0.0.1"},
		"malformed beyond what is believed":             {peer: "10.0.0.1:1", xff: []string{"<script>, 203.0.113.9"}, trusted: proxies, want: "203.0.113.9"},
		"malformed behind a trusted one":                {peer: "10.0.0.1:1", xff: []string{"';--, 10.0.0.2"}, trusted: proxies, want: "10.0.0.1"},
		"empty element":                                 {peer: "10.0.0.1:1", xff: []string{"203.0.113.9,"}, trusted: proxies, want: "10.0.0.1"},
		"octal is not an address":                       {peer: "10.0.0.1:1", xff: []string{"0177.0.0.1"}, trusted: proxies, want: "10.0.0.1"},
		"with a port":                                   {peer: "10.0.0.1:1", xff: []string{"203.0.113.9:443"}, trusted: proxies, want: "203.0.113.9"},
		"IPv6 with a port":                              {peer: "[fd00::1]:1", xff: []string{"[2001:db8::5]:443"}, trusted: proxies, want: "2001:db8::5"},
		"IPv6 in brackets":                              {peer: "[fd00::1]:1", xff: []string{"[2001:db8::5]"}, trusted: proxies, want: "2001:db8::5"},
		"IPv4 in brackets":                              {peer: "[fd00::1]:1", xff: []string{"[192.0.2.1]"}, trusted: proxies, want: "fd00::1"},
		"mapped peer":                                   {peer: "[::ffff:192.0.2.1]:1", want: "192.0.2.1"},
		"mapped proxy is trusted as what it is":         {peer: "[::ffff:10.0.0.1]:1", xff: []string{"203.0.113.9"}, trusted: proxies, want: "203.0.113.9"},
		"mapped client is one client":                   {peer: "10.0.0.1:1", xff: []string{"::ffff:203.0.113.9"}, trusted: proxies, want: "203.0.113.9"},
		"zone":                                          {peer: "[fe80::1%eth0]:1", want: "fe80::1"},
		"Forwarded ignored unless chosen":               {peer: "10.0.0.1:1", other: map[string]string{"Forwarded": "for=203.0.113.9"}, trusted: proxies, want: "10.0.0.1"},
		"X-Real-IP and friends ignored":                 {peer: "10.0.0.1:1", other: map[string]string{"X-Real-Ip": "203.0.113.9", "True-Client-Ip": "203.0.113.9"}, trusted: proxies, want: "10.0.0.1"},
		"Forwarded when chosen":                         {peer: "10.0.0.1:1", source: clientip.Forwarded, other: map[string]string{"Forwarded": `for=198.51.100.7, by=10.0.0.1;For="[2001:db8::5]:99";proto=https`}, trusted: proxies, want: "2001:db8::5"},
		"X-Forwarded-For ignored when Forwarded chosen": {peer: "10.0.0.1:1", source: clientip.Forwarded, xff: []string{"203.0.113.9"}, trusted: proxies, want: "10.0.0.1"},
		"Forwarded with two for":                        {peer: "10.0.0.1:1", source: clientip.Forwarded, other: map[string]string{"Forwarded": `for=203.0.113.9;for=198.51.100.7`}, trusted: proxies, want: "10.0.0.1"},
		"obfuscated node":                               {peer: "10.0.0.1:1", source: clientip.Forwarded, other: map[string]string{"Forwarded": `for=_hidden`}, trusted: proxies, want: "10.0.0.1"},
		"endless chain":                                 {peer: "10.0.0.1:1", xff: []string{"203.0.113.9" + strings.Repeat(", 10.0.0.2", 500)}, trusted: proxies, want: "10.0.0.2"},
		"no address":                                    {peer: "@", want: "invalid IP"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: c.peer, Header: http.Header{}}
			if c.xff != nil {
				r.Header["X-Forwarded-For"] = c.xff
			}
			for k, v := range c.other {
				r.Header.Set(k, v)
			}
			got := clientip.Finder{Trusted: c.trusted, Source: c.source}.Of(r)
			if got.String() != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
