package profile

import (
	"context"
	"errors"
	"slices"
	"time"

	"countersign/internal/audit"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
)

// Self is the account as a whole, as its owner sees it. It holds no contact data.
type Self struct {
	Language string    // of letters
	EraseAt  time.Time // zero: it is not to be erased
	Fresh    bool      // the session may do what takes a fresh proof
}

// Self returns the owner's account as a whole.
func (s *Service) Self(ctx context.Context, me session.Session) (self Self, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		who, err := s.Accounts.Get(ctx, tx, me.Account)
		if err != nil {
			return err
		}
		st, err := s.Accounts.Standing(ctx, tx, me.Account)
		self = Self{Language: who.Language, EraseAt: st.EraseAt, Fresh: fresh(tx, me) == nil}
		return err
	})
	return self, err
}

// SetLanguage sets the language of letters to the owner. Every address is told in the language before: whoever
// got in must not have letters come that the owner cannot read. One that no letters are in is fault.Invalid
// "language_unknown". fault.Forbidden "reauthentication_required".
func (s *Service) SetLanguage(ctx context.Context, me session.Session, c signin.Client, language string) error {
	if !slices.Contains(message.Languages(), language) {
		return fault.New(fault.Invalid, "language_unknown", errors.New("there are no letters in it"))
	}
	e := event(me, c, audit.AccountChanged, "")
	e.Detail["language"] = language
	return s.change(ctx, e, func(tx *sqldb.Tx) (bool, error) {
		if err := s.proved(ctx, tx, me); err != nil {
			return false, err
		}
		who, err := s.Accounts.Get(ctx, tx, me.Account)
		if err != nil || who.Language == language {
			return false, err
		}
		if err := s.write(ctx, tx, by{me, c}, message.LanguageChanged); err != nil {
			return false, err
		}
		return true, s.Accounts.SetLanguage(ctx, tx, me.Account, language)
	})
}

// DisavowDeed protects the owner's account because something that was done in it was not them: everybody is
// signed out, this session too. What has changed since is taken back only if the proof is fresh (see
// protect.DisavowSigned), and no further back than the link of a letter does: a session must not undo more of
// what its owner did than a mailbox. ok is false if the account has no such deed that somebody else may have done.
func (s *Service) DisavowDeed(ctx context.Context, me session.Session, c signin.Client, id string) (ok bool, err error) {
	d, found, err := s.Deed(ctx, me, id)
	if err != nil || !found || !d.Foreign() {
		return false, err
	}
	since := d.At
	if now := s.DB.Now(); !d.Recent(now) {
		since = now.Add(-notice.LinkFor)
	}
	return true, s.Protect.DisavowSigned(ctx, me, c, since)
}
