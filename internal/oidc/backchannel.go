package oidc

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

// How applications are told that somebody is signed out; docs/decisions/0030 has the reasons.
const (
	logoutTokenFor = 2 * time.Minute
	logoutPatience = 24 * time.Hour
	logoutTogether = 8 // at once, of one application
	logoutTimeout  = 10 * time.Second
	logoutLease    = 4 * logoutTimeout // outlasts a round, so that nobody else begins one meanwhile
	logoutFirst    = 5 * time.Second   // the wait after a failure, which doubles
	logoutLongest  = time.Hour
	logoutLook     = time.Second // how often a node looks for what other nodes wrote down
)

// pendingLogout is an application that is to be told.
type pendingLogout struct {
	id, client, subject, sid, lease string
	attempts                        int
	last                            bool // a failure now is the last
}

// SignedOut writes down, in the transaction that ends lines of sessions of an account, which applications are to be told. It is for session.Service.
func (s *Service) SignedOut(ctx context.Context, tx *sqldb.Tx, who account.ID, lines []session.ID) error {
	all, err := givenIn(ctx, tx, who, lines)
	if err != nil {
		return err
	}
	return s.writeLogouts(ctx, tx, who, all)
}

// given says that a client got tokens of an account in a line of sessions.
type given struct {
	client string
	line   session.ID
}

func (s *Service) writeLogouts(ctx context.Context, tx *sqldb.Tx, who account.ID, all []given) error {
	for _, g := range all {
		c, ok, err := s.find(ctx, tx, g.client)
		if err == nil && ok && c.Backchannel != "" {
			err = putLogout(ctx, tx, pendingLogout{id: uuid.Must(uuid.NewV7()).String(), client: c.ID, subject: s.subject(c, who), sid: s.sid(c.ID, g.line)})
			tx.AfterCommit(s.wake)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// logoutQueue are the applications that this node is telling.
type logoutQueue struct {
	mu      sync.Mutex
	awake   chan struct{}
	serving map[string]bool
}

// wake has this node look at once.
func (s *Service) wake() {
	select {
	case s.alarm() <- struct{}{}:
	default: // it will look anyway
	}
}

func (s *Service) alarm() chan struct{} {
	s.logouts.mu.Lock()
	defer s.logouts.mu.Unlock()
	if s.logouts.awake == nil {
		s.logouts.awake, s.logouts.serving = make(chan struct{}, 1), map[string]bool{}
	}
	return s.logouts.awake
}

// Run tells applications that people are signed out, until ctx ends, and lets what is under way end. Each application is told in a loop of its
// own: one that is slow or away holds up no other.
func (s *Service) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(logoutLook)
	defer tick.Stop()
	for awake := s.alarm(); ; {
		var due []string
		err := s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
			due, err = waitedFor(ctx, tx)
			return err
		})
		s.troubled(ctx, "look for logouts to tell", err)
		for _, client := range due {
			if err == nil && s.serves(client, true) {
				wg.Go(func() {
					defer s.serves(client, false)
					s.tell(ctx, client)
				})
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-awake:
		case <-tick.C:
		}
	}
}

// serves notes that an application is being told, or is not any more; first is false if it was noted before.
func (s *Service) serves(client string, now bool) (first bool) {
	s.logouts.mu.Lock()
	defer s.logouts.mu.Unlock()
	first = !s.logouts.serving[client]
	s.logouts.serving[client] = now
	return first
}

// tell tells one application until nothing is due any more, or nothing comes through. What cannot be read or written now is tried again in a second.
func (s *Service) tell(ctx context.Context, client string) {
	for ctx.Err() == nil {
		all, c, err := s.claim(ctx, client)
		s.troubled(ctx, "look for logouts of an application", err, slog.String("client", client))
		if err != nil || len(all) == 0 {
			return
		}
		ctx := context.WithoutCancel(ctx) // what was begun ends, and is written down, also while the server stops
		came := make([]bool, len(all))
		var wg sync.WaitGroup
		for i, l := range all {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, logoutTimeout)
				defer cancel()
				came[i] = s.sendLogout(ctx, c, l)
			})
		}
		wg.Wait()
		through := false
		err = s.DB.WriteSoon(ctx, func(tx *sqldb.Tx) error {
			for i, l := range all {
				through = through || came[i]
				if err := settleLogout(ctx, tx, l, came[i] || l.last); err != nil {
					return err
				}
			}
			return nil
		})
		s.troubled(ctx, "write down which logouts were told", err, slog.String("client", client))
		if err != nil || !through {
			return
		}
	}
}

// claim takes what is due for an application, and looks that up.
func (s *Service) claim(ctx context.Context, client string) (all []pendingLogout, c Client, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		if c, _, err = s.find(ctx, tx, client); err != nil {
			return err
		}
		all, err = claimLogouts(ctx, tx, client, uuid.NewString())
		return err
	})
	return all, c, err
}

// logoutToken is what a logout token says (OpenID Connect Back-Channel Logout 1.0 section 2.4). It has no nonce, so that it is no ID token.
type logoutToken struct {
	Issuer   string              `json:"iss"`
	Subject  string              `json:"sub"`
	Audience string              `json:"aud"`
	At       int64               `json:"iat"`
	Until    int64               `json:"exp"`
	ID       string              `json:"jti"` // another one for each try: the application may have used up the one before, and its answer been lost
	Events   map[string]struct{} `json:"events"`
	Session  string              `json:"sid"`
}

func (s *Service) sendLogout(ctx context.Context, c Client, l pendingLogout) (came bool) {
	if c.Backchannel == "" { // it is gone, or wants to be told no more
		return true
	}
	now := s.DB.Now()
	token, err := s.sign(ctx, c.Alg, "logout+jwt", logoutToken{
		Issuer: s.Issuer, Subject: l.subject, Audience: c.ID, At: now.Unix(), Until: now.Add(logoutTokenFor).Unix(), ID: uuid.NewString(),
		Events: map[string]struct{}{"http://schemas.openid.net/event/backchannel-logout": {}}, Session: l.sid,
	})
	s.troubled(ctx, "sign a logout token", err, slog.String("client", c.ID))
	return err == nil && s.Post(ctx, c, token) == nil // which logs what went wrong
}

// troubled logs what keeps applications from being told; but for the end of the server.
func (s *Service) troubled(ctx context.Context, doing string, err error, about ...slog.Attr) {
	if err != nil && ctx.Err() == nil {
		s.Log.LogAttrs(ctx, slog.LevelWarn, doing, append(about, slog.Any("error", err))...)
	}
}
