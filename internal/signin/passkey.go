package signin

import (
	"context"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/dpop"
	"countersign/internal/passkey"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/throttle"
)

// Asked is where a passkey is asked for. A Flow that is set asks at its second door, a Session asks whoever is
// signed in once more, and otherwise it is the first step, where nobody has said who they are.
type Asked struct {
	Flow    secret.Token
	Browser secret.Token // that of the pages; apps have none
	Session session.Session
	Back    string // a word of the door's own, which Next has again; not with a Flow, which has its own
}

// PasskeyProof is an answer to AskPasskey. Handles are those of remembered devices that the browser holds, and Signature
// is what a device.Proof has. Remember is the wish of a device that is not recognised to be so from now on. Both are
// signed over the challenge in the place of a nonce.
type PasskeyProof struct {
	State, Response []byte
	Handles         []secret.Token
	Signature       []byte
	Remember        *device.Enrolment
}

// AskPasskey begins the ceremony of a passkey. A list of an account's passkeys is in its options only where the
// password was right, or somebody is signed in: a stranger gets one that names none, whoever they say they are (P1).
func (s *Service) AskPasskey(ctx context.Context, at Asked) (b passkey.Begun, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		q := passkey.Signin{Bound: s.bound(at), Required: true}
		switch {
		case !at.Flow.Empty():
			f, err := s.findAt(ctx, tx, request{ref: Ref{at.Flow, at.Browser}}, StepSecond)
			if err != nil {
				return err
			}
			q.Required = false // the other factor is there
			if !s.HidePasswordResult {
				q.Account = f.Account
			}
		case at.Session.Account != "":
			q.Account = at.Session.Account
		}
		b, err = s.Passkeys.BeginSignin(ctx, tx, q)
		return err
	})
	return b, err
}

// bound is what a ceremony is begun and finished with. It stays the same when keys change.
func (s *Service) bound(at Asked) string {
	switch {
	case !at.Flow.Empty():
		return string(s.Ring.Stable("signin/passkey/flow", at.Flow.Reveal()))
	case at.Session.Account != "":
		return string(s.Ring.Stable("signin/passkey/again", string(at.Session.ID)))
	}
	return string(s.Ring.Stable("signin/passkey", at.Browser.Reveal()))
}

// Passkey judges the answer of a passkey. One that verified its user is both factors at once, and opens a session
// from the first step; at the second door, where the password was right, one that did not will do. Whatever does not
// fit is Next.Refused, and Next.Unknown if there is no such passkey, so that the authenticator can be told.
func (s *Service) Passkey(ctx context.Context, at Asked, c Client, p PasskeyProof) (next Next, err error) {
	admitted := false
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if admitted, err = s.admitStep(ctx, tx, c); err != nil || !admitted {
			return err
		}
		f, err := s.asked(ctx, tx, at, c)
		if err != nil {
			return err
		}
		v, why, err := s.Passkeys.Verify(ctx, tx, passkey.Answer{Bound: s.bound(at), Account: f.Account, State: p.State, Response: p.Response})
		if err == nil && why == "" {
			why, err = s.refusal(ctx, tx, &f, v)
		}
		if why == passkey.Untaken { // for its holder's eyes: whoever has it is told no more than of a wrong one
			f.Account = v.Account
		}
		switch {
		case err != nil:
		case why != "":
			next, err = s.refusePasskey(ctx, tx, f, why)
		default:
			next, err = s.afterPasskey(ctx, tx, f, p, v)
		}
		return err
	})
	if err == nil && !admitted {
		err = tooMany()
	}
	return next, err
}

// asked is the flow that an answer is for. Only one at the second door has a row.
func (s *Service) asked(ctx context.Context, tx *sqldb.Tx, at Asked, c Client) (f flow, err error) {
	switch {
	case !at.Flow.Empty():
		return s.findAt(ctx, tx, request{Ref{at.Flow, at.Browser}, c}, StepSecond)
	case at.Session.Account != "":
		f, err = s.ofSession(ctx, tx, at.Session)
		f.Replaces = at.Session.ID
		c.Proof = dpop.Proof{Key: at.Session.Key} // which the call itself has proved
	}
	f.Back = at.Back
	f.ID, f.Step, f.From = uuid.Must(uuid.NewV7()).String(), StepPassword, c
	return f, err
}

// refusal is why a passkey that has signed opens nothing all the same; empty if it may. Where nobody has said who they
// are the flow is its holder's then.
func (s *Service) refusal(ctx context.Context, tx *sqldb.Tx, f *flow, v passkey.Verdict) (passkey.Refusal, error) {
	if v.WentBack {
		if err := s.wentBack(ctx, tx, *f, v); err != nil {
			return "", err
		}
	}
	switch {
	case v.WentBack && v.DeviceBound, f.Barred: // a copy of what cannot be copied; a locked account
		return passkey.Wrong, nil
	case f.Account != "":
		return "", nil
	}
	who, err := s.Accounts.Get(ctx, tx, v.Account)
	if f.Account = who.ID; err == nil && who.State != account.Active {
		return passkey.Wrong, nil
	}
	return "", err
}

