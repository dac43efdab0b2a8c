package signin

import (
	"context"
	"errors"
	"time"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/keyring"
	"countersign/internal/password"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/throttle"
)

// PasswordProof is the first proof. Handles and Signature may come with it from a device that
// can sign the flow's nonce at once (an app); a browser with handles signs on the next page.
type PasswordProof struct {
	Password  string
	Handles   []secret.Token
	Signature []byte
}

// lane is what a try at a password is counted by: name and account, or the remembered device
// that holds its handle, which a stranger's tries must not lock out.
type lane struct {
	counts

	device bool // a remembered device's
	shut   bool // over the account's silent limit: the try may not succeed
}

// Password proves the first factor and says what is next. A wrong password, and whatever must
// look like one, is Next{Step: StepPassword, Refused: true}.
func (s *Service) Password(ctx context.Context, ref Ref, c Client, p PasswordProof) (Next, error) {
	t, err := s.tryPassword(ctx, p, func(tx *sqldb.Tx) (flow, error) {
		return s.findAt(ctx, tx, request{ref, c}, StepPassword)
	})
	if err != nil {
		return Next{}, err
	}
	defer t.done()
	var next Next
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		next, err = s.afterPassword(ctx, tx, request{ref, c}, t)
		return err
	})
	// Only where the answer says that the password was right: a second hash takes time, which would say it too.
	if err == nil && t.stale && !t.barred && !t.lane.shut && (!s.HidePasswordResult || next.Step == StepDone) {
		_ = s.Passwords.Rehash(ctx, t.stored, p.Password) // the sign-in stands without it; the next one tries again
	}
	return next, err
}

// tryPassword counts a try in advance and compares. The caller calls done when it has its answer.
func (s *Service) tryPassword(ctx context.Context, p PasswordProof, find func(*sqldb.Tx) (flow, error)) (t tried, err error) {
	t.proof = p
	if t.done, err = s.Passwords.Admit(); err != nil {
		return tried{}, err
	}
	admitted := false
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := find(tx)
		if err != nil {
			return err
		}
		t.barred = f.Barred
		if t.lane, err = s.laneOf(ctx, tx, f, p.Handles); err != nil {
			return err
		}
		if admitted, err = s.admitPassword(ctx, tx, f, &t.lane); err != nil || !admitted {
			return err
		}
		t.stored, err = s.Passwords.Load(ctx, tx, f.Account)
		return err
	})
	if err == nil && !admitted {
		err = tooMany()
	}
	if err != nil {
		t.done()
		return tried{}, err
	}
	verdict, err := s.Passwords.Verify(ctx, t.stored, p.Password) // outside any transaction: it takes as long as it takes
	if err != nil {
		t.done()
		if t.lane.shut {
			t.lane.silentKey = "" // it was not counted there
		}
		return tried{}, errors.Join(err, s.forgive(context.WithoutCancel(ctx), t.lane.counts))
	}
	t.right, t.stale, t.unusable = verdict.OK && !t.lane.shut, verdict.Stale, verdict.Unusable
	if s.HidePasswordResult {
		t.renewal = s.Passwords.Renewal(verdict)
	}
	return t, nil
}

// renew replaces another system's hash in a flow whose answers did not say that the password was right.
func (s *Service) renew(ctx context.Context, tx *sqldb.Tx, f *flow) error {
	sealed := f.Renewal
	f.Renewal = nil
	if sealed == nil {
		return nil
	}
	plain, err := s.Ring.Open(sealed, renewalPlace(*f))
	if err != nil {
		return nil //nolint:nilerr // the sign-in stands without it; the next one tries again
	}
	return s.Passwords.Renew(ctx, tx, f.Account, string(plain))
}

func renewalPlace(f flow) keyring.Place {
	return keyring.Place{Table: "signin_flow", Row: f.ID, Column: "renewal"}
}

func (s *Service) laneOf(ctx context.Context, tx *sqldb.Tx, f flow, handles []secret.Token) (lane, error) {
	id, known, err := s.Devices.Holds(ctx, tx, f.Account, handles)
	if known {
		return lane{counts: s.deviceCounts(id), device: true}, err
	}
	return lane{counts: s.passwordCounts(f)}, err
}

