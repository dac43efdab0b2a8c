package passkey

import (
	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
)

// Began returns the state of an enrolment with a challenge that is given, as test vectors have it.
func (s *Service) Began(tx *sqldb.Tx, bound string, challenge []byte, who account.ID) []byte {
	return s.with(tx, bound, challenge, ceremony{Enrols: true, Account: who})
}

// Asked returns that of a sign-in.
func (s *Service) Asked(tx *sqldb.Tx, bound string, challenge []byte, who account.ID) []byte {
	return s.with(tx, bound, challenge, ceremony{Account: who})
}

func (s *Service) with(tx *sqldb.Tx, bound string, challenge []byte, c ceremony) []byte {
	c = newCeremony(tx, c)
	c.Challenge = challenge
	b, err := s.begun(bound, c, nil)
	if err != nil {
		panic(err)
	}
	return b.State
}
