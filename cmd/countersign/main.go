// Command countersign is the server and everything an operator does with it.
//
// Exit codes: 0 done; 1 something failed; 2 the command line or the settings are wrong; 3 the
// database does not fit (keys, pending migrations); 4 the doctor found something broken, the audit something
// changed, or a key is still needed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"countersign/internal/keyring"
	"countersign/internal/platform/config"
	"countersign/internal/platform/fault"
	"countersign/internal/server"
)

// The exit codes.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitMisfit  = 3
	exitFinding = 4
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, world{
		args: os.Args[1:], environ: os.Environ(), getenv: os.Getenv,
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, now: time.Now,
	})
	stop()
	os.Exit(code)
}

// world is what a command may touch besides files and the network.
type world struct {
	args           []string
	environ        []string
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
	now            func() time.Time
}

func (w world) say(format string, args ...any) { _, _ = fmt.Fprintf(w.stdout, format+"\n", args...) }

// cli is the command line.
type cli struct {
	Config string `short:"c" placeholder:"FILE" help:"Settings (TOML). Without it: COUNTERSIGN_CONFIG, then countersign.toml if it is here."`

	Serve   serveCmd   `cmd:"" help:"Run the server."`
	Demo    demoCmd    `cmd:"" help:"Run a server to try, with people in it, that forgets everything."`
	Migrate migrateCmd `cmd:"" help:"Bring the database's schema up to date."`
	Doctor  doctorCmd  `cmd:"" help:"Examine settings, keys, database, clock and cost; change nothing."`
	Account accountCmd `cmd:"" help:"Create, show, lock, close, erase, import and export accounts."`
	Callers callers    `embed:""`
	Proofs  proofs     `embed:""`
	Invite  inviteCmd  `cmd:"" help:"Make, list and revoke invitations to open an account."`
	Mail    mail       `embed:""`
	Copies  copies     `embed:""`
	Keys    keysCmd    `cmd:"" help:"Show the keys, change to a new one while the server serves, drop the old one."`
	Audit   auditCmd   `cmd:"" help:"Check the record of security events."`

	Shows shows `embed:""`
}

// callers are the commands about applications.
type callers struct {
	Client clientCmd `cmd:"" help:"See which versions of which applications call the API; warn and refuse old ones."`
	API    apiCmd    `cmd:"" name:"api" help:"Retire a version of the API."`
	OIDC   oidcCmd   `cmd:"" name:"oidc" help:"Register applications that sign people in through us; the keys that their tokens are signed with."`
}

// proofs are the commands about what people prove themselves with.
type proofs struct {
	Token  tokenCmd  `cmd:"" help:"Bring hardware tokens in, and say whose they are."`
	Factor factorCmd `cmd:"" help:"List and remove what an account has set up to prove itself with, and say how much it must prove."`
	Group  groupCmd  `cmd:"" help:"Put accounts into groups, which must prove more, for example."`
}

// mail are the commands about what leaves.
type mail struct {
	Courier courierCmd `cmd:"" help:"See how letters leave, stop and resume them, and look after those that could not be sent."`
	Message messageCmd `cmd:"" help:"Show what letters say, and send one as a test."`
	Webhook webhookCmd `cmd:"" help:"Tell applications of security events; see what waits, tell it again."`
}

// copies are the commands that copy the database.
type copies struct {
	Backup  backupCmd  `cmd:"" help:"Copy the SQLite database while it is served."`
	Restore restoreCmd `cmd:"" help:"Put a backup in the database's place; the server must be stopped."`
}

// shows are the commands that show what the program is made of.
type shows struct {
	Conf    configCmd  `cmd:"" name:"config" help:"Print and check settings."`
	Errors  errorsCmd  `cmd:"" help:"List the error codes."`
	Pages   pagesCmd   `cmd:"" help:"Show every page in every state, with made-up data."`
	Version versionCmd `cmd:"" help:"Print the version."`
	Help    helpCmd    `cmd:"" help:"Show what a command does and takes, as its --help does."`
}

type helpCmd struct {
	Command []string `arg:"" optional:"" help:"Its name, such as demo, or account create; without it all commands are listed."`
}

