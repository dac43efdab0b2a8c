package config_test

import (
	"strings"
	"testing"

	"countersign/internal/platform/config"
)

func TestWhereCertificatesAreShown(t *testing.T) {
	good := func() config.Config {
		c := config.Default()
		c.OIDC.MTLSListen, c.OIDC.MTLSURL, c.OIDC.MTLSCertFile, c.OIDC.MTLSKeyFile = "127.0.0.1:8443", "https://MTLS.example.org", "tls.crt", "tls.key"
		return c
	}
	if c := good(); c.Validate() != nil || c.OIDC.MTLS() != "https://mtls.example.org" {
		t.Errorf("%v, %s", c.Validate(), c.OIDC.MTLS())
	}
	if c := config.Default(); c.OIDC.MTLS() != "" {
		t.Error("nobody has said that there is such a listener")
	}
	for what, change := range map[string]func(*config.Config){
		"oidc.mtls_listen: nobody can show":    func(c *config.Config) { c.OIDC.MTLSListen = "" },
		"oidc.mtls_listen: want an address":    func(c *config.Config) { c.OIDC.MTLSListen = "8443" },
		"oidc.mtls_listen: must be an address": func(c *config.Config) { c.OIDC.MTLSListen = c.HTTP.Listen },
		"oidc.mtls_url: want https, and host ": func(c *config.Config) { c.OIDC.MTLSURL = "https://mtls.example.org/oauth" },
		"oidc.mtls_url: want https, and host":  func(c *config.Config) { c.OIDC.MTLSURL = "http://mtls.example.org" },
		"oidc.mtls_url: must differ": func(c *config.Config) {
			c.Site.PublicURL, c.OIDC.MTLSURL = "https://id.example.org", "https://id.example.org"
		},
		"oidc.mtls_cert_file: set mtls_cert_fi": func(c *config.Config) { c.OIDC.MTLSKeyFile = "" },
	} {
		c := good()
		if change(&c); c.Validate() == nil || !strings.Contains(c.Validate().Error(), what) {
			t.Errorf("%s: %v", what, c.Validate())
		}
	}
}
