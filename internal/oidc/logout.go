package oidc

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

// Leaving is what becomes of a browser that an application sends to be signed out (OpenID Connect RP-Initiated Logout 1.0).
type Leaving struct {
	Ask  bool   // whoever sits there is asked: nothing shows that the application speaks for them
	Back string // where the browser goes then, which the application has registered; empty: it stays here
	Why  string // in words of ours, for who makes the application: what of its request was not followed
}

// Leave judges a logout. It ends nothing.
//
// Nobody is asked if the hint is an ID token that we gave out in the line of sessions that the browser has, however old. Any page could send
// a browser here, so without such a hint its holder is asked; also where nobody is signed in, or the page would tell whether somebody is.
// With a good hint, and nobody signed in, the browser goes back as if somebody had been.
func (s *Service) Leave(ctx context.Context, v url.Values, me session.Session) (Leaving, error) {
	for _, values := range v {
		if len(values) > 1 || len(values[0]) > maxAssertion {
			return Leaving{Ask: true, Why: "a parameter is repeated or too long"}, nil
		}
	}
	id, asked := v.Get("client_id"), Leaving{Ask: true}
	if v.Has("id_token_hint") {
		said, ok, err := s.hint(ctx, v.Get("id_token_hint"))
		if err != nil {
			return Leaving{}, err
		}
		if !ok || said.Session == "" || id != "" && id != said.Audience.of[0] { // one of the second door is of no session here
			return Leaving{Ask: true, Why: "id_token_hint is no token of ours for this client"}, nil
		}
		id = said.Audience.of[0]
		asked.Ask = me.ID != "" && s.sid(id, me.Origin) != said.Session
	}
	if !v.Has("post_logout_redirect_uri") {
		return asked, nil
	}
	to := v.Get("post_logout_redirect_uri")
	var c Client
	known := false
	err := s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		c, known, err = s.find(ctx, tx, id)
		return err
	})
	if err != nil {
		return Leaving{}, err
	}
	if !known || !slices.Contains(c.PostLogout, to) {
		return Leaving{Ask: true, Why: "post_logout_redirect_uri is none that the client has registered, or nothing says which client asks"}, nil
	}
	asked.Back = to
	if state := v.Get("state"); state != "" {
		joint := "?"
		if strings.Contains(to, "?") {
			joint = "&"
		}
		asked.Back += joint + url.Values{"state": {state}}.Encode()
	}
	return asked, nil
}
