package account

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"
	"unique"

	"golang.org/x/text/unicode/norm"

	"countersign/internal/platform/fault"
)

// Kind is what an identifier is.
type Kind string

// The kinds of identifier.
const (
	Email    Kind = "email"
	Phone    Kind = "phone"
	Username Kind = "username"
	// Reference is what an application calls an account of its own. Nobody types it, and nobody signs in with it here.
	Reference Kind = "reference"
)

// Identifier is a parsed and normalised e-mail address, phone number or username. Two
// ways of typing the same identifier compare equal with ==. Every way of printing or
// logging it gives "[identifier]"; only Normal gives the value.
type Identifier struct {
	kind Kind
	// A handle, because fmt prints the unexported fields of whatever struct an Identifier
	// is put into without asking String; of a handle it prints an address in memory.
	normal unique.Handle[string]
}

const hidden = "[identifier]"

// Kind returns what it is; "" for the zero Identifier.
func (i Identifier) Kind() Kind { return i.kind }

// Normal returns the normal form: what is sealed, looked up and written to. Every call of it is a place to review.
func (i Identifier) Normal() string {
	if i.kind == "" {
		return ""
	}
	return i.normal.Value()
}

// String returns "[identifier]".
func (i Identifier) String() string { return hidden }

// GoString returns "[identifier]".
func (i Identifier) GoString() string { return hidden }

// Format writes "[identifier]" whatever the verb.
func (i Identifier) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// LogValue returns "[identifier]".
func (i Identifier) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText returns "[identifier]": no identifier gets into JSON by accident.
func (i Identifier) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Parse reads an identifier as a person typed it; a phone number must begin with +.
//
// The outcome depends on nothing but s, so neither it nor the error says whether anyone
// has the identifier. The error never contains s.
func Parse(s string) (Identifier, error) { return Parser{}.Parse(s) }

// Parser reads identifiers with the operator's settings. The zero Parser is Parse.
type Parser struct {
	// Region is the two-letter country of phone numbers typed without +. Empty refuses them.
	Region string
}

// maxTyped bounds the input before any work is done on it, in bytes. The longest normal
// form, 254 octets, can be typed in full-width letters (3 bytes each) with some spacing.
const maxTyped = 1024

// Parse reads an identifier as a person typed it. It decides the kind itself: with an @ it
// is an e-mail address, with a + in front or without any letter a phone number, else a username.
func (p Parser) Parse(s string) (Identifier, error) {
	kind, normal, err := p.normalise(s)
	// Some mappings (IDNA, national prefixes of phone numbers) come to rest only on a second
	// pass. What is stored must be a form that parses to itself, or it is never found again.
	for range 3 {
		if err != nil {
			return Identifier{}, fault.New(fault.Invalid, "identifier_malformed", err)
		}
		k, again, e := p.normalise(normal)
		if e == nil && k == kind && again == normal {
			return Identifier{kind: kind, normal: unique.Make(normal)}, nil
		}
		kind, normal, err = k, again, e
	}
	return Identifier{}, fault.New(fault.Invalid, "identifier_malformed", errors.New("it has no stable normal form"))
}

// Always is Parse for callers whose answer must be the same for everything that may be typed. What
// is malformed becomes an identifier that nobody has, of the kind that it looks like.
func (p Parser) Always(s string) Identifier {
	ident, err := p.Parse(s)
	if err == nil {
		return ident
	}
	return Identifier{kind: kindOf(s), normal: unique.Make("malformed\x00" + s)}
}

func (p Parser) normalise(s string) (Kind, string, error) {
	if len(s) > maxTyped {
		return "", "", errors.New("it is too long")
	}
	if !utf8.ValidString(s) {
		return "", "", errors.New("it is not UTF-8")
	}
	s = strings.TrimSpace(s)
	for _, r := range s {
		if invisible(r) {
			return "", "", errors.New("it has a control or invisible character")
		}
	}
	s = strings.TrimSpace(norm.NFKC.String(s))
	if s == "" {
		return "", "", errors.New("it is empty")
	}
	kind, read := kindOf(s), map[Kind]func(string) (string, error){Email: normalEmail, Phone: p.normalPhone, Username: normalUsername}
	n, err := read[kind](s)
	return kind, n, err
}

func kindOf(s string) Kind {
	switch {
	case strings.Contains(s, "@"):
		return Email
	case strings.HasPrefix(s, "+") || !strings.ContainsFunc(s, letterish):
		return Phone
	}
	return Username
}

// letterish reports whether r cannot stand in a phone number.
func letterish(r rune) bool {
	return !unicode.IsDigit(r) && !unicode.IsSpace(r) && !unicode.IsPunct(r) && !unicode.IsSymbol(r)
}

// invisible reports whether r is a control character, shows nothing, or turns the direction
// of its neighbours: two identifiers that look alike must not differ by it.
func invisible(r rune) bool {
	const brailleBlank = '\u2800'
	return r == brailleBlank || r == utf8.RuneError ||
		unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp,
			unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
