package browser_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/webauthn"

	"countersign/internal/platform/config"
	"countersign/internal/testkit/servertest"
)

// named is a site with a name: browsers keep no passkeys for bare addresses.
func named(t *testing.T) (n *servertest.Node, url string) {
	t.Helper()
	name := func(url string) string { return strings.Replace(url, "127.0.0.1", "localhost", 1) }
	n = siteWith(t, func(c *config.Config) { c.Site.PublicURL = name(c.Site.PublicURL) })
	return n, name(n.URL)
}

// authenticator is one of Chromium's own, which does as it is told.
type authenticator struct {
	*tab

	id webauthn.AuthenticatorID
}

// authenticator gives a tab an authenticator: of the device ("internal"), or a security key ("usb").
func (b *tab) authenticator(transport string) authenticator {
	b.t.Helper()
	call(b, webauthn.Enable, webauthn.EnableParams{})
	made := call(b, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: "ctap2", Ctap2version: "ctap2_1", Transport: webauthn.AuthenticatorTransport(transport), HasResidentKey: true,
		HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}})
	return authenticator{b, made.AuthenticatorID}
}

func (a authenticator) touched(yes bool) {
	a.t.Helper()
	call(a.tab, webauthn.SetAutomaticPresenceSimulation, webauthn.SetAutomaticPresenceSimulationParams{AuthenticatorID: a.id, Enabled: yes})
}

func (a authenticator) verifies(yes bool) {
	a.t.Helper()
	call(a.tab, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: a.id, IsUserVerified: yes})
}

func (a authenticator) lies(signature, verified bool) {
	a.t.Helper()
	call(a.tab, webauthn.SetResponseOverrideBits, webauthn.SetResponseOverrideBitsParams{AuthenticatorID: a.id, IsBogusSignature: &signature, IsBadUV: &verified})
}

func (a authenticator) keeps() int {
	a.t.Helper()
	return len(call(a.tab, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: a.id}).Credentials)
}

// signInByCode signs Ada in from an unrecognised browser.
func (b *tab) signInByCode(n *servertest.Node) {
	b.t.Helper()
	b.open("/signin")
	b.signIn(ada, servertest.Password)
	b.write(code, codeFor(n, ada))
	b.press("Continue")
	b.see("Proved by")
}

// A passkey of the device: enrolled, offered among the names that the browser fills in, and its device recognised from
// then on. A signature that is not its own opens nothing; without a fingerprint nothing is sent. Once it is
// removed, the authenticator is told, and offers it no more.
func TestAPasskeyOfTheDevice(t *testing.T) {
	t.Parallel()
	n, url := named(t)
	p := visit(t, url)
	a := p.authenticator("internal")
	p.signInByCode(n)
	p.open("/security")
	p.see("Add a passkey: it cannot be phished")
	p.press("Add a passkey")
	p.see("The passkey is added.")
	p.see("Stays on one device or security key")
	if a.keeps() != 1 {
		t.Fatalf("the authenticator keeps %d", a.keeps())
	}
	p.click("Add a passkey")
	p.see("has a passkey for your account already")
	p.open("/")
	p.click("Sign out")
	await[bool](p.tab, "be signed in by autofill, nobody having typed or pressed anything", `/Proved by\s+passkey/.test(text())`)

	a.touched(false)
	p.press("Sign out")
	p.signIn(ada, servertest.Password) // the page is usable while autofill waits
	p.see("password, remembered device")

	a.touched(true)
	a.lies(true, false)
	p.click("Sign out")
	p.see("That passkey was not accepted.")
	a.lies(false, true)
	p.press("Sign in with a passkey")
	p.see("That passkey was not accepted.")
	a.lies(false, false)
	a.verifies(false)
	p.click("Sign in with a passkey")
	p.see("No passkey was used.")
	a.verifies(true)
	p.press("Sign in with a passkey")
	await[bool](p.tab, "be signed in", `/Proved by\s+passkey/.test(text())`)

	p.open("/security")
	p.click("Remove Headless Chrome on Linux")
	p.press("Yes, remove")
	p.see("The passkey is removed.")
	for end := time.Now().Add(patience); a.keeps() != 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the authenticator still offers the passkey")
		}
	}
}

// A security key beside the password: asked for at the second door, and twice, since there may be two of them.
func TestSecurityKeysAtTheSecondDoor(t *testing.T) {
	t.Parallel()
	n, url := named(t)
	p := visit(t, url)
	a := p.authenticator("usb")
	p.signInByCode(n)
	p.open("/security")
	p.press("Add a passkey")
	p.see("The passkey is added.")
	b := p.authenticator("usb")
	a.touched(false)
	p.press("Add a passkey")
	p.see("The passkey is added.")
	if a.keeps() != 1 || b.keeps() != 1 {
		t.Fatalf("%d and %d are kept", a.keeps(), b.keeps())
	}
	for _, key := range []authenticator{a, b} {
		a.touched(false)
		b.touched(false)
		p.open("/")
		p.press("Sign out")
		p.signIn(ada, servertest.Password)
		p.see("Use your passkey")
		p.lack("Send by e-mail")
		key.touched(true)
		p.press("Use a passkey")
		p.see("password, passkey")
	}
	if text := ask[string](p.tab, `text()`); strings.Contains(text, "remembered device") {
		t.Error("a security key has this browser remembered")
	}
}
