package registration

import (
	"cmp"
	"context"
	"errors"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/message"
	"countersign/internal/password"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
)

// About is what somebody says of themselves once their address is proved.
type About struct {
	Password string
	Claims   map[string]string
	Terms    string            // the version accepted
	Language string            // of pages and letters; empty: that of the beginning
	Remember *device.Enrolment // to be recognised from now on
}

// Opened is a new account, and its owner signed in; or what has to be put right first.
type Opened struct {
	Problems []Problem
	Account  account.ID
	Session  session.Started
	Device   *device.Remembered
	Offer    string // as in signin.Next
}

// Finish opens the account. Its errors beside those of every step: fault.Conflict "identifier_taken"
// if somebody else opened one with the address since it was free, which may be said to whoever has
// proved it; fault.Forbidden "invitation_refused"; fault.Invalid "device_key_malformed" and "device_key_unsupported"; fault.Unauthenticated
// "dpop_proof_refused".
func (s *Service) Finish(ctx context.Context, ref signin.Ref, c signin.Client, a About) (Opened, error) {
	done, err := s.Passwords.Admit()
	if err != nil {
		return Opened{}, err
	}
	defer done()
	n, problems, err := s.prepare(ctx, request{ref, c}, a)
	if err != nil || len(problems) > 0 {
		return Opened{Problems: problems}, err
	}
	if n.hash, err = s.Passwords.Hash(ctx, a.Password); err != nil { // outside any transaction: it takes as long as it takes
		return Opened{}, err
	}
	var opened Opened
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		opened, err = s.create(ctx, tx, request{ref, c}, n)
		return err
	})
	if err != nil {
		return Opened{}, err
	}
	return opened, nil
}

// newcomer is somebody whose account may be opened.
type newcomer struct {
	claims   map[string]string
	terms    string
	language string
	remember *device.Enrolment
	hash     password.Hash
}

// prepare looks at everything that can be wrong before anything costly is done, and outside any
// transaction: a long password takes its time to be judged.
func (s *Service) prepare(ctx context.Context, r request, a About) (newcomer, []Problem, error) {
	var f flow
	admitted := false
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		if f, err = s.findAt(ctx, tx, r, StepAbout); err != nil {
			return err
		}
		admitted, err = s.admitStep(ctx, tx, r.from)
		return err
	})
	if err == nil && !admitted {
		err = tooMany()
	}
	if err == nil && a.Remember != nil {
		err = s.Devices.Check(a.Remember, f.Nonce)
	}
	if p := r.from.Proof; err == nil && p.Key != "" && p.Nonce != f.Nonce {
		err = fault.New(fault.Unauthenticated, "dpop_proof_refused", errors.New("it does not answer the nonce of this step"))
	}
	if err != nil {
		return newcomer{}, nil, err
	}
	n := newcomer{terms: s.Rules.Terms.Version, language: f.Language, remember: a.Remember}
	if a.Language != "" {
		n.language = message.Match(a.Language)
	}
	var problems []Problem
	n.claims, problems, err = s.checks(f, a)
	return n, problems, err
}

// create opens the account with all that belongs to it, or does nothing.
func (s *Service) create(ctx context.Context, tx *sqldb.Tx, r request, n newcomer) (Opened, error) {
	f, err := s.findAt(ctx, tx, r, StepAbout)
	if err != nil {
		return Opened{}, err
	}
	// First: whoever sends the form twice is told that it was sent, and not that the address is taken.
	if err := s.advance(ctx, tx, &f, StepDone); err != nil {
		return Opened{}, err
	}
	if s.Rules.Mode == Invited || f.Invitation != "" {
		if ok, err := spendInvitation(ctx, tx, f.Invitation); err != nil || !ok {
			return Opened{}, cmp.Or(err, uninvited())
		}
	}
	id, err := s.Accounts.Create(ctx, tx, account.New{Language: n.language, Identifiers: []account.NewIdentifier{{
		Identifier: f.Address, Verified: true, SignsIn: true, Notices: true, Recovers: true,
	}}})
	if err != nil {
		return Opened{}, err
	}
	if err := s.Passwords.SetHash(ctx, tx, id, n.hash); err != nil {
		return Opened{}, err
	}
	if err := s.Accounts.SetClaims(ctx, tx, id, n.claims); err != nil {
		return Opened{}, err
	}
	if s.Rules.Terms.URL != "" {
		if err := putConsent(ctx, tx, id, n.terms); err != nil {
			return Opened{}, err
		}
	}
	return s.welcome(ctx, tx, f, id, n)
}

// welcome remembers the device, signs the owner in, and records it all.
func (s *Service) welcome(ctx context.Context, tx *sqldb.Tx, f flow, id account.ID, n newcomer) (out Opened, err error) {
	out.Account = id
	detail := map[string]string{"by": "registration"}
	if f.Invitation != "" {
		detail["invitation"] = f.Invitation
	}
	if n.terms != "" {
		detail["terms"] = n.terms
	}
	event := audit.Event{Account: string(id), Source: f.From.Source}
	if err := s.note(ctx, tx, event, audit.AccountCreated, detail); err != nil {
		return Opened{}, err
	}
	name := device.NameOf(f.From.UserAgent)
	var remembered device.ID
	if n.remember != nil {
		e := *n.remember
		e.Source = f.From.Source
		if e.Name == "" {
			e.Name = name
		}
		if out.Device, err = s.Devices.Remember(ctx, tx, id, e, nil); err != nil {
			return Opened{}, err
		}
		remembered = out.Device.ID
		if err := s.note(ctx, tx, event, audit.DeviceRemembered, map[string]string{"device": string(remembered)}); err != nil {
			return Opened{}, err
		}
	}
	way := string(wayTo(f.Address))
	nudge, err := s.Choices.Nudge(ctx, tx, id, nil) // counted from the next sign-in on: a newcomer has done enough
	if err != nil {
		return Opened{}, err
	}
	out.Session, err = s.Sessions.Start(ctx, tx, session.New{
		Account: id, Device: remembered, Key: f.From.Proof.Key, Name: name, Methods: []assurance.Method{assurance.Password, assurance.Method(way)},
		Source: f.From.Source, Enrol: nudge.Must,
	})
	if err != nil {
		return Opened{}, err
	}
	if out.Device != nil {
		out.Offer = s.Devices.Offer(tx, remembered, string(out.Session.ID))
	}
	return out, s.note(ctx, tx, event, audit.LoginSuccess, map[string]string{"session": string(out.Session.ID), "methods": "password," + way})
}

func (s *Service) note(ctx context.Context, tx *sqldb.Tx, e audit.Event, kind audit.Kind, detail map[string]string) error {
	e.Kind, e.Detail = kind, detail
	return s.Audit.Append(ctx, tx, e)
}
