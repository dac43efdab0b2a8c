package pages

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"countersign/internal/factor"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/registration"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// registrations opens accounts.
type registrations interface {
	Admits() error
	Begin(context.Context, registration.Begin) (registration.Begun, error)
	At(context.Context, signin.Ref) (registration.Next, error)
	Send(context.Context, signin.Ref, signin.Client) (registration.Sent, error)
	Code(context.Context, signin.Ref, signin.Client, secret.Token) (registration.Next, error)
	Finish(context.Context, signin.Ref, signin.Client, registration.About) (registration.Opened, error)
}

// Asks is what newcomers are asked for.
type Asks struct {
	Invitation             bool
	Ways                   []factor.Way // what addresses can be proved
	TermsURL, TermsVersion string
	Claims                 []registration.Claim
	MinPassword            int
	Always                 bool // a device that is remembered is asked for a second proof all the same
}

// Register is the way to an account: an address, its code, and then the rest. All fields are required.
//
// Until the code is right everybody sees the same: this package is not told who has an account.
type Register struct {
	SignIn

	Registrations registrations
	Asks          Asks
}

// Mount registers the routes; nobody else knows these paths.
func (h *Register) Mount(mux *http.ServeMux) {
	for pattern, handler := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /register":                h.getRegister,
		"POST /register":               h.postRegister,
		"GET /register/{flow}":         h.getFlow,
		"POST /register/{flow}/send":   h.postSend,
		"POST /register/{flow}/code":   h.postCode,
		"POST /register/{flow}/finish": h.postFinish,
		// A refused form's address, opened again from the address bar or a bookmark.
		"GET /register/{flow}/send":   toRegistration,
		"GET /register/{flow}/code":   toRegistration,
		"GET /register/{flow}/finish": toRegistration,
	} {
		mux.Handle(pattern, web.Handle(h.Log, h.Pages.keepLanguage(h.plainly(handler))))
	}
	mux.Handle("GET "+welcomePath, web.Handle(h.Log, h.Pages.keepLanguage(h.Pages.signedIn(h.Sessions, h.getWelcome))))
}

// plainly answers what every step can end in with a page that leads on.
func (h *Register) plainly(handle func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := handle(w, r)
		if err == nil {
			return nil
		}
		n, ok := dead[fault.Of(err).Code]
		if !ok {
			return err
		}
		v := h.Pages.deadEnd(h.Pages.language(r), n)
		v.Action = anew(r, v.Action)
		return h.Pages.show(w, n.status, v)
	}
}

// deadEnd is where a registration does not go on.
type deadEnd struct {
	status int
	notice
}

// dead are the dead ends by the code of their error.
//
//nolint:gochecknoglobals // a table that is only read
var dead = map[string]deadEnd{
	"registration_closed": {http.StatusForbidden, notice{words: "register_closed", action: "/signin", act: "signin_submit"}},
	"flow_ended":          {http.StatusGone, notice{words: "register_ended", action: registration.Path, act: "ended_action"}},
	"identifier_taken":    {http.StatusConflict, notice{words: "register_taken", action: "/signin", act: "signin_submit"}},
	"invitation_refused":  {http.StatusForbidden, notice{words: "register_uninvited", action: registration.Path, act: "ended_action"}},
}

func (p *Pages) deadEnd(lang string, n deadEnd) noticeView {
	f := p.frame(lang, n.words+"_title")
	return noticeView{frame: f, Heading: f.say(n.words + "_title"), Lead: f.say(n.words + "_lead"), Action: n.action, ActionLabel: f.say(n.act)}
}

func (h *Register) getRegister(w http.ResponseWriter, r *http.Request) error {
	if err := h.Registrations.Admits(); err != nil {
		return err
	}
	if in, ask := served(h.Sessions, r); ask != nil {
		return askBound(w, r, *ask)
	} else if in {
		return seeOther(w, r, afterwards(r, errand(r)))
	}
	return h.Pages.show(w, http.StatusOK, registerPage(h.Pages.frame(h.Pages.language(r), "register_title").on(errand(r)), h.Asks))
}

func (h *Register) postRegister(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	if err := h.Registrations.Admits(); err != nil {
		return err
	}
	if strings.TrimSpace(form.Get("address")) == "" {
		return h.refuseAddress(w, r, "register_missing")
	}
	ref := signin.Ref{Browser: browser(r)}
	begun, err := h.Registrations.Begin(r.Context(), registration.Begin{
		Address: form.Get("address"), Browser: ref.Browser, Client: h.Client(r), Language: h.Pages.language(r),
		Invitation: secret.Of(strings.TrimSpace(form.Get("invitation"))),
	})
	switch fault.Of(err).Code {
	case "identifier_malformed":
		return h.refuseAddress(w, r, "register_malformed")
	case "way_unknown":
		return h.refuseAddress(w, r, "register_unreachable")
	case "invitation_refused":
		return h.refuseAddress(w, r, uninvited)
	}
	if err != nil {
		return err
	}
	ref.Flow = begun.Flow
	web.SetCookie(w, web.BrowserCookie, ref.Browser, 0)
	keepErrand(w, r, errand(r))
	return seeOther(w, r, registrationPath(ref))
}

// uninvited names the words for an invitation that is not good for the address.
const uninvited = "register_uninvited_lead"

func (h *Register) refuseAddress(w http.ResponseWriter, r *http.Request, key string) error {
	f := h.Pages.frame(h.Pages.language(r), "register_title").on(errand(r))
	v := registerPage(f.fails(f.say(key)), h.Asks)
	v.Uninvited = key == uninvited
	return h.Pages.show(w, http.StatusUnprocessableEntity, v)
}

