package pages

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/registration"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
)

var _ registrations = (*registration.Service)(nil)

// lobby stands in for registration: it answers what the test says and notes what it was asked.
type lobby struct {
	desk

	began  registration.Begin
	about  registration.About
	code   secret.Token
	next   registration.Next
	sent   registration.Sent
	opened registration.Opened
	fails  error
}

func (l *lobby) Admits() error {
	if fault.Of(l.fails).Code == "registration_closed" {
		return l.fails
	}
	return nil
}

func (l *lobby) Begin(_ context.Context, b registration.Begin) (registration.Begun, error) {
	l.began = b
	return registration.Begun{Flow: newcomer}, l.fails
}

func (l *lobby) At(context.Context, signin.Ref) (registration.Next, error) { return l.next, l.fails }

func (l *lobby) Send(context.Context, signin.Ref, signin.Client) (registration.Sent, error) {
	return l.sent, l.fails
}

func (l *lobby) Code(_ context.Context, _ signin.Ref, _ signin.Client, code secret.Token) (registration.Next, error) {
	l.code = code
	return l.next, l.fails
}

func (l *lobby) Finish(_ context.Context, _ signin.Ref, _ signin.Client, a registration.About) (registration.Opened, error) {
	l.about = a
	return l.opened, l.fails
}

var (
	newcomer = secret.NewToken(registration.FlowPrefix)
	newAt    = "/register/" + newcomer.Reveal()
)

// front is the lobby behind the pages, behind the Front.
func front(t *testing.T, l *lobby) http.Handler {
	t.Helper()
	p, mux := testPages(t), http.NewServeMux()
	(&Register{
		SignIn:        SignIn{Pages: p, Log: quiet(), Sessions: &l.desk, Owner: &l.desk, Client: func(*http.Request) signin.Client { return signin.Client{} }},
		Registrations: l,
		Asks: Asks{
			Ways: []factor.Way{factor.SMS, factor.Email}, MinPassword: 15, TermsURL: "/terms", TermsVersion: "7",
			Claims: []registration.Claim{{Name: "name", Required: true}},
		},
	}).Mount(mux)
	public, err := url.Parse("https://id.example")
	if err != nil {
		t.Fatal(err)
	}
	return &web.Front{Log: quiet(), Mux: mux, PublicURL: public, Page: p.Failure, Now: time.Now}
}

// C-AU-13: what was typed never comes back, and every refusal of an address is a form to try again.
func TestARefusedAddressEchoesNothing(t *testing.T) {
	for code, want := range map[string]string{
		"identifier_malformed": "does not look like an address", "way_unknown": "cannot send anything to an address of this kind",
		"invitation_refused": "This invitation is not valid.",
	} {
		l := &lobby{fails: fault.New(fault.Invalid, code, nil)}
		res, body := answer(front(t, l), post("/register", "address", "somebody-typed", "invitation", " something-typed "))
		if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, want) || !strings.Contains(body, `action="/register"`) {
			t.Errorf("%s: %s", code, res.Status)
		}
		if strings.Contains(body, "-typed") || cookie(res, web.BrowserCookie).Value != "" {
			t.Errorf("%s: what was typed came back", code)
		}
		if l.began.Invitation.Reveal() != "something-typed" {
			t.Errorf("%s: the invitation was taken as %q", code, l.began.Invitation.Reveal())
		}
	}
}

// Wherever a registration does not go on, a page says why, and leads on; no other status page does.
func TestDeadEndsLeadOn(t *testing.T) {
	for code, c := range map[string]struct {
		kind   fault.Kind
		status int
		to     string
	}{
		"registration_closed": {fault.Forbidden, 403, "/signin"}, "flow_ended": {fault.Gone, 410, "/register"},
		"identifier_taken": {fault.Conflict, 409, "/signin"}, "invitation_refused": {fault.Forbidden, 403, "/register"},
	} {
		l := &lobby{fails: fault.New(c.kind, code, nil)}
		for _, r := range []*http.Request{get(newAt), post(newAt+"/code", "code", "1"), post(newAt + "/send"), post(newAt+"/finish", "password", "x")} {
			res, body := answer(front(t, l), r)
			if res.StatusCode != c.status || !strings.Contains(body, `<a class="button" href="`+c.to+`">`) {
				t.Errorf("%s at %s: %s", code, r.URL.Path, res.Status)
			}
		}
	}
	if res, _ := answer(front(t, &lobby{fails: fault.New(fault.Forbidden, "registration_closed", nil)}), get("/register")); res.StatusCode != http.StatusForbidden {
		t.Errorf("closed: %s", res.Status)
	}
	l := &lobby{fails: fault.New(fault.Conflict, "step_out_of_order", nil)}
	for _, r := range []*http.Request{post(newAt+"/code", "code", "1"), post(newAt + "/send"), post(newAt+"/finish", "password", "x")} {
		if res, _ := answer(front(t, l), r); res.Header.Get("Location") != newAt {
			t.Errorf("%s: %s to %s", r.URL.Path, res.Status, res.Header.Get("Location"))
		}
	}
	l.fails = fault.New(fault.Invalid, "device_key_malformed", nil) // the page was open for long: it is made anew, with another nonce
	if res, _ := answer(front(t, l), post(newAt+"/finish", "password", "x")); res.Header.Get("Location") != newAt {
		t.Errorf("an old nonce: %s", res.Status)
	}
}

