package registration

import (
	"errors"
	"fmt"
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
	Labels   map[string]string // the operator's words for it by language; "" is for those that have none
}

// StandardClaims are those that the pages have words for.
func StandardClaims() []string {
	return []string{"name", "given_name", "middle_name", "family_name", "nickname", "gender", "birthdate", "zoneinfo"}
}

// ours are claims that nobody can be asked for: we say them, or the protocol does.
//
//nolint:gochecknoglobals // a constant table
var ours = []string{
	"sub", "email", "email_verified", "phone_number", "phone_number_verified", "address", "locale", "updated_at", "preferred_username",
	"profile", "picture", "website", "iss", "aud", "exp", "iat", "nbf", "jti", "auth_time", "nonce", "acr", "amr", "azp", "sid", "scope", "roles", "groups",
}

const maxClaims = 12 // a longer form sends people away

var (
	claimName    = regexp.MustCompile(`^[a-z][a-z_]{0,39}$`) // in JSON, too, where our names have no digits
	languageName = regexp.MustCompile(`^([a-z]{2})?$`)
)

// ReadClaims reads the settings claims and claim_labels: "name!" is a claim that is required, "team=Team"
// what people read beside it, "team:de=Mannschaft" in German. The error says what to write instead.
func ReadClaims(claims, labels []string) (all []Claim, err error) {
	var bad []error
	wrong := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if len(claims) > maxClaims {
		wrong("registration.claims: %d are more than people fill in: want %d at most", len(claims), maxClaims)
	}
	index := map[string]int{}
	for _, text := range claims {
		name, required := strings.CutSuffix(text, "!")
		_, twice := index[name]
		switch {
		case !claimName.MatchString(name):
			wrong("registration.claims: %q: want letters a to z and _, at most 40, and perhaps a ! behind", name)
		case slices.Contains(ours, name):
			wrong("registration.claims: %q is not for people to say", name)
		case twice:
			wrong("registration.claims: %q is there twice", name)
		}
		index[name] = len(all)
		all = append(all, Claim{Name: name, Required: required, Labels: map[string]string{}})
	}
	for _, text := range labels {
		name, label, _ := strings.Cut(text, "=")
		name, lang, _ := strings.Cut(name, ":")
		i, asked := index[name]
		switch {
		case !asked:
			wrong("registration.claim_labels: %q is for no claim that is asked for", text)
			continue
		case !languageName.MatchString(lang):
			wrong("registration.claim_labels: %q: want a language such as de between : and =", text)
		case label == "" || utf8.RuneCountInString(label) > 80 || strings.ContainsFunc(label, hidden):
			wrong("registration.claim_labels: %q: want 1 to 80 characters behind the =", text)
		}
		all[i].Labels[lang] = label
	}
	for _, c := range all {
		if !slices.Contains(StandardClaims(), c.Name) && c.Labels[""] == "" {
			wrong(`registration.claim_labels: %q is a claim of your own: say what people read, as "%s=…"`, c.Name, c.Name)
		}
	}
	return all, errors.Join(bad...)
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
