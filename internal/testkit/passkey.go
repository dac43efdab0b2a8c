package testkit

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/descope/virtualwebauthn"

	"countersign/internal/attestation/attestationtest"
)

// Passkey is a passkey in an authenticator of an implementation that is not ours. It verifies its user, is copied to
// other devices, and does not count.
type Passkey struct {
	t    testing.TB
	site virtualwebauthn.RelyingParty
	auth virtualwebauthn.Authenticator
	cred virtualwebauthn.Credential
	by   *attestationtest.Maker // nil: nobody attests it
}

// NewPasskey makes a passkey for a site's host, as it is on pages of an origin.
func NewPasskey(t testing.TB, host, origin string, kind virtualwebauthn.KeyType) *Passkey {
	p := &Passkey{t: t, site: virtualwebauthn.RelyingParty{ID: host, Origin: origin}, auth: virtualwebauthn.NewAuthenticator()}
	p.auth.Options.BackupEligible = true
	const whole = 77 // bytes: it leaves leading zeros out of coordinates, which the specification does not allow
	for p.cred = virtualwebauthn.NewCredential(kind); kind == virtualwebauthn.KeyTypeEC2 && len(p.cred.Key.AttestationData()) != whole; {
		p.cred = virtualwebauthn.NewCredential(kind)
	}
	return p
}

// Unverified has it no longer verify its user.
func (p *Passkey) Unverified() { p.auth.Options.UserNotVerified = true }

// Bound has it stay in one authenticator, and count: so a copy shows.
func (p *Passkey) Bound(count uint32) {
	p.auth.Options.BackupEligible = false
	p.cred.Counter = count
}

// MadeBy has a maker attest it, and it stays in one authenticator.
func (p *Passkey) MadeBy(m *attestationtest.Maker) {
	p.auth.Options.BackupEligible = false
	p.auth.Aaguid, p.by = m.AAGUID, m
}

// Create answers the options of an enrolment.
func (p *Passkey) Create(options []byte) []byte {
	p.t.Helper()
	o, err := virtualwebauthn.ParseAttestationOptions(string(options))
	if err != nil {
		p.t.Fatal(err)
	}
	p.auth.Options.UserHandle = []byte(o.UserID)
	answer := []byte(virtualwebauthn.CreateAttestationResponse(p.site, p.auth, p.cred, *o))
	if p.by == nil {
		return answer
	}
	return p.attested(answer)
}

func (p *Passkey) attested(answer []byte) []byte {
	p.t.Helper()
	var all map[string]any
	if err := json.Unmarshal(answer, &all); err != nil {
		p.t.Fatal(err)
	}
	response, _ := all["response"].(map[string]any)
	part := func(name string) []byte {
		text, _ := response[name].(string)
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			p.t.Fatal(err)
		}
		return raw
	}
	response["attestationObject"] = base64.RawURLEncoding.EncodeToString(p.by.Attest(part("attestationObject"), part("clientDataJSON")))
	answer, err := json.Marshal(all)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer
}

// Sign answers the options of a sign-in.
func (p *Passkey) Sign(options []byte) []byte {
	p.t.Helper()
	o, err := virtualwebauthn.ParseAssertionOptions(string(options))
	if err != nil {
		p.t.Fatal(err)
	}
	return []byte(virtualwebauthn.CreateAssertionResponse(p.site, p.auth, p.cred, *o))
}
