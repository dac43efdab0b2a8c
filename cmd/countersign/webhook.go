package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/server"
	"countersign/internal/subscriber"
)

type webhookCmd struct {
	List   webhookListCmd   `cmd:"" default:"1" help:"List the webhooks, and what each has still to be told. This is what webhook alone does."`
	Add    webhookAddCmd    `cmd:"" help:"Tell an address of events from now on; prints its secret, once."`
	Remove webhookRemoveCmd `cmd:"" help:"Tell it nothing more, and forget what waits."`
	Pause  webhookPauseCmd  `cmd:"" help:"Keep its events waiting."`
	Resume webhookResumeCmd `cmd:"" help:"Tell it again, beginning with what waited."`
	Rotate webhookRotateCmd `cmd:"" name:"rotate-secret" help:"Give it a new secret; the old one signs beside it for a day."`
	Test   webhookTestCmd   `cmd:"" help:"Send it a made-up event now, and say what it answered."`
	Replay webhookReplayCmd `cmd:"" help:"Tell it again of what was recorded since a time."`
	Dead   webhookDeadCmd   `cmd:"" help:"List events that were given up, tell them again, forget them."`
	Events webhookEventsCmd `cmd:"" help:"List the types of events."`
}

type webhookListCmd struct {
	JSON bool `name:"json" help:"For programs."`
}

// Help is shown after the flags.
func (webhookListCmd) Help() string {
	return `Events of those who do not exist wait like the others, and are told to nobody.

  countersign webhook list
  countersign webhook list --json`
}

// Run lists webhooks.
func (l webhookListCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		all, err := core.Subscribers.List(ctx)
		if err != nil {
			return err
		}
		if l.JSON {
			return json.NewEncoder(w.stdout).Encode(append([]subscriber.Subscriber{}, all...)) // [] and not null
		}
		t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "ID\tURL\tEVENTS\tWAITING\tOLDEST\tGIVEN UP\tSTATE")
		for _, s := range all {
			oldest, state := "-", "told"
			if !s.Oldest.IsZero() {
				oldest = w.now().Sub(s.Oldest).Round(time.Second).String()
			}
			switch {
			case !s.PausedAt.IsZero():
				state = fmt.Sprintf("paused since %s: %s", day(s.PausedAt), s.PausedWhy)
			case s.Trouble != "":
				state = "failing: " + s.Trouble
			}
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%d\t%s\n", s.ID, s.URL, listed(s.Kinds), s.Waiting, oldest, s.Dead, state)
		}
		return t.Flush()
	})
}

func listed(kinds []audit.Kind) string {
	var out []string
	for _, k := range kinds {
		if k == subscriber.All {
			return "all"
		}
		out = append(out, string(k))
	}
	return strings.Join(out, ",")
}

type webhookAddCmd struct {
	URL    string       `arg:"" name:"url" help:"https, or http to this machine; without user and password."`
	Events []audit.Kind `placeholder:"TYPE" help:"Only these; see countersign webhook events. All without."`
}

// Help is shown after the flags.
func (webhookAddCmd) Help() string {
	return `Every node follows within a second. Redirects are not followed; link-local addresses, which clouds tell secrets at, are
not called. The secret is printed once: keep it where the receiver checks signatures (docs/webhooks.md).

  countersign webhook add https://app.example.org/hooks/countersign
  countersign webhook add https://app.example.org/hooks/countersign --events user_deleted,account_protected`
}

// Run adds a webhook.
func (a webhookAddCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		id, key, err := core.Subscribers.Add(ctx, a.URL, a.Events)
		if err != nil {
			return err
		}
		w.say("webhook %s is told of events from now on\nsecret  %s\nIt is not shown again. Try it: countersign webhook test %[1]s", id, key.Reveal())
		return nil
	})
}

// hook is the webhook a command is about.
type hook struct {
	ID string `arg:"" help:"From the list."`
}

