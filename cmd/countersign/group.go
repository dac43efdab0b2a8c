package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
)

type groupCmd struct {
	Add    groupAddCmd    `cmd:"" help:"Put accounts into a group."`
	Remove groupRemoveCmd `cmd:"" help:"Take accounts out of a group."`
	List   groupListCmd   `cmd:"" help:"List groups, or who is in one."`
}

type groupAddCmd struct {
	Group    string   `arg:"" help:"Small letters, digits, dots, hyphens, underscores; it is made by whoever is put in first."`
	Accounts []string `arg:"" name:"account" help:"Their ids, or identifiers."`
}

// Help is shown after the flags.
func (groupAddCmd) Help() string {
	return `Rules name groups: factor.groups in the settings says which must prove more when they sign in. Takes effect at the next sign-in.

  countersign group add admins ada@example.org grace
  countersign group add admins 0196f0c1-…`
}

// Run adds.
func (g groupAddCmd) Run(ctx context.Context, w world, c *cli) error {
	return regrouping{g.Group, g.Accounts, true}.run(ctx, w, c)
}

type groupRemoveCmd struct {
	Group    string   `arg:"" help:"Its name."`
	Accounts []string `arg:"" name:"account" help:"Their ids, or identifiers."`
}

// Help is shown after the flags.
func (groupRemoveCmd) Help() string {
	return `A group that nobody is in is no more.

  countersign group remove admins grace`
}

// Run removes.
func (g groupRemoveCmd) Run(ctx context.Context, w world, c *cli) error {
	return regrouping{g.Group, g.Accounts, false}.run(ctx, w, c)
}

type regrouping struct {
	group    string
	accounts []string
	in       bool
}

func (r regrouping) run(ctx context.Context, w world, c *cli) error {
	did, was := "added to", "was in"
	if !r.in {
		did, was = "taken out of", "was not in"
	}
	for _, which := range r.accounts {
		err := withAccount(ctx, w, c, which, func(core *server.Core, who account.Account) error {
			changed, err := core.Owner.Join(ctx, who.ID, r.group, r.in)
			if err != nil {
				return err
			}
			if changed {
				w.say("account %s %s %s", who.ID, did, r.group)
			} else {
				w.say("account %s %s %s before: nothing was done", who.ID, was, r.group)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", which, err)
		}
	}
	return nil
}

type groupListCmd struct {
	Group string `arg:"" optional:"" help:"Whose members to list, by account id; without it groups are listed."`
}

// Help is shown after the flags.
func (groupListCmd) Help() string {
	return `Shows no contact data. Groups that factor.groups names are listed even if nobody is in them.

  countersign group list
  countersign group list admins`
}

// Run lists.
func (g groupListCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		if g.Group != "" {
			return g.members(ctx, w, core)
		}
		return core.DB.Read(ctx, func(tx *sqldb.Tx) error {
			all, err := core.Accounts.AllGroups(ctx, tx)
			if err != nil {
				return err
			}
			for name := range core.Config.Factor.OfGroups() { // one that is misspelt there is seen here
				if !slices.ContainsFunc(all, func(g account.Group) bool { return g.Name == name }) {
					all = append(all, account.Group{Name: name})
				}
			}
			slices.SortFunc(all, func(a, b account.Group) int { return strings.Compare(a.Name, b.Name) })
			if len(all) == 0 {
				w.say("there are no groups")
				return nil
			}
			t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(t, "GROUP\tMEMBERS\tPOLICY")
			for _, one := range all {
				_, _ = fmt.Fprintf(t, "%s\t%d\t%s\n", one.Name, one.Members, dash(core.Config.Factor.OfGroups()[one.Name]))
			}
			return t.Flush()
		})
	})
}

func (g groupListCmd) members(ctx context.Context, w world, core *server.Core) error {
	const page = 1000
	for after, n := account.ID(""), page; n == page; {
		var ids []account.ID
		err := core.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
			ids, err = core.Accounts.Members(ctx, tx, g.Group, after, page)
			return err
		})
		if err != nil {
			return err
		}
		for _, id := range ids {
			w.say("%s", id)
			after = id
		}
		n = len(ids)
	}
	return nil
}
