package pages

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"countersign/internal/assurance"
	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/registration"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
	"countersign/internal/web/bound"
	"countersign/internal/web/forwardauth"
)

// wishes says whose the requests of applications are, and what they want of a sign-in.
type wishes interface {
	Name(context.Context, oidc.Ref) (string, error)
	Least(context.Context, oidc.Ref) (assurance.Level, error)
	MayAsk(context.Context, oidc.Ref) (sealed string, err error)
}

// provider is the OpenID provider, as far as browsers come to it.
type provider interface {
	Begin(context.Context, oidc.Asked) (oidc.Begun, error)
	At(context.Context, oidc.Ref, session.Session, netip.Addr) (oidc.Next, error)
	Decide(context.Context, oidc.Ref, oidc.Decision) (oidc.Next, error)
	Vouch(context.Context, oidc.Ref, signin.Begin) (signin.Started, signin.Next, string, error)
	Seal(answer string) string
	Unseal(sealed string) (answer string, err error)
}

// authorize is where applications send people to sign in (OpenID Connect Core section 3.1.2).
//
// A request has an id, which stands in the path and says where to go on after a sign-in. It is no secret: it opens nothing without
// the secret in the browser's cookie.
type authorize struct {
	SignIn

	Provider provider
}

// MountProvider registers the routes where applications send people; nobody else knows these paths.
func (h *SignIn) MountProvider(mux *http.ServeMux, p provider) { (&authorize{*h, p}).mount(mux) }

func (h *authorize) mount(mux *http.ServeMux) {
	const path = string(oidc.AuthorizePath)
	for pattern, handler := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET " + path:                       h.begin,
		"POST " + path:                      h.post,
		"GET " + path + "/{request}":        h.get,
		"POST " + path + "/{request}":       h.decide,
		"POST " + path + "/{request}/other": h.other,
		"GET " + path + "/{request}/other":  h.get, // opened again from the address bar
		"GET " + path + "/{request}/onward": h.leave,
	} {
		mux.Handle(pattern, web.Handle(h.Log, h.Pages.keepLanguage(handler)))
	}
}

// The request that a sign-in is for stands in a "for" beside the names of returns.
const requestWord = "app/"

// requestName is the id of the request that a name is of; empty if it is of none.
func requestName(name string) string {
	id, ok := strings.CutPrefix(name, requestWord)
	if !ok || len(id) != 36 || uuid.Validate(id) != nil {
		return ""
	}
	return id
}

func requestPath(id string) string { return string(oidc.AuthorizePath) + "/" + id }

// errand is the application's request that a page was opened for, or a form sent: empty for none.
func errand(r *http.Request) string {
	name := cmp.Or(r.PostForm.Get("for"), r.URL.Query().Get("for"))
	if requestName(name) == "" {
		return ""
	}
	return name
}

// errandCookie keeps the errand of a flow, for when the flow itself is over, and of a recovery and a registration. It says nothing but the request's id.
const (
	errandCookie = "__Host-cs_errand"
	errandFor    = 30 * time.Minute // a request lasts no longer
)

// keepErrand keeps what this browser is on the way to; a name of no request is nothing to keep.
func keepErrand(w http.ResponseWriter, r *http.Request, name string) {
	kept := web.Cookie(r, errandCookie)
	switch {
	case requestName(name) != "":
		web.SetCookie(w, errandCookie, secret.Of(name), errandFor)
	case !kept.Empty():
		web.SetCookie(w, errandCookie, secret.Token{}, -1)
	}
}

// keptErrand is what this browser was on the way to last: empty for nothing.
func keptErrand(r *http.Request) string {
	name := web.Cookie(r, errandCookie).Reveal()
	if requestName(name) == "" {
		return ""
	}
	return name
}

// waitingErrand is what this browser was on the way to last, if that waits for it still.
func waitingErrand(r *http.Request, requests wishes) string {
	name := keptErrand(r)
	if name == "" || requests == nil {
		return ""
	}
	if _, err := requests.Least(r.Context(), oidc.Ref{Request: requestName(name), Browser: browser(r)}); err != nil {
		return ""
	}
	return name
}

// towards is a page of ours, on the way to a request.
func towards(page, name string) string {
	if requestName(name) == "" {
		return page
	}
	return page + "?for=" + url.QueryEscape(name)
}

// on marks a page as one on the way to a request.
func (f frame) on(name string) frame {
	if requestName(name) != "" {
		f.On = name
	}
	return f
}

