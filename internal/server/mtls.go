package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"

	"countersign/internal/certificate"
	"countersign/internal/platform/clientip"
	"countersign/internal/platform/config"
	"countersign/internal/platform/reread"
	"countersign/internal/signin"
	"countersign/internal/web"
	"countersign/internal/web/api"
	"countersign/internal/web/oidcweb"
)

// rootsOf are the authorities that vouch for applications; nil if none does.
func rootsOf(c config.Config) *reread.File[*x509.CertPool] {
	if c.OIDC.MTLSRoots == "" {
		return nil
	}
	return &reread.File[*x509.CertPool]{Path: c.OIDC.MTLSRoots, Parse: certificate.Roots}
}

// shown looks at the listener where applications show certificates; nothing is found where there is none.
func shown(c config.Config, d Deps) []Finding {
	files := mtlsFiles(c)
	if files == nil {
		return nil
	}
	const part = "mtls"
	all, err := authoritiesOf(c)
	if err != nil {
		return []Finding{finding(part, Broken, err.Error(), "name a file with the certificates of authorities, or none")}
	}
	now, vouch := d.Now(), 0
	for _, one := range all {
		if !now.Before(one.NotBefore) && !now.After(one.NotAfter) {
			vouch++
		}
	}
	host := ""
	if at, err := url.Parse(c.OIDC.MTLS()); err == nil {
		host = at.Hostname()
	}
	state, words, remedy := files.examine(host, now)
	words = fmt.Sprintf("at %s; %s; authorities that vouch for applications: %d", c.OIDC.MTLSListen, words, vouch)
	if over := len(all) - vouch; over > 0 {
		words += fmt.Sprintf(", and %d whose time it is not", over)
		if state == Fine {
			state, remedy = Warning, "take it from oidc.mtls_roots: what it vouches for is refused"
		}
	}
	return []Finding{finding(part, state, words, remedy)}
}

// authoritiesOf are those that vouch for applications.
func authoritiesOf(c config.Config) ([]*x509.Certificate, error) {
	if c.OIDC.MTLSRoots == "" {
		return nil, nil
	}
	return fromFile("oidc.mtls_roots", c.OIDC.MTLSRoots, certificate.Authorities)
}

// mutual is what applications come to that show certificates (RFC 8705): the endpoints that the metadata names, the second door, and nothing else. Nobody before it ends TLS,
// so no header says where a call comes from.
func (s *Server) mutual(door oidcweb.Door, main *web.Front, flows api.Flows) http.Handler {
	door.Alias = s.core.Applications.MTLS.Origin
	door.Source = clientip.Finder{}.Of
	at, err := url.Parse(door.Alias)
	if err != nil || door.Alias == "" {
		return nil
	}
	mux := http.NewServeMux()
	door.MountMTLS(mux)
	(&api.API{
		Log: s.deps.Log, Flows: flows, Now: s.deps.Now, Public: door.Alias, Where: s.core.Notices.Where,
		Door: s.secondDoor(entrance{door.Source, true}),
		Client: func(r *http.Request) signin.Client {
			return signin.Client{Source: door.Source(r), UserAgent: r.UserAgent()}
		},
	}).MountDoor(mux)
	return &web.Front{Log: s.deps.Log, Mux: mux, PublicURL: at, Metrics: main.Metrics, Now: s.deps.Now, Apps: main.Apps}
}

// MTLS makes the server of the listener where applications show certificates; one that nobody reaches if there is none. Each connection proves the key anew: none resumes
// another.
func (s *Server) MTLS(ctx context.Context) (*http.Server, error) {
	srv := s.guarded(s.mtls)
	if s.mtls == nil {
		return srv, nil
	}
	if err := s.encrypt(ctx, srv, mtlsFiles(s.core.Config)); err != nil {
		return nil, err
	}
	srv.TLSConfig.ClientAuth = tls.RequestClientCert // whose it is, and whether it is good, is judged at each call
	srv.TLSConfig.SessionTicketsDisabled = true
	return srv, nil
}
