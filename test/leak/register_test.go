package leak_test

import (
	"fmt"
	"maps"
	"net/http"
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

func invitation(t testing.TB, n *servertest.Node, address string) string {
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

// P3, I-04: once a registration has begun nothing names an address, a host or an account: an app's further field is
// refused by its name, a form's is not looked at, and another browser's flow is none.
func TestNothingRedirectsARegistration(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Idle: true, Config: func(c *config.Config) {
		c.Registration.Mode = "open"
		c.HTTP.TrustedProxies = []string{"127.0.0.0/8"}
	}})
	n.Account(ada, adaPhone)
	n.Guard.Add(mallory)
	l := &n.Core().Registration.Limits
	l.Source.Every, l.SendSource.Every, l.SendName.Every = 0, 0, 0
	a := &attack{story: &story{t: t, node: n, loot: newLoot()}}
	v := a.visitor()
	a.want(201, v.call("/registration", "address", mallory))
	code := a.onlyMallory("an app's beginning")[0]
	for path, right := range map[string][]any{
		"/registration/send": {"flow", v.flow}, "/registration/code": {"flow", v.flow, "code", code},
		"/registration/finish": {"flow", v.flow, "password", servertest.Password},
	} {
		for name, value := range extras() {
			if got := v.call(path, append(slices.Clone(right), name, value)...); got.status != 422 || got.code() != "input_invalid" {
				t.Errorf("%s with %s: %d %s", path, name, got.status, got.body)
			}
		}
	}
	p := a.visitor()
	form := func(path string, pairs ...string) answer {
		for _, name := range slices.Sorted(maps.Keys(extras())) {
			if !slices.Contains(pairs, name) {
				pairs = append(pairs, name, extras()[name])
			}
		}
		p.header = http.Header{"X-Forwarded-Host": {elsewhere}, "Referer": {"https://" + elsewhere + "/"}}
		return p.form(path, pairs...)
	}
	a.want(303, form("/register", "address", mallory))
	a.onlyMallory("a form")
	n.Clock.Advance(31 * time.Second)
	a.want(303, form("/register/"+p.flow+"/send"))
	code = a.onlyMallory("a form sent again")[0]
	thief := a.visitor()
	thief.form("/register", "address", mallory) // has a browser's secret of their own
	a.want(410, thief.form("/register/"+p.flow+"/code", "code", code))
	a.want(303, form("/register/"+p.flow+"/code", "code", code))
	a.want(410, thief.form("/register/"+p.flow+"/finish", "password", servertest.Password))
	a.want(303, form("/register/"+p.flow+"/finish", "password", servertest.Password))
	a.onlyMallory("the rest")
	if got := a.want(200, p.get("/")); !strings.Contains(got.body, "Where you are signed in") {
		t.Error("the registration itself came to nothing")
	}
}

// P4, P1: a registration under way, one of a known address, a finished one and an invitation leave nothing of use in the
// database, the log or the metrics.
func TestAStolenRegistrationHoldsNothing(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		n := servertest.Start(t, servertest.Options{Database: url, Idle: true, Config: func(c *config.Config) {
			c.Registration.Mode, c.Registration.Claims = "invitation", []string{"name", "birthdate"}
			c.HTTP.TrustedProxies = []string{"127.0.0.0/8"}
		}})
		n.Account(ada)
		s := &story{t: t, node: n, loot: newLoot()}
		const named, born = "Augusta Ada Byron King", "1985-12-10"
		secret, bound := invitation(t, n, ""), invitation(t, n, dave)
		v := s.visitor()
		s.want(201, v.call("/registration", "address", carol, "invitation", secret))
		s.want(200, v.call("/registration/code", "flow", v.flow, "code", s.read(carol)))
		s.want(201, v.call("/registration/finish", "flow", v.flow, "password", servertest.Password, "claims", map[string]string{"name": named, "birthdate": born}))
		s.want(201, s.visitor().call("/registration", "address", ada, "invitation", secret))
		s.want(201, s.visitor().call("/registration", "address", bobPhone, "invitation", secret))
		waiting := steal(t, url)
		courierWorks(t, n)
		s.loot.contact(ada, carol, dave, bobPhone)
		s.loot.hide("name", named)
		s.loot.hide("birthday", born)
		s.loot.hide("password", servertest.Password)
		tokens := s.loot.tokens([]byte(secret + " " + bound))
		for _, v := range s.who {
			tokens += s.loot.tokens(v.heard)
		}
		for _, m := range n.Inbox().Messages() {
			if code := sixDigits.FindString(m.Text); code != "" {
				s.loot.code(code)
			}
		}
		if tokens < 6 || len(s.loot.codes) < 2 {
			t.Fatalf("the story had %d tokens and %d codes", tokens, len(s.loot.codes))
		}
		s.loot.none(t, "the database, letters waiting", waiting)
		s.loot.none(t, "the database", steal(t, url))
		s.loot.none(t, "the log", []byte(n.Log.String()))
		s.loot.none(t, "the metrics", watched(n, "/metrics"))
	})
}
