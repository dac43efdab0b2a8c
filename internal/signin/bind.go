package signin

import (
	"context"
	"errors"
	"time"

	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

// Signed is what a browser signed with a device's bound key.
type Signed struct {
	Device device.ID
	Proof  string
}

// admitProof refuses what is too much of one device from one source as fault.Unavailable "busy": at any other answer a browser would drop its
// key, and at this one it keeps it and comes again. A source alone would not do: neighbours behind one address would use up the owner's
// tries. Nor would a device: whoever has copied its id would.
func (s *Service) admitProof(ctx context.Context, tx *sqldb.Tx, id device.ID, c Client) error {
	limit := s.Limits.Bound
	limit.Name += "/" + string(id)
	ok, err := s.Throttle.TakeSource(ctx, tx, limit, c.Source)
	if err == nil && !ok {
		err = fault.Later(fault.Unavailable, "busy", 10*time.Second, errors.New("too many proofs of a bound key from one source"))
	}
	return err
}

// Refresh judges what a browser signed with a device's bound key; see device.Service.Refresh. It ends no step of any
// sign-in: the one that asked for it goes on when the browser comes back with what it got. A session of that device, if the
// browser has one, is bound from then on. Errors are those of admitProof.
func (s *Service) Refresh(ctx context.Context, me session.Session, c Client, p Signed) (device.Minted, error) {
	id := p.Device
	minted, err := s.Devices.Refresh(ctx, id, p.Proof, func(tx *sqldb.Tx) error { return s.admitProof(ctx, tx, id, c) })
	if err != nil || minted.Cookie.Empty() || me.Device != id || !me.BoundAt.IsZero() {
		return minted, err
	}
	return minted, s.DB.Write(ctx, func(tx *sqldb.Tx) error { return s.Sessions.Bind(ctx, tx, me) })
}

// Bind gives the device that was remembered when the session began a key that its browser binds to the machine, and binds
// the session to it. Errors are those of admitProof. ok is false
// unless the proof answers the Offer that this session's sign-in ended with, and is the first to do so.
func (s *Service) Bind(ctx context.Context, me session.Session, c Client, proof string) (m device.Minted, ok bool, err error) {
	b := device.Binding{Device: me.Device, Session: string(me.ID), Proof: proof}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.admitProof(ctx, tx, me.Device, c); err != nil {
			return err
		}
		// The session is known from memory, and may have ended on another node a moment ago.
		if ok, err = s.Sessions.Holds(ctx, tx, me.Account, me.ID); err != nil || !ok {
			return err
		}
		if m, ok, err = s.Devices.Bind(ctx, tx, me.Account, b); err != nil || !ok {
			return err
		}
		if err := s.Sessions.Bind(ctx, tx, me); err != nil {
			return err
		}
		return s.Audit.Append(ctx, tx, audit.Event{
			Kind: audit.DeviceBound, Account: string(me.Account), Source: c.Source, Detail: map[string]string{"device": string(me.Device)},
		})
	})
	return m, ok && err == nil, err
}
