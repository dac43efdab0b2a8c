package oidc

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// checkFAPI completes a client that keeps to the FAPI 2.0 Security Profile, and says what of it cannot be. What else the profile wants everybody gets
// here: iss in answers, codes of a minute, 303, no refresh token that takes turns once it is bound.
func (c *Client) checkFAPI() error {
	c.RequirePAR = true
	if !c.CertificateBound {
		c.DPoP = true
	}
	var bad []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Errorf("fapi: "+format, args...))
		}
	}
	want(c.Auth == ByAssertion || c.Auth.byCertificate(), "the client proves itself by %s, %s or %s", ByAssertion, ByAuthority, BySelfSigned)
	want(!c.WithoutPKCE, "there is no exemption from PKCE")
	want(c.Alg == string(jose.ES256) || c.Alg == string(jose.EdDSA), "id_token_alg is ES256 or EdDSA")
	want(!slices.ContainsFunc(c.RedirectURIs, func(u string) bool { return !strings.HasPrefix(u, "https://") }), "redirect_uris are https")
	want(!slices.ContainsFunc(c.keys.Keys, func(k jose.JSONWebKey) bool { return k.Algorithm == string(jose.RS256) }), "RS256 is not taken")
	return errors.Join(bad...)
}
