package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/audit"
	"countersign/internal/certificate"
	"countersign/internal/dpop"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

// grant is what a client was let do for an account.
type grant struct {
	id            string
	client        string
	account       account.ID
	session       session.ID // the first of its line
	scopes        []string
	challenge     string
	nonce         string
	redirect      string
	key           confirmation // what its tokens are bound to; before the code is used, what was announced
	methods       []string
	authenticated time.Time
	expires       time.Time
	ended         bool
	reference     string // what the application calls the account, of one of its own; only where an ID token is made
}

const (
	kindAccess  = "access"
	kindRefresh = "refresh"

	codePurpose  = "oidc/code"
	tokenPurpose = "oidc/token"
)

// token is an access or a refresh token.
type token struct {
	grant, kind      string
	scopes           []string
	key              confirmation
	created, expires time.Time
	used             bool
}

// Tokens is what the token endpoint hands out.
type Tokens struct {
	Access, Refresh secret.Token    // Refresh is empty where there is none, and where the one that was shown stays good
	Key             dpop.Thumbprint // that Access is bound to; empty for none, and for a certificate
	ID              string          // a JWT; empty where openid was not asked for
	Scopes          []string
	For             time.Duration // how long Access lasts
}

// issued is what a transaction decided, before anything is signed.
type issued struct {
	Tokens

	grant grant
	code  bool // by a code: the nonce is told once
}

// grantTypes are what the token endpoint takes.
func grantTypes() []string {
	return []string{"authorization_code", "refresh_token", "client_credentials", deviceGrant}
}

var errGrant = oauth(invalidGrant, "the code or token is not good: unknown, used, over, another client's, or for another redirect URI or verifier")

// verifier is what RFC 7636 section 4.1 takes.
var verifier = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// Exchange answers a call of the token endpoint by a client that has proved who it is.
func (s *Service) Exchange(ctx context.Context, c Client, form url.Values, by Caller) (Tokens, error) {
	var out issued
	var err error
	if by.holder, err = c.binds(by); err != nil {
		return Tokens{}, err
	}
	switch form.Get("grant_type") {
	case "authorization_code":
		out, err = s.redeem(ctx, c, form, by)
	case "refresh_token":
		out, err = s.refresh(ctx, c, form, by)
	case deviceGrant:
		out, err = s.poll(ctx, c, form, by)
	case "client_credentials":
		return s.ofItself(ctx, c, form, by.holder)
	case "":
		return Tokens{}, oauth(invalidRequest, "grant_type is missing")
	default:
		return Tokens{}, oauth("unsupported_grant_type", "grant_type must be one of "+strings.Join(grantTypes(), ", "))
	}
	if err != nil {
		return Tokens{}, err
	}
	if out.Access.Empty() {
		return Tokens{}, s.failed(ctx, by.Source, errGrant)
	}
	if slices.Contains(out.grant.scopes, scopeOpenID) {
		out.ID, err = s.idToken(ctx, c, out)
	}
	return out.Tokens, err
}

// redeem exchanges a code. One that was used before ends everything that came of it (RFC 9700 section 4.2.4): one of the two
// that had it is a thief, and nobody can tell which.
func (s *Service) redeem(ctx context.Context, c Client, form url.Values, by Caller) (out issued, err error) {
	r := redemption{client: c.ID, redirect: form.Get("redirect_uri"), key: by.holder}
	if text := form.Get("code_verifier"); text != "" {
		if !verifier.MatchString(text) {
			return issued{}, oauth(invalidRequest, "code_verifier has a form that no verifier has")
		}
		sum := sha256.Sum256([]byte(text))
		r.challenge = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	code := secret.Of(form.Get("code"))
	if code.Empty() {
		return issued{}, oauth(invalidRequest, "code is missing")
	}
	if !code.WellFormed(codePrefix) {
		return issued{}, nil
	}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		out, r.codes = issued{}, s.Ring.Digests(codePurpose, code)
		g, ok, err := spendCode(ctx, tx, r)
		if err != nil {
			return err
		}
		if !ok {
			g, used, err := codeUsed(ctx, tx, c.ID, r.codes)
			if err != nil || !used {
				return err
			}
			return s.replayed(ctx, tx, g, "code", by.Source)
		}
		if g.ofDoor() {
			if _, g.reference, err = s.Accounts.Named(ctx, tx, g.account); err != nil {
				return err
			}
		}
		out, err = s.issue(ctx, tx, g, g.scopes)
		out.code = true
		return err
	})
	return out, err
}

