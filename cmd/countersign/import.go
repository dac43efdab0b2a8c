package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"countersign/internal/password/foreign"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/transfer"
)

type importCmd struct {
	File   string `arg:"" help:"CSV with a first line that names the columns, or JSON Lines; - is standard input."`
	Format string `enum:",csv,jsonl" default:"" placeholder:"csv|jsonl" help:"csv or jsonl. By default by the file's name."`
	DryRun bool   `help:"Read everything, say what would happen and how long it would take, and write nothing."`
	Report string `help:"Where to write which lines were refused: line, reason, id. No contact data." placeholder:"FILE"`

	Vouch         bool   `help:"Addresses whose line does not say whether they are verified are: you vouch for them."`
	IgnoreUnknown bool   `help:"Pass over columns and fields that mean nothing here."`
	Hash          string `help:"What hashes are that do not say it themselves: firebase, or md5(password), sha1(password+salt), sha256(salt+password) and the like." placeholder:"FORMAT"`
	Salt          string `enum:"text,hex,base64" default:"text" help:"How salts of those are written: text, hex, base64."`

	FirebaseSignerKey     string `env:"COUNTERSIGN_FIREBASE_SIGNER_KEY" placeholder:"BASE64" help:"As the project's console shows it. The environment variable keeps it out of the list of processes."`
	FirebaseSaltSeparator string `default:"Bw==" help:"The same."`
	FirebaseRounds        int    `default:"8" help:"The same."`
	FirebaseMemCost       int    `default:"14" help:"The same."`
}

// Help is shown after the flags.
func (importCmd) Help() string {
	return `Needs email, phone or username in each line; what else may stand there is in docs/import.md.
Run the same command again after it was stopped, however hard: it goes on where it was, and takes no line twice.

Hashes that are slow to guess (argon2, bcrypt, scrypt, PBKDF2, sha-crypt, phpass) are kept, sealed, until their owner
signs in: some thousands of lines a second. Until then every sign-in, of anybody, also does the work of such a
check, so that its time tells nobody who has an account.
Quick ones (MD5, SHA, salted or not), and passwords in clear, are hashed here, each for as long as a sign-in takes: on
two cores some 40 to 80 a second, a million in four to seven hours. --dry-run says how long it would be.

  countersign account import --dry-run users.csv
  countersign account import users.jsonl --report refused.csv
  countersign account import users.csv --vouch --hash 'sha256(salt+password)' --salt hex
  countersign account import firebase.jsonl --hash firebase --firebase-mem-cost 14`
}

// Run imports.
func (i importCmd) Run(ctx context.Context, w world, c *cli) error {
	o, err := i.options()
	if err != nil {
		return err
	}
	in, size, err := i.open(w)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return withNewCore(ctx, w, c, func(core *server.Core) error {
		o.Parser, o.Workers = parser(core), core.Config.Password.Hashers()
		refused, err := newReport(i.Report, i.File)
		if err != nil {
			return err
		}
		shown := progress{w: w, size: size}
		o.Refused, o.Progress = refused.add, shown.show
		sum, err := core.Moves.Import(ctx, in, o)
		shown.end()
		if err = errors.Join(err, refused.close()); err != nil {
			if sum.Imported > 0 && !o.DryRun {
				w.say("Imported before that: %d. They stay; run the same command again to go on.", sum.Imported)
			}
			return err
		}
		if !o.DryRun {
			if err := core.LearnCountries(ctx); err != nil {
				return err
			}
		}
		return i.tell(ctx, w, core, sum, refused)
	})
}

func (i importCmd) options() (transfer.Options, error) {
	o := transfer.Options{
		Format: transfer.Format(i.Format), Vouch: i.Vouch, IgnoreUnknown: i.IgnoreUnknown, Hash: i.Hash, Salt: i.Salt, DryRun: i.DryRun,
		Firebase: foreign.Firebase{
			SignerKey: i.FirebaseSignerKey, SaltSeparator: i.FirebaseSaltSeparator, Rounds: i.FirebaseRounds, MemCost: i.FirebaseMemCost,
		},
	}
	if o.Format == "" {
		switch strings.ToLower(filepath.Ext(i.File)) {
		case ".csv":
			o.Format = transfer.CSV
		case ".jsonl", ".ndjson":
			o.Format = transfer.Lines
		default:
			return o, fmt.Errorf("is it CSV or JSON Lines? Say --format csv or --format jsonl; %w", errUsage)
		}
	}
	return o, nil
}

func (i importCmd) open(w world) (in io.ReadCloser, size int64, err error) {
	if i.File == "-" {
		return io.NopCloser(w.stdin), 0, nil
	}
	f, err := os.Open(i.File)
	if err != nil {
		return nil, 0, err
	}
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
		size = st.Size()
	}
	return f, size, nil
}

// tell says what was done, and what it means for those who sign in.
func (i importCmd) tell(ctx context.Context, w world, core *server.Core, sum transfer.Summary, refused *report) error {
	verb := map[bool]string{false: "imported", true: "would be imported"}[i.DryRun]
	w.say("%d of %d lines %s in %s, %d were there from an earlier run, %d refused",
		sum.Imported, sum.Lines, verb, sum.Took.Round(10*time.Millisecond), sum.Already, refused.n)
	for _, why := range slices.Sorted(maps.Keys(sum.Refused)) {
		w.say("  %-24s %d", why, sum.Refused[why])
	}
	for _, line := range refused.first {
		w.say("  line %d: %s", line.Line, line.Why)
	}
	if i.Report == "" && refused.n > 0 {
		w.say("With --report FILE all of them are listed; docs/import.md says what each reason means.")
	}
	if sum.Unreachable > 0 {
		w.say("Without a verified address: %d. No code reaches them, so they can sign in nowhere; see --vouch.", sum.Unreachable)
	}
	if sum.NoPassword > 0 {
		w.say("Without a password: %d. They get one by recovery.", sum.NoPassword)
	}
	if err := i.tellCost(ctx, w, core, sum); err != nil {
		return err
	}
	if refused.n > 0 {
		return found(exitFinding)
	}
	return nil
}

