// Package signin is the sign-in state machine: identify, password, recognise, second door,
// session. It owns the table signin_flow.
//
// Every door (pages, API, protocols) drives this one machine, and none has a rule of its own.
// A flow lives on the server; its handle works only together with the secret of the browser
// that began it. After Begin nothing takes an identifier or a destination from the client.
//
// Whoever does not exist is stood in for by a decoy account, and a flow that can never succeed
// (decoy, locked, closed) is barred: it takes the same steps, writes the same rows and gets the
// same answers as one whose password is wrong.
package signin

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/approval"
	"countersign/internal/assurance"
	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/dpop"
	"countersign/internal/factor"
	"countersign/internal/guard"
	"countersign/internal/keyring"
	"countersign/internal/notice"
	"countersign/internal/onetime"
	"countersign/internal/outbox"
	"countersign/internal/password"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/throttle"
)

// FlowPrefix and BrowserPrefix begin a flow's handle and a browser's secret.
const (
	FlowPrefix    = "csf"
	BrowserPrefix = "csb"
)

// Parts are the services the machine drives. All fields are required but Guard.
type Parts struct {
	DB        *sqldb.DB
	Ring      *keyring.Ring
	Audit     *audit.Log
	Outbox    *outbox.Box
	Throttle  *throttle.Service
	Guard     *guard.Guard // of text messages; may be nil
	Accounts  *account.Service
	Passwords *password.Service
	Codes     *onetime.Service
	Devices   *device.Service
	Sessions  *session.Service
	Notices   *notice.Service
	factor.Own
}

// PutCode puts the letter with the newest code of a flow, which goes another way than the code before, if there was one.
func (p Parts) PutCode(ctx context.Context, tx *sqldb.Tx, flow string, l outbox.Letter) (err error) {
	if l.Follows, err = p.Codes.Letter(ctx, tx, flow); err != nil {
		return err
	}
	id, err := p.Outbox.Put(ctx, tx, l)
	if err != nil {
		return err
	}
	return p.Codes.SentAs(ctx, tx, flow, id)
}

// CameBack notes that a flow's code was typed by whoever has the address that it went to.
func (p Parts) CameBack(ctx context.Context, tx *sqldb.Tx, flow, to string) error {
	letter, err := p.Codes.Letter(ctx, tx, flow)
	if err == nil && letter != "" {
		err = p.Outbox.CameBack(ctx, tx, letter, to)
	}
	if err != nil {
		return err
	}
	return p.Guard.Converted(ctx, tx, to)
}

// Service is the sign-in machine. All fields are required but HidePasswordResult and Parser.
type Service struct {
	Parts

	Approvals *approval.Service

	Limits  Limits
	FlowTTL time.Duration
	Site    string         // our name in letters
	Parser  account.Parser // reads what people type; its zero value is ready
	// Ways are those a code can leave by: a way without a provider is offered to nobody.
	Ways []factor.Way
	// HidePasswordResult asks for the second proof whether or not the password was right, so
	// that stolen passwords cannot even be checked. A mistyped one then shows only as a code
	// that never comes.
	HidePasswordResult bool
}

// Client is who asks, as far as the connection tells. It decides limits and names sessions, never identity.
type Client struct {
	Source    netip.Addr
	UserAgent string
	Proof     dpop.Proof // of the key that the session is to be bound to, if any; it answers the flow's nonce
	App       string     // an application at the second door; empty at ours
}

// Ref names a flow: its handle, and the secret of the browser that began it. Apps have no
// browser secret: for them the handle, which they keep to themselves, is the secret.
type Ref struct{ Flow, Browser secret.Token }

// Step is where a flow stands.
type Step string

// The steps.
const (
	StepPassword Step = "password" // the password is wanted
	StepDevice   Step = "device"   // the device may prove its key
	StepSecond   Step = "second"   // a one-time code is wanted
	StepDone     Step = "done"     // signed in
)

