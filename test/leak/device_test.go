package leak_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"countersign/internal/assurance"
	"countersign/internal/oidc"
	"countersign/internal/platform/config"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit/servertest"
)

// onDevice registers an application on devices without a browser. It returns what proves the application.
func onDevice(t testing.TB, n *servertest.Node, id string) (known oidc.Client, basic string) {
	t.Helper()
	return application(t, n, oidc.Client{ID: id, Device: true, Scopes: []string{"openid", "offline_access"}})
}

// waits has a device of an application wait.
func waits(t testing.TB, n *servertest.Node, c oidc.Client) oidc.Pairing {
	t.Helper()
	p, err := n.Core().Applications.Pair(t.Context(), c, url.Values{"scope": {"openid offline_access"}}, netip.MustParseAddr("192.0.2.7"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func polling(device string) url.Values {
	return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {device}}
}

// decides has somebody who is signed in answer whether a device is let in.
func decides(t testing.TB, n *servertest.Node, p oidc.Pairing, agreed bool) {
	t.Helper()
	core, who := n.Core(), n.Account(fmt.Sprintf("%x@maildomain.example", p.User))
	var me session.Session
	err := core.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		if _, err := core.Sessions.Start(t.Context(), tx, session.New{Account: who, Methods: []assurance.Method{assurance.Password, assurance.SMS}}); err != nil {
			return err
		}
		live, err := core.Sessions.Live(t.Context(), tx, who)
		me = live[0]
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	from, held := netip.MustParseAddr("192.0.2.7"), secret.NewToken(signin.BrowserPrefix)
	b, err := core.Applications.Typed(t.Context(), oidc.Asked{Query: url.Values{"code": {p.User}}, Browser: held, Session: me, Source: from})
	if err == nil {
		_, err = core.Applications.Decide(t.Context(), oidc.Ref{Request: b.Request, Browser: held}, oidc.Decision{Session: me, Agreed: agreed, Source: from})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// I-01, RFC 8628: nobody can tell from any answer what became of a device's code that is good for nothing any more, or whether there ever was one; a link
// with a code tells not even that one waits; and an application that holds another's device code learns nothing by it, and does nothing to it.
func TestNobodyCanTellWhatBecameOfADevice(t *testing.T) {
	each(t, func(t *testing.T, link string) {
		n := servertest.Start(t, servertest.Options{Database: link, Idle: true, Config: func(c *config.Config) {
			c.HTTP.TrustedProxies = []string{"127.0.0.0/8"}
		}})
		tv, basic := onDevice(t, n, "tv")
		_, thief := onDevice(t, n, "radio")
		gone, _ := onDevice(t, n, "gone")
		has := map[*subject]oidc.Pairing{}
		var all []*subject
		add := func(label string, known bool, p oidc.Pairing) {
			s := &subject{label: label, known: known, visitor: newVisitor(t, n, fmt.Sprintf("10.172.1%02d.101", len(all)))}
			s.visitor.header.Set("Authorization", thief)
			has[s], all = p, append(all, s)
		}
		invented := func(user string) oidc.Pairing { return oidc.Pairing{Device: secret.NewToken("cse"), User: user} }
		add("first of all", false, invented("BBBB-BBBB"))
		all[0].first = true
		over := waits(t, n, tv)
		n.Clock.Advance(11 * time.Minute)
		add("over", true, over)
		add("invented", false, invented("BCDF-GHJK"))
		for _, agreed := range []bool{true, false} {
			p := waits(t, n, tv)
			decides(t, n, p, agreed)
			add(fmt.Sprint("answered with ", agreed), true, p)
		}
		used := waits(t, n, tv)
		decides(t, n, used, true)
		if _, err := n.Core().Applications.Exchange(t.Context(), tv, polling(used.Device.Reveal()), oidc.Caller{Source: netip.MustParseAddr("192.0.2.7")}); err != nil {
			t.Fatal(err)
		}
		add("used", true, used)
		left := waits(t, n, gone)
		if err := n.Core().Applications.Remove(t.Context(), "gone"); err != nil {
			t.Fatal(err)
		}
		add("of an application that is gone", true, left)
		add("waiting", true, waits(t, n, tv))

		ask := func(v *visitor, s *subject) answer {
			return v.exchange(v.request(http.MethodPost, string(oidc.TokenPath), "application/x-www-form-urlencoded", polling(has[s].Device.Reveal()).Encode()))
		}
		typed := func(v *visitor, s *subject) answer {
			user := has[s].User
			if s.label == "waiting" { // which is told: that is what it is for
				user = "ZZZZ-ZZZZ"
			}
			return v.form("/device", "code", user)
		}
		opened := func(v *visitor, s *subject) answer {
			return v.get("/device?" + url.Values{"code": {has[s].User}}.Encode())
		}
		run(t, n, all, []step{
			{label: "a link with the code", do: opened},
			{label: "another application asks by the device code", do: ask},
			{label: "it asks again at once", do: ask},
			{label: "it takes it for a code", do: func(v *visitor, s *subject) answer {
				return v.exchange(v.request(http.MethodPost, string(oidc.TokenPath), "application/x-www-form-urlencoded", redeeming(has[s].Device.Reveal()).Encode()))
			}},
			{label: "it asks about it", do: func(v *visitor, s *subject) answer {
				return v.form(string(oidc.IntrospectPath), "token", has[s].Device.Reveal())
			}},
			{label: "it revokes it", do: func(v *visitor, s *subject) answer {
				return v.form(string(oidc.RevokePath), "token", has[s].Device.Reveal())
			}},
			{label: "the code is typed", do: typed},
			{label: "and again", do: typed},
			{label: "when all are over", wait: time.Hour, do: typed},
		}, together)
		// Its own device is not told to slow down by what another has asked.
		one := &subject{}
		has[one] = waits(t, n, tv)
		for _, who := range []string{thief, thief, basic} {
			v := newVisitor(t, n, "10.173.100.101")
			v.header.Set("Authorization", who)
			a := ask(v, one)
			if want := map[bool]string{true: "authorization_pending", false: "invalid_grant"}[who == basic]; a.fields["error"] != want {
				t.Errorf("what another application did to it shows: %d %s", a.status, a.body)
			}
		}
	})
}
