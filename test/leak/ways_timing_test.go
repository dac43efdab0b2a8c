//go:build !race

package leak_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/message"
	"countersign/internal/platform/sqldb"
	"countersign/internal/recovery"
)

// waysOn are an app's calls once somebody has proved that an address is theirs: what can still be found out is what the
// account has beside it.
func waysOn() mode {
	call := func(path string, pairs ...string) func(*person) (string, string, string) {
		return calls("/recovery"+path, func(p *person) map[string]string {
			body := map[string]string{"flow": p.flow}
			for i := 0; i < len(pairs); i += 2 {
				body[pairs[i]] = pairs[i+1]
			}
			return body
		})
	}
	right := calls("/recovery/code", func(p *person) map[string]string { return map[string]string{"flow": p.flow, "code": p.code} })
	return mode{
		label: "recovery, API, one proof", engine: sqldb.SQLite, equipped: true,
		before: map[string]func(*clocked, [2]*person){"right code": readCodes},
		steps: []timed{
			recoverySteps()[0],
			{"right code", 0, right, 200},
			{"send by text message", 0, call("/send", "way", "sms"), 200},
			{"wrong code", 0, call("/code", "way", "sms", "code", "000000"), 401},
			{"wrong saved code", 0, call("/saved-code", "code", "0000-0000"), 401},
			{"ask the contacts", 0, call("/contacts"), 200},
			{"a contact's wrong code", 0, call("/contacts/code", "code", "00000000"), 401},
			{"wrong old password", 0, call("/old-password", "password", wrong), 401},
		},
	}
}

// P2, I-11: after the first proof what an account has shows by no time.
func TestTimesAreAlikeWhateverAnAccountHas(t *testing.T) {
	n, tries := pairs(t)
	alike(t, newNodes(t), waysOn(), n, tries)
}

// equip gives half of the accounts contacts and a saved code, and puts the other half in the place of unknown names.
func (c *clocked) equip() {
	c.t.Helper()
	ctx, core := c.t.Context(), c.node.Core()
	core.Recovery.Limits.AskOwner.Burst = 1 << 30
	for i := range c.owner { // by lot: rows that were written early lie elsewhere than late ones
		j := i + lot(len(c.owner)-i)
		c.owner[i], c.owner[j] = c.owner[j], c.owner[i]
		c.known[i], c.known[j] = c.known[j], c.known[i]
	}
	err := core.DB.Write(ctx, func(tx *sqldb.Tx) error {
		for i, id := range c.owner[:len(c.owner)/2] {
			for j := range 1 + lot(recovery.MaxContacts) {
				ident, err := account.Parse(fmt.Sprintf("friend%d.of%06d@maildomain.example", j, i))
				if err != nil {
					return err
				}
				if err := core.Recovery.AddContact(ctx, tx, id, recovery.Contact{Label: "Friend", Holder: "Holder", Identifier: ident}); err != nil {
					return err
				}
			}
			if _, err := core.Recovery.NewSavedCode(ctx, tx, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.known, c.unknown = c.known[:len(c.known)/2], c.known[len(c.known)/2:]
	readLetters(c)
}

// readLetters takes every letter that waits, and returns the codes in them by where they go.
func readLetters(c *clocked) map[string]string {
	c.t.Helper()
	codes := map[string]string{}
	for {
		letters, err := c.node.Core().Outbox.Claim(c.t.Context(), message.Email, 500, 1000*time.Hour)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, l := range letters {
			if !l.Withhold {
				codes[l.To] = l.Params["code"]
			}
		}
		if len(letters) == 0 {
			return codes
		}
	}
}

// readCodes has both read theirs.
func readCodes(c *clocked, two [2]*person) {
	c.t.Helper()
	codes := readLetters(c)
	for _, p := range two {
		if p.code = codes[p.name]; p.code == "" {
			c.t.Fatalf("no code came to %s", p.name)
		}
	}
}

// addingCalls are an app's, of somebody who adds an address that somebody else may have.
func addingCalls() []timed {
	return []timed{
		{"begin", 10 * time.Minute, calls("/account/addresses", func(p *person) map[string]string { return map[string]string{"address": p.name} }), 202},
		{"send again", 10 * time.Minute, calls("/account/addresses/send", func(p *person) map[string]string { return map[string]string{"flow": p.flow} }), 202},
	}
}

// P2: whoever adds an address to their account waits as long if somebody else has it.
func TestTimesAreAlikeForAddedAddresses(t *testing.T) {
	n, tries := pairs(t)
	m := mode{
		label: "adding an address, API", engine: sqldb.SQLite, steps: addingCalls(),
		before: map[string]func(*clocked, [2]*person){"begin": signBothIn},
	}
	alike(t, newNodes(t), m, n, tries)
}

// signBothIn has two of many people add an address each, since these limits cannot be lifted and nobody may come too often.
func signBothIn(c *clocked, two [2]*person) {
	c.t.Helper()
	if c.adding == nil {
		c.node.Core().SignIn.Throttle.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // where httptest sits
		for i := range 20 {
			c.adding = append(c.adding, c.node.Account(fmt.Sprintf("adding%03d@maildomain.example", i)))
		}
	}
	for _, p := range two {
		p.bearer = open(c.t, c.node, c.adding[0]).Reveal()
		c.adding = append(c.adding[1:], c.adding[0])
	}
}
