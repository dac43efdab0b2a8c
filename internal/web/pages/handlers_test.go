package pages

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"countersign/internal/audit"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// What the server mounts fits.
var (
	_ Flows    = (*signin.Service)(nil)
	_ Sessions = (*session.Service)(nil)
	_ Owner    = (*profile.Service)(nil)
	_ holder   = (*profile.Service)(nil)
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// desk stands in for the services: it answers what the test says and notes what it was asked.
type desk struct {
	begin    signin.Begin
	again    session.Session
	password signin.PasswordProof
	device   device.Proof
	code     signin.CodeProof
	deskPasskeys
	ref   signin.Ref
	sends []factor.Way
	done  []string // what the owner had done

	activity profile.Activity
	from     audit.Mark
	self     profile.Self
	refuses  error // what takes a fresh proof

	next   signin.Next
	sent   signin.Sent
	err    error
	enrols bool // the session is good for enrolling something and nothing else

	gone bool // the owner's session is over, or the thing is not theirs
}

func (d *desk) Begin(_ context.Context, b signin.Begin) (signin.Started, error) {
	d.begin = b
	return signin.Started{Flow: flow}, d.err
}

func (d *desk) Again(_ context.Context, me session.Session, b signin.Begin) (signin.Started, error) {
	d.begin, d.again = b, me
	return signin.Started{Flow: flow}, d.err
}

func (d *desk) Password(_ context.Context, ref signin.Ref, _ signin.Client, p signin.PasswordProof) (signin.Next, error) {
	d.ref, d.password = ref, p
	return d.next, d.err
}

func (d *desk) Device(_ context.Context, ref signin.Ref, _ signin.Client, p device.Proof) (signin.Next, error) {
	d.ref, d.device = ref, p
	return d.next, d.err
}

func (d *desk) Send(_ context.Context, _ signin.Ref, _ signin.Client, w factor.Way) (signin.Sent, error) {
	d.sends = append(d.sends, w)
	return d.sent, d.err
}

func (d *desk) Code(_ context.Context, ref signin.Ref, _ signin.Client, p signin.CodeProof) (signin.Next, error) {
	d.ref, d.code = ref, p
	return d.next, d.err
}

func (d *desk) At(_ context.Context, ref signin.Ref) (signin.Next, error) {
	d.ref = ref
	return d.next, d.err
}

func (d *desk) Stands(context.Context, secret.Token, []secret.Token) (session.Session, session.Standing, error) {
	if d.gone {
		return session.Session{}, session.Standing{}, fault.New(fault.Unauthenticated, "session_ended", nil)
	}
	if d.enrols {
		return session.Session{ID: "mine", Account: "a", Enrol: true}, session.Standing{}, nil
	}
	return session.Session{ID: "mine", Account: "a"}, session.Standing{}, d.err
}

func (d *desk) ListSessions(context.Context, session.Session) ([]session.Session, error) {
	return []session.Session{{ID: "mine", Name: "This browser"}, {ID: "other", Name: "Other browser"}}, nil
}

func (d *desk) ListDevices(context.Context, session.Session) ([]device.Device, error) {
	return []device.Device{{ID: "dev", Name: "A device"}}, nil
}

func (d *desk) note(what string) error { d.done = append(d.done, what); return nil }

func (d *desk) EndSession(_ context.Context, _ session.Session, _ signin.Client, id session.ID) (bool, error) {
	return id == "mine" || id == "other", d.note("end " + string(id))
}

func (d *desk) EndOtherSessions(context.Context, session.Session, signin.Client) error {
	return d.note("end others")
}

func (d *desk) EndAllSessions(context.Context, session.Session, signin.Client) error {
	return d.note("end all")
}

func (d *desk) ForgetDevice(_ context.Context, _ session.Session, _ signin.Client, id device.ID) (bool, error) {
	return id == "dev", d.note("forget " + string(id))
}

func (d *desk) RenameDevice(_ context.Context, _ session.Session, _ signin.Client, id device.ID, name string) (bool, error) {
	if strings.TrimSpace(name) == "" {
		return false, fault.New(fault.Invalid, "device_name_empty", nil)
	}
	return id == "dev", d.note("rename " + string(id) + " to " + name)
}

func (d *desk) Activity(_ context.Context, _ session.Session, from audit.Mark) (profile.Activity, error) {
	d.from = from
	return d.activity, d.err
}

func (d *desk) Deed(_ context.Context, _ session.Session, id string) (profile.Deed, bool, error) {
	for _, deed := range d.activity.Deeds {
		if deed.ID == id {
			return deed, true, nil
		}
	}
	return profile.Deed{}, false, nil
}

func (d *desk) ForgetAllDevices(context.Context, session.Session, signin.Client) error {
	return d.note("forget all")
}

var (
	flow    = secret.NewToken(signin.FlowPrefix)
	secret1 = secret.NewToken(signin.BrowserPrefix)
	flowAt  = "/signin/" + flow.Reveal()
)

// door is the desk behind the pages, behind the Front, as in the server.
func door(t *testing.T, d *desk) http.Handler {
	t.Helper()
	p, mux := testPages(t), http.NewServeMux()
	client := func(r *http.Request) signin.Client { return signin.Client{UserAgent: r.UserAgent()} }
	p.Mount(mux, quiet())
	(&SignIn{Pages: p, Log: quiet(), Flows: d, Sessions: d, Owner: d, Client: client}).Mount(mux)
	(&Again{SignIn{Pages: p, Log: quiet(), Flows: d, Sessions: d, Owner: d, Client: client}}).Mount(mux)
	(&Home{Pages: p, Log: quiet(), Sessions: d, Owner: d, Holder: d, Client: client}).Mount(mux)
	guarded(p, d, &vault{}).Mount(mux)
	(&Activity{Pages: p, Log: quiet(), Sessions: d, Past: d, Client: client}).Mount(mux)
	(&Account{Pages: p, Log: quiet(), Sessions: d, Owner: d, Client: client}).Mount(mux)
	(&Demo{Pages: p, Log: quiet(), Messages: func() []Message { return nil }}).Mount(mux)
	public, err := url.Parse("https://id.example")
	if err != nil {
		t.Fatal(err)
	}
	return &web.Front{Log: quiet(), Mux: mux, PublicURL: public, Page: p.Failure, Now: time.Now}
}

func get(path string) *http.Request {
	return httptest.NewRequest(http.MethodGet, "https://id.example"+path, nil)
}

func post(path string, pairs ...string) *http.Request {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, "https://id.example"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.AddCookie(&http.Cookie{Name: web.BrowserCookie, Value: secret1.Reveal()})
	return r
}

func answer(h http.Handler, r *http.Request) (*http.Response, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), w.Body.String()
}

