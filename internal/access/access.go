package access

import (
	"context"
	"net/url"
	"slices"
	"sync"
	"time"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

// The paths that a proxy hands to us on each site's host.
const (
	Root      = "/.countersign/"
	BeginPath = Root + "begin"
	EnterPath = Root + "enter"
	LeavePath = Root + "leave"
)

// Service decides. All fields are required but Emails.
type Service struct {
	DB       *sqldb.DB
	Ring     *keyring.Ring
	Sessions *session.Service
	Accounts *account.Service
	Rules    []Rule
	Emails   []Site // whose applications are told the e-mail address

	mu     sync.Mutex
	people map[account.ID]person
}

// Verdict is what a request is worth.
type Verdict string

// The verdicts.
const (
	Allowed   Verdict = "allowed"
	Unsigned  Verdict = "unsigned"  // nobody is signed in
	Weak      Verdict = "weak"      // the sign-in proved too little, or too long ago
	Forbidden Verdict = "forbidden" // whoever it is
	Odd       Verdict = "odd"       // its path can be read in two ways
	Unknown   Verdict = "unknown"   // no rule names the site
)

// Identity is what an application is told of who asks. It is empty where anybody may.
type Identity struct {
	Account account.ID
	Groups  []string
	Email   string // verified, and where Emails names the site
	Level   assurance.Level
}

// Proof is what a request brings: a pass of the site, or an app's token.
type Proof struct{ Pass, Token secret.Token }

// Decision is a verdict, who asks, and where a browser goes to mend it: a path on the site's host with its origin, empty if nothing does.
type Decision struct {
	Verdict Verdict
	Identity
	Mend string
}

// Decide judges a request. It reads the database about once a second for an account, and else answers from memory; an error means trouble of
// ours, and nobody is let in.
func (s *Service) Decide(ctx context.Context, a Asked, p Proof) (Decision, error) {
	f, ok := find(s.Rules, a)
	switch {
	case !ok:
		return Decision{Verdict: Unknown}, nil
	case f.odd:
		return Decision{Verdict: Odd}, nil
	case f.need.Who == Nobody:
		return Decision{Verdict: Forbidden}, nil
	}
	mend := f.origin + BeginPath + "?to=" + url.QueryEscape(inside(a.Path))
	me, err := s.session(ctx, f.origin, p)
	if err != nil {
		if kind := fault.Of(err).Kind; kind != fault.Unauthenticated && kind != fault.Forbidden { // or it must enrol something first
			return Decision{}, err
		}
		if f.need.Who == Anyone {
			return Decision{Verdict: Allowed}, nil
		}
		return Decision{Verdict: Unsigned, Mend: mend}, nil
	}
	who, err := s.person(ctx, me.Account)
	if err != nil {
		return Decision{}, err
	}
	id := Identity{Account: me.Account, Groups: who.groups, Level: assurance.Of(me.Methods).Level}
	if slices.ContainsFunc(s.Emails, func(one Site) bool { _, ok := one.fits(a.Host); return ok }) {
		id.Email = who.email
	}
	switch v := f.need.Judge(me, who.groups, s.DB.Now()); v {
	case Weak:
		return Decision{Verdict: Weak, Mend: mend}, nil
	case Allowed:
		return Decision{Verdict: v, Identity: id}, nil
	default:
		return Decision{Verdict: v}, nil
	}
}

// Judge says whether a session is enough: Allowed, Weak or Forbidden.
func (n Need) Judge(me session.Session, groups []string, now time.Time) Verdict {
	switch {
	case n.Who == Anyone:
		return Allowed
	case n.Who == Nobody, len(n.Groups) > 0 && !slices.ContainsFunc(n.Groups, func(g string) bool { return slices.Contains(groups, g) }):
		return Forbidden
	case assurance.Of(me.Methods).Level < n.Level, n.Within > 0 && now.Sub(me.AuthenticatedAt) > n.Within:
		return Weak
	}
	return Allowed
}

// Weak reports whether a session is not enough for a need that another sign-in of the same person would meet.
func (s *Service) Weak(me session.Session, n Need) bool {
	n.Groups = nil
	return n.Judge(me, nil, s.DB.Now()) == Weak
}

func (s *Service) session(ctx context.Context, origin string, p Proof) (session.Session, error) {
	if !p.Token.Empty() {
		return s.Sessions.Check(ctx, p.Token)
	}
	return s.Sessions.ByID(ctx, s.passed(origin, p.Pass))
}

// person is what is told of an account beside its session.
type person struct {
	groups []string
	email  string
	until  time.Time
}

const (
	// rememberFor bounds how long somebody is let in who has left a group.
	rememberFor = time.Second
	// maxPeople bounds memory: a few hundred bytes each.
	maxPeople = 10_000
)

func (s *Service) person(ctx context.Context, id account.ID) (person, error) {
	now := s.DB.Now()
	s.mu.Lock()
	before, known := s.people[id]
	s.mu.Unlock()
	if known && now.Before(before.until) && before.until.Sub(now) <= rememberFor { // a clock that was set back must not keep it
		return before, nil
	}
	p := person{until: now.Add(rememberFor)}
	err := s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		if p.groups, err = s.Accounts.Groups(ctx, tx, id); err != nil || len(s.Emails) == 0 {
			return err
		}
		all, err := s.Accounts.Addresses(ctx, tx, id)
		for _, a := range all {
			if a.Kind == account.Email && a.Verified {
				p.email = a.Normal
				break
			}
		}
		return err
	})
	if err != nil && known && fault.Of(err).Kind == fault.Unavailable && s.Sessions.Staleness() < s.Sessions.MaxStale {
		return before, nil // as sessions do while the database is away
	}
	if err != nil {
		return person{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.people == nil || len(s.people) >= maxPeople {
		s.people = map[account.ID]person{}
	}
	s.people[id] = p
	return p, nil
}