// refresh exchanges a refresh token for the next one. One that was used before ends its family, whoever sends it. One that is worth nothing without
// a private key stays as it is (bound).
func (s *Service) refresh(ctx context.Context, c Client, form url.Values, by Caller) (out issued, err error) {
	shown := secret.Of(form.Get("refresh_token"))
	if shown.Empty() {
		return issued{}, oauth(invalidRequest, "refresh_token is missing")
	}
	if !shown.WellFormed(refreshPrefix) {
		return issued{}, nil
	}
	wanted := strings.Fields(form.Get("scope"))
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		out = issued{}
		digests := s.Ring.Digests(tokenPurpose, shown)
		t, g, there, err := tokenOf(ctx, tx, digests)
		if err != nil || !there || g.client != c.ID || !t.used && !g.fits(c, by.holder) {
			return err
		}
		stays := g.bound(c)
		var ok bool
		if stays {
			ok, err = prolongRefresh(ctx, tx, g, digests)
		} else {
			ok, err = spendRefresh(ctx, tx, c.ID, digests)
		}
		if err != nil {
			return err
		}
		if !ok {
			return s.refreshedBefore(ctx, tx, digests, by)
		}
		scopes := g.scopes
		if len(wanted) > 0 {
			if slices.ContainsFunc(wanted, func(one string) bool { return !slices.Contains(g.scopes, one) }) {
				return oauth("invalid_scope", "more is asked for than was given") // and the token is not spent
			}
			scopes = wanted
		}
		if g.key == "" && by.holder != "" {
			if err := bindGrant(ctx, tx, g.id, by.holder); err != nil {
				return err
			}
		}
		if g.key = by.holder; stays {
			out, err = s.access(ctx, tx, g, scopes)
			return err
		}
		out, err = s.issue(ctx, tx, g, scopes)
		return err
	})
	return out, err
}

// fits reports whether a client may go on with a grant by the key or certificate that it has shown, or none. What began to be bound stays bound: to the same if nothing
// else says whose it is, and to any of a client that has proved who it is (RFC 9449 section 5, RFC 8705 section 7.1): certificates are renewed.
func (g grant) fits(c Client, key confirmation) bool {
	return g.key == "" || key != "" && (c.Auth != ByNothing || key == g.key)
}

// bound reports whether a grant's refresh token is worth nothing without a private key, the app's or the client's. It need not take turns then, which
// costs whoever loses an answer the whole grant (FAPI 2.0 section 5.3.2.1). A secret is shown with each call, so it is no such key.
func (g grant) bound(c Client) bool { return g.key != "" && !c.secretive() }

// refreshedBefore ends the grant of a refresh token that is used up.
func (s *Service) refreshedBefore(ctx context.Context, tx *sqldb.Tx, digests [][]byte, by Caller) error {
	t, g, _, err := tokenOf(ctx, tx, digests)
	if err != nil || !t.used {
		return err
	}
	return s.replayed(ctx, tx, g, "refresh token", by.Source)
}

func (s *Service) replayed(ctx context.Context, tx *sqldb.Tx, g grant, what string, from netip.Addr) error {
	s.over(tx)
	first, err := endGrant(ctx, tx, g.id, what+" used again")
	if err != nil || !first {
		return err
	}
	return s.Audit.Append(ctx, tx, audit.Event{
		Kind: audit.ApplicationReplayed, Account: string(g.account), Source: from, Detail: map[string]string{"client": g.client, "what": what},
	})
}

// access writes an access token for a grant that is good still, bound to the grant's key.
func (s *Service) access(ctx context.Context, tx *sqldb.Tx, g grant, scopes []string) (issued, error) {
	if good, err := s.good(ctx, tx, g); err != nil || !good {
		return issued{}, err
	}
	out := issued{grant: g, Tokens: Tokens{Access: secret.NewToken(accessPrefix), Key: g.key.jkt(), Scopes: scopes}}
	until := earlier(tx.Now().Add(accessFor), g.expires)
	out.For = until.Sub(tx.Now())
	t := token{grant: g.id, kind: kindAccess, scopes: scopes, key: g.key, expires: until}
	return out, putToken(ctx, tx, t, s.Ring.Digest(tokenPurpose, out.Access))
}