type webhookRemoveCmd struct{ hook }

// Help is shown after the flags.
func (webhookRemoveCmd) Help() string {
	return `The record keeps what happened.

  countersign webhook remove 0196f0c1-…`
}

// Run removes a webhook.
func (r webhookRemoveCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		err := core.Subscribers.Remove(ctx, r.ID)
		if err == nil {
			w.say("%s is removed, with all that it was still to be told", r.ID)
		}
		return err
	})
}

type webhookPauseCmd struct {
	hook

	Why string `required:"" help:"The reason, for your colleagues."`
}

// Help is shown after the flags.
func (webhookPauseCmd) Help() string {
	return `What happens meanwhile waits, and takes room: some 200 bytes an event.

  countersign webhook pause 0196f0c1-… --why "the receiver moves"`
}

// Run pauses a webhook.
func (p webhookPauseCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		err := core.Subscribers.Pause(ctx, p.ID, p.Why)
		if err == nil {
			w.say("%s is told nothing; countersign webhook resume %[1]s undoes it", p.ID)
		}
		return err
	})
}

type webhookResumeCmd struct{ hook }

// Help is shown after the flags.
func (webhookResumeCmd) Help() string {
	return `What waits has its three days from now on.

  countersign webhook resume 0196f0c1-…`
}

// Run resumes a webhook.
func (r webhookResumeCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		err := core.Subscribers.Resume(ctx, r.ID)
		if err == nil {
			w.say("%s is told again, beginning with what waited", r.ID)
		}
		return err
	})
}

type webhookRotateCmd struct{ hook }

// Help is shown after the flags.
func (webhookRotateCmd) Help() string {
	return `Until the old secret ends each delivery has a signature by either, and a receiver that knows one of them takes it.
If the old one was stolen, remove the webhook and add it again.

  countersign webhook rotate-secret 0196f0c1-…`
}

// Run gives a webhook a new secret.
func (r webhookRotateCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		key, until, err := core.Subscribers.Rotate(ctx, r.ID)
		if err == nil {
			w.say("secret  %s\nIt is not shown again. The old one signs too until %s.", key.Reveal(), day(until))
		}
		return err
	})
}

type webhookTestCmd struct{ hook }

// Help is shown after the flags.
func (webhookTestCmd) Help() string {
	return `The event's type is webhook_test. It is sent from here, and not from the servers.

  countersign webhook test 0196f0c1-…`
}

// Run sends a made-up event.
func (t webhookTestCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		began := w.now()
		answer, err := core.Subscribers.Test(ctx, t.ID)
		if err == nil && answer.Code != "" {
			err = fmt.Errorf("it did not take the event: %s", answer.Code)
			if answer.Why != "" {
				err = fmt.Errorf("%w: %s", err, answer.Why)
			}
		}
		if err == nil {
			w.say("it took the event, in %d ms", w.now().Sub(began).Milliseconds())
		}
		return err
	})
}

type webhookReplayCmd struct {
	hook

	Since   string `required:"" placeholder:"DATE" help:"The first day or moment."`
	Until   string `placeholder:"DATE" help:"The day or moment before which it ends; now without."`
	Account string `help:"Only of one account: its id, or an identifier."`
}

// Help is shown after the flags.
func (webhookReplayCmd) Help() string {
	return `Each event has the id that it had before: a receiver that remembers ids takes none twice. Of each account they come in their order.

  countersign webhook replay 0196f0c1-… --since 2027-01-31
  countersign webhook replay 0196f0c1-… --since 2027-01-31T06:00:00Z --until 2027-01-31T08:00:00Z --account ada@example.org`
}

