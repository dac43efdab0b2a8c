package profile

import (
	"context"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
	"countersign/internal/recovery"
	"countersign/internal/session"
)

// reviewEvery is how often owners are asked whether what their account is recovered by is still right (N-4.2.1.3-02).
const reviewEvery = 365 * 24 * time.Hour

// Overview is what protects an account, for its owner alone: it holds contact data.
type Overview struct {
	Account   account.Account
	Addresses []account.Address // oldest first
	Contacts  []recovery.Contact
	SavedCode bool // there is one; nobody can be shown it again
	Standing  account.Standing
	Fresh     bool // the session may change all this without another proof
	Frozen    bool // the session may change nothing of it for now
	// ReviewedAt is when the owner last said that all is still right; DueForReview that it was long ago.
	ReviewedAt   time.Time
	DueForReview bool
}

// Overview returns what protects the owner's account.
func (s *Service) Overview(ctx context.Context, me session.Session) (o Overview, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		o, err = s.overview(ctx, tx, me)
		return err
	})
	return o, err
}

func (s *Service) overview(ctx context.Context, tx *sqldb.Tx, me session.Session) (o Overview, err error) {
	if o.Account, err = s.Accounts.Get(ctx, tx, me.Account); err != nil {
		return Overview{}, err
	}
	if o.Addresses, err = s.Accounts.Addresses(ctx, tx, me.Account); err != nil {
		return Overview{}, err
	}
	if o.Contacts, err = s.Recovery.Contacts(ctx, tx, me.Account); err != nil {
		return Overview{}, err
	}
	if o.SavedCode, err = s.Recovery.HasSavedCode(ctx, tx, me.Account); err != nil {
		return Overview{}, err
	}
	if o.Standing, err = s.Accounts.Standing(ctx, tx, me.Account); err != nil {
		return Overview{}, err
	}
	if !o.Standing.FrozenUntil.IsZero() {
		known, err := s.known(ctx, tx, me, o.Standing)
		if err != nil {
			return Overview{}, err
		}
		o.Frozen = !known
	}
	if o.ReviewedAt, err = reviewed(ctx, tx, me.Account); err != nil {
		return Overview{}, err
	}
	since := o.ReviewedAt
	if since.IsZero() {
		since = o.Account.CreatedAt
	}
	o.DueForReview = tx.Now().Sub(since) >= reviewEvery
	o.Fresh = fresh(tx, me) == nil
	return o, nil
}

// Review notes that the owner has looked, and all that the account is recovered by is still right.
func (s *Service) Review(ctx context.Context, me session.Session) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error { return review(ctx, tx, me.Account) })
}