// SignIn is the sign-in, on the way to where the page is.
func (f frame) SignIn() string { return towards("/signin", f.On) }

// Join is where an account is opened, on the way to where the page is.
func (f frame) Join() string { return towards(registration.Path, f.On) }

// Forgot is the way back in, on the way to where the page is.
func (f frame) Forgot() string { return towards("/recover", f.On) }

// least is what the sign-in has to prove that a page is on the way with. A request or a wish that is over wants nothing.
func (h *SignIn) least(r *http.Request, name string) assurance.Level {
	if wish := web.Cookie(r, wishCookie); h.Gate != nil && !wish.Empty() && afterwards(r, name) == forwardauth.WishPath {
		need, _ := h.Gate.Wished(wish.Reveal())
		return need.Level
	}
	id := requestName(name)
	if id == "" || h.Requests == nil {
		return ""
	}
	least, _ := h.Requests.Least(r.Context(), oidc.Ref{Request: id, Browser: browser(r)}) // whether it was enough is seen when it comes back
	return least
}

// goal is what the sign-in leads to: the application that a page is on the way to, else the site. A request that is over leads to none.
func (h *SignIn) goal(r *http.Request, f frame) string {
	id := requestName(f.On)
	if id == "" || h.Requests == nil {
		return f.Site
	}
	name, _ := h.Requests.Name(r.Context(), oidc.Ref{Request: id, Browser: browser(r)}) // that it is over is said when it comes back
	return cmp.Or(name, f.Site)
}

// who is whoever is signed in and may be served. done says that the answer was written: the browser proves its key and comes again.
func (h *authorize) who(w http.ResponseWriter, r *http.Request) (me session.Session, done bool, err error) {
	token := web.Cookie(r, web.SessionCookie)
	if token.Empty() {
		return me, false, nil
	}
	me, stands, err := h.Sessions.Stands(r.Context(), token, bound.Cookies(r))
	switch {
	case err != nil && fault.Of(err).Kind == fault.Unauthenticated:
		return session.Session{}, false, nil
	case err != nil:
		return me, false, err
	case stands.Ask != nil && r.Method == http.MethodGet:
		return me, true, askBound(w, r, *stands.Ask)
	case stands.Unproved:
		return session.Session{}, false, nil
	}
	return me, false, nil
}

// post takes a request as a form, which another site's page may send: without our cookies, so it comes again as what a link brings.
func (h *authorize) post(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	form.Del("login_hint") // which nobody looks at: no answer of ours is to have an address in it
	return seeOther(w, r, string(oidc.AuthorizePath)+"?"+form.Encode())
}

// begin takes a request. What is answered at once goes straight back: no form of ours was sent.
func (h *authorize) begin(w http.ResponseWriter, r *http.Request) error {
	me, done, err := h.who(w, r)
	if err != nil || done {
		return err
	}
	held, from := browser(r), h.Client(r).Source
	begun, err := h.Provider.Begin(r.Context(), oidc.Asked{Query: r.URL.Query(), Browser: held, Session: me, Source: from})
	if err != nil {
		return err
	}
	if begun.Answer != "" {
		return sendBack(w, begun.Answer)
	}
	web.SetCookie(w, web.BrowserCookie, held, 0)
	next, err := h.Provider.At(r.Context(), oidc.Ref{Request: begun.Request, Browser: held}, me, from)
	if err != nil {
		return err
	}
	h.Pages.speak(w, r, next.Locales)
	switch next.Step {
	case oidc.StepAnswer:
		return sendBack(w, next.Answer)
	case oidc.StepConsent:
		return seeOther(w, r, requestPath(begun.Request))
	case oidc.StepDoor:
		return h.vouch(w, r, oidc.Ref{Request: begun.Request, Browser: held})
	case oidc.StepSignIn, oidc.StepAgain:
	}
	return lead(w, r, begun.Request, next, me)
}

