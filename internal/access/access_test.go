package access_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign/internal/access"
	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

const wiki = "https://wiki.example.org"

// gate is the service with an account that has a session.
type gate struct {
	*access.Service

	t     *testing.T
	m     *testkit.Machine
	ada   account.ID
	clock *dbtest.Clock
}

func newGate(t *testing.T, rules ...access.Rule) *gate {
	t.Helper()
	clock := dbtest.NewClock()
	db := dbtest.Open(t, dbtest.NewURL(t, sqldb.SQLite), clock)
	m := testkit.NewMachine(t, db, testkit.Ring(t))
	return &gate{&access.Service{DB: db, Ring: testkit.Ring(t), Sessions: m.Sessions, Accounts: m.Accounts, Rules: rules}, t, m, m.Account("ada@example.org"), clock}
}

func (g *gate) start(methods ...assurance.Method) session.Session {
	g.t.Helper()
	words := make([]string, len(methods))
	for i, m := range methods {
		words[i] = string(m)
	}
	var s session.Session
	err := g.DB.Write(g.t.Context(), func(tx *sqldb.Tx) error {
		started, err := g.m.Sessions.Start(g.t.Context(), tx, session.New{Account: g.ada, Methods: methods, Name: "Desk"})
		s.ID = started.ID
		return err
	})
	if err != nil {
		g.t.Fatal(err)
	}
	if s, err = g.m.Sessions.ByID(g.t.Context(), s.ID); err != nil {
		g.t.Fatal(err)
	}
	return s
}

// pass carries a session to a site as a browser does.
func (g *gate) pass(host string, s session.Session) secret.Token {
	g.t.Helper()
	entry := secret.NewToken(access.EntryPrefix)
	pass, _, err := g.carry(host, "/", entry, s, entry, host)
	if err != nil {
		g.t.Fatal(err)
	}
	return pass
}

func (g *gate) carry(host, to string, entry secret.Token, s session.Session, shown secret.Token, at string) (secret.Token, string, error) {
	g.t.Helper()
	wish, err := g.Wish(host, to, entry)
	if err != nil {
		g.t.Fatal(err)
	}
	where, err := g.Ticket(wish, s)
	if err != nil {
		g.t.Fatal(err)
	}
	u, err := url.Parse(where)
	if err != nil || u.Path != access.EnterPath {
		g.t.Fatalf("%v %q", err, where)
	}
	return g.Enter(at, u.Query().Get("ticket"), shown)
}

func (g *gate) decide(method, host, path string, p access.Proof) access.Decision {
	g.t.Helper()
	d, err := g.Decide(g.t.Context(), access.Asked{Method: method, Host: host, Path: path}, p)
	if err != nil {
		g.t.Fatal(err)
	}
	return d
}

func rule(path string, n access.Need, methods ...string) access.Rule {
	return access.Rule{Site: wiki, Path: path, Need: n, Methods: methods}
}

