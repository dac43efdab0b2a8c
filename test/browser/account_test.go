package browser_test

import (
	"strings"
	"testing"
	"time"

	"countersign/internal/testkit/servertest"
)

// The account as a whole: nothing without a new proof, then letters in another language, the file, and an erasure that
// its holder calls off.
func TestAHolderAndTheAccountAsAWhole(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	enter(n, p, true)
	n.Clock.Advance(11 * time.Minute)
	p.click("Account")
	p.at("/account")
	p.lack("Download my data")
	p.press("Confirm it is you")
	p.write("Password", servertest.Password)
	p.press("Continue")
	p.at("/account") // the device is remembered

	ask[any](p.tab, `field("Language").value = "fr"`)
	p.press("Save")
	p.see("From now on, letters come in the language you chose.")
	if got := ask[string](p.tab, `field("Language").value`); got != "fr" {
		t.Errorf("the page says %s", got)
	}

	const file = `fetch("/account/data", { method: "POST" }).then(async (r) => [r.status, r.headers.get("content-disposition"), await r.text()].join(" "))`
	if got := ask[string](p.tab, file); !strings.HasPrefix(got, `200 attachment; filename="countersign-account-`) || !strings.Contains(got, `"value": "`+ada+`"`) || !strings.Contains(got, `"language": "fr"`) {
		t.Errorf("the file: %.300s", got)
	}

	p.click("Erase my account")
	p.press("Yes, erase my account")
	p.see("This account will be erased")
	p.click("Devices")
	p.at("/")
	p.see("This account will be erased")
	p.press("Keep my account")
	p.see("Your account stays.")
	p.lack("This account will be erased")
}
