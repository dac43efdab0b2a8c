package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/web"
	"countersign/internal/web/bound"
)

// door is a Front over a few handlers, and what it logged.
type door struct {
	*web.Front
	log bytes.Buffer
}

func newDoor(t *testing.T, public string) *door {
	t.Helper()
	u, err := url.Parse(public)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{}
	log := slog.New(slog.NewJSONHandler(&d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	now := time.Unix(1e9, 0)
	d.Front = &web.Front{
		Log: log, Mux: http.NewServeMux(), PublicURL: u, InternalHosts: []string{"countersign:8080"},
		Metrics: web.NewMetrics(prometheus.NewRegistry()), Now: func() time.Time { now = now.Add(time.Millisecond); return now },
	}
	handle := func(pattern string, h func(http.ResponseWriter, *http.Request) error) {
		d.Mux.Handle(pattern, web.Handle(log, h))
	}
	handle("GET /fine", func(w http.ResponseWriter, _ *http.Request) error { _, err := io.WriteString(w, "fine"); return err })
	handle("GET /panics", func(http.ResponseWriter, *http.Request) error { panic("canary-panic") })
	handle("POST /read", func(w http.ResponseWriter, r *http.Request) error { _, err := io.Copy(w, r.Body); return err })
	handle("POST /form", func(w http.ResponseWriter, r *http.Request) error {
		form, err := web.Form(r)
		if err == nil {
			_, _ = io.WriteString(w, form.Get("name"))
		}
		return err
	})
	web.MountReports(d.Mux, d.Metrics)
	return d
}

func (d *door) do(method, target, body string, header ...string) *http.Response {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// the caller gets kind and code, never the cause.
func TestEachKindHasItsAnswer(t *testing.T) {
	cause := errors.New("canary: ada@example.org")
	for name, c := range map[string]struct {
		err    error
		status int
		code   string
		retry  string
	}{
		"invalid":           {fault.New(fault.Invalid, "form_malformed", cause), 422, "form_malformed", ""},
		"unauthenticated":   {fault.New(fault.Unauthenticated, "session_ended", cause), 401, "session_ended", ""},
		"forbidden":         {fault.New(fault.Forbidden, "cross_site", cause), 403, "cross_site", ""},
		"not found":         {fault.New(fault.NotFound, "not_found", cause), 404, "not_found", ""},
		"conflict":          {fault.New(fault.Conflict, "step_out_of_order", cause), 409, "step_out_of_order", ""},
		"gone":              {fault.New(fault.Gone, "flow_ended", cause), 410, "flow_ended", ""},
		"too many":          {fault.Later(fault.TooMany, "too_many_attempts", 61*time.Second, cause), 429, "too_many_attempts", "300"},
		"unavailable":       {fault.Later(fault.Unavailable, "busy", time.Second, cause), 503, "busy", "30"},
		"unclassified":      {cause, 500, "internal", ""},
		"wrapped":           {fmt.Errorf("read: %w", fault.New(fault.Gone, "flow_ended", cause)), 410, "flow_ended", ""},
		"out of time":       {fmt.Errorf("read: %w", context.DeadlineExceeded), 503, "busy", "30"},
		"the message":       {web.Refuse(415, "content_type_unsupported"), 415, "content_type_unsupported", ""},
		"much too many":     {fault.Later(fault.TooMany, "too_many_attempts", 5*time.Hour, cause), 429, "too_many_attempts", "86400"},
		"too many, unknown": {fault.New(fault.TooMany, "too_many_attempts", cause), 429, "too_many_attempts", "30"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, "http://localhost")
			d.Mux.Handle("GET /api/fails", web.Handle(d.Log, func(http.ResponseWriter, *http.Request) error { return c.err }))
			r := d.do("GET", "http://localhost/api/fails", "")
			body := text(t, r)
			var p struct {
				Type, Title, Code string
				Status            int
				RequestID         string `json:"request_id"`
			}
			if err := json.Unmarshal([]byte(body), &p); err != nil {
				t.Fatal(err)
			}
			got := []any{r.StatusCode, p.Status, p.Code, p.Type, r.Header.Get("Retry-After"), r.Header.Get("Content-Type"), p.RequestID == r.Header.Get("X-Request-Id")}
			want := []any{c.status, c.status, c.code, "urn:countersign:error:" + c.code, c.retry, "application/problem+json; charset=utf-8", true}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(body, "canary") {
				t.Errorf("the cause is in the answer: %s", body)
			}
			if (c.status >= 500) != strings.Contains(d.log.String(), "canary") && name != "out of time" && name != "the message" {
				t.Errorf("a cause belongs into the log if and only if it is ours: %s", d.log.String())
			}
			if n := strings.Count(d.log.String(), `"msg":"request refused"`); n != 1 {
				t.Errorf("logged %d times", n)
			}
		})
	}
}

// and the Host rows: what no handler sees.
func TestRefusedBeforeAnyHandler(t *testing.T) {
	big := strings.Repeat("x", web.MaxBody+1)
	for name, c := range map[string]struct {
		method, target, body string
		header               []string
		status               int
		code                 string
	}{
		"nothing there":                 {"GET", "/nothing", "", nil, 404, "not_found"},
		"wrong method":                  {"DELETE", "/fine", "", nil, 405, "method_not_allowed"},
		"unheard-of method":             {"BREW", "/fine", "", nil, 405, "method_not_allowed"},
		"options":                       {"OPTIONS", "/fine", "", nil, 405, "method_not_allowed"},
		"trace":                         {"TRACE", "/fine", "", nil, 405, "method_not_allowed"},
		"connect":                       {"CONNECT", "/fine", "", nil, 405, "method_not_allowed"},
		"method override":               {"GET", "/form", "", []string{"X-HTTP-Method-Override", "POST"}, 405, "method_not_allowed"},
		"foreign host":                  {"GET", "/fine", "", []string{"Host", "evil.example"}, 421, "host_unknown"},
		"no host":                       {"GET", "/fine", "", []string{"Host", ""}, 421, "host_unknown"},
		"host with another port":        {"GET", "/fine", "", []string{"Host", "id.example.org:8443"}, 421, "host_unknown"},
		"host as a subdomain":           {"GET", "/fine", "", []string{"Host", "id.example.org.evil.example"}, 421, "host_unknown"},
		"host with a trailing dot":      {"GET", "/fine", "", []string{"Host", "id.example.org."}, 421, "host_unknown"},
		"loopback is not the host":      {"GET", "/fine", "", []string{"Host", "127.0.0.1"}, 421, "host_unknown"},
		"internal host for a page":      {"GET", "/fine", "", []string{"Host", "countersign:8080"}, 421, "host_unknown"},
		"absolute form, foreign":        {"GET", "https://evil.example/fine", "", []string{"Host", "evil.example"}, 421, "host_unknown"},
		"foreign host, for a bound key": {"POST", bound.RefreshPath, "", []string{"Host", "evil.example"}, 503, "busy"}, // at a 4xx the browser would drop it
		"forwarded host is no host":     {"GET", "/fine", "", []string{"Host", "evil.example", "X-Forwarded-Host", "id.example.org", "Forwarded", "host=id.example.org"}, 421, "host_unknown"},
		"cross-site by fetch metadata":  {"POST", "/form", "name=x", []string{"Sec-Fetch-Site", "cross-site"}, 403, "cross_site"},
		"same-site is not same-origin":  {"POST", "/form", "name=x", []string{"Sec-Fetch-Site", "same-site"}, 403, "cross_site"},
		"foreign origin":                {"POST", "/form", "name=x", []string{"Origin", "https://evil.example"}, 403, "cross_site"},
		"null origin":                   {"POST", "/form", "name=x", []string{"Origin", "null"}, 403, "cross_site"},
		"body too large, announced":     {"POST", "/read", big, nil, 413, "body_too_large"},
		"form as JSON":                  {"POST", "/form", `{"name":"x"}`, []string{"Content-Type", "application/json"}, 415, "content_type_unsupported"},
		"form as multipart":             {"POST", "/form", "--x--", []string{"Content-Type", "multipart/form-data; boundary=x"}, 415, "content_type_unsupported"},
		"form without a type":           {"POST", "/form", "name=x", nil, 415, "content_type_unsupported"},
		"form field twice":              {"POST", "/form", "name=x&name=y", []string{"Content-Type", "application/x-www-form-urlencoded"}, 422, "form_malformed"},
		"form with a NUL":               {"POST", "/form", "name=x%00y", []string{"Content-Type", "application/x-www-form-urlencoded"}, 422, "form_malformed"},
		"form not UTF-8":                {"POST", "/form", "name=%ff", []string{"Content-Type", "application/x-www-form-urlencoded"}, 422, "form_malformed"},
		"form with a broken escape":     {"POST", "/form", "name=%zz", []string{"Content-Type", "application/x-www-form-urlencoded"}, 422, "form_malformed"},
		"panic":                         {"GET", "/panics", "", nil, 500, "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, "https://id.example.org")
			target := c.target
			if strings.HasPrefix(target, "/") {
				target = "https://id.example.org" + target
			}
			r := d.do(c.method, target, c.body, c.header...)
			body := text(t, r)
			if r.StatusCode != c.status || !strings.Contains(body, `"code":"`+c.code+`"`) {
				t.Fatalf("got %d %s, want %d %s", r.StatusCode, body, c.status, c.code)
			}
			if c.status == http.StatusMethodNotAllowed && r.Header.Get("Allow") == "" {
				t.Error("does not say which methods it takes (RFC 9110 section 15.5.6)")
			}
			for _, canary := range []string{"evil", "canary", "goroutine", "name=x"} {
				if strings.Contains(body, canary) {
					t.Errorf("%q is in the answer %s", canary, body)
				}
			}
		})
	}
}

