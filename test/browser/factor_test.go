package browser_test

import (
	"strings"
	"testing"
	"time"

	otp "github.com/pquerna/otp/totp"

	"countersign/internal/testkit/servertest"
)

// An app is set up by reading its key off the page, asked for in a new browser instead of a letter, and a code on paper
// stands in for it.
func TestAnAppAndBackupCodes(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	p.open("/signin")
	p.signIn(ada, servertest.Password)
	p.write(code, codeFor(n, ada))
	p.press("Continue")
	p.open("/security")
	p.see("Add a passkey: it cannot be phished")
	p.press("Add an app")
	p.see("scan this picture")
	p.click("No camera? Type the key")
	key := strings.ReplaceAll(ask[string](p.tab, `document.querySelector(".grab code").textContent`), " ", "")
	shown := func() string {
		t.Helper()
		code, err := otp.GenerateCode(key, n.Clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	p.write(code, "000000")
	p.write("Name", "My phone")
	p.press("Add the app")
	p.see("That code does not fit.")
	p.write(code, shown())
	p.press("Add the app")
	p.see("The app is added.")
	p.see("My phone")
	p.press("Make backup codes")
	p.see("They are shown this once.")
	paper := ask[string](p.tab, `document.querySelector(".codes code").textContent`)
	p.click("I have kept them")
	p.see("Codes left: 10")

	n.Clock.Advance(30 * time.Second)
	q := visit(t, n.URL)
	q.open("/signin")
	q.signIn(ada, servertest.Password)
	q.see("Type the code that your authenticator app or token shows now.")
	q.lack("Send by e-mail")
	q.write(code, "000000")
	q.press("Continue")
	q.see("That code")
	q.write(code, shown())
	q.press("Continue")
	q.see("password, code from an app or token")
	q.press("Sign out")

	q.signIn(ada, servertest.Password)
	q.click("Use a backup code")
	q.see("Each works once.")
	q.write(code, strings.ToLower(strings.ReplaceAll(paper, "-", " ")))
	q.press("Continue")
	q.see("password, backup code")
	q.open("/security")
	q.see("Codes left: 9")
	for l := n.Wait(ada); !strings.Contains(strings.Join(strings.Fields(l.Text), " "), "with one of its backup codes"); l = n.Wait(ada) {
	} // the letter about it comes; Wait fails if it does not
}
