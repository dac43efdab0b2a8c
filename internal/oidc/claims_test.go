package oidc_test

import (
	"testing"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/assurance"
	"countersign/internal/oidc"
)

// OpenID Connect Core section 5.5: what claims says has to be so is so, or nothing is given. Ada has proved a password and a text message: aal2.
func TestTheParameterClaims(t *testing.T) {
	each(t, func(k *kit) {
		k.m.Throttle.Exempt = append(k.m.Throttle.Exempt, prefix("192.0.2.0/24"))
		first, _ := k.claimsOf(k.tokens(redeeming(k.code())).ID)
		ada := first["sub"].(string)
		for text, want := range map[string]string{
			`{}`: "", `{"id_token":{"acr":null,"auth_time":{"essential":true},"email":{"essential":true}},"userinfo":{"name":null},"x":1}`: "",
			`{"id_token":null}`: "",
			`{"id_token":{"acr":{"essential":true,"values":["aal2","aal3"]}}}`:         "",
			`{"id_token":{"acr":{"essential":true,"value":"aal3"}}}`:                   "login_required", // with prompt=none: proves more
			`{"userinfo":{"acr":{"essential":true,"values":["aal3"]}}}`:                "login_required",
			`{"id_token":{"acr":{"values":["aal3"]}}}`:                                 "login_required", // as acr_values has it
			`{"id_token":{"acr":{"essential":true,"values":["urn:openbanking:sca"]}}}`: "unmet_authentication_requirements",
			`{"id_token":{"acr":{"values":["urn:openbanking:sca"]}}}`:                  "", // a wish that nobody can meet
			`{"id_token":{"sub":{"value":"` + ada + `"}}}`:                             "",
			`{"id_token":{"sub":{"value":"somebody"}}}`:                                "login_required",
			`{"userinfo":{"sub":{"value":"somebody"}}}`:                                "login_required",
			`{"id_token":{"sub":{"values":["a","b"]}}}`:                                "invalid_request",
			`{"id_token":{"sub":{"value":"a"}},"userinfo":{"sub":{"value":"b"}}}`:      "invalid_request",
			`{"id_token":{"acr":{"value":2}}}`:                                         "invalid_request",
			`{"id_token":{"acr":"aal2"}}`:                                              "invalid_request",
			`{"id_token":{"email":true}}`:                                              "invalid_request",
			`{"id_token":["acr"]}`:                                                     "invalid_request",
			`["acr"]`:                                                                  "invalid_request",
			`null`:                                                                     "invalid_request",
			`{"id_token":`:                                                             "invalid_request",
			`acr`:                                                                      "invalid_request",
		} {
			if v := k.answer("prompt", "none", "claims", text); v.Get("error") != want || (want == "") != (v.Get("code") != "") {
				t.Errorf("%s: answered %v, want %q", text, v, want)
			}
		}
		// An address is told by its scope, which whoever consents reads, and not by this.
		k.client.Scopes = []string{"openid", "email"}
		k.add(&k.client)
		out := k.tokens(redeeming(k.code("scope", "openid", "claims", `{"userinfo":{"email":{"essential":true}}}`)))
		if info, err := k.UserInfo(t.Context(), out.Access, oidc.Caller{}); err != nil || info["email"] != nil {
			t.Errorf("told %v, %v", info, err)
		}
		// acr_values and claims: both hold.
		if v := k.answer("prompt", "none", "acr_values", "aal3", "claims", `{"id_token":{"acr":{"value":"aal1"}}}`); v.Get("error") != "login_required" {
			t.Errorf("answered %v", v)
		}
		// Whoever has proved less is asked for more, and who proves no more after it is told so.
		k.me = k.signIn(k.who, assurance.Password)
		b := k.begin("claims", `{"id_token":{"acr":{"essential":true,"values":["aal2"]}}}`)
		if n := k.stands(b.Request); n.Step != oidc.StepAgain || n.Least != assurance.AAL2 {
			t.Errorf("wants %+v", n)
		}
		// In an object that the client has signed it is JSON, as in FAPI's.
		signs := k.bank(jose.ES256, func(*oidc.Client) {})
		wish := map[string]any{"acr": map[string]any{"essential": true, "values": []string{"urn:openbanking:sca"}}}
		if got := signs.error(signs.object(map[string]any{"claims": map[string]any{"id_token": wish}})); got != "unmet_authentication_requirements" {
			t.Errorf("answered %q", got)
		}
	})
}