// P2, A-6.3.8: a refusal is the same page whatever was typed, and none of it comes back.
func TestARefusedSignInEchoesNothing(t *testing.T) {
	refused := func(d *desk) string {
		res, body := answer(door(t, d), post("/signin", "username", "somebody-typed", "password", "something-typed"))
		if res.StatusCode != http.StatusUnprocessableEntity {
			t.Fatalf("status %s", res.Status)
		}
		if strings.Contains(body, "somebody-typed") || strings.Contains(body, "something-typed") {
			t.Fatal("what was typed came back")
		}
		return body
	}
	wrong := refused(&desk{next: signin.Next{Step: signin.StepPassword, Refused: true}})
	malformed := refused(&desk{err: fault.New(fault.Invalid, "identifier_malformed", errors.New("x"))})
	if diff := cmp.Diff(wrong, malformed); diff != "" {
		t.Fatal(diff)
	}
}

// A proof of who is signed in goes the way of every sign-in, and back to a page of ours.
func TestProvingAgainLeadsBack(t *testing.T) {
	res, body := answer(door(t, &desk{}), get("/reauth?for=https://evil.example/"))
	if res.StatusCode != http.StatusOK || strings.Contains(body, "evil") || !strings.Contains(body, `name="for" value="home"`) {
		t.Errorf("%s: %s", res.Status, body)
	}
	d := &desk{next: signin.Next{Step: signin.StepSecond, Again: true, Back: "home", Ways: []factor.Way{factor.Email}}}
	res, _ = answer(door(t, d), post("/reauth", "for", "home", "password", " y "))
	if res.Header.Get("Location") != flowAt || d.again.ID != "mine" || d.password.Password != " y " || d.begin.Back != "home" || d.begin.Identifier != "" {
		t.Errorf("to %s with %+v", res.Header.Get("Location"), d.begin)
	}
	token := secret.NewToken("css")
	d.next = signin.Next{Step: signin.StepDone, Again: true, Back: "home", Session: &session.Started{Token: token}}
	if res, _ := answer(door(t, d), post("/reauth", "for", "home", "password", "y")); res.Header.Get("Location") != "/" || cookie(res, web.SessionCookie).Value != token.Reveal() {
		t.Errorf("done: to %s", res.Header.Get("Location"))
	}
	d.next.Back = "//evil.example" // no door of ours says so, and it leads nowhere else either
	if res, _ := answer(door(t, d), post("/reauth", "for", "//evil.example", "password", "y")); res.Header.Get("Location") != "/" || d.begin.Back != "home" {
		t.Errorf("to %s", res.Header.Get("Location"))
	}
	for _, next := range []signin.Next{{Step: signin.StepPassword, Refused: true, Again: true}, {Step: signin.StepPassword, Again: true}} {
		d.next = next
		res, body := answer(door(t, d), post("/reauth", "for", "home", "password", "typed-wrong"))
		if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, "That is not your password.") || strings.Contains(body, "typed-wrong") {
			t.Errorf("%+v: %s", next, res.Status)
		}
	}
	d = &desk{}
	if res, _ := answer(door(t, d), post("/reauth", "for", "home")); res.StatusCode != http.StatusUnprocessableEntity || d.again.ID != "" {
		t.Errorf("without a password: %s", res.Status)
	}
	d.next = signin.Next{Step: signin.StepPassword, Again: true, Back: "home"}
	if res, _ := answer(door(t, d), get(flowAt)); res.Header.Get("Location") != "/reauth?for=home" {
		t.Errorf("to %s", res.Header.Get("Location"))
	}
}

