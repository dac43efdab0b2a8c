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
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kind is what a letter is about. Each kind needs certain Params: see forms.
type Kind string

// The letters that carry a one-time code of 6 to 10 digits, by e-mail or SMS.
const (
	SigninCode   Kind = "signin_code"   // for the second step of a sign-in
	AddressCode  Kind = "address_code"  // proves an address that somebody wants to use
	RecoveryCode Kind = "recovery_code" // for getting back into an account
	ContactCode  Kind = "contact_code"  // goes to whom the holder trusts, to be read out to them
)

// The letters that tell somebody who need not have an account.
const (
	RegistrationAttempt Kind = "registration_attempt" // somebody tried to open an account with a taken address
	ContactAdded        Kind = "contact_added"        // a holder has named the reader as one they trust
)

// The notices: what happened to an account, told at every address of it that takes notices, with a
// link by which the holder says that it was not them.
const (
	NewDevice        Kind = "new_device"         // a sign-in from a device that was not recognised
	DeviceEnded      Kind = "device_ended"       // a remembered device came back with an old handle
	SecondFailed     Kind = "second_failed"      // the right password, and no right second proof
	SigninRefused    Kind = "signin_refused"     // by its holder, on a device that is signed in
	PasswordChanged  Kind = "password_changed"   // by its holder
	AddressAdded     Kind = "address_added"      // an address or number
	AddressRemoved   Kind = "address_removed"    // or not used any more for signing in, notices or recovery
	ContactsChanged  Kind = "contacts_changed"   // recovery contacts
	SavedCodeChanged Kind = "saved_code_changed" // the saved recovery code was made, made anew or removed
	FactorAdded      Kind = "factor_added"       // an app, a token or a passkey that is asked for from now on
	FactorRemoved    Kind = "factor_removed"     // that was asked for
	FactorChosen     Kind = "factor_chosen"      // how a second proof is asked for
	FactorStopped    Kind = "factor_stopped"     // one that had too many wrong codes in a row
	SIMSwapped       Kind = "sim_swapped"        // a code did not go to a number that has a new SIM card
	FactorsReset     Kind = "factors_reset"      // all of them, by an operator
	BackupChanged    Kind = "backup_changed"     // the list of backup codes was made, made anew or removed
	BackupUsed       Kind = "backup_used"        // a code of the list
	RecoveryWaiting  Kind = "recovery_waiting"   // a recovery that will open the account at "ends"
	RecoveryStopped  Kind = "recovery_stopped"   // was stopped by the holder
	RecoveryDone     Kind = "recovery_done"      // a new password was set by recovery
	Protected        Kind = "protected"          // somebody said that it was not them
	LanguageChanged  Kind = "language_changed"   // of letters; this one is in the language before
	DataDownloaded   Kind = "data_downloaded"    // everything that is kept of the account
	EraseAsked       Kind = "erase_asked"        // the account will be erased at "ends"
	EraseStopped     Kind = "erase_stopped"      // it will not, after all

	DoorClosed Kind = "door_closed" // an application had an account of its own erased here; it has no link: there is nothing left to protect

	Test Kind = "test" // an operator sees whether letters arrive
)

// form is what a kind of letter needs. place, when given to a letter that has when and device, is
// where they were, roughly; it may be missing. operator stands in the place of device where an operator did it, or an application.
//
// A letter about an account of an application's own has app and app_site too: its name and the origin of its pages.
func (k Kind) form() (need []string, ok bool) {
	switch k {
	case SigninCode, AddressCode, RecoveryCode:
		return []string{"code", "minutes", "site"}, true
	case ContactCode:
		return []string{"code", "minutes", "holder", "site"}, true
	case RegistrationAttempt, DoorClosed:
		return []string{"when", "device", "site"}, true
	case ContactAdded:
		return []string{"holder", "site"}, true
	case Test:
		return []string{"site"}, true
	case RecoveryWaiting, EraseAsked:
		return []string{"when", "device", "link", "ends", "site"}, true
	case NewDevice, DeviceEnded, SecondFailed, SigninRefused, PasswordChanged, AddressAdded, AddressRemoved, ContactsChanged,
		SavedCodeChanged, FactorAdded, FactorRemoved, FactorChosen, FactorStopped, SIMSwapped, FactorsReset, BackupChanged, BackupUsed, RecoveryStopped, RecoveryDone, Protected, LanguageChanged, DataDownloaded, EraseStopped:
		return []string{"when", "device", "link", "site"}, true
	}
	return nil, false
}

// Typed reports whether its reader types the code on our own site, so that its SMS ends with our origin.
func (k Kind) Typed() bool { return k == SigninCode || k == AddressCode || k == RecoveryCode }

// Opens reports whether its code opens an account that is there.
func (k Kind) Opens() bool { return k == SigninCode || k == RecoveryCode }

// Unproved reports whether it goes where somebody has said, and nobody proved, that it reaches them.
func (k Kind) Unproved() bool { return k == AddressCode || k == ContactCode || k == ContactAdded }

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

// Validate reports whether the letter can be rendered: a known kind and channel, every param
// there and well-formed, and no control character anywhere. It does not look at whether To is
// deliverable. The error names params, never their values.
func (l Letter) Validate() error {
	need, ok := l.Kind.form()
	if !ok || l.Channel != Email && l.Channel != SMS {
		return fmt.Errorf("there is no letter %q by %q", l.Kind, l.Channel)
	}
	if hasControl(l.To) || hasControl(l.Language) {
		return fmt.Errorf("letter %s: control character in the address or language", l.Kind)
	}
	for _, name := range need {
		if l.Params[name] == "" && (name != "device" || l.Params["operator"] == "") {
			return fmt.Errorf("letter %s: param %q is missing", l.Kind, name)
		}
	}
	if (l.Params["app"] == "") != (l.Params["app_site"] == "") {
		return fmt.Errorf("letter %s: app and app_site go together", l.Kind)
	}
	for name, v := range l.Params {
		known := slices.Contains(need, name) || (name == "place" || name == "operator") && slices.Contains(need, "device") || name == "app" || name == "app_site"
		if !known {
			return fmt.Errorf("letter %s: has params it does not know", l.Kind)
		}
		if err := checkParam(name, v); err != nil {
			return fmt.Errorf("letter %s: param %q: %w", l.Kind, name, err)
		}
	}
	return nil
}

func checkParam(name, v string) error {
	// Strangers or a file of somebody's chose these: they are made harmless, never a reason to send nothing.
	if name == "device" || name == "holder" || name == "place" {
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
		if n, err := strconv.Atoi(v); err != nil || n < 1 || n > maxMinutes {
			return errors.New("want a number from 1 to 2880")
		}
	case "when", "ends":
		if _, err := time.Parse(time.RFC3339, v); err != nil {
			return errors.New("want RFC 3339")
		}
	case "link":
		if u, err := url.Parse(v); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || len(v) > 200 {
			return errors.New("want an address of at most 200 characters")
		}
	case "app_site":
		if u, err := url.Parse(v); err != nil || u.Host == "" || u.Path != "" || u.User != nil {
			return errors.New("want scheme and host")
		}
	case "site", "app":
		if utf8.RuneCountInString(v) > 64 {
			return errors.New("longer than 64 characters")
		}
	}
	return nil
}

const maxMinutes = 48 * 60 // the longest code: one that a recovery contact reads out

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

// plainPlace makes the name of a place harmless.
func plainPlace(s string) string {
	kept := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
	out := []rune(kept)
	return string(out[:min(len(out), 80)])
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }
