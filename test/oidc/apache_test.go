package oidc_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"countersign/internal/oidc"
	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
)

// program finds a program that Debian keeps out of PATH, or has the test skipped; in CI it must be there.
func program(t *testing.T, name string, files ...string) string {
	t.Helper()
	found, err := exec.LookPath(name)
	if err != nil {
		found, err = exec.LookPath("/usr/sbin/" + name)
	}
	for _, f := range files {
		if err == nil {
			_, err = os.Stat(f)
		}
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: run scripts/install-test-tools", name)
		}
		t.Skipf("%s is not there: %v", name, err)
	}
	return found
}

// daemon runs a program until the test ends, and waits until it listens.
func daemon(t *testing.T, dir, at, name string, args ...string) {
	t.Helper()
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		stop := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		stop.Stop()
		if t.Failed() {
			text, _ := os.ReadFile(said.Name())
			t.Logf("%s said:\n%s", name, text)
		}
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", at)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not listen: %v", name, err)
		}
	}
}

// application says what it was sent.
func application(t *testing.T) (at string) {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = json.NewEncoder(w).Encode(r.Header) }))
	t.Cleanup(app.Close)
	return app.Listener.Addr().String()
}

// sent is what the application was sent; empty if the way there leads elsewhere.
func (p person) sent(to string) (h http.Header, elsewhere string) {
	p.t.Helper()
	where, body := p.do(http.MethodGet, to, nil)
	if where == "" {
		_ = json.Unmarshal([]byte(body), &h)
	}
	return h, where
}

const apacheModules = "/usr/lib/apache2/modules/"

// Apache's mod_auth_openidc, unmodified, signs somebody in, has them prove more for one of its places, signs them out here, and is told when they
// sign out here.
func TestApache(t *testing.T) {
	apache := program(t, "apache2", apacheModules+"mod_auth_openidc.so")
	at := testkit.FreeAddress(t)
	site := "http://" + at
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org", "+4915112345678")
	token, err := n.Core().Applications.Add(t.Context(), oidc.Client{
		ID: "wiki", Name: "Wiki", RedirectURIs: []string{site + "/oidc"}, FirstParty: true,
		PostLogout: []string{site + "/public"}, Backchannel: site + "/oidc?logout=backchannel",
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var b strings.Builder
	for _, m := range []string{"mpm_event", "authn_core", "authz_core", "authz_user", "proxy", "proxy_http", "auth_openidc"} {
		_, _ = fmt.Fprintf(&b, "LoadModule %s_module %smod_%s.so\n", m, apacheModules, m)
	}
	_, _ = fmt.Fprintf(&b, `ServerName 127.0.0.1
ServerRoot %[1]s
Listen %[2]s
PidFile %[1]s/pid
ErrorLog /dev/stderr
User www-data
Group www-data
StartServers 1
OIDCProviderMetadataURL %[3]s/.well-known/openid-configuration
OIDCClientID wiki
OIDCClientSecret %[4]s
OIDCRedirectURI http://%[2]s/oidc
OIDCCryptoPassphrase %[4]s
OIDCPKCEMethod S256
OIDCRemoteUserClaim sub
ProxyPass /oidc !
ProxyPass / http://%[5]s/
<Location />
	AuthType openid-connect
	Require valid-user
</Location>
<Location /public>
	AuthType None
	Require all granted
</Location>
<Location /vault>
	Require claim acr:aal2
	OIDCUnAutzAction auth
	OIDCPathAuthRequestParams acr_values=aal2
</Location>
`, dir, at, n.URL, token.Reveal(), application(t))
	if err := os.WriteFile(filepath.Join(dir, "apache.conf"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon(t, dir, at, apache, "-d", dir, "-f", filepath.Join(dir, "apache.conf"), "-DFOREGROUND")

	p := person{t, n, n.Browser()}
	in := func() {
		t.Helper()
		_, link := p.sent(site + "/page")
		if !strings.HasPrefix(link, n.URL+"/authorize?") {
			t.Fatalf("leads to %q", link)
		}
		page, _ := p.do(http.MethodGet, p.signIn(link), nil)
		if h, where := p.sent(page); page != site+"/page" || h.Get("OIDC_CLAIM_sub") == "" {
			t.Fatalf("%s leads to %q and says %v", page, where, h)
		}
	}
	in()
	// Signed in with a text message, which is enough for the vault.
	if h, where := p.sent(site + "/vault"); h.Get("OIDC_CLAIM_acr") != "aal2" {
		t.Errorf("the vault leads to %q and says %v", where, h)
	}
	// Out by the application: here, too.
	link, _ := p.do(http.MethodGet, site+"/oidc?logout="+url.QueryEscape(site+"/public"), nil)
	if !strings.HasPrefix(link, n.URL+"/oauth/logout?") {
		t.Fatalf("logging out leads to %q", link)
	}
	if back, page := p.do(http.MethodGet, link, nil); back != site+"/public" {
		t.Errorf("back at %q: %s", back, page)
	}
	if where, _ := p.do(http.MethodGet, "/", nil); !strings.HasPrefix(where, "/signin") {
		t.Errorf("still signed in here: leads to %q", where)
	}
	// Out from here: there, too, without the browser.
	in()
	p.do(http.MethodPost, "/signout", nil)
	where := ""
	for end := time.Now().Add(20 * time.Second); where == "" && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		_, where = p.sent(site + "/page")
	}
	if !strings.HasPrefix(where, n.URL+"/authorize?") {
		t.Errorf("signed out here, and the site leads to %q", where)
	}
}
