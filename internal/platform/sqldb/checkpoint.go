package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// checkpointEvery is how many commits SQLite's log takes in until it is written back: some thousand pages, which takes one
	// of few processors a millisecond or two. More at once would be felt by whoever comes meanwhile.
	checkpointEvery = 256
	// restartAt is how many pages the log grows to before it is begun anew, for which nobody may commit for some milliseconds: seldom enough
	// that it is not felt by one in a hundred.
	restartAt = 32768 // 128 MiB
	// mostLogged is how many pages it may have until whoever commits writes it back, whatever has become of the checkpointer:
	// transactions that change much are soon there, and a page that many of them change is written back once.
	mostLogged = 49152 // 192 MiB, which is at most what is left of the log's file in any case
)

// checkpointer writes SQLite's log back to the file, so that nobody waits for it whose commit happened to fill the log.
// https://www.sqlite.org/wal.html#checkpointing
type checkpointer struct {
	own, writer *sql.DB
	most        int // pages, until the log is begun anew
	commits     atomic.Int64
	due         chan struct{}
	end         context.CancelFunc
	ended       sync.WaitGroup
}

func newCheckpointer(own, writer *sql.DB, most int) *checkpointer {
	ctx, end := context.WithCancel(context.Background()) // until close
	c := &checkpointer{own: own, writer: writer, most: most, due: make(chan struct{}, 1), end: end}
	c.ended.Go(func() { c.run(ctx) })
	return c
}

// count counts a commit, and has the log written back after so many. It never waits.
func (c *checkpointer) count() {
	if c.commits.Add(1)%checkpointEvery != 0 {
		return
	}
	select {
	case c.due <- struct{}{}:
	default: // it is behind, and takes these in as well
	}
}

func (c *checkpointer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.due:
		}
		// What comes in meanwhile is not written back. The log begins anew only once all of it is: what is left after a
		// second time is little, and the writer does it, while nobody can add to it.
		if logged(ctx, c.own) < c.most {
			continue
		}
		logged(ctx, c.own)
		logged(ctx, c.writer)
	}
}

// logged has what is in the log written back, as far as nobody reads what was there before, and returns how many pages are in
// it. What fails is tried again with the next, and nobody hears of it before the log itself cannot grow.
func logged(ctx context.Context, db *sql.DB) (pages int) {
	var busy, written int
	if err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &pages, &written); err != nil {
		return 0
	}
	return pages
}

// anew has the log begun anew that whoever wrote before has left, before anything is written. They may have ended because the disk did not take it:
// then memory has what the disk lacks, no sync writes it again, and what comes behind it in the log would be lost with it. Others who have the file open
// did so when they opened it: nobody keeps them waiting for more than what came in meanwhile, and where they are busy it is left at a few tries. What it cannot
// mend is a reader, such as a backup, that has gone on since before the disk failed and goes on.
func (db *DB) anew(ctx context.Context) error {
	if info, err := os.Stat(db.wal.path); err != nil || info.Size() == 0 {
		return nil // there is none
	}
	if err := db.wal.hold(); err != nil { // before a checkpoint syncs it, and is the only one to hear that this failed
		return err
	}
	logged(ctx, db.writer)
	c, err := db.writer.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.ExecContext(ctx, "PRAGMA busy_timeout = 0"); err != nil {
		return err
	}
	for range 5 {
		var busy, pages, written int
		err = c.QueryRowContext(ctx, "PRAGMA wal_checkpoint(RESTART)").Scan(&busy, &pages, &written)
		if err != nil && !errors.Is(held(err), ErrHeld) {
			return err
		}
		if err == nil && busy == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	_, err = c.ExecContext(ctx, "PRAGMA busy_timeout = 10000")
	return err
}

func (c *checkpointer) close() error {
	c.end()
	c.ended.Wait()
	return c.own.Close()
}
