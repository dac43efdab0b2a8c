package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/server"
)

type courierCmd struct {
	Status courierStatusCmd `cmd:"" default:"1" help:"Show what waits, is under way, was sent and was given up, by channel. This is what courier alone does."`
	Pause  courierPauseCmd  `cmd:"" help:"Keep a channel's letters waiting, on every node."`
	Resume courierResumeCmd `cmd:"" help:"Let them leave again."`
	Drain  courierDrainCmd  `cmd:"" help:"Wait until all that waits has left."`
	Dead   deadCmd          `cmd:"" help:"List letters that were given up, send them again, delete them."`
}

type courierStatusCmd struct {
	JSON bool `name:"json" help:"For programs."`
}

// Help is shown after the flags.
func (courierStatusCmd) Help() string {
	return `Letters that are withheld count like the others: nobody is told which are.

  countersign courier status
  countersign courier status --json`
}

// Run shows how letters leave.
func (s courierStatusCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		all, err := core.Outbox.Status(ctx)
		if err != nil {
			return err
		}
		if s.JSON {
			if all == nil {
				all = []outbox.Status{}
			}
			return json.NewEncoder(w.stdout).Encode(all)
		}
		if len(all) == 0 {
			w.say("nothing waits, nothing was given up, and nothing was sent in the last hour")
			return nil
		}
		t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "CHANNEL\tWAITING\tUNDER WAY\tTRIED BEFORE\tOLDEST\tSENT LAST HOUR\tGIVEN UP\tSTATE")
		for _, s := range all {
			oldest, state := "-", "leaving"
			if !s.Oldest.IsZero() {
				oldest = w.now().Sub(s.Oldest).Round(time.Second).String()
			}
			if !s.PausedSince.IsZero() {
				state = fmt.Sprintf("paused since %s: %s", s.PausedSince.UTC().Format(time.RFC3339), s.PausedWhy)
			}
			_, _ = fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\t%d\t%d\t%s\n", s.Channel, s.Waiting, s.UnderWay, s.Tried, oldest, s.SentLately, s.Dead, state)
		}
		return t.Flush()
	})
}

type courierPauseCmd struct {
	Channel message.Channel `arg:"" enum:"email,sms" help:"email or sms."`
	Why     string          `required:"" help:"The reason, for your colleagues."`
}

// Help is shown after the flags.
func (courierPauseCmd) Help() string {
	return `Takes effect within a second. Letters under way are not called back. People may ask for codes meanwhile, and those that expire are not sent.

  countersign courier pause sms --why "the provider sends everything twice"`
}

// Run stops a channel.
func (p courierPauseCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		first, err := core.PauseLetters(ctx, p.Channel, p.Why)
		switch {
		case err != nil:
		case first:
			w.say("%s: nothing leaves any more; countersign courier resume %s undoes it", p.Channel, p.Channel)
		default:
			w.say("%s: nothing left before either; the reason is changed", p.Channel)
		}
		return err
	})
}

type courierResumeCmd struct {
	Channel message.Channel `arg:"" enum:"email,sms" help:"email or sms."`
}

// Help is shown after the flags.
func (courierResumeCmd) Help() string {
	return `What waits and has not expired leaves within a second.

  countersign courier resume sms`
}

// Run lets a channel go on.
func (r courierResumeCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		paused, err := core.ResumeLetters(ctx, r.Channel)
		if err == nil && !paused {
			err = fmt.Errorf("%s is not paused", r.Channel)
		}
		if err == nil {
			w.say("%s: letters leave again", r.Channel)
		}
		return err
	})
}

type courierDrainCmd struct {
	Within time.Duration `default:"5m" help:"How long to wait at most."`
}

// Help is shown after the flags.
func (courierDrainCmd) Help() string {
	return `Sends nothing by itself: a server must run. Before you change providers or stop the last node, close the door to people first, or it may never end.
Exits with 1 if letters are left, and says why.

  countersign courier drain
  countersign courier drain --within 30s`
}

