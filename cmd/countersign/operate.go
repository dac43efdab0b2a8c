package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"golang.org/x/term"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/signin"
	"countersign/internal/web"
)

type configCmd struct {
	Print printCmd `cmd:"" help:"Print the settings in force, with defaults and comments. Secrets stay secret."`
	Check checkCmd `cmd:"" help:"List everything that is wrong with the settings."`
}

type printCmd struct {
	Markdown bool `help:"Print the documentation of all settings instead."`
}

// Run prints settings.
func (p printCmd) Run(w world, c *cli) error {
	if p.Markdown {
		_, err := io.WriteString(w.stdout, config.Markdown())
		return err
	}
	cfg, err := c.settings(w, nil)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w.stdout, cfg.Print())
	return err
}

type checkCmd struct{}

// Run checks settings.
func (checkCmd) Run(ctx context.Context, w world, c *cli) error {
	cfg, err := c.settings(w, nil)
	if err != nil {
		return err
	}
	late, err := server.Check(ctx, cfg, w.now)
	if err != nil {
		return config.Problems(strings.Split(err.Error(), "\n"))
	}
	if !late.IsZero() {
		w.say("passkey.metadata_file: there should be a newer file since %s: fetch it", late.Format(time.DateOnly))
	}
	w.say("the settings are fine")
	return nil
}

type errorsCmd struct {
	Markdown bool `help:"Print docs/errors.md."`
}

// Run lists error codes.
func (e errorsCmd) Run(w world) error {
	if e.Markdown {
		_, err := io.WriteString(w.stdout, web.ErrorsMarkdown())
		return err
	}
	t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	for _, c := range web.Codes() {
		_, _ = fmt.Fprintf(t, "%s\t%d\t%s. %s\n", c.Code, c.Status, c.Meaning, c.Advice)
	}
	return t.Flush()
}

type doctorCmd struct {
	JSON bool `name:"json" help:"For programs."`
}

// Help is shown after the flags.
func (doctorCmd) Help() string {
	return `Measures password hashing for a second or two. Exits with 4 if something is broken.

  countersign doctor
  countersign doctor --json`
}

// Run examines.
func (d doctorCmd) Run(ctx context.Context, w world, c *cli) error {
	cfg, err := c.settings(w, nil)
	if err != nil {
		return err
	}
	all := server.Examine(ctx, cfg, server.Deps{Now: w.now})
	if d.JSON {
		e := json.NewEncoder(w.stdout)
		e.SetIndent("", "  ")
		err = e.Encode(all)
	} else {
		err = printFindings(w.stdout, all)
	}
	for _, f := range all {
		if f.State == server.Broken && err == nil {
			err = found(exitFinding)
		}
	}
	return err
}

