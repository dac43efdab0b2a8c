package proxy_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"countersign/internal/platform/config"
	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
)

// The example starts as it stands there, and shows its notes to who is signed in.
func TestTheStaticSite(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("caddy")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("caddy is missing: run scripts/install-test-tools")
		}
		t.Skip("caddy is not there")
	}
	at := testkit.FreeAddress(t)
	_, port, _ := net.SplitHostPort(at)
	s := &site{t: t, origin: "http://notes.localhost:" + port}
	s.node = servertest.Start(t, servertest.Options{Config: func(c *config.Config) {
		c.Forward.Listen, c.Forward.Rules = "127.0.0.1:1", []string{s.origin + "/public/ anyone", s.origin + "/ signed-in"} // served below
	}})
	id, gate := s.node.Account(ada), httptest.NewServer(s.node.Gate())
	t.Cleanup(gate.Close)
	example, err := filepath.Abs("../../examples/caddy-static")
	if err != nil {
		t.Fatal(err)
	}
	runWith(t, t.TempDir(), at, program, []string{"run", "--config", filepath.Join(example, "Caddyfile")}, // the name says which language it is
		"NOTES_PORT="+port, "NOTES_ROOT="+filepath.Join(example, "site"), "COUNTERSIGN_GATE="+gate.Listener.Addr().String())
	s.browse("notes.localhost")
	says := func(got *http.Response) string {
		t.Helper()
		text, err := io.ReadAll(got.Body)
		if err != nil || got.StatusCode != http.StatusOK {
			t.Fatalf("%d, %v: %s", got.StatusCode, err, text)
		}
		return string(text)
	}
	if text := says(s.page(s.origin + "/public/")); !strings.Contains(text, "for everybody") {
		t.Errorf("the public page: %s", text)
	}
	if got := s.do("GET", s.origin+"/", "Remote-User", "root"); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("a script without a session: %d", got.StatusCode)
	}
	on := s.onward(s.signIn(s.origin + "/"))
	text := says(s.follow(s.do("GET", on, "Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Remote-User", "root")))
	if !strings.Contains(text, "signed in: "+string(id)+" (aal1)") {
		t.Errorf("the notes: %s", text)
	}
}
