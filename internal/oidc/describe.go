package oidc

import (
	"encoding/json"
	"strings"

	"countersign/internal/dpop"
)

// Endpoint is the path of one.
type Endpoint string

// The endpoints.
const (
	AuthorizePath  Endpoint = "/authorize"
	TokenPath      Endpoint = "/oauth/token"
	UserInfoPath   Endpoint = "/oauth/userinfo"
	IntrospectPath Endpoint = "/oauth/introspect"
	RevokePath     Endpoint = "/oauth/revoke"
	JWKSPath       Endpoint = "/oauth/jwks"
	PushPath       Endpoint = "/oauth/par"
	RegisterPath   Endpoint = "/oauth/register"
	LogoutPath     Endpoint = "/oauth/logout"
	PairPath       Endpoint = "/oauth/device_authorization"
	DevicePath     Endpoint = "/device" // where people type the codes of devices
)

// Describe is the provider's metadata (OpenID Connect Discovery, RFC 8414).
func (s *Service) Describe() ([]byte, error) {
	methods := s.offered()
	signed := []string{}
	for _, a := range asserted() {
		signed = append(signed, string(a))
	}
	all := map[string]any{
		"issuer":                 s.Issuer,
		"authorization_endpoint": s.at(AuthorizePath),
		"token_endpoint":         s.at(TokenPath),
		"userinfo_endpoint":      s.at(UserInfoPath),
		"introspection_endpoint": s.at(IntrospectPath),
		"revocation_endpoint":    s.at(RevokePath),
		"jwks_uri":               s.at(JWKSPath),
		"registration_endpoint":  s.at(RegisterPath),
		"end_session_endpoint":   s.at(LogoutPath),

		"device_authorization_endpoint": s.at(PairPath),

		"pushed_authorization_request_endpoint": s.at(PushPath),
		"require_pushed_authorization_requests": false, // each client may say so

		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query"},
		"grant_types_supported":                 grantTypes(),
		"code_challenge_methods_supported":      []string{"S256"},
		"subject_types_supported":               []string{"pairwise", "public"},
		"scopes_supported":                      Scopes(),
		"id_token_signing_alg_values_supported": algorithms(),
		"acr_values_supported":                  levels(),
		"prompt_values_supported":               []string{"none", "login", "consent", "select_account"},
		"claims_supported":                      []string{"sub", "iss", "aud", "exp", "iat", "auth_time", "acr", "amr", "nonce", "at_hash", "sid", "reference", "email", "email_verified"},
		"ui_locales_supported":                  []string{"en", "de", "fr", "es", "ar"},

		"token_endpoint_auth_methods_supported":                    methods,
		"token_endpoint_auth_signing_alg_values_supported":         signed,
		"introspection_endpoint_auth_methods_supported":            methods,
		"introspection_endpoint_auth_signing_alg_values_supported": signed,
		"revocation_endpoint_auth_methods_supported":               methods,
		"revocation_endpoint_auth_signing_alg_values_supported":    signed,

		"dpop_signing_alg_values_supported": strings.Fields(dpop.Algorithms),

		"backchannel_logout_supported":         true,
		"backchannel_logout_session_supported": true,

		"authorization_response_iss_parameter_supported": true,
		"claims_parameter_supported":                     true,
		"request_parameter_supported":                    true,
		"request_object_signing_alg_values_supported":    signed,
		"require_signed_request_object":                  false, // each client may say so
		"request_uri_parameter_supported":                false,

		"tls_client_certificate_bound_access_tokens": s.MTLS.Origin != "",
	}
	if s.MTLS.Origin != "" {
		all["mtls_endpoint_aliases"] = s.aliases()
	}
	return json.Marshal(all)
}

// aliases are where clients show certificates (RFC 8705 section 5).
func (s *Service) aliases() map[string]string {
	all := map[string]string{}
	for name, e := range map[string]Endpoint{
		"token_endpoint": TokenPath, "pushed_authorization_request_endpoint": PushPath, "introspection_endpoint": IntrospectPath, "revocation_endpoint": RevokePath,
		"userinfo_endpoint": UserInfoPath, "device_authorization_endpoint": PairPath,
	} {
		all[name] = s.MTLS.Origin + string(e)
	}
	return all
}

func (s *Service) at(e Endpoint) string { return s.Issuer + string(e) }
