package main

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"countersign/internal/oidc"
	"countersign/internal/testkit"
)

// says runs a command that must succeed, and returns what it has said beside its output.
func (s *shell) says(args ...string) string {
	s.t.Helper()
	code, _, errs := s.run(args...)
	if code != 0 {
		s.t.Fatalf("%v: exit %d: %s", args, code, errs)
	}
	return errs
}

// An application that is registered again loses what is not said again: the operator reads what that is.
func TestWhatChangesOfAnApplicationIsSaid(t *testing.T) {
	s := newShell(t)
	s.ok("migrate")
	add := func(more ...string) string {
		return s.says(append([]string{"oidc", "add", "rp", "--name", "Shop", "--redirect", "https://shop.example.com/callback"}, more...)...)
	}
	for _, step := range []struct {
		more []string
		says string
	}{
		{[]string{"--scope", "openid,email,offline_access"}, "rp is registered; its issuer is http://localhost:8080\n"},
		{[]string{"--scope", "openid,email,offline_access"}, "rp is as it was\n"},
		{nil, "rp is changed: scope was openid email offline_access, is openid\n"},
		{
			[]string{"--first-party", "--post-logout", "https://shop.example.com/", "--redirect", "https://shop.example.com/other"},
			"rp is changed: redirect was https://shop.example.com/callback, is https://shop.example.com/callback https://shop.example.com/other\n" +
				"rp is changed: post-logout was none, is https://shop.example.com/\nrp is changed: first-party was no, is yes\n",
		},
		{nil, "rp is changed: redirect was https://shop.example.com/callback https://shop.example.com/other, is https://shop.example.com/callback\n" +
			"rp is changed: post-logout was https://shop.example.com/, is none\nrp is changed: first-party was yes, is no\n"},
	} {
		if got := add(step.more...); got != step.says {
			t.Errorf("%v:\n%s\nwant\n%s", step.more, got, step.says)
		}
	}
}

// No setting of an application changes in silence.
func TestEverySettingOfAnApplicationIsCompared(t *testing.T) {
	var names []string
	set := func(of reflect.Value) {
		for i := range of.NumField() {
			tag := of.Type().Field(i).Tag.Get("toml")
			if tag == "" || tag == "id" || tag == "secret_file" {
				continue
			}
			names = append(names, tag)
			switch f := of.Field(i); f.Kind() {
			case reflect.String:
				f.SetString("x")
			case reflect.Bool:
				f.SetBool(true)
			default:
				f.Set(reflect.ValueOf([]string{"x"}))
			}
		}
	}
	var c oidc.Client
	set(reflect.ValueOf(&c).Elem())
	set(reflect.ValueOf(&c.Subject).Elem())
	for _, way := range []struct{ was, is oidc.Client }{{oidc.Client{}, c}, {c, oidc.Client{}}} {
		changes, err := oidcChanges(way.was, way.is)
		if err != nil || len(changes) != len(names) {
			t.Errorf("%d settings, %d changes (%v):\n%s", len(names), len(changes), err, strings.Join(changes, "\n"))
		}
	}
	for _, s := range oidcSettings() {
		if !slices.Contains(names, s.file) {
			t.Errorf("there is no %s", s.file)
		}
	}
	if changes, err := oidcChanges(oidc.Client{Keys: "a"}, oidc.Client{Keys: "b"}); err != nil || len(changes) != 1 || changes[0] != "jwks was another" {
		t.Error(changes, err)
	}
	if changes, err := oidcChanges(c, c); err != nil || len(changes) > 0 {
		t.Error(changes, err)
	}
}

