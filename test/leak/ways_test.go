package leak_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/recovery"
	"countersign/internal/testkit/servertest"
)

// equipped are people who have proved that an address is theirs, and have more or less beside it.
func equipped(t *testing.T, n *servertest.Node) (all []*subject) {
	t.Helper()
	contacts := func(id account.ID, to ...string) {
		t.Helper()
		err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			for _, name := range to {
				ident, err := account.Parse(name)
				if err != nil {
					return err
				}
				if err := n.Core().Recovery.AddContact(t.Context(), tx, id, recovery.Contact{Label: "Friend", Holder: "Holder", Identifier: ident}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	saved := func(id account.ID) {
		t.Helper()
		err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := n.Core().Recovery.NewSavedCode(t.Context(), tx, id)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	n.Account("nothingmore@maildomain.example")
	n.Bare("nopassword@maildomain.example")
	imported(t, n, "fromelsewhere@maildomain.example", foreignHashes(t, n)["bcrypt"])
	saved(n.Account("onesavedcode@maildomain.example"))
	lately := n.Account("friendlately@maildomain.example")
	contacts(n.Account("onefriend@maildomain.example"), "friendofone@maildomain.example")
	rich := n.Account("everything@maildomain.example", "everythingelse@maildomain.example", "+4915112345691")
	five := n.Account("fivefriends@maildomain.example")
	saved(rich)
	contacts(rich, "friendofrich@maildomain.example", "otherofrich@maildomain.example")
	for i := range recovery.MaxContacts {
		contacts(five, fmt.Sprintf("friendoffive%d@maildomain.example", i))
	}
	n.Clock.Advance(account.Hold)
	contacts(lately, "friendoflate@maildomain.example")
	courierWorks(t, n)
	for i, name := range []string{"nothingmore", "nopassword", "fromelsewhere", "onesavedcode", "friendlately", "onefriend", "everything", "fivefriends"} {
		all = append(all, &subject{
			label: name, name: name + "@maildomain.example", known: i > 0, visitor: newVisitor(t, n, fmt.Sprintf("10.160.1%02d.101", i)),
		})
	}
	return all
}

// I-11, P1: after the first proof, too, everybody is offered the same and answered the same, and the same is written,
// whatever their account has. Only how long the wait is differs, when it is begun: docs/decisions/0009.
func TestTheWaysOnAreTheSameForEverybody(t *testing.T) {
	for door, script := range map[string]func(n *servertest.Node) []step{"API": appsWaysOn, "pages": peoplesWaysOn} {
		t.Run(door, func(t *testing.T) {
			each(t, func(t *testing.T, url string) {
				n := servertest.Start(t, servertest.Options{Database: url, Idle: true, Config: func(c *config.Config) {
					c.HTTP.TrustedProxies = []string{"127.0.0.0/8"}
				}})
				n.Core().Recovery.Limits.All.Every, n.Core().Recovery.Limits.SendAll.Every = 0, 0 // as in world
				n.Account("firstofall@elsewhere.example")                                         // whom run sends first
				run(t, n, equipped(t, n), script(n), together)
			})
		})
	}
}

func appsWaysOn(n *servertest.Node) []step {
	call := func(path string, pairs ...any) func(*visitor, *subject) answer {
		return func(v *visitor, _ *subject) answer {
			return v.call("/recovery"+path, append([]any{"flow", v.flow}, pairs...)...)
		}
	}
	return slices.Concat([]step{
		{label: "begin", do: func(v *visitor, s *subject) answer { return v.call("/recovery", "identifier", s.name) }},
		{label: "letters leave", work: true},
		{label: "right code", do: func(v *visitor, s *subject) answer { return call("/code", "code", n.Code(s.name))(v, s) }},
		{label: "state", do: call("/state")},
		{label: "send by text message", do: call("/send", "way", "sms")},
		{label: "wrong code by text message", do: call("/code", "way", "sms", "code", "000000")},
		{label: "send by e-mail", do: call("/send", "way", "email")},
		{label: "wrong code by e-mail", do: call("/code", "way", "email", "code", "000000")},
		{label: "send again too soon", do: call("/send", "way", "email")},
		{label: "send again", wait: 31 * time.Second, do: call("/send", "way", "email")},
		{label: "wrong saved code", do: call("/saved-code", "code", "0000-0000-0000-0000-0000-0000")},
		{label: "a contact's code before they are asked", do: call("/contacts/code", "code", "00000000")},
		{label: "ask the contacts", do: call("/contacts")},
		{label: "ask the contacts again", do: call("/contacts")},
		{label: "a contact's wrong code", do: call("/contacts/code", "code", "00000000")},
		{label: "wrong old password", do: call("/old-password", "password", wrong)},
		{label: "password too early", do: call("/password", "password", "velvet harbour cinnamon 77")},
		{label: "state at the end", do: call("/state")},
		{label: "those letters leave", work: true},
	}, times(5, step{label: "wrong old password", do: call("/old-password", "password", wrong)}),
		times(5, step{label: "a contact's wrong code", do: call("/contacts/code", "code", "00000000")}))
}

func peoplesWaysOn(n *servertest.Node) []step {
	at := func(rest string, pairs ...string) func(*visitor, *subject) answer {
		return func(v *visitor, _ *subject) answer { return v.form("/recover/"+v.flow+rest, pairs...) }
	}
	see := func(rest string) func(*visitor, *subject) answer {
		return func(v *visitor, _ *subject) answer { return v.get("/recover/" + v.flow + rest) }
	}
	return []step{
		{label: "begin", do: func(v *visitor, s *subject) answer { return v.form("/recover", "username", s.name) }},
		{label: "letters leave", work: true},
		{label: "right code", do: func(v *visitor, s *subject) answer { return at("/code", "code", n.Code(s.name))(v, s) }},
		{label: "the ways on", do: see("")},
		{label: "send by text message", do: at("/send", "way", "sms")},
		{label: "its page", do: see("")},
		{label: "wrong code", do: at("/code", "way", "sms", "code", "000000")},
		{label: "send by e-mail", do: at("/send", "way", "email")},
		{label: "its page", do: see("")},
		{label: "wrong code by e-mail", do: at("/code", "way", "email", "code", "000000")},
		{label: "the saved code's page", do: see("/saved")},
		{label: "wrong saved code", do: at("/saved", "proof", "0000")},
		{label: "the contacts' page", do: see("/contacts")},
		{label: "ask the contacts", do: at("/ask")},
		{label: "the page after it", do: see("/contacts")},
		{label: "wrong code of a contact", do: at("/contacts", "proof", "00000000")},
		{label: "the old password's page", do: see("/old")},
		{label: "wrong old password", do: at("/old", "proof", wrong)},
		{label: "password too early", do: at("/password", "password", "velvet harbour cinnamon 77", "again", "velvet harbour cinnamon 77")},
		{label: "the ways on again", do: see("/more")},
		{label: "those letters leave", work: true},
	}
}