func TestNothingIsTriedWithHalfAForm(t *testing.T) {
	for _, form := range [][]string{{}, {"username", "x"}, {"password", "x"}, {"username", "", "password", "x"}} {
		d := &desk{}
		res, body := answer(door(t, d), post("/signin", form...))
		if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, "Enter your name and your password.") || d.begin.Identifier != "" {
			t.Errorf("%v: %s", form, res.Status)
		}
	}
}

func TestSignInLeadsToTheDeviceCheckOrTheCode(t *testing.T) {
	d := &desk{next: signin.Next{Step: signin.StepDevice}}
	res, _ := answer(door(t, d), with(post("/signin", "username", "x", "password", " y "), web.DeviceCookie, "one.two..three.four.five"))
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != flowAt || len(d.sends) != 0 {
		t.Fatalf("%s to %s", res.Status, res.Header.Get("Location"))
	}
	if d.password.Password != " y " { // exactly as sent
		t.Errorf("the password was changed")
	}
	var handles []string
	for _, h := range d.password.Handles {
		handles = append(handles, h.Reveal())
	}
	if diff := cmp.Diff([]string{"one", "two", "three", "four"}, handles); diff != "" {
		t.Error(diff)
	}
	d = &desk{next: signin.Next{Step: signin.StepSecond, Ways: []factor.Way{factor.Email, factor.SMS}}, sent: signin.Sent{Way: factor.Email}}
	res, _ = answer(door(t, d), post("/signin", "username", "x", "password", "y"))
	if diff := cmp.Diff([]factor.Way{factor.Email}, d.sends); diff != "" || res.Header.Get("Location") != flowAt {
		t.Fatalf("%s %s", diff, res.Header.Get("Location"))
	}
	if c := cookie(res, web.BrowserCookie); c.Value != secret1.Reveal() || !c.HttpOnly || !c.Secure || c.MaxAge != 0 {
		t.Errorf("browser cookie %v: a second tab would lose its flow", c)
	}
}

// Whoever plants a browser secret of their own making must not have it adopted (C-SM-08 and session fixation in general).
func TestAMalformedBrowserSecretIsReplaced(t *testing.T) {
	d := &desk{next: signin.Next{Step: signin.StepDevice}}
	r := post("/signin", "username", "x", "password", "y")
	r.Header.Set("Cookie", web.BrowserCookie+"=planted")
	res, _ := answer(door(t, d), r)
	if !secret.Of(cookie(res, web.BrowserCookie).Value).WellFormed(signin.BrowserPrefix) || !d.begin.Browser.WellFormed(signin.BrowserPrefix) {
		t.Fatal("a planted secret was adopted")
	}
}

