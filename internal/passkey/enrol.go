package passkey

import (
	"context"
	"math/big"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/attestation"
	"countersign/internal/platform/label"
	"countersign/internal/platform/sqldb"
)

// Enrol asks for a new passkey.
type Enrol struct {
	// Bound is what the answer must come with: the id of a flow or session, say, that nobody else has.
	Bound   string
	Account account.ID
	// Name and Shown are what the authenticator calls the account: an address, and a person's name.
	Name, Shown string
	// Required refuses a passkey that does not verify its user. Otherwise it is asked to, and Passkey says whether it did.
	Required bool
}

// BeginEnrol begins the enrolment of a passkey. The caller has seen enough proofs of the account's for a
// new one (N-4.1.2.1-03). It is refused with Full alone.
func (s *Service) BeginEnrol(ctx context.Context, tx *sqldb.Tx, e Enrol) (Begun, Refusal, error) {
	has, err := list(ctx, tx, e.Account)
	if err != nil {
		return Begun{}, "", err
	}
	if len(has) >= MaxPerAccount {
		return Begun{}, Full, nil
	}
	resident := protocol.ResidentKeyRequirementPreferred // old security keys cannot keep one that autofill finds, and are still a second factor
	if s.Found {
		resident = protocol.ResidentKeyRequirementRequired
	}
	conveys := protocol.PreferNoAttestation
	if s.Models.Asks() {
		conveys = protocol.PreferDirectAttestation
	}
	c := newCeremony(tx, ceremony{Enrols: true, Account: e.Account, Required: e.Required})
	b, err := s.begun(e.Bound, c, protocol.PublicKeyCredentialCreationOptions{
		RelyingParty: protocol.RelyingPartyEntity{ID: s.RPID, CredentialEntity: protocol.CredentialEntity{Name: s.Site}},
		User: protocol.UserEntity{
			ID: protocol.URLEncodedBase64(s.handle(e.Account)), DisplayName: e.Shown, CredentialEntity: protocol.CredentialEntity{Name: e.Name},
		},
		Challenge: c.Challenge, Parameters: parameters(), Timeout: timeout(), CredentialExcludeList: s.descriptors(has),
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: resident, RequireResidentKey: &s.Found, UserVerification: c.verification(),
		},
		Attestation: conveys,
	})
	return b, "", err
}

// parameters are the algorithms that we take, the one that we like best first.
func parameters() (all []protocol.CredentialParameter) {
	for _, alg := range []webauthncose.COSEAlgorithmIdentifier{webauthncose.AlgES256, webauthncose.AlgEdDSA, webauthncose.AlgRS256} {
		all = append(all, protocol.CredentialParameter{Type: protocol.PublicKeyCredentialType, Algorithm: alg})
	}
	return all
}

// FinishEnrol writes the passkey that an answer brings, under a name that its holder will know it by. The caller
// records it and tells the holder (N-4.1.2.1-04).
func (s *Service) FinishEnrol(ctx context.Context, tx *sqldb.Tx, a Answer, name string) (Passkey, Refusal, error) {
	c, open := s.resume(tx, a, true)
	if !open {
		return Passkey{}, Stale, nil
	}
	parsed, ok := parseCreation(a.Response)
	if !ok {
		return Passkey{}, Malformed, nil
	}
	flags := parsed.Response.AttestationObject.AuthData.Flags
	switch {
	case !s.attested(parsed, c):
		return Passkey{}, Wrong, nil
	case c.Required && !flags.HasUserVerified():
		return Passkey{}, Unverified, nil
	}
	var model attestation.Model
	if s.Models.Asks() {
		var why string
		if model, why = s.Models.Vet(ctx, &parsed.Response.AttestationObject); why != "" {
			tx.AfterCommit(func() { s.Models.Refused(ctx, why) })
			return Passkey{}, Untaken, nil
		}
	}
	first, err := c.spend(ctx, tx)
	if err != nil || !first {
		return Passkey{}, Replayed, err
	}
	has, err := list(ctx, tx, c.Account)
	if err != nil || len(has) >= MaxPerAccount { // two at once may make one more: the number is there for lists, and protects nobody
		return Passkey{}, Full, err
	}
	r, err := s.newRow(parsed, c.Account, model, name)
	if err != nil {
		return Passkey{}, "", err
	}
	fresh, err := put(ctx, tx, r)
	if err != nil || !fresh {
		return Passkey{}, Taken, err
	}
	r.CreatedAt = time.UnixMilli(tx.Now().UnixMilli())
	return s.show(r), "", nil
}