// sendBack leads to the redirect URI, which the provider has found in the client's list. 303, and never 307: nothing that was sent
// here is sent on (RFC 9700 section 4.12).
func sendBack(w http.ResponseWriter, to string) error {
	w.Header().Set("Location", to)
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// lead leads to what a request lacks.
func lead(w http.ResponseWriter, r *http.Request, request string, next oidc.Next, me session.Session) error {
	name := requestWord + request
	switch {
	case next.Step == oidc.StepAgain:
		return seeOther(w, r, toAgain(name))
	case me.Enrol: // signed in, and good for nothing else before
		return seeOther(w, r, towards(enrolPath, name))
	}
	return seeOther(w, r, towards("/signin", name))
}

func (h *authorize) reference(r *http.Request) oidc.Ref {
	return oidc.Ref{Request: r.PathValue("request"), Browser: browser(r)}
}

func (h *authorize) get(w http.ResponseWriter, r *http.Request) error {
	me, done, err := h.who(w, r)
	if err != nil || done {
		return err
	}
	next, err := h.Provider.At(r.Context(), h.reference(r), me, h.Client(r).Source)
	if err != nil {
		return err
	}
	return h.goOn(w, r, next, me)
}

// goOn shows what a request stands at, or leads there.
func (h *authorize) goOn(w http.ResponseWriter, r *http.Request, next oidc.Next, me session.Session) error {
	f := h.Pages.frame(h.Pages.language(r), "authorize_title")
	switch next.Step {
	case oidc.StepConsent:
		return h.Pages.show(w, http.StatusOK, authorizePage(f, r.PathValue("request"), next))
	case oidc.StepAnswer:
		if next.Code != "" {
			return sendBack(w, next.Answer) // a page of ours
		}
		return h.onward(w, r, next.Answer)
	case oidc.StepDoor:
		return h.vouch(w, r, h.reference(r))
	case oidc.StepSignIn, oidc.StepAgain:
	}
	return lead(w, r, r.PathValue("request"), next, me)
}

// vouch begins a flow at the second door, whose pages are those of a sign-in that stands there.
func (h *authorize) vouch(w http.ResponseWriter, r *http.Request, ref oidc.Ref) error {
	started, next, answer, err := h.Provider.Vouch(r.Context(), ref, signin.Begin{Client: h.Client(r), Handles: deviceHandles(r), Back: requestWord + ref.Request})
	switch {
	case err != nil:
		return err
	case answer != "":
		return sendBack(w, answer)
	}
	return h.advance(w, r, signin.Ref{Flow: started.Flow, Browser: ref.Browser}, next)
}

func (h *authorize) decide(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	me, done, err := h.who(w, r)
	if err != nil || done {
		return err
	}
	next, err := h.Provider.Decide(r.Context(), h.reference(r), oidc.Decision{Session: me, Agreed: form.Get("decision") == "allow", Source: h.Client(r).Source})
	if err != nil {
		return err
	}
	return h.goOn(w, r, next, me)
}

// other ends the session of this browser, so that somebody else can sign in for the request.
func (h *authorize) other(w http.ResponseWriter, r *http.Request) error {
	me, done, err := h.who(w, r)
	if err != nil || done {
		return err
	}
	if me.ID != "" {
		if _, err := h.Owner.EndSession(r.Context(), me, h.Client(r), me.ID); err != nil {
			return err
		}
	}
	forget(w)
	return seeOther(w, r, towards("/signin", requestWord+r.PathValue("request")))
}

// onward goes back to the application from a page of ours.
func (h *authorize) onward(w http.ResponseWriter, r *http.Request, answer string) error {
	return h.toApplication(w, r, r.PathValue("request"), h.Provider.Seal(answer))
}

func (h *SignIn) toApplication(w http.ResponseWriter, r *http.Request, request, sealed string) error {
	return h.Pages.onward(w, onwardPage(h.Pages.frame(h.Pages.language(r), "onward_title"), request, sealed))
}

// leave leads to the application. Where to is sealed: it leads nowhere else.
func (h *authorize) leave(w http.ResponseWriter, r *http.Request) error {
	to, err := h.Provider.Unseal(r.URL.Query().Get("to"))
	if err != nil {
		return err
	}
	h.Pages.speak(w, r, "")
	return sendBack(w, to)
}

// authorizeView asks whether an application may know who somebody is.
type authorizeView struct {
	frame

	Path, Name, Host string
	Code             string   // that a device shows, where one is let in
	Asks             []string // in words
	Offline          bool
}

func (authorizeView) template() string { return "authorize" }

func authorizePage(f frame, request string, next oidc.Next) authorizeView {
	v := authorizeView{frame: f, Path: requestPath(request), Name: next.Name, Host: next.Host, Code: next.Code}
	v.Asks, v.Offline = f.scopes(next.Scopes), slices.Contains(next.Scopes, "offline_access")
	return v
}

func onwardPage(f frame, request, sealed string) noticeView {
	return noticeView{
		frame: f, Heading: f.say("onward_heading"), Lead: f.say("onward_lead"), Action: requestPath(url.PathEscape(request)) + "/onward?to=" + sealed, ActionLabel: f.say("continue"),
	}
}
