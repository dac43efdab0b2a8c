package registration

import (
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"countersign/internal/platform/fault"
)

// Claim is something that the operator asks people for: a standard claim of OpenID Connect, or one of
// the operator's own.
type Claim struct {
	Name     string
	Required bool
}

// Problem is what keeps an account from being opened: which field, and which code says why. The address
// has been proved by then, so there is no harm in saying it.
type Problem struct{ Field, Code string }

// The fields of a Problem that are no claims.
const (
	FieldPassword = "password"
	FieldTerms    = "terms"
)

// maxClaim is the longest value of a claim, in characters.
const maxClaim = 200

// answers checks what people said, and returns it as it is kept.
func (r Rules) answers(given map[string]string, today time.Time) (kept map[string]string, problems []Problem) {
	kept = map[string]string{}
	for _, c := range r.Claims {
		value := norm.NFC.String(strings.TrimSpace(given[c.Name]))
		switch {
		case value == "" && c.Required:
			problems = append(problems, Problem{Field: c.Name, Code: "claim_missing"})
		case value != "" && !c.fits(value, today):
			problems = append(problems, Problem{Field: c.Name, Code: "claim_malformed"})
		case value != "":
			kept[c.Name] = value
		}
	}
	for name := range given { // an app that sends what nobody asked for must not believe that it is kept
		if !slices.ContainsFunc(r.Claims, func(c Claim) bool { return c.Name == name }) {
			problems = append(problems, Problem{Field: name, Code: "claim_malformed"})
		}
	}
	return kept, problems
}

var zone = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$`)

// fits says whether a value is what its claim is: one line of text, a date, or a time zone's name.
func (c Claim) fits(value string, today time.Time) bool {
	if !utf8.ValidString(value) || utf8.RuneCountInString(value) > maxClaim || strings.ContainsFunc(value, hidden) {
		return false
	}
	switch c.Name {
	case "birthdate":
		day, err := time.Parse(time.DateOnly, value)
		return err == nil && day.Year() >= 1900 && day.Before(today.UTC().AddDate(0, 0, 1))
	case "zoneinfo":
		return zone.MatchString(value)
	}
	return true
}

// hidden finds what could begin a new line, turn text around or show nothing. Joiners stay: names of
// some languages need them.
func hidden(r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	return r != nonJoiner && r != joiner &&
		(unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) || r == utf8.RuneError)
}

// checks collects everything that is wrong with what people sent.
func (s *Service) checks(f flow, a About) (kept map[string]string, problems []Problem, err error) {
	kept, problems = s.Rules.answers(a.Claims, s.DB.Now())
	personal := []string{f.Address.Normal()}
	for _, value := range kept {
		personal = append(personal, value)
	}
	if err := s.Passwords.Check(a.Password, personal); err != nil {
		reason := fault.Of(err)
		if reason.Kind != fault.Invalid {
			return nil, nil, err
		}
		problems = append(problems, Problem{Field: FieldPassword, Code: reason.Code})
	}
	if t := s.Rules.Terms; t.URL != "" && a.Terms != t.Version {
		problems = append(problems, Problem{Field: FieldTerms, Code: "terms_not_accepted"})
	}
	return kept, problems, nil
}
