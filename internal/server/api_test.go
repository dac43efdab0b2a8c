package server_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"countersign/internal/platform/config"
	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
)

// app is an application that speaks to the API.
type app struct {
	t     testing.TB
	node  *servertest.Node
	token string
	from  string // its address, as a proxy says it; empty where there is none
}

type answer struct {
	status int
	header http.Header
	text   string
	Step   string
	Flow   string
	Nonce  string
	Code   string
	Ways   []string

	Session struct{ Token string }
	Device  struct{ ID, Handle string }
}

func (a *app) call(method, path, body string, header ...string) answer {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), method, a.node.URL+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	if a.from != "" {
		r.Header.Set("X-Forwarded-For", a.from)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	res, err := a.node.Browser().Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	out := answer{status: res.StatusCode, header: res.Header, text: string(text)}
	if len(text) > 0 && strings.Contains(res.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(text, &out); err != nil {
			a.t.Fatalf("%s: %v", text, err)
		}
	}
	return out
}

// want fails unless the answer has the status.
func (a *app) want(status int, got answer) answer {
	a.t.Helper()
	if got.status != status {
		a.t.Fatalf("got %d %s, want %d", got.status, got.text, status)
	}
	return got
}

func (a *app) begin(name string) answer {
	a.t.Helper()
	return a.want(201, a.call("POST", "/api/v1/signin", `{"identifier":"`+name+`"}`))
}

// signIn signs in with a code by e-mail; remember is what goes with the code.
func (a *app) signIn(name string, remember func(nonce string) string) answer {
	a.t.Helper()
	flow := a.begin(name).Flow
	second := a.want(200, a.call("POST", "/api/v1/signin/password", `{"flow":"`+flow+`","password":"`+servertest.Password+`"}`))
	if second.Step != "second" {
		a.t.Fatal(second.text)
	}
	a.want(202, a.call("POST", "/api/v1/signin/code/send", `{"flow":"`+flow+`","way":"email"}`))
	code := a.node.Code(name)
	done := a.want(200, a.call("POST", "/api/v1/signin/code", `{"flow":"`+flow+`","code":"`+code+`"`+remember(second.Nonce)+`}`))
	a.token = done.Session.Token
	return done
}

func nothing(string) string { return "" }

// remembered signs in and has the device remembered.
func (a *app) remembered(name string) answer {
	a.t.Helper()
	key, b64 := testkit.NewKey(a.t), base64.RawURLEncoding.EncodeToString
	return a.signIn(name, func(nonce string) string {
		return `,"remember":{"public_key":"` + b64(key.Public()) + `","signature":"` + b64(key.Sign("remember", a.node.URL, nonce)) + `","name":"Ada's phone"}`
	})
}

func TestAnApplicationRenamesADevice(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	n.Account("bob@example.org")
	ada, bob := &app{t: t, node: n}, &app{t: t, node: n}
	path := "/api/v1/devices/" + ada.remembered("ada@example.org").Device.ID
	bob.signIn("bob@example.org", nothing)
	ada.want(204, ada.call("PATCH", path, `{"name":"The green one"}`))
	if devices := ada.call("GET", "/api/v1/devices", ""); !strings.Contains(devices.text, `"name":"The green one"`) {
		t.Error(devices.text)
	}
	for body, want := range map[string]int{`{"name":" \u202e "}`: 422, `{"name":""}`: 422, `{}`: 422, `{"name":"x","expires_at":"2099-01-01T00:00:00Z"}`: 422, `{"name":`: 400, ``: 415} {
		ada.want(want, ada.call("PATCH", path, body))
	}
	if got := bob.want(404, bob.call("PATCH", path, `{"name":"Mine"}`)); got.Code != "not_found" {
		t.Error(got.text)
	}
	(&app{t: t, node: n}).want(401, (&app{t: t, node: n}).call("PATCH", path, `{"name":"Mine"}`))
	ada.want(403, ada.call("PATCH", path, `{"name":"Theirs"}`, "Sec-Fetch-Site", "cross-site"))
	if devices := ada.call("GET", "/api/v1/devices", ""); !strings.Contains(devices.text, `"name":"The green one"`) {
		t.Error(devices.text)
	}
}

