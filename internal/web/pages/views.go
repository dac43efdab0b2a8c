package pages

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/session"
)

// view is a page with all it shows.
type view interface {
	template() string // file in templates/, without ".html"
	language() string
}

// frame is what every page has.
type frame struct {
	words

	Lang, Dir string
	Site      string
	Assets    string // where the style sheet is; empty for a page that has none
	Shape     string // narrow: one card; wide: lists
	Title     string
	SignedIn  bool
	Here      string // where in the navigation of the signed-in the page stands
	Problem   string // what to put right, in words
	Flash     string // what has just been done, in words
	Onward    string // where the page leads by itself
	On        string // the application's request that the sign-in is for, as errand has it; empty for none

	where func(netip.Addr, string) string
}

func (f frame) language() string { return f.Lang }

// whereabouts says roughly where an address of the network is; empty if that is not known.
func (f frame) whereabouts(a netip.Addr) string {
	if f.where == nil || !a.IsValid() {
		return ""
	}
	return f.where(a, f.Lang)
}

// fails puts a problem on the page and into its title, where screen readers meet it first.
func (f frame) fails(problem string) frame {
	f.Problem = problem
	f.Title = f.say("error_prefix") + " " + f.Title
	return f
}

// flashes are all that a "done" in the query may say: never its own words.
//
//nolint:gochecknoglobals // a table that is only read
var flashes = map[string]string{
	"code-sent":         "code_sent",
	"one-more":          "recover_one_more",
	"register-sent":     "register_sent",
	"device-forgotten":  "flash_device_forgotten",
	"device-renamed":    "flash_device_renamed",
	"language-set":      "flash_language_set",
	"erase-asked":       "flash_erase_asked",
	"kept":              "flash_kept",
	"devices-forgotten": "flash_devices_forgotten",
	"session-ended":     "flash_session_ended",
	"others-ended":      "flash_others_ended",
	"all-ended":         "flash_all_ended",
	"signed-out":        "flash_signed_out",
	"unproved":          "flash_unproved",
	"already-gone":      "flash_already_gone",
	"passkey-added":     "flash_passkey_added",
	"passkey-renamed":   "flash_passkey_renamed",
	"passkey-removed":   "flash_passkey_removed",
	"second-changed":    "flash_second_changed",
	"second-ordered":    "flash_second_ordered",
	"app-added":         "flash_app_added",
	"approved":          "flash_approved",
	"app-renamed":       "flash_app_renamed",
	"app-removed":       "flash_app_removed",
	"password-changed":  "flash_password_changed",
	"address-added":     "flash_address_added",
	"address-removed":   "flash_address_removed",
	"address-changed":   "flash_address_changed",
	"contact-added":     "flash_contact_added",
	"contact-removed":   "flash_contact_removed",
	"saved-removed":     "flash_saved_removed",
	"reviewed":          "flash_reviewed",
	"withdrawn":         "flash_withdrawn",
}

func (f frame) flash(code string) frame {
	if key, ok := flashes[code]; ok {
		f.Flash = f.say(key)
	}
	return f
}

type instant struct{ Machine, Words string }

// signInView has no field for what was typed.
type signInView struct {
	frame

	Goal     string // what it leads to, by its name
	Register bool   // accounts can be opened
	Passkey  ceremony
}

func (signInView) template() string { return "signin" }

// appDoor is what a page shows of the application whose second door it is; App is empty at our own.
type appDoor struct {
	App   string
	Start string // path where the flow begins anew
}

type deviceView struct {
	frame

	appDoor

	Flow          string // path of the flow
	Nonce, Origin string // what the device signs
}

func (deviceView) template() string { return "device" }

type codeView struct {
	frame
	appDoor

	Flow, Submit  string // paths
	Nonce, Origin string
	Way           factor.Way // where the code is from; empty if none was sent
	Own           bool       // the person has it already
	Others        []wayView
	Lead          string
	Fate          outbox.Fate // of the message; empty if it is not said
	SMSRisk       string
	another
	RememberDays int  // 0 where a device that is remembered is asked all the same
	Hidden       bool // whether the password was right is not said
}

