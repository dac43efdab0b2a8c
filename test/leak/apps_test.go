package leak_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/client"
	"countersign/internal/platform/secret"
	"countersign/internal/testkit/servertest"
	"countersign/internal/web"
)

// requestID is the one part of a refusal that differs from call to call.
var requestID = regexp.MustCompile(`"request_id":"[0-9a-f]{16}"`)

// rule changes a client's rule, and has the node read it.
func rule(t *testing.T, n *servertest.Node, name, warn, refuse string) {
	t.Helper()
	w, err1 := client.ParseBound(warn)
	r, err2 := client.ParseBound(refuse)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if _, err := n.Core().Clients.Set(t.Context(), name, client.Change{WarnBelow: &w, RefuseBelow: &r}); err != nil {
		t.Fatal(err)
	}
	follow(t, n)
}

func follow(t *testing.T, n *servertest.Node) {
	t.Helper()
	if err := n.Core().Clients.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// everyRoute lists what is mounted.
func everyRoute(t *testing.T, n *servertest.Node) []string {
	t.Helper()
	front, ok := n.Handler().(*web.Front)
	if !ok {
		t.Fatalf("the handler is a %T", n.Handler())
	}
	return routes(t, front.Mux)
}

// app is an application that calls itself so; "" sends no name.
func app(t *testing.T, n *servertest.Node, name string) *visitor {
	v := newVisitor(t, n, "198.51.100.101")
	if name != "" {
		v.header.Set(web.ClientHeader, name)
	}
	return v
}

// I-05, P-9.4: every route of the API that is mounted, asked by every kind of application: one that is
// current, warned, refused, one without a name, one that nobody knows, and once the version of the API
// is withdrawn. A refusal is the same bytes wherever it is met; nothing but refusals and warnings
// differs; and no page is concerned.
func TestEveryRouteHonoursTheRulesForApps(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Idle: true, Config: everything})
	rule(t, n, "ios", "4", "3")
	rule(t, n, "gone", "none", "all")
	apps := map[string]string{ // what it calls itself, and how it fares
		"": "served", "ios/4": "served", "ios/3": "warned", "ios/2": "426", "ios/2.9-rc": "426", "gone/99": "426",
		"other/1": "served", "ios": "served", "ios/2, ios/4": "served", "ios/2\tios/4": "served",
	}
	anyPage := []string{"", "gone/99"} // pages look at no name: two are enough
	outdated, retired := "", ""
	constant := func(what string, was *string, a answer) {
		t.Helper()
		body := requestID.ReplaceAllString(a.body, "")
		if *was == "" {
			*was = body
		}
		if body != *was || a.head.Get("Content-Type") != "application/problem+json; charset=utf-8" || a.head.Get("Cache-Control") != "no-store" {
			t.Errorf("%s answers\n%s\nwant\n%s", what, body, *was)
		}
	}
	tried := 0
	for _, route := range everyRoute(t, n) {
		ofAPI, open := strings.Contains(route, " /api/"), strings.Contains(route, "/openapi.")
		for name, fares := range apps {
			if !ofAPI && !slices.Contains(anyPage, name) {
				continue
			}
			flow := secret.NewToken("csf").Reveal()
			got := app(t, n, name).stranger(route, flow)
			what := fmt.Sprintf("%s from %q", route, name)
			if ofAPI && fares == "426" && !open {
				tried++
				if got.status != http.StatusUpgradeRequired || got.code() != "client_outdated" || got.head.Get("Upgrade") == "" || !strings.Contains(got.wire, "Connection: Upgrade, close\r\n") {
					t.Errorf("%s: %d %s, Upgrade %q", what, got.status, got.code(), got.head.Get("Upgrade"))
				}
				constant(what, &outdated, got)
				continue
			}
			if short := strings.ReplaceAll(got.short(), flow, "FLOW"); short != table[route] {
				t.Errorf("%s: %q, want %q", what, short, table[route])
			}
			if warned := got.head.Get("Deprecation") != ""; warned != (ofAPI && fares == "warned" && !open) {
				t.Errorf("%s: warned %t", what, warned)
			}
		}
	}
	if tried < 30 {
		t.Fatalf("only %d calls were refused: this test looks in the wrong place", tried)
	}
	if err := n.Core().Clients.Retire(t.Context(), "v1", n.Clock.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	follow(t, n)
	for _, route := range everyRoute(t, n) {
		if !strings.Contains(route, " /api/") {
			continue
		}
		got := app(t, n, "ios/4").stranger(route, secret.NewToken("csf").Reveal())
		if got.short() != table[route] || got.head.Get("Sunset") == "" || got.head.Get("Deprecation") == "" {
			t.Errorf("%s, to be withdrawn in an hour: %s, Sunset %q", route, got.short(), got.head.Get("Sunset"))
		}
	}
	n.Clock.Advance(time.Hour)
	for _, route := range everyRoute(t, n) {
		for name := range apps {
			if !strings.Contains(route, " /api/") && !slices.Contains(anyPage, name) {
				continue
			}
			flow := secret.NewToken("csf").Reveal()
			got := app(t, n, name).stranger(route, flow)
			if strings.Contains(route, " /api/") {
				if got.status != http.StatusGone || got.code() != "api_retired" {
					t.Errorf("%s from %q, withdrawn: %d %s", route, name, got.status, got.code())
				}
				constant(route, &retired, got)
			} else if short := strings.ReplaceAll(got.short(), flow, "FLOW"); short != table[route] {
				t.Errorf("%s from %q: %q, want %q", route, name, short, table[route])
			}
		}
	}
	// What was never a route is withdrawn with the rest.
	for _, path := range []string{"/api/v1", "/api/v1/", "/api/v1/users", "/api/%761/session", "/api/v1/session/"} {
		got := app(t, n, "ios/4").get(path)
		constant(path, &retired, got)
	}
}

