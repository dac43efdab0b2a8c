package browser_test

import (
	"strings"
	"testing"
	"time"

	"countersign/internal/testkit/servertest"
)

// numberOn is the number that a new device shows.
func (b *tab) numberOn() string {
	b.t.Helper()
	return ask[string](b, `document.querySelector(".number").textContent`)
}

// asks begins a sign-in on a new device and has it ask to be approved.
func (b *tab) asks() (number string) {
	b.t.Helper()
	b.open("/signin")
	b.signIn(ada, servertest.Password)
	b.see("Enter the code")
	b.press("Approve on another device")
	b.see("Your number")
	return b.numberOn()
}

// other is a number that is not this one.
func other(number string) string {
	if number == "000000" {
		return "000001"
	}
	return "000000"
}

// One device lets another in: a wrong number does not, and the new one goes on by itself.
func TestOneDeviceApprovesAnother(t *testing.T) {
	t.Parallel()
	n := site(t)
	old, young := visit(t, n.URL), visit(t, n.URL)
	enter(n, old, true)
	old.lack("A sign-in is waiting")
	number := young.asks()
	young.lack("Where you are signed in")

	old.reload()
	old.see("A sign-in is waiting")
	old.click("Look at it")
	old.see("Is this you?")
	old.write("Number on the new device", other(number))
	old.press("Let this device in")
	old.see("That is not the number that the new device shows.")
	young.see("Waiting for the other device.")
	old.write("Number on the new device", number)
	old.press("Let this device in")
	old.see("Approved. The new device goes on by itself.")
	young.see("Where you are signed in")
	young.see("password, approval on another device")
}

// What the QR code leads to fills the number in, and it never stands in an address that a server sees. The new device is
// remembered, if its owner likes.
func TestTheNumberIsScanned(t *testing.T) {
	t.Parallel()
	n := site(t)
	old, young := visit(t, n.URL), visit(t, n.URL)
	enter(n, old, true)
	number := young.asks()
	young.tick(rememberMe)
	old.open("/approve")
	old.see("Is this you?")
	id := ask[string](old.tab, `document.querySelector("[data-approve]").dataset.nonce`)
	old.open("/")
	old.open("/approve#" + id + "." + number)
	old.see("Is this you?")
	if got := old.holds("Number on the new device"); got != number {
		t.Errorf("filled in: %q, want %q", got, number)
	}
	if got := ask[string](old.tab, `location.href`); strings.Contains(got, number) {
		t.Errorf("the number stays in the address: %s", got)
	}
	old.press("Let this device in")
	old.see("Approved.")
	young.see("Where you are signed in")
	young.see("This device")
	if strings.Contains(n.Log.String(), number) {
		t.Error("the log has the number")
	}
}

// Refusing ends the sign-in, says that the password is known to somebody, and leads to another one.
func TestASignInIsRefused(t *testing.T) {
	t.Parallel()
	n := site(t)
	old, young := visit(t, n.URL), visit(t, n.URL)
	enter(n, old, true)
	young.asks()
	old.open("/approve")
	old.click("This isn’t me")
	old.press("Refuse it")
	old.see("Refused: nobody got in")
	old.click("Change the password")
	old.at("/security/password")
	young.see("This sign‑in has ended")
	letter(n, ada, "You refused a sign-in")
	young.open("/signin")
	young.signIn(ada, servertest.Password)
	young.see("Enter the code")
	young.lack("Approve on another device")
}

// Three requests that come to nothing, and no more is offered. A device that is not remembered can refuse, no more.
func TestBombingIsLimited(t *testing.T) {
	t.Parallel()
	n := site(t)
	old, young, guest := visit(t, n.URL), visit(t, n.URL), visit(t, n.URL)
	enter(n, old, true)
	enter(n, guest, false)
	n.Clock.Advance(30 * time.Minute) // for the limit of letters
	for range 3 {
		young.asks()
	}
	young.open("/signin")
	young.signIn(ada, servertest.Password)
	young.see("Enter the code")
	young.lack("Approve on another device")
	old.open("/approve")
	if got := ask[int](old.tab, `document.querySelectorAll("[data-approve]").length`); got != 3 {
		t.Errorf("%d wait", got)
	}
	guest.open("/approve")
	guest.see("This device is not remembered")
	guest.see("This isn’t me")
	guest.lack("Let this device in")
}

// Without JavaScript the new device has a button, and the old one cannot prove itself.
func TestApprovingWithoutJavaScript(t *testing.T) {
	t.Parallel()
	n := site(t)
	old, young := visit(t, n.URL), visit(t, n.URL)
	enter(n, old, true)
	young.noScript()
	number := young.asks()
	young.press("I have approved it")
	young.see("It is not approved yet.")
	old.open("/approve")
	old.write("Number on the new device", number)
	old.press("Let this device in")
	old.see("Approved.")
	young.press("I have approved it")
	young.see("Where you are signed in")
}
