package leak_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"countersign/internal/platform/config"
	"countersign/internal/platform/secret"
	"countersign/internal/testkit/servertest"
	"countersign/internal/web"
)

// everything turns on what is not there by default.
func everything(c *config.Config) {
	c.Throttle.ExemptSources = []string{"127.0.0.0/8"} // every route is asked many times, and limits are for other tests
	c.Forward.Listen, c.Forward.Rules = "127.0.0.1:1", []string{"https://wiki.example.org/ signed-in"}
}

// table is every route, and all that a stranger gets there: one with no cookie, no token and no
// flow, who sends an empty form or object. A new route belongs here before anything else.
//
//   - a page's answer is its status, and where it leads;
//   - an app's answer is its status and code.
var table = map[string]string{
	"GET /healthz":      "200 text",
	"POST /reports/csp": "204",

	// Providers tell here what became of messages, and prove that they are who they say.
	"POST /hooks/sms/{provider}":  "403 page",
	"POST /hooks/mail/{provider}": "403 page",
	"GET /hooks/sms/{provider}":   "403 page",
	"GET /hooks/mail/{provider}":  "403 page",

	"GET /assets/{hash}/{name}": "404 page",

	// Nobody is signed in, so everything of an owner leads to the sign-in.
	"GET /{$}":                  "303 /signin",
	"POST /devices/{id}/forget": "303 /signin",
	"POST /devices/{id}/rename": "303 /signin",
	"POST /devices/forget-all":  "303 /signin",
	"POST /sessions/{id}/end":   "303 /signin",
	"POST /sessions/end-others": "303 /signin",
	"POST /sessions/end-all":    "303 /signin",
	"POST /signout":             "303 /signin",
	"GET /activity":             "303 /signin",
	"GET /activity/{id}/notme":  "303 /signin",
	"POST /activity/{id}/notme": "303 /signin",
	"GET /account":              "303 /signin",
	"POST /account/language":    "303 /signin",
	"POST /account/data":        "303 /signin",
	"POST /account/erase":       "303 /signin",
	"POST /account/keep":        "303 /signin",
	"GET /account/language":     "303 /signin",
	"GET /account/data":         "303 /signin",
	"GET /account/erase":        "303 /signin",
	"GET /account/keep":         "303 /signin",
	"GET /reauth":               "303 /signin",
	"POST /reauth":              "303 /signin",

	// The way to sites behind a proxy: without a wish that we sealed it leads nowhere.
	"GET /access":        "410 page",
	"GET /access/denied": "403 page",
	"GET /access/over":   "410 page",

	// The way in. A flow is somebody's, or none: the stranger's is invented.
	"GET /signin":                        "200 page",
	"POST /signin":                       "422 page",
	"GET /signin/{flow}":                 "410 page",
	"POST /signin/{flow}/device":         "410 page",
	"POST /signin/{flow}/send":           "410 page",
	"POST /signin/{flow}/code":           "410 page",
	"GET /signin/{flow}/sent":            "410 page",
	"GET /signin/{flow}/device":          "303 /signin/FLOW",
	"GET /signin/{flow}/passkey":         "303 /signin/FLOW",
	"GET /signin/passkey":                "303 /signin",
	"POST /signin/passkey":               "422 page",
	"POST /signin/{flow}/passkey":        "410 page",
	"GET /reauth/passkey":                "303 /signin",
	"POST /reauth/passkey":               "303 /signin",
	"GET /.well-known/passkey-endpoints": "200 application/json",

	// Passkeys are asked of whoever has one: nobody is named.
	"POST /api/v1/signin/passkey/options":       "200 application/json",
	"POST /api/v1/signin/passkey":               "422 input_invalid",
	"POST /api/v1/signin/again/passkey/options": "401 session_ended",
	"POST /api/v1/signin/again/passkey":         "401 session_ended",
	"POST /api/v1/account/passkeys/options":     "401 session_ended",
	"POST /api/v1/account/passkeys":             "401 session_ended",
	"PATCH /api/v1/account/passkeys/{id}":       "401 session_ended",
	"DELETE /api/v1/account/passkeys/{id}":      "401 session_ended",
	"GET /signin/{flow}/send":                   "303 /signin/FLOW",
	"GET /signin/{flow}/code":                   "303 /signin/FLOW",

	// Browsers come here by themselves. Without a session no key is bound, and a device that nobody knows is over.
	"POST /dbsc/register": "401 page",
	"POST /dbsc/refresh":  "200 application/json",

	// One device lets another in: the new one's page, and the old one's, whose holder is signed in.
	"POST /signin/{flow}/approve":       "410 page",
	"GET /signin/{flow}/approve":        "410 page",
	"GET /signin/{flow}/approve/state":  "410 page",
	"POST /signin/{flow}/approve/enter": "410 page",
	"GET /signin/{flow}/approve/enter":  "303 /signin/FLOW",
	"GET /approve":                      "303 /signin",
	"GET /approve/refused":              "303 /signin",
	"POST /approve/{id}":                "303 /signin",
	"POST /approve/{id}/refuse":         "303 /signin",

	// The way back. As above: a recovery is somebody's, or none.
	"GET /recover":                  "200 page",
	"POST /recover":                 "422 page",
	"GET /recover/{flow}":           "410 page",
	"GET /recover/{flow}/more":      "410 page",
	"GET /recover/{flow}/saved":     "410 page",
	"GET /recover/{flow}/contacts":  "410 page",
	"GET /recover/{flow}/old":       "410 page",
	"GET /recover/{flow}/otp":       "410 page",
	"GET /recover/{flow}/backup":    "410 page",
	"POST /recover/{flow}/send":     "410 page",
	"POST /recover/{flow}/code":     "410 page",
	"POST /recover/{flow}/saved":    "410 page",
	"POST /recover/{flow}/contacts": "410 page",
	"POST /recover/{flow}/old":      "410 page",
	"POST /recover/{flow}/otp":      "410 page",
	"POST /recover/{flow}/backup":   "410 page",
	"POST /recover/{flow}/ask":      "410 page",
	"POST /recover/{flow}/wait":     "410 page",
	"POST /recover/{flow}/password": "410 page",
	"GET /recover/{flow}/send":      "303 /recover/FLOW",
	"GET /recover/{flow}/code":      "303 /recover/FLOW",
	"GET /recover/{flow}/ask":       "303 /recover/FLOW",
	"GET /recover/{flow}/wait":      "303 /recover/FLOW",
	"GET /recover/{flow}/password":  "303 /recover/FLOW",

	"GET /applications":                "303 /signin",
	"GET /applications/{id}/withdraw":  "303 /signin",
	"POST /applications/{id}/withdraw": "303 /signin",

	// Applications send people here, and ask for tokens. Neither an application nor a request is named.
	"GET /authorize":                              "422 page",
	"POST /authorize":                             "303 /authorize?",
	"GET /authorize/{request}":                    "410 page",
	"POST /authorize/{request}":                   "410 page",
	"POST /authorize/{request}/other":             "303 /signin",
	"GET /authorize/{request}/other":              "410 page",
	"GET /authorize/{request}/onward":             "404 page",
	"POST /oauth/device_authorization":            "401 application/json",
	"GET /device":                                 "200 page",
	"POST /device":                                "422 page",
	"GET /oauth/logout":                           "200 page",
	"POST /oauth/logout":                          "303 /oauth/logout?",
	"POST /signout/asked":                         "303 /signin?done=signed-out",
	"GET /signout/asked":                          "303 /",
	"GET /.well-known/openid-configuration":       "200 application/json",
	"GET /.well-known/oauth-authorization-server": "200 application/json",
	"GET /oauth/jwks":                             "200 application/json",
	"POST /oauth/par":                             "401 application/json",
	"OPTIONS /oauth/par":                          "204",
	"POST /oauth/register":                        "400 application/json",
	"GET /oauth/register/{client}":                "401 application/json",
	"PUT /oauth/register/{client}":                "400 application/json",
	"DELETE /oauth/register/{client}":             "401 application/json",
	"POST /oauth/token":                           "401 application/json",
	"OPTIONS /oauth/token":                        "204",
	"POST /oauth/introspect":                      "401 application/json",
	"POST /oauth/revoke":                          "401 application/json",
	"OPTIONS /oauth/revoke":                       "204",
	"GET /oauth/userinfo":                         "401 application/json",
	"POST /oauth/userinfo":                        "401 application/json",
	"OPTIONS /oauth/userinfo":                     "204",

	// The second door is for applications, which prove who they are before anything else.
	"PUT /api/v1/door/accounts/{reference}":                    "401 client_unproved",
	"DELETE /api/v1/door/accounts/{reference}":                 "401 client_unproved",
	"GET /api/v1/door/accounts/{reference}/devices":            "401 client_unproved",
	"DELETE /api/v1/door/accounts/{reference}/devices":         "401 client_unproved",
	"DELETE /api/v1/door/accounts/{reference}/devices/{id}":    "401 client_unproved",
	"GET /api/v1/door/accounts/{reference}/factors":            "401 client_unproved",
	"POST /api/v1/door/accounts/{reference}/apps":              "401 client_unproved",
	"POST /api/v1/door/accounts/{reference}/apps/{id}/confirm": "401 client_unproved",
	"POST /api/v1/door/accounts/{reference}/apps/{id}/remove":  "401 client_unproved",
	"POST /api/v1/door/accounts/{reference}/backup-codes":      "401 client_unproved",
	"POST /api/v1/door/begin":                                  "401 client_unproved",
	"POST /api/v1/door/device":                                 "401 client_unproved",
	"POST /api/v1/door/code/send":                              "401 client_unproved",
	"POST /api/v1/door/code":                                   "401 client_unproved",

	// Accounts are opened here, if anybody may open one: in this table nobody may.
	"GET /register":                    "403 page",
	"POST /register":                   "403 page",
	"GET /register/{flow}":             "403 page",
	"POST /register/{flow}/send":       "403 page",
	"POST /register/{flow}/code":       "403 page",
	"POST /register/{flow}/finish":     "403 page",
	"GET /register/{flow}/send":        "303 /register/FLOW",
	"GET /register/{flow}/code":        "303 /register/FLOW",
	"GET /register/{flow}/finish":      "303 /register/FLOW",
	"GET /welcome":                     "303 /signin",
	"GET /api/v1/registration":         "200 application/json",
	"POST /api/v1/registration":        "422 input_invalid",
	"POST /api/v1/registration/send":   "422 input_invalid",
	"POST /api/v1/registration/code":   "422 input_invalid",
	"POST /api/v1/registration/finish": "422 input_invalid",

	// Where the links of letters lead. They have no secret here, and the pages are the same for everybody.
	"GET /notme":      "200 page",
	"GET /notme/done": "200 page",

	"GET /notme/app":      "200 page",
	"GET /notme/app/done": "200 page",
	"POST /notme/app":     "422 page",
	"POST /notme":         "422 page",
	"GET /stop":           "200 page",
	"GET /stop/done":      "200 page",
	"POST /stop":          "422 page",

	// What protects an account is its holder's to see and to change.
	"GET /security":                        "303 /signin",
	"POST /security/review":                "303 /signin",
	"GET /security/password":               "303 /signin",
	"POST /security/password":              "303 /signin",
	"GET /security/addresses":              "303 /signin",
	"GET /security/addresses/new":          "303 /signin",
	"POST /security/addresses":             "303 /signin",
	"GET /security/addresses/{flow}":       "303 /signin",
	"GET /security/addresses/{flow}/send":  "303 /signin",
	"GET /security/addresses/{flow}/code":  "303 /signin",
	"POST /security/addresses/{flow}/send": "303 /signin",
	"POST /security/addresses/{flow}/code": "303 /signin",
	"POST /security/addresses/{id}/remove": "303 /signin",
	"POST /security/addresses/{id}/uses":   "303 /signin",
	"GET /security/contacts":               "303 /signin",
	"GET /security/contacts/new":           "303 /signin",
	"POST /security/contacts":              "303 /signin",
	"POST /security/contacts/{id}/remove":  "303 /signin",
	"GET /security/saved-code":             "303 /signin",
	"GET /enrol":                           "303 /signin",
	"GET /security/second/{what}":          "303 /signin",
	"POST /security/second/{what}":         "303 /signin",
	"GET /security/passkeys":               "303 /signin",
	"POST /security/passkeys":              "303 /signin",
	"POST /security/passkeys/{id}/rename":  "303 /signin",
	"POST /security/passkeys/{id}/remove":  "303 /signin",
	"GET /security/apps":                   "303 /signin",
	"GET /security/apps/confirm":           "303 /signin",
	"GET /security/backup-codes":           "303 /signin",
	"POST /security/apps":                  "303 /signin",
	"POST /security/apps/confirm":          "303 /signin",
	"POST /security/apps/{id}/rename":      "303 /signin",
	"POST /security/apps/{id}/remove":      "303 /signin",
	"POST /security/backup-codes":          "303 /signin",
	"POST /security/saved-code":            "303 /signin",
	"POST /security/saved-code/remove":     "303 /signin",
	"GET /.well-known/change-password":     "303 /signin",

	"GET /api/v1/account":                    "401 session_ended",
	"GET /api/v1/account/addresses":          "401 session_ended",
	"POST /api/v1/account/addresses":         "401 session_ended",
	"POST /api/v1/account/addresses/send":    "401 session_ended",
	"POST /api/v1/account/addresses/prove":   "401 session_ended",
	"DELETE /api/v1/account/addresses/{id}":  "401 session_ended",
	"PATCH /api/v1/account/addresses/{id}":   "401 session_ended",
	"GET /api/v1/account/contacts":           "401 session_ended",
	"POST /api/v1/account/contacts":          "401 session_ended",
	"DELETE /api/v1/account/contacts/{id}":   "401 session_ended",
	"POST /api/v1/account/saved-code":        "401 session_ended",
	"GET /api/v1/account/factors":            "401 session_ended",
	"POST /api/v1/account/apps":              "401 session_ended",
	"POST /api/v1/account/apps/{id}/confirm": "401 session_ended",
	"PATCH /api/v1/account/apps/{id}":        "401 session_ended",
	"DELETE /api/v1/account/apps/{id}":       "401 session_ended",
	"PUT /api/v1/account/second-proof":       "401 session_ended",
	"POST /api/v1/account/backup-codes":      "401 session_ended",
	"DELETE /api/v1/account/saved-code":      "401 session_ended",
	"POST /api/v1/account/review":            "401 session_ended",
	"PATCH /api/v1/account":                  "401 session_ended",
	"POST /api/v1/account/data":              "401 session_ended",
	"POST /api/v1/account/erase":             "401 session_ended",
	"DELETE /api/v1/account/erase":           "401 session_ended",

	"POST /api/v1/account/activity/{id}/notme": "401 session_ended",

	"GET /api/v1/openapi.json":  "200 application/openapi+json",
	"GET /api/v1/openapi.yaml":  "200 application/openapi+yaml",
	"POST /api/v1/notme":        "422 input_invalid",
	"POST /api/v1/stop":         "422 input_invalid",
	"POST /api/v1/signin":       "422 input_invalid",
	"POST /api/v1/signin/again": "401 session_ended",

	"POST /api/v1/signin/approval":               "422 input_invalid",
	"POST /api/v1/signin/approval/enter":         "422 input_invalid",
	"GET /api/v1/account/approvals":              "401 session_ended",
	"POST /api/v1/account/approvals/{id}":        "401 session_ended",
	"POST /api/v1/account/approvals/{id}/refuse": "401 session_ended",

	"POST /api/v1/signin/password":  "422 input_invalid",
	"POST /api/v1/signin/code/send": "422 input_invalid",
	"POST /api/v1/signin/code":      "422 input_invalid",
	"POST /api/v1/signin/code/sent": "422 input_invalid",
	"POST /api/v1/account/password": "401 session_ended",
	"GET /api/v1/session":           "401 session_ended",
	"DELETE /api/v1/session":        "401 session_ended",
	"GET /api/v1/sessions":          "401 session_ended",
	"DELETE /api/v1/sessions/{id}":  "401 session_ended",
	"POST /api/v1/sessions/end":     "401 session_ended",
	"GET /api/v1/devices":           "401 session_ended",
	"GET /api/v1/account/activity":  "401 session_ended",
	"DELETE /api/v1/devices":        "401 session_ended",
	"DELETE /api/v1/devices/{id}":   "401 session_ended",
	"PATCH /api/v1/devices/{id}":    "401 session_ended",

	"POST /api/v1/recovery":               "422 input_invalid",
	"POST /api/v1/recovery/state":         "422 input_invalid",
	"POST /api/v1/recovery/code":          "422 input_invalid",
	"POST /api/v1/recovery/send":          "422 input_invalid",
	"POST /api/v1/recovery/saved-code":    "422 input_invalid",
	"POST /api/v1/recovery/contacts":      "422 input_invalid",
	"POST /api/v1/recovery/contacts/code": "422 input_invalid",
	"POST /api/v1/recovery/old-password":  "422 input_invalid",
	"POST /api/v1/recovery/own-code":      "422 input_invalid",
	"POST /api/v1/recovery/wait":          "422 input_invalid",
	"POST /api/v1/recovery/password":      "422 input_invalid",
}