// drainLook is how often drain looks.
const drainLook = 500 * time.Millisecond

// Run waits until nothing waits.
func (d courierDrainCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		ctx, cancel := context.WithTimeout(ctx, d.Within)
		defer cancel()
		for last := -1; ; {
			left, paused, err := waiting(ctx, core)
			if err != nil {
				return err
			}
			if left == 0 {
				w.say("nothing is left to send")
				return nil
			}
			if left != last {
				w.say("left to send: %d", left)
				last = left
			}
			if paused != "" {
				return fmt.Errorf("%s is paused, and has letters left: see countersign courier status", paused)
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("not all has left (%d letters) after %s: does a server run, and does its provider answer? see countersign courier status", left, d.Within)
			case <-time.After(drainLook):
			}
		}
	})
}

// waiting counts what waits, and names a channel with such letters that is paused.
func waiting(ctx context.Context, core *server.Core) (left int, paused message.Channel, err error) {
	all, err := core.Outbox.Status(ctx)
	for _, s := range all {
		left += s.Waiting
		if s.Waiting > 0 && !s.PausedSince.IsZero() {
			paused = s.Channel
		}
	}
	return left, paused, err
}

type deadCmd struct {
	List  deadListCmd  `cmd:"" default:"1" help:"List the letters that were given up, the latest first. This is what dead alone does."`
	Retry deadRetryCmd `cmd:"" help:"Send one again, or all, if their time is not over."`
	Drop  deadDropCmd  `cmd:"" help:"Delete one, or all."`
}

type deadListCmd struct {
	Most int `default:"50" help:"Most letters to list."`
}

// Help is shown after the flags.
func (deadListCmd) Help() string {
	return `Shows why, and never to whom or what.

  countersign courier dead list
  countersign courier dead list --most 500`
}

// Run lists dead letters.
func (d deadListCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		letters, err := core.Outbox.Dead(ctx, d.Most)
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "LETTER\tKIND\tCHANNEL\tTRIES\tGIVEN UP\tWHY\tCAN BE SENT AGAIN")
		for _, l := range letters {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%t\n",
				l.ID, l.Kind, l.Channel, l.Attempts, l.DiedAt.UTC().Format(time.RFC3339), l.Why, l.Revivable)
		}
		return t.Flush()
	})
}

// which are the letters that a command is for.
type which struct {
	Letter string `arg:"" optional:"" help:"Its id, from the list."`
	All    bool   `help:"All that there are."`
}

var errWhich = errors.New("name one letter, by its id from countersign courier dead list, or give --all")

// Validate wants one of the two.
func (x which) Validate() error {
	if (x.Letter == "") != x.All {
		return errWhich
	}
	return nil
}

type deadRetryCmd struct {
	which `embed:""`
}

// Help is shown after the flags.
func (deadRetryCmd) Help() string {
	return `They are sent within a second if a server runs.

  countersign courier dead retry 0196f0c1-…
  countersign courier dead retry --all`
}

// Run makes dead letters due again.
func (r deadRetryCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		n, err := core.Outbox.Revive(ctx, r.Letter)
		switch {
		case err != nil:
		case n == 0 && r.Letter != "":
			err = errors.New("no dead letter by that id whose time is not over: see countersign courier dead list")
		case r.Letter != "":
			w.say("letter %s is due again: the running server sends it", r.Letter)
		default:
			w.say("due again: %d letters; the running server sends them", n)
		}
		return err
	})
}

type deadDropCmd struct {
	which `embed:""`
}

// Help is shown after the flags.
func (deadDropCmd) Help() string {
	return `They are gone for good.

  countersign courier dead drop 0196f0c1-…
  countersign courier dead drop --all`
}

// Run deletes dead letters.
func (d deadDropCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		n, err := core.Outbox.Drop(ctx, d.Letter)
		switch {
		case err != nil:
		case n == 0 && d.Letter != "":
			err = errors.New("no dead letter by that id: see countersign courier dead list")
		default:
			w.say("dead letters deleted: %d", n)
		}
		return err
	})
}
