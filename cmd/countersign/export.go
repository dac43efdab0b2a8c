package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"countersign/internal/account"
	"countersign/internal/password"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/transfer"
)

type exportCmd struct {
	File       string `arg:"" help:"Where to write JSON Lines (mode 0600); - is standard output."`
	ID         string `name:"id" placeholder:"ACCOUNT" help:"Only this account: its id, or an identifier."`
	WithHashes bool   `help:"What is stored of the passwords as well. Ours are of use only with the same key file, other systems' to anybody."`
	Force      bool   `help:"Replace the file if it is there."`
}

// Help is shown after the flags.
func (exportCmd) Help() string {
	return `Writes addresses and numbers in clear, so it is recorded: keep the file as you keep the key file.
The server may go on serving. account import reads what is written.

  countersign account export accounts.jsonl
  countersign account export --id ada@example.org -
  countersign account export --with-hashes move.jsonl`
}

// Run exports.
func (e exportCmd) Run(ctx context.Context, w world, c *cli) error {
	do := func(core *server.Core, id account.ID) error {
		return e.write(w, func(out io.Writer) (int64, error) {
			return core.Moves.Export(ctx, out, transfer.What{ID: id, Hashes: e.WithHashes})
		})
	}
	if e.ID != "" {
		return withAccount(ctx, w, c, e.ID, func(core *server.Core, who account.Account) error { return do(core, who.ID) })
	}
	return withCore(ctx, w, c, func(core *server.Core) error { return do(core, "") })
}

// write has the file appear when it is whole, or not at all.
func (e exportCmd) write(w world, export func(io.Writer) (int64, error)) error {
	if e.File == "-" {
		_, err := export(w.stdout)
		return err
	}
	if _, err := os.Lstat(e.File); err == nil && !e.Force { // the link below decides; this saves the work
		return fmt.Errorf("%s: %w: choose another name, or use --force", e.File, fs.ErrExist)
	}
	tmp, err := os.CreateTemp(filepath.Dir(e.File), ".countersign-export-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	n, err := export(tmp)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if e.Force {
		err = os.Rename(tmp.Name(), e.File)
	} else {
		err = os.Link(tmp.Name(), e.File) // fails if the name is taken
	}
	if err == nil {
		w.say("wrote %s, accounts: %d", e.File, n)
	}
	return err
}

type hashesCmd struct {
	Forget string `placeholder:"KIND" help:"Take the password from those who still have a hash of this kind: they get in by recovery."`
	Yes    bool   `help:"It cannot be undone, and you mean it."`
}

// Help is shown after the flags.
func (hashesCmd) Help() string {
	return `As long as anybody has such a hash, every sign-in does the work of checking one: its time must not tell who has an account.
Each goes when its owner signs in. Some never will: forget those when you no longer want to wait.

  countersign account hashes
  countersign account hashes --forget bcrypt --yes`
}

// Run shows or forgets.
func (h hashesCmd) Run(ctx context.Context, w world, c *cli) error {
	if h.Forget != "" && !h.Yes {
		return fmt.Errorf("forgetting cannot be undone: say --yes as well; %w", errUsage)
	}
	return withCore(ctx, w, c, func(core *server.Core) error {
		if h.Forget != "" {
			return h.forget(ctx, w, core)
		}
		var all []password.Family
		err := core.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
			all, err = core.Passwords.Families(ctx, tx)
			return err
		})
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "KIND\tACCOUNTS\tMOST WORK\tEACH SIGN-IN WAITS")
		for _, f := range all {
			_, _ = fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", f.Kind.Family, f.Accounts, kindWords(f.Kind), core.Passwords.Measure(f.Kind).Round(100*time.Microsecond))
		}
		return t.Flush()
	})
}

func (h hashesCmd) forget(ctx context.Context, w world, core *server.Core) error {
	all := int64(0)
	for some := int64(1); some > 0; all += some {
		err := core.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
			some, err = core.Passwords.ForgetFamily(ctx, tx, h.Forget)
			return err
		})
		if err != nil {
			return err
		}
	}
	w.say("without a password now: %d; they get one by recovery", all)
	return nil
}
