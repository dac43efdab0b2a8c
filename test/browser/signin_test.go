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
	chromium(t)
	n := servertest.Start(t, servertest.Options{
		Config: func(c *config.Config) { c.Site.Name = "Larkspur" },
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
		if strings.Contains(got.Subject, about) || got.Subject == "" {
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
	p := visit(t, n.URL)
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
