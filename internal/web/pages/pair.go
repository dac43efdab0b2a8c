package pages

import (
	"context"
	"net/http"

	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/session"
	"countersign/internal/web"
)

// pairing finds devices by the codes that they show (RFC 8628).
type pairing interface {
	Typed(context.Context, oidc.Asked) (oidc.Begun, error)
	ShowUserCode(typed string) string
}

// pair is where people let in a device that has no browser. Who they are, and whether they agree, is asked as for any application.
type pair struct {
	authorize

	Pairing pairing
}

// MountDevices registers the routes where people type the codes of devices; nobody else knows these paths.
func (h *SignIn) MountDevices(mux *http.ServeMux, requests provider, p pairing) {
	d := &pair{authorize{*h, requests}, p}
	mux.Handle("GET "+string(oidc.DevicePath), web.Handle(h.Log, h.Pages.keepLanguage(d.ask)))
	mux.Handle("POST "+string(oidc.DevicePath), web.Handle(h.Log, h.Pages.keepLanguage(d.typed)))
}

// ask asks for the code. One that a link brings is shown, to be compared: a link does nothing by itself, for anybody may have sent it.
func (h *pair) ask(w http.ResponseWriter, r *http.Request) error {
	f := h.Pages.frame(h.Pages.language(r), "pair_title")
	switch r.URL.Query().Get("done") {
	case "allowed":
		return h.Pages.show(w, http.StatusOK, pairDone(f, "pair_allowed"))
	case "refused":
		return h.Pages.show(w, http.StatusOK, pairDone(f, "pair_refused"))
	}
	return h.Pages.show(w, http.StatusOK, pairPage(f, h.Pairing.ShowUserCode(r.URL.Query().Get("code"))))
}

func (h *pair) typed(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	me, done, err := h.who(w, r)
	if err != nil || done {
		return err
	}
	if me.Enrol {
		me = session.Session{}
	}
	held := browser(r)
	begun, err := h.Pairing.Typed(r.Context(), oidc.Asked{Query: form, Browser: held, Session: me, Source: h.Client(r).Source})
	if fault.Of(err).Code == "device_code_unknown" {
		f := h.Pages.frame(h.Pages.language(r), "pair_title")
		return h.Pages.show(w, http.StatusUnprocessableEntity, pairPage(f.fails(f.say("pair_unknown")), ""))
	}
	if err != nil {
		return err
	}
	web.SetCookie(w, web.BrowserCookie, held, 0)
	return seeOther(w, r, requestPath(begun.Request))
}

// pairView asks for the code that a device shows.
type pairView struct {
	frame

	Path string
	Code string // that a link has brought, to be compared; empty: it is typed
}

func (pairView) template() string { return "pair" }

func pairPage(f frame, code string) pairView {
	return pairView{frame: f, Path: string(oidc.DevicePath), Code: code}
}

func pairDone(f frame, key string) noticeView {
	return noticeView{frame: f, Heading: f.say(key + "_title"), Lead: f.say(key + "_lead")}
}
