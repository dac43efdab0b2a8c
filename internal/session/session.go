// Package session keeps signed-in browsers and apps: start, check, end. It owns the tables
// session and session_change.
//
// A check is answered from memory. Nodes tell one another of ended sessions through
// session_change, which each node reads several times a second, so an end is seen everywhere
// within a second. A node that cannot read it asks the database at each check, and if the
// database is away altogether trusts its memory for MaxStale and then refuses.
package session

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/device"
	"countersign/internal/dpop"
	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// ID names a session to its owner. It is not a secret.
type ID string

// Prefix begins every session token.
const Prefix = "css"

// MaxPerAccount is how many sessions an account may have; one more ends the oldest.
const MaxPerAccount = 50

// atAAL3 is how long a session lasts at most that was opened at AAL3 (N-2.3.3-01).
const atAAL3 = 12 * time.Hour

// Service keeps sessions. All fields are required but Ended.
type Service struct {
	DB       *sqldb.DB
	Ring     *keyring.Ring
	Accounts *account.Service
	Idle     time.Duration // ends a session that nobody used for so long
	Absolute time.Duration // ends every session, used or not
	MaxStale time.Duration // how long memory is trusted while the database is away
	Devices  *device.Service
	// Ended is told, in the transaction that ends them, of the lines of sessions that somebody has ended: not of those whose time ran out.
	Ended func(ctx context.Context, tx *sqldb.Tx, who account.ID, lines []ID) error

	memory memory
}

// Session is a signed-in browser or app.
type Session struct {
	ID              ID
	Account         account.ID
	Device          device.ID       // the remembered device it was opened from, if any
	Key             dpop.Thumbprint // that each use of the token has to prove, if any
	Name            string
	Methods         []string // what was proved, as the row has it: another release may have written words unknown to this one
	CreatedAt       time.Time
	AuthenticatedAt time.Time
	LastSeenAt      time.Time
	ExpiresAt       time.Time
	Enrol           bool       // good for nothing before something better is enrolled: see CheckEnrolling
	BoundAt         time.Time  // when the key was proved that the device's browser keeps (DBSC); zero: the session is not bound
	Source          netip.Addr // whence it was opened; List and All alone fill it in, where it is known
	EndedAt         time.Time  // All alone fills it in; zero for one that did not end, or ended by its time
	Origin          ID         // the first of its line: itself, unless its holder has proved once more who they are
}

// Assurance says how much the sign-in proved.
func (s Session) Assurance() assurance.Assurance { return assurance.Of(s.Methods) }

// TokenType is how the session's token is sent, in the words of RFC 6750 and RFC 9449: DPoP for one that is bound to a key.
func (s Session) TokenType() string { return tokenType(s.Key) }

func tokenType(key dpop.Thumbprint) string {
	if key == "" {
		return "Bearer"
	}
	return "DPoP"
}

// New is a session to start.
type New struct {
	Account account.ID
	Device  device.ID
	Key     dpop.Thumbprint // to bind it to
	Name    string
	Methods []assurance.Method
	Bound   bool       // the key of the device's browser has just been proved
	Source  netip.Addr // kept for the owner's memory
	Enrol   bool       // see Session
	Origin  ID         // that of the session whose place it takes; empty: it is the first of its line
}

// Started is a new session. The token is shown once; only its digest is stored.
type Started struct {
	ID        ID
	Token     secret.Token
	Key       dpop.Thumbprint // as in New
	ExpiresAt time.Time
}

// TokenType is that of the session.
func (st Started) TokenType() string { return tokenType(st.Key) }

