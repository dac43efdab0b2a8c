package browser_test

import (
	"testing"

	"countersign/internal/testkit/servertest"
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

// P7: of a line of the activity its holder says that it was not them. Somebody else is out, and so are they.
func TestAHolderSaysOfALineThatItWasNotThem(t *testing.T) {
	t.Parallel()
	n := site(t)
	thief, holder := visit(t, n.URL), visit(t, n.URL)
	enter(n, thief, false)
	enter(n, holder, false)
	holder.click("Activity")
	holder.at("/activity")
	holder.turnPage("say so", func() { holder.clickOn(`document.querySelectorAll(".deeds a.button")[0]`) })
	holder.see("That wasn’t you?")
	holder.see("Signed in with password and code by e-mail")
	thief.reload()
	thief.see("Where you are signed in") // nothing has happened yet
	holder.press("Protect my account")
	holder.at("/notme/done")
	holder.see("Your account is protected")
	holder.see("Every address of the account was told.")
	thief.reload()
	thief.at("/signin")
	holder.back()
	holder.at("/signin") // and not what the browser kept
	holder.signIn(ada, servertest.Password)
	holder.see("The name and the password do not match.")
}
