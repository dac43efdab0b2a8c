package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
)

// oidcSaid is how a setting of an application is called: in the file of clients, as it is kept, and on the command line.
type oidcSaid struct{ file, flag string }

// oidcSettings are all settings of an application but its id.
func oidcSettings() []oidcSaid {
	return []oidcSaid{
		{"name", "name"},
		{"redirect_uris", "redirect"},
		{"post_logout_redirect_uris", "post-logout"},
		{"backchannel_logout_uri", "backchannel-logout"},
		{"auth", "auth"},
		{"scopes", "scope"},
		{"device_grant", "device-grant"},
		{"own_scopes", "own-scope"},
		{"first_party", "first-party"},
		{"public_subject", "public-sub"},
		{"sector", "sector"},
		{"id_token_alg", "alg"},
		{"jwks", "jwks"},
		{"introspects", "introspects"},
		{"second_door", "second-door"},
		{"certificate_bound", "certificate-bound"},
		{"dpop_bound", "dpop-bound"},
		{"fapi", "fapi"},
		{"require_signed_request", "require-signed-request"},
		{"require_par", "require-par"},
		{"pkce_exempt", "pkce-exempt"},
		{"tls_client_auth_subject_dn", "subject-dn"},
		{"tls_client_auth_san_dns", "san-dns"},
		{"tls_client_auth_san_uri", "san-uri"},
		{"tls_client_auth_san_ip", "san-ip"},
		{"tls_client_auth_san_email", "san-email"},
	}
}

// inFlags says what is wrong with an application in the words of the command line: what the refusal says are those of the file of clients.
func inFlags(err error) error {
	const code = "oidc_client_invalid"
	if fault.Of(err).Code != code {
		return err
	}
	lines := strings.Split(strings.TrimPrefix(err.Error(), code+": "), "\n")
	for i, line := range lines {
		lines[i] = lineInFlags(line)
	}
	return fault.New(fault.Invalid, code, errors.New(strings.Join(lines, "\n")))
}

func lineInFlags(line string) string {
	flags := map[string]string{"tls_client_auth_*": "--subject-dn or --san-…", "tls_client_auth_san_*": "--san-…"}
	for _, s := range oidcSettings() {
		flags[s.file] = "--" + s.flag
	}
	for _, kind := range []string{"dns", "uri", "ip", "email"} { // the second to the fifth of a list of names are short
		flags["_san_"+kind] = "--san-" + kind
	}
	words := strings.Split(line, " ")
	for i, word := range words {
		bare := strings.TrimRight(word, ",:")
		// A word that people use too is a setting where it stands for what is wrong.
		if flag, ok := flags[bare]; ok && (strings.Contains(bare, "_") || i == 0 && strings.HasSuffix(word, ":")) {
			words[i] = flag + word[len(bare):]
		}
	}
	return strings.Join(words, " ")
}

// oidcChanges says what of an application is another than before, setting by setting.
func oidcChanges(was, is oidc.Client) (out []string, err error) {
	before, err := kept(was)
	if err != nil {
		return nil, err
	}
	after, err := kept(is)
	if err != nil {
		return nil, err
	}
	for _, s := range oidcSettings() {
		a, b := before[s.file], after[s.file]
		switch from, to := shownSetting(a, b), shownSetting(b, a); {
		case from == to:
		case s.file == "jwks" && a != nil && b != nil: // too long to compare by eye
			out = append(out, s.flag+" was another")
		case s.file == "jwks" && b != nil:
			out = append(out, s.flag+" was none, is there")
		case s.file == "jwks":
			out = append(out, s.flag+" was there, is none")
		default:
			out = append(out, fmt.Sprintf("%s was %s, is %s", s.flag, from, to))
		}
	}
	return out, nil
}

// kept is an application as the database has it.
func kept(c oidc.Client) (all map[string]any, err error) {
	text, err := json.Marshal(c)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	return all, err
}

// shownSetting is a setting's value for people; beside says of what type it would be.
func shownSetting(v, beside any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return "yes" // no is not kept
	case []any:
		words := make([]string, len(v))
		for i, one := range v {
			words[i] = fmt.Sprint(one)
		}
		if len(words) > 0 {
			return strings.Join(words, " ")
		}
	}
	if _, ok := beside.(bool); ok {
		return "no"
	}
	return "none"
}
