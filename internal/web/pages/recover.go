package pages

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"countersign/internal/factor"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/recovery"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// recoveryCookie binds a recovery to the browser that began it, for as long as one may take; behind a "."
// stands the handle of the one that waits.
const recoveryCookie = "__Host-cs_recovery"

// Recover is the way back in. All fields are required but Requests.
//
// After the first form nothing here takes a name or an address, and no page says what an account has:
// the ways are the same for everybody (I-11). No GET changes anything.
type Recover struct {
	Pages  *Pages
	Log    *slog.Logger
	Flows  *recovery.Service
	Client func(*http.Request) signin.Client
	// Requests are those of applications, which whoever was on the way to one is led back to; nil where nobody comes from one.
	Requests wishes
}

// Mount registers the routes; nobody else knows these paths.
func (h *Recover) Mount(mux *http.ServeMux) {
	for pattern, handler := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /recover":                  h.getRecover,
		"POST /recover":                 h.postRecover,
		"GET /recover/{flow}":           h.getFlow,
		"GET /recover/{flow}/more":      h.getMore,
		"GET /recover/{flow}/saved":     h.getProof(savedProof),
		"GET /recover/{flow}/contacts":  h.getProof(contactProof),
		"GET /recover/{flow}/old":       h.getProof(oldProof),
		"GET /recover/{flow}/otp":       h.getProof(otpProof),
		"GET /recover/{flow}/backup":    h.getProof(backupProof),
		"POST /recover/{flow}/send":     h.postSend,
		"POST /recover/{flow}/code":     h.postCode,
		"POST /recover/{flow}/saved":    h.postProof(savedProof),
		"POST /recover/{flow}/contacts": h.postProof(contactProof),
		"POST /recover/{flow}/old":      h.postProof(oldProof),
		"POST /recover/{flow}/otp":      h.postProof(otpProof),
		"POST /recover/{flow}/backup":   h.postProof(backupProof),
		"POST /recover/{flow}/ask":      h.postAsk,
		"POST /recover/{flow}/wait":     h.postWait,
		"POST /recover/{flow}/password": h.postPassword,
		// A refused form's address, opened again from the address bar or a bookmark.
		"GET /recover/{flow}/send":     toRecovery,
		"GET /recover/{flow}/code":     toRecovery,
		"GET /recover/{flow}/ask":      toRecovery,
		"GET /recover/{flow}/wait":     toRecovery,
		"GET /recover/{flow}/password": toRecovery,
	} {
		mux.Handle(pattern, web.Handle(h.Log, h.Pages.keepLanguage(handler)))
	}
}

func (h *Recover) getRecover(w http.ResponseWriter, r *http.Request) error {
	v := recoverView{frame: h.Pages.frame(h.Pages.language(r), "recover_title").on(errand(r)), Ways: h.Pages.ways()}
	if browser, waiting := recoverBrowser(r); !waiting.Empty() {
		ref := signin.Ref{Flow: waiting, Browser: browser}
		if _, err := h.Flows.At(r.Context(), ref); err == nil {
			v.Open = recoveryPath(ref)
		}
	}
	return h.Pages.show(w, http.StatusOK, v)
}

func (h *Recover) postRecover(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	if strings.TrimSpace(form.Get("username")) == "" {
		return h.refuseRecover(w, r, "recover_missing")
	}
	browser, waiting := recoverBrowser(r)
	st, err := h.Flows.Begin(r.Context(), recovery.Begin{
		Identifier: form.Get("username"), To: form.Get("to"), Browser: browser, Client: h.Client(r), Handles: deviceHandles(r),
	})
	if f := fault.Of(err); err != nil && f.Kind == fault.Invalid {
		return h.refuseRecover(w, r, "recover_where_"+h.Pages.ways())
	}
	if err != nil {
		return err
	}
	h.keep(w, browser, waiting)
	keepErrand(w, r, errand(r))
	return seeOther(w, r, recoveryPath(signin.Ref{Flow: st.Flow}))
}

// keep keeps the browser's secret for longer than any recovery takes, and the handle of the one that waits:
// its page may be closed for days.
func (h *Recover) keep(w http.ResponseWriter, browser, waiting secret.Token) {
	value := browser.Reveal()
	if !waiting.Empty() {
		value += handlesJoin + waiting.Reveal()
	}
	web.SetCookie(w, recoveryCookie, secret.Of(value), h.Flows.KeepBrowser())
}

func (h *Recover) refuseRecover(w http.ResponseWriter, r *http.Request, key string) error {
	f := h.Pages.frame(h.Pages.language(r), "recover_title").on(errand(r))
	return h.Pages.show(w, http.StatusUnprocessableEntity, recoverView{frame: f.fails(f.say(key)), Ways: h.Pages.ways(), Where: key != "recover_missing"})
}

// getFlow shows what a recovery wants next.
func (h *Recover) getFlow(w http.ResponseWriter, r *http.Request) error {
	ref := recoverRef(r)
	next, err := h.Flows.At(r.Context(), ref)
	if err != nil {
		return err
	}
	return h.Pages.show(w, http.StatusOK, h.page(r, ref, next, ""))
}