func TestAnApplicationSignsSomebodyIn(t *testing.T) {
	for name, made := range map[string]func(testing.TB) testkit.Key{"P-256": testkit.NewKey, "Ed25519": testkit.NewEdKey} {
		t.Run(name, func(t *testing.T) { signsSomebodyIn(t, made(t)) })
	}
}

func signsSomebodyIn(t *testing.T, key testkit.Key) {
	t.Helper()
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	a := &app{t: t, node: n}
	b64 := base64.RawURLEncoding.EncodeToString
	done := a.signIn("ada@example.org", func(nonce string) string {
		return `,"remember":{"public_key":"` + b64(key.Public()) + `","signature":"` + b64(key.Sign("remember", n.URL, nonce)) + `","name":"Ada's phone"}`
	})
	a.want(200, a.call("GET", "/api/v1/session", ""))
	if devices := a.want(200, a.call("GET", "/api/v1/devices", "")); !strings.Contains(devices.text, done.Device.ID) || !strings.Contains(devices.text, "Ada's phone") {
		t.Error(devices.text)
	}

	again := &app{t: t, node: n} // the remembered device needs no code
	flow := again.begin("ada@example.org")
	proof := `,"device":{"handle":"` + done.Device.Handle + `","signature":"` + b64(key.Sign("recognise", n.URL, flow.Nonce)) + `"}`
	second := again.want(200, again.call("POST", "/api/v1/signin/password", `{"flow":"`+flow.Flow+`","password":"`+servertest.Password+`"`+proof+`}`))
	if second.Step != "done" || second.Device.Handle == "" || second.Device.Handle == done.Device.Handle {
		t.Fatalf("not recognised, or no new handle: %s", second.text)
	}
	again.token = second.Session.Token

	if all := a.want(200, a.call("GET", "/api/v1/sessions", "")); strings.Count(all.text, `"current":true`) != 1 || strings.Count(all.text, `"id"`) != 2 {
		t.Error(all.text)
	}
	a.want(204, a.call("POST", "/api/v1/sessions/end", `{"which":"others"}`))
	again.want(401, again.call("GET", "/api/v1/session", ""))
	a.want(204, a.call("DELETE", "/api/v1/devices/"+done.Device.ID, ""))
	a.want(404, a.call("DELETE", "/api/v1/devices/"+done.Device.ID, ""))
	a.want(204, a.call("DELETE", "/api/v1/session", ""))
	a.want(401, a.call("GET", "/api/v1/session", ""))
}

// The answer to each code says when the next may be asked for, and the last one that there is none.
func TestTheLastCodeNamesNoNext(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	a := &app{t: t, node: n}
	flow := a.begin("ada@example.org").Flow
	a.want(200, a.call("POST", "/api/v1/signin/password", `{"flow":"`+flow+`","password":"`+servertest.Password+`"}`))
	send := func() answer { return a.call("POST", "/api/v1/signin/code/send", `{"flow":"`+flow+`","way":"email"}`) }
	for _, wait := range []time.Duration{20 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute} {
		next := n.Clock.Now().Add(wait + time.Second - 1).UTC().Truncate(time.Second).Format(time.RFC3339)
		if got := a.want(202, send()); !strings.Contains(got.text, `"resend_at":"`+next+`"`) {
			t.Fatalf("%s, want the next at %s", got.text, next)
		}
		a.want(429, send())
		n.Clock.Advance(wait)
	}
	if got := a.want(202, send()); strings.Contains(got.text, "resend_at") || !strings.Contains(got.text, "expires_at") {
		t.Error(got.text)
	}
	n.Clock.Advance(time.Minute)
	if got := a.want(429, send()); got.Code != "resend_too_soon" {
		t.Error(got.text)
	}
}