func parseCreation(response []byte) (*protocol.ParsedCredentialCreationData, bool) {
	if len(response) > maxResponse {
		return nil, false
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	return parsed, err == nil
}

// attested reports whether the answer is a new passkey for us, and one that we can use (section 7.1 of the specification).
func (s *Service) attested(p *protocol.ParsedCredentialCreationData, c ceremony) bool {
	object := &p.Response.AttestationObject
	data := object.AuthData
	if !s.Models.Asks() { // then its statement says nothing to us, and one by a maker that the library does not know is no reason to refuse a key
		object.Format, object.AttStatement, object.SubStatements = string(protocol.AttestationFormatNone), nil, nil
	}
	if !s.ours(p.Response.CollectedClientData) || !consistent(data.Flags) || !usable(data.AttData) {
		return false
	}
	_, err := p.Verify(c.challenge(), s.RPID, s.Origins, nil, nil, protocol.TopOriginExplicitVerificationMode, false, false, true,
		nil, parameters(), protocol.AttestationPolicy{}, protocol.SignaturePolicy{})
	return err == nil
}

// consistent reports whether the flags agree: what cannot be backed up is not.
func consistent(f protocol.AuthenticatorFlags) bool {
	return f.HasBackupEligible() || !f.HasBackupState()
}

const (
	// minCredentialID is what the specification asks of authenticators, in bytes (section 4, "Credential ID").
	minCredentialID = 16

	// Keys of RSA have 2048 bits as authenticators make them. Fewer are weak (N-3.1.6.2-02), and with more than 4096
	// somebody could make us work: the time grows with the square.
	minRSA, maxRSA = 2048, 4096
)

// usable reports whether a key is what its algorithm asks for, and strong enough. The library sees to it that it is
// a point of its curve.
func usable(d protocol.AttestedCredentialData) bool {
	if len(d.CredentialID) < minCredentialID {
		return false
	}
	key, err := webauthncose.ParsePublicKey(d.CredentialPublicKey)
	if err != nil {
		return false
	}
	switch k := key.(type) {
	case webauthncose.EC2PublicKeyData:
		return k.Algorithm == int64(webauthncose.AlgES256) && k.Curve == int64(webauthncose.P256)
	case webauthncose.OKPPublicKeyData:
		return k.Algorithm == int64(webauthncose.AlgEdDSA) && k.Curve == int64(webauthncose.Ed25519)
	case webauthncose.RSAPublicKeyData:
		bits := new(big.Int).SetBytes(k.Modulus).BitLen()
		return k.Algorithm == int64(webauthncose.AlgRS256) && bits >= minRSA && bits <= maxRSA
	default:
		return false
	}
}

func (s *Service) newRow(p *protocol.ParsedCredentialCreationData, who account.ID, model attestation.Model, name string) (row, error) {
	data := p.Response.AttestationObject.AuthData
	r := row{
		Passkey: Passkey{
			ID: ID(uuid.Must(uuid.NewV7()).String()), DeviceBound: !data.Flags.HasBackupEligible(), BackedUp: data.Flags.HasBackupState(),
			UserVerified: data.Flags.HasUserVerified(),
		},
		account: who, lookup: s.lookup(data.AttData.CredentialID), signCount: data.Counter,
	}
	if name = label.Clean(name); name == "" {
		name = "Passkey"
	}
	r.name = s.Ring.Seal([]byte(name), place(r.ID, nameColumn))
	c := credential{ID: data.AttData.CredentialID, PublicKey: data.AttData.CredentialPublicKey, Transports: known(p.Response.Transports), Attested: model}
	copy(c.AAGUID[:], data.AttData.AAGUID)
	var err error
	r.credential, err = s.seal(r.ID, c)
	return r, err
}

// known are those of the transports that the specification has, each once and in order: what is not known helps no
// browser, and would tell one account's list from another's.
func known(all []protocol.AuthenticatorTransport) (out []protocol.AuthenticatorTransport) {
	for _, t := range []protocol.AuthenticatorTransport{
		protocol.BLE, protocol.Hybrid, protocol.Internal, protocol.NFC, protocol.SmartCard, protocol.USB,
	} {
		if slices.Contains(all, t) {
			out = append(out, t)
		}
	}
	return out
}