// Notes are what else there is to say of a step.
type Notes struct {
	Unknown bool // the passkey just refused is none that we know
	Always  bool // a device that is remembered is asked all the same
	// Fate is what became of the text message with the code, for who has proved the password: where strangers come this far, it is
	// always empty, since a letter to nobody does not arrive.
	Fate outbox.Fate
	// Methods is what was proved at an application's second door, at StepDone: there is no session then.
	Methods []assurance.Method
	// App is the name of the application whose second door a flow on our own pages is, and Language that of the account's letters. Both are empty
	// everywhere else.
	App, Language string
}

// Next is what a flow wants next.
type Next struct {
	Notes

	Step    Step
	Refused bool // the proof just given did not fit; why is not for the caller
	// Ways are where a code can come from, at StepSecond, the better first; Sent is the one it was last sent by, if any.
	Ways     []factor.Way
	Sent     factor.Way
	ResendAt time.Time
	// Nonce is what the device signs next.
	Nonce     string
	ExpiresAt time.Time
	// Ask is what a device signs with its bound key, at StepDevice; then the proof comes again.
	Ask *device.Ask
	// Session is set at StepDone, Device when the device has a handle to keep. Offer is what a browser
	// signs to bind a key to a device that was just remembered, if it can.
	Session *session.Started
	Device  *device.Remembered
	Offer   string
	// Nudge asks who is signed in to enrol something better, at StepDone. With Must the session is good for nothing else.
	Nudge factor.Nudge
	// Again says that somebody who is signed in proves who they are once more; Back is their door's word.
	Again bool
	Back  string
}

// Limits are how often the steps may be tried.
type Limits struct {
	Source, All                                throttle.Rate // every step
	Device                                     throttle.Rate // beginnings of a remembered device, before the others
	SendName, SendAccount, SendSource, SendAll throttle.Rate // codes sent
	// What counts by the name typed shows as too_many_attempts, for known and unknown names alike.
	// What counts over all names of an account must not show to a stranger: two names that share a
	// limit would be two names of one person. It only makes a try fail.
	Password, PasswordAccount, DevicePassword, Code, CodeAccount throttle.Ladder

	Factor throttle.Ladder // wrong codes of one factor, whatever another has proved meanwhile

	Bound throttle.Rate // proofs of a key that a browser has bound to its machine, by device and source

	approvalLimits
}

type approvalLimits struct {
	Approval throttle.Rate   // requests of an account that let nobody in
	Number   throttle.Ladder // wrong numbers typed to approve one
}

// DefaultLimits are the limits unless the operator says otherwise; docs/operating.md has the reasons.
func DefaultLimits() Limits {
	passwordWaits := []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour}
	codeWaits := []time.Duration{15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}
	return Limits{
		// A sign-in that succeeds gives its tries back, so an office behind one address is not slowed.
		Source: throttle.Rate{Name: "signin/source", Burst: 60, Every: 2 * time.Second},
		All:    throttle.Rate{Name: "signin/all", Burst: 5000, Every: time.Millisecond},
		Device: throttle.Rate{Name: "signin/device", Burst: 20, Every: 10 * time.Second},
		// An account's owner needs one or two codes; each costs the operator money.
		SendName:    throttle.Rate{Name: "send/name", Burst: 5, Every: 10 * time.Minute},
		SendAccount: throttle.Rate{Name: "send/account", Burst: 5, Every: 10 * time.Minute},
		SendSource:  throttle.Rate{Name: "send/source", Burst: 20, Every: time.Minute},
		SendAll:     throttle.Rate{Name: "send/all", Burst: 2000, Every: 5 * time.Millisecond},
		// Ten mistypings are free; then waits that make 100 tries take four days (NIST SP 800-63B-4 section 3.2.2).
		Password:        throttle.Ladder{Name: "password", Free: 10, Delays: passwordWaits, Stop: 100},
		PasswordAccount: throttle.Ladder{Name: "password/account", Free: 30, Delays: passwordWaits, Stop: 100}, // three names a person
		DevicePassword:  throttle.Ladder{Name: "password/device", Free: 10, Delays: passwordWaits, Stop: 100},
		// Five tries at one in a million, then waits; new codes and new flows do not reset them.
		Code:        throttle.Ladder{Name: "code", Free: 5, Delays: codeWaits, Stop: 100},
		CodeAccount: throttle.Ladder{Name: "code/account", Free: 5, Delays: codeWaits, Stop: 100},
		Factor:      throttle.Ladder{Name: "factor", Free: factor.MaxFailures, Delays: codeWaits, Stop: factor.MaxFailures},
		// A browser proves its key every five minutes, and at each sign-in: sixty at once is many tabs of an impatient person.
		Bound: throttle.Rate{Name: "bound", Burst: 60, Every: 5 * time.Second},
		// What is approved gives its try back: who is asked and asked again is being worn down.
		approvalLimits: approvalLimits{
			Approval: throttle.Rate{Name: "approval", Burst: approval.Most, Every: 20 * time.Minute},
			Number:   throttle.Ladder{Name: "approval/number", Free: 5, Delays: codeWaits, Stop: 100},
		},
	}
}

