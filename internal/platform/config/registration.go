package config

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// registration is how people open accounts. What the claims mean, the domain knows.
type registration struct {
	Mode         string   `toml:"mode" doc:"open (everybody), invitation (whoever has a link of countersign invite create), or closed. Closed by default, so that an update opens no door that was not there."`
	TermsURL     string   `toml:"terms_url" doc:"Where your terms of use stand. People must accept them; empty asks for nothing."`
	TermsVersion string   `toml:"terms_version" doc:"Which text that is, such as \"2026-11\". It is kept with the time of the consent."`
	Claims       []string `toml:"claims" doc:"What else to ask for: name, given_name, middle_name, family_name, nickname, gender, birthdate, zoneinfo (the standard claims of OpenID Connect), or names of your own. A ! behind a name requires it."`
	ClaimLabels  []string `toml:"claim_labels" doc:"What people read beside claims of your own, such as \"team=Team\", and in another language \"team:de=Mannschaft\". They replace our words for standard claims, too."`
}

func (c Config) checkRegistration(k *checker) {
	r := c.Registration
	k.oneOf("registration.mode", r.Mode, "open", "invitation", "closed")
	k.want((r.TermsURL == "") == (r.TermsVersion == ""), "registration.terms_url", "terms_url and terms_version go together: set both or neither")
	k.want(utf8.RuneCountInString(r.TermsVersion) <= 64 && !strings.ContainsFunc(r.TermsVersion, unicode.IsControl),
		"registration.terms_version", "want at most 64 characters without line breaks")
	if r.TermsURL != "" {
		k.outbound("registration.terms_url", r.TermsURL)
	}
}
