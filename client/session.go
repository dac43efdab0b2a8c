package client

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Session is a person who is signed in at Countersign.
type Session struct {
	ID              string    `json:"id"`
	Account         string    `json:"account"` // it never changes
	AuthenticatedAt time.Time `json:"authenticated_at"`
	ExpiresAt       time.Time `json:"expires_at"`
	AAL             string    `json:"aal"` // aal0 to aal3
	AMR             []string  `json:"amr"`
}

// Session returns whose a session's token is. One that is over is an *Error with status 401.
func (c *Client) Session(ctx context.Context, token string) (s Session, err error) {
	if !strings.HasPrefix(token, "css_") || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Session{}, &Error{Status: http.StatusUnauthorized, Code: "session_ended"}
	}
	err = c.call(ctx, request{method: http.MethodGet, path: "/session", authorization: "Bearer " + token}, &s)
	return s, err
}

const (
	defaultKeep = 5 * time.Second
	defaultMost = 10_000 // sessions: some three megabytes
)

// Sessions checks sessions, and remembers for a short time what it was told. Client is required. It is safe for concurrent use; do not copy it.
//
// A session that ended is refused after Keep at the latest, and at once where Forget is told of it.
type Sessions struct {
	Client *Client
	Keep   time.Duration // how long an answer is believed; 0 for five seconds, less than 0 for not at all
	Most   int           // how many are remembered; 0 for 10,000

	mu     sync.Mutex
	known  map[[sha256.Size]byte]remembered
	forgot int // how often Forget was called: what was asked before is not remembered after
}

type remembered struct {
	Session

	until time.Time
}

// Check returns whose a session's token is, from memory if that was asked lately. Errors are those of Client.Session, and never remembered.
func (s *Sessions) Check(ctx context.Context, token string) (Session, error) {
	key := sha256.Sum256([]byte(token)) // so that memory has no token
	now := s.Client.now()
	s.mu.Lock()
	known, ok := s.known[key]
	forgot := s.forgot
	s.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.Session, nil
	}
	session, err := s.Client.Session(ctx, token)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		delete(s.known, key)
		return Session{}, err
	}
	if keep := s.keep(); keep > 0 && forgot == s.forgot {
		until := now.Add(keep)
		if session.ExpiresAt.Before(until) {
			until = session.ExpiresAt
		}
		s.put(key, remembered{session, until}, now)
	}
	return session, nil
}

func (s *Sessions) keep() time.Duration {
	if s.Keep == 0 {
		return defaultKeep
	}
	return s.Keep
}

// put makes room first: for what is over, and else for any, which costs its session a call.
func (s *Sessions) put(key [sha256.Size]byte, r remembered, now time.Time) {
	most := s.Most
	if most <= 0 {
		most = defaultMost
	}
	if s.known == nil {
		s.known = map[[sha256.Size]byte]remembered{}
	}
	if _, there := s.known[key]; !there && len(s.known) >= most {
		for k, old := range s.known {
			if !now.Before(old.until) {
				delete(s.known, k)
			}
		}
		for k := range s.known {
			if len(s.known) < most {
				break
			}
			delete(s.known, k)
		}
	}
	s.known[key] = r
}

// Forget has every session of an account asked about again: call it with Event.Account when a webhook tells that sessions ended.
func (s *Sessions) Forget(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgot++
	for k, r := range s.known {
		if r.Account == account {
			delete(s.known, k)
		}
	}
}

type contextKey struct{}

// Require lets requests through that carry a session's token (Authorization: Bearer), and refuses the others with 401; with 503 while Countersign
// cannot be asked. SessionOf has the session.
func (s *Sessions) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			token = ""
		}
		session, err := s.Check(r.Context(), token)
		switch {
		case err == nil:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, session)))
		case refused(err, http.StatusUnauthorized):
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(http.StatusUnauthorized)
		case refused(err, http.StatusForbidden): // it must enrol something first
			w.WriteHeader(http.StatusForbidden)
		default:
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
}

// SessionOf returns the session that Require found.
func SessionOf(ctx context.Context) (s Session, ok bool) {
	s, ok = ctx.Value(contextKey{}).(Session)
	return s, ok
}

// User is who a site behind a proxy is told that it serves (docs/forward-auth.md).
type User struct {
	ID        string // it never changes
	Groups    []string
	Email     string // empty if the site is not told
	Assurance string // aal0 to aal3
}

// UserOf reads the headers of the proxy. They are worth something only where nobody but the proxy reaches the application. ok is false for who is not
// signed in.
func UserOf(r *http.Request) (u User, ok bool) {
	u = User{ID: r.Header.Get("Remote-User"), Email: r.Header.Get("Remote-Email"), Assurance: r.Header.Get("Remote-Assurance")}
	if groups := r.Header.Get("Remote-Groups"); groups != "" {
		u.Groups = strings.Split(groups, ",")
	}
	return u, u.ID != ""
}
