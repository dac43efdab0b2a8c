// Package attestation says which models of authenticators passkeys are taken from. It knows them from a file of the FIDO
// Alliance's metadata service, which the operator fetches and names; nothing is asked of anybody outside.
//
// Which model an authenticator is of it says itself. Only a statement that leads to a certificate in the file makes
// that more than a claim, and Vet looks at it.
package attestation

import (
	"context"
	"crypto/sha1" //nolint:gosec // what the metadata service names certificates of old keys by; it proves nothing
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/metadata"
	"github.com/go-webauthn/webauthn/protocol"
	"github.com/google/uuid"

	"countersign/internal/platform/label"
	"countersign/internal/platform/reread"
)

// What a new passkey's authenticator must show.
const (
	None      = "none"      // nothing: attestation is not asked for
	Known     = "known"     // a statement of its maker's, of a model in the file
	Certified = "certified" // the same, of a model that the FIDO Alliance has certified
)

// Model names a model of authenticators: its AAGUID, or for old keys, which have none, the identifier of the key that attests them.
type Model string

// Denial is why a model is not taken; empty if it is.
type Denial string

// The denials.
const (
	Listed   Denial = "listed"   // by the operator
	Reported Denial = "reported" // it has a status in the file that the operator does not take
)

// Standing is what is known of a model now.
type Standing struct {
	Name   string // as its maker describes it; a hint for its holder
	Denied Denial
	// Hardware: certified, and keeps keys in hardware.
	Hardware bool
}

// Service judges models. A nil Service asks for nothing and knows none.
type Service struct {
	require     string
	signedBy    anchor
	allow, deny []Model
	statuses    []metadata.AuthenticatorStatus // denied
	now         func() time.Time
	log         *slog.Logger

	file reread.File[*blob]
	late bool // the one in use is past its time, and that was said; Load alone touches it
}

// Asks reports whether new passkeys must be attested.
func (s *Service) Asks() bool { return s != nil && s.require != None }

// Of is what is known of a model now. Nothing is, of most.
func (s *Service) Of(m Model) (st Standing) {
	if s == nil {
		return st
	}
	if b := s.file.Get(); b != nil && b.entries[m] != nil {
		st, _ = s.judge(b.entries[m])
	}
	if s.Asks() && slices.Contains(s.deny, m) {
		st.Denied = Listed
	}
	if st.Denied != "" {
		st.Hardware = false
	}
	return st
}

// judge says how a model of the file stands by its reports. One about some keys of a model is taken for one about all of
// them: which key somebody has, nobody can tell later.
func (s *Service) judge(e *metadata.Entry) (st Standing, certified bool) {
	st.Name = label.Clean(e.MetadataStatement.Description)
	for _, r := range metadata.EffectiveStatusReports(e.StatusReports, s.now()) {
		switch {
		case s.Asks() && slices.Contains(s.statuses, r.Status):
			st.Denied = Reported
		case strings.HasPrefix(string(r.Status), "FIDO_CERTIFIED"):
			certified = true
		case r.Status == metadata.NotFidoCertified, r.Status == metadata.Revoked, r.Status == metadata.Retired:
			certified = false
		}
	}
	keeps := e.MetadataStatement.KeyProtection
	st.Hardware = s.Asks() && certified && slices.Contains(keeps, "hardware") && !slices.Contains(keeps, "software")
	return st, certified
}

var (
	errNobody    = errors.New("no maker's certificate attests it: nothing does, or itself")
	errUnknown   = errors.New("no metadata has its model")
	errUnlisted  = errors.New("passkey.allow_models does not have its model")
	errDenied    = errors.New("passkey.deny_models has its model")
	errReported  = errors.New("its model has a status in passkey.deny_statuses")
	errUncertain = errors.New("its model is not certified")
)

// Vet judges the statement of a new passkey, of which the protocol has been verified. It returns the model that is attested, or
// in words for the operator why the passkey is not taken.
func (s *Service) Vet(ctx context.Context, o *protocol.AttestationObject) (m Model, refused string) {
	m, err := s.vet(ctx, o)
	if err != nil {
		return "", err.Error()
	}
	return m, ""
}

func (s *Service) vet(ctx context.Context, o *protocol.AttestationObject) (Model, error) {
	chain, _ := o.AttStatement["x5c"].([]any)
	m, err := modelOf(o, chain)
	if err != nil {
		return "", err
	}
	b := s.file.Get()
	if b == nil { // the library checks nothing without a file
		return "", errUnknown
	}
	aaguid := uuid.UUID(o.AuthData.AttData.AAGUID)
	// The library takes a statement without certificates for one that needs none: modelOf has refused it.
	if err := protocol.ValidateMetadataWithAuthenticatorData(ctx, b.provider, aaguid, o.Type, o.Format, chain, &o.AuthData); err != nil {
		return "", fmt.Errorf("model %s: %w: %s", m, err, err.DevInfo)
	}
	return m, s.takes(m, b.entries[m])
}

func (s *Service) takes(m Model, e *metadata.Entry) error {
	if e == nil {
		return fmt.Errorf("model %s: %w", m, errUnknown)
	}
	st, certified := s.judge(e)
	var why error
	switch {
	case slices.Contains(s.deny, m):
		why = errDenied
	case st.Denied != "":
		why = errReported
	case len(s.allow) > 0 && !slices.Contains(s.allow, m):
		why = errUnlisted
	case s.require == Certified && !certified:
		why = errUncertain
	default:
		return nil
	}
	return fmt.Errorf("model %s (%s): %w", m, st.Name, why)
}

// modelOf is the model that a statement with certificates is about.
func modelOf(o *protocol.AttestationObject, chain []any) (Model, error) {
	if len(chain) == 0 || len(o.AuthData.AttData.AAGUID) != len(uuid.Nil) {
		return "", errNobody
	}
	if aaguid := uuid.UUID(o.AuthData.AttData.AAGUID); aaguid != uuid.Nil {
		return Model(aaguid.String()), nil
	}
	raw, _ := chain[0].([]byte)
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		return "", errNobody
	}
	var key struct {
		Algorithm pkix.AlgorithmIdentifier
		Bits      asn1.BitString
	}
	if _, err := asn1.Unmarshal(cert.RawSubjectPublicKeyInfo, &key); err != nil {
		return "", errNobody
	}
	sum := sha1.Sum(key.Bits.Bytes) //nolint:gosec // as above (RFC 5280, 4.2.1.2, method 1)
	return Model(hex.EncodeToString(sum[:])), nil
}

// Refused tells the operator which model was not taken, and why: the person is told that it was not, and asks.
func (s *Service) Refused(ctx context.Context, why string) {
	s.log.LogAttrs(ctx, slog.LevelInfo, "passkey refused by its model", slog.String("why", why))
}
