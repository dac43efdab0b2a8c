package browser_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"countersign/internal/platform/config"
	"countersign/internal/testkit/servertest"
)

const (
	name       = "E-mail, phone or user name"
	password   = "Password"
	code       = "Code"
	rememberMe = "Remember this device for 30 days"
	ada        = "ada.lovelace@example.org"
)

// site runs a node with Ada's account. Nothing may ever be reported to its policy endpoint.
func site(t *testing.T) *servertest.Node {
	t.Helper()
	return siteWith(t, func(*config.Config) {})
}

// siteWith is a site with other settings.
func siteWith(t *testing.T, change func(*config.Config)) *servertest.Node {
	t.Helper()
	need(t)
	n := servertest.Start(t, servertest.Options{
		Config: func(c *config.Config) { c.Site.Name = "Larkspur"; change(c) },
		Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/reports/") {
					t.Errorf("a page broke the content security policy")
				}
				next.ServeHTTP(w, r)
			})
		},
	})
	n.Account(ada)
	return n
}

// signIn types name and password and sends them.
func (b *tab) signIn(who, secret string) {
	b.t.Helper()
	b.write(name, who)
	b.write(password, secret)
	b.press("Sign in")
}

var digits = regexp.MustCompile(`\b\d{6}\b`)

// codeFor reads the code from the next letter.
func codeFor(n *servertest.Node, to string) string {
	return digits.FindString(letter(n, to, "sign-in code"))
}

// letter returns the text of the next letter about something, past all others.
func letter(n *servertest.Node, to, about string) string {
	for {
		got := n.Wait(to)
		if strings.Contains(got.Subject, about) || got.Subject == "" && !strings.Contains(got.Text, "#csn_") {
			return got.Text
		}
	}
}

// enter goes the whole way in, with a code.
func enter(n *servertest.Node, p *person, remember bool) {
	p.t.Helper()
	p.open("/signin")
	p.signIn(ada, servertest.Password)
	p.see("Enter the code")
	p.write(code, codeFor(n, ada))
	if remember {
		p.tick(rememberMe)
	}
	p.press("Continue")
	p.see("Where you are signed in")
	p.at("/")
}

func TestRememberedDeviceNeedsOnlyThePassword(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := settle(t, n.URL)
	enter(n, p, true)
	p.see("Remembered devices")
	p.see("This device")
	p.see("This one")
	p.see("password, code by e-mail")
	letter(n, ada, "New sign-in")

	p.press("Sign out")
	p.see("You are signed out.")
	p.signIn(ada, servertest.Password)
	p.see("Where you are signed in")
	p.see("password, remembered device")

	n.Clock.Advance(20 * time.Hour)
	p.restart() // the session ends with the browser, the device stays
	p.open("/")
	p.at("/signin")
	p.signIn(ada, servertest.Password)
	p.see("Where you are signed in")
	p.see("This device")
}

// P5, A-10: cookies alone, without the key, are a stranger. The thief here even has a key: their own.
func TestCopiedCookiesAreAStranger(t *testing.T) {
	t.Parallel()
	n := site(t)
	owner, thief := visit(t, n.URL), visit(t, n.URL)
	enter(n, owner, true)
	owner.press("Sign out")
	owner.see("You are signed out.")

	const mallory = "mallory.thief@example.net"
	n.Account(mallory)
	thief.open("/signin")
	thief.signIn(mallory, servertest.Password)
	thief.write(code, codeFor(n, mallory))
	thief.tick(rememberMe)
	thief.press("Continue")
	thief.press("Sign out")
	thief.steal(owner.cookies())

	thief.signIn(ada, servertest.Password)
	thief.see("Enter the code")

	owner.signIn(ada, servertest.Password)
	owner.see("Where you are signed in")
	owner.see("password, remembered device")
}

