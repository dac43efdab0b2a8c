package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"countersign/internal/platform/sqldb"
)

const (
	// poll is how often a node reads what others ended: four times within the promised second.
	poll = 250 * time.Millisecond
	// window is how far back each poll reads again, since rows can commit late (a transaction may
	// take ten seconds) and clocks of nodes differ (doctor complains from two seconds on).
	window = 15 * time.Second
	// pollLate is when memory alone is no longer believed to be within the promised second.
	pollLate = time.Second
	// recheck bounds how long an entry lives without being read again, whatever was announced.
	recheck = 30 * time.Second
	// flush is how often last-seen times are written; losing that much in a crash harms nobody.
	flush = 20 * time.Second
	// maxEntries bounds memory: about 400 bytes each, 40 MB in all.
	maxEntries = 100_000
)

// memory holds the sessions this node has checked lately. Its zero value is ready.
type memory struct {
	mu       sync.RWMutex
	byDigest map[[32]byte]*entry
	byID     map[ID]*entry
	polled   atomic.Int64 // ms of the last successful poll
	ends     atomic.Int64
	reads    atomic.Int64
}

type entry struct {
	key     [32]byte
	row     Session
	loaded  int64
	seen    atomic.Int64
	flushed atomic.Int64
	ended   atomic.Bool
}

func (e *entry) session() Session {
	s := e.row
	s.LastSeenAt = time.UnixMilli(e.seen.Load())
	return s
}

func (m *memory) find(key [32]byte) *entry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.byDigest[key]
}

// fresh reports whether the entry may answer without the database.
func (m *memory) fresh(e *entry, now time.Time) bool {
	return now.UnixMilli()-e.loaded < recheck.Milliseconds() && m.staleness(now) < pollLate
}

func (m *memory) staleness(now time.Time) time.Duration {
	return now.Sub(time.UnixMilli(m.polled.Load()))
}

func (m *memory) put(key [32]byte, row Session, now time.Time) *entry {
	e := &entry{key: key, row: row, loaded: now.UnixMilli()}
	e.seen.Store(row.LastSeenAt.UnixMilli())
	e.flushed.Store(row.LastSeenAt.UnixMilli())
	m.reads.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byDigest == nil {
		m.byDigest, m.byID = map[[32]byte]*entry{}, map[ID]*entry{}
	}
	if was := m.byID[row.ID]; was != nil && was.key != key { // renewed: one of the two was read before
		was.ended.Store(true)
		delete(m.byDigest, was.key)
	}
	if old := m.byDigest[key]; old != nil && old.seen.Load() > e.seen.Load() {
		e.seen.Store(old.seen.Load()) // seen since, not yet written
	}
	for k, victim := range m.byDigest { // any one: map order is random enough
		if len(m.byDigest) < maxEntries {
			break
		}
		delete(m.byDigest, k)
		delete(m.byID, victim.row.ID)
	}
	m.byDigest[key], m.byID[row.ID] = e, e
	return e
}

func (m *memory) drop(key [32]byte) {
	m.ends.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.byDigest[key]; e != nil {
		e.ended.Store(true)
		delete(m.byDigest, key)
		delete(m.byID, e.row.ID)
	}
}

func (m *memory) end(ids []ID) {
	m.ends.Add(int64(len(ids)))
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if e := m.byID[id]; e != nil {
			e.ended.Store(true)
			delete(m.byDigest, e.key)
			delete(m.byID, id)
		}
	}
}

// unflushed returns up to limit entries seen since they were last written.
func (m *memory) unflushed(limit int) (out []*entry) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, e := range m.byDigest {
		if e.seen.Load() > e.flushed.Load() {
			if out = append(out, e); len(out) == limit {
				break
			}
		}
	}
	return out
}

// Staleness is how long ago this node last read what others ended.
func (s *Service) Staleness() time.Duration { return s.memory.staleness(s.DB.Now()) }

// Ends grows with each session that this node ended, or hears to have ended: what depends on one and was read before is to be read again.
func (s *Service) Ends() int64 { return s.memory.ends.Load() }

// Cached is how many sessions this node holds in memory, and how many it read from the database so far.
func (s *Service) Cached() (held int, reads int64) {
	s.memory.mu.RLock()
	defer s.memory.mu.RUnlock()
	return len(s.memory.byDigest), s.memory.reads.Load()
}

// Run reads what other nodes ended and writes last-seen times until ctx ends, then writes them once more.
func (s *Service) Run(ctx context.Context) error {
	polls, flushes := time.NewTicker(poll), time.NewTicker(flush)
	defer polls.Stop()
	defer flushes.Stop()
	for {
		// A failed poll shows in Staleness; the next comes at once.
		_ = s.Poll(ctx)
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			return s.Flush(last)
		case <-flushes.C:
			_ = s.Flush(ctx) // kept in memory and tried again
		case <-polls.C:
		}
	}
}

// Poll reads once what ended lately on any node.
func (s *Service) Poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var ids []ID
	began := s.DB.Now()
	err := s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		ids, err = announced(ctx, tx, tx.Now().Add(-window))
		return err
	})
	if err != nil {
		return err
	}
	s.memory.end(ids)
	s.memory.polled.Store(began.UnixMilli())
	return nil
}

// Flush writes last-seen times, in batches that hold the writer briefly.
func (s *Service) Flush(ctx context.Context) error {
	const batch = 500
	for range maxEntries / batch {
		due := s.memory.unflushed(batch)
		if len(due) == 0 {
			return nil
		}
		seen := make([]int64, len(due))
		err := s.DB.Write(ctx, func(tx *sqldb.Tx) error {
			for i, e := range due {
				seen[i] = e.seen.Load()
				if err := touch(ctx, tx, e.row.ID, seen[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i, e := range due {
			e.flushed.Store(seen[i])
		}
	}
	return errors.New("last-seen times come in faster than they are written")
}
