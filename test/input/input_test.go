// Package input_test sends a whole server what no honest client sends, and what honest people
// do who use the back button, two tabs or another browser. Each gets its status and its code or
// page; nothing of it comes back, nothing breaks, and the sign-in under way goes on.
package input_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"countersign/internal/platform/config"
	"countersign/internal/testkit/servertest"
)

const (
	ada   = "ada@example.org"
	grace = "grace@example.org"
)

// node is a server without limits per source, so that the tests may ask often.
func node(t *testing.T) *servertest.Node {
	t.Helper()
	n := servertest.Start(t, servertest.Options{Config: func(c *config.Config) { c.Throttle.ExemptSources = []string{"127.0.0.0/8"} }})
	n.Account(ada)
	n.Account(grace)
	return n
}

// client is a browser or an application.
type client struct {
	t    *testing.T
	node *servertest.Node
	http *http.Client
}

func newClient(t *testing.T, n *servertest.Node) *client {
	return &client{t, n, n.Browser()}
}

type answer struct {
	status   int
	header   http.Header
	text     string
	location string
	Flow     string
	Step     string
	Code     string
	Session  struct{ Token string }
}

// inside are signs of our own insides, which no answer shows; each too long to stand in a random handle by chance.
var inside = regexp.MustCompile(`goroutine \d|\.go:\d|panic|(?i:sqlite)|SQLSTATE|jackc/|runtime error|template:`)

// ask sends one request. header are pairs; Host is one of them.
func (c *client) ask(method, path, body string, header ...string) answer {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.node.URL+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	res, err := c.http.Do(r)
	if err != nil {
		c.t.Fatalf("%s %.80s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, text: string(text), location: res.Header.Get("Location")}
	if found := inside.FindString(a.text); found != "" {
		c.t.Errorf("%s %.80s shows %q", method, path, found)
	}
	kind := res.Header.Get("Content-Type")
	switch {
	case strings.HasPrefix(path, "/api/"):
		if a.status >= 400 && kind != "application/problem+json; charset=utf-8" {
			c.t.Errorf("%s %.80s: %d as %q", method, path, a.status, kind)
		}
		if len(text) > 0 {
			if err := json.Unmarshal(text, &a); err != nil {
				c.t.Errorf("%s %.80s: %v in %.200s", method, path, err, text)
			}
		}
	case a.status >= 400 && (!strings.HasPrefix(kind, "text/html") || !strings.Contains(a.text, "<h1")):
		c.t.Errorf("%s %.80s: %d without a page: %q %.200s", method, path, a.status, kind, text)
	}
	return a
}

func jsonOf(pairs ...string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	b, _ := json.Marshal(m) // strings always marshal
	return string(b)
}

// call calls the API.
func (c *client) call(path, body string, header ...string) answer {
	c.t.Helper()
	return c.ask("POST", "/api/v1"+path, body, append([]string{"Content-Type", "application/json"}, header...)...)
}

// post sends a form as a page does.
func (c *client) post(path string, pairs ...string) answer {
	c.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return c.raw(path, form.Encode())
}

func (c *client) raw(path, body string, header ...string) answer {
	c.t.Helper()
	return c.ask("POST", path, body, append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}

func (c *client) get(path string) answer { c.t.Helper(); return c.ask("GET", path, "") }

// want fails the test unless the answer has the status, and the code or the words.
func (a answer) want(t *testing.T, what string, status int, words string) answer {
	t.Helper()
	if a.status != status || !strings.Contains(a.text, words) {
		t.Errorf("%s: got %d %.300s, want %d and %q", what, a.status, a.text, status, words)
	}
	return a
}

// leads fails the test unless the answer leads to a place.
func (a answer) leads(t *testing.T, what, to string) {
	t.Helper()
	if a.status != http.StatusSeeOther || a.location != to {
		t.Errorf("%s: got %d to %q, want 303 to %q", what, a.status, a.location, to)
	}
}

// code is the next code that comes to an address.
func (c *client) code(to string) string {
	c.t.Helper()
	return c.node.Code(to)
}

// wrong is a code that is not the one given.
func wrong(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

// appAtCode goes through the API as far as a code that has come.
func (c *client) appAtCode(name string) (flow, code string) {
	c.t.Helper()
	flow = c.call("/signin", jsonOf("identifier", name)).want(c.t, "begin", 201, "").Flow
	c.call("/signin/password", jsonOf("flow", flow, "password", servertest.Password)).want(c.t, "password", 200, `"second"`)
	c.call("/signin/code/send", jsonOf("flow", flow, "way", "email")).want(c.t, "send", 202, "")
	return flow, c.code(name)
}

// atCode goes through the pages as far as a code that has come; path is the flow's page.
func (c *client) atCode(name string) (path, code string) {
	c.t.Helper()
	a := c.post("/signin", "username", name, "password", servertest.Password)
	if a.status != http.StatusSeeOther || !strings.HasPrefix(a.location, "/signin/") {
		c.t.Fatalf("got %d to %q: %.300s", a.status, a.location, a.text)
	}
	path, _, _ = strings.Cut(a.location, "?")
	return path, c.code(name)
}
