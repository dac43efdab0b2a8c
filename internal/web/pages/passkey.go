package pages

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"countersign/internal/attestation"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/passkey"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// keyFlows are those parts of the sign-in machine that a key proves something to.
type keyFlows interface {
	Device(context.Context, signin.Ref, signin.Client, device.Proof) (signin.Next, error)
	AskPasskey(context.Context, signin.Asked) (passkey.Begun, error)
	Passkey(context.Context, signin.Asked, signin.Client, signin.PasskeyProof) (signin.Next, error)
}

// ceremony is what a page needs to ask for a passkey; empty where none is asked for.
type ceremony struct {
	Options string // JSON, for the browser
	State   string // comes back with the answer
	Origin  string // what the device signs, if it is to be remembered
	Unknown string // id of the passkey just refused that is none of ours: the authenticator is told
	RPID    string
	Refused bool // one was, just now: none is asked for before the button is pressed
}

func (p *Pages) ceremony(b passkey.Begun) ceremony {
	if p.options.RPID == "" {
		return ceremony{}
	}
	return ceremony{Options: string(b.Options), State: base64.RawURLEncoding.EncodeToString(b.State), Origin: p.options.Origin}
}

// ask is a passkey asked for at the first step, where nobody has said who they are.
func (h *SignIn) ask(w http.ResponseWriter, r *http.Request) (ceremony, error) {
	held := browser(r)
	b, err := h.Flows.AskPasskey(r.Context(), signin.Asked{Browser: held})
	if err == nil {
		web.SetCookie(w, web.BrowserCookie, held, 0)
	}
	return h.Pages.ceremony(b), err
}

func (h *SignIn) postPasskey(w http.ResponseWriter, r *http.Request) error {
	if _, err := web.Form(r); err != nil {
		return err
	}
	back := errand(r)
	return h.answer(w, r, signin.Asked{Browser: browser(r), Back: back}, func(next signin.Next, c ceremony) error {
		f := h.Pages.frame(h.Pages.language(r), "signin_title")
		return h.showSignIn(w, r, f.fails(f.say(refusedPasskey(next))).on(back), c)
	})
}

// refusedPasskey is what is said of a passkey that was refused.
func refusedPasskey(next signin.Next) string {
	if next.Unknown {
		return "passkey_unknown"
	}
	return "passkey_refused"
}

// answer has a passkey's answer judged, and goes on, or shows what refused says.
func (h *SignIn) answer(w http.ResponseWriter, r *http.Request, at signin.Asked, refused func(signin.Next, ceremony) error) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	state, _ := base64.RawURLEncoding.DecodeString(form.Get("state")) // one that is not ours is refused as any other
	response := []byte(form.Get("response"))
	recognise, _ := base64.RawURLEncoding.DecodeString(form.Get("recognise")) // as a signature that does not fit
	next, err := h.Flows.Passkey(r.Context(), at, h.Client(r), signin.PasskeyProof{
		State: state, Response: response, Handles: deviceHandles(r), Signature: recognise, Remember: enrolment(form),
	})
	ref := signin.Ref{Flow: at.Flow, Browser: at.Browser}
	switch {
	case err != nil && !at.Flow.Empty():
		return outOfStep(w, r, ref, err)
	case err != nil:
		return err
	case next.Refused:
		c := ceremony{Refused: true}
		if next.Unknown {
			c.Unknown, c.RPID = credentialID(response), h.Pages.options.RPID
		}
		return refused(next, c)
	}
	return h.advance(w, r, ref, next)
}

// credentialID is the id in an answer that was parsed before.
func credentialID(response []byte) string {
	var c struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(response, &c)
	return c.ID
}

// passkeyView asks for a passkey at the second door.
type passkeyView struct {
	frame

	Submit, Flow string // paths
	Start        string // path where the flow begins anew
	Passkey      ceremony
	Hidden       bool
	RememberDays int // 0 where a device that is remembered is asked all the same
	Others       []wayView
	Resend       string
	SMSRisk      string
}

func (passkeyView) template() string { return "passkey" }

// passkeyPage asks for a passkey. Like codePage it says nothing of where anything goes.
func (p *Pages) passkeyPage(f frame, at atCode, c ceremony) passkeyView {
	code := codeView{frame: f}.ways(slices.DeleteFunc(slices.Clone(at.next.Ways), func(w factor.Way) bool { return w == factor.Passkey }), "", 0)
	path := flowPath(at.ref)
	return passkeyView{
		frame: f, Flow: path, Submit: path + "/passkey", Start: startOf(at.next), Passkey: c,
		Hidden: p.options.HidePasswordResult, RememberDays: p.rememberDays(at.next.Notes), Others: code.Others, Resend: path + "/send", SMSRisk: code.SMSRisk,
	}
}

// showPasskey asks for the passkey of a flow.
func (h *SignIn) showPasskey(w http.ResponseWriter, r *http.Request, f frame, at atCode) error {
	b, err := h.Flows.AskPasskey(r.Context(), signin.Asked{Flow: at.ref.Flow, Browser: at.ref.Browser})
	if err != nil {
		return outOfStep(w, r, at.ref, err)
	}
	return h.Pages.show(w, status(f), h.Pages.passkeyPage(f, at, h.Pages.ceremony(b)))
}

func status(f frame) int {
	if f.Problem != "" {
		return http.StatusUnprocessableEntity
	}
	return http.StatusOK
}