func TestTheDevicePageCarriesWhatIsSigned(t *testing.T) {
	d := &desk{next: signin.Next{Step: signin.StepDevice, Nonce: "n0nce"}}
	_, body := answer(door(t, d), get(flowAt))
	for _, want := range []string{`data-recognise data-nonce="n0nce" data-origin="https://id.example"`, `action="` + flowAt + `/device"`, "<noscript>", "type=\"submit\""} {
		if !strings.Contains(body, want) {
			t.Errorf("lacks %s", want)
		}
	}
	d = &desk{next: signin.Next{Step: signin.StepSecond, Ways: []factor.Way{factor.SMS}}, sent: signin.Sent{Way: factor.SMS}}
	res, _ := answer(door(t, d), post(flowAt+"/device", "signature", base64.RawURLEncoding.EncodeToString([]byte("signed"))))
	if string(d.device.Signature) != "signed" || res.Header.Get("Location") != flowAt || len(d.sends) != 1 {
		t.Errorf("signature %q, to %s", d.device.Signature, res.Header.Get("Location"))
	}
	for _, none := range []string{"", "not base64!"} {
		d.device.Signature = []byte("x")
		if res, _ := answer(door(t, d), post(flowAt+"/device", "signature", none)); res.StatusCode != http.StatusSeeOther || len(d.device.Signature) != 0 {
			t.Errorf("%q: %s", none, res.Status)
		}
	}
}

// I-11, P1: the code page says by which way the code went, and nothing of where.
func TestTheCodePage(t *testing.T) {
	now := testPages(t).options.Now()
	d := &desk{next: signin.Next{Step: signin.StepSecond, Ways: []factor.Way{factor.SMS, factor.Email}, Sent: factor.SMS, ResendAt: now.Add(29500 * time.Millisecond)}}
	res, body := answer(door(t, d), get(flowAt))
	for _, want := range []string{"by text message", `data-wait="30"`, `name="way" value="sms"`, `name="way" value="email"`, "Remember this device for 30 days"} {
		if !strings.Contains(body, want) {
			t.Errorf("lacks %s", want)
		}
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s, %s", res.Status, res.Header.Get("Cache-Control"))
	}
	if _, body := answer(door(t, d), get(flowAt+"?soon")); !strings.Contains(body, "in 30 seconds") {
		t.Error("does not say how long to wait")
	}
	if _, body := answer(door(t, d), get(flowAt+"?done=%3Cb%3EYou+won")); strings.Contains(body, "You won") {
		t.Error("the query puts words into our mouth")
	}
	d.next.ResendAt = time.Time{}
	if _, body := answer(door(t, d), get(flowAt)); strings.Contains(body, `name="way"`) || !strings.Contains(body, "gets no further code") {
		t.Error("offers a code that will not be sent")
	}
}

func TestSendingAgain(t *testing.T) {
	d := &desk{sent: signin.Sent{Way: factor.SMS}}
	if res, _ := answer(door(t, d), post(flowAt+"/send", "way", "sms")); res.Header.Get("Location") != flowAt+"?done=code-sent" {
		t.Errorf("to %s", res.Header.Get("Location"))
	}
	d.sent.TooSoon = true
	if res, _ := answer(door(t, d), post(flowAt+"/send", "way", "sms")); res.Header.Get("Location") != flowAt+"?soon" {
		t.Errorf("to %s", res.Header.Get("Location"))
	}
}

func TestTheCodeIsTakenHoweverItWasPasted(t *testing.T) {
	for _, pasted := range []string{"123456", " 123 456\t", "123-456", "123\u00a0456", "123\u202f456\r\n"} {
		d := &desk{next: signin.Next{Step: signin.StepSecond, Refused: true, Ways: []factor.Way{factor.SMS}}}
		res, body := answer(door(t, d), post(flowAt+"/code", "code", pasted))
		if d.code.Code.Reveal() != "123456" || res.StatusCode != http.StatusUnprocessableEntity || strings.Contains(body, "123") {
			t.Errorf("%q was taken as %q: %s", pasted, d.code.Code.Reveal(), res.Status)
		}
	}
	d := &desk{next: signin.Next{Step: signin.StepSecond, Ways: []factor.Way{factor.SMS}}}
	if res, _ := answer(door(t, d), post(flowAt+"/code", "code", "  ")); res.StatusCode != http.StatusUnprocessableEntity || !d.code.Code.Empty() {
		t.Error("an empty code cost a try")
	}
}

