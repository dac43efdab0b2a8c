package pages

import (
	"cmp"
	"context"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/oidc"
	"countersign/internal/outbox"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
	"countersign/internal/web/bound"
)

// Flows is the sign-in machine.
type Flows interface {
	Begin(context.Context, signin.Begin) (signin.Started, error)
	Again(context.Context, session.Session, signin.Begin) (signin.Started, error)
	Password(context.Context, signin.Ref, signin.Client, signin.PasswordProof) (signin.Next, error)
	Send(context.Context, signin.Ref, signin.Client, factor.Way) (signin.Sent, error)
	Code(context.Context, signin.Ref, signin.Client, signin.CodeProof) (signin.Next, error)
	keyFlows
	At(context.Context, signin.Ref) (signin.Next, error)
}

// SignIn is the way in: name and password, device, code. All fields are required.
//
// A form that is refused is answered with 422 and the form, never with 401: browsers and password
// managers act on 401 in ways of their own. Known and unknown names take the same path through here
// because this package is not told which is which.
type SignIn struct {
	Pages    *Pages
	Log      *slog.Logger
	Flows    Flows
	Sessions Sessions
	Owner    Owner
	Client   func(*http.Request) signin.Client
	Bindings bindings // the sign-in machine, too; Mount alone needs it
	Requests wishes   // of applications; without it nobody comes from one
	Gate     gate     // of sites behind a proxy; nil where there are none
}

// Mount registers the routes; nobody else knows these paths.
//
// The handle of a flow stands in the path, so that two tabs are two flows and the back button
// works. It opens nothing without the secret in the browser's cookie.
func (h *SignIn) Mount(mux *http.ServeMux) {
	for pattern, handler := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /signin":                 h.getSignIn,
		"POST /signin":                h.postSignIn,
		"POST /signin/passkey":        h.postPasskey,
		"GET /signin/{flow}":          h.getFlow,
		"POST /signin/{flow}/passkey": h.postFlowPasskey,
		"POST /signin/{flow}/device":  h.postDevice,
		"POST /signin/{flow}/send":    h.postSend,
		"POST /signin/{flow}/code":    h.postCode,
		"GET /signin/{flow}/sent":     h.getSent,
		// A refused form's address, opened again from the address bar or a bookmark.
		"GET /signin/passkey":        toSignIn,
		"GET /signin/{flow}/passkey": toFlow,
		"GET /signin/{flow}/device":  toFlow,
		"GET /signin/{flow}/send":    toFlow,
		"GET /signin/{flow}/code":    toFlow,
	} {
		mux.Handle(pattern, web.Handle(h.Log, h.Pages.keepLanguage(handler)))
	}
	mux.Handle("POST "+registerPath, web.Handle(h.Log, h.postRegister))
	mux.Handle("POST "+refreshPath, web.Handle(h.Log, h.postRefresh))
}

func (h *SignIn) getSignIn(w http.ResponseWriter, r *http.Request) error {
	if in, ask := served(h.Sessions, r); ask != nil {
		return askBound(w, r, *ask)
	} else if in {
		return seeOther(w, r, afterwards(r, errand(r)))
	}
	f := h.Pages.frame(h.Pages.language(r), "signin_title")
	return h.showSignIn(w, r, f.flash(r.URL.Query().Get("done")).on(errand(r)), ceremony{})
}

// showSignIn asks for a name and a password, or for a passkey.
func (h *SignIn) showSignIn(w http.ResponseWriter, r *http.Request, f frame, refused ceremony) error {
	c, err := h.ask(w, r)
	if err != nil {
		return err
	}
	c.Unknown, c.RPID, c.Refused = refused.Unknown, refused.RPID, refused.Refused
	return h.Pages.show(w, status(f), signInView{frame: f, Goal: h.goal(r, f), Register: h.Pages.options.Register, Passkey: c})
}

func (h *SignIn) postSignIn(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	back := errand(r)
	if form.Get("username") == "" || form.Get("password") == "" {
		return h.refuseSignIn(w, r, back, "signin_missing")
	}
	ref := signin.Ref{Browser: browser(r)}
	handles := deviceHandles(r)
	started, err := h.Flows.Begin(r.Context(), signin.Begin{
		Identifier: form.Get("username"), Browser: ref.Browser, Client: h.Client(r), Handles: handles, Back: back, Least: h.least(r, back),
	})
	if f := fault.Of(err); err != nil && f.Kind == fault.Invalid {
		return h.refuseSignIn(w, r, back, "signin_refused") // not a name that anyone could have: the same words as for one that nobody has
	}
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
		return h.refuseSignIn(w, r, back, "signin_refused")
	}
	return h.advance(w, r, ref, next)
}

