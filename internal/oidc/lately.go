package oidc

import (
	"sync"
	"sync/atomic"
	"time"

	"countersign/internal/platform/sqldb"
)

const (
	// believed is how long userinfo answers without the database: what ended on another node is known everywhere within a second.
	believed = time.Second
	// mostBelieved bounds memory: about 500 bytes each, 5 MB in all. Once there are as many, all are forgotten, and read again.
	mostBelieved = 10_000
)

// lately holds what userinfo told within the last second. What this node ended since then, or heard that another ended, counts at once: it is
// believed no more, whomever it was about. Its zero value is ready.
type lately struct {
	turn atomic.Int64 // counts what ended
	mu   sync.RWMutex
	told map[string]told // by the token's digest
}

// told is an answer.
type told struct {
	claims map[string]any // nobody changes it
	key    confirmation   // of the token
	at     moment
	until  time.Time
}

// moment is how much had ended.
type moment struct{ ours, sessions int64 }

func (s *Service) moment() moment { return moment{s.lately.turn.Load(), s.Sessions.Ends()} }

// over has nothing be believed any more once the transaction is committed.
func (s *Service) over(tx *sqldb.Tx) { tx.AfterCommit(func() { s.lately.turn.Add(1) }) }

// believed returns what was told of a token to whoever shows what it is bound to.
func (s *Service) believed(digest []byte, by Caller) (map[string]any, bool) {
	s.lately.mu.RLock()
	t, ok := s.lately.told[string(digest)]
	s.lately.mu.RUnlock()
	if !ok || !t.key.shownBy(by) || t.at != s.moment() || !s.DB.Now().Before(t.until) {
		return nil, false
	}
	return t.claims, true
}

// believe keeps an answer; t.at is from before it was read.
func (s *Service) believe(digest []byte, t told) {
	s.lately.mu.Lock()
	defer s.lately.mu.Unlock()
	if s.lately.told == nil || len(s.lately.told) >= mostBelieved {
		s.lately.told = map[string]told{}
	}
	s.lately.told[string(digest)] = t
}