// private is every route of the listener that is not for the world.
var private = []string{"GET /healthz", "GET /metrics", "GET /readyz"}

// backDoors are words in the paths of everything that lets people in without what they know (P8).
var backDoors = regexp.MustCompile(`(?i)reset|recover|forgot|lost|restore|rescue|magic|passwordless|change-?password|impersonat|admin|debug|pprof`)

// wellKnown leads password managers to the page of whoever is signed in.
const wellKnown = "GET /.well-known/change-password"

// wayBack is the one way back there is: it is in alike_test.go and forged_test.go, step by step.
var wayBack = regexp.MustCompile(`^(GET|POST) (/recover|/api/v1/recovery)(/|$)`)

// routes lists the patterns of a mux. It has no list of its own, so this looks inside; should a
// new Go keep them elsewhere, the test fails and does not pass by finding nothing.
func routes(t *testing.T, mux *http.ServeMux) (all []string) {
	t.Helper()
	index := reflect.ValueOf(mux).Elem().FieldByName("index")
	if !index.IsValid() {
		t.Fatal("http.ServeMux keeps its patterns elsewhere now: find them, and mend this test")
	}
	add := func(patterns reflect.Value) {
		for i := range patterns.Len() {
			all = append(all, patterns.Index(i).Elem().FieldByName("str").String())
		}
	}
	for each := index.FieldByName("segments").MapRange(); each.Next(); {
		add(each.Value())
	}
	add(index.FieldByName("multis"))
	slices.Sort(all)
	return slices.Compact(all)
}

