package oidc

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/certificate"
	"countersign/internal/dpop"
)

// byCertificate reports whether a client proves itself by a certificate (RFC 8705 section 2).
func (m AuthMethod) byCertificate() bool { return m == ByAuthority || m == BySelfSigned }

// ShowsCertificate reports whether a client has to show a certificate, and so comes to the door where one is seen.
func (c Client) ShowsCertificate() bool { return c.CertificateBound || c.Auth.byCertificate() }

// said is the way in which a call says who it is, for a client of this one. By a certificate it only says whose it is: a secret or an assertion beside that would be a second way.
func (m AuthMethod) said() AuthMethod {
	if m.byCertificate() {
		return ByNothing
	}
	return m
}

// checkCertificates says what of a client cannot be that has to do with certificates.
func (c *Client) checkCertificates(want func(ok bool, format string, args ...any)) {
	named := c.Subject != certificate.Subject{}
	want(named == (c.Auth == ByAuthority), "tls_client_auth_*: %s and the name in a certificate need one another", ByAuthority)
	if named {
		err := certificate.CheckSubject(c.Subject)
		want(err == nil, "%v", err)
	}
	want(!c.CertificateBound || !c.DPoP, "certificate_bound and dpop_bound: a token is bound to one thing")
}

// offered are the ways in which clients may prove themselves here.
func (s *Service) offered() []AuthMethod {
	return slices.DeleteFunc(authMethods(), func(m AuthMethod) bool {
		return m.byCertificate() && s.MTLS.Origin == "" || m == ByAuthority && s.MTLS.Roots == nil
	})
}

// Possible says what of a client can be, and not here.
func (s *Service) Possible(c Client) error {
	switch {
	case s.MTLS.Origin == "" && c.ShowsCertificate():
		return errors.New("no certificate is seen here: set oidc.mtls_listen")
	case c.Auth == ByAuthority && s.MTLS.Roots == nil:
		return fmt.Errorf("%s: no authority is believed here: set oidc.mtls_roots", c.Auth)
	}
	return nil
}

// showed says why what was shown in the handshake is not the client's; empty if it is. Whether it is good now is our clock's to say, of one that nobody has vouched for, too.
func (s *Service) showed(c Client, shown certificate.Shown) (why string) {
	now, byAuthority := s.DB.Now(), c.Auth == ByAuthority
	err := shown.Lasts(now)
	if err == nil && byAuthority {
		err = shown.Vouched(s.MTLS.Roots.Get(), now)
	}
	switch {
	case err != nil:
		return err.Error()
	case byAuthority && !shown.Names(c.Subject):
		return "the certificate has not the name that was registered"
	case !byAuthority && !c.registered(shown):
		return "the certificate is none of the client's jwks"
	}
	return ""
}

// registered reports whether a certificate is one of jwks: the very one of x5c, or of a key without any.
func (c Client) registered(shown certificate.Shown) bool {
	return slices.ContainsFunc(c.keys.Keys, func(k jose.JSONWebKey) bool {
		if len(k.Certificates) > 0 {
			return k.Certificates[0].Equal(shown[0])
		}
		return shown.HasKey(k.Key)
	})
}

// confirmation is what a token is bound to, as it is kept (cnf, RFC 7800): the thumbprint of a key that is proved by DPoP as it is, or that of a certificate behind its mark. Empty for
// nothing. It is one column for either, so that a release that knows no certificates takes such a token for one of a key that nobody has, and not for a bearer's.
type confirmation string

const certificateMark = "x5t#S256:" // which is in no thumbprint

// jkt is the key; empty if it is none.
func (k confirmation) jkt() dpop.Thumbprint {
	if k.x5t() != "" {
		return ""
	}
	return dpop.Thumbprint(k)
}

// x5t is the certificate; empty if it is none.
func (k confirmation) x5t() certificate.Thumbprint {
	x5t, ok := strings.CutPrefix(string(k), certificateMark)
	if !ok {
		return ""
	}
	return certificate.Thumbprint(x5t)
}

// shownBy reports whether a call has shown what a token is bound to. One that is bound to no key is not shown with a proof: whoever does takes it for another.
func (k confirmation) shownBy(by Caller) bool {
	if x5t := k.x5t(); x5t != "" {
		return by.Key == "" && by.Certificate.Thumbprint() == x5t
	}
	return k == confirmation(by.Key)
}

// binds says what a client's tokens will be bound to: to its certificate if it is registered so, and to the key that it has proved otherwise. Never to both: a resource server
// would look at one alone.
func (c Client) binds(by Caller) (confirmation, error) {
	switch {
	case c.DPoP && by.Key == "":
		return "", oauth(invalidProof, "the client's tokens are bound to a key: a proof is needed")
	case !c.CertificateBound:
		return confirmation(by.Key), nil
	case by.Key != "":
		return "", oauth(invalidProof, "the client's tokens are bound to its certificate, and to no key")
	case len(by.Certificate) == 0:
		return "", oauth(invalidRequest, "the client's tokens are bound to its certificate: it is shown at mtls_endpoint_aliases")
	}
	return confirmation(certificateMark + string(by.Certificate.Thumbprint())), nil
}
