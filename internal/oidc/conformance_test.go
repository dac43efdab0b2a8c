package oidc_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"countersign/internal/oidc"
)

// What docs/openid-conformance.md says is tested is tested, no module stands there twice, and no attack of RFC 9700 section 4 is left out.
func TestConformanceNamesTests(t *testing.T) {
	text, err := os.ReadFile("../../docs/openid-conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, folder := range []string{"internal/oidc", "internal/dpop", "internal/server", "internal/web", "test/oidc"} {
		files, err := filepath.Glob("../../" + folder + "/*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			code, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(code), -1) {
				there[m[1]] = true
			}
		}
	}
	var modules []string
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		module := strings.Trim(strings.TrimSuffix(strings.TrimSpace(cells[1]), " MS"), "`")
		if slices.Contains(modules, module) {
			t.Errorf("%s stands there twice", module)
		}
		modules = append(modules, module)
		if !strings.Contains(cells[2], "`Test") && strings.Trim(cells[3], " –\n") == "" {
			t.Errorf("%s has neither a test nor a reason", module)
		}
	}
	for _, m := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(text), -1) {
		if !there[m[1]] {
			t.Errorf("there is no %s", m[1])
		}
	}
	if len(modules) != 125 { // Basic 38, Config 1, Back-Channel 2, RP-Initiated 11, FAPI 73
		t.Errorf("%d modules", len(modules))
	}
	for i := range 17 {
		if want := fmt.Sprintf("\n| 4.%d ", i+1); strings.Count(string(text), want) != 1 {
			t.Errorf("no row %q", want)
		}
	}
	for _, m := range fapiModules() {
		if !slices.Contains(modules, "…"+m.name) {
			t.Errorf("%s is run, and is not in the table", m.name)
		}
	}
}

// What the Basic profile sends, and ends well.
func TestBasicRequests(t *testing.T) {
	each(t, func(k *kit) {
		for name, ask := range map[string][]string{
			"no nonce":              {"nonce", ""},
			"scope profile":         {"scope", "openid profile"},
			"scope email":           {"scope", "openid email"},
			"scope address":         {"scope", "openid address"},
			"scope phone":           {"scope", "openid phone"},
			"every scope":           {"scope", "openid profile email address phone"},
			"display page":          {"display", "page"},
			"display popup":         {"display", "popup"},
			"ui_locales":            {"ui_locales", "se"},
			"claims_locales":        {"claims_locales", "se"},
			"an essential claim":    {"claims", `{"userinfo":{"name":{"essential":true}}}`},
			"scopes in other order": {"scope", "offline_access openid"},
		} {
			out := k.tokens(redeeming(k.code(ask...)))
			claims, _ := k.claimsOf(out.ID)
			info, err := k.UserInfo(t.Context(), out.Access, oidc.Caller{})
			if err != nil || len(info) != 1 || info["sub"] != claims["sub"] {
				t.Errorf("%s: userinfo %v %v", name, info, err)
			}
			for _, never := range []string{"name", "email", "phone_number", "address"} {
				if _, there := claims[never]; there {
					t.Errorf("%s: %s is in the token", name, never)
				}
			}
		}
	})
}

// R-OI-01, R-OA-19, and what OpenID Connect Discovery and the logout specifications want in it.
func TestMetadata(t *testing.T) {
	text, err := (&oidc.Service{Issuer: issuer}).Describe()
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	if m["issuer"] != issuer || m["backchannel_logout_supported"] != true || m["backchannel_logout_session_supported"] != true {
		t.Errorf("%s", text)
	}
	for _, at := range []string{
		"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "introspection_endpoint", "revocation_endpoint", "end_session_endpoint",
	} {
		if u, _ := m[at].(string); !strings.HasPrefix(u, issuer+"/") {
			t.Errorf("%s is %v", at, m[at])
		}
	}
	for name, want := range map[string]string{
		"response_types_supported": "code", "subject_types_supported": "pairwise", "id_token_signing_alg_values_supported": "RS256",
		"scopes_supported": "openid", "code_challenge_methods_supported": "S256", "token_endpoint_auth_methods_supported": "client_secret_basic",
		"grant_types_supported": "client_credentials", "claims_supported": "sub",
	} {
		if list, _ := m[name].([]any); !slices.Contains(list, any(want)) {
			t.Errorf("%s is %v, without %s", name, m[name], want)
		}
	}
}
