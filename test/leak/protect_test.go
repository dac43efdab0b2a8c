package leak_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/servertest"
)

// linksOf tells an account's holder something and returns the secrets of the links, by where the letters go.
func linksOf(t *testing.T, n *servertest.Node, id account.ID, kind message.Kind) map[string]string {
	t.Helper()
	e := notice.Event{Kind: kind, Account: id, Device: "Firefox on Linux"}
	if kind == message.RecoveryWaiting {
		e.Ends = n.Core().DB.Now().Add(24 * time.Hour)
	}
	if err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error { return n.Core().Notices.Tell(t.Context(), tx, e) }); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, ch := range []message.Channel{message.Email, message.SMS} {
		letters, err := n.Core().Outbox.Claim(t.Context(), ch, 100, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range letters {
			_, out[l.To], _ = strings.Cut(l.Params["link"], "#")
		}
	}
	return out
}

// deadLinks are links that are worth nothing on a page, each for a reason of its own. Those of nobody are the
// unknown ones of run.
func deadLinks(t *testing.T, n *servertest.Node, page string) (all []*subject) {
	t.Helper()
	kind, other := message.NewDevice, message.RecoveryWaiting
	if page == notice.PathStop {
		kind, other = other, kind
	}
	const first, second, phone = "linkedada@maildomain.example", "linkedada@elsewhere.example", "+4915112345691"
	id := n.Account(first, second, phone)
	old := linksOf(t, n, id, kind)
	n.Clock.Advance(notice.LinkFor - account.Hold)
	former := linksOf(t, n, id, kind)
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		addresses, err := n.Core().Accounts.Addresses(t.Context(), tx, id)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(addresses, func(a account.Address) bool { return a.Normal == second })
		return n.Core().Accounts.Remove(t.Context(), tx, id, addresses[i].ID)
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Clock.Advance(account.Hold)
	used, wrongPage := linksOf(t, n, id, kind), linksOf(t, n, id, other)
	erased := n.Account("erasedbob@maildomain.example")
	gone := linksOf(t, n, erased, kind)
	err = n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		if _, ok, err := n.Core().Notices.Use(t.Context(), tx, secret.Of(used[phone]), page); err != nil || !ok {
			return fmt.Errorf("use a link: %t, %w", ok, err)
		}
		return nil
	})
	if err == nil {
		err = n.Core().Owner.Erase(t.Context(), erased, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	all = []*subject{
		{label: "invented", name: secret.NewToken(notice.LinkPrefix).Reveal()},
		{label: "invented, another", name: secret.NewToken(notice.LinkPrefix).Reveal()},
		{label: "used", name: used[phone], known: true},
		{label: "expired", name: old[first], known: true},
		{label: "to an address removed long ago", name: former[second], known: true},
		{label: "of another page", name: wrongPage[first], known: true},
		{label: "of an account that was erased", name: gone["erasedbob@maildomain.example"], known: true},
		{label: "cut", name: used[first][:30], known: true},
		{label: "of another kind", name: secret.NewToken("css").Reveal(), known: true},
		{label: "text", name: "anything at all", known: true},
	}
	for i, s := range all {
		if s.name == "" {
			t.Fatalf("%s: no link", s.label)
		}
		s.visitor = newVisitor(t, n, fmt.Sprintf("10.120.1%02d.101", i))
	}
	return all
}

// P2: whatever is wrong with a link, and whoever's it was, the answer and the rows are the same: at the API and on the
// pages, and over the limit.
func TestNobodyCanTellWhatIsWrongWithALink(t *testing.T) {
	for _, page := range []string{notice.PathNotMe, notice.PathStop} {
		each(t, func(t *testing.T, url string) {
			n, _ := world(t, url, false)
			n.Core().Protect.Limits.All.Every = 0 // as in world
			all := deadLinks(t, n, page)
			call := func(v *visitor, s *subject) answer { return v.call(page, "token", s.name) }
			form := func(v *visitor, s *subject) answer { return v.form(page, "link", s.name) }
			run(t, n, all, slices.Concat([]step{
				{label: "API", do: call},
				{label: "page", do: form},
				{label: "page, the whole link", do: func(v *visitor, s *subject) answer { return v.form(page, "link", n.URL+page+"#"+s.name) }},
			}, times(n.Core().Protect.Limits.Source.Burst-2, step{label: "API", do: call}), []step{
				{label: "page, over the limit", do: form},
				{label: "a minute later", wait: time.Minute, do: form},
			}), together)
		})
	}
}