// Begin is a request to start a flow.
type Begin struct {
	Identifier string
	Browser    secret.Token
	Client     Client
	Handles    []secret.Token // remembered-device handles the browser holds
	Back       string         // a word of the door's own, which Next has again
	// Least is the assurance that is asked for, where that is more than usual: then a recognised device is asked all the same, and
	// of the ways only those are taken that reach it. An account that has none is let in by what it has; whoever asked must look.
	Least assurance.Level
}

// Started is a new flow.
type Started struct {
	Flow      secret.Token
	Nonce     string
	ExpiresAt time.Time
}

// Begin starts a flow for whoever the identifier names, if anyone. Nothing in the result, the
// rows written or the work done depends on whether anyone does.
func (s *Service) Begin(ctx context.Context, b Begin) (Started, error) {
	ident, err := s.Parser.Parse(b.Identifier)
	if err != nil {
		return Started{}, err
	}
	started, _, err := s.start(ctx, b, func(tx *sqldb.Tx) (flow, error) {
		who, err := s.Accounts.Find(ctx, tx, ident)
		if err != nil {
			return flow{}, err
		}
		return flow{
			Account: who.ID, Barred: who.State != account.Active, NameKey: s.nameKey(ident), OwnerKey: s.ownerKey(who, ident),
			errand: errand{Back: b.Back, Least: b.Least},
		}, nil
	})
	return started, err
}

// start writes a flow for whoever it is about, and says what its step is.
func (s *Service) start(ctx context.Context, b Begin, about func(*sqldb.Tx) (flow, error)) (_ Started, next Next, err error) {
	handle, id, nonce := secret.NewToken(FlowPrefix), uuid.Must(uuid.NewV7()).String(), newNonce()
	var f flow
	limited := false
	err = s.DB.WriteSoon(ctx, func(tx *sqldb.Tx) (err error) { // who loses a beginning to a power cut begins again
		limited = false // a lost race runs this again
		if f, err = about(tx); err != nil {
			return err
		}
		f.ID, f.Step, f.Nonce, f.ExpiresAt = id, cmp.Or(f.Step, StepPassword), nonce, tx.Now().Add(s.FlowTTL)
		known, err := s.admitDevice(ctx, tx, f.Account, b.Handles)
		if err != nil {
			return err
		}
		if !known { // a limit never locks the owner's remembered device out
			if ok, err := s.admitStep(ctx, tx, b.Client); err != nil || !ok {
				limited = true
				return err
			}
			f.Taken = 1
		}
		if err := put(ctx, tx, f, s.digest(handle), s.digest(b.Browser)); err != nil {
			return err
		}
		next, err = s.next(ctx, tx, f)
		return err
	})
	if err == nil && limited {
		err = tooMany()
	}
	if err != nil {
		return Started{}, Next{}, err
	}
	return Started{Flow: handle, Nonce: f.Nonce, ExpiresAt: f.ExpiresAt}, next, nil
}