func TestAdmitted(t *testing.T) {
	for name, c := range map[string]struct {
		method, target, body string
		header               []string
		want                 int
	}{
		"a page":                        {"GET", "/fine", "", nil, 200},
		"head":                          {"HEAD", "/fine", "", nil, 200},
		"host in capitals":              {"GET", "/fine", "", []string{"Host", "ID.EXAMPLE.ORG"}, 200},
		"host with the usual port":      {"GET", "/fine", "", []string{"Host", "id.example.org:443"}, 200},
		"forwarded headers are ignored": {"GET", "/fine", "", []string{"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "http", "X-Original-URL", "/panics"}, 200},
		"own form":                      {"POST", "/form", "name=x", []string{"Sec-Fetch-Site", "same-origin", "Origin", "https://id.example.org", "Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"}, 200},
		"policy report":                 {"POST", web.ReportPath, "{}", []string{"Content-Type", "application/csp-report"}, 204},
		"a link from another site":      {"GET", "/fine", "", []string{"Sec-Fetch-Site", "cross-site"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, "https://id.example.org")
			if r := d.do(c.method, "https://id.example.org"+c.target, c.body, c.header...); r.StatusCode != c.want {
				t.Errorf("got %d %s", r.StatusCode, text(t, r))
			}
		})
	}
}

func TestABodyThatHidesItsLengthIsCutOff(t *testing.T) {
	d := newDoor(t, "http://localhost")
	r := httptest.NewRequest("POST", "http://localhost/form", io.MultiReader(strings.NewReader("name="+strings.Repeat("x", web.MaxBody))))
	r.ContentLength = -1
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d", w.Code)
	}
}

