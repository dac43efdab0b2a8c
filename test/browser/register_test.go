package browser_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/registration"
	"countersign/internal/testkit/servertest"
)

const (
	either        = "E-mail address or phone number"
	newcomersWord = "walrus kettle umbrella 9"
	hedy          = "hedy.lamarr@example.net"
	terms         = "https://terms.invalid/1"
)

var digitsOfWait = regexp.MustCompile(`in \d+ s`)

// openSite is a site where everybody may open an account.
func openSite(t *testing.T, change func(*config.Config)) *servertest.Node {
	t.Helper()
	return siteWith(t, func(c *config.Config) {
		c.Registration.Mode = "open"
		if change != nil {
			change(c)
		}
	})
}

// prove gives an address and the code that comes to it.
func prove(n *servertest.Node, p *person, address string) {
	p.t.Helper()
	p.open("/signin")
	p.press("Create an account")
	p.at("/register")
	p.write(either, address)
	p.press("Continue")
	p.see("It has a code for you, or it says that you already have an account.")
	p.write(code, n.Code(strings.ToLower(strings.TrimSpace(address))))
	p.press("Continue")
	p.see("Almost done")
}

// P5: a newcomer's first device is remembered once the address is proved: the next sign-in needs no code, another's does.
func TestANewcomersDeviceIsRemembered(t *testing.T) {
	t.Parallel()
	n := openSite(t, func(c *config.Config) { c.Registration.Claims = []string{"name!", "zoneinfo"} })
	n.Guard.Add(hedy)
	p := settle(t, n.URL)
	prove(n, p, " Hedy.Lamarr@Example.net ")
	if got := p.holds("Time zone (optional)"); !strings.Contains(got, "/") && got != "UTC" {
		t.Errorf("the time zone is %q", got)
	}
	p.write("Name", "Hedy Lamarr")
	p.write(password, "too short")
	p.tick(rememberMe)
	p.press("Create the account")
	p.see("That is too short: it needs at least 15 characters.")
	if got := p.holds("Name"); got != "Hedy Lamarr" {
		t.Errorf("refused, the name field holds %q", got)
	}
	if got := p.holds(password); got != "" {
		t.Errorf("refused, the password field holds %q", got)
	}
	if got := ask[string](p.tab, `document.querySelector("[data-username]").value`); got != " Hedy.Lamarr@Example.net " {
		t.Errorf("a password manager is shown the name %q", got)
	}
	if !ask[bool](p.tab, `field(`+quote(rememberMe)+`).checked`) {
		t.Error("the wish to be remembered is lost")
	}
	p.write(password, newcomersWord)
	p.press("Create the account")
	p.see("Your account is ready")
	p.press("Later")
	p.see("Where you are signed in")
	p.see("This device")
	p.press("Sign out")

	p.signIn(hedy, newcomersWord)
	p.see("Where you are signed in")
	p.see("password, remembered device")
	n.Clock.Advance(20 * time.Hour)
	p.restart()
	p.open("/signin")
	p.signIn(hedy, newcomersWord)
	p.see("password, remembered device")

	other := visit(t, n.URL)
	other.open("/signin")
	other.signIn(hedy, newcomersWord)
	other.see("Enter the code")
}

// C-AU-13: with the address of somebody who has an account the pages are the same, and only its owner learns of it.
func TestAKnownAddressSeesTheSamePages(t *testing.T) {
	t.Parallel()
	n := openSite(t, nil)
	pages := func(address string) (seen string) {
		p := visit(t, n.URL)
		p.open("/register")
		p.write(either, address)
		p.press("Continue")
		p.see("Enter the code")
		seen = ask[string](p.tab, `text()`)
		p.write(code, "000000")
		p.press("Continue")
		p.see("That code is not right")
		return seen + ask[string](p.tab, `text()`)
	}
	n.Guard.Add(hedy)
	known, free := pages(ada), pages(hedy)
	plain := func(s string) string { return digitsOfWait.ReplaceAllString(s, "in N s") }
	if plain(known) != plain(free) {
		t.Errorf("known:\n%s\nfree:\n%s", known, free)
	}
	if text := letter(n, ada, "tried to open an account"); !strings.Contains(text, "You already have an account") {
		t.Errorf("the owner's letter:\n%s", text)
	}
}

// An invitation travels behind the # of its link: it fills the field, and leaves the address bar.
func TestAnInvitationFillsItsField(t *testing.T) {
	t.Parallel()
	n := siteWith(t, func(c *config.Config) { c.Registration.Mode = "invitation" })
	token, _, err := n.Core().Registration.Invite(t.Context(), registration.NewInvitation{Address: hedy, For: time.Hour, Uses: 1})
	if err != nil {
		t.Fatal(err)
	}
	p := visit(t, n.URL)
	p.open("/register#" + token.Reveal())
	await[bool](p.tab, "the field is filled", `field("Invitation").value === `+quote(token.Reveal())+` && location.hash === ""`)
	p.write(either, "somebody.else@example.net")
	p.press("Continue")
	p.see("This invitation is not valid.")
	if got := p.holds("Invitation"); got != token.Reveal() {
		t.Error("refused, the invitation is lost")
	}
	n.Guard.Add(hedy)
	p.write(either, hedy)
	p.press("Continue")
	p.write(code, n.Code(hedy))
	p.press("Continue")
	p.write(password, newcomersWord)
	p.press("Create the account")
	p.at("/welcome")
}

// Without JavaScript the whole way works, invitation and terms included; only the device is not remembered.
func TestAnAccountIsOpenedWithoutJavaScript(t *testing.T) {
	t.Parallel()
	n := openSite(t, func(c *config.Config) {
		c.Registration.TermsURL, c.Registration.TermsVersion = terms, "1"
	})
	n.Guard.Add(hedy)
	p := visit(t, n.URL)
	p.noScript()
	prove(n, p, hedy)
	p.lack(rememberMe)
	p.see("To have this device remembered, switch JavaScript on.")
	p.write(password, newcomersWord)
	p.tick("I accept the terms of use.")
	p.press("Create the account")
	p.see("Your account is ready")
	owns(t, n, hedy, mobile) // her own page shows them to her, and nothing else to anybody
	p.write(either, mobile)  // N-4.2.1.2-05: a second address, proved in the same way
	p.press("Send a code there")
	p.write(code, n.Code(mobile))
	p.press("Add an address")
	p.see("The address is added.")
	p.click("Devices")
	p.at("/")
	p.see("No device is remembered.")
	p.press("Sign out")
	p.signIn(mobile, newcomersWord)
	p.see("Enter the code")
}

// owns tells the guard that addresses are those of whoever has opened an account with the first.
func owns(t *testing.T, n *servertest.Node, addresses ...string) {
	t.Helper()
	ident, err := account.Parse(addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	var who account.Account
	err = n.Core().DB.Read(t.Context(), func(tx *sqldb.Tx) error {
		who, err = n.Core().Accounts.Find(t.Context(), tx, ident)
		return err
	})
	if err != nil || who.State != account.Active {
		t.Fatalf("%s, %v", who.State, err)
	}
	for _, a := range addresses {
		n.Guard.AddOf(string(who.ID), a)
	}
}