// At says where a flow stands.
func (s *Service) At(ctx context.Context, ref Ref) (next Next, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		f, err := s.find(ctx, tx, request{ref: ref})
		if err != nil {
			return err
		}
		next, err = s.next(ctx, tx, f)
		return err
	})
	return next, err
}

// Prune deletes a bounded number of flows that have expired and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }

// next describes a flow's step.
func (s *Service) next(ctx context.Context, tx *sqldb.Tx, f flow) (Next, error) {
	n := Next{Step: f.Step, Nonce: f.Nonce, ExpiresAt: f.ExpiresAt, Again: f.Replaces != "", Back: f.Back}
	if err := s.forApp(ctx, tx, f, &n.Notes); err != nil || f.Step != StepSecond {
		return n, err
	}
	d, err := s.doorOf(ctx, tx, f)
	if err != nil {
		return Next{}, err
	}
	n.Ways = d.offered()
	n.Always = (d.Policy != factor.Unrecognised || f.Device != "") && !d.hidden
	if may, err := s.approvable(ctx, tx, f); err != nil {
		return Next{}, err
	} else if may {
		n.Ways = append(n.Ways, factor.Approve)
	}
	sent, resend, ok, err := s.Codes.State(ctx, tx, f.ID)
	if ok {
		n.Sent, n.ResendAt = factor.Way(sent), resend
	}
	if err == nil && n.Sent == factor.SMS && !d.hidden && !f.Barred {
		n.Fate, err = s.fate(ctx, tx, f)
	}
	return n, err
}

// fate is what became of the flow's newest code; nobody having told means that it is on its way.
func (s *Service) fate(ctx context.Context, tx *sqldb.Tx, f flow) (outbox.Fate, error) {
	letter, err := s.Codes.Letter(ctx, tx, f.ID)
	if err != nil {
		return "", err
	}
	known, err := s.Outbox.Fate(ctx, tx, letter)
	if known == "" || known == outbox.Unclear {
		known = outbox.Underway
	}
	return known, err
}

// door is an account's second door, and the addresses that codes for it are sent to.
type door struct {
	factor.Door

	addresses []account.Address
	hidden    bool // strangers come as far
}

func (s *Service) door(ctx context.Context, tx *sqldb.Tx, id account.ID) (d door, err error) {
	if d.addresses, err = s.Accounts.Addresses(ctx, tx, id); err != nil {
		return door{}, err
	}
	if d.Enrolled, err = s.Enrolled(ctx, tx, id); err != nil {
		return door{}, err
	}
	d.Sent, d.hidden = s.ways(d.addresses), s.HidePasswordResult
	d.Door, err = s.Choices.Fill(ctx, tx, id, d.Door)
	return d, err
}

// offered are the ways of the second door.
func (d door) offered() []factor.Way {
	if d.hidden {
		return d.OfferAll()
	}
	return d.Offer()
}

// ways are those by which the second door sends a code. An account that none of our ways reaches is offered the
// last of them like everybody else, and nothing is sent.
func (s *Service) ways(addresses []account.Address) []factor.Way {
	reach := slices.DeleteFunc(factor.Ways(addresses), func(w factor.Way) bool { return !slices.Contains(s.Ways, w) })
	if len(reach) > 0 || len(s.Ways) == 0 {
		return reach
	}
	return s.Ways[len(s.Ways)-1:]
}