func (s *Service) refusePasskey(ctx context.Context, tx *sqldb.Tx, f flow, why passkey.Refusal) (Next, error) {
	if err := s.recordRefused(ctx, tx, f, why); err != nil {
		return Next{}, err
	}
	n := Next{Step: f.Step}
	if f.Step == StepSecond {
		if err := s.noteFailed(ctx, tx, f); err != nil { // in barred flows too, for the work
			return Next{}, err
		}
		var err error
		if n, err = s.next(ctx, tx, f); err != nil {
			return Next{}, err
		}
	}
	n.Refused, n.Unknown = true, why == passkey.Unknown
	return n, nil
}

// failedPasskeys is how often what an account's holder is shown says that a passkey was refused: strangers who come to the second
// door must not bury the rest of it.
var failedPasskeys = throttle.Rate{Name: "audit/passkey", Burst: 10, Every: 10 * time.Minute} //nolint:gochecknoglobals // a constant

func (s *Service) recordRefused(ctx context.Context, tx *sqldb.Tx, f flow, why passkey.Refusal) error {
	if len(f.OwnerKey) > 0 {
		if ok, err := s.Throttle.Take(ctx, tx, failedPasskeys, string(f.OwnerKey)); err != nil || !ok {
			return err
		}
	}
	return s.record(ctx, tx, f, audit.PasskeyFailed, map[string]string{"why": string(why)})
}

func (s *Service) wentBack(ctx context.Context, tx *sqldb.Tx, f flow, v passkey.Verdict) error {
	f.Account = v.Account
	return s.record(ctx, tx, f, audit.PasskeyWentBack, map[string]string{"passkey": string(v.Passkey)})
}

// afterPasskey opens the session.
func (s *Service) afterPasskey(ctx context.Context, tx *sqldb.Tx, f flow, p PasskeyProof, v passkey.Verdict) (Next, error) {
	if err := s.Throttle.GiveSource(ctx, tx, s.Limits.Source, f.From.Source); err != nil {
		return Next{}, err
	}
	d := done{methods: []assurance.Method{method(v)}}
	lane, err := s.laneOf(ctx, tx, f, p.Handles)
	if err != nil {
		return Next{}, err
	}
	d.lane, d.device, d.stranger = lane, f.Device, f.Replaces == "" && f.Device == ""
	if p.Remember != nil {
		if err := s.Devices.Check(p.Remember, v.Challenge); err != nil {
			return Next{}, err
		}
	}
	j, err := s.recognised(ctx, tx, f, p, v.Challenge)
	if err != nil {
		return Next{}, err
	}
	if j.Verdict == device.Recognised {
		d.device, d.kept, d.stranger = j.Device, j.Kept, false
	}
	if p.Remember != nil && d.device == "" {
		d.stranger = true // also where somebody was signed in: it may be another device, with a copied session
		if err := s.remember(ctx, tx, f, &d, remembering{*p.Remember, p.Handles}); err != nil {
			return Next{}, err
		}
	}
	f.Nonce = v.Challenge // in its place a proof answers this
	if f.Step == StepSecond {
		d.methods = []assurance.Method{assurance.Password, method(v)}
		return s.finish(ctx, tx, f, d)
	}
	if f.Replaces == "" {
		err = s.keyed(ctx, tx, f)
	} else {
		err = s.replace(ctx, tx, f)
	}
	if err != nil {
		return Next{}, err
	}
	return s.open(ctx, tx, f, d)
}

// recognised sees whether the device proves its key: with a handle alone, which may have been copied, it is a
// stranger, and the holder is told (P5, P7).
func (s *Service) recognised(ctx context.Context, tx *sqldb.Tx, f flow, p PasskeyProof, challenge string) (j device.Judged, err error) {
	if len(p.Signature) == 0 {
		return j, nil
	}
	proof := device.Proof{Handles: p.Handles, Signature: p.Signature, Source: f.From.Source}
	if j, err = s.Devices.Recognise(ctx, tx, f.Account, proof, challenge); err != nil {
		return j, err
	}
	switch j.Verdict {
	case device.Recognised:
		return j, s.record(ctx, tx, f, audit.DeviceRecognised, map[string]string{"device": string(j.Device), "by": string(j.By)})
	case device.Replayed:
		return j, s.replayed(ctx, tx, f, j.Device)
	case device.Unproved:
		return j, s.record(ctx, tx, f, audit.DeviceUnproved, map[string]string{"device": string(j.Device)})
	case device.Unknown:
	}
	return j, nil
}

// method is what a passkey has proved, as a session keeps it.
func method(v passkey.Verdict) assurance.Method {
	switch {
	case !v.UserVerified:
		return assurance.Passkey
	case v.Hardware:
		return assurance.PasskeyAttested
	case v.DeviceBound:
		return assurance.PasskeyBound
	}
	return assurance.PasskeyVerified
}
