package signin

import (
	"context"

	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

// Refresh judges what a browser signed with a device's bound key; see device.Service.Refresh. It ends no step of any
// sign-in: the one that asked for it goes on when the browser comes back with what it got. A session of that device, if the
// browser has one, is bound from then on.
func (s *Service) Refresh(ctx context.Context, me session.Session, id device.ID, proof string) (device.Minted, error) {
	minted, err := s.Devices.Refresh(ctx, id, proof)
	if err != nil || minted.Cookie.Empty() || me.Device != id || !me.BoundAt.IsZero() {
		return minted, err
	}
	return minted, s.DB.Write(ctx, func(tx *sqldb.Tx) error { return s.Sessions.Bind(ctx, tx, me) })
}

// Bind gives the device that was remembered when the session began a key that its browser binds to the machine, and binds
// the session to it. ok is false
// unless the proof answers the Offer that this session's sign-in ended with, and is the first to do so.
func (s *Service) Bind(ctx context.Context, me session.Session, c Client, proof string) (m device.Minted, ok bool, err error) {
	b := device.Binding{Device: me.Device, Session: string(me.ID), Proof: proof}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
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