// what every answer carries, failures included.
func TestHeadersOfEveryAnswer(t *testing.T) {
	d := newDoor(t, "https://id.example.org")
	for _, path := range []string{"/fine", "/nothing", "/panics", "/api/v1/nothing"} {
		h := d.do("GET", "https://id.example.org"+path, "").Header
		want := map[string]string{
			"Strict-Transport-Security":    "max-age=63072000; includeSubDomains",
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Cache-Control":                "no-store",
		}
		for name, value := range want {
			if h.Get(name) != value {
				t.Errorf("%s: %s is %q, want %q", path, name, h.Get(name), value)
			}
		}
		policy := h.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "base-uri 'none'", "object-src 'none'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: no %s in the policy %s", path, part, policy)
			}
		}
		if strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %s", path, policy)
		}
		if !strings.HasPrefix(path, "/api/") && (h.Get("Cross-Origin-Opener-Policy") != "same-origin" || h.Get("Permissions-Policy") == "") {
			t.Errorf("%s: a page without opener or permissions policy", path)
		}
		if h.Get("Server")+h.Get("X-Powered-By")+h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: says too much: %v", path, h)
		}
	}
}

func TestNoHSTSWithoutTLS(t *testing.T) {
	if got := newDoor(t, "http://localhost:8080").do("GET", "http://localhost:8080/fine", "").Header.Get("Strict-Transport-Security"); got != "" {
		t.Error(got)
	}
}

// one event a request, and nothing in it says who asked.
func TestTheLogNamesNobody(t *testing.T) {
	d := newDoor(t, "https://id.example.org")
	for _, target := range []string{"/fine?email=canary@example.org", "/canary%0aforged", "/fine"} {
		d.do("GET", "https://id.example.org"+target, "", "User-Agent", "canary", "X-Forwarded-For", "192.0.2.77",
			"Cookie", web.SessionCookie+"=canary", "Authorization", "Bearer canary", "Referer", "https://id.example.org/canary")
	}
	d.do("CANARY", "https://id.example.org/fine", "")
	for _, leak := range []string{"canary", "CANARY", "192.0.2", "example.org", "forged"} {
		if strings.Contains(d.log.String(), leak) {
			t.Errorf("%q is in the log:\n%s", leak, d.log.String())
		}
	}
	var events int
	for line := range strings.Lines(d.log.String()) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e["msg"] == "request" {
			events++
			for _, key := range []string{"request_id", "route", "status", "us", "bytes", "time"} {
				if e[key] == nil {
					t.Errorf("no %s in %s", key, line)
				}
			}
		}
	}
	if events != 4 {
		t.Errorf("%d events for 4 requests", events)
	}
}