// P1, P8, C-AZ: every route there is, asked by a stranger, answers what the table says and nothing more.
func TestEveryRouteIsInTheTable(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Idle: true, Config: everything})
	n.Account(ada, adaPhone)
	front, ok := n.Handler().(*web.Front)
	if !ok {
		t.Fatalf("the handler is a %T", n.Handler())
	}
	all := routes(t, front.Mux)
	for _, route := range all {
		want, listed := table[route]
		if !listed {
			t.Errorf("%s is not in the table: say there what a stranger gets", route)
			continue
		}
		if backDoors.MatchString(route) && !wayBack.MatchString(route) && route != wellKnown {
			t.Errorf("%s looks like a way in without what people know", route)
		}
		v := newVisitor(t, n, "198.51.100.101")
		flow := secret.NewToken("csf").Reveal()
		got := v.stranger(route, flow)
		if short := strings.ReplaceAll(got.short(), flow, "FLOW"); short != want {
			t.Errorf("%s answers a stranger %q, want %q", route, short, want)
		}
		for _, cookie := range (&http.Response{Header: got.head}).Cookies() {
			// A browser's secret is its own: it binds the passkey that the page asks for to the browser that shows it.
			if signIn := strings.HasSuffix(route, " /signin") || route == "POST /signin/passkey"; signIn && cookie.Name == web.BrowserCookie {
				continue
			}
			if cookie.MaxAge >= 0 && cookie.Value != "" {
				t.Errorf("%s gives a stranger the cookie %s", route, cookie.Name)
			}
		}
	}
	for route := range table {
		if !slices.Contains(all, route) {
			t.Errorf("%s is in the table and not on the server", route)
		}
	}
	watch, ok := n.Watch().(*http.ServeMux)
	if !ok {
		t.Fatalf("the private handler is a %T", n.Watch())
	}
	if got := routes(t, watch); !slices.Equal(got, private) {
		t.Errorf("the private listener has %v, want %v", got, private)
	}
}

