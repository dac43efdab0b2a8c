package pages

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/factor"
	"countersign/internal/passkey"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/totp"
	"countersign/internal/web"
)

// What the server mounts fits.
var (
	_ Protection = (*profile.Service)(nil)
	_ addresses  = (*profile.Service)(nil)
	_ ownFactors = (*profile.Service)(nil)
)

// vault stands in for what protects an account: it answers what the test says and notes what it was asked.
type vault struct {
	overview profile.Overview
	password profile.PasswordChange
	contact  profile.NewContact
	uses     account.Uses
	typed    string
	code     string
	done     []string

	factors profile.Factors
	choice  factor.Choice
	app     totp.Confirmation
	refusal passkey.Refusal

	flow    profile.AddressFlow
	refused bool
	err     error
}

var adding = secret.NewToken(profile.FlowPrefix)

func (v *vault) note(what string) error { v.done = append(v.done, what); return v.err }

func (v *vault) Overview(context.Context, session.Session) (profile.Overview, error) {
	return v.overview, nil
}

func (v *vault) Review(context.Context, session.Session) error { return v.note("review") }

func (v *vault) ChangePassword(_ context.Context, _ session.Session, _ signin.Client, p profile.PasswordChange) (session.Started, bool, error) {
	v.password = p
	return session.Started{Token: secret.Of("new-token")}, !v.refused, v.err
}

func (v *vault) Factors(context.Context, session.Session) (profile.Factors, error) {
	return v.factors, nil
}

func (v *vault) BeginPasskey(context.Context, session.Session) (passkey.Begun, error) {
	return passkey.Begun{Options: json.RawMessage(`{"challenge":"AAAA"}`), State: []byte("state")}, v.err
}

func (v *vault) AddPasskey(_ context.Context, _ session.Session, _ signin.Client, n profile.NewPasskey) (passkey.Refusal, error) {
	return v.refusal, v.note("add passkey " + string(n.State) + " " + string(n.Response))
}

func (v *vault) RenamePasskey(_ context.Context, _ session.Session, _ signin.Client, id passkey.ID, name string) error {
	return v.note("rename passkey " + string(id) + " " + name)
}

func (v *vault) RemovePasskey(_ context.Context, _ session.Session, _ signin.Client, id passkey.ID) error {
	return v.note("remove passkey " + string(id))
}

func (v *vault) BeginApp(context.Context, session.Session) (totp.Enrolment, error) {
	return totp.Enrolment{ID: "new", Key: secret.Of("JBSW Y3DP"), URL: secret.Of("otpauth://totp/Example?secret=JBSWY3DP")}, v.err
}

func (v *vault) BegunApp(_ context.Context, me session.Session, id totp.ID) (totp.Enrolment, bool, error) {
	e, err := v.BeginApp(context.Background(), me)
	return e, id == e.ID, err
}

func (v *vault) ConfirmApp(_ context.Context, _ session.Session, _ signin.Client, n totp.Confirmation) (bool, error) {
	v.app = n
	return !v.refused, v.err
}

func (v *vault) RenameApp(_ context.Context, _ session.Session, _ signin.Client, id totp.ID, name string) error {
	return v.note("rename app " + string(id) + " " + name)
}

func (v *vault) RemoveApp(_ context.Context, _ session.Session, _ signin.Client, id totp.ID) error {
	return v.note("remove app " + string(id))
}

func (v *vault) Choose(_ context.Context, _ session.Session, _ signin.Client, change func(*factor.Choice)) error {
	change(&v.choice)
	return v.note("choose")
}

func (v *vault) NewBackupCodes(context.Context, session.Session, signin.Client) ([]secret.Token, error) {
	return []secret.Token{secret.Of("AAAA-BBBB"), secret.Of("CCCC-DDDD")}, v.err
}

func (v *vault) NewSavedCode(context.Context, session.Session, signin.Client) (secret.Token, error) {
	return secret.Of("0123-4567"), v.err
}

func (v *vault) DropSavedCode(context.Context, session.Session, signin.Client) error {
	return v.note("drop")
}