func (s *Service) admitPassword(ctx context.Context, tx *sqldb.Tx, f flow, l *lane) (bool, error) {
	if l.device {
		ok, _, err := s.attempt(ctx, tx, l.counts)
		if err != nil || ok {
			return ok, err
		}
		// Somebody has copied the handle, or the owner mistypes: on, as a stranger.
		*l = lane{counts: s.passwordCounts(f)}
	}
	if ok, err := s.admitStep(ctx, tx, f.From); err != nil || !ok {
		return false, err
	}
	ok, silent, err := s.attempt(ctx, tx, l.counts)
	l.shut = !silent
	if err != nil || ok {
		return ok, err
	}
	return false, s.noteLimit(ctx, tx, f, l.shown.Name)
}

// noteLimit records that an account's limit held, at most once in ten minutes: a flood must
// not write a row a request.
func (s *Service) noteLimit(ctx context.Context, tx *sqldb.Tx, f flow, which string) error {
	once := throttle.Rate{Name: "audit/" + which, Burst: 1, Every: 10 * time.Minute}
	ok, err := s.Throttle.Take(ctx, tx, once, string(f.NameKey))
	if err != nil || !ok {
		return err
	}
	return s.record(ctx, tx, f, audit.Throttled, map[string]string{"limit": which})
}

// tried is a password that has been compared.
type tried struct {
	proof    PasswordProof
	stored   password.Stored
	lane     lane
	barred   bool // the flow was, before the password
	right    bool
	stale    bool
	unusable bool   // there is a hash that this server cannot check
	renewal  string // see flow
	done     func() // of its admission
}

func (s *Service) afterPassword(ctx context.Context, tx *sqldb.Tx, r request, t tried) (Next, error) {
	f, err := s.findAt(ctx, tx, r, StepPassword)
	if err != nil {
		return Next{}, err
	}
	if !t.lane.device {
		f.Taken++
	}
	f.Proved = t.stored.Version()
	if s.HidePasswordResult { // for everybody, and once the flow is done it is seen whether it is for anything
		f.Renewal = s.Ring.Seal([]byte(t.renewal), renewalPlace(f))
	}
	if !t.right || f.Barred {
		return s.wrongPassword(ctx, tx, f, t)
	}
	if s.HidePasswordResult { // an event for an event, as work; and the counts must not tell either, so finish clears them
		if err := s.record(ctx, tx, f, audit.PasswordPassed, nil); err != nil {
			return Next{}, err
		}
	} else if err := s.credit(ctx, tx, &f, t.lane); err != nil {
		return Next{}, err
	}
	return s.afterFirst(ctx, tx, f, t.proof)
}

// credit gives back what a right password had cost in advance, and not more: whoever began as a
// remembered device took no try of the source's limit.
func (s *Service) credit(ctx context.Context, tx *sqldb.Tx, f *flow, l lane) error {
	if err := s.clear(ctx, tx, l.counts); err != nil {
		return err
	}
	for ; f.Taken > 0; f.Taken-- {
		if err := s.Throttle.GiveSource(ctx, tx, s.Limits.Source, f.From.Source); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) wrongPassword(ctx context.Context, tx *sqldb.Tx, f flow, t tried) (Next, error) {
	if err := s.recordWrong(ctx, tx, f, t); err != nil {
		return Next{}, err
	}
	if s.HidePasswordResult {
		f.Barred = true
		return s.afterFirst(ctx, tx, f, t.proof)
	}
	n, err := s.next(ctx, tx, f)
	n.Refused = true
	return n, err
}

func (s *Service) recordWrong(ctx context.Context, tx *sqldb.Tx, f flow, t tried) error {
	var detail map[string]string
	if t.unusable { // the only trace of a damaged hash, or of a pepper that is gone: the answer must not differ
		detail = map[string]string{"hash": "unusable"}
	}
	return s.record(ctx, tx, f, audit.PasswordFailed, detail)
}

// afterFirst goes from the first proof to the device's, if it may have one, or to the second.
func (s *Service) afterFirst(ctx context.Context, tx *sqldb.Tx, f flow, p PasswordProof) (Next, error) {
	if len(p.Handles) == 0 {
		return s.toSecond(ctx, tx, f)
	}
	if len(p.Signature) > 0 {
		return s.recognise(ctx, tx, f, device.Proof{Handles: p.Handles, Signature: p.Signature})
	}
	if err := s.advance(ctx, tx, &f, StepDevice); err != nil {
		return Next{}, err
	}
	return s.next(ctx, tx, f)
}

// Device lets a returning device prove its key over the flow's nonce. Without a valid proof
// the flow goes on to the second door. A browser that may have a bound key is asked to sign with
// that first (Next.Ask), and then sends the same again.
func (s *Service) Device(ctx context.Context, ref Ref, c Client, p device.Proof) (next Next, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		f, err := s.findAt(ctx, tx, request{ref, c}, StepDevice)
		if err != nil {
			return err
		}
		if next, err = s.ask(ctx, tx, f, p); err != nil || next.Ask != nil {
			return err
		}
		next, err = s.recognise(ctx, tx, f, p)
		return err
	})
	return next, err
}

