// Package token gets access tokens for a client (RFC 6749 section 4.4), or for a person who consented (section 6), and keeps each as
// long as it is good. The library's own sources heed no context and have everybody wait for one another: with an endpoint that hangs, letters
// would wait far longer than they may.
package token

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"countersign/internal/courier/post"
	"countersign/internal/platform/secret"
)

// Config reaches a token endpoint. With RefreshToken tokens are the person's, and without it the client's.
type Config struct {
	URL          string
	ClientID     string
	ClientSecret secret.Token
	RefreshToken secret.Token
	Scopes       []string
}

// Source has tokens. It is safe for concurrent use.
type Source struct {
	client *http.Client
	turn   chan struct{} // one asks, and the others wait

	kept    *oauth2.Token
	refresh string

	// The library remembers in these how the endpoint wants to be shown the secret.
	asClient clientcredentials.Config
	asPerson oauth2.Config
}

// timeout bounds a question that its caller does not bound.
const timeout = 10 * time.Second

// New returns a source; it asks nothing.
func New(c Config) *Source {
	return &Source{
		turn: make(chan struct{}, 1), refresh: c.RefreshToken.Reveal(), client: &http.Client{Timeout: timeout, CheckRedirect: post.NoRedirect},
		asClient: clientcredentials.Config{ClientID: c.ClientID, ClientSecret: c.ClientSecret.Reveal(), TokenURL: c.URL, Scopes: c.Scopes},
		asPerson: oauth2.Config{ClientID: c.ClientID, ClientSecret: c.ClientSecret.Reveal(), Endpoint: oauth2.Endpoint{TokenURL: c.URL}, Scopes: c.Scopes},
	}
}

// Get returns a token before ctx ends, or an error.
func (s *Source) Get(ctx context.Context) (*oauth2.Token, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.turn }()
	if s.kept.Valid() {
		return s.kept, nil
	}
	got, err := s.ask(context.WithValue(ctx, oauth2.HTTPClient, s.client))
	if err != nil {
		return nil, err
	}
	s.kept = got
	if got.RefreshToken != "" {
		s.refresh = got.RefreshToken
	}
	return got, nil
}

func (s *Source) ask(ctx context.Context) (*oauth2.Token, error) {
	if s.refresh == "" {
		return s.asClient.Token(ctx)
	}
	return s.asPerson.TokenSource(ctx, &oauth2.Token{RefreshToken: s.refresh}).Token()
}

// Code says in a word why a token was not to be had. It is one of RFC 6749 section 5.2, "refused" or "unreachable": what an
// endpoint writes beside it quotes what it likes.
func Code(err error) string {
	r, ok := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case !ok:
		return "unreachable"
	case slices.Contains([]string{"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}, r.ErrorCode):
		return r.ErrorCode
	}
	return "refused"
}
