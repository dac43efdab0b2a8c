package oidc_test

import (
	"strings"
	"testing"

	"countersign/internal/oidc"
)

// What is taken for a set of keys and is none says what it is, and what is wanted.
func TestWhatIsNoSetOfKeysIsCalledByItsName(t *testing.T) {
	const key = `{"kty":"EC","crv":"P-256","x":"GTasl_ukq596y0yiAf_pHVFhSl7j8fqPojpAcohn8nM","y":"XPD5RhrAm2jjfRKrPS6Sj7sZx8JekqqJkNw05HgrqRE"}`
	for text, want := range map[string]string{
		`{"keys":[` + key + `]}`: "",
		key:                      `jwks: this is one key: put it into {"keys": […]}`,
		"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n":               `jwks: want a JWK set as JSON, {"keys": […]}; this is PEM: docs/openid.md says how to turn it into one`,
		"Bag Attributes\n-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n": `this is PEM`,
		"[" + key + "]":            `jwks: want a JWK set as JSON, {"keys": […]}: `,
		"\x30\x82":                 `jwks: want a JWK set as JSON, {"keys": […]}: `,
		`{"keys":[]}`:              "jwks: want one to 10 keys",
		`{}`:                       "jwks: want one to 10 keys",
		`{"keys":[` + key + `,{}]`: `jwks: want a JWK set as JSON`,
	} {
		c := oidc.Client{ID: "shop", Name: "Shop", RedirectURIs: []string{callback}, Auth: oidc.ByAssertion, Keys: text}
		if err := c.Check(); want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), "jwks: ") || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s:\n%v", text, err)
		}
	}
}
