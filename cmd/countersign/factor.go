package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"countersign/internal/account"
	"countersign/internal/factor"
	"countersign/internal/passkey"
	"countersign/internal/profile"
	"countersign/internal/server"
	"countersign/internal/signin"
)

type factorCmd struct {
	List   factorListCmd   `cmd:"" help:"List the apps, tokens, passkeys and backup codes of an account."`
	Remove factorRemoveCmd `cmd:"" help:"Remove one of them."`
	Reset  factorResetCmd  `cmd:"" help:"Remove all of them, for a holder who has lost everything."`
	Policy factorPolicyCmd `cmd:"" help:"Show or set how much the sign-ins of an account must prove."`
}

type factorListCmd struct {
	Account string `arg:"" help:"Its id, or an identifier."`
}

// Help is shown after the flags.
func (factorListCmd) Help() string {
	return `Shows no secrets. The names are the holder's own. That you looked is recorded, and its holder sees it.

  countersign factor list ada@example.org`
}

// Run lists.
func (l factorListCmd) Run(ctx context.Context, w world, c *cli) error {
	return withAccount(ctx, w, c, l.Account, func(core *server.Core, who account.Account) error {
		has, err := core.Owner.Equipment(ctx, who.ID)
		if err != nil {
			return err
		}
		stands(w, has.Second)
		if has.None() {
			w.say("nothing is set up")
			return nil
		}
		t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "KIND\tNAME\tADDED\tLAST USED\tID")
		for _, a := range has.Apps {
			kind := "app"
			if a.Serial != "" {
				kind = "token " + a.Serial
			}
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", kind, dash(a.Name), day(a.AddedAt), day(a.LastUsedAt), a.ID)
		}
		for _, p := range has.Passkeys {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", passkeyKind(p), dash(p.Name), day(p.CreatedAt), day(p.LastUsedAt), p.ID)
		}
		if has.Backup > 0 {
			_, _ = fmt.Fprintf(t, "backup codes, %d left\t-\t-\t-\t%s\n", has.Backup, profile.BackupList)
		}
		return t.Flush()
	})
}

func passkeyKind(p passkey.Passkey) string {
	kind := "passkey, copied"
	if p.DeviceBound {
		kind = "passkey, device-bound"
	}
	if p.Attested {
		kind += ", attested"
	}
	if !p.UserVerified {
		kind += ", presence only"
	}
	return kind
}

type factorRemoveCmd struct {
	Account string `arg:"" help:"Its id, or an identifier."`
	Factor  string `arg:"" name:"id" help:"From the list; backup-codes for the list of backup codes."`
	Yes     bool   `help:"It cannot be undone, and you mean it."`
}

// Help is shown after the flags.
func (factorRemoveCmd) Help() string {
	return `It is not asked for any more, at once; a hardware token is nobody's again. The holder is told at every address, and
sessions go on. Asks, unless told that you mean it. Be sure whom you do it for: whoever asks may be the one whom it keeps out.

  countersign factor remove ada@example.org 0196f0c1-…
  countersign factor remove ada@example.org backup-codes --yes`
}

// Run removes.
func (r factorRemoveCmd) Run(ctx context.Context, w world, c *cli) error {
	return withAccount(ctx, w, c, r.Account, func(core *server.Core, who account.Account) error {
		if err := meant(w, r.Yes, who.ID, "remove it"); err != nil {
			return err
		}
		if err := core.Owner.TakeFactor(ctx, who.ID, r.Factor); err != nil {
			return err
		}
		w.say("removed from account %s", who.ID)
		return nil
	})
}

type factorResetCmd struct {
	Account string `arg:"" help:"Its id, or an identifier."`
	Yes     bool   `help:"It cannot be undone, and you mean it."`
}

// Help is shown after the flags.
func (factorResetCmd) Help() string {
	return `Removes every app, token, passkey and backup code. Ends every session and forgets every device as well: what was lost
may have been one of them. From then on the password and a code that is sent open the account, and recovery asks for no more either.
The password, addresses, contacts and the saved recovery code stay. The holder is told at every address. Asks, unless told that you
mean it. Be sure whom you do it for: whoever asks may be the one whom it keeps out.

  countersign factor reset ada@example.org
  countersign factor reset 0196f0c1-… --yes`
}

// Run resets.
func (r factorResetCmd) Run(ctx context.Context, w world, c *cli) error {
	return withAccount(ctx, w, c, r.Account, func(core *server.Core, who account.Account) error {
		if err := meant(w, r.Yes, who.ID, "remove everything"); err != nil {
			return err
		}
		was, err := core.Owner.ResetFactors(ctx, who.ID)
		if err != nil {
			return err
		}
		if was.None() {
			w.say("nothing was set up: nothing was done")
			return nil
		}
		w.say("removed from account %s: apps and tokens %d, passkeys %d, backup codes %d; every session ended, every device forgotten",
			who.ID, len(was.Apps), len(was.Passkeys), was.Backup)
		return nil
	})
}

type factorPolicyCmd struct {
	Account string `arg:"" help:"Its id, or an identifier."`
	Policy  string `arg:"" optional:"" enum:",usual,always,phishing_resistant" default:"" help:"usual, always or phishing_resistant; without it the policy is shown."`
}

// Help is shown after the flags.
func (factorPolicyCmd) Help() string {
	return `usual leaves it to factor.policy of the settings and to the account's groups; of those and this, and what the holder has chosen, the
strictest counts, and without a policy each is shown. phishing_resistant takes a passkey and nothing else: as long as there is none, any other way lets its holder enrol
one and do nothing else. Takes effect at the next sign-in.

  countersign factor policy ada@example.org
  countersign factor policy ada@example.org phishing_resistant`
}

// Run shows or sets.
func (p factorPolicyCmd) Run(ctx context.Context, w world, c *cli) error {
	return withAccount(ctx, w, c, p.Account, func(core *server.Core, who account.Account) error {
		if p.Policy == "" {
			has, err := core.Owner.Equipment(ctx, who.ID)
			if err != nil {
				return err
			}
			stands(w, has.Second)
			return rules(w, has.Second)
		}
		policy := factor.Policy(p.Policy)
		if p.Policy == "usual" {
			policy = ""
		}
		if err := core.Owner.SetPolicy(ctx, who.ID, policy); err != nil {
			return err
		}
		w.say("account %s: %s from its next sign-in on", who.ID, p.Policy)
		return nil
	})
}

// stands says how an account's second door stands.
func stands(w world, s signin.Second) {
	w.say("second proof asked for: %s", s.Policy)
	for _, way := range s.Ways {
		switch {
		case way.Stopped:
			w.say("%s: stopped after %d wrong codes in a row, until it is set up anew", way.Way, factor.MaxFailures)
		case way.Off:
			w.say("%s: turned off by its holder", way.Way)
		}
	}
}

// rules says who wants how much proved.
func rules(w world, s signin.Second) error {
	t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "WANTED BY\tPOLICY")
	for _, r := range s.Rules {
		_, _ = fmt.Fprintf(t, "%s\t%s\n", strings.TrimSpace(string(r.Of)+" "+r.Group), dash(string(r.Policy)))
	}
	return t.Flush()
}
