package browser_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"

	"countersign/internal/testkit/servertest"
)

func TestForgottenDeviceNeedsACodeAgain(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	enter(n, p, true)
	p.click("Forget " + deviceName(p))
	p.press("Yes, forget it")
	p.see("The device is forgotten.")
	p.see("No device is remembered.")
	p.press("Sign out")
	p.signIn(ada, servertest.Password)
	p.see("Enter the code")
}

func TestADeviceGetsAName(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	enter(n, p, true)
	p.click("Rename " + deviceName(p))
	p.write("New name", "\u202eDesk at home")
	p.press("Rename")
	p.see("The device has its new name.")
	p.click("Rename Desk at home")
	if got := p.holds("New name"); got != "Desk at home" {
		t.Errorf("the field holds %q", got)
	}
	p.see("Remembered device Desk at home") // at the session
}

func TestSessionEndedElsewhereLeadsBackToTheSignIn(t *testing.T) {
	t.Parallel()
	n := site(t)
	here, there := visit(t, n.URL), visit(t, n.URL)
	enter(n, here, true)
	enter(n, there, false)
	here.reload()
	here.click("End " + deviceName(here))
	here.press("Yes, end it")
	here.see("That sign-in is ended.")
	there.press("Sign out") // it acts as what it is: nobody
	there.at("/signin")
	there.open("/")
	there.at("/signin")

	enter(n, there, false)
	here.reload()
	here.click("End all others")
	here.press("Yes, end all others")
	here.see("All other sign-ins are ended.")
	there.reload()
	there.at("/signin")

	enter(n, there, true)
	here.reload()
	here.click("Forget all devices")
	here.press("Yes, forget all")
	here.see("All devices are forgotten.")
	there.reload()
	there.at("/signin")
	there.signIn(ada, servertest.Password)
	there.see("Enter the code")

	here.click("End all, this one too")
	here.press("Yes, end all")
	here.see("You are signed out everywhere.")
	here.at("/signin")
}

// deviceName is what this browser is called in the list.
func deviceName(p *person) string {
	p.t.Helper()
	return await[string](p.tab, "be called something", `tidy(document.querySelector("li.this h3").innerText)`)
}

// what a browser keeps of us.
func TestBrowserKeepsNothingThatCanBeTaken(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	enter(n, p, true)
	var names []string
	for _, c := range p.cookies() {
		names = append(names, c.Name)
		if !strings.HasPrefix(c.Name, "__Host-cs_") || !c.Secure || !c.HTTPOnly || c.SameSite != network.CookieSameSiteLax || c.Path != "/" || strings.HasPrefix(c.Domain, ".") {
			t.Errorf("%s: secure %v, http-only %v, same-site %s, path %s, domain %s", c.Name, c.Secure, c.HTTPOnly, c.SameSite, c.Path, c.Domain)
		}
		if stays := c.Name == "__Host-cs_device"; c.Session == stays {
			t.Errorf("%s: ends with the browser: %v", c.Name, c.Session)
		}
	}
	slices.Sort(names)
	if want := []string{"__Host-cs_browser", "__Host-cs_device", "__Host-cs_session"}; !slices.Equal(names, want) {
		t.Errorf("cookies %v, want %v", names, want)
	}
	if got := ask[string](p.tab, `document.cookie`); got != "" {
		t.Errorf("scripts can read %s", got)
	}
	if got := ask[int](p.tab, `localStorage.length + sessionStorage.length`); got != 0 {
		t.Errorf("%d entries in local and session storage", got)
	}
	if got := ask[string](p.tab, `(async () => [(await indexedDB.databases()).map((d) => d.name), await caches.keys(), (await navigator.serviceWorker.getRegistrations()).length].join("|"))()`); got != "countersign||0" {
		t.Errorf("the browser also keeps %s", got)
	}
	const key = `new Promise((resolve, reject) => {
		const open = indexedDB.open("countersign");
		open.onerror = reject;
		open.onsuccess = () => {
			const all = open.result.transaction("keys").objectStore("keys").getAll();
			all.onsuccess = () => all.result.length === 1 ? resolve(all.result[0].privateKey) : reject(new Error(all.result.length + " entries"));
		};
	})`
	for _, format := range []string{"pkcs8", "jwk"} {
		if got := ask[string](p.tab, key+`.then((k) => crypto.subtle.exportKey("`+format+`", k)).then(() => "taken", (e) => e.name)`); got != "InvalidAccessError" {
			t.Errorf("export as %s: %s", format, got)
		}
	}
}
