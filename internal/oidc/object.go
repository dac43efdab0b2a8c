package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

const (
	// objectType is what a request that is signed says of itself (RFC 9101 section 10.8): what a client signs for something else is none.
	objectType = "oauth-authz-req+jwt"
	// objectFor is how long one may last, and how old it may be (FAPI 2.0 Message Signing section 5.3.1). Clients make one for one click.
	objectFor = time.Hour
	maxObject = 8 << 10 // real ones have 1,500 bytes

	invalidObject = "invalid_request_object"
)

// object is a request that the client has signed (RFC 9101).
type object struct {
	says  url.Values
	name  secret.Token // by which it is known when it comes again; empty for one without a jti
	until time.Time
}

// readObject returns what the object says that stands in a query or in a form. What stands beside it is not looked at: whoever sits between the client
// and us could have written it.
func (s *Service) readObject(c Client, v url.Values) (object, error) {
	switch {
	case len(v["request"]) != 1 || v.Has("request_uri"):
		return object{}, oauth(invalidRequest, "there is more than one request")
	case len(c.keys.Keys) == 0:
		return object{}, oauth("request_not_supported", "the client has registered no keys to sign requests with")
	case len(v.Get("request")) > maxObject:
		return object{}, oauth(invalidObject, "the request object is larger than any real one")
	}
	signed, err := jose.ParseSignedCompact(v.Get("request"), c.signatures())
	if err != nil {
		return object{}, oauth(invalidObject, "the request object is none, or its algorithm is not taken")
	}
	if typeOf(signed) != objectType {
		return object{}, oauth(invalidObject, "the request object's typ is not "+objectType)
	}
	var payload json.RawMessage
	var a assertion
	if !verified(signed, c.keys, &payload) || json.Unmarshal(payload, &a) != nil {
		return object{}, oauth(invalidObject, "the request object is not signed by the client's keys, or is no JSON")
	}
	if why := a.mayAsk(c, s.Issuer, s.DB.Now()); why != "" {
		return object{}, oauth(invalidObject, why)
	}
	o := object{until: time.UnixMilli(int64(a.Until * 1000))}
	if a.ID != "" {
		o.name = secret.Of("object " + c.ID + " " + a.ID)
	}
	o.says, err = parameters(payload)
	if err == nil && o.says.Has("client_id") && o.says.Get("client_id") != c.ID {
		err = oauth(invalidObject, "client_id in the request object is another client's")
	}
	o.says.Set("client_id", c.ID)
	return o, err
}

// typeOf is what a signed text says that it is, in small letters and without what goes without saying (RFC 7515 section 4.1.9).
func typeOf(signed *jose.JSONWebSignature) string {
	typ, _ := signed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string)
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// mayAsk says what a request object has to be that is from a client, for us, and made just now; empty if it is. It may be for others as well: nobody
// gains by bringing it here.
func (a assertion) mayAsk(c Client, issuer string, now time.Time) string {
	at := float64(now.UnixMilli()) / 1000
	soon, long := at+ahead.Seconds(), objectFor.Seconds()
	switch {
	case a.Issuer != c.ID:
		return "iss of the request object is not the client"
	case !slices.Contains(a.Audience.of, issuer):
		return "aud of the request object is not the issuer"
	case a.Until <= at || a.Until > soon+long:
		return "exp of the request object is missing, over, or too far away"
	case a.From > soon || a.At > soon:
		return "nbf or iat of the request object is to come"
	case a.From != 0 && (a.From < at-long || a.Until-a.From > long), a.From == 0 && c.FAPI:
		return "nbf of the request object is missing or too long ago"
	case len(a.ID) > maxAssertionID:
		return "jti of the request object is too long"
	}
	return ""
}

// parameters are those of a request object, as they would stand in a query.
func parameters(payload []byte) (url.Values, error) {
	v := url.Values{}
	var all map[string]any
	if err := json.Unmarshal(payload, &all); err != nil {
		return v, oauth(invalidObject, "the request object is no JSON object")
	}
	if all["request"] != nil || all["request_uri"] != nil {
		return v, oauth(invalidObject, "a request object names no other")
	}
	for _, name := range append(said(), loginHint, firstFactor) {
		switch value := all[name].(type) {
		case nil:
		case string:
			v.Set(name, value)
		case float64: // max_age
			v.Set(name, strconv.FormatFloat(value, 'f', -1, 64))
		case map[string]any: // claims, first_factor
			text, err := json.Marshal(value)
			if err != nil {
				return v, err
			}
			v.Set(name, string(text))
		default:
			return v, oauth(invalidObject, "a parameter in the request object has the wrong type")
		}
	}
	return v, nil
}

// unpushed is what a browser brings that was not pushed.
func (s *Service) unpushed(ctx context.Context, c Client, q request, a Asked) (t taken, err error) {
	switch {
	case a.Query.Has(firstFactor):
		return taken{}, errUnsigned
	case c.RequirePAR:
		return taken{}, oauth(invalidRequest, "the client pushes its requests")
	case !a.Query.Has("request") && c.RequireSigned:
		return taken{}, oauth(invalidRequest, "the client signs its requests")
	case !a.Query.Has("request"):
		return taken{says: a.Query}, nil
	}
	o, err := s.readObject(c, a.Query)
	if err == nil && o.says.Has(firstFactor) {
		err = errUnsigned
	}
	if err != nil || o.name.Empty() {
		return taken{says: o.says}, err
	}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		t = taken{says: o.says}
		first, err := s.first(ctx, tx, q, o)
		if err != nil || first {
			return err
		}
		t, err = s.before(ctx, tx, o.name, q, a.Browser)
		return err
	})
	return t, err
}

// first notes that an object with a jti was used, and that q comes of it. It reports whether it is the first time.
func (s *Service) first(ctx context.Context, tx *sqldb.Tx, q request, o object) (bool, error) {
	id, err := pushedBefore(ctx, tx, s.Ring.Digests(pushedPurpose, o.name), q) // by a key that was in use until a moment ago, too
	if err != nil || id != "" {
		return false, err
	}
	until := o.until
	if until.Before(q.created.Add(requestFor)) {
		until = q.created.Add(requestFor)
	}
	return putObject(ctx, tx, q, s.Ring.Digest(pushedPurpose, o.name), until)
}

// before is the request that came of what a browser brings again. In any other browser it is over.
func (s *Service) before(ctx context.Context, tx *sqldb.Tx, name secret.Token, q request, browser secret.Token) (taken, error) {
	id, err := pushedBefore(ctx, tx, s.Ring.Digests(pushedPurpose, name), q)
	if err != nil {
		return taken{}, err
	}
	_, ok, err := requestOf(ctx, tx, id, s.Ring.Digests(browserPurpose, browser))
	return taken{begun: id}, errors.Join(err, absent(ok))
}
