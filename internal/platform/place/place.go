// Package place says roughly where an address of the network is, from a file that the operator
// names, in the MaxMind format (GeoLite2, DB-IP Lite and others). No call leaves the machine.
//
// It is a guess for people to recognise themselves by ("was that you, in Graz?"), and proves nothing.
package place

import (
	"maps"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// Place is roughly where something is: a city in a country, a country, or, as the zero Place, nowhere that is known.
type Place struct {
	Country   string            // ISO 3166, two capital letters
	Countries map[string]string // the country's name by language, where the file has one
	Cities    map[string]string // the city's name by language
}

// OfCountry is a country and no more of it; the zero Place if iso names none.
func OfCountry(iso string) Place {
	r, err := language.ParseRegion(iso)
	if err != nil || len(iso) != 2 || !r.IsCountry() {
		return Place{}
	}
	return Place{Country: r.String()}
}

// Known reports whether there is anything to show.
func (p Place) Known() bool { return p.In(english) != "" }

const english = "en"

// In names the place in a language: "Graz, Austria". A city without a name in the language has its
// English one, which is closer to what its people call it than nothing; a country always has one.
func (p Place) In(lang string) string {
	city := p.Cities[lang]
	if city == "" {
		city = p.Cities[english]
	}
	country := p.country(lang)
	switch {
	case city == "":
		return country
	case country == "":
		return city
	case lang == "ar":
		return city + "، " + country
	}
	return city + ", " + country
}

func (p Place) country(lang string) string {
	if name := p.Countries[lang]; name != "" {
		return name
	}
	if r, err := language.ParseRegion(p.Country); err == nil {
		if namer := display.Regions(language.Make(lang)); namer != nil {
			if name := namer.Name(r); name != "" {
				return name
			}
		}
	}
	return p.Countries[english]
}

// public reports whether an address can be anywhere: those of a house, a provider's inside or this machine cannot.
func public(a netip.Addr) bool {
	shared := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10) // RFC 6598
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}

// names keeps what can stand in a letter: a file is somebody else's.
func names(all map[string]string) map[string]string {
	maps.DeleteFunc(all, func(_, name string) bool {
		return name == "" || utf8.RuneCountInString(name) > 80 || !utf8.ValidString(name) ||
			strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) })
	})
	return all
}
