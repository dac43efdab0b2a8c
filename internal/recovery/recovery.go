// Package recovery gets people back into their accounts without telling strangers who has one. It
// owns the tables recovery_flow, recovery_contact, recovery_contact_code and recovery_saved_code.
//
// The first step alone takes what a person types: a name, and where the code should go. From then on
// a flow lives on the server, and its handle works only in the browser that began it. A new password
// can be set with two proofs of different kinds, or with one and a waiting time in which everybody at
// the account's addresses can stop it; proofs the account has enrolled must be among them.
//
// Whoever does not exist is stood in for by a decoy, and an address that is not the account's by a
// letter that is withheld: the same rows, the same answers. Nothing about an account changes, and no
// limit of its sign-in is touched, before a new password is set.
package recovery

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/factor"
	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
	"countersign/internal/throttle"
)

// FlowPrefix and BrowserPrefix begin a flow's handle and the secret of the browser that began it.
const (
	FlowPrefix    = "csr"
	BrowserPrefix = "csq"
)

// Method is a kind of proof.
type Method string

// The kinds of proof. ByEmail and BySMS are a code at one address each.
const (
	ByEmail    Method = "email"
	BySMS      Method = "sms"
	BySaved    Method = "saved"    // the saved recovery code
	ByContact  Method = "contact"  // codes that people whom the holder trusts read out
	ByPassword Method = "password" // the old one, also when it was stopped
	ByOTP      Method = "otp"      // a code of an app or a token
	ByBackup   Method = "backup"   // a code of the list
)

// Step is where a flow stands.
type Step string

// The steps. After StepCode every account is offered the same ways on.
const (
	StepCode     Step = "code"     // the first proof is wanted: the code that was sent, or the saved one
	StepMore     Step = "more"     // one more is wanted, or the waiting time
	StepWaiting  Step = "waiting"  // the waiting time runs; one more proof makes it short
	StepPassword Step = "password" // the new password is wanted
)

// Service runs recoveries. All fields are required but Parser, Wait and Count.
type Service struct {
	signin.Parts

	SignIn *signin.Service // whose counts of wrong passwords a new password clears
	Limits Limits
	Site   string         // our name in letters
	Parser account.Parser // reads what people type; its zero value is ready
	Ways   []factor.Way   // those a code can leave by
	Wait   time.Duration  // with one proof, for an account that has no other address; 0 turns waiting off
	// Count is told of each event, for the numbers that an operator watches (I-09). It must not block. May be nil.
	Count func(audit.Kind)
}

const (
	firstFor  = 30 * time.Minute // from the beginning to the first proof
	moreFor   = 24 * time.Hour   // to the second; as long as a contact's code is good for
	setFor    = time.Hour        // from the second to the new password
	finishFor = 96 * time.Hour   // from the end of the wait
	otherWays = 3                // so many times as long is the wait if the account has another address, not proved in this flow
)

// KeepBrowser is how long a browser must keep its secret: longer than any flow takes.
func (s *Service) KeepBrowser() time.Duration { return otherWays*s.Wait + finishFor }

// Limits are how often the steps may be tried. None of them touches sign-in: whoever attacks a
// recovery locks nobody out of their account (C-FP-17).
type Limits struct {
	Source, All         throttle.Rate   // every step
	SendSource, SendAll throttle.Rate   // codes sent
	SendName, SendOwner throttle.Rate   // by one way, for one name or account; silent, since nothing may tell which names are one person's
	AskOwner            throttle.Rate   // contacts asked; silent
	WaitOwner           throttle.Rate   // waits begun, each of which is told at every address
	ContactLetters      throttle.Rate   // letters to new contacts, who need not know us
	Try, TryOwner       throttle.Ladder // proofs, each kind and address for itself: by the name typed, which shows, and by the account, which does not
}