// Help is shown after the flags.
func (helpCmd) Help() string {
	return `countersign help demo and countersign demo --help are the same.

  countersign help demo
  countersign help account create`
}

// Run shows the help of a command.
func (h helpCmd) Run(ctx context.Context, w world) error {
	w.args = append(h.Command, "--help")
	if code := run(ctx, w); code != 0 {
		return found(code) // and run said why
	}
	return nil
}

// exit is what kong's --help panics with, so that deferred work is done.
type exit int

// run runs one command and returns its exit code.
func run(ctx context.Context, w world) (code int) {
	defer func() {
		if p := recover(); p != nil {
			e, ok := p.(exit)
			if !ok {
				panic(p)
			}
			code = int(e)
		}
	}()
	var c cli
	parser, err := kong.New(&c, kong.Name("countersign"), kong.Writers(w.stdout, w.stderr),
		kong.Description("Signs people in, recognises their devices, and asks whoever it does not recognise for a second proof."),
		kong.Exit(func(code int) { panic(exit(code)) }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		return complain(w, err)
	}
	parsed, err := parser.Parse(w.args)
	if err != nil {
		// Among what an option may be kong lists what it is when nobody gives it.
		_, _ = fmt.Fprintf(w.stderr, "countersign: %s; see %s --help\n", strings.Replace(err.Error(), `one of "",`, "one of ", 1), helpOf(err))
		return exitUsage
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	return complain(w, parsed.Run(w, &c))
}

// helpOf is the command that a line which cannot be read was about, as far as it could be.
func helpOf(err error) string {
	if e, ok := errors.AsType[*kong.ParseError](err); ok && e.Context != nil && e.Context.Selected() != nil {
		names := []string{}
		for _, p := range e.Context.Path {
			if p.Command != nil {
				names = append(names, p.Command.Name)
			}
		}
		return "countersign " + strings.Join(names, " ")
	}
	return "countersign"
}

// complain says what went wrong and returns the exit code.
func complain(w world, err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[found](err); ok { // said already
		return int(e)
	}
	if bad, ok := errors.AsType[config.Problems](err); ok {
		for _, line := range bad {
			_, _ = fmt.Fprintln(w.stderr, "countersign: "+line)
		}
		return exitUsage
	}
	_, _ = fmt.Fprintln(w.stderr, "countersign: "+strings.ReplaceAll(words(err), "\n", "; "))
	switch {
	case errors.Is(err, keyring.ErrWrongKey), errors.Is(err, keyring.ErrMissing), errors.Is(err, server.ErrPending):
		return exitMisfit
	case errors.Is(err, errUsage):
		return exitUsage
	}
	return exitFailed
}

// words adds what to do where the error does not say it itself.
func words(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return err.Error() + ": stop what listens there, or choose another address"
	case errors.Is(err, fs.ErrPermission):
		return err.Error() + ": give this user the right, or choose another place"
	case fault.Of(err).Code == "database_unavailable":
		return err.Error() + ": see that the database runs and that database.url is right"
	}
	return err.Error()
}

// found ends a command whose findings were printed.
type found int

// Error implements error.
func (f found) Error() string { return "something was found" }

var errUsage = errors.New("see --help")

// settings loads the configuration; flags win over everything.
func (c *cli) settings(w world, flags map[string]string) (config.Config, error) {
	given := map[string]string{}
	for key, value := range flags {
		if value != "" {
			given[key] = value
		}
	}
	file := c.Config
	if file == "" {
		file = w.getenv("COUNTERSIGN_CONFIG")
	}
	if _, err := os.Stat("countersign.toml"); file == "" && err == nil {
		file = "countersign.toml"
	}
	// What account import alone reads is no setting, and would be refused as a misspelt one.
	environ := slices.DeleteFunc(slices.Clone(w.environ), func(pair string) bool {
		return strings.HasPrefix(pair, "COUNTERSIGN_FIREBASE_SIGNER_KEY=")
	})
	return config.Load(config.Source{File: file, Environ: environ, Flags: given, ReadFile: os.ReadFile})
}
