// Package leak_test asks whether a stranger can tell, from anything the server does, who has an
// account and how to reach them. It compares whole answers as they come over the wire, the rows
// they leave behind and the time they take, steers flows with forged requests, and searches what
// a thief of the database, a reader of the log and a reader of the metrics would see.
//
// docs/leak.md says what is compared, what is left out, and what was measured.
package leak_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"countersign/internal/testkit/servertest"
)

// visitor is one browser or app at one network address.
type visitor struct {
	t       testing.TB
	node    *servertest.Node
	from    string // its address, as the proxy before the node tells it
	header  http.Header
	cookies map[string]string
	flow    string // the handle of its flow, once it has one
	path    string // where its last redirect led
	heard   []byte // every answer, if it is not nil
}

func newVisitor(t testing.TB, n *servertest.Node, from string) *visitor {
	return &visitor{t: t, node: n, from: from, header: http.Header{}, cookies: map[string]string{}}
}

// answer is one answer, with every byte of it.
type answer struct {
	status int
	wire   string // status line, headers and body as they arrived
	head   http.Header
	body   string
	fields map[string]any // of a JSON body
}

func (a answer) code() string { return fmt.Sprint(a.fields["code"]) }

// exchange sends one request on a connection of its own and keeps every byte of the answer.
func (v *visitor) exchange(r *http.Request) answer {
	v.t.Helper()
	base, err := url.Parse(v.node.URL)
	if err != nil {
		v.t.Fatal(err)
	}
	for name, values := range v.header {
		r.Header[name] = values
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	r.Header.Set("X-Forwarded-For", v.from)
	r.Header.Set("User-Agent", "leak-test")
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	r.Close = true
	conn, err := net.Dial("tcp", base.Host)
	if err != nil {
		v.t.Fatal(err)
	}
	defer conn.Close()
	if err := r.Write(conn); err != nil {
		v.t.Fatal(err)
	}
	raw, err := io.ReadAll(conn)
	if err != nil {
		v.t.Fatal(err)
	}
	if v.heard != nil {
		v.heard = append(v.heard, raw...)
	}
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), r)
	if err != nil {
		v.t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, wire: string(raw), head: res.Header, body: string(body)}
	if strings.Contains(res.Header.Get("Content-Type"), "json") && len(body) > 0 {
		if err := json.Unmarshal(body, &a.fields); err != nil {
			v.t.Fatalf("%s: %v", body, err)
		}
	}
	v.keep(res, a)
	return a
}

// keep keeps cookies, the flow and where it leads, as a browser or an app would.
func (v *visitor) keep(res *http.Response, a answer) {
	for _, c := range res.Cookies() {
		v.cookies[c.Name] = c.Value
		if c.MaxAge < 0 {
			delete(v.cookies, c.Name)
		}
	}
	if flow, ok := a.fields["flow"].(string); ok {
		v.flow = flow
	}
	if to, err := res.Location(); err == nil {
		v.path = to.RequestURI()
		for _, root := range []string{"/signin/", "/register/", "/recover/", "/security/addresses/"} {
			if flow, ok := strings.CutPrefix(to.Path, root); ok {
				v.flow, _, _ = strings.Cut(flow, "/")
			}
		}
	}
}

func (v *visitor) request(method, path string, kind, body string) *http.Request {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.node.URL+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	return r
}

func (v *visitor) get(path string) answer {
	v.t.Helper()
	return v.exchange(v.request(http.MethodGet, path, "", ""))
}

// form posts a page's form; pairs are names and values.
func (v *visitor) form(path string, pairs ...string) answer {
	v.t.Helper()
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return v.exchange(v.request(http.MethodPost, path, "application/x-www-form-urlencoded", values.Encode()))
}

// call posts JSON to the API; pairs are names and values, and a value may be any JSON.
func (v *visitor) call(path string, pairs ...any) answer {
	v.t.Helper()
	object := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		object[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	body, err := json.Marshal(object)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.exchange(v.request(http.MethodPost, "/api/v1"+path, "application/json", string(body)))
}

// Placeholders have the length of what they stand for, so lengths are compared as well. What is
// random in an answer is: tokens, nonces, request ids. The Date header is the machine's clock; all
// other times come from the node's clock, which stands still, and are compared.
var random = []struct {
	what  *regexp.Regexp
	group int // the part that is random
}{
	{regexp.MustCompile(`\bcs[a-z]_([A-Za-z0-9_-]{49})`), 1},
	{regexp.MustCompile(`(?m)^Date: (.*)$`), 1},
	{regexp.MustCompile(`(?m)^X-Request-Id: ([0-9a-f]{16})\r$`), 1},
	{regexp.MustCompile(`"request_id":"([0-9a-f]{16})"`), 1},
	{regexp.MustCompile(`"nonce":"([A-Z2-7]{26})"`), 1},
	{regexp.MustCompile(`data-nonce="([A-Z2-7]{26})"`), 1},
	{regexp.MustCompile(`(?:"|&#34;)challenge(?:"|&#34;):(?:"|&#34;)([A-Za-z0-9_-]{43})(?:"|&#34;)`), 1},
	{regexp.MustCompile(`(?i)\bapp(?:/|%2f|&#x2f;)([0-9a-f-]{36})`), 1}, // a request of an application's, which its cookie alone opens
	{regexp.MustCompile(`/authorize/([0-9a-f-]{36})`), 1},
	{regexp.MustCompile(`(?:"state":|name="state" value=)"([A-Za-z0-9_-]+)"`), 1},
	{regexp.MustCompile(`\b([B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4})\b`), 1}, // a device's, which whoever typed it or followed a link has brought
}

// masked returns the answer with what is random in it blotted out, at its length.
func (a answer) masked() string {
	out := []byte(a.wire)
	for _, r := range random {
		for _, at := range r.what.FindAllSubmatchIndex(out, -1) {
			for i := at[2*r.group]; i < at[2*r.group+1]; i++ {
				out[i] = '#'
			}
		}
	}
	return string(out)
}
