package server_test

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/platform/config"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
	apps "countersign/internal/totp"
	"countersign/internal/web"
	"countersign/internal/web/forwardauth"
)

const wiki = "https://wiki.example.net"

// guest is somebody at their browser, on the way to a site behind a proxy.
type guest struct {
	t    *testing.T
	node *servertest.Node
	c    *http.Client
	site string // cookies of the site's host
}

func newGuest(t *testing.T, rules ...string) *guest {
	t.Helper()
	n := servertest.Start(t, servertest.Options{Config: func(c *config.Config) {
		c.Forward.Listen, c.Forward.Rules = "127.0.0.1:1", rules // asked in-process
	}})
	return &guest{t: t, node: n, c: n.Browser()}
}

// gate asks the listener of proxies.
func (g *guest) gate(path string, header ...string) *http.Response {
	g.t.Helper()
	r := httptest.NewRequestWithContext(g.t.Context(), http.MethodGet, path, nil)
	r.Host = "wiki.example.net"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	r.Header.Set("Cookie", g.site)
	w := httptest.NewRecorder()
	g.node.Gate().ServeHTTP(w, r)
	got := w.Result()
	for _, c := range got.Cookies() {
		if c.Value != "" {
			g.site = c.Name + "=" + c.Value
		}
	}
	return got
}

func (g *guest) ask(path string) *http.Response {
	g.t.Helper()
	return g.gate(forwardauth.Path, "X-Forwarded-Method", "GET", "X-Forwarded-Host", "wiki.example.net", "X-Forwarded-Uri", path, "Sec-Fetch-Mode", "navigate")
}

// follow goes where an answer leads, at the site or at our host, until there is a page.
func (g *guest) follow(got *http.Response) (page, at string) {
	g.t.Helper()
	for range 12 {
		to := got.Header.Get("Location")
		switch {
		case to == "":
			text, err := io.ReadAll(got.Body)
			if err != nil {
				g.t.Fatal(err)
			}
			return string(text), got.Request.URL.Path
		case strings.HasPrefix(to, wiki):
			got = g.gate(strings.TrimPrefix(to, wiki))
			if to := got.Header.Get("Location"); strings.HasPrefix(to, "/") { // in: a page of the site
				return "the site", to
			}
		default:
			got = g.get(to)
		}
	}
	g.t.Fatal("it leads nowhere")
	return "", ""
}

func (g *guest) get(to string) *http.Response {
	g.t.Helper()
	return g.send(http.MethodGet, to, nil)
}

func (g *guest) post(path string, form url.Values) *http.Response {
	g.t.Helper()
	return g.send(http.MethodPost, path, form)
}

func (g *guest) send(method, to string, form url.Values) *http.Response {
	g.t.Helper()
	if strings.HasPrefix(to, "/") {
		to = g.node.URL + to
	}
	r, err := http.NewRequestWithContext(g.t.Context(), method, to, strings.NewReader(form.Encode()))
	if err != nil {
		g.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	got, err := g.c.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = got.Body.Close() })
	return got
}

var onward = regexp.MustCompile(`http-equiv="refresh" content="0;url=([^"]+)"`)

// enter goes on from the page that leads to the site.
func (g *guest) enter(page string) (at string) {
	g.t.Helper()
	found := onward.FindStringSubmatch(page)
	if found == nil {
		g.t.Fatalf("it does not lead on: %s", page)
	}
	_, at = g.follow(g.gate(strings.TrimPrefix(strings.ReplaceAll(found[1], "&amp;", "&"), wiki)))
	return at
}

// code gives a password and a code, wherever the sign-in stands.
func (g *guest) code(path string, form url.Values, way func() url.Values) string {
	g.t.Helper()
	asked := g.post(path, form)
	where := asked.Header.Get("Location")
	if where == "" {
		text, _ := io.ReadAll(asked.Body)
		g.t.Fatalf("%s: %d %s", path, asked.StatusCode, text)
	}
	where, _, _ = strings.Cut(where, "?")
	page, _ := g.follow(g.post(where+"/code", way()))
	return page
}

