package oidc

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	"countersign/internal/audit"
	"countersign/internal/certificate"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// MaxInvitation is how long an initial access token may be good for: somebody is to set an application up, not to keep the token.
const MaxInvitation = 30 * 24 * time.Hour

const (
	inviteError    = "invalid_client_metadata" // RFC 7591 section 3.2.2
	redirectError  = "invalid_redirect_uri"
	invitePrefix   = "cso"
	ownTokenPrefix = "csm"
)

// Metadata is what an application says of itself (RFC 7591 section 2). What is not here is ignored, as the RFC has it.
//
//arch:wire
type Metadata struct {
	Name         string          `json:"client_name"`
	RedirectURIs []string        `json:"redirect_uris"`
	Auth         AuthMethod      `json:"token_endpoint_auth_method,omitempty"`
	Grants       []string        `json:"grant_types,omitempty"`
	Responses    []string        `json:"response_types,omitempty"`
	Scope        string          `json:"scope,omitempty"`
	Keys         json.RawMessage `json:"jwks,omitempty"`
	KeysAt       string          `json:"jwks_uri,omitempty"` // refused: nothing here fetches an address that a client names
	SubjectType  string          `json:"subject_type,omitempty"`
	SectorAt     string          `json:"sector_identifier_uri,omitempty"` // refused, for the same reason
	Alg          string          `json:"id_token_signed_response_alg,omitempty"`
	DPoP         bool            `json:"dpop_bound_access_tokens"`
	PAR          bool            `json:"require_pushed_authorization_requests"`
	Signed       bool            `json:"require_signed_request_object"`
	Bound        bool            `json:"tls_client_certificate_bound_access_tokens"`
	certificate.Subject
	ID string `json:"client_id,omitempty"` // in an answer, and in a change
}

// Entry is an application that registered itself, with what is shown this once: a secret where it has one, and the token that changes it.
type Entry struct {
	Metadata

	CreatedAt     time.Time
	Secret, Token secret.Token
}

// Invite makes an initial access token: whoever has it may register one application.
func (s *Service) Invite(ctx context.Context, lasts time.Duration) (token secret.Token, err error) {
	token = secret.NewToken(invitePrefix)
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := putInvitation(ctx, tx, s.invitationDigest(token), tx.Now().Add(min(lasts, MaxInvitation))); err != nil {
			return err
		}
		return s.recordClient(ctx, tx, "", "invited")
	})
	return token, err
}

// WithdrawInvitations takes back those that were not used, and returns how many there were.
func (s *Service) WithdrawInvitations(ctx context.Context) (n int64, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if n, err = deleteInvitations(ctx, tx); err != nil || n == 0 {
			return err
		}
		return s.recordClient(ctx, tx, "", "invitations withdrawn")
	})
	return n, err
}

func (s *Service) invitationDigest(t secret.Token) []byte {
	return s.Ring.Stable("oidc/invitation", t.Reveal())
}

func (s *Service) ownDigest(id string, t secret.Token) []byte {
	return s.Ring.Stable("oidc/own/"+id, t.Reveal())
}

// reads makes the client of what an application says of itself, if there can be one here.
func (s *Service) reads(id string, m Metadata) (Client, error) {
	c, err := m.client(id)
	if err == nil && s.Possible(c) != nil {
		err = oauth(inviteError, "token_endpoint_auth_method and tls_client_certificate_bound_access_tokens: certificates are taken as our metadata says")
	}
	return c, err
}

// client makes the client of it. People are always asked to consent, and it knows them by names of its own: who has an invitation is not the operator.
func (m Metadata) client(id string) (Client, error) {
	c := Client{
		ID: id, Name: m.Name, RedirectURIs: m.RedirectURIs, Auth: m.Auth, Scopes: strings.Fields(m.Scope), Alg: m.Alg, Keys: string(m.Keys),
		DPoP: m.DPoP, RequirePAR: m.PAR, RequireSigned: m.Signed, CertificateBound: m.Bound, Subject: m.Subject,
	}
	switch {
	case len(m.RedirectURIs) == 0:
		return c, oauth(redirectError, "redirect_uris is missing")
	case m.KeysAt != "":
		return c, oauth(inviteError, "jwks_uri is not supported: send the keys as jwks")
	case m.SectorAt != "":
		return c, oauth(inviteError, "sector_identifier_uri is not supported: the redirect URIs are of one host")
	case m.SubjectType != "" && m.SubjectType != "pairwise":
		return c, oauth(inviteError, "subject_type is pairwise")
	case slices.Contains(c.Scopes, scopeEmail):
		return c, oauth(inviteError, "scope: who runs this server says which applications may ask for email")
	case slices.ContainsFunc(m.Grants, func(g string) bool { return g != "authorization_code" && g != "refresh_token" }):
		return c, oauth(inviteError, "grant_types are authorization_code and refresh_token")
	case slices.ContainsFunc(m.Responses, func(r string) bool { return r != "code" }):
		return c, oauth(inviteError, "response_types is code")
	}
	for _, uri := range m.RedirectURIs {
		if _, err := checkRedirect(uri, m.Auth == ByNothing); err != nil {
			return c, oauth(redirectError, "a redirect URI cannot be registered: "+err.Error())
		}
	}
	if slices.Contains(m.Grants, "refresh_token") && !slices.Contains(c.Scopes, scopeOffline) {
		if len(c.Scopes) == 0 {
			c.Scopes = []string{scopeOpenID}
		}
		c.Scopes = append(c.Scopes, scopeOffline)
	}
	if c.Check() != nil {
		return c, oauth(inviteError, "client_name (60 characters), token_endpoint_auth_method with what it needs, scope, jwks or id_token_signed_response_alg is missing or not among those in our metadata")
	}
	c.Sector = id // and not its host: it may name any, and would be told by what names others there know people
	return c, nil
}

