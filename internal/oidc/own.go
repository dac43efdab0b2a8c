package oidc

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// ownToken is an access token that a client got in its own name (RFC 6749 section 4.4): it is about nobody.
type ownToken struct {
	client           string
	scopes           []string
	key              confirmation // what it is bound to
	created, expires time.Time
}

// ownScope is a scope for that as RFC 6749 section 3.3 has them: what it means the resource server knows, not we.
var ownScope = regexp.MustCompile(`^[!#-\[\]-~]{1,100}$`)

// checkOwn says what of a client's own scopes cannot be.
func (c *Client) checkOwn(want func(ok bool, format string, args ...any)) {
	want(len(c.OwnScopes) == 0 || c.Auth != ByNothing, "own_scopes: a client that asks in its own name has to prove who it is")
	want(len(c.OwnScopes) <= maxURIs, "own_scopes: want %d at most", maxURIs)
	for _, one := range c.OwnScopes {
		want(ownScope.MatchString(one), "own_scopes: %q: want a word of ASCII without quotes", one)
		want(!slices.Contains(Scopes(), one), "own_scopes: %q is about somebody who signs in", one)
	}
}

// ofItself gives a client an access token in its own name. There is no refresh token: it may ask again.
func (s *Service) ofItself(ctx context.Context, c Client, form url.Values, key confirmation) (Tokens, error) {
	if c.Auth == ByNothing || len(c.OwnScopes) == 0 {
		return Tokens{}, oauth("unauthorized_client", "the client may not ask in its own name")
	}
	scopes := c.OwnScopes
	if wanted := strings.Fields(form.Get("scope")); len(wanted) > 0 {
		if slices.ContainsFunc(wanted, func(one string) bool { return !slices.Contains(c.OwnScopes, one) }) {
			return Tokens{}, oauth("invalid_scope", "a scope is asked for that the client may not have in its own name")
		}
		scopes = wanted
	}
	out := Tokens{Access: secret.NewToken(accessPrefix), Key: key.jkt(), Scopes: scopes, For: accessFor}
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		return putOwnToken(ctx, tx, ownToken{client: c.ID, scopes: scopes, key: key, expires: tx.Now().Add(accessFor)}, s.Ring.Digest(tokenPurpose, out.Access))
	})
	return out, err
}

// ownFact is what is known of a token that a client got in its own name: to itself, and to resource servers. sub is the client (RFC 9068 section 2.2).
func (s *Service) ownFact(ctx context.Context, tx *sqldb.Tx, c Client, shown secret.Token) (Fact, error) {
	if !shown.WellFormed(accessPrefix) {
		return Fact{}, nil
	}
	t, ok, err := ownTokenOf(ctx, tx, s.Ring.Digests(tokenPurpose, shown))
	if err != nil || !ok || t.client != c.ID && !c.Introspects {
		return Fact{}, err
	}
	of, ok, err := s.find(ctx, tx, t.client)
	if err != nil || !ok || slices.ContainsFunc(t.scopes, func(one string) bool { return !slices.Contains(of.OwnScopes, one) }) { // taken away since
		return Fact{}, err
	}
	return Fact{Active: true, Client: t.client, Kind: kindAccess, Scopes: t.scopes, From: t.created, To: t.expires, Key: t.key.jkt(), Bound: t.key.x5t(), About: About{Subject: t.client}}, nil
}
