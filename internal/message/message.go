// Package message is everything we say to people, once per language.
//
// It renders letters and sends nothing. A language is one file in words/, and New
// refuses to start with a language that lacks a sentence or a placeholder, so nobody
// gets half a letter. What a letter says is decided here: a caller hands over values, and
// values that come from strangers (a device's name) cannot become a link or a header.
package message

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kind is what a letter is about. Each kind needs certain Params, all of them required.
type Kind string

// The kinds of letters.
const (
	// SigninCode carries a one-time code, by e-mail or SMS. Params: code (6 to 10
	// digits), minutes (how long it is valid, a number), site (our name).
	SigninCode Kind = "signin_code"
	// NewDevice tells of a sign-in from a device not seen before, by e-mail.
	// Params: when (RFC 3339), device (its name), site.
	NewDevice Kind = "new_device"
	// DeviceEnded tells that a remembered device came back with an old handle, so it is
	// remembered no longer, by e-mail. Params: when (RFC 3339), device (its name), site.
	DeviceEnded Kind = "device_ended"
)

// Channel is the way a letter travels.
type Channel string

// The channels.
const (
	Email Channel = "email"
	SMS   Channel = "sms"
)

// Letter is what to say to whom. It holds contact data and perhaps a code: never log one.
type Letter struct {
	Kind     Kind
	Channel  Channel
	To       string // one address or one number in E.164 form
	Language string // BCP 47; an unknown one is answered in English
	Params   map[string]string
}

// String names the kind and the channel only, so that a letter printed by mistake tells nothing.
func (l Letter) String() string { return string(l.Kind) + " by " + string(l.Channel) }

// GoString is String.
func (l Letter) GoString() string { return l.String() }

// Validate reports whether the letter can be rendered: a known kind on a channel it exists
// for, every param there and well-formed, and no control character anywhere. It does not
// look at whether To is deliverable. The error names params, never their values.
func (l Letter) Validate() error {
	need, err := l.Kind.params(l.Channel)
	if err != nil {
		return err
	}
	if hasControl(l.To) || hasControl(l.Language) {
		return fmt.Errorf("letter %s: control character in the address or language", l.Kind)
	}
	for _, name := range need {
		v, ok := l.Params[name]
		if !ok || v == "" {
			return fmt.Errorf("letter %s: param %q is missing", l.Kind, name)
		}
		if err := checkParam(name, v); err != nil {
			return fmt.Errorf("letter %s: param %q: %w", l.Kind, name, err)
		}
	}
	if len(l.Params) != len(need) {
		return fmt.Errorf("letter %s: has params it does not know", l.Kind)
	}
	return nil
}

// params lists what a kind needs on a channel.
func (k Kind) params(ch Channel) ([]string, error) {
	switch {
	case k == SigninCode && (ch == Email || ch == SMS):
		return []string{"code", "minutes", "site"}, nil
	case (k == NewDevice || k == DeviceEnded) && ch == Email:
		return []string{"when", "device", "site"}, nil
	default:
		return nil, fmt.Errorf("there is no letter %q by %q", k, ch)
	}
}

func checkParam(name, v string) error {
	if name == "device" { // a stranger chose it: it is made harmless (plainName), not refused
		return nil
	}
	if hasControl(v) {
		return errors.New("control character")
	}
	switch name {
	case "code":
		if len(v) < 6 || len(v) > maxCode || strings.Trim(v, "0123456789") != "" {
			return errors.New("want 6 to 10 digits")
		}
	case "minutes":
		if n, err := strconv.Atoi(v); err != nil || n < 1 || n > 999 {
			return errors.New("want a number from 1 to 999")
		}
	case "when":
		if _, err := time.Parse(time.RFC3339, v); err != nil {
			return errors.New("want RFC 3339")
		}
	case "site":
		if utf8.RuneCountInString(v) > 64 {
			return errors.New("longer than 64 characters")
		}
	}
	return nil
}

const maxCode = 10

// hasControl finds what could begin a new header line or turn text around.
func hasControl(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
	})
}

// plainName makes a device's name harmless. Whoever signs in chooses that name, so in a letter
// from us it must not be able to become a link, a sentence of its own or a page of text: letters,
// digits, spaces and a few marks remain, a dot only between digits, at most 60 characters.
func plainName(s string) string {
	in := []rune(s)
	var b strings.Builder
	for i, r := range in {
		dot := r == '.' && i > 0 && i+1 < len(in) && isDigit(in[i-1]) && isDigit(in[i+1])
		if unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.Mn, r) || strings.ContainsRune("()-+'", r) || dot {
			b.WriteRune(r)
		} else {
			b.WriteByte(' ')
		}
	}
	out := []rune(strings.Join(strings.Fields(b.String()), " "))
	if len(out) > 60 {
		out = append(out[:59], '…')
	}
	if len(out) == 0 {
		return "?"
	}
	return string(out)
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }
