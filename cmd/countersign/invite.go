package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"countersign/internal/registration"
	"countersign/internal/server"
)

type inviteCmd struct {
	Create inviteCreateCmd `cmd:"" help:"Make an invitation, and print its link."`
	List   inviteListCmd   `cmd:"" help:"List invitations, without their links."`
	Revoke inviteRevokeCmd `cmd:"" help:"End an invitation."`
}

type inviteCreateCmd struct {
	Address string        `help:"The one e-mail address or phone number it is good for. Without it: any."`
	Expires time.Duration `default:"168h" help:"How long it is good for, at most a year."`
	Uses    int           `default:"1" help:"How many accounts it opens."`
}

// Help is shown after the flags.
func (inviteCreateCmd) Help() string {
	return `The link is shown this once: only a digest of its secret is kept. Needs registration.mode = "invitation" to make a difference.

  countersign invite create --address ada@example.org
  countersign invite create --expires 720h --uses 30`
}

// Run makes an invitation.
func (i inviteCreateCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		token, made, err := core.Registration.Invite(ctx, registration.NewInvitation{Address: i.Address, For: i.Expires, Uses: i.Uses})
		if err != nil {
			return explained(err)
		}
		w.say("%s%s#%s", core.Config.Public(), registration.Path, token.Reveal())
		_, _ = fmt.Fprintf(w.stderr, "invitation %s, until %s\n", made.ID, made.ExpiresAt.UTC().Format(time.RFC3339))
		if core.Registration.Rules.Mode != registration.Invited {
			_, _ = fmt.Fprintf(w.stderr, "registration.mode is %s: nobody is asked for an invitation\n", core.Registration.Rules.Mode)
		}
		return nil
	})
}

type inviteListCmd struct {
	Most int `default:"50" help:"Most invitations to list."`
}

// Help is shown after the flags.
func (inviteListCmd) Help() string {
	return `The newest first. Those that are over stay in the list for 30 days.

  countersign invite list
  countersign invite list --most 500`
}

// Run lists invitations.
func (i inviteListCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		all, err := core.Registration.Invitations(ctx, i.Most)
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "INVITATION\tFOR\tUSES LEFT\tMADE\tUNTIL\tSTATE")
		for _, v := range all {
			whom := "anybody"
			if v.Bound {
				whom = "one address"
			}
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", v.ID, whom, strconv.Itoa(v.Left)+" of "+strconv.Itoa(v.Uses),
				v.CreatedAt.UTC().Format(time.RFC3339), v.ExpiresAt.UTC().Format(time.RFC3339), stateOf(v, w.now()))
		}
		return t.Flush()
	})
}

func stateOf(v registration.Invitation, now time.Time) string {
	switch {
	case !v.RevokedAt.IsZero():
		return "revoked"
	case v.Left == 0:
		return "used"
	case !v.ExpiresAt.After(now):
		return "over"
	}
	return "good"
}

type inviteRevokeCmd struct {
	Invitation string `arg:"" help:"Its id, from the list."`
}

// Help is shown after the flags.
func (inviteRevokeCmd) Help() string {
	return `Whoever is filling in the form with it opens no account any more.

  countersign invite revoke 0196f0c1-…`
}

// Run ends an invitation.
func (i inviteRevokeCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		ok, err := core.Registration.Revoke(ctx, i.Invitation)
		if err == nil && !ok {
			err = errors.New("no invitation by that id that is still good: see countersign invite list")
		}
		if err == nil {
			w.say("invitation %s is revoked: it opens no account any more; those it has opened stay", i.Invitation)
		}
		return err
	})
}