// P-1.1: an id opens nothing but what the session's own account has.
func TestNobodyTouchesWhatIsSomebodyElses(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	n.Account("grace@example.org")
	ada, grace := &app{t: t, node: n}, &app{t: t, node: n}
	ada.signIn("ada@example.org", nothing)
	grace.signIn("grace@example.org", nothing)
	var mine struct{ ID string }
	if err := json.Unmarshal([]byte(ada.call("GET", "/api/v1/session", "").text), &mine); err != nil {
		t.Fatal(err)
	}
	theirs, none := grace.call("DELETE", "/api/v1/sessions/"+mine.ID, ""), grace.call("DELETE", "/api/v1/sessions/0196f0c1-0000-7000-8000-000000000000", "")
	if theirs.status != 404 || theirs.Code != none.Code || theirs.status != none.status {
		t.Errorf("somebody else's: %d %s; nobody's: %d %s", theirs.status, theirs.Code, none.status, none.Code)
	}
	ada.want(200, ada.call("GET", "/api/v1/session", ""))
}

// every malformed call is refused with its code, and nothing of it comes back.
func TestMalformedCallsAreRefusedWithoutAnEcho(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Idle: true})
	a := &app{t: t, node: n}
	signIn, password, code := "/api/v1/signin", "/api/v1/signin/password", "/api/v1/signin/code"
	long := strings.Repeat("canary", 3000)
	for name, c := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		code               string
	}{
		"no body":                {"POST", signIn, "", []string{"Content-Type", "application/json"}, 400, "body_malformed"},
		"not JSON":               {"POST", signIn, "canary", nil, 400, "body_malformed"},
		"array":                  {"POST", signIn, `[{"identifier":"canary"}]`, nil, 400, "body_malformed"},
		"trailing data":          {"POST", signIn, `{"identifier":"canary"}{}`, nil, 400, "body_malformed"},
		"duplicate name":         {"POST", password, `{"flow":"x","password":"canary1","password":"canary2"}`, nil, 400, "body_malformed"},
		"name in capitals":       {"POST", password, `{"flow":"x","Password":"canary"}`, nil, 400, "body_malformed"},
		"NUL":                    {"POST", signIn, `{"identifier":"can\u0000ary"}`, nil, 400, "body_malformed"},
		"not UTF-8":              {"POST", signIn, "{\"identifier\":\"canary\xff\"}", nil, 400, "body_malformed"},
		"deep":                   {"POST", signIn, `{"identifier":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, nil, 400, "body_malformed"},
		"unknown field":          {"POST", password, `{"flow":"x","password":"canary","flew":"canary"}`, nil, 422, "input_invalid"},
		"field missing":          {"POST", password, `{"password":"canary"}`, nil, 422, "input_invalid"},
		"array for a string":     {"POST", password, `{"flow":"x","password":["canary"]}`, nil, 422, "input_invalid"},
		"object for a string":    {"POST", signIn, `{"identifier":{"ne":"canary"}}`, nil, 422, "input_invalid"},
		"operator for a string":  {"POST", signIn, `{"identifier":{"$ne":"canary"}}`, nil, 400, "body_malformed"},
		"number for a string":    {"POST", code, `{"flow":"x","code":123456}`, nil, 422, "input_invalid"},
		"null for a string":      {"POST", signIn, `{"identifier":null}`, nil, 422, "input_invalid"},
		"empty":                  {"POST", signIn, `{"identifier":""}`, nil, 422, "input_invalid"},
		"too long":               {"POST", signIn, `{"identifier":"` + long + `"}`, nil, 422, "input_invalid"},
		"unknown way":            {"POST", signIn + "/code/send", `{"flow":"x","way":"canary"}`, nil, 422, "input_invalid"},
		"unknown query":          {"POST", signIn + "?canary=1", `{"identifier":"canary"}`, nil, 422, "input_invalid"},
		"signature not base64":   {"POST", password, `{"flow":"x","password":"p","device":{"handle":"canary","signature":"` + strings.Repeat("!", 86) + `"}}`, nil, 422, "input_invalid"},
		"no identifier at all":   {"POST", signIn, `{"identifier":"canary canary"}`, nil, 422, "identifier_malformed"},
		"wrong type":             {"POST", signIn, `{"identifier":"canary"}`, []string{"Content-Type", "text/plain"}, 415, "content_type_unsupported"},
		"form":                   {"POST", signIn, `identifier=canary`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "content_type_unsupported"},
		"another charset":        {"POST", signIn, `{"identifier":"canary"}`, []string{"Content-Type", "application/json; charset=utf-16"}, 415, "content_type_unsupported"},
		"json in a suffix":       {"POST", signIn, `{"identifier":"canary"}`, []string{"Content-Type", "application/canary+json"}, 415, "content_type_unsupported"},
		"compressed":             {"POST", signIn, `{"identifier":"canary"}`, []string{"Content-Encoding", "gzip"}, 415, "content_type_unsupported"},
		"too large":              {"POST", signIn, `{"identifier":"` + strings.Repeat("canary", 12_000) + `"}`, nil, 413, "body_too_large"},
		"wrong method":           {"PUT", signIn, `{"identifier":"canary"}`, nil, 405, "method_not_allowed"},
		"no such call":           {"GET", "/api/v1/canary", "", nil, 404, "not_found"},
		"no such version":        {"POST", "/api/v0/signin", `{"identifier":"canary"}`, nil, 404, "not_found"},
		"another site":           {"POST", signIn, `{"identifier":"canary"}`, []string{"Sec-Fetch-Site", "cross-site"}, 403, "cross_site"},
		"another host":           {"POST", signIn, `{"identifier":"canary"}`, []string{"Host", "canary.example"}, 421, "host_unknown"},
		"invented flow":          {"POST", password, `{"flow":"canary","password":"canary"}`, nil, 410, "flow_ended"},
		"no session":             {"GET", "/api/v1/session", "", nil, 401, "session_ended"},
		"invented session":       {"GET", "/api/v1/session", "", []string{"Authorization", "Bearer css_canary"}, 401, "session_ended"},
		"basic instead":          {"GET", "/api/v1/session", "", []string{"Authorization", "Basic Y2FuYXJ5"}, 401, "session_ended"},
		"no session for a list":  {"GET", "/api/v1/sessions", "", nil, 401, "session_ended"},
		"no session for an end":  {"POST", "/api/v1/sessions/end", `{"which":"canary"}`, nil, 401, "session_ended"},
		"body where none is due": {"DELETE", "/api/v1/session", `{"canary":1}`, nil, 401, "session_ended"},
	} {
		t.Run(name, func(t *testing.T) {
			a := &app{t: t, node: n}
			got := a.call(c.method, c.path, c.body, c.header...)
			if got.status != c.status || got.Code != c.code {
				t.Errorf("got %d %s, want %d %s", got.status, got.text, c.status, c.code)
			}
			if strings.Contains(got.text, "canary") {
				t.Errorf("the answer echoes: %s", got.text)
			}
			if kind := got.header.Get("Content-Type"); kind != "application/problem+json; charset=utf-8" {
				t.Errorf("content type %q", kind)
			}
		})
	}
	if strings.Contains(a.node.Log.String(), "canary") {
		t.Errorf("the log echoes:\n%s", a.node.Log.String())
	}
}

// A field that means nothing is named, so that whoever develops need not guess; a name that could be somebody's
// address or number is not said back.
func TestAnUnknownFieldIsNamed(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	a := &app{t: t, node: n}
	for body, want := range map[string]string{
		`{"identifier":"ada@example.org","remember_me":"x"}`:                          `"detail":"There is no field remember_me here."`,
		`{"identifier":"ada@example.org","device":{"handle":"x"}}`:                    `"detail":"There is no field device here."`,
		`{"identifier":"ada@example.org","` + strings.Repeat("canary", 11) + `":"x"}`: "",
		`{"identifier":"ada@example.org","canary@example.org":"x"}`:                   "",
	} {
		got := a.call("POST", "/api/v1/signin", body)
		if got.status/100 != 4 || !strings.Contains(got.text, want) || want == "" && (strings.Contains(got.text, "canary") || strings.Contains(got.text, "detail")) {
			t.Errorf("%s: %d %s", body, got.status, got.text)
		}
	}
}

// A field of ours that is missing or does not fit is named, with what is wanted of it; of what was sent nothing is said back, be it the name of a claim.
func TestAFieldThatDoesNotFitIsNamed(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Idle: true})
	a, basic := photos(t, n)
	long := strings.Repeat("canary", 3000)
	for call, want := range map[string]string{
		`POST door/begin {}`: "person is missing.",
		`POST door/begin {"person":{"address":"192.0.2.7"}}`:                                                 "reference is missing.",
		`POST door/begin {"reference":"u-17","person":{}}`:                                                   "person.address is missing.",
		`POST door/begin {"reference":"u-17","person":{"address":"canary"}}`:                                 "person.address is no address of the network.",
		`POST door/begin {"reference":"u-17","person":["canary"]}`:                                           "person is no object.",
		`POST door/begin {"reference":"","person":{"address":"canary"}}`:                                     "reference is too short: 1 at least.",
		`POST door/begin {"reference":"u-17","devices":"canary","person":{"address":"::"}}`:                  "devices is no list.",
		`POST door/begin {"reference":"u-17","devices":["canary","` + long + `"],"person":{"address":"::"}}`: "devices[1] is too long: 64 at most.",
		`PUT door/accounts/u-17 {"language":"12345"}`:                                                        "language does not fit.",
		`PUT door/accounts/u-17 {"email":7}`:                                                                 "email is no text.",
		`GET door/accounts/` + long[:129] + `/devices`:                                                       "reference is too long: 128 at most.",
		`POST door/code/send {"flow":"x","way":"canary","person":{"address":"::"}}`:                          "way is none of these: sms, email.",
		`POST signin {}`:                  "identifier is missing.",
		`POST signin {"identifier":null}`: "identifier is no text.",
		`POST signin/password {"flow":"x","password":"p","device":{"handle":"x","signature":"` + strings.Repeat("!", 86) + `"}}`: "device.signature does not fit.",
		`POST registration/finish {"flow":"x","password":"p","claims":{"canary":7}}`:                                             "claims is no text.",
		`POST signin?canary=1 {"identifier":"x"}`:                                                                                "",
	} {
		method, path, body := strings.Fields(call)[0], strings.Fields(call)[1], ""
		if _, rest, ok := strings.Cut(call, " {"); ok {
			body = "{" + rest
		}
		got := a.call(method, "/api/v1/"+path, body, "Authorization", basic)
		var said struct{ Code, Detail string }
		if err := json.Unmarshal([]byte(got.text), &said); err != nil || got.status != 422 || said.Code != "input_invalid" || said.Detail != want || strings.Contains(got.text, "canary") {
			t.Errorf("%.100s: %d %s %v", call, got.status, got.text, err)
		}
	}
	// It is no answer that stands: the call may be made aright under the same name.
	begin := func(body string) answer {
		return a.call("POST", "/api/v1/door/begin", body, "Authorization", basic, "Idempotency-Key", `"begin-1"`)
	}
	if one, two := begin(`{}`), begin(`{}`); one.status != 422 || !strings.Contains(two.text, "person is missing.") {
		t.Errorf("repeated: %s", two.text)
	}
	if got := begin(`{"reference":"u-17",` + somebody + `}`); got.Code != "account_unknown" {
		t.Errorf("made aright: %s", got.text)
	}
}

// A bad Authorization header is not made good by a cookie, nor the other way round.
func TestTheHeaderIsMeant(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	a := &app{t: t, node: n}
	a.signIn("ada@example.org", nothing)
	cookie := "__Host-cs_session=" + a.token
	a.token = ""
	a.want(200, a.call("GET", "/api/v1/session", "", "Cookie", cookie))
	a.want(401, a.call("GET", "/api/v1/session", "", "Cookie", cookie, "Authorization", "Bearer wrong"))
	a.want(401, a.call("GET", "/api/v1/session", "", "Cookie", cookie+"; "+cookie))
	a.want(403, a.call("DELETE", "/api/v1/session", "", "Cookie", cookie, "Sec-Fetch-Site", "same-site"))
	a.want(200, a.call("GET", "/api/v1/session", "", "Cookie", cookie))
}

// P2 at this door: the answers to a known and an unknown name differ in random values only.
func TestKnownAndUnknownAreAnsweredAlike(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Idle: true})
	n.Account("ada@example.org")
	random := regexp.MustCompile(`cs[a-z]_[A-Za-z0-9_-]+|"nonce":"[A-Z2-7]+"|\d{4}-\d\d-\d\dT[^"]+|"request_id":"[0-9a-f]+"`)
	steps := func(name string) (all []string) {
		a := &app{t: t, node: n}
		flow := a.begin(name)
		wrong := a.call("POST", "/api/v1/signin/password", `{"flow":"`+flow.Flow+`","password":"not the password at all"}`)
		for _, got := range []answer{flow, wrong} {
			got.header.Del("X-Request-Id")
			got.header.Del("Date")
			header, _ := json.Marshal(got.header)
			all = append(all, string(header), random.ReplaceAllString(got.text, "…"))
		}
		return all
	}
	known, ghost := steps("ada@example.org"), steps("ghost@example.org")
	for i := range known {
		if known[i] != ghost[i] {
			t.Errorf("known:   %s\nunknown: %s", known[i], ghost[i])
		}
	}
}

// the address that limits count by cannot be chosen by whoever is limited.
func TestAForgedAddressDoesNotEscapeTheLimit(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Idle: true})
	a := &app{t: t, node: n}
	last := answer{}
	for i := range 200 {
		last = a.call("POST", "/api/v1/signin", `{"identifier":"ghost@example.org"}`,
			"X-Forwarded-For", "198.51.100."+string(rune('0'+i%10)), "Forwarded", "for=203.0.113.7", "X-Real-Ip", "203.0.113.8")
		if last.status == 429 {
			break
		}
	}
	if last.status != 429 || last.Code != "too_many_attempts" || last.header.Get("Retry-After") == "" {
		t.Errorf("200 tries later: %d %s", last.status, last.text)
	}
	behind := servertest.Start(t, servertest.Options{Idle: true, Config: func(c *config.Config) { c.HTTP.TrustedProxies = []string{"127.0.0.0/8"} }})
	b := &app{t: t, node: behind}
	for i := range 100 {
		b.want(201, b.call("POST", "/api/v1/signin", `{"identifier":"ghost@example.org"}`, "X-Forwarded-For", "198.51.100."+string(rune('0'+i%10))))
	}
}