// stranger asks a route as somebody who has nothing.
func (v *visitor) stranger(route, flow string) answer {
	v.t.Helper()
	method, path, _ := strings.Cut(route, " ")
	path = strings.NewReplacer("{flow}", flow, "{$}", "", "{hash}", "0", "{name}", "none.css", "{id}", "none", "{what}", "first", "{provider}", "twilio", "{request}", "none", "{reference}", "u-17", "{client}", "none").Replace(path)
	if strings.ContainsAny(path, "{}") {
		v.t.Fatalf("%s has a part that this test cannot fill in", route)
	}
	switch {
	case method != http.MethodPost:
		return v.exchange(v.request(method, path, "", ""))
	case strings.HasPrefix(path, "/api/"):
		return v.exchange(v.request(method, path, "application/json", "{}"))
	default:
		return v.form(path)
	}
}

// short is what the table says of an answer.
func (a answer) short() string {
	kind, _, _ := strings.Cut(a.head.Get("Content-Type"), ";")
	switch {
	case a.head.Get("Location") != "":
		return fmt.Sprint(a.status, " ", a.head.Get("Location"))
	case a.fields["code"] != nil:
		return fmt.Sprint(a.status, " ", a.code())
	case kind == "text/html":
		return fmt.Sprint(a.status, " page")
	case kind == "text/plain":
		return fmt.Sprint(a.status, " text")
	case kind == "" && a.body == "":
		return fmt.Sprint(a.status)
	}
	return fmt.Sprint(a.status, " ", kind)
}

