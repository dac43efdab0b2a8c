package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"countersign/internal/client"
	"countersign/internal/server"
	"countersign/internal/web/api"
)

type clientCmd struct {
	List  clientListCmd  `cmd:"" default:"1" help:"List the applications with their rules, and which versions of them call. This is what client alone does."`
	Set   clientSetCmd   `cmd:"" help:"List an application, and say below which version it is warned and refused."`
	Clear clientClearCmd `cmd:"" help:"Take an application off the list."`
	Usage clientUsageCmd `cmd:"" help:"Show which version called what, how often, and when last."`
}

type clientListCmd struct{}

// Help is shown after the flags.
func (clientListCmd) Help() string {
	return `Counts are a few seconds behind. What nobody has called for 90 days is forgotten.

  countersign client list`
}

// Run lists rules and versions.
func (clientListCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		rules, _, err := core.Clients.Rules(ctx)
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "CLIENT\tWARNED BELOW\tSINCE\tSUNSET\tREFUSED BELOW")
		for _, r := range rules {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.Client, dash(r.WarnBelow.String()), day(r.WarnedAt), day(r.Sunset), dash(r.RefuseBelow.String()))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		return listVersions(ctx, w, core)
	})
}

// listVersions says how each version in use fares now.
func listVersions(ctx context.Context, w world, core *server.Core) error {
	all, err := core.Clients.Usage(ctx, "")
	if err == nil {
		err = core.Clients.Poll(ctx)
	}
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "\nCLIENT\tVERSION\tNOW\tCALLS\tREFUSED\tLAST CALL")
	for len(all) > 0 {
		sum := all[0]
		n := slices.IndexFunc(all, func(u client.Used) bool { return u.Client != sum.Client || u.Version != sum.Version })
		if n < 0 {
			n = len(all)
		}
		for _, u := range all[1:n] {
			sum.Calls, sum.Refused = sum.Calls+u.Calls, sum.Refused+u.Refused
			if u.LastSeen.After(sum.LastSeen) {
				sum.LastSeen = u.LastSeen
			}
		}
		all = all[n:]
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\n",
			sum.Client, dash(sum.Version), fares(core, sum, w.now()), sum.Calls, sum.Refused, sum.LastSeen.Format(time.RFC3339))
	}
	return t.Flush()
}

// fares is how a version would fare if it called now; of those that are not told apart nothing can be said.
func fares(core *server.Core, u client.Used, now time.Time) string {
	if u.Version == client.Other {
		return "-"
	}
	call := client.Call{API: api.Version, At: now}
	if u.Client != client.Unnamed {
		call.Lines = []string{u.Client + "/" + u.Version}
	}
	if u.Client == client.Unknown {
		call.Lines = []string{client.Unknown + "/0"}
	}
	return string(core.Clients.Judge(call).Class)
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

type clientSetCmd struct {
	Client      string  `arg:"" help:"The name it sends, or unnamed (who sends none) or unknown (who sends one that is not listed)."`
	WarnBelow   *string `placeholder:"VERSION" help:"Warn all versions below this one; all, or none."`
	RefuseBelow *string `placeholder:"VERSION" help:"Refuse all versions below this one; all, or none."`
	Sunset      *string `placeholder:"DATE" help:"Tell versions that are warned that they will be refused from then on, and do it; none."`
}

// Help is shown after the flags.
func (clientSetCmd) Help() string {
	return `What is not named stays as it is. Every node follows within a second. Without flags the versions of the
application are told apart from now on, and nobody is warned or refused.

  countersign client set ios
  countersign client set ios --warn-below 4.0.0 --sunset 2027-01-31 --refuse-below 3.0.0
  countersign client set ios --warn-below none
  countersign client set unnamed --warn-below all`
}

// Run makes or changes a rule.
func (s clientSetCmd) Run(ctx context.Context, w world, c *cli) error {
	change, err := s.change()
	if err != nil {
		return err
	}
	return withCore(ctx, w, c, func(core *server.Core) error {
		r, err := core.Clients.Set(ctx, s.Client, change)
		if err != nil {
			return err
		}
		w.say("%s: warned below %s, sunset %s, refused below %s", r.Client, dash(r.WarnBelow.String()), day(r.Sunset), dash(r.RefuseBelow.String()))
		return nil
	})
}

func (s clientSetCmd) change() (c client.Change, err error) {
	for _, f := range []struct {
		flag string
		text *string
		to   **client.Bound
	}{{"--warn-below", s.WarnBelow, &c.WarnBelow}, {"--refuse-below", s.RefuseBelow, &c.RefuseBelow}} {
		if f.text == nil {
			continue
		}
		b, err := client.ParseBound(*f.text)
		if err != nil {
			return c, fmt.Errorf("%s: %w, or all, or none; %w", f.flag, err, errUsage)
		}
		*f.to = &b
	}
	if s.Sunset == nil {
		return c, nil
	}
	var at time.Time
	if *s.Sunset != "none" {
		if at, err = date(*s.Sunset); err != nil {
			return c, fmt.Errorf("--sunset: %w, or none; %w", err, errUsage)
		}
	}
	c.Sunset = &at
	return c, nil
}

// date reads a day, which begins in UTC, or a time.
func date(text string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errors.New("want a date such as 2027-01-31 or 2027-01-31T06:00:00Z")
}

// between reads the flags --since and --until; what is not said stays as it is.
func between(since, until string, from, to *time.Time) error {
	for _, f := range []struct {
		flag, text string
		to         *time.Time
	}{{"--since", since, from}, {"--until", until, to}} {
		if f.text == "" {
			continue
		}
		t, err := date(f.text)
		if err != nil {
			return fmt.Errorf("%s: %w; %w", f.flag, err, errUsage)
		}
		*f.to = t
	}
	return nil
}

type clientClearCmd struct {
	Client string `arg:"" help:"Its name."`
}

// Help is shown after the flags.
func (clientClearCmd) Help() string {
	return `It is unknown then, and fares as the rule for unknown ones says. Every node follows within a second.

  countersign client clear ios`
}

// Run takes a rule away.
func (cl clientClearCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		ok, err := core.Clients.Clear(ctx, cl.Client)
		if err == nil && !ok {
			err = errors.New("no client by that name: see countersign client list")
		}
		if err == nil {
			w.say("%s is off the list", cl.Client)
		}
		return err
	})
}

