package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
)

type auditCmd struct {
	List   auditListCmd `cmd:"" default:"withargs" help:"List events, the oldest first. This is what audit alone does."`
	Verify verifyCmd    `cmd:"" help:"Say which events are not as they were written."`
}

type auditListCmd struct {
	Since   string       `placeholder:"DATE" help:"The first day or moment; the last 24 hours without."`
	Until   string       `placeholder:"DATE" help:"The day or moment before which it ends; now without."`
	Account string       `help:"Only of one account: its id, or an identifier."`
	Events  []audit.Kind `placeholder:"TYPE" help:"Only these; see countersign webhook events."`
	Reveal  bool         `help:"Show network addresses as well. This is recorded."`
	JSON    bool         `name:"json" help:"A line of JSON for each event."`
}

// Help is shown after the flags.
func (auditListCmd) Help() string {
	return `What each type means and which details it has: countersign webhook events. No event has contact data.

  countersign audit
  countersign audit list --since 2027-01-31 --account ada@example.org --reveal
  countersign audit list --since 2027-01-31T06:00:00Z --until 2027-01-31T08:00:00Z --events authn_login_fail --json`
}

// Run lists events.
func (a auditListCmd) Run(ctx context.Context, w world, c *cli) error {
	span, until := audit.Since{At: w.now().Add(-24 * time.Hour)}, w.now()
	if err := between(a.Since, a.Until, &span.At, &until); err != nil {
		return err
	}
	if a.Account == "" {
		return withCore(ctx, w, c, func(core *server.Core) error { return a.list(ctx, w, core, span, until) })
	}
	return withAccount(ctx, w, c, a.Account, func(core *server.Core, who account.Account) error {
		span.Account = string(who.ID)
		return a.list(ctx, w, core, span, until)
	})
}

// list reads a bounded number of rows a transaction.
func (a auditListCmd) list(ctx context.Context, w world, core *server.Core, span audit.Since, until time.Time) error {
	if a.Reveal { // before the first line
		err := core.DB.Write(ctx, func(tx *sqldb.Tx) error {
			return core.Audit.Append(ctx, tx, audit.Event{
				Kind: audit.AccountRead, Account: span.Account, Actor: "operator", Detail: map[string]string{"revealed": "true"},
			})
		})
		if err != nil {
			return err
		}
	}
	span.Most = 1000
	n := 0
	for last := ""; ; {
		var some []audit.Past
		err := core.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
			some, err = core.Audit.After(ctx, tx, last, span)
			return err
		})
		if err != nil {
			return err
		}
		for _, e := range some {
			if last = e.ID; e.At.Before(until) && (len(a.Events) == 0 || slices.Contains(a.Events, e.Kind)) {
				n++
				a.say(w, e)
			}
		}
		if len(some) < span.Most {
			break
		}
	}
	if n == 0 && !a.JSON {
		w.say("no such event in that time")
	}
	return nil
}

func (a auditListCmd) say(w world, e audit.Past) {
	source := ""
	if a.Reveal && e.Source.IsValid() {
		source = e.Source.String()
	}
	at := e.At.UTC().Format(time.RFC3339)
	if a.JSON {
		line, _ := json.Marshal(struct { // strings always can
			ID      string            `json:"id"`
			At      string            `json:"at"`
			Event   audit.Kind        `json:"event"`
			Account string            `json:"account,omitempty"`
			Actor   string            `json:"actor,omitempty"`
			Source  string            `json:"source,omitempty"`
			Detail  map[string]string `json:"detail,omitempty"`
		}{e.ID, at, e.Kind, e.Account, e.Actor, source, e.Detail})
		w.say("%s", line)
		return
	}
	var more []string
	for _, name := range slices.Sorted(maps.Keys(e.Detail)) {
		more = append(more, fmt.Sprintf("%s=%q", name, e.Detail[name]))
	}
	if source != "" {
		more = append(more, "from="+source)
	}
	w.say("%s  %-24s %-36s  %-8s %s", at, e.Kind, dash(e.Account), dash(e.Actor), strings.Join(more, " "))
}

type verifyCmd struct{}

// Help is shown after the flags.
func (verifyCmd) Help() string {
	return `Exits with 4 if a row was changed. A deleted row leaves no trace: compare the number with last time's.

  countersign audit verify`
}

// Run checks the record, a bounded number of rows a transaction.
func (verifyCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		rows, changed := 0, 0
		for v := (audit.Verified{Rows: 1}); v.Rows > 0; {
			err := core.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
				v, err = core.Audit.Verify(ctx, tx, v.Last, 1000)
				return err
			})
			if err != nil {
				return err
			}
			rows, changed = rows+v.Rows, changed+len(v.Changed)
			for _, id := range v.Changed {
				w.say("changed  %s", id)
			}
		}
		w.say("%d events, %d changed", rows, changed)
		if changed > 0 {
			return found(exitFinding)
		}
		return nil
	})
}