// Start opens a session. The account's sessions beyond MaxPerAccount end, the oldest first.
func (s *Service) Start(ctx context.Context, tx *sqldb.Tx, n New) (Started, error) {
	now, methods, lasts := tx.Now(), words(n.Methods), s.Absolute
	if assurance.Of(methods).Level == assurance.AAL3 {
		lasts = min(lasts, atAAL3)
	}
	st := Started{ID: ID(uuid.Must(uuid.NewV7()).String()), Token: secret.NewToken(Prefix), Key: n.Key, ExpiresAt: now.Add(lasts)}
	row := kept{
		Session: Session{
			ID: st.ID, Account: n.Account, Device: n.Device, Key: n.Key, Name: n.Name, Methods: methods,
			CreatedAt: now, AuthenticatedAt: now, LastSeenAt: now, ExpiresAt: st.ExpiresAt, Enrol: n.Enrol, Origin: n.Origin,
		},
		digest: s.digest(st.Token), source: s.seal(st.ID, n.Source),
	}
	if n.Bound {
		row.BoundAt = now
	}
	err := put(ctx, tx, row)
	if err != nil {
		return Started{}, err
	}
	_, err = s.end(ctx, tx, ended{account: n.Account, beyond: MaxPerAccount, why: "too many sessions"})
	return st, err
}

