package server

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/web/api"
)

// callers says who calls the second door: a client of the provider that is registered for it.
func callers(provider *oidc.Service, source func(*http.Request) netip.Addr) func(*http.Request) (api.Application, error) {
	return func(r *http.Request) (api.Application, error) {
		c, err := provider.Authenticate(r.Context(), callerOf(r, source(r)))
		if _, no := errors.AsType[*oidc.Refusal](err); no || err == nil && len(c.SecondDoor) == 0 {
			err = fault.New(fault.Unauthenticated, "client_unproved", errors.New("no client of the second door's"))
		}
		if err != nil {
			return api.Application{}, err
		}
		return api.Application{ID: c.ID, Sites: c.SecondDoor}, nil
	}
}

// callerOf reads who calls: an id and a secret, or an assertion.
func callerOf(r *http.Request, source netip.Addr) oidc.Caller {
	by := oidc.Caller{Method: oidc.ByAssertion, AssertionType: oidc.AssertionType, Source: source}
	if text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		by.Assertion = text
		return by
	}
	id, password, _ := r.BasicAuth()
	by.Method = oidc.ByBasic
	by.ID, _ = url.QueryUnescape(id) // RFC 6749 section 2.3.1; what cannot be read is nobody's
	plain, _ := url.QueryUnescape(password)
	by.Secret = secret.Of(plain)
	return by
}
