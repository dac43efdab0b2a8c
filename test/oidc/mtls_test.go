package oidc_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/certificate"
	"countersign/internal/oidc"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

// carried writes what a client with a certificate needs into a folder.
func carried(t *testing.T, ca *testkit.Authority, own tls.Certificate) (dir string) {
	t.Helper()
	certFile, _ := testkit.CertificateFiles(t, own)
	dir = filepath.Dir(certFile)
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func registeredKeys(t *testing.T, c tls.Certificate) string {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: c.Leaf.PublicKey, Certificates: []*x509.Certificate{c.Leaf}}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// npm openid-client, by certificates of either kind: it pushes its request, gets tokens that are bound to its certificate, and they are good with that alone. The second door
// takes the certificate, too.
func TestOpenIDClientByACertificate(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		for _, way := range []oidc.AuthMethod{oidc.ByAuthority, oidc.BySelfSigned} {
			t.Run(string(engine)+"/"+string(way), func(t *testing.T) {
				ca := testkit.NewAuthority(t, "Our CA")
				n := servertest.Start(t, servertest.Options{Database: dbtest.NewURL(t, engine), MTLS: ca})
				n.Account(address, phone)
				ofHost := func(c *x509.Certificate) { c.DNSNames = []string{"bank.example.com"} }
				own, other := ca.Issue(ofHost), ca.Issue(nil)
				c := oidc.Client{ID: "bank", Name: "Bank", RedirectURIs: []string{callback}, Scopes: []string{"openid", "offline_access"}, Auth: way, CertificateBound: true, FAPI: true, SecondDoor: []string{"https://bank.example.com"}}
				if c.Subject = (certificate.Subject{DNS: "bank.example.com"}); way == oidc.BySelfSigned {
					own = testkit.SelfSigned(t, nil)
					c.Subject, c.Keys = certificate.Subject{}, registeredKeys(t, own)
				}
				if _, err := n.Core().Applications.Add(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				f := run(t, "mtls.js", n.URL, "bank", callback, string(way), carried(t, ca, own))
				thief := run(t, "mtls.js", n.URL, "bank", callback, string(way), carried(t, ca, other))
				for _, one := range []*foreign{f, thief} {
					var found struct {
						Offered bool
						At      string
					}
					if one.good("discover", nil, &found); !found.Offered || found.At != n.Alias+"/oauth/token" {
						t.Errorf("found %+v", found)
					}
				}
				push := map[string]any{"push": true}
				if a := thief.ask("begin", push); a.Error != "OAUTH_WWW_AUTHENTICATE_CHALLENGE" { // which is what it makes of a 401
					t.Errorf("by another's certificate: %+v", a)
				}
				var link string
				f.good("begin", push, &link)
				var got struct {
					Claims, Info struct{ Sub string }
					Type         string
				}
				f.good("finish", person{t, n, n.Browser()}.signIn(link), &got)
				if got.Claims.Sub == "" || got.Info.Sub != got.Claims.Sub || !strings.EqualFold(got.Type, "Bearer") {
					t.Errorf("%+v", got)
				}
				var next struct{ Turned bool }
				if f.good("refresh", nil, &next); next.Turned {
					t.Error("a refresh token that is bound takes turns")
				}
				var known struct {
					Active bool
					Bound  map[string]certificate.Thumbprint `json:"cnf"`
				}
				if f.good("introspect", nil, &known); !known.Active || known.Bound["x5t#S256"] != (certificate.Shown{own.Leaf}).Thumbprint() {
					t.Errorf("introspected as %+v", known)
				}
				var second struct {
					Opened bool
					Step   string
				}
				if f.good("door", n.Alias, &second); !second.Opened || second.Step != "second" {
					t.Errorf("the second door: %+v", second)
				}
				said := regexp.MustCompile("^CountersignError: The call does not prove which client it is of [0-9a-f]{16}$") // its title, and the request
				if a := thief.ask("door", n.Alias); a.Error != "client_unproved" || !said.MatchString(a.Description) {
					t.Errorf("the second door by another's certificate: %+v", a)
				}
				var token string
				f.good("token", nil, &token)
				for what, ask := range map[string]struct {
					by   *foreign
					ask  string
					want int
				}{"its own": {f, "userinfo", http.StatusOK}, "another": {thief, "userinfo", http.StatusUnauthorized}, "none": {f, "bearer", http.StatusUnauthorized}} {
					var status int
					if ask.by.good(ask.ask, token, &status); status != ask.want {
						t.Errorf("userinfo with %s: %d", what, status)
					}
				}
			})
		}
	}
}

// curl, as docs/openid.md has it.
func TestCurlByACertificate(t *testing.T) {
	curl := program(t, "curl")
	ca := testkit.NewAuthority(t, "Our CA")
	n := servertest.Start(t, servertest.Options{MTLS: ca})
	own := ca.Issue(nil) // CN=test
	if _, err := n.Core().Applications.Add(t.Context(), oidc.Client{
		ID: "till", Name: "Till", Auth: oidc.ByAuthority, Subject: certificate.Subject{DN: "CN=test"}, OwnScopes: []string{"orders:write"}, CertificateBound: true,
	}); err != nil {
		t.Fatal(err)
	}
	dir := carried(t, ca, own)
	ask := []string{"--silent", "--show-error", "--cacert", dir + "/ca.pem", "--cert", dir + "/cert.pem", "--key", dir + "/key.pem"}
	for _, with := range [][]string{ask, ask[:4]} {
		out, err := exec.CommandContext(t.Context(), curl, append(with, n.Alias+"/oauth/token", "-d", "client_id=till", "-d", "grant_type=client_credentials")...).CombinedOutput()
		if got := strings.Contains(string(out), `"access_token"`); err != nil || got != (len(with) == len(ask)) || !got && !strings.Contains(string(out), "invalid_client") {
			t.Errorf("%s: %v", out, err)
		}
	}
}