// DefaultLimits are the limits unless the operator says otherwise; docs/operating.md has the reasons.
func DefaultLimits() Limits {
	waits := []time.Duration{15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}
	return Limits{
		Source:         throttle.Rate{Name: "recovery/source", Burst: 60, Every: 2 * time.Second},
		All:            throttle.Rate{Name: "recovery/all", Burst: 2000, Every: 5 * time.Millisecond},
		SendSource:     throttle.Rate{Name: "recovery/send/source", Burst: 10, Every: 2 * time.Minute},
		SendAll:        throttle.Rate{Name: "recovery/send/all", Burst: 500, Every: 20 * time.Millisecond},
		SendName:       throttle.Rate{Name: "recovery/send/name", Burst: 3, Every: 20 * time.Minute},
		SendOwner:      throttle.Rate{Name: "recovery/send/owner", Burst: 3, Every: 20 * time.Minute},
		AskOwner:       throttle.Rate{Name: "recovery/ask", Burst: 1, Every: 24 * time.Hour},
		WaitOwner:      throttle.Rate{Name: "recovery/wait", Burst: 3, Every: 8 * time.Hour},
		ContactLetters: throttle.Rate{Name: "recovery/contact", Burst: 10, Every: 2 * time.Hour},
		Try:            throttle.Ladder{Name: "recovery/try", Free: 5, Delays: waits, Stop: 100},
		TryOwner:       throttle.Ladder{Name: "recovery/try/owner", Free: 5, Delays: waits, Stop: 100},
	}
}

// Erase deletes what there is of an account: contacts, saved code and recoveries, over or under way.
func (s *Service) Erase(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	return erase(ctx, tx, id)
}

// Begin is a request to start a flow. It is the only one that names an account or a destination (P3).
type Begin struct {
	Identifier string
	To         string // where the code should go; empty means Identifier
	Browser    secret.Token
	Client     signin.Client
	Handles    []secret.Token // remembered-device handles the browser holds
}

// Started is a new flow. What it says follows from what was typed, and from nothing else.
type Started struct {
	Flow secret.Token
	Next Next
}

// Next is what a flow wants next.
type Next struct {
	Step     Step
	Refused  bool       // the proof just given did not fit; why is not for the caller
	OneMore  bool       // a contact's code was right, and that of a second contact is needed too
	Sent     factor.Way // how the last code went; empty if none did since the first proof
	TooSoon  bool       // nothing was sent: one was lately
	ResendAt time.Time  // when another may be asked for; zero: no more
	Asked    bool       // the contacts were asked
	ReadyAt  time.Time  // the end of the waiting time; zero if it was not begun
	// Ways and the waiting times (0: none) are what the server can do, for everybody: they say nothing
	// about the account (I-11).
	Ways             []factor.Way
	Wait, WaitLonger time.Duration
	ExpiresAt        time.Time
}

// Begin starts a flow for whoever the identifier names, if anyone, and sends the first code if the
// destination is an address of theirs. Nothing in the result, the rows written or the work done depends
// on either. A name that is no address, without a destination, is fault.Invalid "destination_missing".
func (s *Service) Begin(ctx context.Context, b Begin) (st Started, err error) {
	name := s.Parser.Always(b.Identifier)
	to := name
	if strings.TrimSpace(b.To) != "" {
		to = s.Parser.Always(b.To)
	}
	way := map[account.Kind]factor.Way{account.Email: factor.Email, account.Phone: factor.SMS}[to.Kind()]
	if !slices.Contains(s.Ways, way) { // by the look of what was typed, so it tells nothing
		return Started{}, fault.New(fault.Invalid, "destination_missing", errors.New("no code can be sent to what was typed"))
	}
	handle := secret.NewToken(FlowPrefix)
	f := flow{ID: uuid.Must(uuid.NewV7()).String(), Way: way, From: b.Client}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.admit(ctx, tx, b.Client); err != nil {
			return err
		}
		if err := s.identify(ctx, tx, &f, b, names{name, to}); err != nil {
			return err
		}
		f.ExpiresAt = tx.Now().Add(firstFor)
		if err := put(ctx, tx, f, s.digest(handle), s.digest(b.Browser)); err != nil {
			return err
		}
		next, err := s.send(ctx, tx, f)
		st = Started{Flow: handle, Next: next}
		return err
	})
	return st, limited(err)
}