// Run replays events.
func (r webhookReplayCmd) Run(ctx context.Context, w world, c *cli) error {
	span := subscriber.Span{Until: w.now()}
	if err := between(r.Since, r.Until, &span.Since, &span.Until); err != nil {
		return err
	}
	do := func(core *server.Core) error {
		n, err := core.Subscribers.Replay(ctx, r.ID, span)
		if err == nil {
			w.say("%d events are told again", n)
		}
		return err
	}
	if r.Account == "" {
		return withCore(ctx, w, c, do)
	}
	return withAccount(ctx, w, c, r.Account, func(core *server.Core, who account.Account) error {
		span.Account = string(who.ID)
		return do(core)
	})
}

type webhookDeadCmd struct {
	List  webhookDeadListCmd  `cmd:"" default:"1" help:"List the events that were given up, the latest first. This is what dead alone does."`
	Retry webhookDeadRetryCmd `cmd:"" help:"Tell one again, or all."`
	Drop  webhookDeadDropCmd  `cmd:"" help:"Forget that one was to be told, or all. The record keeps it."`
}

type webhookDeadListCmd struct {
	Most int `default:"50" help:"Most events to list."`
}

// Help is shown after the flags.
func (webhookDeadListCmd) Help() string {
	return `An event is given up when it could not be told for three days.

  countersign webhook dead list
  countersign webhook dead list --most 500`
}

// Run lists events that were given up.
func (d webhookDeadListCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		all, err := core.Subscribers.Dead(ctx, d.Most)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			w.say("no event was given up")
			return nil
		}
		t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "EVENT\tWEBHOOK\tACCOUNT\tSINCE\tTRIES\tWHY")
		for _, g := range all {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\n", g.Event, g.Subscriber, dash(g.Account), day(g.At), g.Attempts, g.Why)
		}
		return t.Flush()
	})
}

// given is which of those that were given up a command is about.
type given struct {
	Event string `arg:"" optional:"" help:"From the list."`
	All   bool   `help:"All of them."`
}

func (g given) check() error {
	if g.All == (g.Event != "") {
		return fmt.Errorf("name an event, or say --all; %w", errUsage)
	}
	return nil
}

type webhookDeadRetryCmd struct{ given }

// Help is shown after the flags.
func (webhookDeadRetryCmd) Help() string {
	return `They have their three days again.

  countersign webhook dead retry 0196f0c1-…
  countersign webhook dead retry --all`
}

// Run tells events again.
func (r webhookDeadRetryCmd) Run(ctx context.Context, w world, c *cli) error {
	if err := r.check(); err != nil {
		return err
	}
	return withCore(ctx, w, c, func(core *server.Core) error {
		n, err := core.Subscribers.Retry(ctx, r.Event)
		if err == nil {
			w.say("%d events are told again", n)
		}
		return err
	})
}

type webhookDeadDropCmd struct{ given }

// Help is shown after the flags.
func (webhookDeadDropCmd) Help() string {
	return `A receiver that wants them after all gets them by countersign webhook replay.

  countersign webhook dead drop 0196f0c1-…
  countersign webhook dead drop --all`
}

// Run forgets events.
func (d webhookDeadDropCmd) Run(ctx context.Context, w world, c *cli) error {
	if err := d.check(); err != nil {
		return err
	}
	return withCore(ctx, w, c, func(core *server.Core) error {
		n, err := core.Subscribers.Drop(ctx, d.Event)
		if err == nil {
			w.say("%d events are forgotten here; the record keeps them", n)
		}
		return err
	})
}

type webhookEventsCmd struct {
	Markdown bool `help:"Print the table of docs/webhooks.md."`
}

// Help is shown after the flags.
func (webhookEventsCmd) Help() string {
	return `docs/webhooks.md says what is sent of each.

  countersign webhook events`
}

// Run lists types of events.
func (e webhookEventsCmd) Run(w world) error {
	if e.Markdown {
		_, err := io.WriteString(w.stdout, subscriber.Markdown())
		return err
	}
	t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	for _, one := range subscriber.Types() {
		_, _ = fmt.Fprintf(t, "%s\t%s\n", one.Kind, one.Says)
	}
	return t.Flush()
}