// Renew gives a live session of the account a new token. The old one is worthless at once, on other nodes
// within a second, as if the session had ended. It stays bound to the key that it was bound to.
func (s *Service) Renew(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (Started, error) {
	token := secret.NewToken(Prefix)
	st := Started{ID: id, Token: token}
	ok, err := renew(ctx, tx, s.digest(token), who, &st)
	if err != nil || !ok {
		return Started{}, cmp.Or(err, refused())
	}
	if err := announce(ctx, tx, id); err != nil {
		return Started{}, err
	}
	tx.AfterCommit(func() { s.memory.end([]ID{id}) })
	return st, nil
}

// Bind binds a live session to the key of its device's browser, which has just been proved. From then on its token is
// served only beside a proof that is fresh: see Standing.
func (s *Service) Bind(ctx context.Context, tx *sqldb.Tx, one Session) error {
	first, err := bind(ctx, tx, one)
	if err != nil || !first {
		return err
	}
	if err := announce(ctx, tx, one.ID); err != nil { // so that no node goes on by what it remembers
		return err
	}
	tx.AfterCommit(func() { s.memory.end([]ID{one.ID}) })
	return nil
}

// Holds reports whether a session of the account is live in the database, for what must not be done by one
// that ended on another node a moment ago.
func (s *Service) Holds(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (bool, error) {
	return holds(ctx, tx, who, id)
}

// Line is how a line of sessions stands: a session, and those that took its place one after another.
type Line struct {
	Live    bool // one of them can be used
	Unended bool // none can any more, perhaps, but nobody has ended it: its time ran out
}

// LineOf returns how a line of sessions of the account stands.
func (s *Service) LineOf(ctx context.Context, tx *sqldb.Tx, who account.ID, origin ID) (Line, error) {
	return lineOf(ctx, tx, who, origin, s.Idle)
}

// OriginOf returns the first session of the line of one that may have ended.
func (s *Service) OriginOf(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (ID, error) {
	return originOf(ctx, tx, who, id)
}

// KeyOf returns the key that a session of the account is bound to, if any.
func (s *Service) KeyOf(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (dpop.Thumbprint, error) {
	return keyOfSession(ctx, tx, who, id)
}

var (
	errEnded    = errors.New("no such session, or it has ended")
	errUnproved = errors.New("the session is bound to a key that was not proved")
	errOtherKey = errors.New("the session is bound to another key than was proved, or just one of the two is there")
)

func refused() error { return fault.New(fault.Unauthenticated, "session_ended", errEnded) }

// Standing is how a request with a session's token stands, by the cookies of bound keys that came with it.
type Standing struct {
	// Unproved: it is not to be served. The session is bound to a key that has not been proved for device.ProofFor, so
	// the token may be a copy.
	Unproved bool
	// Ask is what the browser is to sign before it comes again; nil if it has done so, or shows no sign that it could.
	Ask *device.Ask
}

// Refused is what a request is told that stands unproved and cannot be asked for anything.
func (s Standing) Refused() error {
	if !s.Unproved {
		return nil
	}
	return fault.New(fault.Unauthenticated, "session_unproved", errUnproved)
}

// Stands returns the session of a token as Check does, and leaves it to the caller what becomes of a request that does
// not prove the key to which the session is bound.
//
// A session that is not bound yet has its browser asked as well, if that holds an old proof of the session's device: the
// answer binds it. A proof at BoundAt counts without a cookie, which may still be under way to the browser.
func (s *Service) Stands(ctx context.Context, token secret.Token, bound []secret.Token) (Session, Standing, error) {
	e, err := s.known(ctx, token)
	if err == nil && e.row.Key != "" {
		err = keyUnproved()
	}
	if err != nil {
		return Session{}, Standing{}, err
	}
	stands := s.standing(e.row, bound)
	if !stands.Unproved { // a copy's use is none, and keeps nothing alive
		e.seen.Store(s.DB.Now().UnixMilli())
	}
	return e.session(), stands, nil
}

func (s *Service) standing(one Session, bound []secret.Token) Standing {
	shown := device.None
	if one.Device != "" && len(bound) > 0 {
		shown = s.Devices.Shows(one.Device, bound)
	}
	age := s.DB.Now().Sub(one.BoundAt)
	if shown == device.Fresh || !one.BoundAt.IsZero() && age >= -sqldb.Skew && age <= device.ProofFor {
		return Standing{}
	}
	stands := Standing{Unproved: !one.BoundAt.IsZero()}
	if shown == device.Old {
		stands.Ask = s.Devices.AskAnew(one.Device)
	}
	return stands
}

// Check returns the session of a token. Unknown, ended, expired and malformed tokens are all
// fault.Unauthenticated "session_ended". One that must enrol something first is fault.Forbidden "enrolment_required". One that
// is bound to its browser's key takes a fresh proof among the cookies of bound keys, or else is "session_unproved". One that is
// bound to an app's key is "session_key_unproved": that is for CheckKey.
func (s *Service) Check(ctx context.Context, token secret.Token, bound ...secret.Token) (Session, error) {
	me, err := s.CheckEnrolling(ctx, token, bound...)
	if err == nil {
		err = me.Full()
	}
	if err != nil {
		return Session{}, err
	}
	return me, nil
}

// CheckKey returns the session of a token that comes with a proof of an app's key, which must be the one that the session is
// bound to. It may have to enrol something first: see Full.
func (s *Service) CheckKey(ctx context.Context, token secret.Token, proved dpop.Thumbprint) (Session, error) {
	e, err := s.known(ctx, token)
	if err == nil && (proved == "" || e.row.Key != proved) {
		err = keyUnproved()
	}
	if err != nil {
		return Session{}, err
	}
	e.seen.Store(s.DB.Now().UnixMilli()) // not before: a copy's use is none, and keeps nothing alive
	return e.session(), nil
}

func keyUnproved() error {
	return fault.New(fault.Unauthenticated, "session_key_unproved", errOtherKey)
}

// Full refuses a session that must enrol something first.
func (s Session) Full() error {
	if !s.Enrol {
		return nil
	}
	return fault.New(fault.Forbidden, "enrolment_required", errors.New("the session is good for enrolling a factor, and for nothing else"))
}

// CheckEnrolling is Check for what enrols a factor, and for signing out.
func (s *Service) CheckEnrolling(ctx context.Context, token secret.Token, bound ...secret.Token) (Session, error) {
	one, stands, err := s.Stands(ctx, token, bound)
	if err == nil {
		err = stands.Refused()
	}
	if err != nil {
		return Session{}, err
	}
	return one, nil
}

// known returns a token's session, used or not: that is for whoever looks at what came with the token.
func (s *Service) known(ctx context.Context, token secret.Token) (*entry, error) {
	if !token.WellFormed(Prefix) {
		return nil, refused()
	}
	return s.held(ctx, s.remembered(token), func(ctx context.Context) (*entry, error) { return s.load(ctx, token) })
}

// held answers from memory if that is fresh, and else reads; e is what is remembered, or nil.
func (s *Service) held(ctx context.Context, e *entry, load func(context.Context) (*entry, error)) (*entry, error) {
	now := s.DB.Now()
	if e != nil && s.memory.fresh(e, now) && s.alive(e, now) {
		return e, nil
	}
	if e != nil { // there is something to fall back on: a database that hangs must not hold the answer up
		bounded, done := context.WithTimeout(ctx, pollLate)
		defer done()
		ctx = bounded
	}
	loaded, err := load(ctx)
	if err != nil && e != nil && fault.Of(err).Kind == fault.Unavailable && s.memory.staleness(now) < s.MaxStale && s.alive(e, now) {
		return e, nil
	}
	return loaded, err
}

// remembered finds a token's session in memory. A second digest is made only while there is a second
// key, and only for a session that has not been asked for since it became the current one.
func (s *Service) remembered(token secret.Token) *entry {
	if e := s.memory.find(keyOf(s.digest(token))); e != nil || !s.Ring.Several() {
		return e
	}
	for _, digest := range s.Ring.Digests(purpose, token) {
		if e := s.memory.find(keyOf(digest)); e != nil {
			return e
		}
	}
	return nil
}

// keyOf is what a session is found by in memory: a digest without the id of its key.
func keyOf(digest []byte) [32]byte { return [32]byte(digest[len(digest)-32:]) }

// load reads a session into memory.
func (s *Service) load(ctx context.Context, token secret.Token) (e *entry, err error) {
	var row Session
	var digests [][]byte
	var key [32]byte
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		digests = s.Ring.Digests(purpose, token) // in here: the keys may have changed since this node last looked
		var digest []byte
		ok := false
		if row, digest, err = byDigest(ctx, tx, digests); len(digest) > 0 {
			key, ok = keyOf(digest), true
		}
		if err != nil || !ok {
			return cmp.Or(err, refused())
		}
		return s.owned(ctx, tx, row)
	})
	now := s.DB.Now()
	if err != nil {
		if errors.Is(err, errEnded) {
			for _, d := range digests {
				s.memory.drop(keyOf(d))
			}
		}
		return nil, err
	}
	e = s.memory.put(key, row, now)
	if !s.alive(e, now) {
		return nil, refused()
	}
	return e, nil
}

// owned refuses a session of a locked account: it is over even if nobody ended it.
func (s *Service) owned(ctx context.Context, tx *sqldb.Tx, one Session) error {
	owner, err := s.Accounts.Get(ctx, tx, one.Account)
	if err != nil || owner.State != account.Active {
		return cmp.Or(err, refused())
	}
	return nil
}

// alive decides both lifetimes; the cookie's own expiry enforces nothing (N-5.1.1-04).
func (s *Service) alive(e *entry, now time.Time) bool {
	return !e.ended.Load() && now.Before(e.row.ExpiresAt) && now.UnixMilli() < e.seen.Load()+s.Idle.Milliseconds()
}

// Free makes the session that has enrolled something good for everything, on other nodes within a second, and ends the others of the
// account that wait for it: who opened those has proved no more than before.
func (s *Service) Free(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) error {
	freed, err := free(ctx, tx, who, id)
	if err == nil && freed {
		err = announce(ctx, tx, id)
	}
	if err != nil {
		return err
	}
	tx.AfterCommit(func() { s.memory.end([]ID{id}) })
	_, err = s.end(ctx, tx, ended{account: who, enrol: true, why: "something was enrolled elsewhere"})
	return err
}

// List returns the account's live sessions, the one last seen first.
func (s *Service) List(ctx context.Context, who account.ID) (all []Session, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		all, err = s.Live(ctx, tx, who)
		return err
	})
	return all, err
}