func (v *vault) AddContact(_ context.Context, _ session.Session, _ signin.Client, n profile.NewContact) error {
	v.contact = n
	return v.note("contact")
}

func (v *vault) RemoveContact(_ context.Context, _ session.Session, _ signin.Client, id string) error {
	return v.note("remove contact " + id)
}

func (v *vault) BeginAddress(_ context.Context, _ session.Session, _ signin.Client, typed string) (profile.AddressFlow, error) {
	v.typed = typed
	return profile.AddressFlow{Handle: adding}, v.err
}

func (v *vault) SendAddress(context.Context, session.Session, signin.Client, secret.Token) (profile.AddressFlow, error) {
	return v.flow, v.err
}

func (v *vault) AddressAt(context.Context, session.Session, secret.Token) (profile.AddressFlow, error) {
	return v.flow, v.err
}

func (v *vault) ProveAddress(_ context.Context, _ session.Session, _ signin.Client, _, code secret.Token) (profile.AddressFlow, error) {
	v.code = code.Reveal()
	return v.flow, v.err
}

func (v *vault) RemoveAddress(_ context.Context, _ session.Session, _ signin.Client, id string) error {
	return v.note("remove " + id)
}

func (v *vault) SetAddressUses(_ context.Context, _ session.Session, _ signin.Client, id string, u account.Uses) error {
	v.uses = u
	return v.note("uses " + id)
}

func with(r *http.Request, cookie, value string) *http.Request {
	r.AddCookie(&http.Cookie{Name: cookie, Value: value})
	return r
}

func guarded(p *Pages, s Sessions, v *vault) *Security {
	return &Security{
		Pages: p, Log: quiet(), Sessions: s, Protection: v, Addresses: v, Factors: v, Ways: []factor.Way{factor.Email, factor.SMS},
		Client: func(*http.Request) signin.Client { return signin.Client{} },
	}
}

// safe is the pages of security over a vault.
func safe(t *testing.T, v *vault) http.Handler {
	t.Helper()
	return safeOf(t, &desk{}, v)
}

func safeOf(t *testing.T, d *desk, v *vault) http.Handler {
	t.Helper()
	p, mux := testPages(t), http.NewServeMux()
	guarded(p, d, v).Mount(mux)
	public, err := url.Parse("https://id.example")
	if err != nil {
		t.Fatal(err)
	}
	return &web.Front{Log: quiet(), Mux: mux, PublicURL: public, Page: p.Failure, Now: time.Now}
}

func refusal(code string) error {
	kind := fault.Conflict
	switch code {
	case "reauthentication_required":
		kind = fault.Forbidden
	case "flow_ended":
		kind = fault.Gone
	case "not_found":
		kind = fault.NotFound
	case "identifier_malformed", "way_unknown", "contact_malformed", "contact_unreachable", "password_too_short", "password_unchanged":
		kind = fault.Invalid
	}
	return fault.New(kind, code, nil)
}

// leads fails unless a post leads to a path.
func leads(t *testing.T, v *vault, r *http.Request, want string) {
	t.Helper()
	if res, body := answer(safe(t, v), r); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != want {
		t.Errorf("%s: %s to %q, want %q\n%s", r.URL.Path, res.Status, res.Header.Get("Location"), want, body)
	}
}