func (h *SignIn) refuseSignIn(w http.ResponseWriter, r *http.Request, back, key string) error {
	f := h.Pages.frame(h.Pages.language(r), "signin_title")
	return h.showSignIn(w, r, f.fails(f.say(key)).on(back), ceremony{})
}

// advance leads to wherever the flow stands now.
func (h *SignIn) advance(w http.ResponseWriter, r *http.Request, ref signin.Ref, next signin.Next) error {
	if next.Device != nil { // whatever the step: a handle that is lost here comes back as an old one
		keepDevice(w, r, *next.Device, h.Pages.options.Now())
	}
	if next.Step == signin.StepDevice || next.Step == signin.StepSecond {
		keepErrand(w, r, next.Back)
	}
	switch next.Step {
	case signin.StepDone:
		return h.welcome(w, r, next)
	case signin.StepSecond:
		if next.App != "" {
			request := requestName(next.Back)
			sealed, err := h.Requests.MayAsk(r.Context(), oidc.Ref{Request: request, Browser: ref.Browser})
			switch {
			case err != nil:
				return err
			case sealed != "":
				return h.toApplication(w, r, request, sealed)
			}
		}
		if len(next.Ways) == 0 || !next.Ways[0].Sent() {
			return seeOther(w, r, flowPath(ref))
		}
		return h.send(w, r, ref, next.Ways[0], "")
	case signin.StepPassword: // a device that proved itself is told that the password was wrong
		if next.Again {
			return h.refuse(w, r, returnName(next.Back), "again_refused")
		}
		return h.refuseSignIn(w, r, next.Back, "signin_refused")
	case signin.StepDevice:
	}
	return seeOther(w, r, flowPath(ref))
}

// welcome keeps the session that was won, and ends the one that it takes the place of in the browser:
// nobody could sign out of that any more.
func (h *SignIn) welcome(w http.ResponseWriter, r *http.Request, next signin.Next) error {
	if next.Session != nil {
		token := web.Cookie(r, web.SessionCookie)
		if before, _, err := h.Sessions.Stands(r.Context(), token, nil); !token.Empty() && err == nil {
			if _, err := h.Owner.EndSession(r.Context(), before, h.Client(r), before.ID); err != nil {
				h.Log.LogAttrs(r.Context(), slog.LevelWarn, "a session replaced by a sign-in was not ended", slog.Any("error", err))
			}
		}
		web.SetCookie(w, web.SessionCookie, next.Session.Token, 0)
		offerBinding(w, next.Offer)
	}
	if returnName(next.Back) != "welcome" { // from there a newcomer goes on to it
		keepErrand(w, r, "")
	}
	if next.Nudge.Wanted {
		return seeOther(w, r, towards(enrolPath, next.Back))
	}
	return seeOther(w, r, afterwards(r, next.Back))
}

func (h *SignIn) getFlow(w http.ResponseWriter, r *http.Request) error {
	ref := reference(r)
	next, err := h.Flows.At(r.Context(), ref)
	if err != nil {
		return err
	}
	lang := h.Pages.languageOf(r, next.Language)
	switch next.Step {
	case signin.StepDevice:
		return h.Pages.show(w, http.StatusOK, deviceView{
			frame: h.Pages.frame(lang, "device_title"), appDoor: doorOf(next), Flow: flowPath(ref), Nonce: next.Nonce, Origin: h.Pages.options.Origin,
		})
	case signin.StepSecond:
		f := h.Pages.frame(lang, "code_title").flash(r.URL.Query().Get("done"))
		at := atCode{ref, next, factor.Way(r.URL.Query().Get("way"))}
		if at.shown() == factor.Passkey {
			return h.showPasskey(w, r, h.Pages.frame(lang, "passkey_title"), at)
		}
		return h.Pages.show(w, http.StatusOK, h.codePage(f, r, at))
	case signin.StepDone:
		return seeOther(w, r, "/")
	case signin.StepPassword:
		if next.Again {
			return seeOther(w, r, toAgain(returnName(next.Back)))
		}
	}
	return seeOther(w, r, towards("/signin", next.Back))
}

// atCode is a flow that wants a code, and where the person has said that theirs is from.
type atCode struct {
	ref  signin.Ref
	next signin.Next
	way  factor.Way
}

