//go:build !race

package leak_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// linkSteps try a link that is worth nothing: a person's name is its secret.
func linkSteps(page string) []timed {
	call := calls(page, func(p *person) map[string]string { return map[string]string{"token": p.name} })
	form := func(p *person) (string, string, string) {
		return page, "application/x-www-form-urlencoded", url.Values{"link": {p.name}}.Encode()
	}
	return []timed{{"a dead link, API", 0, call, 410}, {"a dead link, page", 0, form, 410}}
}

// P2: a link that was somebody's, used or too old or of an address that has left the account, takes as long as an invented one.
func TestTimesAreAlikeForLinks(t *testing.T) {
	n, tries := pairs(t)
	all := []mode{
		{label: "this wasn't me", engine: sqldb.SQLite, steps: linkSteps(notice.PathNotMe), links: notice.PathNotMe},
		{label: "stop a recovery", engine: sqldb.SQLite, steps: linkSteps(notice.PathStop), links: notice.PathStop},
		{label: "this wasn't me, PostgreSQL", engine: sqldb.Postgres, steps: linkSteps(notice.PathNotMe)[:1], links: notice.PathNotMe},
	}
	if n == few {
		all = all[:1]
	}
	for _, m := range all {
		t.Run(m.label, func(t *testing.T) { alike(t, newNodes(t), m, n, tries) })
	}
}

// links puts links in the place of names: every account's, dead for one reason or another, and as many that nobody has.
func (c *clocked) links(page string) {
	c.t.Helper()
	kind, other := message.NewDevice, message.RecoveryWaiting
	if page == notice.PathStop {
		kind, other = other, kind
	}
	ctx, core := c.t.Context(), c.node.Core()
	core.Protect.Limits.Source.Burst, core.Protect.Limits.All.Burst = 1<<30, 1<<30
	err := core.DB.Write(ctx, func(tx *sqldb.Tx) error {
		for _, name := range c.known {
			ident, err := account.Parse(name)
			if err != nil {
				return err
			}
			who, err := core.Accounts.Find(ctx, tx, ident)
			if err != nil {
				return err
			}
			e := notice.Event{Kind: kind, Account: who.ID, Device: "Firefox"}
			if kind == message.RecoveryWaiting {
				e.Ends = tx.Now().Add(24 * time.Hour)
			}
			if err := core.Notices.Tell(ctx, tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	var dead []string
	for {
		letters, err := core.Outbox.Claim(ctx, message.Email, 500, time.Hour)
		if err != nil {
			c.t.Fatal(err)
		}
		if len(letters) == 0 {
			break
		}
		for _, l := range letters {
			if _, token, ok := strings.Cut(l.Params["link"], "#"); ok {
				dead = append(dead, token)
			}
		}
	}
	if len(dead) != len(c.known) {
		c.t.Fatalf("%d links of %d accounts", len(dead), len(c.known))
	}
	err = core.DB.Write(ctx, func(tx *sqldb.Tx) error {
		for i, change := range []string{"used_at = 1", "expires_at = 1", "address_id = 'gone'", "kind = '" + string(other) + "'"} {
			_, err := tx.Exec(ctx, fmt.Sprintf(`UPDATE notice_link SET %s WHERE used_at IS NULL AND expires_at > 1 AND address_id <> 'gone' AND kind = '%s'
				AND digest IN (SELECT digest FROM notice_link ORDER BY digest LIMIT %d)`, change, kind, (i+1)*len(dead)/4+i))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range c.unknown {
		c.unknown[i] = secret.NewToken(notice.LinkPrefix).Reveal()
	}
	c.known = dead
}
