//go:build !race

package leak_test

import (
	"net/url"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
	"countersign/internal/registration"
)

func unlimited(l *registration.Limits) {
	for _, burst := range []*int{&l.Source.Burst, &l.All.Burst, &l.SendName.Burst, &l.SendSource.Burst, &l.SendAll.Burst, &l.Code.Free, &l.Code.Stop} {
		*burst = 1 << 30
	}
}

// registrationCalls are an app's calls up to the code, which is as far as anybody comes with an address of somebody else's.
func registrationCalls() []timed {
	flow := func(p *person) map[string]string { return map[string]string{"flow": p.flow} }
	return []timed{
		{"begin", 0, calls("/registration", func(p *person) map[string]string { return map[string]string{"address": p.name} }), 201},
		{"wrong code", 0, calls("/registration/code", func(p *person) map[string]string { return map[string]string{"flow": p.flow, "code": "000000"} }), 401},
		{"send again", 31 * time.Second, calls("/registration/send", flow), 202},
	}
}

// invitedCalls begin as whoever has an invitation, for anybody or for somebody else.
func invitedCalls() []timed {
	begin := func(which func(p *person) string) func(*person) (string, string, string) {
		return calls("/registration", func(p *person) map[string]string {
			return map[string]string{"address": p.name, "invitation": which(p)}
		})
	}
	return []timed{
		{"begin", 0, begin(func(p *person) string { return p.code }), 201},
		{"begin with somebody else's invitation", 0, begin(func(p *person) string { return p.token }), 403},
	}
}

// invite gives both the same invitations.
func invite(c *clocked, two [2]*person) {
	c.t.Helper()
	if c.invitations == [2]string{} {
		c.node.Core().Registration.Rules.Mode = "invitation"
		c.invitations = [2]string{invitation(c.t, c.node, ""), invitation(c.t, c.node, "somebodyelse@elsewhere.example")}
	}
	for _, p := range two {
		p.code, p.token = c.invitations[0], c.invitations[1]
	}
}

// registrationForms are a person's that send something; the other asks what an app's call asks.
func registrationForms() []timed {
	form := func(path string, pairs func(p *person) url.Values) func(*person) (string, string, string) {
		return func(p *person) (string, string, string) {
			to := "/register"
			if path != "" {
				to += "/" + p.flow + path
			}
			return to, "application/x-www-form-urlencoded", pairs(p).Encode()
		}
	}
	return []timed{
		{"address", 0, form("", func(p *person) url.Values { return url.Values{"address": {p.name}} }), 303},
		{"send again", 31 * time.Second, form("/send", func(*person) url.Values { return nil }), 303},
	}
}

// P2, A-6.3.8, C-AU-13, I-02: registration takes as long for an address that has an account, or had one lately, as for a free one.
func TestTimesAreAlikeAtRegistration(t *testing.T) {
	n, tries := pairs(t)
	all := []mode{
		{label: "registration, API", engine: sqldb.SQLite, steps: registrationCalls()},
		{label: "registration, pages", engine: sqldb.SQLite, steps: registrationForms()},
		{label: "registration, API, by invitation", engine: sqldb.SQLite, steps: invitedCalls(), before: map[string]func(*clocked, [2]*person){"begin": invite}},
		{label: "registration, API, held", engine: sqldb.SQLite, steps: registrationCalls()[:1], held: true},
		{label: "registration, API, PostgreSQL", engine: sqldb.Postgres, steps: registrationCalls()[:1]},
	}
	if n == few {
		all = all[:2]
	}
	shared := newNodes(t)
	for _, m := range all {
		t.Run(m.label, func(t *testing.T) { alike(t, shared, m, n, tries) })
	}
}

// hold takes their address from every account, which is then held for it.
func (c *clocked) hold() {
	c.t.Helper()
	err := c.node.Core().DB.Write(c.t.Context(), func(tx *sqldb.Tx) error {
		for _, name := range c.known {
			ident, err := account.Parse(name)
			if err != nil {
				return err
			}
			other, err := account.Parse("second." + name)
			if err != nil {
				return err
			}
			who, err := c.node.Core().Accounts.Find(c.t.Context(), tx, ident)
			if err != nil {
				return err
			}
			addresses, err := c.node.Core().Accounts.Addresses(c.t.Context(), tx, who.ID)
			if err != nil {
				return err
			}
			err = c.node.Core().Accounts.Add(c.t.Context(), tx, who.ID, account.NewIdentifier{Identifier: other, Verified: true, SignsIn: true, Notices: true})
			if err != nil {
				return err
			}
			if err := c.node.Core().Accounts.Remove(c.t.Context(), tx, who.ID, addresses[0].ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
}