// The overview says first what would do most, and offers no change that would be refused.
func TestTheOverviewJudges(t *testing.T) {
	mail := account.Address{ID: "1", Kind: account.Email, Normal: "ada@example.org", Verified: true, SignsIn: true, Notices: true, Recovers: true}
	poor := profile.Overview{Addresses: []account.Address{mail}, Fresh: true}
	_, body := answer(safe(t, &vault{overview: poor}), get("/security"))
	for _, want := range []string{"Could be better", "/security/addresses/new", "#saved", "ada@example.org", "/security/addresses/1/uses"} {
		if !strings.Contains(body, want) {
			t.Errorf("lacks %s", want)
		}
	}
	if strings.Contains(body, "/security/addresses/1/remove") {
		t.Error("offers to remove the only address")
	}
	phone := mail
	phone.ID, phone.Kind, phone.Normal = "2", account.Phone, "+4915112345678"
	good := profile.Overview{Addresses: []account.Address{mail, phone}, SavedCode: true, Fresh: true}
	enrolled := profile.Factors{Backup: 3, Apps: []totp.Authenticator{{ID: "9", Name: "My phone"}}}
	if _, body = answer(safe(t, &vault{overview: good}), get("/security")); !strings.Contains(body, "#passkeys") {
		t.Error("without a passkey or an app all is said to be well")
	}
	if _, body = answer(safe(t, &vault{overview: good, factors: profile.Factors{Apps: enrolled.Apps}}), get("/security")); !strings.Contains(body, "#backup") {
		t.Error("without backup codes all is said to be well")
	}
	if _, body = answer(safe(t, &vault{overview: good, factors: enrolled}), get("/security")); !strings.Contains(body, "Well protected") || !strings.Contains(body, "/security/addresses/2/remove") {
		t.Error("a good one is not said to be")
	}
	for name, o := range map[string]profile.Overview{"stale": {Addresses: good.Addresses}, "frozen": {Addresses: good.Addresses, Fresh: true, Frozen: true}} {
		_, body = answer(safe(t, &vault{overview: o, factors: enrolled}), get("/security"))
		for _, form := range []string{"/remove", "/uses", "/security/addresses/new\">Add", "action=\"/security/saved-code", "/security/contacts", "/security/apps/9/remove", "action=\"/security/apps\"", "/security/backup-codes"} {
			if strings.Contains(body, form) {
				t.Errorf("%s: offers %s", name, form)
			}
		}
	}
	if _, body = answer(safe(t, &vault{overview: good}), get("/security?problem=%3Cb%3Eowned&done=owned")); strings.Contains(body, "owned") {
		t.Error("the query puts words into our mouth")
	}
}

// The codes are shown in the answer that made them, and the key until its first code was typed, or that takes too long.
func TestAppsAndBackupCodesAreShown(t *testing.T) {
	v := &vault{}
	if res, body := answer(safe(t, v), post("/security/apps")); res.StatusCode != http.StatusOK || !strings.Contains(body, "JBSW Y3DP") || !strings.Contains(body, "<path fill=\"#000\" d=\"M") {
		t.Errorf("%s\n%s", res.Status, body)
	}
	v.refused = true
	res, body := answer(safe(t, v), post("/security/apps/confirm", "id", "new", "code", "123 456", "name", "My phone"))
	if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, "JBSW Y3DP") || !strings.Contains(body, "<path fill=\"#000\" d=\"M") || !strings.Contains(body, `value="new"`) || !strings.Contains(body, `value="My phone"`) {
		t.Errorf("%s\n%s", res.Status, body)
	}
	if v.app.Code.Reveal() != "123456" || v.app.Name != "My phone" || v.app.ID != "new" {
		t.Errorf("%+v", v.app)
	}
	leads(t, v, post("/security/apps/confirm", "id", "old", "code", "123456"), "/security?problem=app_late")
	v.refused = false
	leads(t, v, post("/security/apps/confirm", "id", "new", "code", "123456"), "/security?done=app-added")
	leads(t, v, post("/security/apps/9/rename", "name", "Work"), "/security?done=app-renamed")
	leads(t, v, post("/security/apps/9/remove"), "/security?done=app-removed")
	if got := strings.Join(v.done, ", "); got != "rename app 9 Work, remove app 9" {
		t.Error(got)
	}
	if _, body := answer(safe(t, v), post("/security/backup-codes")); !strings.Contains(body, "AAAA-BBBB") || !strings.Contains(body, "CCCC-DDDD") {
		t.Error(body)
	}
	v.err = refusal("reauthentication_required")
	leads(t, v, post("/security/apps"), "/reauth?for=security")
	leads(t, v, post("/security/backup-codes"), "/reauth?for=security")
}