// an app proves once more who is signed in, and gets a new token for the old.
func TestAnAppProvesAgainWhoItIs(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org")
	a := &app{t: t, node: n}
	if got := a.call("POST", "/api/v1/signin/again", `{}`); got.status != 401 || got.Code != "session_ended" {
		t.Errorf("without a session: %d %s", got.status, got.Code)
	}
	in := func(flow string) string {
		a.want(200, a.call("POST", "/api/v1/signin/password", `{"flow":"`+flow+`","password":"`+servertest.Password+`"}`))
		a.want(202, a.call("POST", "/api/v1/signin/code/send", `{"flow":"`+flow+`","way":"email"}`))
		code := n.Code("ada@example.org")
		return a.want(200, a.call("POST", "/api/v1/signin/code", `{"flow":"`+flow+`","code":"`+code+`"}`)).Session.Token
	}
	old := in(a.begin("ada@example.org").Flow)
	a.token = old
	n.Clock.Advance(time.Hour)
	a.token = in(a.want(201, a.call("POST", "/api/v1/signin/again", `{"devices":[]}`)).Flow)
	if a.token == "" || a.token == old {
		t.Fatal("no new token")
	}
	a.want(200, a.call("GET", "/api/v1/session", ""))
	a.token = old
	a.want(401, a.call("GET", "/api/v1/session", ""))
}
