// Package proxy_test has real proxies, as docs/proxies sets them up, ask a real node about requests to a site that says what it was sent.
package proxy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
	"countersign/internal/web/forwardauth"
)

const ada = "ada@example.org"

// kinds are the proxies: how the example is changed for a test, and how it is run.
var kinds = map[string]struct {
	program string
	files   []string
	edit    func(text string, at string) string
	command func(dir string) []string
}{
	"nginx": {
		"nginx",
		[]string{"nginx.conf"},
		func(text, at string) string {
			text = regexp.MustCompile(`(?m)^\s*ssl_.*\n`).ReplaceAllString(text, "")
			text = strings.ReplaceAll(text, "listen 443 ssl;", "listen "+at+";")
			return "daemon off;\nworker_processes 1;\nerror_log stderr;\npid nginx.pid;\nevents {}\nhttp {\naccess_log off;\n" +
				"client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n" + text + "}\n"
		},
		func(dir string) []string { return []string{"-p", dir, "-c", "nginx.conf", "-e", "stderr"} },
	},
	"caddy": {
		"caddy",
		[]string{"Caddyfile"},
		func(text, at string) string {
			_, port, _ := net.SplitHostPort(at)
			return "{\n\tadmin off\n\tauto_https off\n}\n" + strings.ReplaceAll(text, "wiki.example.org {", "http://app.localhost:"+port+" {\n\tbind 127.0.0.1")
		},
		func(dir string) []string {
			return []string{"run", "--config", filepath.Join(dir, "Caddyfile"), "--adapter", "caddyfile"}
		},
	},
	"haproxy": {
		"haproxy",
		[]string{"haproxy.cfg", "countersign.lua"},
		func(text, at string) string {
			text = strings.ReplaceAll(text, "bind :443 ssl crt /etc/ssl/wiki.example.org.pem", "bind "+at)
			return strings.ReplaceAll(text, "/etc/haproxy/countersign.lua", "countersign.lua")
		},
		func(dir string) []string { return []string{"-db", "-C", dir, "-f", "haproxy.cfg"} },
	},
}

// site is a site behind a proxy, and the node that the proxy asks.
type site struct {
	t      *testing.T
	node   *servertest.Node
	origin string // of the site, at the proxy
	client *http.Client
}

func start(t *testing.T, kind string) *site {
	t.Helper()
	k := kinds[kind]
	program, err := exec.LookPath(k.program)
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/" + k.program)
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: run scripts/install-test-tools", k.program)
		}
		t.Skipf("%s is not there", k.program)
	}
	at := testkit.FreeAddress(t)
	_, port, _ := net.SplitHostPort(at)
	s := &site{t: t, origin: "http://app.localhost:" + port}
	s.node = servertest.Start(t, servertest.Options{Config: func(c *config.Config) {
		c.Forward.Listen = "127.0.0.1:1" // served below
		c.Forward.Emails = []string{s.origin}
		c.Forward.Rules = []string{
			s.origin + "/public/ anyone", s.origin + "/ops/ group:ops", s.origin + "/strong/ aal2", s.origin + "/ signed-in",
		}
	}})
	gate := httptest.NewServer(s.node.Gate())
	app := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(func() { gate.Close(); app.Close() })
	dir := t.TempDir()
	for _, name := range k.files {
		text, err := os.ReadFile(filepath.Join("../../docs/proxies", name))
		if err != nil {
			t.Fatal(err)
		}
		edited := string(text)
		if name == k.files[0] {
			edited = k.edit(edited, at)
		}
		edited = strings.ReplaceAll(strings.ReplaceAll(edited, "127.0.0.1:9091", gate.Listener.Addr().String()), "127.0.0.1:3000", app.Listener.Addr().String())
		edited = strings.ReplaceAll(edited, "wiki.example.org", "app.localhost")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(edited), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, dir, at, program, k.command(dir))
	s.browse("app.localhost")
	return s
}

// browse has a browser for the site, whose host is this machine.
func (s *site) browse(host string) {
	s.client = s.node.Browser()
	var d net.Dialer
	s.client.Transport = &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if rest, ok := strings.CutPrefix(addr, host+":"); ok {
			addr = "127.0.0.1:" + rest
		}
		return d.DialContext(ctx, network, addr)
	}}
	s.t.Cleanup(s.client.CloseIdleConnections)
}

// run runs a proxy until the test ends.
func run(t *testing.T, dir, at, program string, args []string) {
	t.Helper()
	runWith(t, dir, at, program, args)
}

func runWith(t *testing.T, dir, at, program string, args []string, env ...string) {
	t.Helper()
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, said, said
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	cmd.Env = append(cmd.Env, env...)
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
			t.Logf("%s said:\n%s", program, text)
		}
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", at)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not listen: %v", program, err)
		}
	}
}