func TestADeviceIsRememberedOnlyWhenAskedAndAble(t *testing.T) {
	for _, c := range []struct {
		form []string
		want *device.Enrolment
	}{
		{[]string{"remember", "on", "public_key", "a2V5", "signature", "c2ln"}, &device.Enrolment{PublicKey: []byte("key"), Signature: []byte("sig"), Browser: true}},
		{[]string{"public_key", "a2V5", "signature", "c2ln"}, nil},
		{[]string{"remember", "on"}, nil},
		{[]string{"remember", "on", "public_key", "", "signature", "c2ln"}, nil},
		{[]string{"remember", "on", "public_key", "+/+/", "signature", "c2ln"}, nil},
	} {
		d := &desk{next: signin.Next{Step: signin.StepDone}}
		answer(door(t, d), post(flowAt+"/code", append(c.form, "code", "123456")...))
		if diff := cmp.Diff(c.want, d.code.Remember, cmpopts.EquateComparable(netip.Addr{}), cmpopts.IgnoreUnexported(device.Enrolment{})); diff != "" {
			t.Errorf("%v: %s", c.form, diff)
		}
	}
}

// N-5.1-04: the session ends with the browser; only the device's handle, which opens nothing alone, stays.
func TestWhatASignInLeavesInTheBrowser(t *testing.T) {
	expires := testPages(t).options.Now().Add(30 * 24 * time.Hour)
	d := &desk{next: signin.Next{
		Step: signin.StepDone, Session: &session.Started{Token: secret.Of("css_x")},
		Device: &device.Remembered{Handle: secret.Of("new"), Replaces: secret.Of("old"), ExpiresAt: expires},
	}}
	res, _ := answer(door(t, d), with(post(flowAt+"/code", "code", "1"), web.DeviceCookie, "a.old.b.c"))
	s, kept := cookie(res, web.SessionCookie), cookie(res, web.DeviceCookie)
	if res.Header.Get("Location") != "/" || s.Value != "css_x" || s.MaxAge != 0 || !s.HttpOnly || !s.Secure || s.SameSite != http.SameSiteLaxMode {
		t.Errorf("session cookie %v", s)
	}
	if kept.Value != "new.a.b.c" || kept.MaxAge != 30*24*60*60 || !kept.HttpOnly {
		t.Errorf("device cookie %v", kept)
	}
	d.next.Device.Replaces = secret.Token{}
	res, _ = answer(door(t, d), with(post(flowAt+"/code", "code", "1"), web.DeviceCookie, "a.b.c.d"))
	if kept := cookie(res, web.DeviceCookie); kept.Value != "new.a.b.c" {
		t.Errorf("device cookie %v: want four, the oldest dropped", kept)
	}
}

// what a sign-in replaces in the browser ends; where there was nothing, nothing does.
func TestASignInEndsTheSessionItReplaces(t *testing.T) {
	d := &desk{next: signin.Next{Step: signin.StepDone, Session: &session.Started{Token: secret.Of("css_x")}}}
	for _, c := range []struct {
		gone bool
		want []string
	}{{true, nil}, {false, []string{"end mine"}}} {
		d.gone = c.gone
		answer(door(t, d), with(post(flowAt+"/code", "code", "1"), web.SessionCookie, "css_before"))
		if diff := cmp.Diff(c.want, d.done); diff != "" {
			t.Error(diff)
		}
	}
}

func TestTheBackButtonLeadsToWhereTheFlowStands(t *testing.T) {
	d := &desk{err: fault.New(fault.Conflict, "step_out_of_order", errors.New("x"))}
	for _, form := range []*http.Request{post(flowAt + "/device"), post(flowAt+"/code", "code", "1"), post(flowAt+"/send", "way", "sms")} {
		if res, _ := answer(door(t, d), form); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != flowAt {
			t.Errorf("%s: %s to %s", form.URL.Path, res.Status, res.Header.Get("Location"))
		}
	}
}

