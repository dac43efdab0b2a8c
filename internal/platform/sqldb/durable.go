package sqldb

import (
	"errors"
	"io/fs"
	"os"
	"sync"
)

// group makes commits durable, many with one fsync. SQLite by itself would fsync in each commit
// and hold its one writer meanwhile; with synchronous=NORMAL it writes the log and leaves it to us.
// Everybody who has committed by the time a sync begins is covered by it.
type group struct {
	sync func() error

	turn sync.Mutex // held while a sync runs
	mu   sync.Mutex
	next *batch // those whom the next sync will cover
}

type batch struct {
	done chan struct{}
	err  error
}

// wait returns once what was committed before the call is on disk.
func (g *group) wait() error {
	g.mu.Lock()
	b := g.next
	leads := b == nil
	if leads {
		b = &batch{done: make(chan struct{})}
		g.next = b
	}
	g.mu.Unlock()
	if !leads {
		<-b.done
		return b.err
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	g.mu.Lock()
	g.next = nil // whoever comes from here on may have committed too late
	g.mu.Unlock()
	b.err = g.sync()
	close(b.done)
	return b.err
}

// syncLog flushes SQLite's write-ahead log. Without a log all of it is in the file, synced by the checkpoint.
func syncLog(path string) error {
	f, err := os.OpenFile(path+"-wal", os.O_RDWR, 0) //nolint:gosec // the operator names it
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