func (i importCmd) tellCost(ctx context.Context, w world, core *server.Core, sum transfer.Summary) error {
	if i.DryRun && sum.Hashed > 0 {
		each, err := hashTime(ctx, w, core)
		if err != nil {
			return err
		}
		all := each * time.Duration(sum.Hashed) / time.Duration(core.Config.Password.Hashers())
		w.say("To be hashed here: %d, for %s each, %d at a time. That takes about %s.", sum.Hashed, each.Round(time.Millisecond), core.Config.Password.Hashers(), roughly(all))
	}
	most := map[string]int64{}
	err := core.DB.Read(ctx, func(tx *sqldb.Tx) error {
		kinds, err := core.Passwords.Kinds(ctx, tx)
		for _, k := range kinds {
			most[k.Family] = k.Work
		}
		return err
	})
	byFamily := func(a, b foreign.Kind) int {
		return cmp.Or(strings.Compare(a.Family, b.Family), cmp.Compare(a.Work, b.Work))
	}
	for _, k := range slices.SortedFunc(maps.Keys(sum.Kinds), byFamily) {
		w.say("With another system's hash (%s): %d", kindWords(k), sum.Kinds[k])
		most[k.Family] = max(most[k.Family], k.Work)
	}
	var extra time.Duration
	for family, work := range most {
		extra += core.Passwords.Measure(foreign.Kind{Family: family, Work: work})
	}
	if extra >= time.Millisecond {
		w.say("Until they have all signed in, each sign-in of anybody takes some %s more than it would. See countersign account hashes.", extra.Round(time.Millisecond))
	}
	return err
}

func hashTime(ctx context.Context, w world, core *server.Core) (time.Duration, error) {
	best := time.Hour
	for range 3 {
		began := w.now()
		if _, err := core.Passwords.Hash(ctx, "measure"); err != nil {
			return 0, err
		}
		best = min(best, w.now().Sub(began))
	}
	return best, nil
}

// roughly is a duration as people say it.
func roughly(d time.Duration) string {
	if d > time.Hour {
		return d.Round(time.Minute).String()
	}
	return max(d.Round(time.Second), time.Second).String()
}

// kindWords is a kind of hash as its makers name its cost.
func kindWords(k foreign.Kind) string {
	if k.Family == "bcrypt" {
		cost := 0
		for n := k.Work; n > 1; n >>= 1 {
			cost++
		}
		return "bcrypt, cost " + strconv.Itoa(cost)
	}
	if k.Work > 1 {
		return fmt.Sprintf("%s, %d rounds", k.Family, k.Work)
	}
	return k.Family
}

// report writes down which lines were refused.
type report struct {
	n     int64
	first []transfer.Refused // to show where no file was asked for
	file  *os.File
	out   *csv.Writer
}

func newReport(path, in string) (*report, error) {
	r := &report{}
	if path == "" {
		return r, nil
	}
	if a, err := os.Stat(path); err == nil {
		if b, err := os.Stat(in); err == nil && os.SameFile(a, b) {
			return nil, errors.New("the report would overwrite the file itself: choose another name")
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err
	}
	r.file, r.out = f, csv.NewWriter(f)
	return r, r.out.Write([]string{"line", "reason", "id"})
}

func (r *report) add(line transfer.Refused) error {
	r.n++
	if r.out == nil {
		if len(r.first) < 10 {
			r.first = append(r.first, line)
		}
		return nil
	}
	return r.out.Write([]string{strconv.FormatInt(line.Line, 10), string(line.Why), inert(line.ID)})
}

// inert keeps a spreadsheet from running what another system called an account (OWASP, CSV injection).
func inert(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

func (r *report) close() error {
	if r.out == nil {
		return nil
	}
	r.out.Flush()
	return errors.Join(r.out.Error(), r.file.Close())
}

// progress is one line on a terminal, and nothing elsewhere.
type progress struct {
	w     world
	size  int64
	last  time.Time
	drawn bool
}

func (p *progress) show(s transfer.Summary) {
	file, ok := p.w.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || p.w.now().Sub(p.last) < 200*time.Millisecond {
		return
	}
	p.last, p.drawn = p.w.now(), true
	line := fmt.Sprintf("%d lines, %.0f a second", s.Lines, float64(s.Lines)/max(s.Took.Seconds(), 0.001))
	if p.size > 0 && s.Bytes > 0 {
		left := time.Duration(float64(s.Took) * float64(p.size-s.Bytes) / float64(s.Bytes))
		line += fmt.Sprintf(", %d %%, %s left", 100*s.Bytes/p.size, max(left, 0).Round(time.Second))
	}
	_, _ = fmt.Fprintf(file, "\r\033[K%s", line)
}

func (p *progress) end() {
	if p.drawn {
		_, _ = fmt.Fprint(p.w.stderr, "\r\033[K")
	}
}