func TestTheAddressOfARefusedFormLeadsToItsFlow(t *testing.T) {
	for _, step := range []string{"/code", "/send", "/device"} {
		if res, _ := answer(door(t, &desk{}), get(flowAt+step)); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != flowAt {
			t.Errorf("%s: %s to %s", step, res.Status, res.Header.Get("Location"))
		}
	}
}

func TestFailuresHaveTheirPages(t *testing.T) {
	large := post("/signin", "username", strings.Repeat("x", 70<<10))
	chunked := post("/signin", "username", strings.Repeat("x", 70<<10))
	chunked.ContentLength = -1
	multipart := post("/signin")
	multipart.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	foreign := post("/signin", "username", "x", "password", "y")
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	gone := fault.New(fault.Gone, "flow_ended", errors.New("x"))
	for name, c := range map[string]struct {
		err  error
		r    *http.Request
		want int
		text string
	}{
		"flow ended":    {gone, get(flowAt), 410, "This sign‑in has ended"},
		"ended at code": {gone, post(flowAt+"/code", "code", "1"), 410, "This sign‑in has ended"},
		"too many":      {fault.Later(fault.TooMany, "too_many_attempts", time.Minute, nil), post("/signin", "username", "x", "password", "y"), 429, "Too many attempts"},
		"busy":          {fault.Later(fault.Unavailable, "busy", time.Second, nil), post("/signin", "username", "x", "password", "y"), 503, "Just a moment"},
		"broken":        {errors.New("secret detail"), get(flowAt), 500, "Request number"},
		"nowhere":       {nil, get("/nowhere"), 404, "Page not found"},
		"foreign":       {nil, foreign, 403, "Not from there"},
		"large":         {nil, large, 413, "That was too much"},
		"large chunked": {nil, chunked, 413, "That was too much"},
		"multipart":     {nil, multipart, 415, "This could not be read"},
		"twice":         {nil, post("/signin", "username", "a", "username", "b", "password", "c"), 422, "This could not be read"},
		"not UTF-8":     {nil, post("/signin", "username", "a\xff", "password", "c"), 422, "This could not be read"},
	} {
		res, body := answer(door(t, &desk{err: c.err}), c.r)
		if res.StatusCode != c.want || !strings.Contains(body, c.text) || !strings.Contains(body, "<title>Error: ") {
			t.Errorf("%s: %s, want %d and %q", name, res.Status, c.want, c.text)
		}
		if strings.Contains(body, "secret detail") || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: says too much or is no page", name)
		}
	}
}

func TestHomeIsForTheSignedIn(t *testing.T) {
	routes := []*http.Request{
		get("/"), post("/signout"), post("/devices/dev/forget"), post("/devices/dev/rename", "name", "x"), post("/devices/forget-all"),
		post("/sessions/other/end"), post("/sessions/end-others"), post("/sessions/end-all"),
	}
	for _, r := range routes {
		d := &desk{gone: true}
		if res, _ := answer(door(t, d), r); res.Header.Get("Location") != "/signin" || len(d.done) != 0 {
			t.Errorf("%s without a session: %s", r.URL.Path, res.Status)
		}
		d = &desk{gone: true}
		res, _ := answer(door(t, d), with(r, web.SessionCookie, "css_old"))
		if res.Header.Get("Location") != "/signin" || len(d.done) != 0 || cookie(res, web.SessionCookie).MaxAge >= 0 {
			t.Errorf("%s with an ended session: %s", r.URL.Path, res.Status)
		}
	}
	if res, _ := answer(door(t, &desk{}), with(get("/signin"), web.SessionCookie, "css_x")); res.Header.Get("Location") != "/" {
		t.Errorf("the signed-in are asked to sign in: %s", res.Status)
	}
	_, body := answer(door(t, &desk{}), with(get("/?done=others-ended"), web.SessionCookie, "css_x"))
	for _, want := range []string{"This browser", "This one", "Other browser", "A device", "All other sign-ins are ended.", `action="/sessions/other/end"`} {
		if !strings.Contains(body, want) {
			t.Errorf("home lacks %s", want)
		}
	}
	if strings.Contains(body, `action="/sessions/mine/end"`) {
		t.Error("this session is ended by signing out")
	}
}

