package browser_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
	"countersign/internal/recovery"
	"countersign/internal/signin"
	"countersign/internal/testkit/servertest"
)

const recoveredWord = "velvet harbour cinnamon 77"

// forgets begins a recovery from the sign-in page and proves the first address.
func forgets(n *servertest.Node, b *tab, who, to string) {
	b.t.Helper()
	b.open("/signin")
	b.press("Forgot your password?")
	b.see("Get back into your account")
	b.write(name, who)
	if to != "" {
		b.write("Send the code to", to)
	}
	b.press("Send the code")
	b.see("belongs to the account, a code is on its way")
	if to == "" {
		to = who
	}
	b.write(code, recoveryCode(n, to))
	b.press("Continue")
	b.see("That was right. One more proof, please")
}

func recoveryCode(n *servertest.Node, to string) string {
	return digits.FindString(letter(n, to, "recovery code"))
}

// sets sets the new password and signs in with it.
func sets(n *servertest.Node, b *tab, who, to string) {
	b.t.Helper()
	b.see("Set a new password")
	b.write("New password", recoveredWord)
	b.write("New password once more", recoveredWord)
	b.press("Set the password")
	b.see("Your password is set")
	b.press("Sign in")
	b.signIn(who, recoveredWord)
	b.see("Enter the code") // no device is remembered any more
	b.write(code, codeFor(n, to))
	b.press("Continue")
	b.see("Where you are signed in")
}

// N-4.2.2.2-01, P8: the password is lost; two codes by two ways set a new one, and the device that was remembered is no more.
func TestRecoveryWithTwoCodes(t *testing.T) {
	t.Parallel()
	n := site(t)
	n.Account(grace, mobile)
	p := visit(t, n.URL)
	enter(n, p, true)
	p.press("Sign out")
	n.Account("ada.countess", "+4915112345677") // somebody else's number
	forgets(n, p.tab, ada, "")
	p.press("Code by text message")
	p.see("If the account has a phone number that you have not proved yet")
	p.press("Choose another way")
	p.see("That was right. One more proof, please")

	q := visit(t, n.URL)
	q.open("/recover")
	q.write(name, "grace.without.an.address")
	q.press("Send the code")
	q.see("No code can be sent there.")
	if got := q.holds(name); got != "grace.without.an.address" { // kept by the script; the server never sends it back
		t.Errorf("the name typed is gone: %q", got)
	}
	forgets(n, q.tab, grace, "")
	q.press("Code by text message")
	q.see("a code is on its way there by text message")
	q.write(code, recoveryCode(n, mobile))
	q.press("Continue")
	sets(n, q.tab, grace, mobile)
	if got := letter(n, grace, "was reset"); !strings.Contains(got, n.URL+"/notme#csn_") {
		t.Errorf("the address that was proved first was not told how to protect the account: %q", got)
	}
}

// One code and the waiting time: the browser is closed meanwhile, and comes back to where it was.
func TestRecoveryWithOneCodeAndTheWaitingTime(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := settle(t, n.URL)
	forgets(n, p.tab, ada, "")
	p.press("Begin the waiting time")
	p.see("You can set a new password later")
	if got := letter(n, ada, "you can stop it"); !strings.Contains(got, n.URL+"/stop#csn_") {
		t.Errorf("nobody can stop it with %q", got)
	}
	n.Clock.Advance(23 * time.Hour)
	p.restart()
	p.open("/recover")
	p.press("Go on with it")
	p.see("You can set a new password later")
	n.Clock.Advance(time.Hour)
	p.reload()
	sets(n, p.tab, ada, ada)
}

// Whoever waited for a recovery that the holder stopped is told that it is over, and no more.
func TestAStoppedRecoveryIsOver(t *testing.T) {
	t.Parallel()
	n := site(t)
	id := n.Account(grace)
	p := visit(t, n.URL)
	forgets(n, p.tab, grace, "") // whoever reads her mail, too
	p.press("Begin the waiting time")
	p.see("You can set a new password later")
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := n.Core().Recovery.Stop(t.Context(), tx, id, signin.Client{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Clock.Advance(24 * time.Hour)
	p.reload()
	p.see("This recovery has ended")
	p.press("Start again")
	p.see("Get back into your account")
}

// Two friends read their codes out on the telephone.
func TestRecoveryWithContacts(t *testing.T) {
	t.Parallel()
	n := site(t)
	id := n.Account(grace)
	friends := []string{"friend.one@example.org", "friend.two@example.org"}
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		for _, to := range friends {
			ident, err := account.Parse(to)
			if err != nil {
				return err
			}
			if err := n.Core().Recovery.AddContact(t.Context(), tx, id, recovery.Contact{Label: "A friend", Holder: "Grace", Identifier: ident}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p := visit(t, n.URL)
	forgets(n, p.tab, grace, "")
	p.press("Ask people you trust")
	p.press("Send them their codes")
	for i, friend := range friends {
		text := letter(n, friend, "needs your help")
		p.write("Code of a contact", regexp.MustCompile(`\b\d{8}\b`).FindString(text))
		p.press("Continue")
		if i == 0 {
			p.see("That was right. Now the code of one more person.")
		}
	}
	sets(n, p.tab, grace, grace)
}

// N-4.2.1.1-05: the saved code, typed as it stands on paper, and without JavaScript; a new one is shown once.
func TestRecoveryWithTheSavedCode(t *testing.T) {
	t.Parallel()
	n := site(t)
	id := n.Account(grace)
	var saved string
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		c, err := n.Core().Recovery.NewSavedCode(t.Context(), tx, id)
		saved = c.Reveal()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p := visit(t, n.URL)
	p.noScript()
	p.open("/recover")
	p.write(name, grace)
	p.press("Send the code")
	p.press("Use your saved recovery code")
	p.write("Recovery code", strings.ToLower(strings.ReplaceAll(saved, "-", " ")))
	p.press("Continue")
	p.see("That was right. One more proof, please")
	p.press("Your old password")
	p.write("Old password", servertest.Password)
	p.press("Continue")
	p.write("New password", recoveredWord)
	p.write("New password once more", recoveredWord)
	p.press("Set the password")
	p.see("Your new saved recovery code")
	p.lack(saved)
	if next := ask[string](p.tab, `document.querySelector(".keep code").textContent`); len(next) != len(saved) {
		t.Errorf("the new code is %d characters long", len(next))
	}
}