func (h *SignIn) postFlowPasskey(w http.ResponseWriter, r *http.Request) error {
	ref := reference(r)
	return h.answer(w, r, signin.Asked{Flow: ref.Flow, Browser: ref.Browser}, func(next signin.Next, _ ceremony) error {
		f, key := h.Pages.frame(h.Pages.language(r), "passkey_title"), refusedPasskey(next)
		if len(next.Ways) == 1 && !next.Unknown {
			key = "passkey_refused_only"
		}
		return h.showPasskey(w, r, f.fails(f.say(key)), atCode{ref: ref, next: next})
	})
}

// postPasskey proves by a passkey who is signed in.
func (h *Again) postPasskey(w http.ResponseWriter, r *http.Request, me session.Session) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	back := returnName(form.Get("for"))
	return h.answer(w, r, signin.Asked{Browser: browser(r), Session: me, Back: back}, func(next signin.Next, _ ceremony) error {
		f := h.Pages.frame(h.Pages.language(r), "again_title")
		return h.showAgain(w, r, me, h.againPage(r, f.fails(f.say(refusedPasskey(next))), back))
	})
}

// showAgain asks for the password, or for a passkey if there is one.
func (h *Again) showAgain(w http.ResponseWriter, r *http.Request, me session.Session, v againView) error {
	b, err := h.Flows.AskPasskey(r.Context(), signin.Asked{Session: me})
	if err != nil {
		return err
	}
	if b.Listed > 0 {
		v.Passkey = h.Pages.ceremony(b)
	}
	return h.Pages.show(w, status(v.frame), v)
}

// ownPasskeys are the passkeys of the signed-in.
type ownPasskeys interface {
	BeginPasskey(ctx context.Context, me session.Session) (passkey.Begun, error)
	AddPasskey(ctx context.Context, me session.Session, c signin.Client, n profile.NewPasskey) (passkey.Refusal, error)
	RenamePasskey(ctx context.Context, me session.Session, c signin.Client, id passkey.ID, name string) error
	RemovePasskey(ctx context.Context, me session.Session, c signin.Client, id passkey.ID) error
}

func (h *Security) postAddPasskey(w http.ResponseWriter, r *http.Request, me session.Session) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	state, _ := base64.RawURLEncoding.DecodeString(form.Get("state"))
	refused, err := h.Factors.AddPasskey(r.Context(), me, h.Client(r), profile.NewPasskey{State: state, Response: []byte(form.Get("response"))})
	if err == nil && refused != "" {
		problem := "passkey_refused"
		if refused == passkey.Taken {
			problem = "passkey_taken"
		}
		if refused == passkey.Untaken {
			problem = "passkey_model_refused"
		}
		return seeOther(w, r, securityPath+"?problem="+problem)
	}
	return after(w, r, "passkey-added", err)
}

func (h *Security) postRenamePasskey(w http.ResponseWriter, r *http.Request, me session.Session) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	return after(w, r, "passkey-renamed", h.Factors.RenamePasskey(r.Context(), me, h.Client(r), passkey.ID(r.PathValue("id")), form.Get("name")))
}

func (h *Security) postRemovePasskey(w http.ResponseWriter, r *http.Request, me session.Session) error {
	return after(w, r, "passkey-removed", h.Factors.RemovePasskey(r.Context(), me, h.Client(r), passkey.ID(r.PathValue("id"))))
}

// passkeysView are the passkeys on the page Security.
type passkeysView struct {
	Passkeys []passkeyRow
	Passkey  ceremony // to enrol another; empty if it cannot be now
	Signal   string   // JSON for authenticators: which passkeys are taken
}

type passkeyRow struct {
	owned

	Kind          string
	Model, Denied string // empty if it is not known, and if it is taken
	Added         instant
	Used          *instant
}

func (f frame) passkeyRows(all []passkey.Passkey) (rows []passkeyRow) {
	for _, p := range all {
		kind := "passkey_synced"
		switch {
		case !p.UserVerified:
			kind = "passkey_unverified"
		case p.DeviceBound:
			kind = "passkey_bound"
		}
		row := passkeyRow{
			owned: f.owned("passkeys", string(p.ID), cmp.Or(strings.TrimSpace(p.Name), f.say("passkey_unnamed")), "passkey_remove_ask"),
			Kind:  f.say(kind), Model: p.Model, Added: f.instant(p.CreatedAt), Used: f.later(p.LastUsedAt, time.Time{}),
		}
		switch p.Denied {
		case attestation.Listed:
			row.Denied = f.say("passkey_denied_listed")
		case attestation.Reported:
			row.Denied = f.say("passkey_denied_reported")
		}
		rows = append(rows, row)
	}
	return rows
}

// MountPasskeys registers where browsers and password managers look: for the page on which passkeys are enrolled
// (A Well-Known URL for Relying Party Passkey Endpoints, W3C), and for the other sites that may ask for ours
// (WebAuthn Level 3, section 5.11).
func (p *Pages) MountPasskeys(mux *http.ServeMux, origins []string) {
	page := p.options.Origin + securityPath
	answers := map[string]any{"passkey-endpoints": map[string]string{"enroll": page, "manage": page}}
	if sites := slices.DeleteFunc(slices.Clone(origins), func(o string) bool { return !strings.HasPrefix(o, "https://") }); len(sites) > 0 {
		answers["webauthn"] = map[string][]string{"origins": sites}
	}
	for name, answer := range answers {
		body, _ := json.Marshal(answer) // strings alone
		mux.HandleFunc("GET /.well-known/"+name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "public, max-age=3600")
			_, _ = w.Write(body)
		})
	}
}

// signal is what the browser passes on, so that authenticators offer no passkey that was removed.
func signal(s passkey.Signal) string {
	text, _ := json.Marshal(s) // strings alone
	return string(text)
}