// page is the page of a step, with a problem if there is one.
func (h *Recover) page(r *http.Request, ref signin.Ref, next recovery.Next, problem string) view {
	f := h.Pages.frame(h.Pages.language(r), "recover_"+string(next.Step)+"_title").on(waitingErrand(r, h.Requests))
	if problem != "" {
		f = f.fails(f.say(problem, "min", h.Pages.options.MinPassword))
	}
	switch {
	case next.Step == recovery.StepPassword:
		return setView{frame: f, Path: recoveryPath(ref), Min: h.Pages.options.MinPassword}
	case next.Step == recovery.StepCode, next.Sent != "":
		f = f.flash(r.URL.Query().Get("done"))
		pause := wait(h.Pages.options.Now(), next.ResendAt)
		if f.Problem == "" && pause > 0 && r.URL.Query().Has("soon") {
			f.Flash = f.say("code_too_soon", "wait", f.span(pause))
		}
		return recoverCodePage(f, recoveryPath(ref), next, pause)
	case next.Step == recovery.StepWaiting:
		return waitingView{frame: f, Path: recoveryPath(ref), Ready: f.instant(next.ReadyAt)}
	}
	return morePage(f, recoveryPath(ref), next)
}

// getMore shows the ways on, whatever was sent last. They are the same for everybody.
func (h *Recover) getMore(w http.ResponseWriter, r *http.Request) error {
	ref := recoverRef(r)
	next, err := h.Flows.At(r.Context(), ref)
	if err != nil {
		return err
	}
	if next.Step != recovery.StepMore && next.Step != recovery.StepWaiting {
		return toRecovery(w, r)
	}
	f := h.Pages.frame(h.Pages.language(r), "recover_more_title")
	return h.Pages.show(w, http.StatusOK, morePage(f, recoveryPath(ref), next))
}

func (h *Recover) postSend(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	next, err := h.Flows.Send(r.Context(), recoverRef(r), h.Client(r), factor.Way(form.Get("way")))
	to := recoveryPath(recoverRef(r))
	switch {
	case err != nil:
		return outOfRecovery(w, r, err)
	case next.TooSoon:
		to += "?soon"
	default:
		to += "?done=code-sent"
	}
	return seeOther(w, r, to)
}

func (h *Recover) postCode(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	ref, code := recoverRef(r), digits(form.Get("code"))
	if code == "" { // nothing was tried, so nothing is counted
		next, err := h.Flows.At(r.Context(), ref)
		if err != nil {
			return err
		}
		return h.Pages.show(w, http.StatusUnprocessableEntity, h.page(r, ref, next, "code_missing"))
	}
	next, err := h.Flows.Code(r.Context(), ref, h.Client(r), factor.Way(form.Get("way")), secret.Of(code))
	if err != nil {
		return outOfRecovery(w, r, err)
	}
	if next.Refused {
		return h.Pages.show(w, http.StatusUnprocessableEntity, h.page(r, ref, next, "code_refused"))
	}
	return toRecovery(w, r)
}

func (h *Recover) postAsk(w http.ResponseWriter, r *http.Request) error {
	if _, err := h.Flows.AskContacts(r.Context(), recoverRef(r), h.Client(r)); err != nil {
		return outOfRecovery(w, r, err)
	}
	return seeOther(w, r, recoveryPath(recoverRef(r))+"/contacts")
}

func (h *Recover) postWait(w http.ResponseWriter, r *http.Request) error {
	ref := recoverRef(r)
	if _, err := h.Flows.StartWait(r.Context(), ref, h.Client(r)); err != nil {
		return outOfRecovery(w, r, err)
	}
	h.keep(w, ref.Browser, ref.Flow)
	return toRecovery(w, r)
}

// postPassword sets the new password. The page that says so is the answer itself: a new saved code is
// shown this once.
func (h *Recover) postPassword(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	ref, problem := recoverRef(r), ""
	switch {
	case form.Get("password") == "":
		problem = "recover_password_missing"
	case form.Get("password") != form.Get("again"):
		problem = "recover_password_differ"
	}
	var saved secret.Token
	if problem == "" {
		saved, err = h.Flows.Finish(r.Context(), ref, h.Client(r), form.Get("password"))
		if f := fault.Of(err); err != nil && f.Kind == fault.Invalid {
			problem, err = "recover_"+f.Code, nil
		}
	}
	if err != nil {
		return outOfRecovery(w, r, err)
	}
	if problem != "" {
		next, err := h.Flows.At(r.Context(), ref)
		if err != nil {
			return err
		}
		if next.Step != recovery.StepPassword {
			return toRecovery(w, r)
		}
		return h.Pages.show(w, http.StatusUnprocessableEntity, h.page(r, ref, next, problem))
	}
	web.SetCookie(w, recoveryCookie, secret.Token{}, -1)
	return h.Pages.show(w, http.StatusOK, recoveredView{frame: h.Pages.frame(h.Pages.language(r), "recovered_title").on(waitingErrand(r, h.Requests)), Saved: saved.Reveal()})
}

// outOfRecovery leads whoever pressed the back button, or pressed twice, to where the recovery stands.
func outOfRecovery(w http.ResponseWriter, r *http.Request, err error) error {
	if fault.Of(err).Kind == fault.Conflict {
		return toRecovery(w, r)
	}
	return err
}

func toRecovery(w http.ResponseWriter, r *http.Request) error {
	return seeOther(w, r, recoveryPath(recoverRef(r)))
}

func recoveryPath(ref signin.Ref) string { return "/recover/" + url.PathEscape(ref.Flow.Reveal()) }

// recoverRef is the recovery in the path together with the browser's own secret.
func recoverRef(r *http.Request) signin.Ref {
	browser, _ := recoverBrowser(r)
	return signin.Ref{Flow: secret.Of(r.PathValue("flow")), Browser: browser}
}

// recoverBrowser returns this browser's secret, a new one if it has none, and the recovery that waits.
func recoverBrowser(r *http.Request) (browser, waiting secret.Token) {
	value, flow, _ := strings.Cut(web.Cookie(r, recoveryCookie).Reveal(), handlesJoin)
	if b := secret.Of(value); b.WellFormed(recovery.BrowserPrefix) {
		return b, secret.Of(flow)
	}
	return secret.NewToken(recovery.BrowserPrefix), secret.Token{}
}