func printFindings(out io.Writer, all []server.Finding) error {
	for _, f := range all {
		_, err := fmt.Fprintf(out, "%-8s %-9s %s\n", f.State, f.Part, f.Words)
		if err == nil && f.Remedy != "" {
			_, err = fmt.Fprintf(out, "%-8s %-9s → %s\n", "", "", f.Remedy)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type accountCmd struct {
	Create createCmd `cmd:"" help:"Create an account."`
	Show   showCmd   `cmd:"" help:"Show an account, without contact data."`
	Lock   lockCmd   `cmd:"" help:"Lock an account and end its sessions."`
	Unlock unlockCmd `cmd:"" help:"Let a locked account sign in again."`
	Close  closeCmd  `cmd:"" help:"Close an account for good."`
	Erase  eraseCmd  `cmd:"" help:"Erase an account and everything that is kept of it."`
	Import importCmd `cmd:"" help:"Bring accounts in from a file, with the passwords they have."`
	Export exportCmd `cmd:"" help:"Write accounts to a file, contact data included. This is recorded."`
	Hashes hashesCmd `cmd:"" help:"Show which hashes of other systems are still in use, and forget some."`
}

type createCmd struct {
	Identifiers   []string `arg:"" name:"identifier" help:"E-mail addresses, phone numbers, user names. You vouch that addresses and numbers are the person's."`
	Language      string   `default:"en" help:"Of letters to the person."`
	PasswordStdin bool     `help:"Read the password from standard input, to the first line's end, instead of asking."`
	NoPassword    bool     `help:"Without a password: nobody can sign in until one is set."`
}

// Help is shown after the flags.
func (createCmd) Help() string {
	return `Asks for the password, unless it is told otherwise, and prints the account's id.

  countersign account create ada@example.org +4915123456789
  countersign account create grace --language de --password-stdin < password.txt`
}

// Run creates an account.
func (a createCmd) Run(ctx context.Context, w world, c *cli) error {
	return withNewCore(ctx, w, c, func(core *server.Core) error {
		idents, err := vouched(parser(core), a.Identifiers)
		if err != nil {
			return err
		}
		plain := ""
		if !a.NoPassword {
			if plain, err = a.password(w); err != nil {
				return err
			}
		}
		id, err := core.CreateAccount(ctx, server.NewAccount{Identifiers: idents, Password: plain, Language: a.Language})
		if err != nil {
			return explained(err)
		}
		w.say("%s", id)
		return nil
	})
}

func (a createCmd) password(w world) (string, error) {
	if a.PasswordStdin {
		line, err := bufio.NewReader(w.stdin).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	file, ok := w.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return "", fmt.Errorf("there is no terminal to ask for the password: use --password-stdin or --no-password; %w", errUsage)
	}
	first, err := ask(w, file, "Password: ")
	if err != nil {
		return "", err
	}
	again, err := ask(w, file, "Once more: ")
	if err == nil && first != again {
		err = errors.New("the two differ: nothing was created")
	}
	return first, err
}

func ask(w world, file *os.File, prompt string) (string, error) {
	_, _ = fmt.Fprint(w.stderr, prompt)
	text, err := term.ReadPassword(int(file.Fd()))
	_, _ = fmt.Fprintln(w.stderr)
	return string(text), err
}

// vouched reads identifiers that an operator vouches for.
func vouched(p account.Parser, typed []string) (out []account.NewIdentifier, err error) {
	for i, text := range typed {
		ident, err := p.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("identifier %d is no e-mail address, phone number (with + and country code) or user name", i+1)
		}
		reachable := ident.Kind() != account.Username
		out = append(out, account.NewIdentifier{Identifier: ident, Verified: reachable, SignsIn: true, Notices: reachable, Recovers: reachable})
	}
	return out, nil
}

// explained puts a code's meaning and advice in the place of the bare code, but for what is for applications at the second door. Where the advice is to do what the message says, it
// is the message.
func explained(err error) error {
	if err == nil {
		return nil
	}
	for _, c := range web.Codes() {
		if strings.HasPrefix(err.Error(), c.Code) && !strings.HasPrefix(c.Advice, "Do what the message says") {
			advice, _, _ := strings.Cut(c.Advice, " At the second door: ")
			return fmt.Errorf("%s: %s. %s", c.Code, c.Meaning, advice)
		}
	}
	return err
}

type showCmd struct {
	Account string `arg:"" help:"Its id, or an identifier."`
	Reveal  bool   `help:"Show contact data as well. This is recorded."`
}

// Help is shown after the flags.
func (showCmd) Help() string {
	return `Contact data stays hidden without --reveal. The policy is the one in force; countersign factor policy says where it comes from.

  countersign account show ada@example.org
  countersign account show 0196f0c1-… --reveal`
}

// Run shows an account.
func (s showCmd) Run(ctx context.Context, w world, c *cli) error {
	return withAccount(ctx, w, c, s.Account, func(core *server.Core, who account.Account) error {
		var addresses []account.Address
		var standing account.Standing
		var second signin.Second
		var groups []string
		err := core.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
			if addresses, err = core.Accounts.Addresses(ctx, tx, who.ID); err != nil {
				return err
			}
			if standing, err = core.Accounts.Standing(ctx, tx, who.ID); err != nil {
				return err
			}
			if second, err = core.SignIn.Second(ctx, tx, who.ID); err != nil {
				return err
			}
			if groups, err = core.Accounts.Groups(ctx, tx, who.ID); err != nil {
				return err
			}
			return core.Audit.Append(ctx, tx, audit.Event{
				Kind: audit.AccountRead, Account: string(who.ID), Actor: "operator", Detail: map[string]string{"revealed": fmt.Sprint(s.Reveal)},
			})
		})
		if err != nil {
			return err
		}
		w.say("account   %s\nstate     %s\nlanguage  %s\ncreated   %s", who.ID, who.State, who.Language, who.CreatedAt.UTC().Format(time.RFC3339))
		if !standing.EraseAt.IsZero() {
			w.say("erased at %s", standing.EraseAt.UTC().Format(time.RFC3339))
		}
		w.say("groups    %s\npolicy    %s", dash(strings.Join(groups, ", ")), second.Policy)
		for _, a := range addresses {
			text := "[hidden]"
			if s.Reveal {
				text = a.Normal
			}
			w.say("%-9s %s%s", a.Kind, text, uses(a))
		}
		return nil
	})
}

