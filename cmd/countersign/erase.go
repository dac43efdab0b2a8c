package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"countersign/internal/account"
	"countersign/internal/server"
)

type eraseCmd struct {
	Account string        `arg:"" help:"Its id, or an identifier."`
	After   time.Duration `help:"How long to wait, so that its holder can keep it. Without it the account is erased at once." placeholder:"336h"`
	Yes     bool          `help:"It cannot be undone, and you mean it."`
}

// Help is shown after the flags.
func (eraseCmd) Help() string {
	return `Deletes every address, password, session and device of it; its names are free at once for others. What the
record of security events says of it stays, without a name. No letter tells the holder: you do. Asks, unless told
that you mean it. Backups made before still have it.

  countersign account erase ada@example.org --yes
  countersign account erase 0196f0c1-… --after 336h`
}

// Run erases an account.
func (e eraseCmd) Run(ctx context.Context, w world, c *cli) error {
	if e.After < 0 {
		return fmt.Errorf("--after: want a time to wait; %w", errUsage)
	}
	return withAccount(ctx, w, c, e.Account, func(core *server.Core, who account.Account) error {
		if err := meant(w, e.Yes, who.ID, "erase the account"); err != nil {
			return err
		}
		if err := core.Owner.Erase(ctx, who.ID, e.After); err != nil {
			return err
		}
		if e.After > 0 {
			w.say("account %s will be erased at %s", who.ID, core.DB.Now().Add(e.After).UTC().Format(time.RFC3339))
			return nil
		}
		w.say("account %s is erased", who.ID)
		return nil
	})
}

// meant asks for the account's id, as nobody types by mistake.
func meant(w world, yes bool, id account.ID, deed string) error {
	if yes {
		return nil
	}
	if file, ok := w.stdin.(*os.File); !ok || !term.IsTerminal(int(file.Fd())) {
		return fmt.Errorf("there is no terminal to ask whether you mean it: use --yes; %w", errUsage)
	}
	_, _ = fmt.Fprintf(w.stderr, "This cannot be undone. Type %s to %s: ", id, deed)
	line, err := bufio.NewReader(w.stdin).ReadString('\n')
	if err == nil && strings.TrimSpace(line) != string(id) {
		err = errors.New("that is another id: nothing was done")
	}
	return err
}