// I-06, P-9.4: whoever imitates an old application, with its name, its paths, the names its fields had or
// its agent, is told nothing more than anybody else, and the same of those who exist and those who do not.
func TestImitatingAnOldAppGainsNothing(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Idle: true, Config: everything})
	n.Account(ada, adaPhone)
	rule(t, n, "ios", "4", "none")
	for _, who := range []string{ada, adaPhone, "nobody@example.org"} {
		newest := app(t, n, "ios/9").call("/signin", "identifier", who)
		for _, name := range []string{"", "ios/0", "ios/1.0.0", "ios/3.9", "instagram/1.0", "ios/0.0.0.0-alpha"} {
			v := app(t, n, name)
			v.header.Set("User-Agent", "Instagram 9.0.0 Android (18/4.3; 320dpi; 720x1280)")
			got := v.call("/signin", "identifier", who)
			if got.status != newest.status || got.masked() != newest.masked() && !strings.Contains(got.wire, "Deprecation") {
				t.Errorf("%s as %q:\n%s\nwant\n%s", who, name, got.masked(), newest.masked())
			}
			if len(got.fields) != len(newest.fields) {
				t.Errorf("%s as %q is told %v", who, name, got.fields)
			}
		}
	}
	old := app(t, n, "ios/0.1")
	for _, body := range []string{
		`{"username":%q}`, `{"email":%q}`, `{"phone_number":%q}`, `{"q":%q}`, `{"query":%q}`, `{"user":%q,"device_id":"android-1"}`,
		`{"identifier":%q,"version":"1"}`, `{"identifier":%q,"api":"0"}`, `{"identifier":%q,"include":["email","phone"]}`,
	} {
		for _, path := range []string{"/api/v1/signin", "/api/v1/signin/password", "/api/v1/signin/code/send"} {
			known := old.exchange(old.request(http.MethodPost, path, "application/json", fmt.Sprintf(body, ada)))
			ghost := old.exchange(old.request(http.MethodPost, path, "application/json", fmt.Sprintf(body, "not@example.org")))
			if known.code() != "input_invalid" || requestID.ReplaceAllString(known.body, "") != requestID.ReplaceAllString(ghost.body, "") {
				t.Errorf("%s %s: %s %s", path, body, known.body, ghost.body)
			}
		}
	}
	for _, path := range []string{
		"/api/v0/signin", "/api/v1.0/signin", "/api/V1/signin", "/api/signin", "/api/v01/signin", "/api/v2/signin", "/v1/signin",
		"/api/v1/users/lookup/", "/api/v1/accounts/send_password_reset", "/api/v1/accounts/send_recovery_flow_email/",
	} {
		if got := old.exchange(old.request(http.MethodPost, path, "application/json", `{"identifier":"`+ada+`"}`)); got.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

// A refusal is decided before anything else: it is the same whomever the call is about, needs no body to
// arrive and no database to be there.
func TestARefusalLooksAtNothing(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Idle: true, Config: everything})
	n.Account(ada, adaPhone)
	rule(t, n, "ios", "none", "3")
	v := app(t, n, "ios/2")
	first := v.call("/signin", "identifier", ada)
	if first.status != http.StatusUpgradeRequired || first.head.Get("Upgrade") != "ios/3" {
		t.Fatalf("%s", first.wire)
	}
	for _, who := range []string{adaPhone, "nobody@example.org", "", strings.Repeat("x", 2000)} {
		if got := v.call("/signin", "identifier", who); got.masked() != first.masked() {
			t.Errorf("%.20s: %s\nwant %s", who, got.masked(), first.masked())
		}
	}

	conn, err := net.Dial("tcp", strings.TrimPrefix(n.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	// A body that is announced is not asked for.
	if _, err := io.WriteString(conn, "POST /api/v1/signin HTTP/1.1\r\nHost: "+strings.TrimPrefix(n.URL, "http://")+
		"\r\nContent-Type: application/json\r\nContent-Length: 60000\r\nExpect: 100-continue\r\nCountersign-Client: ios/2\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusUpgradeRequired {
		t.Fatalf("a body that does not arrive: %v %v", res, err)
	}

	if err := n.Core().DB.Close(); err != nil {
		t.Fatal(err)
	}
	if got := v.call("/signin", "identifier", ada); got.masked() != first.masked() {
		t.Errorf("without a database: %s", got.masked())
	}
	if got := app(t, n, "ios/3").call("/signin", "identifier", ada); got.status != http.StatusServiceUnavailable {
		t.Errorf("whoever is not refused, without a database: %d", got.status)
	}
}

// What applications call themselves is a stranger's text: it is in no answer, no log and no metric.
func TestWhatAppsCallThemselvesIsNotRepeated(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Idle: true, Config: everything})
	rule(t, n, client.Unknown, "none", "all")
	rule(t, n, client.Unnamed, "all", "none")
	const canary = "canary-7341"
	for _, name := range []string{canary + "/1", "x/" + canary, canary, `<b>` + canary + `/1`, canary + "/1\t", "x/1-" + canary} {
		got := app(t, n, name).get("/api/v1/session")
		if strings.Contains(got.wire, canary) {
			t.Errorf("%q is repeated:\n%s", name, got.wire)
		}
	}
	if strings.Contains(n.Log.String(), canary) {
		t.Error("the log repeats it")
	}
	if metrics := string(watched(n, "/metrics")); strings.Contains(metrics, canary) || !strings.Contains(metrics, `countersign_client_requests_total{client="unknown",version_class="refused"} 3`) {
		t.Error("the metrics repeat it, or do not count it")
	}
	if err := n.Core().Clients.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	used, err := n.Core().Clients.Usage(t.Context(), "")
	if err != nil || len(used) != 2 {
		t.Errorf("%+v %v", used, err)
	}
}
