// Package registration opens accounts: an address first, its code, then a password and whatever
// else the operator asks for. It owns the tables registration_flow, registration_consent and
// registration_invitation.
//
// Whether an address is taken shows nowhere until it has been proved (P2, C-AU-13). A flow whose
// address is taken is barred: it takes the same steps, writes the same rows and gets the same
// answers as one whose code was mistyped. What differs is the letter: no code, but that somebody
// tried, and that at most once a day.
package registration

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/factor"
	"countersign/internal/keyring"
	"countersign/internal/message"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
	"countersign/internal/throttle"
)

// FlowPrefix begins a flow's handle. Browsers are known by the secret that sign-ins are bound to, too.
const FlowPrefix = "csr"

// Path is where people register, and where an invitation's link leads.
const Path = "/register"

// Mode is who may open an account.
type Mode string

// The modes.
const (
	Open    Mode = "open"
	Invited Mode = "invitation"
	Closed  Mode = "closed"
)

// Rules are what the operator wants of new accounts.
type Rules struct {
	Mode   Mode
	Terms  Terms
	Claims []Claim
}

// Terms are what people must accept, if URL is not empty. Version says which text it is.
type Terms struct{ URL, Version string }

// Service opens accounts. All fields but Parser are required.
type Service struct {
	signin.Parts

	Rules   Rules
	Limits  Limits
	FlowTTL time.Duration // from the beginning to the code
	Site    string        // our name in letters
	Parser  account.Parser
	Ways    []factor.Way // those that have a provider: an address of another kind cannot be proved
}

// aboutFor is how long somebody may take over the form once the address is proved.
const aboutFor = time.Hour

// Step is where a flow stands.
type Step string

// The steps.
const (
	StepCode  Step = "code"  // the code that proves the address is wanted
	StepAbout Step = "about" // the password and the rest are wanted
	StepDone  Step = "done"  // the account is open
)

// Next is what a flow wants next.
type Next struct {
	Step      Step
	Refused   bool // the code just given did not fit; why is not for the caller
	Way       factor.Way
	ResendAt  time.Time // zero: this flow gets no further code
	Nonce     string    // what the device signs to be remembered, at StepAbout
	ExpiresAt time.Time
}

// Limits are how often the steps may be tried. None of them is shared with signing in: a flood of
// registrations uses up nobody's codes, and what an owner does shows to nobody who registers.
type Limits struct {
	Source, All                   throttle.Rate // every step
	SendName, SendSource, SendAll throttle.Rate // letters, the one that each beginning sends included
	Told                          throttle.Rate // letters that say that an address is taken, by address; it never shows
	Code                          throttle.Ladder
}

// DefaultLimits are the limits unless the operator says otherwise; docs/operating.md has the reasons.
func DefaultLimits() Limits {
	return Limits{
		Source:     throttle.Rate{Name: "registration/source", Burst: 60, Every: 2 * time.Second},
		All:        throttle.Rate{Name: "registration/all", Burst: 2000, Every: 5 * time.Millisecond},
		SendName:   throttle.Rate{Name: "registration/send/name", Burst: 5, Every: 10 * time.Minute},
		SendSource: throttle.Rate{Name: "registration/send/source", Burst: 20, Every: time.Minute},
		SendAll:    throttle.Rate{Name: "registration/send/all", Burst: 500, Every: 50 * time.Millisecond},
		Told:       throttle.Rate{Name: "registration/told", Burst: 1, Every: 24 * time.Hour},
		Code: throttle.Ladder{
			Name: "registration/code", Free: 5, Stop: 100,
			Delays: []time.Duration{15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour},
		},
	}
}

// Begin is a request to open an account.
type Begin struct {
	Address    string // an e-mail address or a phone number, as typed
	Browser    secret.Token
	Client     signin.Client
	Language   string       // of the person, who may choose another later
	Invitation secret.Token // where one is needed
}

// Begun is a new flow, whose first letter is on its way.
type Begun struct {
	Flow secret.Token
	Sent Sent
	Next Next
}

