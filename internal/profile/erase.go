package profile

import (
	"context"
	"fmt"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
)

// Eraser deletes what a package keeps of an account.
type Eraser func(ctx context.Context, tx *sqldb.Tx, id account.ID) error

// AskErase has the owner's account erased when the grace time is over, and returns when that is. Until then
// nothing of it changes but that every other session ends: whoever can sign in can call it off, and every
// address has a link that does so too. Asking again changes nothing. fault.Forbidden "reauthentication_required".
func (s *Service) AskErase(ctx context.Context, me session.Session, c signin.Client) (at time.Time, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.proved(ctx, tx, me); err != nil {
			return err
		}
		at = tx.Now().Add(s.EraseAfter)
		asked, err := s.Accounts.AskErase(ctx, tx, me.Account, at)
		if err != nil {
			return err
		}
		if !asked {
			st, err := s.Accounts.Standing(ctx, tx, me.Account)
			at = st.EraseAt
			return err
		}
		if err := s.Sessions.EndOthers(ctx, tx, me.Account, me.ID); err != nil {
			return err
		}
		return s.sayErase(ctx, tx, by{me, c}, notice.Event{Kind: message.EraseAsked, Ends: at})
	})
	return at, err
}

// Keep calls the erasure of the owner's account off. kept is false if there was none to call off.
func (s *Service) Keep(ctx context.Context, me session.Session, c signin.Client) (kept bool, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.alone(ctx, tx, me); err != nil {
			return err
		}
		if kept, err = s.Accounts.Keep(ctx, tx, me.Account); err != nil || !kept {
			return err
		}
		return s.sayErase(ctx, tx, by{me, c}, notice.Event{Kind: message.EraseStopped})
	})
	return kept, err
}

// sayErase records it and tells every address.
func (s *Service) sayErase(ctx context.Context, tx *sqldb.Tx, b by, n notice.Event) error {
	kind := map[message.Kind]audit.Kind{message.EraseAsked: audit.EraseAsked, message.EraseStopped: audit.EraseStopped}[n.Kind]
	if err := s.Audit.Append(ctx, tx, event(b.me, b.from, kind, "")); err != nil {
		return err
	}
	n.Account, n.Source, n.Device = b.me.Account, b.from.Source, device.NameOf(b.from.UserAgent)
	return s.SignIn.Notices.Tell(ctx, tx, n)
}

// Erase erases an account for an operator: at once, locked or closed or not, or after a time, in which its
// holder may keep it. No letter says so: the operator knows why, and tells. fault.NotFound "account_unknown".
func (s *Service) Erase(ctx context.Context, id account.ID, after time.Duration) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		who, err := s.Accounts.Get(ctx, tx, id)
		if err != nil {
			return err
		}
		if who.State == account.Decoy {
			return fault.New(fault.NotFound, "account_unknown", nil)
		}
		if after == 0 {
			return s.EraseNow(ctx, tx, who, "operator")
		}
		if err := s.Accounts.EraseAt(ctx, tx, id, tx.Now().Add(after)); err != nil {
			return err
		}
		return s.Audit.Append(ctx, tx, audit.Event{Kind: audit.EraseAsked, Account: string(id), Actor: "operator"})
	})
}

// EraseNow erases an account that is no decoy, in the caller's transaction. actor is who wants it.
func (s *Service) EraseNow(ctx context.Context, tx *sqldb.Tx, who account.Account, actor string) error {
	if err := s.Accounts.EraseAt(ctx, tx, who.ID, tx.Now()); err != nil {
		return err
	}
	if who.State == account.Locked {
		if err := s.Accounts.Unlock(ctx, tx, who.ID); err != nil {
			return err
		}
	}
	_, err := s.erase(ctx, tx, who.ID, actor)
	return err
}

// EraseDue erases a bounded number of accounts whose time has come, and returns how many. Any number of nodes
// may call it: each account is one transaction, and one node's.
func (s *Service) EraseDue(ctx context.Context) (n int, err error) {
	const batch = 20
	var due []account.ID
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		due, err = s.Accounts.DueForErasure(ctx, tx, batch)
		return err
	})
	for _, id := range due {
		if err != nil {
			return n, err
		}
		var erased bool
		err = s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
			erased, err = s.erase(ctx, tx, id, "system")
			return err
		})
		if erased && err == nil {
			n++
		}
	}
	return n, err
}

func (s *Service) erase(ctx context.Context, tx *sqldb.Tx, id account.ID, actor string) (bool, error) {
	erased, err := s.Accounts.Erase(ctx, tx, id)
	if err != nil || !erased {
		return false, err
	}
	if err := erase(ctx, tx, id); err != nil {
		return false, err
	}
	for i, erase := range s.Erasers {
		if err := erase(ctx, tx, id); err != nil {
			return false, fmt.Errorf("eraser %d: %w", i, err)
		}
	}
	return true, s.Audit.Append(ctx, tx, audit.Event{Kind: audit.AccountErased, Account: string(id), Actor: actor})
}
