package server

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"countersign/internal/notice"
	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/seconddoor"
	"countersign/internal/web/api"
)

var errNoClient = &oidc.Refusal{Word: "invalid_client", Why: "no client of the second door's"}

// callers says who calls the second door: a client of the provider that is registered for it, and has proved who it is.
func callers(provider *oidc.Service, at entrance) func(*http.Request) (api.Application, error) {
	return func(r *http.Request) (api.Application, error) {
		c, err := provider.Authenticate(r.Context(), at.callerOf(r))
		if err == nil && len(c.SecondDoor) == 0 {
			err = c.Refused(errNoClient, "not registered for the second door")
		}
		if _, no := errors.AsType[*oidc.Refusal](err); no {
			err = fault.New(fault.Unauthenticated, "client_unproved", err)
		}
		if err != nil {
			return api.Application{}, err
		}
		return api.Application{ID: c.ID, Sites: c.SecondDoor}, nil
	}
}

// SecondDoor is the second door alone.
func (c *Core) SecondDoor() *seconddoor.Service {
	return &seconddoor.Service{Parts: c.Parts, SignIn: c.SignIn, Owner: c.Owner}
}

// appOf says how letters name an application that has accounts of its own. One that is registered no more is called by its id.
func appOf(provider *oidc.Service) func(context.Context, *sqldb.Tx, string) (notice.App, error) {
	return func(ctx context.Context, tx *sqldb.Tx, id string) (notice.App, error) {
		c, known, err := provider.ByID(ctx, tx, id)
		app := notice.App{Name: id, Site: provider.Issuer}
		if known {
			app.Name = c.Name
		}
		if len(c.SecondDoor) > 0 {
			app.Site = c.SecondDoor[0]
		}
		return app, err
	}
}

// nameOf says what people know an application by; empty if there is none.
func nameOf(provider *oidc.Service) func(context.Context, *sqldb.Tx, string) (string, error) {
	return func(ctx context.Context, tx *sqldb.Tx, id string) (string, error) {
		c, _, err := provider.ByID(ctx, tx, id)
		return c.Name, err
	}
}

func (s *Server) secondDoor(at entrance) api.Door {
	return api.Door{Second: s.core.SecondDoor(), Factors: s.core.SecondDoor(), Application: callers(s.core.Applications, at)}
}

// entrance is a listener where calls arrive.
type entrance struct {
	source func(*http.Request) netip.Addr
	// certificates says that TLS ends with us, where who calls is asked for a certificate. Elsewhere nobody is.
	certificates bool
}

// callerOf reads who calls: an id and a secret, or an assertion; where certificates are shown, an id alone names who has to show one.
func (e entrance) callerOf(r *http.Request) oidc.Caller {
	by := oidc.Caller{Method: oidc.ByAssertion, AssertionType: oidc.AssertionType, Source: e.source(r), Asked: e.certificates, Proves: true}
	if text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		by.Assertion = text
		return by
	}
	id, password, _ := r.BasicAuth()
	by.Method = oidc.ByBasic
	by.ID, _ = url.QueryUnescape(id) // RFC 6749 section 2.3.1; what cannot be read is nobody's
	plain, _ := url.QueryUnescape(password)
	by.Secret = secret.Of(plain)
	if e.certificates && r.TLS != nil && password == "" {
		by.Method, by.Certificate = oidc.ByNothing, r.TLS.PeerCertificates
	}
	return by
}