// issue writes an access token, and the refresh token that comes next.
func (s *Service) issue(ctx context.Context, tx *sqldb.Tx, g grant, scopes []string) (issued, error) {
	out, err := s.access(ctx, tx, g, scopes)
	if err != nil || out.Access.Empty() || !slices.Contains(g.scopes, scopeOffline) {
		return out, err
	}
	out.Refresh = secret.NewToken(refreshPrefix)
	next := token{grant: g.id, kind: kindRefresh, scopes: g.scopes, expires: earlier(tx.Now().Add(refreshFor), g.expires)}
	return out, putToken(ctx, tx, next, s.Ring.Digest(tokenPurpose, out.Refresh))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// good reports whether a grant may be used still: nobody has ended it or its sessions, and the account is in order. With offline_access
// it outlives the session's time.
func (s *Service) good(ctx context.Context, tx *sqldb.Tx, g grant) (bool, error) {
	if g.ended || !g.expires.After(tx.Now()) {
		return false, nil
	}
	owner, err := s.Accounts.Get(ctx, tx, g.account)
	if err != nil || owner.State != account.Active {
		return false, err
	}
	if g.ofDoor() {
		return s.doorGood(ctx, tx, g)
	}
	line, err := s.Sessions.LineOf(ctx, tx, g.account, g.session)
	if slices.Contains(g.scopes, scopeOffline) {
		return line.Unended, err
	}
	return line.Live, err
}

// idTokenType is the typ of an ID token: it tells them from logout tokens.
const idTokenType = "JWT"

// identity is what an ID token says (OpenID Connect Core section 2).
type identity struct {
	About

	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Until    int64  `json:"exp"`
	At       int64  `json:"iat"`
	Nonce    string `json:"nonce,omitempty"`
	Hash     string `json:"at_hash"`
	Session  string `json:"sid,omitempty"` // there is none of the second door's

	Reference string `json:"reference,omitempty"` // of the second door's alone: what the application calls the account
}

// About is what a token says of whoever signed in.
type About struct {
	Subject string          `json:"sub"`
	Time    int64           `json:"auth_time"`
	ACR     assurance.Level `json:"acr"`
	AMR     []string        `json:"amr,omitempty"`
}

func (s *Service) about(c Client, g grant) About {
	a := assurance.Of(g.methods)
	return About{Subject: s.subject(c, g.account), Time: g.authenticated.Unix(), ACR: a.Level, AMR: slices.Collect(a.AMR())}
}

func (s *Service) idToken(ctx context.Context, c Client, of issued) (string, error) {
	now := s.DB.Now()
	say := identity{
		About: s.about(c, of.grant), Issuer: s.Issuer, Audience: c.ID, At: now.Unix(), Until: now.Add(idTokenFor).Unix(),
		Hash: half(c.Alg, of.Access.Reveal()), Reference: of.grant.reference,
	}
	if !of.grant.ofDoor() {
		say.Session = s.sid(c.ID, of.grant.session)
	}
	if of.code {
		say.Nonce = of.grant.nonce
	}
	return s.sign(ctx, c.Alg, idTokenType, say)
}

// sid names a line of sessions to a client, and to nobody else.
func (s *Service) sid(client string, line session.ID) string {
	return base64.RawURLEncoding.EncodeToString(s.Ring.Stable("oidc/session", client+"\x00"+string(line)))
}

// Fact is what is known of a token.
type Fact struct {
	Active   bool
	Client   string
	Kind     string
	Scopes   []string
	From, To time.Time
	Key      dpop.Thumbprint // that it is bound to; or the certificate
	Bound    certificate.Thumbprint
	About    About
}

// Introspect says what a token is worth (RFC 7662), to a client that has proved who it is: of its own tokens, and of all access tokens to a
// resource server, which would take a refresh token that it is told is active. Of any other it is told what it is told of one that there is not.
func (s *Service) Introspect(ctx context.Context, c Client, shown secret.Token) (f Fact, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		t, g, of, err := s.alive(ctx, tx, shown)
		if err == nil && of.ID == "" {
			f, err = s.ownFact(ctx, tx, c, shown)
		}
		if err != nil || of.ID == "" || of.ID != c.ID && (!c.Introspects || t.kind != kindAccess || g.ofDoor()) { // of whom a resource server knows nothing
			return err
		}
		f = Fact{Active: true, Client: of.ID, Kind: t.kind, Scopes: t.scopes, From: t.created, To: t.expires, Key: t.key.jkt(), Bound: t.key.x5t(), About: s.about(of, g)}
		return nil
	})
	return f, err
}