// hosts are those that a client is answered at.
func (c Client) hosts() (all []string) {
	for _, uri := range c.RedirectURIs {
		all = append(all, hostOf(uri))
	}
	return all
}

// metadataOf is what is registered of a client that registered itself: nobody else's token reads one.
func metadataOf(c Client) Metadata {
	m := Metadata{
		ID: c.ID, Name: c.Name, RedirectURIs: c.RedirectURIs, Auth: c.Auth, Grants: []string{"authorization_code"}, Responses: []string{"code"},
		Scope: strings.Join(c.Scopes, " "), Keys: json.RawMessage(c.Keys), SubjectType: "pairwise", Alg: c.Alg, DPoP: c.DPoP, PAR: c.RequirePAR, Signed: c.RequireSigned,
		Bound: c.CertificateBound, Subject: c.Subject,
	}
	if slices.Contains(c.Scopes, scopeOffline) {
		m.Grants = append(m.Grants, "refresh_token")
	}
	return m
}

// Register registers an application for whoever has an invitation, which is used up by it. A refusal of what it says of itself uses up nothing.
func (s *Service) Register(ctx context.Context, with secret.Token, m Metadata, from netip.Addr) (e Entry, err error) {
	raw := make([]byte, 10)
	_, _ = rand.Read(raw) // never fails
	id := "app-" + strings.ToLower(base32.StdEncoding.EncodeToString(raw))
	c, refused := s.reads(id, m)
	invited := false
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		e = Entry{Token: secret.NewToken(ownTokenPrefix), CreatedAt: tx.Now()}
		invited, err = spendInvitation(ctx, tx, s.invitationDigest(with), refused == nil)
		if err != nil || !invited || refused != nil {
			return err
		}
		if err := putClient(ctx, tx, c); err != nil {
			return err
		}
		if err := setOwn(ctx, tx, id, s.ownDigest(id, e.Token)); err != nil {
			return err
		}
		if c.secretive() {
			if e.Secret, err = s.newSecret(ctx, tx, id); err != nil {
				return err
			}
		}
		e.Metadata = metadataOf(c)
		return s.recordSelf(ctx, tx, id, "registered")
	})
	switch {
	case err != nil:
		return Entry{}, err
	case !invited:
		return Entry{}, s.failed(ctx, from, oauth(invalidToken, "the initial access token is unknown, used or over"))
	case refused != nil:
		return Entry{}, refused
	}
	return e, s.EnsureKeys(ctx, c.Alg)
}

// Own returns what is registered of the application whose token somebody has (RFC 7592 section 2.1).
func (s *Service) Own(ctx context.Context, id string, with secret.Token, from netip.Addr) (e Entry, err error) {
	return s.own(ctx, id, with, from, func(*sqldb.Tx, Client) error { return nil })
}

// Amend replaces all of it (RFC 7592 section 2.2). What was given to it before stays as it was: tokens, the secret, and consents unless it is answered at
// another host now, which nobody has agreed to.
func (s *Service) Amend(ctx context.Context, id string, with secret.Token, m Metadata, from netip.Addr) (e Entry, err error) {
	c, refused := s.reads(id, m)
	if m.ID != id {
		refused = oauth(inviteError, "client_id is missing, or another's")
	}
	e, err = s.own(ctx, id, with, from, func(tx *sqldb.Tx, before Client) (err error) {
		if refused == nil && c.secretive() != before.secretive() {
			refused = oauth(inviteError, "token_endpoint_auth_method cannot be changed to or from one with a secret: register anew")
		}
		if refused != nil {
			return refused
		}
		s.over(tx)
		if err := putClient(ctx, tx, c); err != nil {
			return err
		}
		if slices.ContainsFunc(c.hosts(), func(h string) bool { return !slices.Contains(before.hosts(), h) }) {
			if err := deleteConsents(ctx, tx, id); err != nil {
				return err
			}
		}
		return s.recordSelf(ctx, tx, id, "changed")
	})
	if err != nil {
		return Entry{}, err
	}
	e.Metadata = metadataOf(c)
	return e, s.EnsureKeys(ctx, c.Alg)
}

// Deregister takes the application away, and ends everything that it was let do (RFC 7592 section 2.3).
func (s *Service) Deregister(ctx context.Context, id string, with secret.Token, from netip.Addr) error {
	_, err := s.own(ctx, id, with, from, func(tx *sqldb.Tx, _ Client) error {
		s.over(tx)
		if _, err := deleteClient(ctx, tx, id); err != nil {
			return err
		}
		return s.recordSelf(ctx, tx, id, "withdrawn")
	})
	return err
}

// own does something to an application in the transaction that has found whose token somebody has.
func (s *Service) own(ctx context.Context, id string, with secret.Token, from netip.Addr, do func(*sqldb.Tx, Client) error) (e Entry, err error) {
	known := false
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		known = clientID.MatchString(id)
		if known {
			known, err = ownedBy(ctx, tx, id, s.ownDigest(id, with))
		}
		if err != nil || !known {
			return err
		}
		r, err := registeredByID(ctx, tx, id)
		if err != nil {
			return err
		}
		e = Entry{Metadata: metadataOf(r.Client), CreatedAt: r.CreatedAt, Token: with}
		return do(tx, r.Client)
	})
	if err == nil && !known {
		err = s.failed(ctx, from, oauth(invalidToken, "the registration access token is not this application's"))
	}
	return e, err
}

func (s *Service) recordSelf(ctx context.Context, tx *sqldb.Tx, id, was string) error {
	return s.Audit.Append(ctx, tx, audit.Event{Kind: audit.ApplicationChanged, Actor: "system", Detail: map[string]string{"client": id, "was": was}})
}