// ask has a device sign with its bound key, if it may have one.
func (s *Service) ask(ctx context.Context, tx *sqldb.Tx, f flow, p device.Proof) (Next, error) {
	// A refresh that the browser had begun before may answer the first; more than three would only be a replay's.
	const asks = 3
	a, err := s.Devices.Ask(ctx, tx, f.Account, p, f.Nonce)
	if err != nil || a == nil {
		return Next{}, err
	}
	if more, err := countAsk(ctx, tx, f.ID, asks); err != nil || !more {
		return Next{}, err
	}
	n, err := s.next(ctx, tx, f)
	n.Ask = a
	return n, err
}

// recognise judges the device's proof. In a barred flow (hidden password result) a recognised
// device learns that the password was wrong: it is the owner's.
func (s *Service) recognise(ctx context.Context, tx *sqldb.Tx, f flow, p device.Proof) (Next, error) {
	l, err := s.laneOf(ctx, tx, f, p.Handles) // before the handle is changed
	if err != nil {
		return Next{}, err
	}
	p.Source, p.Site = f.From.Source, f.Site
	j, err := s.Devices.Recognise(ctx, tx, f.Account, p, f.Nonce)
	if err != nil {
		return Next{}, err
	}
	id := j.Device
	switch j.Verdict {
	case device.Recognised:
		if err := s.record(ctx, tx, f, audit.DeviceRecognised, map[string]string{"device": string(id), "by": string(j.By)}); err != nil {
			return Next{}, err
		}
		if f.Barred {
			return s.backToPassword(ctx, tx, f, j.Kept)
		}
		if err := s.clear(ctx, tx, s.deviceCounts(id)); err != nil { // what a copied handle ran up
			return Next{}, err
		}
		how := assurance.Device
		if j.By == device.Bound {
			how = assurance.DBSC
		}
		if p, err := s.policy(ctx, tx, f.Account); err != nil {
			return Next{}, err
		} else if p != factor.Unrecognised || assurance.Of([]string{string(assurance.Password), string(how)}).Level < f.Least {
			f.Device = id
			n, err := s.toSecond(ctx, tx, f)
			n.Device = j.Kept
			return n, err
		}
		return s.finish(ctx, tx, f, done{methods: []assurance.Method{assurance.Password, how}, device: id, kept: j.Kept, lane: l})
	case device.Replayed:
		if err := s.replayed(ctx, tx, f, id); err != nil {
			return Next{}, err
		}
	case device.Unproved:
		if err := s.record(ctx, tx, f, audit.DeviceUnproved, map[string]string{"device": string(id)}); err != nil {
			return Next{}, err
		}
	case device.Unknown:
	}
	return s.toSecond(ctx, tx, f)
}

func (s *Service) policy(ctx context.Context, tx *sqldb.Tx, id account.ID) (factor.Policy, error) {
	chosen, err := s.Choices.Of(ctx, tx, id)
	if err != nil {
		return "", err
	}
	p, _, err := s.Choices.PolicyOf(ctx, tx, id, chosen)
	return p, err
}

func (s *Service) backToPassword(ctx context.Context, tx *sqldb.Tx, f flow, kept *device.Remembered) (Next, error) {
	who, err := s.Accounts.Get(ctx, tx, f.Account)
	if err != nil {
		return Next{}, err
	}
	f.Barred = who.State != active
	if err := s.advance(ctx, tx, &f, StepPassword); err != nil {
		return Next{}, err
	}
	n, err := s.next(ctx, tx, f)
	n.Refused, n.Device = true, kept
	return n, err
}

func (s *Service) toSecond(ctx context.Context, tx *sqldb.Tx, f flow) (Next, error) {
	if err := s.advance(ctx, tx, &f, StepSecond); err != nil {
		return Next{}, err
	}
	return s.next(ctx, tx, f)
}
