package signin

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/keyring"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/platform/sqldb"
	"countersign/internal/throttle"
)

// graceForTyping is how long somebody who mistyped a code has to type the right one before the
// holder is told that somebody knows the password. It is told later, by TellFailures, also because
// what is written in the request itself would take time, and tell that the password was right.
const graceForTyping = time.Minute

// failedFrom is whence a wrong code came.
type failedFrom struct {
	Source netip.Addr `json:"source"`
	Device string     `json:"device"`
}

func (s *Service) noteFailed(ctx context.Context, tx *sqldb.Tx, f flow) error {
	raw, err := json.Marshal(failedFrom{f.From.Source, device.NameOf(f.From.UserAgent)})
	if err != nil {
		return err
	}
	return setFailed(ctx, tx, f.ID, s.Ring.Seal(raw, failedPlace(f.ID)))
}

func failedPlace(id string) keyring.Place {
	return keyring.Place{Table: "signin_flow", Row: id, Column: "failed_from"}
}

// TellFailures tells the holders of flows that had the right password and no right code for a while
// (A-6.3.5, C-MF-07): once an hour at most, and never of a wrong password. It returns how many flows
// it looked at; any number of nodes may call it.
func (s *Service) TellFailures(ctx context.Context, tx *sqldb.Tx) (int, error) {
	flows, err := takeFailed(ctx, tx, tx.Now().Add(-graceForTyping))
	if err != nil {
		return 0, err
	}
	for _, f := range flows {
		if f.barred || f.step != StepSecond {
			continue
		}
		if err := s.tellFailure(ctx, tx, f); err != nil {
			return 0, err
		}
	}
	return len(flows), nil
}

func (s *Service) tellFailure(ctx context.Context, tx *sqldb.Tx, f failedFlow) error {
	who, err := s.Accounts.Get(ctx, tx, f.account)
	if err != nil || who.State != account.Active {
		return err
	}
	once := throttle.Rate{Name: "notice/second_failed", Burst: 1, Every: time.Hour}
	if ok, err := s.Throttle.Take(ctx, tx, once, string(who.ID)); err != nil || !ok {
		return err
	}
	var from failedFrom
	raw, err := s.Ring.Open(f.from, failedPlace(f.id))
	if err == nil {
		err = json.Unmarshal(raw, &from)
	}
	if err != nil {
		return err
	}
	return s.Notices.Tell(ctx, tx, notice.Event{Kind: message.SecondFailed, Account: who.ID, Source: from.Source, Device: from.Device})
}
