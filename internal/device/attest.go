package device

import (
	"errors"

	"countersign/internal/appkey"
	"countersign/internal/platform/fault"
)

var errUnattested = errors.New("no attestation of the key")

// judge looks at what a phone says of an enrolment's key, and keeps it for Remember. The key has been proved.
func (s *Service) judge(e *Enrolment, nonce string) error {
	e.attested = "" // the caller's transaction may run again
	if e.Attestation == nil {
		if s.RequireAttestation && !e.Browser {
			return fault.New(fault.Invalid, "attestation_required", errUnattested)
		}
		return nil
	}
	kind, err := s.Attestations.Judge(*e.Attestation, e.PublicKey, Statement("attest", s.Origin, nonce), s.DB.Now())
	switch {
	case errors.Is(err, appkey.ErrUnset):
		return fault.New(fault.Invalid, "attestation_unsupported", err)
	case err != nil:
		return fault.New(fault.Invalid, "attestation_refused", err)
	}
	e.attested = Strength(kind)
	return nil
}
