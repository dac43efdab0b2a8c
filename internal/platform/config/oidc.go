package config

import (
	"net/url"
	"strings"
)

// oidc is about applications that sign people in through us.
type oidc struct {
	ClientsFile string `toml:"clients_file" doc:"A TOML file that lists applications, each as a [[client]], with its secret in a file of its own. Read at start."`

	MTLSListen   string `toml:"mtls_listen" doc:"Address and port of a listener for applications that prove who they are by a certificate (mTLS, RFC 8705), such as 0.0.0.0:8443. TLS ends here: nothing before it may do that, and no header is believed. Empty turns it off."`
	MTLSURL      string `toml:"mtls_url" doc:"Where applications reach it, such as https://mtls.example.org or https://id.example.org:8443. Our metadata names it (mtls_endpoint_aliases)."`
	MTLSCertFile string `toml:"mtls_cert_file" doc:"Its own certificate chain in PEM; that of http.tls_cert_file may do. A renewed one is used within seconds."`
	MTLSKeyFile  string `toml:"mtls_key_file" doc:"Private key of that certificate in PEM."`
	MTLSRoots    string `toml:"mtls_roots" doc:"Certificates (PEM) of the authorities that vouch for applications (tls_client_auth). Read again when it changes. Empty: none does, and self_signed_tls_client_auth alone is offered."`
}

// MTLS is the origin where applications show certificates; empty if they cannot.
func (o oidc) MTLS() string {
	u, err := url.Parse(o.MTLSURL)
	if o.MTLSListen == "" || err != nil { // Validate has refused it
		return ""
	}
	return "https://" + strings.ToLower(u.Host)
}

func (c Config) checkOIDC(k *checker) {
	o := c.OIDC
	if o.MTLSListen == "" {
		k.want(o.MTLSURL == "" && o.MTLSCertFile == "" && o.MTLSKeyFile == "" && o.MTLSRoots == "", "oidc.mtls_listen", "nobody can show a certificate: set it, or take the other mtls_ settings away")
		return
	}
	k.address("oidc.mtls_listen", o.MTLSListen)
	k.want(o.MTLSListen != c.HTTP.Listen && o.MTLSListen != c.Metrics.Listen && o.MTLSListen != c.Forward.Listen, "oidc.mtls_listen", "must be an address of its own")
	u, err := url.Parse(o.MTLSURL)
	k.want(err == nil && u.Scheme == "https" && u.Host != "" && strings.EqualFold(o.MTLSURL, "https://"+u.Host), "oidc.mtls_url", "want https, and host alone, such as https://mtls.example.org")
	k.want(o.MTLS() != c.Public().String(), "oidc.mtls_url", "must differ from site.public_url: there nobody is asked for a certificate")
	k.want(o.MTLSCertFile != "" && o.MTLSKeyFile != "", "oidc.mtls_cert_file", "set mtls_cert_file and mtls_key_file: TLS ends here")
}