// alive returns a token that can be used, with its grant and its client, whose id is empty if it cannot.
func (s *Service) alive(ctx context.Context, tx *sqldb.Tx, shown secret.Token) (token, grant, Client, error) {
	if !shown.WellFormed(accessPrefix) && !shown.WellFormed(refreshPrefix) {
		return token{}, grant{}, Client{}, nil
	}
	t, g, ok, err := tokenOf(ctx, tx, s.Ring.Digests(tokenPurpose, shown))
	if err != nil || !ok || t.used || !t.expires.After(tx.Now()) {
		return token{}, grant{}, Client{}, err
	}
	if good, err := s.good(ctx, tx, g); err != nil || !good {
		return token{}, grant{}, Client{}, err
	}
	of, _, err := s.find(ctx, tx, g.client)
	return t, g, of, err
}

// UserInfo is what a client that has an access token may know of whoever signed in. by is what it has shown of what the token is bound to.
func (s *Service) UserInfo(ctx context.Context, shown secret.Token, by Caller) (claims map[string]any, err error) {
	if !shown.WellFormed(accessPrefix) {
		return nil, oauth(invalidToken, "that is no access token")
	}
	digest := s.Ring.Digests(tokenPurpose, shown)[0]
	if claims, ok := s.believed(digest, by); ok {
		return claims, nil
	}
	answer, lasts := told{at: s.moment()}, false
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		t, g, of, err := s.alive(ctx, tx, shown)
		switch {
		case err != nil:
			return err
		case of.ID == "" || t.kind != kindAccess:
			return oauth(invalidToken, "the access token is unknown, over or ended")
		case !t.key.shownBy(by):
			return oauth(invalidToken, "the access token is bound to another key or certificate, or shown as one that is not bound")
		case !slices.Contains(t.scopes, scopeOpenID):
			return oauth("insufficient_scope", "the access token was not given for openid")
		}
		claims, lasts = map[string]any{"sub": s.subject(of, g.account)}, !g.ofDoor() // which ends with no session: nobody would hear of it
		if answer.key, answer.until = t.key, tx.Now().Add(believed); t.expires.Before(answer.until) {
			answer.until = t.expires
		}
		if slices.Contains(t.scopes, scopeEmail) && slices.Contains(of.Scopes, scopeEmail) { // which the operator may have taken back
			return s.addEmail(ctx, tx, g.account, claims)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if answer.claims = claims; lasts {
		s.believe(digest, answer)
	}
	return claims, nil
}

// addEmail adds the first address that was proved (OpenID Connect Core section 5.1). Of one that was not nobody is told.
func (s *Service) addEmail(ctx context.Context, tx *sqldb.Tx, who account.ID, claims map[string]any) error {
	all, err := s.Accounts.Addresses(ctx, tx, who)
	for _, a := range all {
		if a.Kind == account.Email && a.Verified {
			claims["email"], claims["email_verified"] = a.Normal, true
			break
		}
	}
	return err
}

// Revoke ends a token of the client's own (RFC 7009): a refresh token with everything of its family. Of any other nothing happens.
func (s *Service) Revoke(ctx context.Context, c Client, shown secret.Token, from netip.Addr) error {
	if !shown.WellFormed(accessPrefix) && !shown.WellFormed(refreshPrefix) {
		return nil
	}
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		digests := s.Ring.Digests(tokenPurpose, shown)
		t, g, ok, err := tokenOf(ctx, tx, digests)
		if err == nil && !ok {
			return dropOwnToken(ctx, tx, c.ID, digests)
		}
		if err != nil || g.client != c.ID {
			return err
		}
		s.over(tx)
		if t.kind == kindAccess {
			return dropToken(ctx, tx, digests)
		}
		first, err := endGrant(ctx, tx, g.id, "revoked by the client")
		if err != nil || !first {
			return err
		}
		return s.Audit.Append(ctx, tx, audit.Event{Kind: audit.ApplicationEnded, Account: string(g.account), Source: from, Detail: map[string]string{"client": g.client}})
	})
}