// P5, P7: a handle that was changed since it was copied ends the remembering, and the owner is told.
func TestOldCopiedCookiesEndTheRemembering(t *testing.T) {
	t.Parallel()
	n := site(t)
	owner, thief := visit(t, n.URL), visit(t, n.URL)
	enter(n, owner, true)
	owner.press("Sign out")
	copied := owner.cookies()
	owner.signIn(ada, servertest.Password)
	owner.see("password, remembered device")
	owner.press("Sign out")

	n.Clock.Advance(2 * time.Minute) // past the grace for two tabs at once
	thief.open("/signin")
	thief.steal(copied)
	thief.signIn(ada, servertest.Password)
	thief.see("Enter the code")
	letter(n, ada, "no longer remembers one of your devices")

	owner.signIn(ada, servertest.Password)
	owner.see("Enter the code")
}

// Every page works without JavaScript; only remembering a device does not.
func TestWithoutJavaScriptTheWholePathWorks(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	p.noScript()
	for range 2 {
		p.open("/signin")
		p.lack("Show password")
		p.signIn(ada, servertest.Password)
		p.see("Enter the code")
		p.see("To have this device remembered, switch JavaScript on. You can sign in without it.")
		p.lack(rememberMe)
		p.write(code, codeFor(n, ada))
		p.press("Continue")
		p.see("Where you are signed in")
		p.see("No device is remembered.")
		p.press("Sign out")
		p.see("You are signed out.")
	}
	p.signIn(ada, "not the password")
	p.see("The name and the password do not match.")
	p.signIn(ada, servertest.Password)
	p.press("Send again")
	p.see("You can have another code sent in 20 seconds.")
}

// A device that is remembered, in a browser where JavaScript has been switched off since.
func TestRememberedDeviceWithoutJavaScriptIsAskedForACode(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	enter(n, p, true)
	p.press("Sign out")
	p.noScript()
	p.signIn(ada, servertest.Password)
	p.see("JavaScript is off in this browser, so this device cannot be recognised.")
	p.press("Continue")
	p.see("Enter the code")
	p.write(code, codeFor(n, ada))
	p.press("Continue")
	p.see("Where you are signed in")
}

func TestWrongPasswordKeepsTheNameAndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	p.open("/signin")
	p.signIn(ada, "not the password")
	p.see("There is a problem")
	p.see("The name and the password do not match.")
	if got := p.holds(name); got != ada {
		t.Errorf("the name field holds %q", got)
	}
	if got := p.holds(password); got != "" {
		t.Errorf("the password field holds %q", got)
	}
	if title := ask[string](p.tab, `document.title`); !strings.HasPrefix(title, "Error:") {
		t.Errorf("the title is %q", title)
	}
	if p.attribute(name, "aria-invalid") != "true" || p.attribute(password, "aria-describedby") != "problem" {
		t.Error("the fields do not point to the problem")
	}
	for range 10 {
		p.signIn(ada, "not the password")
	}
	p.see("Too many attempts")
	p.see("Wait at least")
	n.Clock.Advance(31 * time.Second)
	p.open("/signin")
	p.signIn(ada, servertest.Password)
	p.see("Enter the code")
}

func TestWrongCodesRunOut(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	p.open("/signin")
	p.signIn(ada, servertest.Password)
	right := codeFor(n, ada)
	wrong := map[bool]string{true: "000000", false: "111111"}[right != "000000"]
	for range 5 {
		p.write(code, wrong)
		p.press("Continue")
		p.see("That code is not right, or it is no longer valid.")
		if got := p.holds(code); got != "" {
			t.Errorf("the code field holds %q", got)
		}
	}
	p.write(code, right)
	p.press("Continue")
	p.see("Too many attempts")
	p.see("Wait at least")
}