// Live is List within the caller's transaction.
func (s *Service) Live(ctx context.Context, tx *sqldb.Tx, who account.ID) (all []Session, err error) {
	rows, err := list(ctx, tx, who, s.Idle)
	for _, r := range rows {
		r.Source = s.open(r.ID, r.source)
		all = append(all, r.Session)
	}
	return all, err
}

// All returns every session that is kept of an account, those over for up to a month too, the newest first.
func (s *Service) All(ctx context.Context, tx *sqldb.Tx, who account.ID) (all []Session, err error) {
	rows, err := listAll(ctx, tx, who)
	for _, r := range rows {
		r.Source = s.open(r.ID, r.source)
		all = append(all, r.Session)
	}
	return all, err
}

// Erase ends every session of an account, so that every node knows, and deletes them for good.
func (s *Service) Erase(ctx context.Context, tx *sqldb.Tx, who account.ID) error {
	if err := s.EndAll(ctx, tx, who, "account erased"); err != nil {
		return err
	}
	return erase(ctx, tx, who)
}

// End ends one session of the account. ok is false if the account has no such live session.
func (s *Service) End(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (ok bool, err error) {
	n, err := s.end(ctx, tx, ended{account: who, only: id, why: "ended by its owner"})
	return n == 1, err
}

// Replace ends one session of the account whose place another one of its line takes, in this transaction: the line goes on. ok is as End's.
func (s *Service) Replace(ctx context.Context, tx *sqldb.Tx, who account.ID, id ID) (ok bool, err error) {
	n, err := s.end(ctx, tx, ended{account: who, only: id, replaced: true, why: "ended by its owner"})
	return n == 1, err
}

// EndOthers ends every session of the account but one.
func (s *Service) EndOthers(ctx context.Context, tx *sqldb.Tx, who account.ID, keep ID) error {
	_, err := s.end(ctx, tx, ended{account: who, keep: keep, why: "ended by its owner"})
	return err
}

// EndFrom ends the sessions opened from a remembered device, but keep.
func (s *Service) EndFrom(ctx context.Context, tx *sqldb.Tx, who account.ID, from device.ID, keep ID) error {
	_, err := s.end(ctx, tx, ended{account: who, from: from, keep: keep, why: "device forgotten"})
	return err
}

// EndAll ends every session of the account.
func (s *Service) EndAll(ctx context.Context, tx *sqldb.Tx, who account.ID, why string) error {
	_, err := s.end(ctx, tx, ended{account: who, why: why})
	return err
}

func (s *Service) end(ctx context.Context, tx *sqldb.Tx, e ended) (int, error) {
	ids, lines, err := endRows(ctx, tx, e)
	if err != nil {
		return 0, err
	}
	if s.Ended != nil && len(lines) > 0 && !e.replaced {
		if err := s.Ended(ctx, tx, e.account, lines); err != nil {
			return 0, err
		}
	}
	for _, id := range ids {
		if err := announce(ctx, tx, id); err != nil {
			return 0, err
		}
	}
	tx.AfterCommit(func() { s.memory.end(ids) })
	return len(ids), nil
}

// Prune deletes a bounded number of sessions over for a month and announcements over for an
// hour, and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }

const purpose = "session"

func (s *Service) digest(t secret.Token) []byte { return s.Ring.Digest(purpose, t) }

// Holdings is what the tables have of the ring's keys.
func (s *Service) Holdings() []keyring.Holding {
	return []keyring.Holding{s.Ring.Digested(digested()), s.Ring.Sealed(sealed())}
}

func (s *Service) seal(id ID, source netip.Addr) []byte {
	if !source.IsValid() {
		return nil
	}
	return s.Ring.Seal([]byte(source.Unmap().String()), place(id))
}

// open returns the zero Addr for one that cannot be opened: where a session was opened is a help for its
// owner's memory, and a list of sessions must not fail for it.
func (s *Service) open(id ID, sealed []byte) netip.Addr {
	plain, err := s.Ring.Open(sealed, place(id))
	if err != nil {
		return netip.Addr{}
	}
	a, _ := netip.ParseAddr(string(plain))
	return a
}

func place(id ID) keyring.Place {
	return keyring.Place{Table: "session", Row: string(id), Column: "source"}
}

func join(methods []string) string { return strings.Join(methods, ",") }

func words(methods []assurance.Method) (all []string) {
	for _, m := range methods {
		all = append(all, string(m))
	}
	return all
}
