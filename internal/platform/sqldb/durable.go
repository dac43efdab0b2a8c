package sqldb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// group makes commits durable, many with one fsync. SQLite by itself would fsync in each commit
// and hold its one writer meanwhile; with synchronous=NORMAL it writes the log and leaves it to us.
// Everybody who has committed by the time a sync begins is covered by it.
//
// Once something is known not to be on disk (errLost), nothing is written any more until the file is opened anew: Linux
// forgets what it could not write, and says so once. The next sync would succeed, and what was committed from then on would
// hang on pages of the log that are not there.
type group struct {
	sync func() error

	turn   sync.Mutex // held while a sync runs
	failed error      // what is not on disk; changed in turn and under mu
	mu     sync.Mutex
	next   *batch // those whom the next sync will cover
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
	if b.err = g.failed; b.err == nil {
		b.err = g.sync()
	}
	if errors.Is(b.err, errLost) {
		g.mu.Lock()
		g.failed = b.err
		g.mu.Unlock()
	}
	close(b.done)
	return b.err
}

// close syncs once more and lets the log go. Whoever comes from here on was under way, and is synced for itself: where others have the file open, SQLite has not
// written the log back.
func (g *group) close(l *walLog) error {
	g.turn.Lock()
	defer g.turn.Unlock()
	sync := g.sync
	err := errors.Join(sync(), l.close())
	g.sync = func() error {
		if err != nil {
			return err
		}
		return errors.Join(sync(), l.close())
	}
	return err
}

// errLost is of a disk that did not take what was written.
var errLost = errors.New("what was written is not on disk; start the server again once the disk is well")

// broken returns what failed if nothing may be written any more.
func (g *group) broken() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed
}

// walLog is SQLite's write-ahead log as the file that it is. From the first sync on, and from the start where a log was left, the file is kept open, so that a write that failed is
// heard of here whoever else has synced meanwhile, as a checkpoint does: Linux tells everybody once who had the file open by then.
type walLog struct {
	path string
	open *os.File
	ends bool // SQLite may delete it, once all is in the database's file
}

// end has it known that the database is about to be closed.
func (g *group) end(l *walLog) {
	g.turn.Lock()
	defer g.turn.Unlock()
	l.ends = true
}

// sync flushes the log. Without a log all of it is in the database's file, synced by the checkpoint.
func (l *walLog) sync() error {
	if err := l.hold(); err != nil || l.open == nil {
		return err
	}
	if err := l.open.Sync(); err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return nil
}

// hold keeps the log open that is there, if one is.
func (l *walLog) hold() error {
	there, err := os.Stat(l.path)
	gone := errors.Is(err, fs.ErrNotExist)
	if err != nil && !gone {
		return err
	}
	if l.open != nil {
		if mine, err := l.open.Stat(); err == nil && !gone && os.SameFile(mine, there) {
			return nil
		}
		if !l.ends {
			return fmt.Errorf("%w: somebody took away %s, which is rescued if the server is stopped and not killed", errLost, l.path)
		}
		_ = l.close() // of a log that is no more: what stood in it is in the database's file
	}
	if gone {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_RDWR, 0)
	if err == nil {
		l.open = f
	}
	return err
}

func (l *walLog) close() error {
	if l.open == nil {
		return nil
	}
	err := l.open.Close()
	l.open = nil
	return err
}
