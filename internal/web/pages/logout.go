package pages

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"

	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/session"
	"countersign/internal/web"
	"countersign/internal/web/bound"
)

// logouts judges the logouts that applications ask for.
type logouts interface {
	Leave(context.Context, url.Values, session.Session) (oidc.Leaving, error)
	Seal(answer string) string
	Unseal(sealed string) (answer string, err error)
}

// logout is where applications send people to be signed out (OpenID Connect RP-Initiated Logout 1.0).
type logout struct {
	SignIn

	Logouts logouts
}

// logoutPath is outside of what other sites' pages may post to: the answer to our own question goes there.
const logoutPath = "/signout/asked"

// MountLogout registers the routes where applications send people to be signed out; nobody else knows these paths.
func (h *SignIn) MountLogout(mux *http.ServeMux, judge logouts) {
	l := &logout{*h, judge}
	for pattern, handler := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET " + string(oidc.LogoutPath):  l.get,
		"POST " + string(oidc.LogoutPath): l.post,
		"POST " + logoutPath:              l.agreed,
		"GET " + logoutPath: func(w http.ResponseWriter, r *http.Request) error { // a form's address, opened again
			return seeOther(w, r, "/")
		},
	} {
		mux.Handle(pattern, web.Handle(h.Log, h.Pages.keepLanguage(handler)))
	}
}

// post takes a logout as a form, which another site's page sends: without our cookies, so it comes again as what a link brings.
func (h *logout) post(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	form.Del("logout_hint") // which nobody looks at: no answer of ours is to have an address in it
	return seeOther(w, r, string(oidc.LogoutPath)+"?"+form.Encode())
}

// get signs out at once where a hint shows that the application speaks for whoever sits there, and asks them otherwise. The question is the
// same whether or not anybody is signed in.
func (h *logout) get(w http.ResponseWriter, r *http.Request) error {
	me, err := h.me(r)
	if err != nil {
		return err
	}
	l, err := h.Logouts.Leave(r.Context(), r.URL.Query(), me)
	if err != nil {
		return err
	}
	if l.Why != "" {
		h.Log.LogAttrs(r.Context(), slog.LevelInfo, "logout of an application", slog.String("why", l.Why))
	}
	if l.Ask {
		sealed := ""
		if l.Back != "" {
			sealed = h.Logouts.Seal(l.Back)
		}
		return h.Pages.show(w, http.StatusOK, logoutPage(h.Pages.frame(h.Pages.language(r), "logout_title"), sealed))
	}
	if err := h.end(w, r, me); err != nil {
		return err
	}
	if l.Back == "" {
		return leave(w, r, "signed-out")
	}
	return sendBack(w, l.Back)
}

// agreed is sent by our own page alone: Front refuses those of other sites.
func (h *logout) agreed(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	me, err := h.me(r)
	if err != nil {
		return err
	}
	if err := h.end(w, r, me); err != nil {
		return err
	}
	back, err := h.Logouts.Unseal(form.Get("to"))
	if err != nil { // nobody sealed it, or somebody has thought about it for long
		return leave(w, r, "signed-out")
	}
	v := onwardPage(h.Pages.frame(h.Pages.language(r), "onward_title"), "", "")
	v.Action = back
	return h.Pages.onward(w, v)
}

// me is whoever is signed in. Out goes also a browser that cannot prove its key.
func (h *logout) me(r *http.Request) (session.Session, error) {
	token := web.Cookie(r, web.SessionCookie)
	if token.Empty() {
		return session.Session{}, nil
	}
	me, _, err := h.Sessions.Stands(r.Context(), token, bound.Cookies(r))
	if err != nil && fault.Of(err).Kind == fault.Unauthenticated {
		return session.Session{}, nil
	}
	return me, err
}

func (h *logout) end(w http.ResponseWriter, r *http.Request, me session.Session) error {
	forget(w) // with or without a session, so that the answer does not say which
	if me.ID == "" {
		return nil
	}
	_, err := h.Owner.EndSession(r.Context(), me, h.Client(r), me.ID)
	return err
}

// logoutView asks whether somebody wants to be signed out.
type logoutView struct {
	frame

	Ask    string // path that the form goes to
	Sealed string // where the browser goes then; empty: it stays here
}

func (logoutView) template() string { return "logout" }

func logoutPage(f frame, sealed string) logoutView {
	return logoutView{frame: f, Ask: logoutPath, Sealed: sealed}
}
