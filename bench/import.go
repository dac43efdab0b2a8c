package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// perMillion is how long an import or a rotation may take for a million accounts.
const perMillion = 5 * time.Minute

func limit(accounts int) float64 { return perMillion.Seconds() * float64(accounts) / 1e6 }

// imports measures how long the command takes to bring accounts along with hashes that are kept, into an empty database.
func (b *bench) imports() error {
	accounts := b.Accounts
	if b.Quick {
		accounts = 20_000
	}
	file := filepath.Join(b.temp, "people.jsonl")
	if err := writePeople(file, accounts); err != nil {
		return err
	}
	at, key := "sqlite:"+filepath.Join(b.temp, "imported.db"), filepath.Join(b.temp, "imported.key")
	if b.Database != "" {
		var err error
		if at, key, err = b.database(0); err != nil {
			return err
		}
	}
	p := &place{settings: filepath.Join(b.temp, "imported.toml"), letters: "127.0.0.1:1"}
	if err := b.configure(p, at, key); err != nil {
		return err
	}
	b.note("importing %d accounts", accounts)
	got, err := b.operate(p, "account", "import", file)
	if err != nil {
		return err
	}
	rate := float64(accounts) / got.wall.Seconds()
	b.table.below(fmt.Sprintf("import of %d accounts, hashes kept (%.0f/s)", accounts, rate), "s", got.wall.Seconds(), limit(accounts))
	b.table.rows[len(b.table.rows)-1].rate = true
	b.table.add(row{what: "… its processor time, user and system", ours: fmt.Sprintf("%.0f s and %.0f s", got.user.Seconds(), got.system.Seconds())})
	memory := row{
		what: "… most memory it had (ceiling: until a quarter was done)", ours: fmt.Sprintf("%.0f MiB", got.late),
		ceiling: fmt.Sprintf("%.0f MiB", got.early), ratio: fmt.Sprintf("%.0f %%", 100*got.late/got.early),
	}
	if b.Quick { // a quarter of it is the start
		b.table.add(memory)
	} else {
		memory.target = "< 125 %"
		b.table.judged(got.late < 1.25*got.early, memory)
	}
	b.table.add(row{what: "… in each tenth of the time", ours: fmt.Sprintf("%.0f MiB", got.tenths)})
	return nil
}

// writePeople writes JSON Lines: an address each, for half of them a number, a name, and a bcrypt or argon2id hash.
func writePeople(path string, n int) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(f)
	hashes := []string{
		"$2b$10$pVbiloiZSqUu8DozRtCOxOHCg7Twjj0.E/Meo.xoTA6cr1oVpGwty",
		"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b2dWRWJTmaaJObGAAECAwQFBgc",
	}
	for i := range n {
		phone := ""
		if i%2 == 1 {
			phone = fmt.Sprintf(`,"phone":"+49151%08d"`, i)
		}
		fmt.Fprintf(out, `{"external_id":"%d","email":%q,"email_verified":true%s,"claims":{"name":"Person %d"},"password_hash":%q}`+"\n",
			i, nameOf(i), phone, i, hashes[i/2%2])
	}
	return errors.Join(out.Flush(), f.Close())
}

// operated is what an operator's command took.
type operated struct {
	wall, user, system time.Duration
	early, late        float64 // most memory in MiB, in the first quarter of the time and in all of it
	tenths             [10]float64
}

// operate runs an operator's command to its end.
func (b *bench) operate(p *place, args ...string) (got operated, err error) {
	text, err := os.Create(filepath.Join(b.temp, "operate.log"))
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, text.Close()) }()
	n := &node{cmd: exec.CommandContext(b.ctx, b.Binary, append(args, "--config", p.settings)...), log: text}
	n.cmd.Stdout, n.cmd.Stderr = text, text
	others, err := strangers()
	if err != nil {
		return got, err
	}
	began := b.now()
	if err := n.cmd.Start(); err != nil {
		return got, err
	}
	watched := make(chan []sample)
	over := make(chan struct{})
	go func() { watched <- n.watch(b.now, over) }()
	err = n.cmd.Wait()
	close(over)
	memory := <-watched
	if err != nil {
		_, _ = text.Seek(0, io.SeekStart)
		return got, fmt.Errorf("countersign %s: %w: %s", args[0], err, n.lastWords())
	}
	got.wall = b.now().Sub(began)
	got.user, got.system = n.cmd.ProcessState.UserTime(), n.cmd.ProcessState.SystemTime()
	for _, s := range memory {
		got.late = max(got.late, s.mib)
		tenth := min(int(10*s.at.Sub(began)/max(got.wall, 1)), len(got.tenths)-1)
		got.tenths[tenth] = max(got.tenths[tenth], s.mib)
		if s.at.Sub(began) <= got.wall/4 {
			got.early = max(got.early, s.mib)
		}
	}
	after, err := strangers()
	b.disturbed += after - others - got.user - got.system // it has ended, and so does not count as ours any more
	b.measured += got.wall
	return got, err
}

type sample struct {
	at  time.Time
	mib float64
}

// watch looks at a process's memory until it is over.
func (n *node) watch(now func() time.Time, over <-chan struct{}) (all []sample) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if mib, err := n.memory("VmRSS"); err == nil { // once it has ended there is none
			all = append(all, sample{now(), mib})
		}
		select {
		case <-over:
			return all
		case <-tick.C:
		}
	}
}
