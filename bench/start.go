package main

import (
	"debug/elf"
	"fmt"
	"os"
	"time"
)

// starts measures what a start costs, in turns with the same binary doing nothing.
func (b *bench) starts(p *place) error {
	var ours, least []float64
	for range 2 * b.Rounds {
		began := b.now()
		if err := b.command(b.Binary, "version"); err != nil {
			return err
		}
		least = append(least, b.now().Sub(began).Seconds()*1e3)
		n, err := b.start(p)
		if err != nil {
			return err
		}
		ours = append(ours, n.ready.Seconds()*1e3)
		if err := n.stop(); err != nil {
			return err
		}
	}
	c := compare(least, ours)
	b.table.judged(c.ceiling < 150, row{
		what: fmt.Sprintf("start to ready, %d accounts (ceiling: the binary saying its version)", p.accounts),
		ours: fmt.Sprintf("%.0f ms", c.ceiling), ceiling: fmt.Sprintf("%.0f ms", c.ours), ratio: fmt.Sprintf("%.0f %%", 100*c.ratio), target: "< 150 ms",
	})
	n, err := b.start(p)
	if err != nil {
		return err
	}
	defer func() { _ = n.stop() }()
	wait := 10 * time.Second
	if b.Quick {
		wait = 3 * time.Second
	}
	b.note("doing nothing for %s", wait)
	pause(b.ctx, wait)
	idle, err := n.memory("VmRSS")
	if err != nil {
		return err
	}
	b.table.below(fmt.Sprintf("memory of an idle server after %s, %d accounts", wait, p.accounts), "MiB", idle, 40)
	return nil
}

// look looks at the binary itself.
func (b *bench) look() error {
	st, err := os.Stat(b.Binary)
	if err != nil {
		return err
	}
	needs, err := needed(b.Binary)
	if err != nil {
		return err
	}
	b.table.judged(len(needs) == 0, row{what: "shared libraries and interpreter that the binary needs", ours: fmt.Sprint(len(needs)), target: "0"})
	b.table.add(row{what: "size of the binary", ours: fmt.Sprintf("%.1f MiB", float64(st.Size())/(1<<20))})
	return nil
}

// needed names what a dynamically linked program would need at its start.
func needed(file string) (needs []string, err error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	for _, part := range f.Progs {
		if part.Type == elf.PT_INTERP {
			needs = append(needs, "an interpreter")
		}
	}
	libraries, err := f.ImportedLibraries()
	return append(needs, libraries...), err
}