// The first rule that fits counts, by whole segments; what none fits, and what can be read in two ways, nobody opens.
func TestTheFirstRuleThatFitsCounts(t *testing.T) {
	g := newGate(t,
		rule("/admin/", access.Need{Who: access.SignedIn, Groups: []string{"admins"}}),
		rule("/public/", access.Need{Who: access.Anyone}, "GET", "HEAD"),
		rule("/off/", access.Need{Who: access.Nobody}),
		rule("/docs/", access.Need{Who: access.SignedIn}),
		access.Rule{Site: "https://*.apps.example.org", Path: "/", Need: access.Need{Who: access.Anyone}},
	)
	in := access.Proof{Pass: g.pass("wiki.example.org", g.start(assurance.Password, assurance.OTP))}
	for _, c := range []struct {
		method, host, path string
		out, in            access.Verdict
	}{
		{"GET", "wiki.example.org", "/public/logo.png", access.Allowed, access.Allowed},
		{"GET", "WIKI.example.org:443", "/public", access.Allowed, access.Allowed},
		{"POST", "wiki.example.org", "/public/logo.png", access.Forbidden, access.Forbidden},
		{"GET", "wiki.example.org", "/publications", access.Forbidden, access.Forbidden},
		{"GET", "wiki.example.org", "/Public/x", access.Forbidden, access.Forbidden}, // what lets everybody in does so to the letter
		{"GET", "wiki.example.org", "/docs/a?to=/../..//b", access.Unsigned, access.Allowed},
		{"GET", "wiki.example.org", "/admin/x", access.Unsigned, access.Forbidden},
		{"GET", "wiki.example.org", "/ADMIN/x", access.Unsigned, access.Forbidden},
		{"GET", "wiki.example.org", "/%61dmin/x", access.Unsigned, access.Forbidden},
		{"GET", "wiki.example.org", "/off/x", access.Forbidden, access.Forbidden},
		{"GET", "wiki.example.org", "/", access.Forbidden, access.Forbidden},
		{"GET", "wiki.example.org", "/public/../admin/x", access.Odd, access.Odd},
		{"GET", "wiki.example.org", "/public/%2e%2e/admin/x", access.Odd, access.Odd},
		{"GET", "wiki.example.org", "/public/..%2fadmin/x", access.Odd, access.Odd},
		{"GET", "wiki.example.org", "/public/..;/admin/x", access.Odd, access.Odd},
		{"GET", "wiki.example.org", `/public/..\admin/x`, access.Odd, access.Odd},
		{"GET", "wiki.example.org", "/public/%252e%252e/admin/x", access.Odd, access.Odd},
		{"GET", "wiki.example.org", "/public//admin/x", access.Odd, access.Odd},
		{"GET", "wiki.example.org", "/public/./x", access.Odd, access.Odd},
		{"GET", "wiki.example.org", "//evil.example/public/x", access.Odd, access.Odd},
		{"GET", "wiki.example.org", "/public/%zz", access.Odd, access.Odd},
		{"GET", "wiki.example.org", "http://wiki.example.org/public/x", access.Odd, access.Odd},
		{"GET", "wiki.example.org", "/public/%00", access.Odd, access.Odd},
		{"GET", "wiki.example.org", "/admin#/x", access.Odd, access.Odd}, // to some applications the path ends there
		{"GET", "wiki.example.org", "/admin%3f/x", access.Odd, access.Odd},
		{"head", "wiki.example.org", "/public/logo.png", access.Allowed, access.Allowed}, // which applications take for HEAD
		{"GET", "evil.example", "/public/x", access.Unknown, access.Unknown},
		{"GET", "wiki.example.org.evil.example", "/public/x", access.Unknown, access.Unknown},
		{"GET", "a.apps.example.org", "/a//b/%2f", access.Allowed, access.Allowed}, // no rule by path: nothing to get around
		{"GET", "apps.example.org", "/", access.Unknown, access.Unknown},
		{"GET", "evil.example/.apps.example.org", "/", access.Unknown, access.Unknown},
		{"GET", "evil@a.apps.example.org", "/", access.Unknown, access.Unknown},
	} {
		if got := g.decide(c.method, c.host, c.path, access.Proof{}); got.Verdict != c.out {
			t.Errorf("%s %s%s: %s, want %s", c.method, c.host, c.path, got.Verdict, c.out)
		}
		if got := g.decide(c.method, c.host, c.path, in); got.Verdict != c.in {
			t.Errorf("signed in, %s %s%s: %s, want %s", c.method, c.host, c.path, got.Verdict, c.in)
		}
	}
}

