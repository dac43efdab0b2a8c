package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"countersign/internal/keyring"
	"countersign/internal/server"
)

type keysCmd struct {
	List   keysListCmd   `cmd:"" default:"1" help:"Show the keys, and how much needs each. This is what keys alone does."`
	Add    keysAddCmd    `cmd:"" help:"Add a key to the key file. Nothing uses it before rotate."`
	Rotate keysRotateCmd `cmd:"" help:"Make a key the current one on every node, and everything anew with it."`
	Drop   keysDropCmd   `cmd:"" help:"Give a key up that nothing needs any more."`
}

type keysListCmd struct{}

// Help is shown after the flags.
func (keysListCmd) Help() string {
	return `Reads every table once, which takes some seconds with a million accounts.
Rows of decoys are counted as well, even where nobody has an account yet. Decoys are made-up accounts, with dummies for
what people's accounts have: they stand in for whoever does not exist, so that no answer tells who does. Nobody can
sign in to one. They need keys as people's rows do, and keys rotate renews them, too.

  countersign keys
  countersign keys list --config /etc/countersign.toml`
}

// Run lists keys.
func (keysListCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		ro := core.Rotation()
		keys, err := ro.Keys(ctx)
		if err != nil {
			return err
		}
		needs, err := ro.Needs(ctx)
		if err != nil {
			return err
		}
		return printKeys(w.stdout, keys, needs)
	})
}

func printKeys(out io.Writer, keys []keyring.Key, needs []keyring.Need) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "key\tstate\tsince")
	var listed []string
	for _, k := range keys {
		since := ""
		if !k.Since.IsZero() {
			since, listed = k.Since.UTC().Format(time.RFC3339), append(listed, k.ID)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", k.ID, k.State, since)
	}
	_, _ = fmt.Fprintf(t, "\t\t\nrows that need it\t%s\n", strings.Join(listed, "\t"))
	for _, n := range needs {
		_, _ = fmt.Fprint(t, whatNeeds(n))
		for _, id := range listed {
			_, _ = fmt.Fprintf(t, "\t%d", n.Rows[id])
		}
		_, _ = fmt.Fprintln(t)
	}
	return t.Flush()
}

func whatNeeds(n keyring.Need) string {
	if len(n.Columns) == 0 {
		return n.Table
	}
	return n.Table + " (" + strings.Join(n.Columns, ", ") + ")"
}

type keysAddCmd struct {
	Print bool `help:"Print a new line for the key file, which is a secret, and write nothing: for keys that are kept elsewhere."`
}

// Help is shown after the flags.
func (keysAddCmd) Help() string {
	return `With several nodes: add the key on one, copy the key file to the others, then rotate. Servers read the file again by themselves.

  countersign keys add
  countersign keys add --print >> /secrets/countersign.key`
}

// Run adds a key.
func (a keysAddCmd) Run(w world, c *cli) error {
	if a.Print {
		w.say("%s", keyring.Generate())
		return nil
	}
	cfg, err := c.settings(w, nil)
	if err != nil {
		return err
	}
	id, err := server.AddKey(cfg)
	if err != nil {
		return withRemedy(err)
	}
	w.say("%s", id)
	_, _ = fmt.Fprintf(w.stderr, "added to %s: copy the file to every node, then run countersign keys rotate\n", cfg.Keys.File)
	return nil
}

func withRemedy(err error) error {
	if errors.Is(err, server.ErrKeysGiven) {
		return fmt.Errorf("%w: add what countersign keys add --print prints as a line to it on every node, start them again, and then rotate", err)
	}
	return err
}

type keysRotateCmd struct {
	NewKey bool `help:"Begin with a new key even if an older one is not dropped yet."`
}

// Help is shown after the flags.
func (keysRotateCmd) Help() string {
	return `Uses the key that keys add has added, or adds one. Nodes may go on serving: every one must have the new key, or nothing is changed.
It can be stopped and killed at any time: run it again and it goes on. The old key stays until keys drop.

  countersign keys rotate
  countersign keys rotate --new-key`
}

// Run rotates.
func (r keysRotateCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		line := &progressLine{w: w, began: w.now()}
		done, err := core.Rotate(ctx, r.NewKey, line.show)
		line.end()
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("stopped: nothing is lost, and everything goes on working; countersign keys rotate goes on where it was")
		case err != nil:
			return withRemedy(err)
		}
		return rotated(ctx, w, core, done)
	})
}