// Begin starts a flow for an address, and sends it a code. Nothing in the result, the rows written or
// the work done depends on whether somebody has the address.
func (s *Service) Begin(ctx context.Context, b Begin) (Begun, error) {
	if err := s.Admits(); err != nil {
		return Begun{}, err
	}
	ident, err := s.address(b.Address)
	if err != nil {
		return Begun{}, err
	}
	out := Begun{Flow: secret.NewToken(FlowPrefix)}
	f := flow{
		ID: uuid.Must(uuid.NewV7()).String(), Address: ident, NameKey: s.nameKey(ident), Language: message.Match(b.Language),
		Step: StepCode, Nonce: newNonce(), From: b.Client,
	}
	var refused error // a value while the transaction runs: what was counted must be committed
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		f.ExpiresAt = tx.Now().Add(s.FlowTTL)
		if refused, err = s.admitBegin(ctx, tx, &f, b.Invitation); err != nil || refused != nil {
			return err
		}
		by, taken, err := s.Accounts.Taken(ctx, tx, ident)
		if err != nil {
			return err
		}
		f.Barred, f.Owner = taken, by.Language
		if err := put(ctx, tx, f, s.stored(f, out.Flow, b.Browser)); err != nil {
			return err
		}
		if out.Sent, err = s.send(ctx, tx, f); err != nil {
			return err
		}
		out.Next, err = s.next(ctx, tx, f)
		return err
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return Begun{}, err
	}
	return out, nil
}

// Admits says whether anybody may open an account at all: nil, or fault.Forbidden "registration_closed".
func (s *Service) Admits() error {
	if s.Rules.Mode == Open || s.Rules.Mode == Invited {
		return nil
	}
	return fault.New(fault.Forbidden, "registration_closed", errors.New("registration.mode is closed"))
}

// address reads what was typed. The outcome depends on its form alone.
func (s *Service) address(typed string) (account.Identifier, error) {
	ident, err := s.Parser.Parse(typed)
	if err == nil && ident.Kind() == account.Username {
		err = fault.New(fault.Invalid, "identifier_malformed", errors.New("nothing can be sent to a user name"))
	}
	if err == nil && !slices.Contains(s.Ways, wayTo(ident)) {
		err = fault.New(fault.Invalid, "way_unknown", errors.New("no provider for addresses of this kind"))
	}
	return ident, err
}

func wayTo(ident account.Identifier) factor.Way {
	if ident.Kind() == account.Phone {
		return factor.SMS
	}
	return factor.Email
}

// At says where a flow stands.
func (s *Service) At(ctx context.Context, ref signin.Ref) (next Next, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		f, err := s.find(ctx, tx, ref)
		if err != nil {
			return err
		}
		next, err = s.next(ctx, tx, f)
		return err
	})
	return next, err
}

func (s *Service) next(ctx context.Context, tx *sqldb.Tx, f flow) (Next, error) {
	n := Next{Step: f.Step, Way: wayTo(f.Address), ExpiresAt: f.ExpiresAt}
	if f.Step != StepCode {
		n.Nonce = f.Nonce
		return n, nil
	}
	_, resend, _, err := s.Codes.State(ctx, tx, f.ID)
	n.ResendAt = resend
	return n, err
}

// find loads a flow that is under way. Expired, finished, foreign, truncated and invented handles are
// all the same to the caller.
func (s *Service) find(ctx context.Context, tx *sqldb.Tx, ref signin.Ref) (flow, error) {
	if err := s.Admits(); err != nil {
		return flow{}, err
	}
	if !ref.Flow.WellFormed(FlowPrefix) {
		return flow{}, gone()
	}
	f, ok, err := byHandle(ctx, tx, s.digests(ref.Flow), s.digests(ref.Browser))
	if err != nil {
		return flow{}, err
	}
	if !ok || f.Step == StepDone {
		return flow{}, gone()
	}
	return f, s.open(&f)
}

// findAt loads a flow that stands at the step.
func (s *Service) findAt(ctx context.Context, tx *sqldb.Tx, r request, step Step) (flow, error) {
	f, err := s.find(ctx, tx, r.ref)
	f.From = r.from
	if err == nil && f.Step != step {
		err = outOfStep("the flow stands at " + string(f.Step))
	}
	return f, err
}

// request is one request about a flow.
type request struct {
	ref  signin.Ref
	from signin.Client
}

// advance moves a flow on, if it still stands where it was read: of two requests at once one moves it.
func (s *Service) advance(ctx context.Context, tx *sqldb.Tx, f *flow, to Step) error {
	from := f.Step
	f.Step, f.Nonce, f.ExpiresAt = to, newNonce(), tx.Now().Add(aboutFor)
	moved, err := move(ctx, tx, *f, from)
	if err == nil && !moved {
		err = outOfStep("another request moved the flow")
	}
	return err
}