// names are what was typed.
type names struct{ name, to account.Identifier }

// identify finds out who a flow is about, and which of their addresses was typed.
func (s *Service) identify(ctx context.Context, tx *sqldb.Tx, f *flow, b Begin, n names) error {
	who, err := s.Accounts.Find(ctx, tx, n.name)
	if err != nil {
		return err
	}
	own, err := s.Accounts.Recovers(ctx, tx, who)
	if err != nil {
		return err
	}
	f.Account, f.Barred, f.Address = who.ID, who.State != account.Active, nowhere
	for _, a := range own {
		if a.Identifier() == n.to {
			f.Address = a.ID
		}
	}
	f.NameKey, f.ToKey = s.key("name", n.name), s.key("to", n.to)
	owner, nobody := s.Ring.Stable("recovery/owner", string(who.ID)), s.key("owner/nobody", n.name) // both, for the time it takes
	if f.OwnerKey = owner; who.State == account.Decoy {
		f.OwnerKey = nobody // unknown names share decoys but not their limits
	}
	// A remembered device has limits of its own: strangers who use up the account's do not keep its holder out.
	id, known, err := s.Devices.Holds(ctx, tx, who.ID, b.Handles)
	if known {
		f.NameKey = s.Ring.Stable("recovery/device", string(id))
		f.OwnerKey = f.NameKey
	}
	return err
}

// key stands for a name. It stays the same when keys change: counts go on.
func (s *Service) key(what string, ident account.Identifier) []byte {
	return s.Ring.Stable("recovery/"+what, string(ident.Kind())+"\x00"+ident.Normal())
}

// At says where a flow stands.
func (s *Service) At(ctx context.Context, ref signin.Ref) (next Next, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		f, err := s.find(ctx, tx, ref)
		if err == nil {
			next, err = s.next(ctx, tx, f)
		}
		return err
	})
	return next, err
}

// next describes a flow.
func (s *Service) next(ctx context.Context, tx *sqldb.Tx, f flow) (Next, error) {
	n := Next{Step: f.Step, Sent: f.Way, Asked: f.Asked, ReadyAt: f.ReadyAt, ExpiresAt: f.ExpiresAt, Ways: s.Ways, Wait: s.Wait, WaitLonger: otherWays * s.Wait}
	if f.Way == "" {
		return n, nil
	}
	to, err := s.destination(ctx, tx, f)
	if err != nil {
		return Next{}, err
	}
	_, n.ResendAt, _, err = s.Codes.State(ctx, tx, f.codeKey(to))
	return n, err
}

// find loads a flow that is under way. Expired, ended, foreign, truncated and invented handles are all
// the same to the caller.
func (s *Service) find(ctx context.Context, tx *sqldb.Tx, ref signin.Ref) (flow, error) {
	if !ref.Flow.WellFormed(FlowPrefix) {
		return flow{}, gone()
	}
	f, ok, err := byHandle(ctx, tx, s.digests(ref.Flow), s.digests(ref.Browser))
	if err != nil {
		return flow{}, err
	}
	if !ok {
		return flow{}, gone()
	}
	who, err := s.Accounts.Get(ctx, tx, f.Account) // it may have been locked since the flow began
	if err != nil {
		return flow{}, err
	}
	f.Barred = f.Barred || who.State != account.Active
	if len(f.Proved) > 0 {
		if stands, err := s.stand(ctx, tx, f); err != nil || !stands || f.Barred {
			return flow{}, cmp.Or(err, gone())
		}
	}
	f.Step, err = s.step(ctx, tx, f)
	return f, err
}

// request is one request about a flow.
type request struct {
	ref  signin.Ref
	from signin.Client
}