// find loads a flow that is under way. Expired, finished, foreign, truncated and invented
// handles are all the same to the caller.
func (s *Service) find(ctx context.Context, tx *sqldb.Tx, r request) (flow, error) {
	if !r.ref.Flow.WellFormed(FlowPrefix) {
		return flow{}, gone()
	}
	f, ok, err := byHandle(ctx, tx, s.digests(r.ref.Flow), s.digests(r.ref.Browser))
	if err != nil {
		return flow{}, err
	}
	if !ok || f.Step == StepDone || f.App != r.from.App && f.Request == "" { // a flow is for the door that it began at; of our own pages the browser says it
		return flow{}, gone()
	}
	who, err := s.Accounts.Get(ctx, tx, f.Account) // it may have been locked since the flow began
	f.Barred = f.Barred || who.State != active
	return f, err
}

// request is one request about a flow.
type request struct {
	ref  Ref
	from Client
}

// findAt loads a flow that stands at the step.
func (s *Service) findAt(ctx context.Context, tx *sqldb.Tx, r request, step Step) (flow, error) {
	f, err := s.find(ctx, tx, r)
	f.From = r.from
	if err == nil && f.App != "" && f.Barred { // locked meanwhile, which the application may know
		err = gone()
	}
	if err == nil && f.Step != step {
		err = fault.New(fault.Conflict, "step_out_of_order", errors.New("the flow stands at "+string(f.Step)))
	}
	return f, err
}

// advance moves a flow on, if it still stands where it was read: of two requests at once one moves it.
func (s *Service) advance(ctx context.Context, tx *sqldb.Tx, f *flow, to Step) error {
	from := f.Step
	f.Step, f.Nonce, f.ExpiresAt = to, newNonce(), tx.Now().Add(s.FlowTTL)
	moved, err := move(ctx, tx, *f, from)
	if err == nil && !moved {
		err = fault.New(fault.Conflict, "step_out_of_order", errors.New("another request moved the flow"))
	}
	return err
}

// admitDevice takes one try of a remembered device's own. Over it the device is as good as unknown:
// the handle alone may have been copied.
func (s *Service) admitDevice(ctx context.Context, tx *sqldb.Tx, who account.ID, handles []secret.Token) (bool, error) {
	id, known, err := s.Devices.Holds(ctx, tx, who, handles)
	if err != nil || !known {
		return false, err
	}
	return s.Throttle.Take(ctx, tx, s.Limits.Device, string(id))
}

// admitStep takes one try per source and over all.
func (s *Service) admitStep(ctx context.Context, tx *sqldb.Tx, c Client) (bool, error) {
	if ok, err := s.Throttle.TakeSource(ctx, tx, s.Limits.Source, c.Source); err != nil || !ok {
		return false, err
	}
	return s.Throttle.Take(ctx, tx, s.Limits.All, "")
}

