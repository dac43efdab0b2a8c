package leak_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
	"countersign/internal/recovery"
	"countersign/internal/testkit/servertest"
)

// lost are people who get back in, or try: what they type as name and as destination. Each has an
// account of their own, or none, so that no silent limit is shared.
func lost(t *testing.T, n *servertest.Node, all []*subject) []*subject {
	t.Helper()
	n.Core().Recovery.Limits.All.Every, n.Core().Recovery.Limits.SendAll.Every = 0, 0 // as in world
	for _, s := range all {
		switch s.name {
		case "radiap":
			s.to = "radiaperlman@maildomain.example"
		case "onlyaname":
			s.to = "somewhere@elsewhere.example"
		default:
			if !strings.ContainsAny(s.name, "@+") {
				s.to = "nowhere@elsewhere.example"
			}
		}
	}
	n.Account("wrongaddress@maildomain.example", "+4915112345681")
	n.Account("otherphone@maildomain.example", "+4915112345682")
	n.Account("notrecovering", "+4915112345683")
	helped := n.Account("helped@maildomain.example", "+4915112345684")
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		friend, err := account.Parse("friend@maildomain.example")
		if err != nil {
			return err
		}
		n.Guard.Add(friend.Normal())
		if err := n.Core().Recovery.AddContact(t.Context(), tx, helped, recovery.Contact{Label: "Friend", Holder: "Helped", Identifier: friend}); err != nil {
			return err
		}
		_, err = n.Core().Recovery.NewSavedCode(t.Context(), tx, helped)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	all = append(
		all,
		&subject{label: "another's address as destination", name: "wrongaddress@maildomain.example", to: "gracehopper@maildomain.example", known: true},
		&subject{label: "one's own phone as destination", name: "otherphone@maildomain.example", to: "+4915112345682", known: true},
		&subject{label: "an unknown number as destination", name: "notrecovering", to: "+4915112345999", known: true},
		&subject{label: "contacts and a saved code", name: "helped@maildomain.example", known: true},
		&subject{label: "nobody, to a known address", name: "nobody.at.all@elsewhere.example", to: "adalovelace@maildomain.example"},
		&subject{label: "malformed name", name: "not@@well..formed@elsewhere", known: true},
		&subject{label: "malformed number", name: "+49 (0) 1 2", known: true},
		&subject{label: "malformed destination", name: "ghostly.one", to: "not@@well..formed", known: true},
	)
	for i, s := range all {
		s.visitor = newVisitor(t, n, fmt.Sprintf("10.1%02d.1%02d.102", i/100, i%100))
	}
	return all
}

func (s *subject) goesTo() string {
	if s.to != "" {
		return s.to
	}
	return s.name
}

// byLook groups those whose code travels alike, which the look of what they typed decides.
func byLook(s *subject) string {
	if strings.Contains(s.goesTo(), "@") {
		return "email"
	}
	return "sms"
}

