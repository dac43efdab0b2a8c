package browser_test

import (
	"testing"
)

func TestAHolderReadsWhatWasDone(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	p.open("/signin")
	p.signIn(ada, "not her password, nearly")
	p.see("do not match")
	enter(n, p, true)
	name := deviceName(p)
	p.click("Activity")
	p.at("/activity")
	p.see("Signed in with password and code by e-mail")
	p.see("A wrong password was entered")
	p.see("A device is remembered from now on: " + name)
	p.lack("A code by e-mail was asked for") // the sign-in was finished
	p.click("Devices")
	p.at("/")
}