// Groups, level and time are asked for together; leaving a group is heard of within a second.
func TestWhatARuleAsksFor(t *testing.T) {
	g := newGate(t,
		rule("/team/", access.Need{Who: access.SignedIn, Groups: []string{"ops", "admins"}}),
		rule("/strong/", access.Need{Who: access.SignedIn, Level: assurance.AAL2}),
		rule("/fresh/", access.Need{Who: access.SignedIn, Within: 15 * time.Minute}),
		rule("/", access.Need{Who: access.SignedIn}),
	)
	g.Emails = []access.Site{wiki}
	weak := access.Proof{Pass: g.pass("wiki.example.org", g.start(assurance.Password, assurance.Email))}
	strong := access.Proof{Pass: g.pass("wiki.example.org", g.start(assurance.Password, assurance.OTP))}
	verdict := func(path string, p access.Proof) access.Verdict {
		return g.decide("GET", "wiki.example.org", path, p).Verdict
	}
	join := func(change func(tx *sqldb.Tx) error) {
		if err := g.DB.Write(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		g.clock.Advance(time.Second)
	}
	if v := verdict("/team/x", weak); v != access.Forbidden {
		t.Errorf("not in the group: %s", v)
	}
	join(func(tx *sqldb.Tx) error { _, err := g.Accounts.Join(t.Context(), tx, g.ada, "ops"); return err })
	d := g.decide("GET", "wiki.example.org", "/team/x", weak)
	if d.Verdict != access.Allowed || d.Account != g.ada || strings.Join(d.Groups, ",") != "ops" || d.Level != assurance.AAL1 || d.Email != "ada@example.org" {
		t.Errorf("in the group: %+v", d)
	}
	join(func(tx *sqldb.Tx) error { _, err := g.Accounts.Leave(t.Context(), tx, g.ada, "ops"); return err })
	if v := verdict("/team/x", weak); v != access.Forbidden {
		t.Errorf("a second after leaving: %s", v)
	}
	if v := verdict("/strong/x", weak); v != access.Weak {
		t.Errorf("one factor where two are asked for: %s", v)
	}
	if v := verdict("/strong/x", strong); v != access.Allowed {
		t.Errorf("two factors: %s", v)
	}
	if v := verdict("/fresh/x", strong); v != access.Allowed {
		t.Errorf("just signed in: %s", v)
	}
	g.clock.Advance(15 * time.Minute)
	if v := verdict("/fresh/x", strong); v != access.Weak {
		t.Errorf("signed in some time ago: %s", v)
	}
	if v := verdict("/", strong); v != access.Allowed {
		t.Errorf("the rest: %s", v)
	}
}

// A pass is for one site, as long as its session is live; whoever changes it has none.
func TestAPassIsForOneSiteAndOneSession(t *testing.T) {
	g := newGate(t, rule("/", access.Need{Who: access.SignedIn}), access.Rule{Site: "https://other.example.org", Path: "/", Need: access.Need{Who: access.SignedIn}})
	s := g.start(assurance.Password)
	pass := g.pass("wiki.example.org", s)
	if d := g.decide("GET", "other.example.org", "/", access.Proof{Pass: pass}); d.Verdict != access.Unsigned {
		t.Errorf("at another site: %s", d.Verdict)
	}
	text := pass.Reveal()
	for _, bad := range []string{"", "x", string(s.ID), text[:len(text)-2], text[:20] + "A" + text[21:]} {
		if d := g.decide("GET", "wiki.example.org", "/", access.Proof{Pass: secret.Of(bad)}); d.Verdict != access.Unsigned && bad != text {
			t.Errorf("%q: %s", bad, d.Verdict)
		}
	}
	err := g.DB.Write(t.Context(), func(tx *sqldb.Tx) error { return g.m.Sessions.EndAll(t.Context(), tx, g.ada, "test") })
	if err != nil {
		t.Fatal(err)
	}
	d := g.decide("GET", "wiki.example.org", "/a?b=c&d", access.Proof{Pass: pass})
	if d.Verdict != access.Unsigned || d.Mend != wiki+access.BeginPath+"?to="+url.QueryEscape("/a?b=c&d") {
		t.Errorf("after its session ended: %+v", d)
	}
}

// Nobody enters with somebody else's ticket: not in another browser, not at another site, not later; and none leads elsewhere (RFC 9700
// sections 4.5, 4.7 and 4.11, in our terms).
func TestATicketIsForTheBrowserThatBegan(t *testing.T) {
	g := newGate(t, rule("/", access.Need{Who: access.SignedIn}), access.Rule{Site: "https://other.example.org", Path: "/", Need: access.Need{Who: access.SignedIn}})
	s := g.start(assurance.Password)
	mine, theirs := secret.NewToken(access.EntryPrefix), secret.NewToken(access.EntryPrefix)
	refused := func(what string, _ secret.Token, _ string, err error) {
		t.Helper()
		if !errors.Is(err, access.ErrOver) {
			t.Errorf("%s: %v", what, err)
		}
	}
	enter := func(what string, shown secret.Token, at string) {
		pass, to, err := g.carry("wiki.example.org", "/a", mine, s, shown, at)
		refused(what, pass, to, err)
	}
	enter("another browser", theirs, "wiki.example.org")
	enter("none", secret.Token{}, "wiki.example.org")
	enter("another site", mine, "other.example.org")
	for to, want := range map[string]string{
		"/a/b?c=d": "/a/b?c=d", "https://evil.example/": "/", "//evil.example/": "/", `/\evil.example`: "/", "/a\nb": "/", "": "/", "/" + strings.Repeat("a", 4000): "/",
	} {
		if _, got, err := g.carry("wiki.example.org", to, mine, s, mine, "wiki.example.org"); err != nil || got != want {
			t.Errorf("%q leads to %q, %v; want %q", to, got, err, want)
		}
	}
	wish, err := g.Wish("wiki.example.org", "/a", mine)
	if err != nil {
		t.Fatal(err)
	}
	where, err := g.Ticket(wish, s)
	if err != nil {
		t.Fatal(err)
	}
	_, ticket, _ := strings.Cut(where, "ticket=")
	g.clock.Advance(61 * time.Second)
	pass, to, err := g.Enter("wiki.example.org", ticket, mine)
	refused("a minute later", pass, to, err)
	pass, to, err = g.Enter("wiki.example.org", wish, mine)
	refused("a wish for a ticket", pass, to, err)
	g.clock.Advance(15 * time.Minute)
	if _, err := g.Ticket(wish, s); !errors.Is(err, access.ErrOver) {
		t.Errorf("a wish of long ago: %v", err)
	}
	if _, err := g.Wish("evil.example", "/", mine); !errors.Is(err, access.ErrUnknown) {
		t.Errorf("a host that no rule names: %v", err)
	}
}
