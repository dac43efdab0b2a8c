package oidc

import (
	"context"
	"errors"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
)

// Allowed is an application that a holder has agreed to, or that holds something of theirs now.
type Allowed struct {
	Client string    `json:"application"`
	Name   string    `json:"name"` // empty if it is not registered any more
	Scopes []string  `json:"scopes"`
	Since  time.Time `json:"since"`
	Last   time.Time `json:"last"` // given
	Live   bool      `json:"in_use"`
}

// Allowed lists the applications of whoever is signed in.
func (s *Service) Allowed(ctx context.Context, me session.Session) (all []Allowed, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		all, err = s.allowed(ctx, tx, me.Account)
		return err
	})
	return all, err
}

func (s *Service) allowed(ctx context.Context, tx *sqldb.Tx, who account.ID) ([]Allowed, error) {
	all := []Allowed{}
	err := allowed(ctx, tx, who, func(a Allowed) { all = append(all, a) })
	for i := range all {
		if err == nil {
			var c Client
			c, _, err = s.find(ctx, tx, all[i].Client)
			all[i].Name = c.Name
		}
	}
	return all, err
}

// Told is what the file of an owner's data has of applications.
func (s *Service) Told(ctx context.Context, tx *sqldb.Tx, who account.ID) (any, error) {
	return s.allowed(ctx, tx, who)
}

// Withdraw takes back what whoever is signed in had agreed to with an application, and ends what it holds. ok is false if
// there was nothing.
func (s *Service) Withdraw(ctx context.Context, me session.Session, by signin.Client, client string) (ok bool, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if there, err := s.Sessions.Holds(ctx, tx, me.Account, me.ID); err != nil || !there {
			return errors.Join(err, fault.New(fault.Unauthenticated, "session_ended", errors.New("it ended a moment ago")))
		}
		agreed, err := deleteConsent(ctx, tx, me.Account, client)
		if err != nil {
			return err
		}
		if err := s.signOutOf(ctx, tx, me.Account, client); err != nil {
			return err
		}
		s.over(tx)
		ended, err := endGrantsOf(ctx, tx, me.Account, client, "withdrawn by the holder")
		if ok = agreed || ended > 0; err != nil || !ok {
			return err
		}
		return s.Audit.Append(ctx, tx, audit.Event{
			Kind: audit.ApplicationEnded, Account: string(me.Account), Source: by.Source, Detail: map[string]string{"client": client, "by_session": string(me.ID)},
		})
	})
	return ok, err
}

// signOutOf has an application told that it is signed out of the sessions that live on.
func (s *Service) signOutOf(ctx context.Context, tx *sqldb.Tx, who account.ID, client string) error {
	held, err := linesOf(ctx, tx, who, client)
	if err != nil {
		return err
	}
	live := held[:0]
	for _, g := range held {
		line, err := s.Sessions.LineOf(ctx, tx, who, g.line)
		if err != nil {
			return err
		}
		if line.Unended { // of the others it was told
			live = append(live, g)
		}
	}
	return s.writeLogouts(ctx, tx, who, live)
}
