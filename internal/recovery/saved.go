package recovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"countersign/internal/account"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// NewSavedCode makes an account's saved recovery code, in place of the one there is, and returns it
// to be shown once: six groups of four. The caller records it and tells the holder (SavedCodeChanged).
func (s *Service) NewSavedCode(ctx context.Context, tx *sqldb.Tx, id account.ID) (secret.Token, error) {
	code := secret.NewPaper()
	if err := putSavedCode(ctx, tx, s.savedRow(id, code)); err != nil {
		return secret.Token{}, fmt.Errorf("write the saved code of %s: %w", id, err)
	}
	return code, nil
}

// HasSavedCode reports whether an account has one.
func (s *Service) HasSavedCode(ctx context.Context, tx *sqldb.Tx, id account.ID) (bool, error) {
	stored, err := savedCode(ctx, tx, s.savedLookup(id))
	return stored != nil, err
}

// DropSavedCode removes an account's saved code. The caller records it and tells the holder.
func (s *Service) DropSavedCode(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
	return deleteSavedCode(ctx, tx, s.savedLookup(id))
}

// EnsureDummies writes a saved code that nobody knows for each of the accounts that has none, so that
// looking for that of a decoy reads a row as well (password.EnsureDummies has the reasons). The last of
// the accounts is written last; if it has one, all have. It also writes the contacts that stand in for those
// whom nobody named.
func (s *Service) EnsureDummies(ctx context.Context, accounts []account.ID) error {
	if len(accounts) == 0 {
		return nil
	}
	there, standIns := false, false
	err := s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		has, err := s.HasSavedCode(ctx, tx, accounts[len(accounts)-1])
		all, err2 := contacts(ctx, tx, account.Last, MaxContacts)
		there, standIns = has, len(all) == MaxContacts
		return errors.Join(err, err2)
	})
	if err == nil && !standIns {
		err = s.ensureStandIns(ctx)
	}
	if err != nil || there {
		return err
	}
	const batch = 64 // keeps each transaction short
	for some := range slices.Chunk(accounts, batch) {
		err := s.DB.Write(ctx, func(tx *sqldb.Tx) error {
			for _, id := range some {
				if _, err := s.NewSavedCode(ctx, tx, id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// savedDigest is what is stored. A saved code lies in a drawer for years, so it must outlive the keys, and it
// can: nobody guesses 120 bits (N-4.2.1.1-01 asks for 64).
func (s *Service) savedDigest(id account.ID, code secret.Token) []byte {
	return s.Ring.Stable("recovery/saved/"+string(id), secret.ReadPaper(code).Reveal())
}

// savedLookup is where an account's saved code stands, whatever the keys. That of account.Last comes after all others.
func (s *Service) savedLookup(id account.ID) []byte {
	lookup := s.Ring.Stable("recovery/saved", string(id))
	if id == account.Last {
		lookup = bytes.Repeat([]byte{0xff}, len(lookup)) // which no digest will be
	}
	return lookup
}

func (s *Service) savedRow(id account.ID, code secret.Token) savedRow {
	return savedRow{account: id, lookup: s.savedLookup(id), digest: s.savedDigest(id, code)}
}
