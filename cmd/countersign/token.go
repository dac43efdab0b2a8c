package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"countersign/internal/account"
	"countersign/internal/platform/secret"
	"countersign/internal/server"
	"countersign/internal/totp"
)

type tokenCmd struct {
	Import   tokenImportCmd   `cmd:"" help:"Bring hardware tokens in from their maker's file."`
	List     tokenListCmd     `cmd:"" help:"List hardware tokens, and whose they are."`
	Assign   tokenAssignCmd   `cmd:"" help:"Give a hardware token to an account."`
	Unassign tokenUnassignCmd `cmd:"" help:"Take a hardware token back."`
}

type tokenImportCmd struct {
	File           string `arg:"" help:"PSKC (RFC 6030), or CSV with a first line that names the columns."`
	Format         string `enum:",pskc,csv" default:"" placeholder:"pskc|csv" help:"pskc or csv. By default by the file's name."`
	KeyFile        string `help:"A file with the key that encrypts a PSKC file, in hexadecimal digits." placeholder:"FILE"`
	PassphraseFile string `help:"A file with the passphrase of a PSKC file, to the first line's end." placeholder:"FILE"`
	Secret         string `enum:"base32,hex,base64" default:"base32" help:"How secrets are written in CSV: base32, hex, base64."`
	DryRun         bool   `help:"Read everything, say what would happen, and write nothing."`
}

// Help is shown after the flags.
func (tokenImportCmd) Help() string {
	return `The tokens are nobody's until they are assigned. Run the same command again after it was stopped: no token is taken
twice. Each token that is not taken is named with its line and a reason; docs/operating.md lists the reasons, and the columns
of CSV. Delete the file afterwards: whoever has it has every secret.

  countersign token import --dry-run tokens.pskc
  countersign token import tokens.pskc --key-file transport.hex
  countersign token import tokens.csv --secret hex`
}

// Run imports.
func (i tokenImportCmd) Run(ctx context.Context, w world, c *cli) error {
	o, err := i.options(w)
	if err != nil {
		return err
	}
	in, err := os.Open(i.File)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return withCore(ctx, w, c, func(core *server.Core) error {
		sum, err := core.Authenticators.Import(ctx, in, o)
		if err != nil {
			if sum.Imported > 0 && !o.DryRun {
				w.say("Imported before that: %d. They stay.", sum.Imported)
			}
			return err
		}
		return i.tell(w, sum)
	})
}

func (i tokenImportCmd) tell(w world, sum totp.Summary) error {
	verb, refused := map[bool]string{false: "imported", true: "would be imported"}[i.DryRun], int64(0)
	for _, n := range sum.Refused {
		refused += n
	}
	w.say("%d of %d tokens %s, %d were there from an earlier run, %d refused", sum.Imported, sum.Read, verb, sum.Already, refused)
	for _, why := range slices.Sorted(maps.Keys(sum.Refused)) {
		w.say("  %-24s %d", why, sum.Refused[why])
	}
	if refused > 0 {
		return found(exitFinding)
	}
	return nil
}

func (i tokenImportCmd) options(w world) (o totp.Import, err error) {
	o = totp.Import{Format: totp.Format(i.Format), SecretsAs: i.Secret, DryRun: i.DryRun, Refused: func(r totp.Refused) error {
		w.say("line %d: %s %q", r.Line, r.Why, r.Serial)
		return nil
	}}
	if o.Format == "" {
		switch strings.ToLower(filepath.Ext(i.File)) {
		case ".csv":
			o.Format = totp.CSV
		case ".pskc", ".pskcxml", ".xml":
			o.Format = totp.PSKC
		default:
			return o, fmt.Errorf("is it PSKC or CSV? Say --format pskc or --format csv; %w", errUsage)
		}
	}
	if i.KeyFile != "" {
		text, err := os.ReadFile(i.KeyFile)
		if err != nil {
			return o, err
		}
		if o.Key, err = hex.DecodeString(strings.Join(strings.Fields(string(text)), "")); err != nil {
			return o, errors.New("--key-file: want hexadecimal digits in it") // the cause would show one of them
		}
	}
	if i.PassphraseFile != "" {
		text, err := os.ReadFile(i.PassphraseFile)
		if err != nil {
			return o, err
		}
		line, _, _ := bytes.Cut(text, []byte("\n"))
		o.Passphrase = secret.Of(strings.TrimSuffix(string(line), "\r"))
	}
	return o, nil
}

type tokenListCmd struct {
	After string `help:"Begin after this token's id: the last one of the list before." placeholder:"ID"`
	Most  int    `default:"1000" help:"Most tokens to list."`
}

// Help is shown after the flags.
func (tokenListCmd) Help() string {
	return `In the order in which they were imported.

  countersign token list
  countersign token list --after 0196f0c1-…`
}

// Run lists tokens.
func (l tokenListCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		all, err := core.Authenticators.Tokens(ctx, totp.ID(l.After), l.Most)
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "SERIAL\tSHAPE\tACCOUNT\tTOKEN")
		for _, one := range all {
			whose := string(one.Account)
			if whose == "" {
				whose = "nobody's"
			}
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", one.Serial, one.Shape, whose, one.ID)
		}
		return t.Flush()
	})
}

type tokenAssignCmd struct {
	Serial  string `arg:"" help:"The serial number on its back."`
	Account string `arg:"" help:"The account's id, or an identifier."`
}

// Help is shown after the flags.
func (tokenAssignCmd) Help() string {
	return `Its codes count for the account from now on: you vouch that its holder has the token. The holder is told at every address.

  countersign token assign 987654321 ada@example.org`
}

// Run assigns a token.
func (a tokenAssignCmd) Run(ctx context.Context, w world, c *cli) error {
	return withAccount(ctx, w, c, a.Account, func(core *server.Core, who account.Account) error {
		if err := core.Owner.GiveToken(ctx, a.Serial, who.ID); err != nil {
			return err
		}
		w.say("token %s is given to account %s: its codes count from now on", a.Serial, who.ID)
		return nil
	})
}

type tokenUnassignCmd struct {
	Serial string `arg:"" help:"The serial number on its back."`
}

// Help is shown after the flags.
func (tokenUnassignCmd) Help() string {
	return `Its codes are worth nothing then, at once; whoever gets it next goes on where it stands. For one that was lost, too.
The holder is told at every address.

  countersign token unassign 987654321`
}

// Run takes a token back.
func (u tokenUnassignCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		was, err := core.Owner.TakeToken(ctx, u.Serial)
		if err != nil {
			return explained(err)
		}
		if was == "" {
			w.say("token %s was nobody's: nothing was done", u.Serial)
			return nil
		}
		w.say("token %s is taken from account %s: its codes count no more", u.Serial, was)
		return nil
	})
}
