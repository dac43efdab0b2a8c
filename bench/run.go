package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

type runCmd struct {
	Quick    bool     `help:"A minute: fewer and shorter turns, fewer accounts, and not the million."`
	Only     []string `enum:"check,apps,passkey,signin,burst,letters,start,scale,import,rotate" help:"Measure only this: check, apps, passkey, signin, burst, letters, start or scale; or import or rotate, which are measured only if named."`
	Database string   `placeholder:"URL" help:"A PostgreSQL server to make databases on. Without it: SQLite."`
	Dir      string   `placeholder:"FOLDER" help:"Where filled SQLite files are kept from run to run. Without it: countersign-bench among the temporary files."`
	Accounts int      `default:"1000000" help:"How many accounts the large database has."`
	Rounds   int      `help:"How many turns each contender has."`
	Binary   string   `placeholder:"FILE" help:"Measure this binary instead of building one."`
}

// bench is a run.
type bench struct {
	*world
	runCmd

	temp         string
	people       int // who signs in
	check, longs time.Duration
	ends         []func()
	table        table
	hasher       *helper

	measured, disturbed time.Duration // how long rates were measured, and the processor time that others had meanwhile
}

func (b *bench) onEnd(f func()) { b.ends = append(b.ends, f) }

func (b *bench) wants(what string) bool {
	if len(b.Only) == 0 {
		return what != "import" && what != "rotate" && (what != "scale" || !b.Quick)
	}
	return slices.Contains(b.Only, what)
}

// small is how many accounts the smaller database has.
const small = 10_000

// Run measures and prints.
func (r runCmd) Run(w *world) (err error) {
	b := &bench{world: w, runCmd: r, people: 2000, check: 3 * time.Second, longs: 8 * time.Second}
	if b.Quick {
		b.people, b.check, b.longs = 1000, time.Second, 3*time.Second
	}
	if b.Rounds == 0 {
		b.Rounds = map[bool]int{false: 7, true: 3}[b.Quick]
	}
	if b.Dir == "" {
		b.Dir = filepath.Join(os.TempDir(), "countersign-bench")
	}
	if b.temp, err = os.MkdirTemp("", "bench"); err != nil {
		return err
	}
	defer func() {
		for _, end := range slices.Backward(b.ends) {
			end()
		}
		_ = os.RemoveAll(b.temp)
	}()
	before := loadAverage()
	began := w.now()
	if err := b.all(); err != nil {
		return err
	}
	fmt.Fprintf(w.out, "\n%s, %d × %s, %s, %s; load average before %s, after %s; took %s\n\n",
		began.Format(time.DateOnly), runtime.NumCPU(), processorName(), runtime.Version(), b.engine(), before, loadAverage(), w.now().Sub(began).Round(time.Second))
	const tolerable = .1
	others := 0.0
	if b.measured > 0 && b.Database == "" { // PostgreSQL is none of ours, and yet it works for us
		others = b.disturbed.Seconds() / b.measured.Seconds() / float64(runtime.NumCPU())
	}
	if others > tolerable {
		b.table.disturbed()
	}
	if err := b.table.write(w.out); err != nil {
		return err
	}
	if b.measured > 0 && b.Database == "" {
		fmt.Fprintf(w.out, "\nWhile rates were measured, others had %.0f %% of the machine's processors.\n", 100*others)
	}
	switch {
	case b.table.missed():
		return errMissed
	case others > tolerable:
		return errDisturbed
	}
	return nil
}

func (b *bench) engine() string {
	if b.Database == "" {
		return "SQLite"
	}
	return "PostgreSQL"
}

// all does every measurement wanted.
func (b *bench) all() (err error) {
	b.note("building, and filling databases")
	if err := b.build(); err != nil {
		return err
	}
	if b.hasher, err = newHelper(b.ctx); err != nil {
		return err
	}
	b.onEnd(b.hasher.close)
	at := small
	if b.Quick {
		at = 2000
	}
	for _, part := range []struct {
		name string
		do   func() error
	}{{"import", b.imports}, {"rotate", b.rotates}} {
		if !b.wants(part.name) {
			continue
		}
		if err := part.do(); err != nil {
			return err
		}
	}
	if len(b.Only) > 0 && !slices.ContainsFunc(b.Only, func(what string) bool { return what != "import" && what != "rotate" }) {
		return nil
	}
	few, err := b.newPlace(at)
	if err != nil {
		return err
	}
	places := []*place{few}
	if b.wants("scale") {
		many, err := b.newPlace(b.Accounts)
		if err != nil {
			return err
		}
		places = append(places, many)
	}
	for _, part := range []struct {
		name string
		do   func(*place) error
	}{{"start", b.starts}, {"burst", b.crowd}} {
		for _, p := range places {
			if !b.wants(part.name) {
				continue
			}
			if err := part.do(p); err != nil {
				return err
			}
		}
	}
	if b.wants("letters") {
		if err := b.sends(few); err != nil {
			return err
		}
	}
	if b.wants("start") {
		if err := b.look(); err != nil {
			return err
		}
	}
	if b.wants("check") || b.wants("apps") || b.wants("passkey") || b.wants("signin") || b.wants("scale") {
		return b.rates(places)
	}
	return nil
}

// rates measures how often checks and sign-ins can be done, on each database.
func (b *bench) rates(places []*place) error {
	r := rated{bench: b, few: places[0], nodes: map[*place]*node{}}
	if len(places) > 1 {
		r.many = places[1]
	}
	for _, p := range places {
		n, err := b.start(p)
		if err != nil {
			return err
		}
		defer func() { _ = n.stop() }()
		r.nodes[p] = n
	}
	if b.wants("check") || r.many != nil {
		if err := r.checks(); err != nil {
			return err
		}
	}
	if b.wants("apps") {
		if err := r.apps(); err != nil {
			return err
		}
	}
	if b.wants("passkey") {
		if err := r.passkeys(); err != nil {
			return err
		}
	}
	if b.wants("signin") || r.many != nil {
		return r.signIns()
	}
	return nil
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:min(3, len(strings.Fields(string(text))))], " ")
}

func processorName() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // without it the line is shorter
	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