// P2, I-01, I-02, X16, C-FP-01: at the API, through every step that a stranger comes to, wrong order, limits that
// show and limits that do not, and the end of a flow.
func TestAppsCannotTellWhomARecoveryFinds(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		n, all := world(t, url, false)
		all = lost(t, n, all)
		begin := func(v *visitor, s *subject) answer {
			if s.to == "" {
				return v.call("/recovery", "identifier", s.name)
			}
			return v.call("/recovery", "identifier", s.name, "to", s.to)
		}
		call := func(path string, pairs ...any) func(*visitor, *subject) answer {
			return func(v *visitor, _ *subject) answer {
				return v.call("/recovery"+path, append([]any{"flow", v.flow}, pairs...)...)
			}
		}
		send := func(v *visitor, s *subject) answer { return call("/send", "way", byLook(s))(v, s) }
		wrongCode := call("/code", "code", "000000")
		run(t, n, all, slices.Concat([]step{
			{label: "begin", do: begin},
			{label: "state", do: call("/state")},
			{label: "wrong code", do: wrongCode},
			{label: "send too soon", do: send},
			{label: "send by the other way", do: func(v *visitor, s *subject) answer {
				return call("/send", "way", map[string]string{"sms": "email", "email": "sms"}[byLook(s)])(v, s)
			}},
			{label: "contacts too early", do: call("/contacts")},
			{label: "a contact's code too early", do: call("/contacts/code", "code", "00000000")},
			{label: "a code of an app too early", do: call("/own-code", "way", "otp", "code", "123456")},
			{label: "old password too early", do: call("/old-password", "password", wrong)},
			{label: "wait too early", do: call("/wait")},
			{label: "password too early", do: call("/password", "password", "velvet harbour cinnamon 77")},
			{label: "wrong saved code", do: call("/saved-code", "code", "0000-0000-0000-0000-0000-0000")},
			{label: "send again", wait: 31 * time.Second, do: send},
			{label: "letters leave", work: true},
		}, times(6, step{label: "wrong code", do: wrongCode}), times(5, step{label: "wrong saved code", do: call("/saved-code", "code", "0000")}),
			// Over what an account is sent, silently.
			times(4, step{label: "begin anew", do: begin}), []step{
				{label: "a code at its limit", do: wrongCode},
				{label: "half an hour later", wait: 31 * time.Minute, do: wrongCode},
				{label: "begin once more", do: begin},
				{label: "wrong code after a wait", do: wrongCode},
			}), byLook)
	})
}

// P2, I-11: the same at the pages, without JavaScript.
func TestPeopleCannotTellWhomARecoveryFinds(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		n, all := world(t, url, false)
		all = lost(t, n, all)
		post := func(v *visitor, s *subject) answer { return v.form("/recover", "username", s.name, "to", s.to) }
		follow := func(v *visitor, _ *subject) answer { return v.get(v.path) }
		at := func(rest string, pairs ...string) func(*visitor, *subject) answer {
			return func(v *visitor, _ *subject) answer { return v.form("/recover/"+v.flow+rest, pairs...) }
		}
		see := func(rest string) func(*visitor, *subject) answer {
			return func(v *visitor, _ *subject) answer { return v.get("/recover/" + v.flow + rest) }
		}
		resend := func(v *visitor, s *subject) answer { return at("/send", "way", byLook(s))(v, s) }
		run(t, n, all, slices.Concat([]step{
			{label: "the form", do: func(v *visitor, _ *subject) answer { return v.get("/recover") }},
			{label: "name and destination", do: post},
			{label: "the code page", do: follow},
			{label: "no code", do: at("/code", "code", " ")},
			{label: "wrong code", do: at("/code", "code", "000000")},
			{label: "send too soon", do: resend},
			{label: "the page that says so", do: follow},
			{label: "send again", wait: 31 * time.Second, do: resend},
			{label: "the page after it", do: follow},
			{label: "a way that does not exist", do: at("/send", "way", "pigeon")},
			{label: "the saved code's page", do: see("/saved")},
			{label: "wrong saved code", do: at("/saved", "proof", "0000-0000-0000-0000-0000-0000")},
			{label: "the ways on, too early", do: see("/more")},
			{label: "the contacts' page, too early", do: see("/contacts")},
			{label: "the old password's page, too early", do: see("/old")},
			{label: "ask too early", do: at("/ask")},
			{label: "a contact's code too early", do: at("/contacts", "proof", "00000000")},
			{label: "old password too early", do: at("/old", "proof", wrong)},
			{label: "wait too early", do: at("/wait")},
			{label: "password too early", do: at("/password", "password", "velvet harbour cinnamon 77", "again", "velvet harbour cinnamon 77")},
			{label: "letters leave", work: true},
		}, times(6, step{label: "wrong code", do: at("/code", "code", "000000")}), []step{
			{label: "again, in German, with a device cookie", do: func(v *visitor, s *subject) answer {
				v.header.Set("Accept-Language", "de")
				v.cookies["__Host-cs_device"] = "csd_" + strings.Repeat("A", 49)
				return post(v, s)
			}},
			{label: "the page in German", do: follow},
			{label: "expired", wait: 31 * time.Minute, do: see("")},
		}), byLook)
	})
}