// P1: what is refused is said by a word in the query or on a page without addresses.
func TestRefusedChangesLeadBack(t *testing.T) {
	at := addressPath(adding)
	for path, stale := range map[string]string{
		"/security/addresses": "address", "/security/addresses/1/remove": "security", "/security/addresses/1/uses": "security", at + "/code": "security",
		"/security/contacts": "security", "/security/contacts/1/remove": "security", "/security/saved-code": "security", "/security/saved-code/remove": "security",
	} {
		form := []string{"address", "x@example.org", "label", "x", "holder", "y", "code", "123456"}
		leads(t, &vault{err: refusal("reauthentication_required")}, post(path, form...), "/reauth?for="+stale)
		leads(t, &vault{err: refusal("account_frozen")}, post(path, form...), "/security?problem=account_frozen")
	}
	leads(t, &vault{err: refusal("last_notice_address")}, post("/security/addresses/1/remove"), "/security?problem=last_notice_address")
	leads(t, &vault{err: refusal("not_found")}, post("/security/contacts/1/remove"), "/security?problem=not_found")
	leads(t, &vault{err: refusal("flow_ended")}, post(at+"/code", "code", "123456"), "/security?problem=not_found")
	leads(t, &vault{err: refusal("flow_ended")}, get(at), "/security?problem=not_found")
	leads(t, &vault{overview: profile.Overview{}}, get("/security/addresses/new"), "/reauth?for=address")
	leads(t, &vault{overview: profile.Overview{Fresh: true, Frozen: true}}, get("/security/contacts/new"), "/security?problem=account_frozen")
}

func TestAnAddressIsAddedOnThePages(t *testing.T) {
	at := addressPath(adding)
	v := &vault{overview: profile.Overview{Fresh: true}}
	if res, body := answer(safe(t, v), get("/security/addresses/new")); res.StatusCode != http.StatusOK || !strings.Contains(body, `name="address"`) {
		t.Errorf("%s", res.Status)
	}
	leads(t, v, post("/security/addresses", "address", " x@example.org "), at)
	if v.typed != " x@example.org " {
		t.Errorf("%q", v.typed)
	}
	for code, words := range map[string]string{
		"identifier_malformed": "Check how it is written", "way_unknown": "Check how it is written", "address_known": "has this one already", "too_many_addresses": "Remove one first",
	} {
		res, body := answer(safe(t, &vault{err: refusal(code)}), post("/security/addresses", "address", "typed-here"))
		if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, words) || strings.Contains(body, "typed-here") {
			t.Errorf("%s: %s", code, res.Status)
		}
	}
	v.flow = profile.AddressFlow{Way: factor.SMS, ResendAt: testPages(t).options.Now().Add(30 * time.Second)}
	if _, body := answer(safe(t, v), get(at)); !strings.Contains(body, `data-wait="30"`) || !strings.Contains(body, "text message") {
		t.Error("the page of the code says neither the way nor the wait")
	}
	v.flow.TooSoon = true
	leads(t, v, post(at+"/send"), at+"?soon")
	v.flow.TooSoon = false
	leads(t, v, post(at+"/send"), at+"?done=code-sent")
	if res, _ := answer(safe(t, v), post(at+"/code", "code", " ")); res.StatusCode != http.StatusUnprocessableEntity || v.code != "" {
		t.Error("an empty code cost a try")
	}
	v.flow.Refused = true
	if res, body := answer(safe(t, v), post(at+"/code", "code", "12 34 56")); res.StatusCode != http.StatusUnprocessableEntity || v.code != "123456" || !strings.Contains(body, "That code is not right") {
		t.Errorf("%s, tried %q", res.Status, v.code)
	}
	v.flow = profile.AddressFlow{Done: true}
	leads(t, v, post(at+"/code", "code", "123456"), "/security?done=address-added")
	leads(t, v, post("/security/addresses/7/uses", "notices", "on"), "/security?done=address-changed")
	if want := (account.Uses{Notices: true}); v.uses != want {
		t.Errorf("%+v", v.uses)
	}
	leads(t, v, get(at+"/code"), at)
}