func TestNewCodeReplacesTheOldOneAndHasToBeWaitedFor(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	p.open("/signin")
	p.signIn(ada, servertest.Password)
	old := codeFor(n, ada)
	const again = `[...document.querySelectorAll("button")].find((b) => name(b).startsWith("Send again"))`
	await[bool](p.tab, "wait before another code", again+`.disabled && /^Send again in (20|19|18) s$/.test(name(`+again+`))`)
	await[bool](p.tab, "count down", `Number(name(`+again+`).match(/\d+/)[0]) < 19`)
	n.Clock.Advance(31 * time.Second)
	p.reload()
	p.press("Send again")
	p.see("A new code is on its way. Only the newest one works.")
	fresh := codeFor(n, ada)
	if old != fresh { // one in a million
		p.write(code, old)
		p.press("Continue")
		p.see("That code is not right, or it is no longer valid.")
	}
	p.write(code, fresh)
	p.press("Continue")
	p.see("Where you are signed in")
}

func TestSignInThatTookTooLongStartsAgain(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	p.open("/signin")
	p.signIn(ada, servertest.Password)
	late := codeFor(n, ada)
	n.Clock.Advance(time.Hour)
	p.write(code, late)
	p.press("Continue")
	p.see("This sign‑in has ended")
	p.press("Start again")
	p.at("/signin")
}

func TestBackButtonShowsNothingOfBefore(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	p.open("/signin")
	p.signIn(ada, servertest.Password)
	_ = codeFor(n, ada)
	p.back()
	p.at("/signin") // and the sign-in can be begun again
	p.signIn(ada, servertest.Password)
	p.see("Enter the code")
	p.write(code, codeFor(n, ada))
	p.press("Continue")
	p.see("Where you are signed in")
	p.back()
	p.see("This sign‑in has ended")
	p.press("Start again")
	p.at("/") // signed in already
	p.press("Sign out")
	p.back()
	p.at("/signin")
	p.lack("Where you are signed in")
}

// Two tabs are two sign-ins: the code of one is not the code of the other.
func TestTwoTabsDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	other := p.anotherTab()
	p.open("/signin")
	p.signIn(ada, servertest.Password)
	first := codeFor(n, ada)
	other.open("/signin")
	other.signIn(ada, servertest.Password)
	second := codeFor(n, ada)
	if first != second { // one in a million
		other.write(code, first)
		other.press("Continue")
		other.see("That code is not right, or it is no longer valid.")
	}
	p.write(code, first)
	p.press("Continue")
	p.see("Where you are signed in")
	other.write(code, second)
	other.press("Continue")
	other.see("Where you are signed in")
	p.reload()
	p.see("This one")
}

// C-AU-19: passwords and codes may be pasted and filled in.
func TestFieldsHelpPasswordManagersAndPasting(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	p.open("/signin")
	for label, want := range map[string]string{name: "username webauthn", password: "current-password"} {
		if got := p.attribute(label, "autocomplete"); got != want {
			t.Errorf("%s: autocomplete %q, want %q", label, got, want)
		}
	}
	if p.attribute(password, "type") != "password" {
		t.Error("the password can be read over a shoulder")
	}
	p.write(name, ada)
	p.paste(password, servertest.Password)
	if got := p.holds(password); got != servertest.Password {
		t.Fatalf("pasted, the password field holds %q", got)
	}
	p.click("Show password")
	await[bool](p.tab, "show the password", `field("Password").type === "text" && !!button("Hide password")`)
	p.click("Hide password")
	await[bool](p.tab, "hide the password", `field("Password").type === "password" && !!button("Show password")`)
	p.click("Show password")
	p.press("Sign in") // shown, it is sent as well
	p.see("Enter the code")
	for attribute, want := range map[string]string{"autocomplete": "one-time-code", "inputmode": "numeric", "maxlength": ""} {
		if got := p.attribute(code, attribute); got != want {
			t.Errorf("code: %s %q, want %q", attribute, got, want)
		}
	}
	got := codeFor(n, ada)
	p.paste(code, " "+got[:3]+" "+got[3:]+" ")
	p.press("Continue")
	p.see("Where you are signed in")
}
