package pages

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"countersign/internal/device"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
	"countersign/internal/web/bound"
)

// bindings are what browsers do with keys that they have bound to the machine (DBSC). No page and no script of ours is
// part of it: the browser comes by itself, when an answer of ours asks it to.
//
// A browser drops its key for good at any 4xx but 403. So whatever passes is answered with a 5xx here, and only a
// device that is over has its key dropped.
type bindings interface {
	Bind(context.Context, session.Session, signin.Client, string) (device.Minted, bool, error)
	Refresh(context.Context, session.Session, signin.Client, signin.Signed) (device.Minted, error)
}

const (
	registerPath = "/dbsc/register"
	refreshPath  = bound.RefreshPath
)

// offerBinding tells a browser that it may bind a key to the device that was just remembered. Most browsers do not know the header.
func offerBinding(w http.ResponseWriter, offer string) {
	if offer != "" {
		w.Header().Set("Secure-Session-Registration", `(ES256 RS256);path="`+registerPath+`";challenge="`+offer+`"`)
	}
}

// askBound sends the browser to prove its key before it sends the form again: it lacks the cookie then, and has a challenge.
func askBound(w http.ResponseWriter, r *http.Request, a device.Ask) error {
	web.SetCookie(w, cookieOf(a.Device), secret.Token{}, -1)
	challenge(w, a.Device, a.Challenge)
	http.Redirect(w, r, r.URL.RequestURI(), http.StatusTemporaryRedirect) // the path that we serve at this moment
	return nil
}

// unproved answers for a session that is bound to a key which its browser has not proved: a copy is used elsewhere, or the
// browser could not sign. The session stays, and so does its cookie. Whoever sent a form has it still: the answer
// stands where the form was sent to, so that loading it again sends it again.
func (p *Pages) unproved(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return seeOther(w, r, "/signin?done=unproved")
	}
	f := p.frame(p.language(r), "unproved_title")
	return p.show(w, http.StatusForbidden, noticeView{
		frame: f, Heading: f.say("unproved_title"), Lead: f.say("unproved_lead"), Action: "/signin?done=unproved", ActionLabel: f.say("signin_submit"), Apart: true,
	})
}

// served reports whether somebody is signed in and may be served. ask is set if their browser is to prove that first.
func served(sessions Sessions, r *http.Request) (ok bool, ask *device.Ask) {
	token := web.Cookie(r, web.SessionCookie)
	if token.Empty() {
		return false, nil
	}
	_, stands, err := sessions.Stands(r.Context(), token, bound.Cookies(r))
	return err == nil && !stands.Unproved, stands.Ask
}

func challenge(w http.ResponseWriter, id device.ID, text string) {
	w.Header().Set("Secure-Session-Challenge", `"`+text+`";id="`+string(id)+`"`)
}

var errBinding = errors.New("not an answer to what this session was offered")

func (h *SignIn) postRegister(w http.ResponseWriter, r *http.Request) error {
	s, _, err := h.Sessions.Stands(r.Context(), web.Cookie(r, web.SessionCookie), nil)
	if err != nil {
		return err
	}
	minted, ok, err := h.Bindings.Bind(r.Context(), s, h.Client(r), unquoted(r, "Secure-Session-Response"))
	if err == nil && !ok {
		err = fault.New(fault.Invalid, "device_key_malformed", errBinding)
	}
	if err != nil {
		return err
	}
	return h.keepBound(w, minted)
}

func (h *SignIn) postRefresh(w http.ResponseWriter, r *http.Request) error {
	id := device.ID(unquoted(r, "Sec-Secure-Session-Id"))
	me, _, err := h.Sessions.Stands(r.Context(), web.Cookie(r, web.SessionCookie), nil)
	if err != nil { // nobody is signed in, or that cannot be told now: a device's key is proved all the same
		me = session.Session{}
	}
	minted, err := h.Bindings.Refresh(r.Context(), me, h.Client(r), signin.Signed{Device: id, Proof: unquoted(r, "Secure-Session-Response")})
	switch {
	case err != nil:
		return err
	case minted.Ended:
		web.WriteJSON(w, []byte(`{"continue":false}`))
		return nil
	case minted.Cookie.Empty():
		challenge(w, id, minted.Challenge)
		w.WriteHeader(http.StatusForbidden) // which asks the browser to sign, or to sign anew
		return nil
	}
	return h.keepBound(w, minted)
}

// instructions are what a browser is told of its key.
type instructions struct {
	ID          string       `json:"session_identifier"`
	Refresh     string       `json:"refresh_url"`
	Scope       scope        `json:"scope"`
	Credentials []credential `json:"credentials"`
	// Initiators are the sites whose links to us may have the browser sign: all, for letters are read anywhere.
	Initiators []string `json:"allowed_refresh_initiators"`
}

type scope struct {
	WholeSite bool    `json:"include_site"`
	Rules     []where `json:"scope_specification"`
}

type where struct {
	Type   string `json:"type"`
	Domain string `json:"domain"`
	Path   string `json:"path"`
}

type credential struct {
	Type       string `json:"type"`
	Name       string `json:"name"`
	Attributes string `json:"attributes"`
}

// keep gives the browser the cookie. It lasts as long as the device is remembered: a browser signs little in a
// short time, and a sign-in asks for a proof of its own.
func (h *SignIn) keepBound(w http.ResponseWriter, m device.Minted) error {
	name := cookieOf(m.Device)
	text, err := json.Marshal(instructions{
		ID: string(m.Device), Refresh: refreshPath,
		Scope: scope{Rules: []where{{"exclude", "*", strings.TrimSuffix(assetRoot, "/")}}},
		// As web.SetCookie sets it.
		Credentials: []credential{{"cookie", name, "Path=/; Secure; HttpOnly; SameSite=Lax"}},
		Initiators:  []string{"*"},
	})
	if err != nil {
		return err
	}
	web.SetCookie(w, name, m.Cookie, max(m.ExpiresAt.Sub(h.Pages.options.Now()), time.Second))
	web.WriteJSON(w, text)
	return nil
}

func cookieOf(id device.ID) string { return bound.Cookie(string(id)) }

// unquoted is a header's text. The draft has it in quotes, and Chromium 156 sends it without.
func unquoted(r *http.Request, header string) string {
	return strings.Trim(r.Header.Get(header), `"`)
}
