package browser_test

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"

	"countersign/internal/testkit/servertest"
)

const (
	grace  = "grace.hopper@example.org"
	mobile = "+4915112345678"
)

// The first code goes by text message where there is a phone, and by e-mail if one asks for that.
func TestCodeComesByTextMessageOrByEmail(t *testing.T) {
	t.Parallel()
	n := site(t)
	n.Account(grace, mobile)
	p := visit(t, n.URL)
	p.open("/signin")
	p.signIn(grace, servertest.Password)
	p.see("Enter the code")
	if text, _ := evaluate[string](p.tab, `text()`); !strings.Contains(text, "by text message") {
		p.press("Send by text message")
	}
	p.see("We have sent you a code by text message.")
	p.write(code, codeFor(n, mobile))
	p.press("Continue")
	p.see("password, code by text message")
	p.press("Sign out")

	p.signIn(grace, servertest.Password)
	p.press("Send by e-mail")
	p.see("A new code is on its way. Only the newest one works.")
	p.see("We have sent you a code by e-mail.")
	p.write(code, codeFor(n, grace))
	p.press("Continue")
	p.see("password, code by e-mail")
}

func TestGermanBrowserGetsGermanPages(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	call(p.tab, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}})
	p.open("/signin")
	p.write("E-Mail, Telefon oder Benutzername", ada)
	p.write("Passwort", "nicht das Passwort")
	p.press("Anmelden")
	p.see("Name und Passwort passen nicht zusammen.")
	p.write("Passwort", servertest.Password)
	p.press("Anmelden")
	p.see("Wir haben Ihnen einen Code per E-Mail geschickt.")
	p.write("Code", codeFor(n, ada))
	p.tick("Dieses Gerät 30 Tage lang merken")
	p.press("Weiter")
	p.see("Wo Sie angemeldet sind")
	p.press("Abmelden")
	p.write("E-Mail, Telefon oder Benutzername", ada)
	p.write("Passwort", servertest.Password)
	p.press("Anmelden")
	p.see("Passwort, gemerktes Gerät")
	if got := ask[string](p.tab, `document.documentElement.lang`); got != "de" {
		t.Errorf("the page says that its language is %q", got)
	}
}

// Some browsers keep nothing in private windows: one lacks the store, one has a store that refuses.
func TestPrivateWindowSignsInAndIsNotRemembered(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]string{
		"no store":             `delete Window.prototype.indexedDB; delete window.indexedDB;`,
		"a store that refuses": `IDBFactory.prototype.open = () => { throw new DOMException("no", "SecurityError"); };`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := site(t)
			p := visit(t, n.URL)
			call(p.tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: broken})
			for range 2 {
				p.open("/signin")
				p.signIn(ada, servertest.Password)
				p.see("Enter the code")
				p.write(code, codeFor(n, ada))
				if name == "no store" {
					p.see("This browser cannot keep a key, so this device cannot be remembered.")
					p.lack(rememberMe)
				} else {
					p.tick(rememberMe)
				}
				p.press("Continue")
				p.see("Where you are signed in")
				p.see("No device is remembered.")
				p.press("Sign out")
				p.see("You are signed out.")
			}
		})
	}
}
