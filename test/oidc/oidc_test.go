// Package oidc_test has clients of OpenID Connect that others have written sign people in through a whole server.
package oidc_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"countersign/internal/oidc"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

const callback = "https://shop.example.com/callback"

// foreign is the client, in a process of its own.
type foreign struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

type answer struct {
	OK                 json.RawMessage
	Error, Description string
}

func (f *foreign) ask(what string, with any) (a answer) {
	f.t.Helper()
	line, err := json.Marshal(map[string]any{"ask": what, "with": with})
	if err == nil {
		_, err = f.in.Write(append(line, '\n'))
	}
	if err != nil {
		f.t.Fatal(err)
	}
	text, err := f.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err != nil {
		f.t.Fatalf("%s: %s: %v", what, text, err)
	}
	return a
}

// good asks for something that must succeed.
func (f *foreign) good(what string, with, into any) {
	f.t.Helper()
	a := f.ask(what, with)
	if a.Error != "" {
		f.t.Fatalf("%s: %s: %s", what, a.Error, a.Description)
	}
	if len(a.OK) > 0 && into != nil {
		if err := json.Unmarshal(a.OK, into); err != nil {
			f.t.Fatal(err)
		}
	}
}

// missing skips a test, but fails it in CI.
func missing(t *testing.T) {
	t.Helper()
	const what = "openid-client is missing: run scripts/install-test-tools"
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

func start(t *testing.T, args ...string) *foreign {
	t.Helper()
	return run(t, "client.js", args...)
}

func run(t *testing.T, script string, args ...string) *foreign {
	t.Helper()
	if _, err := os.Stat("node_modules/openid-client"); err != nil {
		missing(t)
	}
	c := exec.CommandContext(t.Context(), "node", append([]string{script}, args...)...)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = c.Wait()
	})
	return &foreign{t, in, bufio.NewReader(out)}
}

// person is somebody at a browser.
type person struct {
	t *testing.T
	n *servertest.Node
	*http.Client
}

func (p person) do(method, to string, form url.Values) (where, body string) {
	p.t.Helper()
	if strings.HasPrefix(to, "/") {
		to = p.n.URL + to
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, to, strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html") // or some take it for a script's call, and lead nowhere
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", p.n.URL)
	}
	return p.answered(r)
}

// answered is the answer to a request, and where it leads.
func (p person) answered(r *http.Request) (where, body string) {
	p.t.Helper()
	res, err := p.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if where = res.Header.Get("Location"); where == "" {
		if found := leadsOn.FindSubmatch(text); found != nil {
			where = string(found[1])
		}
	}
	return where, string(text)
}

var leadsOn = regexp.MustCompile(`http-equiv="refresh" content="0;url=([^"]+)"`)

var wish = regexp.MustCompile(`name="for" value="([^"]+)"`)

// signIn goes from an application's link to where the application is answered.
func (p person) signIn(link string) string {
	p.t.Helper()
	at, _ := p.do(http.MethodGet, link, nil)
	_, page := p.do(http.MethodGet, at, nil)
	m := wish.FindStringSubmatch(page)
	if m == nil {
		p.t.Fatalf("%s asks for nothing: %s", at, page)
	}
	flow, _ := p.do(http.MethodPost, "/signin", url.Values{"username": {"ada@example.org"}, "password": {servertest.Password}, "for": {m[1]}})
	request, _ := p.do(http.MethodPost, flow+"/code", url.Values{"code": {p.n.Code("+4915112345678")}})
	onward, _ := p.do(http.MethodPost, request, url.Values{"decision": {"allow"}})
	back, _ := p.do(http.MethodGet, onward, nil)
	return back
}

// npm openid-client signs somebody in, checks everything that it is told, and goes on with what it got.
func TestOpenIDClient(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			n := servertest.Start(t, servertest.Options{Database: dbtest.NewURL(t, engine)})
			n.Account("ada@example.org", "+4915112345678")
			token, err := n.Core().Applications.Add(t.Context(), oidc.Client{
				ID: "shop", Name: "Corner Shop", RedirectURIs: []string{callback}, Scopes: []string{"openid", "offline_access"},
				PostLogout: []string{callback + "/bye"},
			})
			if err != nil {
				t.Fatal(err)
			}
			f := start(t, n.URL, "shop", token.Reveal(), callback)
			p := person{t, n, n.Browser()}
			var link string
			f.good("begin", map[string]string{"acr_values": "aal2", "max_age": "600"}, &link)
			var got struct {
				Claims, Info struct {
					Sub, Acr string
					Time     int64 `json:"auth_time"`
				}
			}
			f.good("finish", p.signIn(link), &got)
			if got.Claims.Acr != "aal2" || got.Claims.Time == 0 || got.Info.Sub != got.Claims.Sub {
				t.Errorf("%+v", got)
			}
			f.good("refresh", nil, nil)
			var known struct {
				Active bool
				Acr    string
			}
			f.good("introspect", nil, &known)
			if !known.Active || known.Acr != "aal2" {
				t.Errorf("introspected as %+v", known)
			}
			f.good("revoke", nil, nil)
			if f.good("introspect", nil, &known); known.Active {
				t.Error("revoked, and active")
			}
			// Mix-up (RFC 9207): an answer that says it is another issuer's is refused by the client, and so is one of another request.
			f.good("begin", nil, &link)
			back, _ := p.do(http.MethodGet, link, nil)
			forged := strings.Replace(back, url.QueryEscape(n.URL), url.QueryEscape("https://evil.example"), 1)
			if a := f.ask("finish", forged); forged == back || a.Error == "" {
				t.Errorf("an answer of another issuer is taken: %+v", a)
			}
			f.good("begin", nil, &link)
			if a := f.ask("finish", back); a.Error == "" {
				t.Errorf("an answer to another request is taken: %+v", a)
			}
			// Signed out by it: at once, and back to it.
			f.good("logout", map[string]string{"post_logout_redirect_uri": callback + "/bye", "state": "s 1"}, &link)
			if back, _ := p.do(http.MethodGet, link, nil); back != callback+"/bye?state=s+1" {
				t.Errorf("logged out, and led to %q", back)
			}
			// And where nobody may be asked.
			f.good("begin", map[string]string{"prompt": "none", "acr_values": "aal3"}, &link)
			back, _ = p.do(http.MethodGet, link, nil)
			if a := f.ask("finish", back); a.Error != "login_required" {
				t.Errorf("answered %+v", a)
			}
		})
	}
}