// findAt loads a flow that stands at one of the steps, and takes a try of the limits of every step.
func (s *Service) findAt(ctx context.Context, tx *sqldb.Tx, r request, steps ...Step) (flow, error) {
	f, err := s.find(ctx, tx, r.ref)
	if err != nil {
		return flow{}, err
	}
	f.From = r.from
	if !slices.Contains(steps, f.Step) {
		return flow{}, outOfOrder("the flow stands at " + string(f.Step))
	}
	return f, s.admit(ctx, tx, r.from)
}

// step says where a flow stands: it follows from what was proved, and from the clock.
func (s *Service) step(ctx context.Context, tx *sqldb.Tx, f flow) (Step, error) {
	if len(f.Proved) == 0 {
		return StepCode, nil
	}
	enough, err := s.enough(ctx, tx, f)
	switch {
	case err != nil:
		return "", err
	case enough:
		return StepPassword, nil
	case !f.ReadyAt.IsZero():
		return StepWaiting, nil
	}
	return StepMore, nil
}

// enough decides whether a new password may be set: with two proofs of different kinds, or at two
// addresses (N-4.2.2.2-01); or with one and the waiting time; and in any case with all that the
// account has enrolled: an app must be shown, and for a passkey that is lost the waiting time stands in.
func (s *Service) enough(ctx context.Context, tx *sqldb.Tx, f flow) (bool, error) {
	enrolled, err := s.Enrolled(ctx, tx, f.Account)
	if err != nil {
		return false, err
	}
	// No waiting stands in for an app or a token: it is there to be shown, or a code of the list.
	own := slices.ContainsFunc(f.Proved, func(p proof) bool { return p.method() == ByOTP || p.method() == ByBackup })
	if enrolled[factor.OTP] && !own {
		return false, nil
	}
	waited := !f.ReadyAt.IsZero() && !f.ReadyAt.After(tx.Now())
	// Whoever has their passkey still needs no recovery: it signs in. Where there is no waiting, nothing can stand in for it.
	if enrolled[factor.Passkey] && !own && s.Wait > 0 {
		return waited, nil
	}
	return len(f.Proved) >= 2 || len(f.Proved) == 1 && waited, nil
}

// admit takes one try per source and over all, or returns errLimited.
func (s *Service) admit(ctx context.Context, tx *sqldb.Tx, c signin.Client) error {
	return s.takeBoth(ctx, tx, c, s.Limits.Source, s.Limits.All)
}

func (s *Service) takeBoth(ctx context.Context, tx *sqldb.Tx, c signin.Client, source, all throttle.Rate) error {
	ok, err := s.Throttle.TakeSource(ctx, tx, source, c.Source)
	if err == nil && ok {
		ok, err = s.Throttle.Take(ctx, tx, all, "")
	}
	if err == nil && !ok {
		err = errLimited
	}
	return err
}

// Prune deletes a bounded number of flows that are over and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }

func (s *Service) digest(t secret.Token) []byte { return s.Ring.Digest("recovery", t) }

func (s *Service) digests(t secret.Token) [][]byte { return s.Ring.Digests("recovery", t) }

// Holdings is what the tables have of the ring's keys.
func (s *Service) Holdings() []keyring.Holding {
	flows := s.Ring.Digested(flowDigests())
	flows.Columns = append(flows.Columns, "browser") // made together with the handle
	return []keyring.Holding{flows, s.Ring.Digested(codeDigests()), s.Ring.Sealed(contactSealed())}
}

// errLimited rolls a transaction back whose work turned out to be over a limit.
var errLimited = errors.New("over a limit")

// limited makes errLimited the caller's answer.
func limited(err error) error {
	if errors.Is(err, errLimited) {
		return fault.Later(fault.TooMany, "too_many_attempts", time.Minute, errLimited)
	}
	return err
}

func gone() error {
	return fault.New(fault.Gone, "flow_ended", errors.New("no such recovery in this browser, or it is over"))
}

func outOfOrder(why string) error {
	return fault.New(fault.Conflict, "step_out_of_order", errors.New(why))
}
