package pages

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/approval"
	"countersign/internal/factor"
	"countersign/internal/passkey"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/profile"
	"countersign/internal/registration"
	"countersign/internal/signin"
	"countersign/internal/totp"
)

// Where a passkey alone opens the account, a list of codes would open nothing, and no other way stands behind the first.
func TestTheAdviceWherePasskeysAloneOpen(t *testing.T) {
	v := &vault{overview: profile.Overview{}}
	v.factors.Second = signin.Second{Policy: factor.PhishingResistant, Least: factor.PhishingResistant, Ways: []signin.SecondWay{{Way: factor.Passkey, Opens: true}}}
	v.factors.Apps = []totp.Authenticator{{ID: "1", Name: "Phone"}}
	for n, want := range []string{"Add a passkey:", "Add a second passkey", ""} {
		v.factors.Passkeys = []passkey.Passkey{{ID: "1", Name: "Desk"}, {ID: "2", Name: "Key"}}[:n]
		_, body := answer(safe(t, v), get("/security"))
		for _, advice := range []string{"Add a passkey:", "Add a second passkey", "Make backup codes, for"} {
			if strings.Contains(body, advice) != (advice == want) {
				t.Errorf("%d passkeys: %q", n, advice)
			}
		}
		if strings.Contains(body, "The first of the list") {
			t.Errorf("%d passkeys: others", n)
		}
		if n == 2 {
			has(t, body, `name="name" type="text" value="Desk"`)
			has(t, body, "passkeys, apps, backup codes and the order of proofs")
		}
	}
}

func TestTheSecondDoorIsChosen(t *testing.T) {
	v := &vault{overview: profile.Overview{Fresh: true}, choice: factor.Choice{Order: []factor.Way{factor.OTP, factor.SMS}, Off: []factor.Way{factor.Email}}}
	v.factors.Second = signin.Second{Policy: factor.Unrecognised, Least: factor.Unrecognised, Ways: []signin.SecondWay{
		{Way: factor.OTP, Opens: true}, {Way: factor.SMS, Opens: true}, {Way: factor.Backup, Stopped: true}, {Way: factor.Email, Off: true},
	}}
	_, body := answer(safe(t, v), get("/security"))
	for _, want := range []string{
		"on devices that are not recognised", "Offered first", "Less safe:", "Stopped after too many wrong codes", "Turned off", "Ask at every sign-in",
		"The first of the list", `value="sms"`, "Offer first: Text message", "Turn on: E-mail", "Turn off: Text message",
	} {
		has(t, body, want)
	}
	for _, c := range []struct {
		path, field, value string
		want               factor.Choice
	}{
		{"first", "way", "sms", factor.Choice{Order: []factor.Way{factor.SMS, factor.OTP}, Off: []factor.Way{factor.Email}}},
		{"off", "way", "sms", factor.Choice{Order: []factor.Way{factor.SMS, factor.OTP}, Off: []factor.Way{factor.Email, factor.SMS}}},
		{"on", "way", "email", factor.Choice{Order: []factor.Way{factor.SMS, factor.OTP}, Off: []factor.Way{factor.SMS}}},
		{"ask", "when", "always", factor.Choice{Order: []factor.Way{factor.SMS, factor.OTP}, Off: []factor.Way{factor.SMS}, Holder: factor.Always}},
	} {
		done := map[bool]string{true: "second-ordered", false: "second-changed"}[c.path == "first"]
		leads(t, v, post("/security/second/"+c.path, c.field, c.value), "/security?done="+done)
		if !slices.Equal(v.choice.Order, c.want.Order) || !slices.Equal(v.choice.Off, c.want.Off) || v.choice.Holder != c.want.Holder {
			t.Errorf("%s: %+v", c.path, v.choice)
		}
	}
	v.factors.Second.Ways = []signin.SecondWay{{Way: factor.OTP, Opens: true}, {Way: factor.SMS, Opens: true}, {Way: factor.Email}}
	if _, body := answer(safe(t, v), get("/security")); !strings.Contains(body, "Turn off: Text message") || strings.Contains(body, "Turn off: E-mail") {
		t.Error("what is not asked for can be turned off")
	}
	v.err = fault.New(fault.Invalid, "factor_choice_invalid", nil)
	leads(t, v, post("/security/second/first", "way", "pigeon"), "/security?problem=factor_choice_invalid")
	if res, _ := answer(safe(t, &vault{}), post("/security/second/whatever")); res.StatusCode != http.StatusNotFound {
		t.Errorf("what cannot be chosen: %s", res.Status)
	}
	stale := &vault{}
	stale.factors.Second = v.factors.Second
	if _, body := answer(safe(t, stale), get("/security")); len(body) == 0 || strings.Contains(body, "/security/second/") {
		t.Error("without a fresh session it can be changed")
	}
}