// a panic is logged with its stack, answered without it, and kills nothing.
func TestAPanicIsLoggedAndAnswered(t *testing.T) {
	d := newDoor(t, "http://localhost")
	d.Page = func(http.ResponseWriter, *http.Request, web.Answer) { panic("the page as well") }
	r := d.do("GET", "http://localhost/panics", "")
	if body := text(t, r); r.StatusCode != 500 || !strings.Contains(body, `"code":"internal"`) {
		t.Errorf("got %d %s", r.StatusCode, body)
	}
	if !strings.Contains(d.log.String(), "web_test.go") {
		t.Errorf("no stack in the log: %s", d.log.String())
	}
}

func TestPeopleGetAPageAndApplicationsAProblem(t *testing.T) {
	d := newDoor(t, "http://localhost")
	d.Page = func(w http.ResponseWriter, _ *http.Request, a web.Answer) {
		w.WriteHeader(a.Status)
		_, _ = fmt.Fprintf(w, "page %s %s", a.Code, a.RequestID)
	}
	r := d.do("GET", "http://localhost/nothing", "")
	if body := text(t, r); body != "page not_found "+r.Header.Get("X-Request-Id") {
		t.Error(body)
	}
	for _, host := range []string{"localhost", "127.0.0.1"} {
		for path, person := range map[string]bool{
			"/nothing": true, "/oauth/logout": true, "/.well-known/change-password": true, "/.well-known": true,
			"/api/nothing": false, "/oauth/nothing": false, "/.well-known/openid-configuration": false, "/.well-known/nothing": false,
		} {
			if body := text(t, d.do("GET", "http://localhost"+path, "", "Host", host)); strings.HasPrefix(body, "page ") != person || strings.HasPrefix(body, "{") == person {
				t.Errorf("%s at %s: %s", path, host, body)
			}
		}
	}
}

func TestCookies(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"none":               {nil, ""},
		"one":                {[]string{web.SessionCookie + "=v"}, "v"},
		"among others":       {[]string{"a=b; " + web.SessionCookie + "=v; c=d"}, "v"},
		"without spaces":     {[]string{"a=b;" + web.SessionCookie + "=v"}, "v"},
		"in another line":    {[]string{"a=b", web.SessionCookie + "=v"}, "v"},
		"twice":              {[]string{web.SessionCookie + "=v; " + web.SessionCookie + "=w"}, ""},
		"twice in two lines": {[]string{web.SessionCookie + "=v", web.SessionCookie + "=w"}, ""},
		"a lookalike":        {[]string{"x" + web.SessionCookie + "=v; cs_session=w"}, ""},
		"another case":       {[]string{strings.ToUpper(web.SessionCookie) + "=v"}, ""},
		"garbage":            {[]string{";;=;" + web.SessionCookie}, ""},
		// A sister domain may plant these: no browser sees the prefix in them (P3, A-3.3.3).
		"behind a wide space":   {[]string{"\u2000" + web.SessionCookie + "=v"}, ""},
		"behind a no-break one": {[]string{"a=b; \u00a0" + web.SessionCookie + "=v"}, ""},
		"behind a next line":    {[]string{"\u0085" + web.SessionCookie + "=v"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{"Cookie": c.lines}}
			if got := web.Cookie(r, web.SessionCookie).Reveal(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

//
func TestOurCookiesAreBoundToThisOrigin(t *testing.T) {
	w := httptest.NewRecorder()
	web.SetCookie(w, web.SessionCookie, secret.Of("v"), 0)
	web.SetCookie(w, web.DeviceCookie, secret.Of("h"), time.Hour)
	web.SetCookie(w, web.SessionCookie, secret.Token{}, -1)
	want := []string{
		web.SessionCookie + "=v; Path=/; HttpOnly; Secure; SameSite=Lax",
		web.DeviceCookie + "=h; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax",
		web.SessionCookie + "=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax",
	}
	if d := cmp.Diff(want, w.Header()["Set-Cookie"]); d != "" {
		t.Error(d)
	}
}