// Consent is that an account's holder accepted a version of the terms.
type Consent struct {
	Version string
	At      time.Time
}

// Consents returns what an account's holder has accepted, oldest first.
func (s *Service) Consents(ctx context.Context, tx *sqldb.Tx, id account.ID) ([]Consent, error) {
	return consents(ctx, tx, id)
}

// Erase deletes what an account's holder has accepted.
func (s *Service) Erase(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	return eraseConsents(ctx, tx, id)
}

// Prune deletes a bounded number of flows and invitations that are over and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }

// admitBegin takes one try, looks at the invitation, and takes one letter of each limit, in this order:
// whoever is not invited uses up no address's letters. refused says why the flow may not begin.
func (s *Service) admitBegin(ctx context.Context, tx *sqldb.Tx, f *flow, invitation secret.Token) (refused, err error) {
	if ok, err := s.admitStep(ctx, tx, f.From); err != nil || !ok {
		return tooMany(), err
	}
	if s.Rules.Mode == Invited {
		id, ok, err := s.invited(ctx, tx, invitation, f.Address)
		if err != nil || !ok {
			return uninvited(), err
		}
		f.Invitation = id
	}
	if ok, err := s.admitSend(ctx, tx, *f); err != nil || !ok {
		return tooMany(), err
	}
	return nil, nil
}

// admitStep takes one try per source and over all.
func (s *Service) admitStep(ctx context.Context, tx *sqldb.Tx, c signin.Client) (bool, error) {
	if ok, err := s.Throttle.TakeSource(ctx, tx, s.Limits.Source, c.Source); err != nil || !ok {
		return false, err
	}
	return s.Throttle.Take(ctx, tx, s.Limits.All, "")
}

// admitSend takes one letter of each limit. Of the address comes after the source's: whoever is over
// their own limit uses up nobody else's.
func (s *Service) admitSend(ctx context.Context, tx *sqldb.Tx, f flow) (ok bool, err error) {
	if ok, err = s.Throttle.TakeSource(ctx, tx, s.Limits.SendSource, f.From.Source); err != nil || !ok {
		return false, err
	}
	if ok, err = s.Throttle.Take(ctx, tx, s.Limits.SendName, string(f.NameKey)); err != nil || !ok {
		return false, err
	}
	return s.Throttle.Take(ctx, tx, s.Limits.SendAll, "")
}

func (s *Service) record(ctx context.Context, tx *sqldb.Tx, f flow, kind audit.Kind, detail map[string]string) error {
	all := map[string]string{"for": "registration"}
	for name, value := range detail {
		all[name] = value
	}
	return s.Audit.Append(ctx, tx, audit.Event{Kind: kind, Source: f.From.Source, Detail: all})
}

// nameKey stands for the name typed. It stays the same when keys change: counts go on.
func (s *Service) nameKey(ident account.Identifier) []byte {
	return s.Ring.Stable("registration/name", string(ident.Kind())+"\x00"+ident.Normal())
}

func (s *Service) digest(t secret.Token) []byte { return s.Ring.Digest("registration", t) }

func (s *Service) digests(t secret.Token) [][]byte { return s.Ring.Digests("registration", t) }

// Holdings is what the tables have of the ring's keys.
func (s *Service) Holdings() []keyring.Holding {
	flows, invited := s.Ring.Digested(flowDigests()), s.Ring.Digested(invitationDigests())
	flows.Columns = append(flows.Columns, "browser") // made together with the first
	invited.Columns = append(invited.Columns, "bound_to")
	return []keyring.Holding{flows, invited, s.Ring.Sealed(sealedFlow())}
}

// newNonce is 128 random bits or more: never repeated, and no secret.
func newNonce() string { return rand.Text() }

func gone() error {
	return fault.New(fault.Gone, "flow_ended", errors.New("no such flow in this browser, or it is over"))
}

func outOfStep(why string) error {
	return fault.New(fault.Conflict, "step_out_of_order", errors.New(why))
}

func tooMany() error {
	return fault.Later(fault.TooMany, "too_many_attempts", time.Minute, errors.New("over a limit"))
}
