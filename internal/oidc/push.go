package oidc

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

const (
	// pushedFor is how long a browser has to bring what was pushed: one redirect, on a slow line.
	pushedFor     = time.Minute
	pushedPrefix  = "csp"
	pushedPurpose = "oidc/pushed"
	// pushedURI begins the names of what was pushed (RFC 9126 section 2.2).
	pushedURI = "urn:ietf:params:oauth:request_uri:"
)

// said are the parameters that a request is read from. Nothing else that is pushed is kept: neither a client's secret, nor the address in login_hint. At the
// second door the id of the account that this names is kept.
func said() []string {
	return []string{
		"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
		"prompt", "max_age", "acr_values", "id_token_hint", "claims", "dpop_jkt", "ui_locales",
	}
}

// Push judges a request of a client that has proved who it is, keeps it, and returns what a browser brings in its place (RFC 9126).
func (s *Service) Push(ctx context.Context, c Client, form url.Values, by Caller) (uri string, lasts time.Duration, err error) {
	q := request{Client: c.ID, created: s.DB.Now()}
	says, o, err := s.pushes(c, form)
	if err != nil {
		return "", 0, err
	}
	v := url.Values{}
	for _, name := range said() {
		if says.Has(name) {
			v[name] = says[name]
		}
	}
	if o.says.Has(firstFactor) {
		v.Set(firstFactor, o.says.Get(firstFactor))
		v.Set(loginHint, o.says.Get(loginHint))
	}
	v.Set("client_id", c.ID)
	if by.Key != "" && !v.Has("dpop_jkt") { // a proof says whose the code is to be, as dpop_jkt does (RFC 9449 section 10.1)
		v.Set("dpop_jkt", string(by.Key))
	}
	switch {
	case by.Key != "" && v.Get("dpop_jkt") != string(by.Key):
		return "", 0, oauth(invalidProof, "dpop_jkt is of another key")
	case !c.redirects(v.Get("redirect_uri")):
		return "", 0, oauth(invalidRequest, "redirect_uri is missing, or none of those that were registered")
	}
	if err := s.read(ctx, &q, c, v); err != nil {
		return "", 0, err
	}
	if err := s.readPushedDoor(ctx, &q, c, pushedDoor{v, o}); err != nil {
		return "", 0, err
	}
	token, within := secret.NewToken(pushedPrefix), false
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		if within, err = s.admits(ctx, tx, c, by); err != nil || !within {
			return err
		}
		if !o.name.Empty() {
			if first, err := s.first(ctx, tx, q, o); err != nil || !first {
				return errors.Join(err, oauth(invalidObject, "the request object was used before"))
			}
		}
		return putPushed(ctx, tx, c.ID, v, s.Ring.Digest(pushedPurpose, token))
	})
	if err == nil && !within {
		err = tooMany()
	}
	return pushedURI + token.Reveal(), pushedFor, err
}

// pushes is what a client pushes: the form, or the object in it that it has signed.
func (s *Service) pushes(c Client, form url.Values) (says url.Values, o object, err error) {
	switch {
	case form.Has("client_id") && form.Get("client_id") != c.ID:
		return nil, o, oauth(invalidRequest, "client_id is another client's")
	case form.Has("request_uri"):
		return nil, o, oauth(invalidRequest, "request_uri cannot be pushed")
	case form.Has("request"):
		o, err = s.readObject(c, form)
		return o.says, o, err
	case form.Has(firstFactor):
		return nil, o, errUnsigned
	case c.RequireSigned:
		return nil, o, oauth(invalidRequest, "the client signs its requests")
	}
	return form, o, nil
}

// admits takes one of the requests that there may be. The servers of an application are one network: so many people come through it as come at all.
func (s *Service) admits(ctx context.Context, tx *sqldb.Tx, c Client, by Caller) (within bool, err error) {
	if c.Auth == ByNothing {
		if within, err = s.Throttle.TakeSource(ctx, tx, beginSource, by.Source); err != nil || !within {
			return false, err
		}
	}
	return s.Throttle.Take(ctx, tx, beginAll, "")
}

// pushed is the name of a request that was pushed; ok is false if a query names none.
func pushed(v url.Values) (name secret.Token, ok bool) {
	uri := v["request_uri"]
	if len(uri) != 1 {
		return secret.Token{}, false
	}
	text, ok := strings.CutPrefix(uri[0], pushedURI)
	return secret.Of(text), ok
}

// taken is what a browser brings that was pushed: what it says, or the request that came of it before.
type taken struct {
	says   url.Values
	pushed bool
	begun  string
}

// take uses up what was pushed: q comes of it. The browser that brought it may bring it once more, as when a page is loaded anew, and goes on with the
// same request; in any other it is over.
func (s *Service) take(ctx context.Context, tx *sqldb.Tx, name secret.Token, q request, browser secret.Token) (t taken, err error) {
	if !name.WellFormed(pushedPrefix) {
		return taken{}, absent(false)
	}
	digests := s.Ring.Digests(pushedPurpose, name)
	text, first, err := spendPushed(ctx, tx, digests, q)
	if err != nil {
		return taken{}, err
	}
	if first {
		t.pushed = true
		t.says, err = url.ParseQuery(text)
		return t, err
	}
	return s.before(ctx, tx, name, q, browser)
}