// codePage asks for the code that was sent last, or for one that the person has, if they or nothing else ask for that.
func (h *SignIn) codePage(f frame, r *http.Request, at atCode) codeView {
	ref, next := at.ref, at.next
	pause := wait(h.Pages.options.Now(), next.ResendAt)
	v := codeView{
		frame: f, appDoor: doorOf(next), Flow: flowPath(ref), Submit: flowPath(ref) + "/code",
		Nonce: next.Nonce, Origin: h.Pages.options.Origin, RememberDays: h.Pages.rememberDays(next.Notes),
		Hidden: h.Pages.options.HidePasswordResult && next.App == "", Fate: next.Fate,
		another: another{NoMore: next.Sent != "" && next.ResendAt.IsZero(), Around: h.Pages.options.Around},
	}
	if f.Problem == "" && pause > 0 && r.URL.Query().Has("soon") {
		v.Flash = f.say("code_too_soon", "wait", f.span(pause))
	}
	return v.ways(next.Ways, at.shown(), pause)
}

// doorOf is the application whose door a flow stands at, and where the flow begins anew.
func doorOf(next signin.Next) appDoor { return appDoor{next.App, startOf(next)} }

// startOf is where a flow begins anew, on the way to where it was: at the request of the application whose door it is, at the proof that
// somebody gives once more, or at the sign-in.
func startOf(next signin.Next) string {
	switch {
	case next.App != "":
		return requestPath(requestName(next.Back))
	case next.Again:
		return toAgain(returnName(next.Back))
	}
	return towards("/signin", next.Back)
}

// getSent is what the page asks a few times: what became of the message.
func (h *SignIn) getSent(w http.ResponseWriter, r *http.Request) error {
	next, err := h.Flows.At(r.Context(), reference(r))
	if err != nil {
		return err
	}
	web.WriteJSON(w, []byte(`{"state":"`+string(cmp.Or(next.Fate, outbox.Underway))+`"}`+"\n"))
	return nil
}

// rememberDays is how long a device would be remembered; 0 where one that is remembered is asked all the same.
func (p *Pages) rememberDays(n signin.Notes) int {
	if n.Always {
		return 0
	}
	return p.options.RememberDays
}

// shown is the way that is asked for: the one that the person chose, or by which a code was sent, or their best.
func (at atCode) shown() factor.Way {
	own := slices.DeleteFunc(slices.Clone(at.next.Ways), func(w factor.Way) bool { return w.Sent() || w == factor.Approve })
	switch {
	case slices.Contains(own, at.way):
		return at.way
	case at.next.Sent != "" || len(own) == 0:
		return at.next.Sent
	}
	return own[0]
}

func (h *SignIn) postDevice(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	ref := reference(r)
	signature, _ := base64.RawURLEncoding.DecodeString(form.Get("signature")) // no proof is not a mistake
	next, err := h.Flows.Device(r.Context(), ref, h.Client(r), device.Proof{
		Handles: deviceHandles(r), Signature: signature, Bound: bound.Cookies(r),
	})
	if err != nil {
		return outOfStep(w, r, ref, err)
	}
	if next.Ask != nil {
		return askBound(w, r, *next.Ask)
	}
	return h.advance(w, r, ref, next)
}

func (h *SignIn) postSend(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	return h.send(w, r, reference(r), factor.Way(form.Get("way")), "code-sent")
}

// send has a code sent and leads to the page where it is typed in, which says so or says how long to wait.
func (h *SignIn) send(w http.ResponseWriter, r *http.Request, ref signin.Ref, way factor.Way, done string) error {
	sent, err := h.Flows.Send(r.Context(), ref, h.Client(r), way)
	if err != nil {
		return outOfStep(w, r, ref, err)
	}
	to := flowPath(ref)
	switch {
	case sent.TooSoon:
		to += "?soon"
	case done != "":
		to += "?done=" + done
	}
	return seeOther(w, r, to)
}

func (h *SignIn) postCode(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	ref := reference(r)
	way, code := factor.Way(form.Get("way")), digits(form.Get("code"))
	if code == "" { // nothing was tried, so nothing is counted
		next, err := h.Flows.At(r.Context(), ref)
		if err != nil {
			return err
		}
		return h.refuseCode(w, r, atCode{ref, next, way}, "code_missing")
	}
	next, err := h.Flows.Code(r.Context(), ref, h.Client(r), signin.CodeProof{
		Way: way, Code: secret.Of(code), Remember: enrolment(form), Handles: deviceHandles(r),
	})
	if err != nil {
		return outOfStep(w, r, ref, err)
	}
	if next.Refused {
		key := "code_refused"
		if !way.Sent() && slices.Contains(next.Ways, way) {
			key = either(len(next.Ways) == 1, "code_refused_only", "code_refused_own")
		}
		return h.refuseCode(w, r, atCode{ref, next, way}, key)
	}
	return h.advance(w, r, ref, next)
}

