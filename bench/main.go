// Command bench measures Countersign against what its machine could do at best.
//
// Every number is a ratio: one run of ours over one run of a ceiling, taken in turns in the same
// minutes, since seconds say more about the neighbours of a machine than about the program on it.
// What is measured is the static binary, served over a real listener, by load from other processes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var c cli
	parsed := kong.Parse(&c, kong.Name("bench"), kong.Description(about), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	err := parsed.Run(&world{ctx: ctx, in: os.Stdin, out: os.Stdout, progress: os.Stderr, now: time.Now})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		if errors.Is(err, errMissed) {
			os.Exit(4)
		}
		os.Exit(1)
	}
}

// world is what a command may touch besides processes and the network.
type world struct {
	ctx           context.Context
	in            io.Reader
	out, progress io.Writer
	now           func() time.Time
}

func (w *world) note(format string, args ...any) {
	fmt.Fprintf(w.progress, "%s  "+format+"\n", append([]any{w.now().Format(time.TimeOnly)}, args...)...)
}

type cli struct {
	Run    runCmd    `cmd:"" default:"withargs" help:"Measure and print the table."`
	Fill   fillCmd   `cmd:"" help:"Fill a database with accounts."`
	Helper helperCmd `cmd:"" hidden:"" help:"Make load; bench starts it itself."`
}

const about = `Measures this machine's Countersign against this machine's ceilings. Run it from the repository, which it builds.

  go run ./bench --quick                       a minute, without the million accounts
  go run ./bench                               everything; the first time some minutes more, to fill databases
  go run ./bench --only check --only signin    some of: check, apps, passkey, signin, burst, start, scale
  go run ./bench --only import --only rotate   a million accounts brought along; their keys changed while people sign in
  scripts/with-postgres sh -c 'go run ./bench --database "$TEST_POSTGRES"'
  go run ./bench fill --accounts 1000000 --database sqlite:/var/tmp/million.db --key-file /var/tmp/million.key`