// Who types flags reads what is wrong with them in flags.
func TestWhatIsWrongWithAnApplicationIsSaidInFlags(t *testing.T) {
	s := newShell(t)
	s.ok("migrate")
	for more, want := range map[string]string{
		"":                            "countersign: oidc_client_invalid: --redirect: want one to 20\n",
		"--redirect http://shop.test": "--redirect: \"http://shop.test\": http is for loopback addresses alone\n",
		"--own-scope a --device-grant --require-par":                                           "--device-grant: what a device asks for is neither pushed nor signed\n",
		"--own-scope a --auth private_key_jwt":                                                 "--jwks: private_key_jwt, self_signed_tls_client_auth and --require-signed-request need it\n",
		"--own-scope a --scope profile --auth none":                                            "--own-scope: a client that asks in its own name has to prove who it is; --scope: \"profile\" is none of openid, email, offline_access\n",
		"--own-scope a --dpop-bound --fapi --alg RS256 --redirect http://localhost/own_scopes": "--fapi: --alg is ES256 or EdDSA; --fapi: --redirect are https",
		"--own-scope a --dpop-bound --certificate-bound":                                       "--certificate-bound and --dpop-bound: a token is bound to one thing",
		"--own-scope a --auth tls_client_auth":                                                 "--subject-dn or --san-…: tls_client_auth and the name in a certificate need one another",
		"--own-scope a --auth tls_client_auth --san-dns a --san-ip 127.0.0.1":                  "one alone: --subject-dn, --san-dns, --san-uri, --san-ip or --san-email",
	} {
		code, _, errs := s.run(append([]string{"oidc", "add", "shop", "--name", "Shop"}, strings.Fields(more)...)...)
		if code != exitFailed || !strings.Contains(errs, want) || strings.Contains(errs, "redirect_uris") {
			t.Errorf("%s: exit %d:\n%s", more, code, errs)
		}
	}
	s.fails(exitFailed, "--name: want what people know it by", "oidc", "add", "shop", "--name", " ", "--own-scope", "a")
}

// Of an application that shows a certificate the operator reads where it calls and what name is compared, and finds the name in the list.
func TestAnApplicationWithACertificateIsSaidWhereItCalls(t *testing.T) {
	s := newShell(t)
	if err := os.WriteFile("roots.pem", testkit.NewAuthority(t, "Our CA").PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	s.environ = append(s.environ, "COUNTERSIGN_OIDC_MTLS_LISTEN=127.0.0.1:1", "COUNTERSIGN_OIDC_MTLS_URL=https://mtls.example.org", "COUNTERSIGN_OIDC_MTLS_ROOTS=roots.pem",
		"COUNTERSIGN_OIDC_MTLS_CERT_FILE=tls.crt", "COUNTERSIGN_OIDC_MTLS_KEY_FILE=tls.key")
	s.ok("migrate")
	const (
		calls = " calls https://mtls.example.org, and shows its certificate there\n"
		named = " is known by the name CN=photos,O=Photos Ltd in its certificate, in this order: openssl x509 -noout -subject -nameopt RFC2253 prints it so, and without -nameopt the other way round\n"
		made  = " is registered; its issuer is http://localhost:8080\n"
	)
	for _, step := range []struct{ id, more, says string }{
		{"till", "--own-scope|a|--auth|tls_client_auth|--subject-dn|CN = photos, O = Photos Ltd", "till" + made + "till" + calls + "till" + named},
		{"till", "--own-scope|a|--auth|tls_client_auth|--subject-dn|CN = photos, O = Photos Ltd", "till is as it was\n"},
		{"till", "--own-scope|a|--auth|tls_client_auth|--san-dns|till.example.com", "till is changed: subject-dn was CN = photos, O = Photos Ltd, is none\ntill is changed: san-dns was none, is till.example.com\ntill" + calls},
		{"bound", "--own-scope|a|--certificate-bound", "bound" + made + "bound" + calls},
		{"shop", "--redirect|https://shop.example.com/callback", "shop" + made},
		{"photos", "--second-door|https://photos.example.net|--second-door|https://photos.example.com", "photos" + made},
	} {
		if got := s.says(append([]string{"oidc", "add", step.id, "--name", "X"}, strings.Split(step.more, "|")...)...); got != step.says {
			t.Errorf("%s %s:\n%s\nwant\n%s", step.id, step.more, got, step.says)
		}
	}
	list := s.ok("oidc", "list")
	for _, line := range []string{
		`till +X +tls_client_auth \(san-dns till\.example\.com\) +openid +- +command`, `shop +X +client_secret_basic +openid +https://shop\.example\.com/callback +command`,
		`photos +X +client_secret_basic +openid +https://photos\.example\.net \(second door\) https://photos\.example\.com \(second door\) +command`,
	} {
		if !regexp.MustCompile("(?m)^" + line + "$").MatchString(list) {
			t.Errorf("want %s in\n%s", line, list)
		}
	}
}