func (h *Register) getFlow(w http.ResponseWriter, r *http.Request) error {
	ref := reference(r)
	next, err := h.Registrations.At(r.Context(), ref)
	if err != nil {
		return err
	}
	lang := h.Pages.language(r)
	if next.Step == registration.StepAbout {
		return h.Pages.show(w, http.StatusOK, h.aboutPage(h.Pages.frame(lang, "about_title"), ref, next, nil))
	}
	f := h.Pages.frame(lang, "register_code_title").on(waitingErrand(r, h.Requests)).flash(r.URL.Query().Get("done"))
	v := h.codePage(f, ref, next)
	if v.WaitSeconds > 0 && r.URL.Query().Has("soon") {
		v.Flash = v.say("code_too_soon", "wait", v.span(wait(h.Pages.options.Now(), next.ResendAt)))
	}
	return h.Pages.show(w, http.StatusOK, v)
}

func (h *Register) codePage(f frame, ref signin.Ref, next registration.Next) registerCodeView {
	pause := wait(h.Pages.options.Now(), next.ResendAt)
	return registerCodePage(f, registrationPath(ref), next, int((pause.Milliseconds()+999)/1000))
}

func (h *Register) postSend(w http.ResponseWriter, r *http.Request) error {
	if _, err := web.Form(r); err != nil {
		return err
	}
	ref := reference(r)
	sent, err := h.Registrations.Send(r.Context(), ref, h.Client(r))
	if err != nil {
		return outOfRegistration(w, r, ref, err)
	}
	return seeOther(w, r, registrationPath(ref)+either(sent.TooSoon, "?soon", "?done=register-sent"))
}

func (h *Register) postCode(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	ref, typed := reference(r), digits(form.Get("code"))
	if typed == "" { // nothing was tried, so nothing is counted
		next, err := h.Registrations.At(r.Context(), ref)
		if err != nil {
			return err
		}
		return h.refuseCode(w, r, ref, next, "code_missing")
	}
	next, err := h.Registrations.Code(r.Context(), ref, h.Client(r), secret.Of(typed))
	if err != nil {
		return outOfRegistration(w, r, ref, err)
	}
	if next.Refused {
		return h.refuseCode(w, r, ref, next, "register_code_refused")
	}
	return seeOther(w, r, registrationPath(ref))
}

func (h *Register) refuseCode(w http.ResponseWriter, r *http.Request, ref signin.Ref, next registration.Next, key string) error {
	if next.Step != registration.StepCode {
		return seeOther(w, r, registrationPath(ref))
	}
	f := h.Pages.frame(h.Pages.language(r), "register_code_title").on(waitingErrand(r, h.Requests))
	return h.Pages.show(w, http.StatusUnprocessableEntity, h.codePage(f.fails(f.say(key)), ref, next))
}

func (h *Register) postFinish(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	ref := reference(r)
	opened, err := h.Registrations.Finish(r.Context(), ref, h.Client(r), h.about(form))
	if fault.Of(err).Code == "device_key_malformed" { // a page left open for long, or restored: its nonce is another's
		return seeOther(w, r, registrationPath(ref))
	}
	if err != nil {
		return outOfRegistration(w, r, ref, err)
	}
	if len(opened.Problems) > 0 {
		next, err := h.Registrations.At(r.Context(), ref)
		if err != nil {
			return err
		}
		f := h.Pages.frame(h.Pages.language(r), "about_title")
		return h.Pages.show(w, http.StatusUnprocessableEntity, h.aboutPage(f, ref, next, opened.Problems))
	}
	if opened.Device != nil {
		keepDevice(w, r, *opened.Device, h.Pages.options.Now())
	}
	return h.welcome(w, r, signin.Next{Session: &opened.Session, Offer: opened.Offer, Back: "welcome"})
}

// welcomePath is where a newcomer is asked for a second address, which can wait.
const welcomePath = "/welcome"

func (h *Register) getWelcome(w http.ResponseWriter, r *http.Request, _ session.Session) error {
	later := afterwards(r, waitingErrand(r, h.Requests))
	return h.Pages.show(w, http.StatusOK, welcomePage(h.Pages.frame(h.Pages.language(r), "welcome_title"), h.Asks.Ways, later))
}

// about reads the form. What nobody was asked for is not looked at.
func (h *Register) about(form url.Values) registration.About {
	a := registration.About{Password: form.Get("password"), Terms: form.Get("terms"), Claims: map[string]string{}, Remember: enrolment(form)}
	for _, c := range h.Asks.Claims {
		a.Claims[c.Name] = form.Get(claimField(c.Name))
	}
	if lang := form.Get("language"); slices.Contains(Languages(), lang) {
		a.Language = lang
	}
	return a
}

func (h *Register) aboutPage(f frame, ref signin.Ref, next registration.Next, problems []registration.Problem) aboutView {
	v := aboutView{
		frame: f, Submit: registrationPath(ref) + "/finish", Nonce: next.Nonce, Origin: h.Pages.options.Origin,
		RememberDays: h.Pages.rememberDays(signin.Notes{Always: h.Asks.Always}), Asks: h.Asks,
	}
	return v.asking(problems)
}

// outOfRegistration leads whoever pressed the back button, or pressed twice, to where the flow stands.
func outOfRegistration(w http.ResponseWriter, r *http.Request, ref signin.Ref, err error) error {
	if fault.Of(err).Code == "step_out_of_order" {
		return seeOther(w, r, registrationPath(ref))
	}
	return err
}

func toRegistration(w http.ResponseWriter, r *http.Request) error {
	return seeOther(w, r, registrationPath(reference(r)))
}

func registrationPath(ref signin.Ref) string {
	return registration.Path + "/" + url.PathEscape(ref.Flow.Reveal())
}
