package pages

import (
	"net/http"
	"net/url"

	"countersign/internal/assurance"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
	"countersign/internal/web/forwardauth"
)

// returns are where somebody goes on who has proved once more who they are, by the name that leads
// there. No path of a request is ever one of them.
var returns = map[string]string{ //nolint:gochecknoglobals // a constant table
	"home":     "/",
	"security": securityPath,
	"address":  securityPath + "/addresses/new",
	"contact":  securityPath + "/contacts/new",
	"activity": activityPath,
	"account":  accountPath,
	"welcome":  welcomePath,
	"approve":  signin.ApprovePath,
	"access":   forwardauth.WishPath,
}

// toAgain is where whoever must prove once more who they are does so, on the way to a page of returns.
func toAgain(name string) string { return "/reauth?for=" + url.QueryEscape(name) }

// Again lets the signed-in prove once more who they are: the password here, and then the steps of any
// sign-in. All fields of SignIn are required.
type Again struct{ SignIn }

// Mount registers the routes; nobody else knows these paths.
func (h *Again) Mount(mux *http.ServeMux) {
	mux.Handle("GET /reauth", h.signedIn(h.get))
	mux.Handle("POST /reauth", h.signedIn(h.post))
	mux.Handle("POST /reauth/passkey", h.signedIn(h.postPasskey))
	mux.Handle("GET /reauth/passkey", h.signedIn(h.get)) // a refused form's address, opened again
}

func (h *Again) signedIn(handle func(http.ResponseWriter, *http.Request, session.Session) error) http.Handler {
	return web.Handle(h.Log, h.Pages.keepLanguage(h.Pages.signedIn(h.Sessions, handle)))
}

func (h *Again) get(w http.ResponseWriter, r *http.Request, me session.Session) error {
	name := returnName(r.URL.Query().Get("for"))
	f := h.Pages.frame(h.Pages.language(r), "again_title")
	return h.showAgain(w, r, me, h.againPage(r, f, name))
}

// returnName is a name of returns, or of an application's request, whatever the request at hand says.
func returnName(name string) string {
	if _, ok := returns[name]; !ok && requestName(name) == "" {
		return "home"
	}
	return name
}

// returnPath is where whoever proved who they are goes on.
func returnPath(name string) string {
	if request := requestName(name); request != "" {
		return requestPath(request)
	}
	return returns[returnName(name)]
}

// againPage is the page of a request at hand: what that wants decides what comes after the password.
func (h *SignIn) againPage(r *http.Request, f frame, name string) againView {
	v := againPage(f, name)
	v.More = h.least(r, name) > assurance.AAL1
	return v
}

func againPage(f frame, name string) againView {
	f.SignedIn = true
	v := againView{frame: f.on(name), For: name, Cancel: returns[name]}
	switch name {
	case "address", "contact": // these lead here again
		v.Cancel = securityPath
	case "access": // so does the site
		v.Cancel = "/"
	}
	if v.On != "" {
		v.Decline = requestPath(requestName(name))
	}
	return v
}

func (h *Again) post(w http.ResponseWriter, r *http.Request, me session.Session) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	back := returnName(form.Get("for"))
	if form.Get("password") == "" {
		return h.refused(w, r, me, back, "again_missing")
	}
	ref := signin.Ref{Browser: browser(r)}
	handles := deviceHandles(r)
	started, err := h.Flows.Again(r.Context(), me, signin.Begin{Browser: ref.Browser, Client: h.Client(r), Handles: handles, Back: back, Least: h.least(r, back)})
	if err != nil {
		return err
	}
	ref.Flow = started.Flow
	next, err := h.Flows.Password(r.Context(), ref, h.Client(r), signin.PasswordProof{Password: form.Get("password"), Handles: handles})
	if err != nil {
		return err
	}
	web.SetCookie(w, web.BrowserCookie, ref.Browser, 0)
	if next.Refused {
		return h.refused(w, r, me, back, "again_refused")
	}
	return h.advance(w, r, ref, next)
}

func (h *Again) refused(w http.ResponseWriter, r *http.Request, me session.Session, back, key string) error {
	f := h.Pages.frame(h.Pages.language(r), "again_title")
	return h.showAgain(w, r, me, h.againPage(r, f.fails(f.say(key)), back))
}

func (h *SignIn) refuse(w http.ResponseWriter, r *http.Request, back, key string) error {
	f := h.Pages.frame(h.Pages.language(r), "again_title")
	return h.Pages.show(w, http.StatusUnprocessableEntity, h.againPage(r, f.fails(f.say(key)), back))
}

type againView struct {
	frame

	For             string // name of where to go on
	More            bool   // a device that is remembered is asked all the same, for what is asked for takes more
	Cancel, Decline string // paths: of who goes back, and, for an application, to which a form goes that says no

	Passkey ceremony
}

func (againView) template() string { return "again" }
