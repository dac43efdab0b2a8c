package session

import (
	"cmp"
	"context"
	"errors"

	"countersign/internal/platform/sqldb"
)

// ByID returns a live session that somebody else vouches for: a pass to a site behind a proxy, which has its id sealed. It keeps the
// session alive. One that is bound to its browser's key is taken without a proof: no browser proves the keys of our host to another.
// Errors are those of Check; the id of no session is as that of one that has ended.
func (s *Service) ByID(ctx context.Context, id ID) (Session, error) {
	if id == "" {
		return Session{}, refused()
	}
	e, err := s.held(ctx, s.memory.findID(id), func(ctx context.Context) (*entry, error) { return s.loadID(ctx, id) })
	if err == nil && e.row.Key != "" {
		err = keyUnproved()
	}
	if err == nil {
		err = e.row.Full()
	}
	if err != nil {
		return Session{}, err
	}
	e.seen.Store(s.DB.Now().UnixMilli())
	return e.session(), nil
}

func (m *memory) findID(id ID) *entry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.byID[id]
}

func (s *Service) loadID(ctx context.Context, id ID) (*entry, error) {
	var row Session
	var digest []byte
	err := s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		if row, digest, err = byID(ctx, tx, id); err != nil || len(digest) == 0 {
			return cmp.Or(err, refused())
		}
		return s.owned(ctx, tx, row)
	})
	if errors.Is(err, errEnded) {
		s.memory.end([]ID{id})
	}
	if err != nil {
		return nil, err
	}
	now := s.DB.Now()
	e := s.memory.put(keyOf(digest), row, now)
	if !s.alive(e, now) {
		return nil, refused()
	}
	return e, nil
}
