package recovery

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"countersign/internal/account"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// savedAlphabet has no letter that is taken for a digit or another letter (Crockford's base32).
const savedAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// savedLen characters are 120 bits (N-4.2.1.1-01 asks for 64).
const savedLen = 24

// NewSavedCode makes an account's saved recovery code, in place of the one there is, and returns it
// to be shown once: six groups of four. The caller records it and tells the holder (SavedCodeChanged).
func (s *Service) NewSavedCode(ctx context.Context, tx *sqldb.Tx, id account.ID) (secret.Token, error) {
	code := newSavedCode()
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

func newSavedCode() secret.Token {
	raw := make([]byte, savedLen)
	_, _ = rand.Read(raw) // never fails
	var b strings.Builder
	for i, r := range raw {
		if i > 0 && i%4 == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(savedAlphabet[r%32])
	}
	return secret.Of(b.String())
}

// plainSaved is the code as it was meant, however it was typed: small letters, other hyphens or none,
// and the letters that the alphabet leaves out, for the digits they are taken for.
func plainSaved(typed secret.Token) secret.Token {
	var b strings.Builder
	for _, r := range strings.ToUpper(typed.Reveal()) {
		switch r {
		case 'O':
			r = '0'
		case 'I', 'L':
			r = '1'
		}
		if strings.ContainsRune(savedAlphabet, r) {
			b.WriteRune(r)
		}
	}
	return secret.Of(b.String())
}

// savedDigest is what is stored. A saved code lies in a drawer for years, so it must outlive the keys, and it
// can: nobody guesses 120 bits.
func (s *Service) savedDigest(id account.ID, code secret.Token) []byte {
	return s.Ring.Stable("recovery/saved/"+string(id), plainSaved(code).Reveal())
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