type clientUsageCmd struct {
	Client string `arg:"" optional:"" help:"Its name; all without."`
	JSON   bool   `name:"json" help:"For programs."`
}

// Help is shown after the flags.
func (clientUsageCmd) Help() string {
	return `Counts are a few seconds behind. Of each listed client the 50 versions that are used most are told apart.

  countersign client usage
  countersign client usage ios --json`
}

// Run shows what was called.
func (u clientUsageCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		all, err := core.Clients.Usage(ctx, u.Client)
		if err != nil {
			return err
		}
		if u.JSON {
			e := json.NewEncoder(w.stdout)
			e.SetIndent("", "  ")
			return e.Encode(append([]client.Used{}, all...)) // [] and not null
		}
		t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "CLIENT\tVERSION\tROUTE\tCALLS\tREFUSED\tFIRST CALL\tLAST CALL")
		for _, u := range all {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n",
				u.Client, dash(u.Version), u.Route, u.Calls, u.Refused, u.FirstSeen.Format(time.RFC3339), u.LastSeen.Format(time.RFC3339))
		}
		return t.Flush()
	})
}

type apiCmd struct {
	List     apiListCmd     `cmd:"" default:"1" help:"List the versions of the API and whether they are served. This is what api alone does."`
	Retire   apiRetireCmd   `cmd:"" help:"Withdraw a version of the API, now or at a time."`
	Unretire apiUnretireCmd `cmd:"" help:"Serve a version again, or take an announced time back."`
}

type apiListCmd struct{}

// Help is shown after the flags.
func (apiListCmd) Help() string {
	return `Who calls it is in countersign client usage.

  countersign api list`
}

// Run lists versions.
func (apiListCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		_, apis, err := core.Clients.Rules(ctx)
		if err != nil {
			return err
		}
		state := "served"
		for _, a := range apis {
			switch {
			case a.Version != api.Version:
			case a.RetiredAt.After(w.now()):
				state = "served until " + day(a.RetiredAt)
			default:
				state = "retired since " + day(a.RetiredAt)
			}
		}
		w.say("%s  %s", api.Version, state)
		return nil
	})
}

type apiRetireCmd struct {
	Version string `arg:"" help:"Such as v1."`
	At      string `placeholder:"DATE" help:"When. Until then every call is told."`
	Now     bool   `help:"Now: every call is refused, whoever makes it, within a second."`
}

// Help is shown after the flags.
func (apiRetireCmd) Help() string {
	return `From then on every call of the version is answered with 410 api_retired. Pages are not concerned.

  countersign api retire v1 --at 2027-06-30
  countersign api retire v1 --now`
}

// Run retires a version.
func (a apiRetireCmd) Run(ctx context.Context, w world, c *cli) error {
	if err := served(a.Version); err != nil {
		return err
	}
	at := w.now()
	switch {
	case a.Now == (a.At != ""):
		return fmt.Errorf("say when: --at DATE, or --now; %w", errUsage)
	case a.At != "":
		t, err := date(a.At)
		if err != nil {
			return fmt.Errorf("--at: %w; %w", err, errUsage)
		}
		if !t.After(at) {
			return fmt.Errorf("--at: %s is past: use --now; %w", a.At, errUsage)
		}
		at = t
	}
	return withCore(ctx, w, c, func(core *server.Core) error {
		err := core.Clients.Retire(ctx, a.Version, at)
		switch {
		case err != nil:
			return err
		case a.Now:
			w.say("%s is retired", a.Version)
		default:
			w.say("%s is served until %s", a.Version, day(at))
		}
		return nil
	})
}

func served(version string) error {
	if version != api.Version {
		return fmt.Errorf("there is no version %q of the API, only %s; %w", version, api.Version, errUsage)
	}
	return nil
}

type apiUnretireCmd struct {
	Version string `arg:"" help:"Such as v1."`
}

// Help is shown after the flags.
func (apiUnretireCmd) Help() string {
	return `Every node serves it again within a second.

  countersign api unretire v1`
}

// Run takes a retirement back.
func (a apiUnretireCmd) Run(ctx context.Context, w world, c *cli) error {
	if err := served(a.Version); err != nil {
		return err
	}
	return withCore(ctx, w, c, func(core *server.Core) error {
		ok, err := core.Clients.Unretire(ctx, a.Version)
		if err == nil && !ok {
			err = fmt.Errorf("%s is not retired, and no time is set", a.Version)
		}
		if err == nil {
			w.say("%s is served, and no time is set", a.Version)
		}
		return err
	})
}