func TestThePasswordIsChangedOnItsPage(t *testing.T) {
	leads(t, &vault{}, get("/.well-known/change-password"), "/security/password")
	v := &vault{}
	res, _ := answer(safe(t, v), with(post("/security/password", "current", " old ", "new", " new "), web.DeviceCookie, "one.two"))
	if res.Header.Get("Location") != "/security?done=password-changed" || cookie(res, web.SessionCookie).Value != "new-token" {
		t.Errorf("to %s", res.Header.Get("Location"))
	}
	if v.password.Current != " old " || v.password.New != " new " || len(v.password.Handles) != 2 { // exactly as sent
		t.Error("the passwords were changed on the way")
	}
	for name, c := range map[string]struct {
		v     *vault
		form  []string
		words string
	}{
		"half":  {&vault{}, []string{"new", "typed-here"}, "Enter the current and the new password."},
		"wrong": {&vault{refused: true}, []string{"current", "typed-here", "new", "typed-too"}, "That is not your password."},
		"short": {&vault{err: refusal("password_too_short")}, []string{"current", "typed-here", "new", "typed-too"}, "it needs at least 15 characters"},
		"same":  {&vault{err: refusal("password_unchanged")}, []string{"current", "typed-here", "new", "typed-too"}, "That is your current password."},
	} {
		res, body := answer(safe(t, c.v), post("/security/password", c.form...))
		if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, c.words) || strings.Contains(body, "typed-") {
			t.Errorf("%s: %s", name, res.Status)
		}
	}
}

func TestAMissingPasswordIsMarkedInItsField(t *testing.T) {
	for field, form := range map[string][]string{"current": {"new", "typed-here"}, "new": {"current", "typed-here"}} {
		_, body := answer(safe(t, &vault{}), post("/security/password", form...))
		if !strings.Contains(body, `id="`+field+`-wrong">Fill this in.`) || !strings.Contains(body, `aria-describedby="`+field+`-wrong`) || strings.Count(body, `aria-invalid="true"`) != 1 {
			t.Errorf("without %s: %s", field, body)
		}
	}
}

func TestASavedCodeIsShownInItsOwnAnswer(t *testing.T) {
	res, body := answer(safe(t, &vault{}), post("/security/saved-code"))
	if res.StatusCode != http.StatusOK || res.Header.Get("Cache-Control") != "no-store" || strings.Count(body, "0123-4567") != 2 {
		t.Errorf("%s, %s", res.Status, res.Header.Get("Cache-Control"))
	}
	leads(t, &vault{}, get("/security/saved-code"), "/security")
	leads(t, &vault{}, post("/security/saved-code/remove"), "/security?done=saved-removed")
}

func TestContactsOnThePages(t *testing.T) {
	v := &vault{overview: profile.Overview{Fresh: true}}
	leads(t, v, post("/security/contacts", "label", "Sis", "holder", "Ada", "address", "x@example.org"), "/security?done=contact-added")
	if want := (profile.NewContact{Label: "Sis", Holder: "Ada", Address: "x@example.org"}); v.contact != want {
		t.Errorf("%+v", v.contact)
	}
	for code, words := range map[string]string{
		"identifier_malformed": "Check how it is written", "contact_malformed": "at most 60", "contact_is_own": "an address of your own", "too_many_contacts": "five people",
	} {
		res, body := answer(safe(t, &vault{err: refusal(code)}), post("/security/contacts", "label", "typed-here", "holder", "typed-too", "address", "x"))
		if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, words) || strings.Contains(body, "typed-") {
			t.Errorf("%s: %s", code, res.Status)
		}
	}
	v = &vault{}
	if res, _ := answer(safe(t, v), post("/security/contacts", "label", "x")); res.StatusCode != http.StatusUnprocessableEntity || len(v.done) > 0 {
		t.Errorf("half a form: %s", res.Status)
	}
	leads(t, v, post("/security/review"), "/security?done=reviewed")
}
