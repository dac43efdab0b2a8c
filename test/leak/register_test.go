package leak_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/registration"
	"countersign/internal/testkit/servertest"
)

// newcomers is a node where anybody may open an account, and the addresses that somebody tries to open
// one with: those of accounts in every state, one that left its account lately, and some that are free.
func newcomers(t *testing.T, url string) (*servertest.Node, []*subject) {
	t.Helper()
	n, all := worldWith(t, url, false, func(c *config.Config) { c.Registration.Mode = "open" })
	limits := &n.Core().Registration.Limits
	limits.All.Every, limits.SendAll.Every = 0, 0 // one row for everybody, as in world
	all = slices.DeleteFunc(all, func(s *subject) bool { return kindOf(s) == "username" })
	for _, s := range all {
		s.ways = "[" + kindOf(s) + "]"
	}
	heldOwner := n.Account("movedaway@maildomain.example", "leftbehind@maildomain.example", "+4915112345676")
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		addresses, err := n.Core().Accounts.Addresses(t.Context(), tx, heldOwner)
		if err != nil {
			return err
		}
		for _, a := range addresses[1:] {
			if err := n.Core().Accounts.Remove(t.Context(), tx, heldOwner, a.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"movedaway@maildomain.example", "leftbehind@maildomain.example", "+4915112345676"} {
		s := &subject{label: "held or moved " + name, name: name, known: true, visitor: newVisitor(t, n, fmt.Sprintf("10.15%d.150.101", i))}
		s.ways = "[" + kindOf(s) + "]"
		all = append(all, s)
	}
	return n, all
}

func kindOf(s *subject) string {
	switch {
	case strings.Contains(s.name, "@"):
		return "email"
	case strings.HasPrefix(s.name, "+"):
		return "phone"
	}
	return "username"
}

// P2, A-6.3.8, C-AU-13, I-01: an app that opens accounts cannot tell which addresses have one: limits, sends, wrong
// codes, expiry, and the day after, when an owner is told again.
func TestAppsCannotTellAtRegistration(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		n, all := newcomers(t, url)
		begin := func(v *visitor, s *subject) answer {
			return v.call("/registration", "address", s.name, "language", "de")
		}
		code := func(v *visitor, _ *subject) answer {
			return v.call("/registration/code", "flow", v.flow, "code", "000000")
		}
		send := func(v *visitor, _ *subject) answer { return v.call("/registration/send", "flow", v.flow) }
		finish := func(v *visitor, _ *subject) answer {
			return v.call("/registration/finish", "flow", v.flow, "password", servertest.Password)
		}
		run(t, n, all, slices.Concat([]step{
			{label: "begin", do: begin},
			{label: "letters leave", work: true},
			{label: "send too soon", do: send},
			{label: "finish too early", do: finish},
			{label: "send again", wait: 31 * time.Second, do: send},
			{label: "those letters leave", work: true},
		}, times(6, step{label: "wrong code", do: code}), []step{
			{label: "another flow", do: begin},
			{label: "code at a limit", do: code},
		}, times(4, step{label: "begin", do: begin}), []step{
			{label: "an hour later", wait: time.Hour, do: code},
			{label: "begin after an hour", do: begin},
			{label: "wrong code after an hour", do: code},
			{label: "begin after a day", wait: 24 * time.Hour, do: begin},
			{label: "letters of the next day leave", work: true},
			{label: "expired", wait: 16 * time.Minute, do: send},
			{label: "expired code", do: code},
		}), byWaysOffered)
	})
}

// P2: nor can people.
func TestPeopleCannotTellAtRegistration(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		n, all := newcomers(t, url)
		follow := func(v *visitor, _ *subject) answer { return v.get(v.path) }
		at := func(rest string, pairs ...string) func(v *visitor, s *subject) answer {
			return func(v *visitor, _ *subject) answer { return v.form("/register/"+v.flow+rest, pairs...) }
		}
		begin := func(v *visitor, s *subject) answer { return v.form("/register", "address", s.name) }
		run(t, n, all, slices.Concat([]step{
			{label: "the form", do: func(v *visitor, _ *subject) answer { return v.get("/register") }},
			{label: "address", do: begin},
			{label: "the code page", do: follow},
			{label: "send again too soon", do: at("/send")},
			{label: "the page that says so", do: follow},
			{label: "no code", do: at("/code", "code", " ")},
			{label: "the last form too early", do: at("/finish", "password", servertest.Password)},
			{label: "in Arabic", do: func(v *visitor, s *subject) answer {
				v.header.Set("Accept-Language", "ar")
				return begin(v, s)
			}},
			{label: "its page", do: follow},
			{label: "send again", wait: 31 * time.Second, do: at("/send")},
			{label: "the page after it", do: follow},
			{label: "letters leave", work: true},
		}, times(6, step{label: "wrong code", do: at("/code", "code", "000000")}), []step{
			{label: "the page of a limited flow", do: func(v *visitor, _ *subject) answer { return v.get("/register/" + v.flow) }},
			{label: "expired", wait: time.Hour, do: at("/send")},
			{label: "expired page", do: func(v *visitor, _ *subject) answer { return v.get("/register/" + v.flow) }},
		}), byWaysOffered)
	})
}

// Not even an invitation tells: one for another address is refused for every name alike.
func TestInvitationsDoNotTell(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		n, all := newcomers(t, url)
		n.Core().Registration.Rules.Mode = "invitation"
		token := invitation(t, n, "")
		bound := invitation(t, n, "somebodyelse@elsewhere.example")
		with := func(secret string) func(v *visitor, s *subject) answer {
			return func(v *visitor, s *subject) answer {
				return v.call("/registration", "address", s.name, "invitation", secret)
			}
		}
		run(t, n, all, []step{
			{label: "none", do: func(v *visitor, s *subject) answer { return v.call("/registration", "address", s.name) }},
			{label: "for another address", do: with(bound)},
			{label: "for anybody", do: with(token)},
			{label: "a wrong code", do: func(v *visitor, _ *subject) answer {
				return v.call("/registration/code", "flow", v.flow, "code", "000000")
			}},
		}, byWaysOffered)
	})
}

func invitation(t *testing.T, n *servertest.Node, address string) string {
	t.Helper()
	uses := 1000
	if address != "" {
		uses = 1
	}
	token, _, err := n.Core().Registration.Invite(t.Context(), registration.NewInvitation{Address: address, For: time.Hour, Uses: uses})
	if err != nil {
		t.Fatal(err)
	}
	return token.Reveal()
}