// enrolApp gives an account an app, and returns what shows its codes.
func enrolApp(t *testing.T, n *servertest.Node, id account.ID) (show func() string) {
	t.Helper()
	var key string
	code := func() string {
		text, err := totp.GenerateCode(strings.ReplaceAll(key, " ", ""), n.Clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		own := n.Core().Authenticators
		e, err := own.Begin(t.Context(), tx, id, apps.Label{Issuer: "Example", Account: "Example"})
		if err != nil {
			return err
		}
		key = e.Key.Reveal()
		if ok, err := own.Confirm(t.Context(), tx, id, apps.Confirmation{ID: e.ID, Code: secret.Of(code()), Name: "My phone"}); err != nil || !ok {
			return errors.Join(err, errors.New("not enrolled"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// Whoever has proved too little for a page is led to prove more, by a way that is enough, and back to it (RFC 9470, in our terms): a device that is
// recognised proves a password's worth, so it is asked for a code all the same.
func TestAPageThatAsksForMoreLeadsToAStrongerProof(t *testing.T) {
	g := newGuest(t, wiki+"/strong/ aal2", wiki+"/ signed-in")
	const name = "ada@example.org"
	id := g.node.Account(name)
	show := enrolApp(t, g.node, id)
	key := g.remember(id)
	if _, at := g.follow(g.ask("/strong/x")); at != "/signin" {
		t.Fatalf("led to %s", at)
	}
	g.node.Clock.Advance(time.Minute) // an app's code is good once
	recognised := g.post("/signin", url.Values{"username": {name}, "password": {servertest.Password}}).Header.Get("Location")
	page, _ := g.follow(g.get(recognised))
	nonce := regexp.MustCompile(`data-nonce="([^"]+)"`).FindStringSubmatch(page)
	if nonce == nil {
		t.Fatalf("the device is not asked: %s", page)
	}
	page = g.code(recognised+"/device", url.Values{"signature": {base64.RawURLEncoding.EncodeToString(key.Sign("recognise", g.node.URL, nonce[1]))}}, func() url.Values {
		return url.Values{"way": {"otp"}, "code": {show()}}
	})
	if at := g.enter(page); at != "/strong/x" {
		t.Fatalf("in at %s", at)
	}
	if got := g.ask("/strong/x"); got.StatusCode != http.StatusOK || got.Header.Get("Remote-Assurance") != "aal2" {
		t.Errorf("%d, %q", got.StatusCode, got.Header.Get("Remote-Assurance"))
	}
}

// remember has an account remember the browser, and returns the key that it keeps.
func (g *guest) remember(id account.ID) testkit.Key {
	g.t.Helper()
	key := testkit.NewKey(g.t)
	err := g.node.Core().DB.Write(g.t.Context(), func(tx *sqldb.Tx) error {
		kept, err := g.node.Core().Devices.Remember(g.t.Context(), tx, id, device.Enrolment{PublicKey: key.Public(), Name: "Desk"}, nil)
		if err != nil {
			return err
		}
		at, err := url.Parse(g.node.URL)
		if err != nil {
			return err
		}
		g.c.Jar.SetCookies(at, []*http.Cookie{{Name: web.DeviceCookie, Value: kept.Handle.Reveal(), Path: "/", Secure: true}})
		return nil
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return key
}

// Whoever has nothing stronger is told so, and is not asked over and over.
func TestWhoHasNothingStrongerIsTold(t *testing.T) {
	g := newGuest(t, wiki+"/strong/ aal2", wiki+"/ signed-in")
	const name = "ada@example.org"
	g.node.Account(name)
	if _, at := g.follow(g.ask("/strong/x")); at != "/signin" {
		t.Fatalf("led to %s", at)
	}
	page := g.code("/signin", url.Values{"username": {name}, "password": {servertest.Password}}, func() url.Values {
		return url.Values{"code": {g.node.Code(name)}}
	})
	if !strings.Contains(page, "asks for a stronger proof") {
		t.Fatalf("it says: %s", page)
	}
	if page, at := g.follow(g.ask("/other")); at != "/other" {
		t.Errorf("a page that asks for less: %s, %s", at, page)
	}
}

// Whoever leaves a site is asked whether they want to sign out, and is then signed out: until they are, it opens again.
func TestLeavingASiteAsksWhetherToSignOut(t *testing.T) {
	g := newGuest(t, wiki+"/ signed-in")
	const name = "ada@example.org"
	g.node.Account(name)
	g.follow(g.ask("/"))
	page := g.code("/signin", url.Values{"username": {name}, "password": {servertest.Password}}, func() url.Values {
		return url.Values{"code": {g.node.Code(name)}}
	})
	if at := g.enter(page); at != "/" {
		t.Fatalf("in at %s", at)
	}
	page, at := g.follow(g.gate("/.countersign/leave"))
	ask := regexp.MustCompile(`<form method="post" action="([^"]+)">\s*<button class="main"`).FindStringSubmatch(page)
	if at != "/oauth/logout" || !strings.Contains(page, "Do you want to sign out?") || ask == nil {
		t.Fatalf("%s: %s", at, page)
	}
	if got := g.ask("/"); got.StatusCode != http.StatusOK { // the test's browser keeps the cookie that it was told to forget
		t.Errorf("asked and not answered, they are out: %d", got.StatusCode)
	}
	if got := g.post(ask[1], url.Values{}); got.Header.Get("Location") != "/signin?done=signed-out" {
		t.Errorf("%d, to %s", got.StatusCode, got.Header.Get("Location"))
	}
	if _, at := g.follow(g.ask("/")); at != "/signin" {
		t.Errorf("signed out, and led to %s", at)
	}
}