// ClearCounts forgets an account's wrong passwords and codes, those of its remembered devices and of stopped factors
// included, after the operator has looked into them, or its holder has proved everything anew.
func (s *Service) ClearCounts(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	f := flow{OwnerKey: s.ownerKey(account.Account{ID: id}, account.Identifier{})}
	d, err := s.door(ctx, tx, id)
	if err != nil {
		return err
	}
	if err := s.startAgain(ctx, tx, id, append(d.All(), d.Stopped...)...); err != nil {
		return err
	}
	names := [][]byte{s.againKey(id)}
	for _, a := range d.addresses {
		names = append(names, s.nameKey(a.Identifier()))
	}
	if err := s.Throttle.Clear(ctx, tx, s.Limits.Number, string(id)); err != nil {
		return err
	}
	for _, f.NameKey = range names {
		for _, c := range []counts{s.passwordCounts(f), s.codeCounts(f)} {
			if err := s.clear(ctx, tx, c); err != nil {
				return err
			}
		}
	}
	devices, err := s.Devices.Live(ctx, tx, id)
	if err != nil {
		return err
	}
	for _, d := range devices {
		for _, c := range []counts{s.deviceCounts(d.ID), s.codeCounts(flow{Device: d.ID})} {
			if err := s.clear(ctx, tx, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// counts are the ladders a try climbs: one shows, the other, if there is one, is silent.
type counts struct {
	shown, silent       throttle.Ladder
	shownKey, silentKey string
}

func (s *Service) passwordCounts(f flow) counts {
	return counts{s.Limits.Password, s.Limits.PasswordAccount, string(f.NameKey), string(f.OwnerKey)}
}

// deviceCounts are a remembered device's own, which a stranger's tries do not touch.
func (s *Service) deviceCounts(id device.ID) counts {
	return counts{shown: s.Limits.DevicePassword, shownKey: string(id)}
}

// codeCounts are the device's own where one was recognised and is asked all the same: a limit never locks the owner's recognised device out.
func (s *Service) codeCounts(f flow) counts {
	if f.Device != "" {
		return counts{shown: s.Limits.Code, shownKey: string(f.Device)}
	}
	return counts{s.Limits.Code, s.Limits.CodeAccount, string(f.NameKey), string(f.OwnerKey)}
}

// attempt counts a try in advance. It may be answered only if shown is true, and may succeed
// only if silent is true too.
func (s *Service) attempt(ctx context.Context, tx *sqldb.Tx, c counts) (shown, silent bool, err error) {
	if shown, err = s.Throttle.Attempt(ctx, tx, c.shown, c.shownKey); err != nil || !shown {
		return false, false, err
	}
	if c.silentKey == "" {
		return true, true, nil
	}
	silent, err = s.Throttle.Attempt(ctx, tx, c.silent, c.silentKey)
	return true, silent, err
}

func (s *Service) clear(ctx context.Context, tx *sqldb.Tx, c counts) error {
	err := s.Throttle.Clear(ctx, tx, c.shown, c.shownKey)
	if err == nil && c.silentKey != "" {
		err = s.Throttle.Clear(ctx, tx, c.silent, c.silentKey)
	}
	return err
}

// forgive takes the counts of a try back that was never evaluated.
func (s *Service) forgive(ctx context.Context, c counts) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		err := s.Throttle.Forgive(ctx, tx, c.shown, c.shownKey)
		if err == nil && c.silentKey != "" {
			err = s.Throttle.Forgive(ctx, tx, c.silent, c.silentKey)
		}
		return err
	})
}

// nameKey stands for the name typed. It stays the same when keys change, as does ownerKey: counts go on.
func (s *Service) nameKey(ident account.Identifier) []byte {
	return s.Ring.Stable("signin/name", string(ident.Kind())+"\x00"+ident.Normal())
}

// ownerKey stands for the account, whichever of its names was typed. Unknown names share decoy
// accounts but not their counts: each stands for itself.
func (s *Service) ownerKey(who account.Account, ident account.Identifier) []byte {
	owner := s.Ring.Stable("signin/owner", string(who.ID))
	nobody := s.Ring.Stable("signin/owner/nobody", string(ident.Kind())+"\x00"+ident.Normal()) // always, for the time it takes
	if who.State == account.Decoy {
		return nobody
	}
	return owner
}

func (s *Service) digest(t secret.Token) []byte { return s.Ring.Digest("signin", t) }

func (s *Service) digests(t secret.Token) [][]byte { return s.Ring.Digests("signin", t) }

// Holdings is what the table has of the ring's keys.
func (s *Service) Holdings() []keyring.Holding {
	h := s.Ring.Digested(digested())
	h.Columns = append(h.Columns, "browser") // made together with the handle
	return []keyring.Holding{h, s.Ring.Sealed(failedSealed()), s.Ring.Sealed(renewalSealed())}
}

// newNonce is 128 random bits or more: never repeated, and no secret.
func newNonce() string { return rand.Text() }

func gone() error {
	return fault.New(fault.Gone, "flow_ended", errors.New("no such flow in this browser, or it is over"))
}

func tooMany() error {
	return fault.Later(fault.TooMany, "too_many_attempts", time.Minute, errors.New("over a limit"))
}