// The description and the server have the same calls, so nothing is served that is not described.
func TestTheDescriptionHasEveryCall(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Idle: true, Config: everything})
	var described struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(newVisitor(t, n, "198.51.100.101").get("/api/v1/openapi.json").body), &described); err != nil {
		t.Fatal(err)
	}
	var calls []string
	for path, methods := range described.Paths {
		for method := range methods {
			calls = append(calls, strings.ToUpper(method)+" "+path)
		}
	}
	var served []string
	for route := range table {
		if strings.Contains(route, " /api/") && !strings.Contains(route, "/openapi.") {
			served = append(served, route)
		}
	}
	slices.Sort(calls)
	slices.Sort(served)
	if !slices.Equal(calls, served) {
		t.Errorf("described %v\nserved    %v", calls, served)
	}
}

// Everything that is not a route is nothing, whoever may have had it once: the names of ways back
// in that other servers have (P8).
func TestThereIsNoOtherWayIn(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Idle: true, Config: everything})
	v := newVisitor(t, n, "198.51.100.101")
	for _, path := range []string{
		"/reset", "/password/reset", "/forgot", "/forgot-password", "/recovery", "/account/recovery", "/signup", "/magic",
		"/admin", "/demo", "/demo/inbox", "/metrics", "/readyz", "/debug/pprof/", "/debug/vars", "/.git/config", "/.env", "/docs", "/schemas/Problem.json",
		"/api/v1", "/api/v1/", "/api/v1/accounts", "/api/v1/users", "/api/v1/recover", "/api/v1/password/reset", "/api/v1/signin/forgot", "/api/v0/signin", "/api/v1/docs",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			got := v.exchange(v.request(method, path, "application/json", `{"identifier":"`+ada+`"}`))
			if got.status != http.StatusNotFound {
				t.Errorf("%s %s: %d", method, path, got.status)
			}
		}
	}
}