// rotated says how it ended, and what is left to do.
func rotated(ctx context.Context, w world, core *server.Core, done server.Rotated) error {
	w.say("everything that can be is made with key %s", done.Key)
	for _, odd := range done.Odd {
		some := odd.Rows[:min(10, len(odd.Rows))]
		w.say("%s: %d rows do not open, or are not as they were written, and were left as they are: %s", odd.Table, len(odd.Rows), strings.Join(some, " "))
	}
	ro := core.Rotation()
	keys, err := ro.Keys(ctx)
	if err != nil {
		return err
	}
	needs, err := ro.Needs(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.State == keyring.Old {
			w.say("key %s: %s", k.ID, stillNeeded(k.ID, needs))
		}
	}
	if len(done.Odd) > 0 {
		return found(exitFinding)
	}
	return nil
}

func stillNeeded(id string, needs []keyring.Need) string {
	var parts []string
	for _, n := range needs {
		if n.Rows[id] > 0 {
			parts = append(parts, fmt.Sprintf("%d of %s", n.Rows[id], whatNeeds(n)))
		}
	}
	if len(parts) == 0 {
		return "nothing needs it: countersign keys drop " + id
	}
	return "still needed by " + strings.Join(parts, ", ")
}

// progressLine shows how far a rotation has come: on a terminal in one line, elsewhere every ten seconds.
type progressLine struct {
	w           world
	began, last time.Time
	written     bool
}

func (p *progressLine) show(at keyring.Progress) {
	file, ok := p.w.stderr.(*os.File)
	live := ok && term.IsTerminal(int(file.Fd()))
	every := map[bool]time.Duration{true: 200 * time.Millisecond, false: 10 * time.Second}[live]
	now := p.w.now()
	if now.Sub(p.last) < every && at.Done < at.Total {
		return
	}
	p.last = now
	rate := float64(at.Done) / max(now.Sub(p.began).Seconds(), .001)
	left := time.Duration(float64(at.Total-at.Done) / max(rate, 1) * float64(time.Second)).Round(time.Second)
	text := fmt.Sprintf("%3d %%  %d of %d rows, %.0f a second, %s left  %s", 100*at.Done/max(at.Total, 1), at.Done, at.Total, rate, left, at.Table)
	if live {
		_, _ = fmt.Fprintf(p.w.stderr, "\r\x1b[K%s", text)
		p.written = true
		return
	}
	_, _ = fmt.Fprintln(p.w.stderr, text)
}

func (p *progressLine) end() {
	if p.written {
		_, _ = fmt.Fprintln(p.w.stderr)
	}
}

type keysDropCmd struct {
	Key  string   `arg:"" help:"Its id, as keys list shows it."`
	Lose []string `placeholder:"TABLE" help:"Drop it although rows of this table need it, as keys list names it: passwords must then be recovered, sessions and devices signed in anew."`
}

// Help is shown after the flags.
func (keysDropCmd) Help() string {
	return `Refuses while anything needs the key, and says what. Takes it out of the key file; with several nodes, copy the file again.
Backups from before the rotation open only with the key file of before: keep that as long as them.

  countersign keys drop kq3v7m2a
  countersign keys drop kq3v7m2a --lose password --lose session,device_handle`
}

// Run drops a key.
func (d keysDropCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		needed, err := core.DropKey(ctx, d.Key, d.Lose)
		if err != nil {
			return err
		}
		if len(needed) == 0 {
			w.say("dropped %s", d.Key)
			if !core.Config.Keys.Value.Empty() {
				w.say("take its line out of COUNTERSIGN_KEYS, too")
			}
			return nil
		}
		_, _ = fmt.Fprintf(w.stderr, "countersign: nothing was changed: key %s is %s\n", d.Key, stillNeeded(d.Key, needed))
		if slices.ContainsFunc(needed, func(n keyring.Need) bool { return n.Renewable }) {
			_, _ = fmt.Fprintln(w.stderr, "countersign: run countersign keys rotate first")
		} else {
			_, _ = fmt.Fprintln(w.stderr, "countersign: wait until they are over, or lose them: see countersign keys drop --help")
		}
		return found(exitFinding)
	})
}