// echo is the application: it says what it was sent, and takes sockets.
func echo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "websocket" {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nRemote-User-Seen: %s\r\n\r\n", r.Header.Get("Remote-User"))
		line, _ := rw.ReadString('\n')
		_, _ = io.WriteString(conn, "echo "+line)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"header": r.Header, "path": r.RequestURI, "host": r.Host})
}

// seen is what the application was sent.
type seen struct {
	Header http.Header `json:"header"`
	Path   string      `json:"path"`
}

func (s *site) do(method, to string, headers ...string) *http.Response {
	s.t.Helper()
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader("a=b")
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, to, body)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	got, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = got.Body.Close() })
	return got
}

// page opens an address as a person does.
func (s *site) page(to string) *http.Response {
	return s.do("GET", to, "Accept", "text/html,*/*", "Sec-Fetch-Mode", "navigate")
}

// follow goes where a redirect leads, in as many steps as it takes.
func (s *site) follow(got *http.Response) *http.Response {
	s.t.Helper()
	for range 10 {
		if got.StatusCode != http.StatusFound && got.StatusCode != http.StatusSeeOther {
			return got
		}
		to, err := got.Location()
		if err != nil {
			s.t.Fatal(err)
		}
		got = s.page(to.String())
	}
	s.t.Fatal("ten redirects lead nowhere")
	return nil
}

func (s *site) read(got *http.Response) (v seen) {
	s.t.Helper()
	text, err := io.ReadAll(got.Body)
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil || got.StatusCode != http.StatusOK {
		s.t.Fatalf("%d, %v: %s", got.StatusCode, err, text)
	}
	return v
}

func (s *site) form(path string, values url.Values) *http.Response {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.node.URL+path, strings.NewReader(values.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = got.Body.Close() })
	return got
}

// signIn goes from the site's page to the sign-in, through both doors, and returns the page that leads on.
func (s *site) signIn(to string) *http.Response {
	s.t.Helper()
	door := s.follow(s.page(to))
	if door.Request.URL.Path != "/signin" || door.StatusCode != http.StatusOK {
		s.t.Fatalf("the site leads to %s: %d", door.Request.URL, door.StatusCode)
	}
	asked := s.form("/signin", url.Values{"username": {ada}, "password": {servertest.Password}})
	if asked.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("the password: %d", asked.StatusCode)
	}
	where, _ := asked.Location()
	return s.follow(s.form(where.Path+"/code", url.Values{"code": {s.node.Code(ada)}}))
}

var leadsOn = regexp.MustCompile(`http-equiv="refresh" content="0;url=([^"]+)"`)

// onward is where a page leads by itself.
func (s *site) onward(got *http.Response) string {
	s.t.Helper()
	text, _ := io.ReadAll(got.Body)
	found := leadsOn.FindSubmatch(text)
	if got.StatusCode != http.StatusOK || found == nil {
		s.t.Fatalf("%d: %s", got.StatusCode, text)
	}
	return strings.ReplaceAll(string(found[1]), "&amp;", "&")
}

