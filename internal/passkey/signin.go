package passkey

import (
	"context"
	"crypto/hmac"
	"encoding/hex"

	"github.com/go-webauthn/webauthn/protocol"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
)

// Signin asks for a passkey that is there.
type Signin struct {
	// Bound is what the answer must come with: the id of a flow, or the secret of a browser that has none yet.
	Bound string
	// Account is whose passkey it must be; its passkeys are listed. Empty asks for any that the authenticator has for
	// us, as autofill does, and the answer says whose it is.
	Account account.ID
	// Required refuses an answer whose user was not verified. Otherwise it is asked for, and Verdict says whether it was.
	Required bool
}

// Verdict is what an answer proved.
type Verdict struct {
	Account account.ID
	Passkey ID
	// UserVerified: it was two factors at once. False is one (N-3.1.7.2-01).
	UserVerified bool
	// DeviceBound: it cannot have been copied, as it says itself.
	DeviceBound bool
	// Hardware: its maker attested a certified model that keeps keys in hardware, and nothing speaks against that model.
	Hardware bool
	BackedUp bool
	// Challenge is what was signed, in base64url.
	Challenge string
	// WentBack: its counter did not go forward, so there may be a copy where none can be. The caller records it, and decides.
	WentBack bool
}

// BeginSignin begins a ceremony. A list of an account's passkeys is for those who have proved something already
// (R-WA-06): one that changes is somebody's, and one that two names share is one person's. Invented ones for
// names that nobody has would hide neither.
func (s *Service) BeginSignin(ctx context.Context, tx *sqldb.Tx, q Signin) (Begun, error) {
	c := newCeremony(tx, ceremony{Account: q.Account, Required: q.Required})
	options := protocol.PublicKeyCredentialRequestOptions{
		Challenge: c.Challenge, Timeout: timeout(), RelyingPartyID: s.RPID, UserVerification: c.verification(),
	}
	if q.Account != "" {
		has, err := list(ctx, tx, q.Account)
		if err != nil {
			return Begun{}, err
		}
		options.AllowedCredentials = s.descriptors(has)
	}
	b, err := s.begun(q.Bound, c, options)
	b.Listed = len(options.AllowedCredentials)
	return b, err
}

// Verify judges an answer. Of any number of the same, one is taken. With Untaken too the verdict says whose passkey it is: it has
// signed, and nothing but its model is wrong.
func (s *Service) Verify(ctx context.Context, tx *sqldb.Tx, a Answer) (Verdict, Refusal, error) {
	c, open := s.resume(tx, a, false)
	if !open {
		return Verdict{}, Stale, nil
	}
	parsed, ok := parseAssertion(a.Response)
	if !ok {
		return Verdict{}, Malformed, nil
	}
	r, found, err := byLookup(ctx, tx, s.lookup(parsed.RawID))
	if err != nil {
		return Verdict{}, "", err
	}
	cred, live := credential{PublicKey: standInKey()}, found && r.EndedAt.IsZero()
	opens := true
	if live {
		if cred, err = s.open(r); err != nil {
			cred, opens = credential{PublicKey: standInKey()}, false
		}
	}
	signed := s.signed(parsed, c, cred.PublicKey) // with the stand-in's key too, which takes the same time
	model := s.Models.Of(cred.model())
	verified := r.UserVerified && parsed.Response.AuthenticatorData.Flags.HasUserVerified()
	switch {
	case !live:
		return Verdict{}, Unknown, nil
	case !opens || !signed || !s.fits(r, parsed, a.Account, c.Account):
		return Verdict{}, Wrong, nil
	case c.Required && !verified:
		return Verdict{}, Unverified, nil
	}
	if first, err := c.spend(ctx, tx); err != nil || !first {
		return Verdict{}, Replayed, err
	}
	if model.Denied != "" {
		return Verdict{Account: r.account, Passkey: r.ID}, Untaken, nil
	}
	data := parsed.Response.AuthenticatorData
	live, back, err := use(ctx, tx, r.ID, data.Counter, data.Flags.HasBackupState())
	if err != nil || !live {
		return Verdict{}, Unknown, err
	}
	return Verdict{
		Account: r.account, Passkey: r.ID, UserVerified: verified, DeviceBound: r.DeviceBound,
		Hardware: r.DeviceBound && cred.Attested != "" && model.Hardware, BackedUp: data.Flags.HasBackupState(),
		Challenge: c.challenge(), WentBack: back,
	}, "", nil
}

func parseAssertion(response []byte) (*protocol.ParsedCredentialAssertionData, bool) {
	if len(response) > maxResponse {
		return nil, false
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	return parsed, err == nil
}

// signed reports whether the answer is to this challenge, for us, and made with the key (section 7.2 of the specification).
func (s *Service) signed(p *protocol.ParsedCredentialAssertionData, c ceremony, key []byte) bool {
	err := p.Verify(c.challenge(), s.RPID, "", s.Origins, nil, nil, protocol.TopOriginExplicitVerificationMode, false, false, true,
		key, protocol.SignaturePolicy{})
	return err == nil && s.ours(p.Response.CollectedClientData) && consistent(p.Response.AuthenticatorData.Flags)
}

// fits reports whether the passkey is of the account that it must be of, and is still what it was. An authenticator
// need not say whose it is where the account is known.
func (s *Service) fits(r row, p *protocol.ParsedCredentialAssertionData, wanted, asked account.ID) bool {
	for _, who := range []account.ID{wanted, asked} {
		if who != "" && who != r.account {
			return false
		}
	}
	user := p.Response.UserHandle
	if len(user) == 0 {
		return asked != "" && r.DeviceBound == !p.Response.AuthenticatorData.Flags.HasBackupEligible()
	}
	return hmac.Equal(user, s.handle(r.account)) && r.DeviceBound == !p.Response.AuthenticatorData.Flags.HasBackupEligible()
}

// standInKey is a public key of the commonest kind, for answers with a credential that nobody has: that of the
// specification's first test vector (section 16.2). What it verifies is refused all the same.
func standInKey() []byte {
	key, _ := hex.DecodeString("a5010203262001215820afefa16f97ca9b2d23eb86ccb64098d20db90856062eb249c33a9b672f26df61" +
		"225820930a56b87a2fca66334b03458abf879717c12cc68ed73290af2e2664796b9220")
	return key
}
