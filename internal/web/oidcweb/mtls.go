package oidcweb

import (
	"net/http"

	"countersign/internal/certificate"
)

// MountMTLS registers the routes where clients show certificates (RFC 8705 section 5). No page of another site calls them: a browser would add the certificate of whoever
// sits at it by itself.
func (d *Door) MountMTLS(mux *http.ServeMux) { d.mountCalls(mux) }

// certificate is what was shown in the handshake with us. What a header says that somebody else has seen counts nowhere, and at the other door nobody is asked.
func (d *Door) certificate(r *http.Request) certificate.Shown {
	if d.Alias == "" || r.TLS == nil {
		return nil
	}
	return r.TLS.PeerCertificates
}