// Each proxy, as the documentation sets it up: nobody gets in unsigned, forged headers say nothing, and who signs in comes back to where they were.
func TestSitesBehindProxies(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := start(t, kind)
			id := s.node.Account(ada)
			forged := []string{"Remote-User", "root", "Remote-Groups", "ops", "Remote-Email", "root@example.org", "Remote-Assurance", "aal3", "remote-user", "root", "Remote_User", "root", "Remote_Groups", "ops"}

			// Nobody is signed in.
			v := s.read(s.do("GET", s.origin+"/public/x?y=z", forged...))
			if v.Path != "/public/x?y=z" {
				t.Errorf("the application sees %q", v.Path)
			}
			s.unsigned(v, "what is public")
			for what, got := range map[string]*http.Response{
				"a script":            s.do("GET", s.origin+"/private", append(forged, "Accept", "application/json", "Sec-Fetch-Mode", "cors")...),
				"a form":              s.do("POST", s.origin+"/private", append(forged, "Accept", "text/html", "Sec-Fetch-Mode", "navigate")...),
				"a path for another":  s.do("GET", s.origin+"/private", append(forged, "X-Forwarded-Uri", "/public/x", "X-Original-Url", "/public/x", "X-Rewrite-Url", "/public/x")...),
				"a method for one":    s.do("GET", s.origin+"/private", "X-Forwarded-Method", "HEAD", "X-Http-Method-Override", "HEAD"),
				"a host for another":  s.do("GET", s.origin+"/private", "X-Forwarded-Host", "evil.example"),
				"a pass of nobody's":  s.do("GET", s.origin+"/private", "Cookie", "__Host-cs_pass=AAAA"),
				"a token of nobody's": s.do("GET", s.origin+"/private", "Authorization", "Bearer cs_se_AAAA"),
			} {
				if got.StatusCode != http.StatusUnauthorized {
					t.Errorf("%s without a session: %d", what, got.StatusCode)
				}
			}
			for _, path := range []string{"/public/..%2fprivate", "/public/%2e%2e/private", "/public/..;/private"} {
				if got := s.do("GET", s.origin+path); got.StatusCode == http.StatusOK {
					t.Errorf("%s gets through", path)
				}
			}
			if got := s.do("GET", s.origin+"/.countersign/ask"); got.StatusCode == http.StatusOK {
				t.Error("the proxy's own question can be asked by anybody")
			}
			if got := s.do("GET", s.origin+"/forward-auth"); got.StatusCode != http.StatusUnauthorized {
				t.Errorf("our own path at the site: %d", got.StatusCode)
			}

			// The way in, and back to the page.
			arrived := s.follow(s.page(s.onward(s.signIn(s.origin + "/private?q=1&r=2"))))
			v = s.read(arrived)
			if v.Path != "/private?q=1&r=2" {
				t.Errorf("came back to %q", v.Path)
			}
			v = s.read(s.do("GET", s.origin+"/private", forged...))
			if got := v.Header.Values("Remote-User"); len(got) != 1 || got[0] != string(id) {
				t.Errorf("the application is told %q", got)
			}
			if got := v.Header.Values("Remote-Groups"); len(got) > 0 && got[0] != "" {
				t.Errorf("the application is told of groups %q", got)
			}
			if got := v.Header.Get("Remote-Email"); got != ada {
				t.Errorf("the application is told the address %q", got)
			}
			if got := v.Header.Values("Remote-Assurance"); len(got) != 1 || got[0] != "aal1" {
				t.Errorf("the application is told %q", got)
			}
			if got := s.do("GET", s.origin+"/ops/x", "Sec-Fetch-Mode", "cors"); got.StatusCode != http.StatusForbidden {
				t.Errorf("not in the group: %d", got.StatusCode)
			}
			denied := s.follow(s.page(s.origin + "/ops/x"))
			if denied.Request.URL.Path != forwardauth.DeniedPath || denied.StatusCode != http.StatusForbidden {
				t.Errorf("not in the group, a person: %s, %d", denied.Request.URL, denied.StatusCode)
			}
			s.socket(string(id))

			// The session ends, and with it the pass.
			err := s.node.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error { return s.node.Core().Sessions.EndAll(t.Context(), tx, id, "test") })
			if err != nil {
				t.Fatal(err)
			}
			if got := s.do("GET", s.origin+"/private", "Sec-Fetch-Mode", "cors"); got.StatusCode != http.StatusUnauthorized {
				t.Errorf("after the session ended: %d", got.StatusCode)
			}
		})
	}
}

// unsigned wants the application to have been told of nobody.
func (s *site) unsigned(v seen, what string) {
	s.t.Helper()
	for _, name := range forwardauth.Headers {
		if got := strings.Join(v.Header.Values(name), ""); got != "" {
			s.t.Errorf("%s: the application is told %s: %q", what, name, got)
		}
		if alike := http.CanonicalHeaderKey(strings.ReplaceAll(name, "-", "_")); len(v.Header[alike]) > 0 { // to CGI the same name
			s.t.Errorf("%s: the application is told %s", what, alike)
		}
	}
}

// socket opens a WebSocket (with the key of RFC 6455 section 1.3) with the browser's cookies, and without.
func (s *site) socket(id string) {
	s.t.Helper()
	at, _ := url.Parse(s.origin)
	open := func(cookies []*http.Cookie) (status string, answer string) {
		_, port, _ := net.SplitHostPort(at.Host)
		conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port, 5*time.Second)
		if err != nil {
			s.t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		var all []string
		for _, c := range cookies {
			all = append(all, c.Name+"="+c.Value)
		}
		_, _ = fmt.Fprintf(conn, "GET /live HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-Fetch-Mode: websocket\r\nCookie: %s\r\n\r\n", at.Host, strings.Join(all, "; "))
		r := bufio.NewReader(conn)
		got, err := http.ReadResponse(r, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		if got.StatusCode != http.StatusSwitchingProtocols {
			return got.Status, ""
		}
		_, _ = io.WriteString(conn, "hello\n")
		line, _ := r.ReadString('\n')
		return got.Status, got.Header.Get("Remote-User-Seen") + " " + line
	}
	if status, answer := open(s.client.Jar.Cookies(at)); answer != id+" echo hello\n" {
		s.t.Errorf("a socket: %s %q", status, answer)
	}
	if status, _ := open(nil); !strings.HasPrefix(status, "401") {
		s.t.Errorf("a socket of nobody's: %s", status)
	}
}