func uses(a account.Address) (out string) {
	for _, u := range []struct {
		on   bool
		name string
	}{{a.Verified, "verified"}, {a.SignsIn, "signs in"}, {a.Notices, "notices"}, {a.Recovers, "recovers"}} {
		if u.on {
			out += ", " + u.name
		}
	}
	return out
}

type lockCmd struct {
	Account string `arg:"" help:"Its id, or an identifier."`
}

// Run locks an account.
func (l lockCmd) Run(ctx context.Context, w world, c *cli) error {
	return withAccount(ctx, w, c, l.Account, func(core *server.Core, who account.Account) error {
		err := core.Owner.Lock(ctx, who.ID)
		if err == nil {
			w.say("account %s is locked: its sessions are ended, and nobody signs in to it or recovers it until it is unlocked", who.ID)
		}
		return err
	})
}

type unlockCmd struct {
	Account string `arg:"" help:"Its id, or an identifier."`
}

// Run unlocks an account.
func (u unlockCmd) Run(ctx context.Context, w world, c *cli) error {
	return withAccount(ctx, w, c, u.Account, func(core *server.Core, who account.Account) error {
		err := core.Owner.Unlock(ctx, who.ID)
		if err == nil {
			w.say("account %s is unlocked: its holder can sign in, and its wrong passwords and codes so far count no more", who.ID)
		}
		return err
	})
}

type closeCmd struct {
	Account string `arg:"" help:"Its id, or an identifier."`
	Yes     bool   `help:"It cannot be undone, and you mean it." required:""`
}

// Run closes an account.
func (cl closeCmd) Run(ctx context.Context, w world, c *cli) error {
	return withAccount(ctx, w, c, cl.Account, func(core *server.Core, who account.Account) error {
		err := core.Owner.Close(ctx, who.ID)
		if err == nil {
			w.say("account %s is closed for good: its sessions are ended, its devices are forgotten, and its addresses stay taken", who.ID)
		}
		return err
	})
}

func parser(core *server.Core) account.Parser {
	return account.Parser{Region: core.Config.Phone.DefaultRegion}
}

// withCore opens what is there. Where nothing is, a command that looks or changes was most likely run
// in the wrong folder: it must not leave a database and a key file in it.
func withCore(ctx context.Context, w world, c *cli, do func(*server.Core) error) error {
	cfg, err := c.settings(w, nil)
	if err == nil {
		err = server.Present(cfg)
	}
	if err != nil {
		return err
	}
	return onCore(ctx, w, cfg, do)
}

// withNewCore is withCore for what may be the first command ever run: it makes what is missing.
func withNewCore(ctx context.Context, w world, c *cli, do func(*server.Core) error) error {
	cfg, err := c.settings(w, nil)
	if err != nil {
		return err
	}
	return onCore(ctx, w, cfg, do)
}

func onCore(ctx context.Context, w world, cfg config.Config, do func(*server.Core) error) error {
	core, flush, err := openCore(ctx, w, cfg)
	if err != nil {
		return err
	}
	defer flush()
	return errors.Join(do(core), core.Close())
}

// withAccount finds an account by its id or by whatever signs in to it.
func withAccount(ctx context.Context, w world, c *cli, which string, do func(*server.Core, account.Account) error) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		var who account.Account
		err := core.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
			if _, err := uuid.Parse(which); err == nil {
				who, err = core.Accounts.Get(ctx, tx, account.ID(which))
				return err
			}
			ident, err := parser(core).Parse(which)
			if err != nil {
				return err
			}
			who, err = core.Accounts.ByIdentifier(ctx, tx, ident)
			return err
		})
		if err == nil {
			err = do(core, who)
		}
		if err != nil {
			return explained(err)
		}
		return nil
	})
}
