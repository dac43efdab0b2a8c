// Package oidc is the OpenID provider: which applications there are, what they ask for, what people let them do, and the
// tokens that say so. It owns the tables oidc_client, oidc_invitation, oidc_key, oidc_request, oidc_pushed, oidc_grant, oidc_token,
// oidc_consent, oidc_assertion, oidc_logout, oidc_own_token and oidc_device.
//
// A request is kept on the server, and only the browser that brought it goes on with it. Who signs in, and how, is the
// sign-in machine's to decide: this package says what a request still lacks. A code and a refresh token are each spent by
// one statement; one that comes again ends everything that came of it.
package oidc

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/certificate"
	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/throttle"
)

// How long things last; docs/decisions/0030 has the reasons.
const (
	requestFor   = 30 * time.Minute
	codeFor      = time.Minute
	onwardFor    = 5 * time.Minute // a page leads on by itself; whoever has switched that off reads it first
	accessFor    = 10 * time.Minute
	idTokenFor   = 10 * time.Minute
	refreshFor   = 14 * 24 * time.Hour // unused
	grantFor     = 30 * 24 * time.Hour
	keyLead      = 10 * time.Minute // a key is published before it signs
	keyOverlap   = 24 * time.Hour   // and after
	formerFor    = 24 * time.Hour   // a client's secret, after the next one was made
	assertionFor = 5 * time.Minute
	ahead        = 10 * time.Second // how far a client's clock may be ahead
)

// The prefixes of what is handed out.
const (
	codePrefix    = "csg"
	accessPrefix  = "cst"
	refreshPrefix = "csx"
	secretPrefix  = "csk"
)

// Service is the provider. All fields are required but Listed and MTLS, and Post and Log where nobody is told that people are signed out.
type Service struct {
	DB       *sqldb.DB
	Ring     *keyring.Ring
	Audit    *audit.Log
	Throttle *throttle.Service
	Accounts *account.Service
	Sessions *session.Service
	SignIn   *signin.Service  // the machine behind the second door
	Issuer   string           // our public origin: what tokens call iss
	Listed   []Client         // those of the file of clients
	MTLS     certificate.Door // where clients show certificates (RFC 8705)
	// Post sends a logout token to an application. An error means that it has not taken it.
	Post func(ctx context.Context, to Client, token string) error
	Log  *slog.Logger

	keys    keyCache
	logouts logoutQueue
	lately  lately
}

// Refusal is an error in the words of OAuth (RFC 6749, OpenID Connect Core, RFC 9470). Why is ours, and repeats nothing that was sent.
type Refusal struct{ Word, Why string }

// Error returns the code and the reason.
func (r *Refusal) Error() string { return r.Word + ": " + r.Why }

func oauth(word, why string) error { return &Refusal{word, why} }

const (
	invalidRequest = "invalid_request"
	invalidClient  = "invalid_client"
	invalidGrant   = "invalid_grant"
	invalidToken   = "invalid_token"
	invalidProof   = "invalid_dpop_proof"
	unmet          = "unmet_authentication_requirements" // RFC 9470
)

// The limits; docs/operating.md has the reasons.
var (
	// beginSource and beginAll are of requests that browsers bring: each writes a row. They are those of a sign-in.
	beginSource = throttle.Rate{Name: "oidc/source", Burst: 60, Every: 2 * time.Second} //nolint:gochecknoglobals // a constant
	beginAll    = throttle.Rate{Name: "oidc/all", Burst: 5000, Every: time.Millisecond} //nolint:gochecknoglobals // a constant
	// failedSource is of calls that did not prove whose they are, or brought a code or token that is worth nothing. Both have
	// 256 bits, so this protects the log and the record more than them.
	failedSource = throttle.Rate{Name: "oidc/failed", Burst: 60, Every: 2 * time.Second} //nolint:gochecknoglobals // a constant
)

// failed counts a call that came to nothing; of too many the caller is told so instead of why.
func (s *Service) failed(ctx context.Context, from netip.Addr, refusal error) error {
	within := false
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		within, err = s.Throttle.TakeSource(ctx, tx, failedSource, from)
		return err
	})
	if err != nil {
		return err
	}
	if !within {
		return tooMany()
	}
	return refusal
}

func tooMany() error {
	return fault.Later(fault.TooMany, "too_many_attempts", time.Minute, errors.New("over a limit"))
}

// Prune deletes a bounded number of rows that are over and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) { return prune(ctx, tx) }

// Erase ends and deletes everything that applications were let do for an account.
func (s *Service) Erase(ctx context.Context, tx *sqldb.Tx, who account.ID) error {
	s.over(tx)
	return erase(ctx, tx, who)
}

// Holdings is what the tables have of the ring's keys.
func (s *Service) Holdings() []keyring.Holding {
	all := []keyring.Holding{s.Ring.Sealed(sealedKeys())}
	for _, c := range digested() {
		all = append(all, s.Ring.Digested(c))
	}
	return all
}