func (h *SignIn) refuseCode(w http.ResponseWriter, r *http.Request, at atCode, key string) error {
	if at.next.Step != signin.StepSecond {
		return seeOther(w, r, flowPath(at.ref))
	}
	f := h.Pages.frame(h.Pages.languageOf(r, at.next.Language), "code_title")
	return h.Pages.show(w, http.StatusUnprocessableEntity, h.codePage(f.fails(f.say(key)), r, at))
}

// enrolment is the key that a device asks to be remembered by. The script may have failed, or be
// off: then there is none, and the person is signed in all the same.
func enrolment(form url.Values) *device.Enrolment {
	if form.Get("remember") != "on" {
		return nil
	}
	key, keyErr := base64.RawURLEncoding.DecodeString(form.Get("public_key"))
	signature, sigErr := base64.RawURLEncoding.DecodeString(form.Get("signature"))
	if keyErr != nil || sigErr != nil || len(key) == 0 || len(signature) == 0 {
		return nil
	}
	return &device.Enrolment{PublicKey: key, Signature: signature, Browser: true}
}

// outOfStep leads whoever pressed the back button, or pressed twice, to where the flow stands.
func outOfStep(w http.ResponseWriter, r *http.Request, ref signin.Ref, err error) error {
	if fault.Of(err).Kind == fault.Conflict {
		return seeOther(w, r, flowPath(ref))
	}
	return err
}

// reference is the flow in the path together with the browser's own secret. A browser without one
// gets a new one, which fits no flow: with none it would fit the flows of apps, which have none.
func reference(r *http.Request) signin.Ref {
	return signin.Ref{Flow: secret.Of(r.PathValue("flow")), Browser: browser(r)}
}

func toSignIn(w http.ResponseWriter, r *http.Request) error {
	return seeOther(w, r, towards("/signin", errand(r)))
}

func toFlow(w http.ResponseWriter, r *http.Request) error {
	return seeOther(w, r, flowPath(reference(r)))
}

func flowPath(ref signin.Ref) string { return "/signin/" + url.PathEscape(ref.Flow.Reveal()) }

// browser returns this browser's secret, a new one if it has none. Tabs share it.
func browser(r *http.Request) secret.Token {
	if t := web.Cookie(r, web.BrowserCookie); t.WellFormed(signin.BrowserPrefix) {
		return t
	}
	return secret.NewToken(signin.BrowserPrefix)
}

// digits drops the spaces and hyphens that come along when a code is pasted.
//
// Arabic and Persian keyboards write digits of their own, which are the same numbers.
func digits(code string) string {
	return strings.Map(func(c rune) rune {
		if c == '-' || c == '\u2011' || c == '\u2013' || c <= ' ' || c == '\u00a0' || c == '\u2009' || c == '\u202f' {
			return -1
		}
		for _, zero := range []rune{'\u0660', '\u06f0'} {
			if c >= zero && c <= zero+9 {
				return '0' + c - zero
			}
		}
		return c
	}, code)
}

// seeOther leads to one of our own pages after a post.
func seeOther(w http.ResponseWriter, r *http.Request, to string) error {
	http.Redirect(w, r, to, http.StatusSeeOther) // to is one of our own paths: a flow is escaped into one segment of it
	return nil
}

const (
	maxHandles  = 4 // accounts remembered in one browser
	handlesJoin = "."
)

// deviceHandles are the handles of the accounts this device is remembered for, newest first.
func deviceHandles(r *http.Request) []secret.Token {
	var handles []secret.Token
	for part := range strings.SplitSeq(web.Cookie(r, web.DeviceCookie).Reveal(), handlesJoin) {
		if part != "" && len(handles) < maxHandles {
			handles = append(handles, secret.Of(part))
		}
	}
	return handles
}

// keepDevice puts a handle first, in the place of the one it replaces.
func keepDevice(w http.ResponseWriter, r *http.Request, d device.Remembered, now time.Time) {
	kept := []string{d.Handle.Reveal()}
	for _, old := range deviceHandles(r) {
		if len(kept) < maxHandles && !old.Equal(d.Replaces) && !slices.Contains(kept, old.Reveal()) {
			kept = append(kept, old.Reveal())
		}
	}
	web.SetCookie(w, web.DeviceCookie, secret.Of(strings.Join(kept, handlesJoin)), max(d.ExpiresAt.Sub(now), time.Second))
}