// C-SM-15: what is ended, where it leads, and what leaves the browser.
func TestWhatTheOwnerEnds(t *testing.T) {
	for from, want := range map[string]struct{ done, to string }{
		"/signout":              {"end mine", "/signin?done=signed-out"},
		"/sessions/mine/end":    {"end mine", "/signin?done=signed-out"},
		"/sessions/end-all":     {"end all", "/signin?done=all-ended"},
		"/sessions/other/end":   {"end other", "/?done=session-ended"},
		"/sessions/theirs/end":  {"end theirs", "/?done=already-gone"},
		"/sessions/end-others":  {"end others", "/?done=others-ended"},
		"/devices/dev/forget":   {"forget dev", "/?done=device-forgotten"},
		"/devices/their/forget": {"forget their", "/?done=already-gone"},
		"/devices/forget-all":   {"forget all", "/?done=devices-forgotten"},
	} {
		d := &desk{}
		res, _ := answer(door(t, d), with(post(from), web.SessionCookie, "css_x"))
		if diff := cmp.Diff([]string{want.done}, d.done); diff != "" || res.Header.Get("Location") != want.to {
			t.Errorf("%s: to %s, %s", from, res.Header.Get("Location"), diff)
		}
		left := cookie(res, web.SessionCookie).MaxAge < 0 && strings.Contains(res.Header.Get("Clear-Site-Data"), `"cache"`)
		if left != strings.HasPrefix(want.to, "/signin") {
			t.Errorf("%s: cleared %v", from, left)
		}
		// Storage holds the key of the remembered device: signing out must not forget it.
		if strings.Contains(res.Header.Get("Clear-Site-Data"), "storage") || cookie(res, web.DeviceCookie).MaxAge < 0 {
			t.Errorf("%s forgets the device", from)
		}
	}
	for _, path := range []string{"/signout", "/sessions/end-all"} {
		if res, _ := answer(door(t, &desk{}), with(get(path), web.SessionCookie, "css_x")); res.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: %s", path, res.Status)
		}
	}
}

func TestTheDemoInbox(t *testing.T) {
	f := testPages(t).frame("en", "inbox_title")
	at := time.Unix(0, 0)
	v := inboxPage(f, []Message{
		{At: at, Channel: "sms", Text: "Call +49000000000000 or use 123456.\n@id.example #123456\n"},
		{At: at.Add(time.Hour), Channel: "sms", Text: "later"},
		{At: at, Channel: "email", Text: "none: 12345 or 123456789"},
	})
	if len(v.Texts) != 2 || v.Texts[0].Text != "later" || v.Texts[1].Code != "123456" || v.Letters[0].Code != "" {
		t.Errorf("%+v", v)
	}
	if v.Version == inboxPage(f, nil).Version {
		t.Error("a new message does not change the version")
	}
}

// A person's choice outweighs what the browser says, and lasts.
func TestTheChosenLanguageIsKept(t *testing.T) {
	h := door(t, &desk{})
	r := get("/signin?lang=fr")
	r.Header.Set("Accept-Language", "de")
	res, body := answer(h, r)
	c := cookie(res, web.LangCookie)
	if c.Value != "fr" || c.MaxAge < 300*24*3600 || !strings.Contains(body, `<html lang="fr"`) {
		t.Fatalf("chosen: %v, %.60s", c, body)
	}
	r = get("/signin")
	r.Header.Set("Accept-Language", "de")
	r.AddCookie(c)
	if res, body := answer(h, r); cookie(res, web.LangCookie).Name != "" || !strings.Contains(body, `<html lang="fr"`) || !strings.Contains(body, `lang="fr" hreflang="fr" translate="no" aria-current="true"`) {
		t.Errorf("on the next page: %.60s", body)
	}
	for _, odd := range []string{"tlh", "", "FR", "../../etc/passwd", "fr,de"} {
		r := get("/signin?lang=" + url.QueryEscape(odd))
		r.AddCookie(&http.Cookie{Name: web.LangCookie, Value: odd})
		if res, body := answer(h, r); cookie(res, web.LangCookie).Name != "" || !strings.Contains(body, `<html lang="en"`) {
			t.Errorf("%q was taken for a language", odd)
		}
	}
}
