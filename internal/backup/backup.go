// Package backup issues codes on paper, for when no other second proof is at hand. It owns the table
// backup_code.
//
// An account has one list of ten; each code works once, and a new list voids the old one. Tries are not
// counted here but by the caller's throttle.
package backup

import (
	"context"
	"time"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// Codes is how many a list has.
const Codes = 10

// Service issues backup codes. Ring is required.
type Service struct{ Ring *keyring.Ring }

// Reissue makes an account's list of codes, in place of the one there is, and returns it to be shown once: each is
// six groups of four. Of two made at once one holds, whole. The caller has seen a full sign-in
// (N-3.1.2.1-02), records it and tells the holder.
func (s *Service) Reissue(ctx context.Context, tx *sqldb.Tx, who account.ID) ([]secret.Token, error) {
	codes := make([]secret.Token, Codes)
	for i := range codes {
		codes[i] = secret.NewPaper()
		if err := put(ctx, tx, who, i+1, s.digest(who, codes[i])); err != nil {
			return nil, err
		}
	}
	return codes, nil
}

// Spend uses a code of the account's list up if it is one that is left, and returns how many are left then. Of any
// number of calls with one code, one is right. An account without a list, and a decoy, cost what a wrong code costs.
// The caller tells the holder that a code was used.
func (s *Service) Spend(ctx context.Context, tx *sqldb.Tx, who account.ID, typed secret.Token) (left int, right bool, err error) {
	if right, err = spend(ctx, tx, who, s.digest(who, typed)); err != nil || !right {
		return 0, false, err
	}
	left, _, err = s.Left(ctx, tx, who)
	return left, true, err
}

// Has reports whether the account has a code left.
func (s *Service) Has(ctx context.Context, tx *sqldb.Tx, who account.ID) (bool, error) {
	return has(ctx, tx, who)
}

// Left returns how many codes are left, and when the list was made: zero if there is none.
func (s *Service) Left(ctx context.Context, tx *sqldb.Tx, who account.ID) (left int, made time.Time, err error) {
	return remaining(ctx, tx, who)
}

// EndSince voids the account's list if it was made since a time: somebody else may have it.
func (s *Service) EndSince(ctx context.Context, tx *sqldb.Tx, who account.ID, since time.Time) (ended bool, err error) {
	return deleteSince(ctx, tx, who, since)
}

// Erase deletes the account's list for good.
func (s *Service) Erase(ctx context.Context, tx *sqldb.Tx, who account.ID) error {
	_, err := deleteSince(ctx, tx, who, time.UnixMilli(0))
	return err
}

// digest is what is stored. A list lies in a drawer for years, so it must outlive the keys, and it can: nobody
// guesses 120 bits. From 112 bits on a digest is enough; shorter codes would have to be hashed as passwords are
// (A-6.5.2, N-3.1.2.2-04), each of them at every try.
func (s *Service) digest(who account.ID, code secret.Token) []byte {
	return s.Ring.Stable("backup/"+string(who), secret.ReadPaper(code).Reveal())
}
