package browser_test

import (
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/servertest"
)

const linkField = "What stands after the # in the link"

// linkFor returns the path of the link in the next letter about something.
func linkFor(n *servertest.Node, to, about string) string {
	_, after, _ := strings.Cut(letter(n, to, about), n.URL+"/")
	return "/" + strings.Fields(after)[0]
}

// P7: a letter's link, opened anywhere, ends what somebody else began. Its secret leaves the address line at once.
func TestALettersLinkEndsWhatSomebodyElseBegan(t *testing.T) {
	t.Parallel()
	n := site(t)
	thief, holder := visit(t, n.URL), visit(t, n.URL)
	enter(n, thief, true)
	link := linkFor(n, ada, "New sign-in")
	holder.open(link)
	holder.see("That wasn’t you?")
	await[bool](holder.tab, "the secret leaves the address line", `location.hash === "" && location.pathname === "/notme"`)
	if shown := ask[bool](holder.tab, `document.getElementById("link").checkVisibility()`); shown {
		t.Error("a field is shown that needs no filling in")
	}
	holder.press("Deutsch")
	holder.see("Das waren nicht Sie?")
	await[bool](holder.tab, "the secret leaves the address line", `location.hash === ""`)
	holder.press("English")
	thief.reload()
	thief.see("Where you are signed in") // nothing has happened yet
	holder.press("Protect my account")
	holder.at("/notme/done")
	holder.see("Your account is protected")
	thief.reload()
	thief.at("/signin")
	thief.signIn(ada, servertest.Password)
	thief.see("The name and the password do not match.")

	holder.open(link)
	holder.press("Protect my account")
	holder.see("This link no longer works")
	holder.press("Set a new password")
	holder.at("/recover")
}

// Without a script the link is pasted.
func TestALettersLinkIsPastedWithoutAScript(t *testing.T) {
	t.Parallel()
	n := site(t)
	thief, holder := visit(t, n.URL), visit(t, n.URL)
	enter(n, thief, false)
	link := linkFor(n, ada, "New sign-in")
	holder.noScript()
	holder.open(link)
	holder.write(linkField, n.URL+link)
	holder.press("Protect my account")
	holder.at("/notme/done")
	thief.reload()
	thief.at("/signin")
}

// takenOver puts the thief's address into Ada's account and takes hers out, as a thief does.
func takenOver(t *testing.T, n *servertest.Node, id account.ID, thief string) {
	t.Helper()
	ctx, c := t.Context(), n.Core()
	ident, err := account.Parse(thief)
	if err != nil {
		t.Fatal(err)
	}
	n.Guard.AddOf(string(id), thief)
	tell := func(tx *sqldb.Tx, kind message.Kind) error {
		return c.Notices.Tell(ctx, tx, notice.Event{Kind: kind, Account: id, Device: "curl"})
	}
	err = c.DB.Write(ctx, func(tx *sqldb.Tx) error {
		n := account.NewIdentifier{Identifier: ident, Verified: true, SignsIn: true, Notices: true, Recovers: true}
		if err := c.Accounts.Add(ctx, tx, id, n); err != nil {
			return err
		}
		return tell(tx, message.AddressAdded)
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Clock.Advance(time.Minute)
	err = c.DB.Write(ctx, func(tx *sqldb.Tx) error {
		all, err := c.Accounts.Addresses(ctx, tx, id)
		if err != nil {
			return err
		}
		for _, a := range all {
			if a.Normal != thief {
				if err := c.Accounts.Remove(ctx, tx, id, a.ID); err != nil {
					return err
				}
			}
		}
		return tell(tx, message.AddressRemoved)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// P7, P8: a takeover in progress is undone from the old address. The thief is out, by their address too; the holder
// is back once a new password is set, which takes two proofs.
func TestATakeoverIsUndoneFromTheOldAddress(t *testing.T) {
	t.Parallel()
	const lovelace, mallory = "countess.lovelace@example.org", "mallory.thief@example.net"
	n := site(t)
	id := n.Account(lovelace, mobile)
	n.Clock.Advance(time.Hour)
	takenOver(t, n, id, mallory)
	thief, holder := visit(t, n.URL), visit(t, n.URL)
	into := func(p *person, who, secret, reached string) {
		p.open("/signin")
		p.signIn(who, secret)
		p.see("Enter the code")
		p.write(code, codeFor(n, reached))
		p.press("Continue")
		p.see("Where you are signed in")
	}
	into(thief, mallory, servertest.Password, mallory)
	n.Clock.Advance(70 * time.Hour)

	holder.open(linkFor(n, lovelace, "was changed"))
	holder.press("Protect my account")
	holder.see("Your account is protected")
	thief.reload()
	thief.at("/signin")
	thief.signIn(mallory, servertest.Password)
	thief.see("The name and the password do not match.")

	holder.press("Set a new password")
	holder.write(name, lovelace)
	holder.press("Send the code")
	holder.write(code, digits.FindString(letter(n, lovelace, "recovery code")))
	holder.press("Continue")
	holder.press("Code by text message")
	holder.write(code, codeFor(n, mobile))
	holder.press("Continue")
	holder.write("New password", recoveredWord)
	holder.write("New password once more", recoveredWord)
	holder.press("Set the password")
	holder.see("Your password is set")
	into(holder, lovelace, recoveredWord, mobile)
}

// A recovery that waits is stopped by the link in its letter, and nothing else.
func TestAWaitingRecoveryIsStoppedByItsLetter(t *testing.T) {
	t.Parallel()
	n := site(t)
	thief, holder := visit(t, n.URL), visit(t, n.URL)
	enter(n, holder, false)
	thief.open("/recover")
	thief.write(name, ada)
	thief.press("Send the code")
	thief.write(code, digits.FindString(letter(n, ada, "recovery code")))
	thief.press("Continue")
	thief.press("Begin the waiting time")
	thief.see("You can set a new password later")

	tab := holder.anotherTab()
	tab.open(linkFor(n, ada, "you can stop it"))
	tab.press("Stop it")
	tab.at("/stop/done")
	tab.see("The recovery is stopped")
	thief.reload()
	thief.see("This recovery has ended")
	holder.reload()
	holder.see("Where you are signed in")
}