// A session that must enrol something first is shown that page and no other.
func TestWhoMustEnrolIsLedThere(t *testing.T) {
	d := &desk{enrols: true}
	for _, path := range []string{"/", "/security", "/activity", "/account"} {
		if res, _ := answer(door(t, d), get(path)); res.Header.Get("Location") != enrolPath {
			t.Errorf("%s: %s to %q", path, res.Status, res.Header.Get("Location"))
		}
	}
	v := &vault{}
	v.factors.Nudge = factor.Nudge{Wanted: true, Must: true, Passkey: true}
	p := safeOf(t, d, v)
	_, body := answer(p, get(enrolPath))
	has(t, body, "Here you sign in with a passkey")
	has(t, body, "A passkey is a key that your phone")
	if strings.Contains(body, "Not now") || strings.Contains(body, `action="/security/apps"`) {
		t.Error("it can be put off, or an app will do")
	}
	leads(t, v, post("/security/passkeys", "state", "c3RhdGU", "response", "{}"), "/security?done=passkey-added")
	v.factors.Nudge = factor.Nudge{Wanted: true, Required: true, Left: 2}
	_, body = answer(safeOf(t, &desk{}, v), get(enrolPath))
	for _, want := range []string{"Not now", "still put it off: 2", `action="/security/apps"`} {
		has(t, body, want)
	}
	v.err = fault.New(fault.Forbidden, "reauthentication_required", nil)
	_, body = answer(p, get(enrolPath))
	has(t, body, "Sign in again")
}

func has(t *testing.T, body, want string) {
	t.Helper()
	if !strings.Contains(body, want) {
		t.Errorf("lacks %q", want)
	}
}

func cookie(res *http.Response, name string) *http.Cookie {
	for _, c := range res.Cookies() {
		if c.Name == name {
			return c
		}
	}
	return &http.Cookie{}
}

// What was wrong with a passkey is said where the next can be tried.
func TestARefusedPasskeyIsSaidOnThePageThatAsksForOne(t *testing.T) {
	if res, _ := answer(door(t, &desk{enrols: true}), get("/security?problem=passkey_refused")); res.Header.Get("Location") != enrolPath+"?problem=passkey_refused" {
		t.Errorf("it leads to %q", res.Header.Get("Location"))
	}
}

// Nobody is promised that a remembered device is not asked, where it is.
func TestRememberingIsOfferedWhereItHelps(t *testing.T) {
	for always, want := range map[bool]bool{false: true, true: false} {
		d := &desk{next: signin.Next{Step: signin.StepSecond, Sent: factor.SMS, Ways: []factor.Way{factor.SMS}, Notes: signin.Notes{Always: always}}}
		if _, body := answer(door(t, d), get(flowAt)); strings.Contains(body, `name="remember"`) != want {
			t.Errorf("always %t: offered %t", always, !want)
		}
		if _, body := answer(waitingRoom(t, d), get(flowAt+"/approve")); strings.Contains(body, `name="remember"`) != want || !strings.Contains(body, "492817") {
			t.Errorf("always %t, with another device: offered %t", always, !want)
		}
		v := (&Register{SignIn: SignIn{Pages: testPages(t)}, Asks: Asks{Always: always}}).aboutPage(frame{}, d.ref, registration.Next{}, nil)
		if (v.RememberDays > 0) != want {
			t.Errorf("always %t, to newcomers: offered %t", always, !want)
		}
	}
}

// asking is a sign-in that waits for another device.
type asking struct{ approvals }

func (asking) Approval(context.Context, signin.Ref) (signin.Approval, error) {
	return signin.Approval{ID: "7", State: approval.Waiting, Number: secret.Of("492817"), ExpiresAt: time.Now().Add(time.Minute)}, nil
}

func waitingRoom(t *testing.T, d *desk) http.Handler {
	t.Helper()
	p, mux := testPages(t), http.NewServeMux()
	(&Approve{SignIn: SignIn{Pages: p, Log: quiet(), Flows: d, Sessions: d}, Asks: asking{}}).Mount(mux)
	return mux
}