// The form says what was asked, no more, and leaves what a sign-in leaves; the session it replaces ends.
func TestWhatTheFormOfANewAccountSends(t *testing.T) {
	expires := testPages(t).options.Now().Add(30 * 24 * time.Hour)
	l := &lobby{opened: registration.Opened{
		Session: session.Started{Token: secret.Of("css_x")}, Device: &device.Remembered{Handle: secret.Of("new"), ExpiresAt: expires},
	}}
	res, _ := answer(front(t, l), with(with(post(newAt+"/finish", "password", " p ", "claim_name", "Ada", "claim_admin", "yes", "terms", "7",
		"language", "ar", "remember", "on", "public_key", "a2V5", "signature", "c2ln"), web.DeviceCookie, "a.b"), web.SessionCookie, "css_before"))
	want := registration.About{
		Password: " p ", Claims: map[string]string{"name": "Ada"}, Terms: "7", Language: "ar",
		Remember: &device.Enrolment{PublicKey: []byte("key"), Signature: []byte("sig"), Browser: true},
	}
	if diff := cmp.Diff(want, l.about, cmpopts.EquateComparable(netip.Addr{}), cmpopts.IgnoreUnexported(device.Enrolment{})); diff != "" {
		t.Error(diff)
	}
	if res.Header.Get("Location") != "/welcome" || cookie(res, web.SessionCookie).Value != "css_x" || cookie(res, web.DeviceCookie).Value != "new.a.b" {
		t.Errorf("%s to %s, %v", res.Status, res.Header.Get("Location"), res.Cookies())
	}
	if diff := cmp.Diff([]string{"end mine"}, l.done); diff != "" {
		t.Error(diff)
	}
	for _, odd := range []string{"tlh", "", "EN"} {
		answer(front(t, l), post(newAt+"/finish", "password", "p", "language", odd))
		if l.about.Language != "" {
			t.Errorf("%q was taken for a language", odd)
		}
	}
}

func TestTheAboutPageCarriesWhatIsSigned(t *testing.T) {
	l := &lobby{next: registration.Next{Step: registration.StepAbout, Nonce: "n0nce"}}
	res, body := answer(front(t, l), get(newAt))
	for _, want := range []string{
		`action="` + newAt + `/finish" data-keep data-nonce="n0nce" data-origin="https://id.example"`, `href="/terms" target="_blank" rel="noopener"`, `value="7" required`,
		`name="claim_name"`, "At least 15 characters", `<option value="en" lang="en" selected>English</option>`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("lacks %s", want)
		}
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s, %s", res.Status, res.Header.Get("Cache-Control"))
	}
}

// WCAG 3.3.1, 3.3.3: what is wrong with a field of the long form stands beside it, and the field points there.
func TestEveryProblemStandsBesideItsField(t *testing.T) {
	page := shots(t, testPages(t))["about-problems/en"]
	for _, want := range []string{
		"<title>Error: ", `id="problem" role="alert"`, "Type the password once more.",
		`<p class="wrong" id="claim_name-wrong">Fill this in.</p>`, `required aria-invalid="true" aria-describedby="claim_name-wrong"`,
		`<p class="wrong" id="claim_birthdate-wrong">`, `aria-invalid="true" aria-describedby="claim_birthdate-wrong"`,
		`<p class="wrong" id="password-wrong">That is too short: it needs at least 15 characters.</p>`, `aria-describedby="password-wrong password-hint" aria-invalid="true"`,
		`<p class="wrong" id="terms-wrong">`, `required aria-invalid="true" aria-describedby="terms-wrong"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("lacks %s", want)
		}
	}
}

// What people read beside a field: the operator's words in their language, the operator's words, ours.
func TestLabelsOfClaims(t *testing.T) {
	p := testPages(t)
	asks := Asks{Claims: []registration.Claim{
		{Name: "name", Labels: map[string]string{}},
		{Name: "team", Labels: map[string]string{"": "Team", "de": "Mannschaft"}},
		{Name: "birthdate", Labels: map[string]string{"de": "Geburtstag"}},
	}}
	for lang, want := range map[string][]string{"en": {"Name", "Team", "Date of birth"}, "de": {"Name", "Mannschaft", "Geburtstag"}} {
		var got []string
		for _, f := range (aboutView{frame: p.frame(lang, "about_title"), Asks: asks}).asking(nil).Fields {
			got = append(got, f.Label)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	for _, name := range registration.StandardClaims() {
		for _, lang := range Languages() {
			if p.words[lang][claimField(name)] == "" {
				t.Errorf("%s has no words for %s", lang, name)
			}
		}
	}
}
