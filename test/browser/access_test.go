package browser_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"countersign/internal/access"
	"countersign/internal/platform/config"
	"countersign/internal/testkit/servertest"
	"countersign/internal/web/forwardauth"
)

// behindProxy serves a site at a host of its own, before which a proxy asks the node about each request.
func behindProxy(t *testing.T, gate func() http.Handler) (origin string) {
	t.Helper()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, access.Root) {
			gate().ServeHTTP(w, r)
			return
		}
		ask := httptest.NewRequest(http.MethodGet, forwardauth.Path, nil)
		ask.Header = r.Header.Clone()
		ask.Header.Set("X-Forwarded-Method", r.Method)
		ask.Header.Set("X-Forwarded-Host", r.Host)
		ask.Header.Set("X-Forwarded-Uri", r.RequestURI)
		said := httptest.NewRecorder()
		gate().ServeHTTP(said, ask)
		if said.Code != http.StatusOK {
			for name, values := range said.Header() {
				w.Header()[name] = values
			}
			w.WriteHeader(said.Code)
			_, _ = io.Copy(w, said.Body)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Wiki</title><link rel="icon" href="data:,"><h1>Wiki</h1><p>Signed in as %q at %s on %s.</p>`,
			said.Header().Get("Remote-Email"), said.Header().Get("Remote-Assurance"), r.URL.Path)
	}))
	t.Cleanup(proxy.Close)
	_, port, _ := net.SplitHostPort(proxy.Listener.Addr().String())
	return "http://wiki.localhost:" + port
}

// Whoever opens a site behind a proxy is led to the sign-in, through both doors, and back to the page they wanted: though a form is sent on the
// way, whose answer browsers let lead to no other site.
func TestASiteBehindAProxyIsOpenedBySigningIn(t *testing.T) {
	var n *servertest.Node
	origin := behindProxy(t, func() http.Handler { return n.Gate() })
	n = siteWith(t, func(c *config.Config) {
		c.Forward.Listen, c.Forward.Emails = "127.0.0.1:1", []string{origin} // served by the proxy above
		c.Forward.Rules = []string{origin + "/ops/ group:ops", origin + "/ signed-in"}
	})
	b := visit(t, origin)
	b.open("/pages/7?a=b")
	b.signIn(ada, servertest.Password)
	b.write(code, codeFor(n, ada))
	b.press("Continue")
	b.see(`Signed in as "` + ada + `" at aal1 on /pages/7.`)
	b.open("/other")
	b.see("on /other.")
	b.open("/ops/secret")
	b.see("You may not open this")
	b.press("Sign out")
	b.see("You are signed out")
	b.open("/other")
	b.see("Sign in")
}