func (codeView) template() string { return "code" }

// another is what a page says of the next code.
type another struct {
	WaitSeconds int  // until it may be sent
	NoMore      bool // this sign-in gets none
	Around      bool // as a text message it goes by another provider
}

type wayView struct {
	Way        factor.Way
	Label      string
	Own        bool // nothing is sent
	Restricted bool
}

// ways fills in where the code is from, the other ways, and the pause until the next that is sent. Nothing here says
// where it went: no address, no part of one.
func (v codeView) ways(all []factor.Way, from factor.Way, pause time.Duration) codeView {
	v.WaitSeconds = int((pause + time.Second - 1) / time.Second)
	v.Lead = v.say("code_lead")
	if slices.Contains(all, from) {
		v.Way, v.Own = from, !from.Sent()
		v.Lead = v.say("code_lead_" + string(from))
	}
	for _, w := range all {
		if w != v.Way {
			v.Others = append(v.Others, wayView{Way: w, Label: v.say("way_" + string(w)), Own: !w.Sent(), Restricted: w == factor.SMS})
		}
	}
	switch {
	case !slices.Contains(all, factor.SMS):
	case slices.Contains(all, factor.Email):
		v.SMSRisk = v.say("sms_risk_email")
	default:
		v.SMSRisk = v.say("sms_risk")
	}
	return v
}

type homeView struct {
	frame
	erasure

	Waits         bool // a sign-in, to be approved
	Sessions      []sessionRow
	OtherSessions bool
	Devices       []deviceRow
}

func (homeView) template() string { return "home" }

type sessionRow struct {
	ID          session.ID
	Name        string
	This        bool
	Since, Seen instant
	Place       string // roughly where it was opened
	Device      string // what its owner calls the remembered device that it was opened from
	Methods     string
	Bound       bool // to the key of the browser that it was opened in
	BoundToApp  bool // to an app's key
}

type deviceRow struct {
	ID                 string
	Name               string
	This               bool
	Since, Seen, Until instant
	Place              string // roughly where it was last seen
	Strength           string
}

// name is what a browser or app is called: in the reader's language if we named it, and something if nobody did.
func (w words) name(s string) string {
	if strings.TrimSpace(s) == "" {
		return w.say("unnamed")
	}
	return message.DeviceName(s, w.say("device_on"), w.say("unnamed"))
}

// methods says what was proved; a method this release has no words for is left out.
func (w words) methods(all []string) string {
	return strings.Join(w.methodList(all), w.say("list_comma"))
}

func (w words) methodList(all []string) (said []string) {
	for _, m := range all {
		if text, ok := w["method_"+m]; ok {
			said = append(said, text)
		}
	}
	return said
}

// and lists things as a sentence does.
func (w words) and(all []string) string {
	last := len(all) - 1
	if last < 1 {
		return strings.Join(all, "")
	}
	return w.say("list_and", "first", strings.Join(all[:last], w.say("list_comma")), "last", all[last])
}

// strength says how a device proves itself; one that this release has no words for is left out.
func (w words) strength(s device.Strength) string { return w["strength_"+string(s)] }

type noticeView struct {
	frame

	Heading, Lead       string
	Wait                string
	Action, ActionLabel string
	Apart               bool // the action is another tab's: this one is gone back to
	RequestID           string
}

func (noticeView) template() string { return "notice" }

type demoView struct {
	frame

	Accounts []DemoAccount
}

func (demoView) template() string { return "demo" }

type inboxView struct {
	frame

	Version        string // changes when a message comes
	Texts, Letters []messageView
}

func (inboxView) template() string { return "inbox" }

type messageView struct {
	At                instant
	To, Subject, Text string
	Code              string
	Link              string // by which its reader says that it was not them
}

// wait is the time from now to then, never negative and never more than a day.
func wait(now, then time.Time) time.Duration { return min(max(then.Sub(now), 0), 24*time.Hour) }
