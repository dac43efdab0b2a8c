package pages

import (
	"context"
	"encoding/base64"
	"net/http"

	"countersign/internal/approval"
	"countersign/internal/device"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/qrcode"
	"countersign/internal/platform/secret"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// approvals are the sign-in machine's, of the new device.
type approvals interface {
	Ask(context.Context, signin.Ref, signin.Client) (signin.Approval, error)
	Approval(context.Context, signin.Ref) (signin.Approval, error)
	Enter(context.Context, signin.Ref, signin.Client, signin.CodeProof) (signin.Next, error)
}

// approver is what the signed-in do about sign-ins that wait for them.
type approver interface {
	Approvals(ctx context.Context, me session.Session) ([]approval.Request, error)
	Approve(ctx context.Context, me session.Session, c signin.Client, a profile.Approval) (bool, error)
	RefuseSignIn(ctx context.Context, me session.Session, c signin.Client, id approval.ID) (bool, error)
}

// Approve is how one device lets another in: the new one's page, with the number, and the old one's, where it is
// typed. All fields are required, those of SignIn too.
//
// No page approves without the number, and none fills it in but from the QR code that was scanned: it stands behind
// the # there, which reaches no server.
type Approve struct {
	SignIn

	Asks  approvals
	Waits approver
}

// Mount registers the routes; nobody else knows these paths.
func (h *Approve) Mount(mux *http.ServeMux) {
	for pattern, handler := range map[string]func(http.ResponseWriter, *http.Request) error{
		"POST /signin/{flow}/approve":       h.postAsk,
		"GET /signin/{flow}/approve":        h.getAsked,
		"GET /signin/{flow}/approve/state":  h.getState,
		"POST /signin/{flow}/approve/enter": h.postEnter,
		"GET /signin/{flow}/approve/enter":  toFlow,
	} {
		mux.Handle(pattern, web.Handle(h.Log, h.Pages.keepLanguage(handler)))
	}
	for pattern, handler := range map[string]func(http.ResponseWriter, *http.Request, session.Session) error{
		"GET " + signin.ApprovePath:                   h.get,
		"GET " + signin.ApprovePath + "/refused":      h.getRefused,
		"POST " + signin.ApprovePath + "/{id}":        h.postApprove,
		"POST " + signin.ApprovePath + "/{id}/refuse": h.postRefuse,
	} {
		mux.Handle(pattern, web.Handle(h.Log, h.Pages.keepLanguage(h.Pages.signedIn(h.Sessions, handler))))
	}
}

// askedView shows the number on the new device.
type askedView struct {
	frame

	Flow, Enter, State string // paths
	Nonce, Origin      string
	Address            string // of the page where the number is typed
	Number             string
	QR                 qrcode.Drawing
	Until              instant
	Over               bool
	RememberDays       int // 0 where a device that is remembered is asked all the same
}

func (askedView) template() string { return "asked" }

func (h *Approve) postAsk(w http.ResponseWriter, r *http.Request) error {
	ref := reference(r)
	if _, err := h.Asks.Ask(r.Context(), ref, h.Client(r)); err != nil {
		if fault.Of(err).Code == "way_unknown" { // it was offered a moment ago
			return seeOther(w, r, flowPath(ref))
		}
		return outOfStep(w, r, ref, err)
	}
	return seeOther(w, r, flowPath(ref)+"/approve")
}

func (h *Approve) getAsked(w http.ResponseWriter, r *http.Request) error {
	return h.showAsked(w, r, "")
}

func (h *Approve) showAsked(w http.ResponseWriter, r *http.Request, problem string) error {
	ref := reference(r)
	asked, err := h.Asks.Approval(r.Context(), ref)
	if err != nil {
		return outOfStep(w, r, ref, err)
	}
	next, err := h.Flows.At(r.Context(), ref)
	if err != nil {
		return err
	}
	f, status := h.Pages.frame(h.Pages.language(r), "way_approve"), http.StatusOK
	if problem != "" && asked.State != approval.Over {
		f, status = f.fails(f.say(problem)), http.StatusUnprocessableEntity
	}
	v, err := h.Pages.askedPage(f, flowPath(ref), asked)
	v.Nonce, v.RememberDays = next.Nonce, h.Pages.rememberDays(next.Notes)
	if err != nil {
		return err
	}
	return h.Pages.show(w, status, v)
}

func (p *Pages) askedPage(f frame, path string, asked signin.Approval) (askedView, error) {
	v := askedView{
		frame: f, Flow: path, Enter: path + "/approve/enter", State: path + "/approve/state", Origin: p.options.Origin,
		Address: p.options.Origin + signin.ApprovePath, Number: asked.Number.Reveal(), Until: f.instant(asked.ExpiresAt),
		Over: asked.State == approval.Over, RememberDays: p.options.RememberDays,
	}
	var err error
	v.QR, err = qrcode.Draw(p.options.Origin + asked.Path())
	return v, err
}

// getState is what the page asks every few seconds.
func (h *Approve) getState(w http.ResponseWriter, r *http.Request) error {
	asked, err := h.Asks.Approval(r.Context(), reference(r))
	if err != nil {
		return err
	}
	web.WriteJSON(w, []byte(`{"state":"`+string(asked.State)+`"}`+"\n"))
	return nil
}

func (h *Approve) postEnter(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	ref := reference(r)
	next, err := h.Asks.Enter(r.Context(), ref, h.Client(r), signin.CodeProof{Remember: enrolment(form), Handles: deviceHandles(r)})
	if err != nil {
		return outOfStep(w, r, ref, err)
	}
	if next.Refused {
		return h.showAsked(w, r, "approve_not_yet")
	}
	return h.advance(w, r, ref, next)
}

// approveView is what waits, on the old device.
type approveView struct {
	frame

	Rows               []approvalRow
	Recognised, Recent bool // the session may approve, as far as it tells
	Origin             string
}

func (approveView) template() string { return "approve" }

type approvalRow struct {
	ID           approval.ID
	Name, Place  string
	Since, Until instant
	Wrong        bool // the number typed for it was
}

func (h *Approve) get(w http.ResponseWriter, r *http.Request, me session.Session) error {
	return h.showWaiting(w, r, me, refused{})
}

// refused is why a number was not taken.
type refused struct {
	words string
	of    approval.ID
}

func (h *Approve) showWaiting(w http.ResponseWriter, r *http.Request, me session.Session, why refused) error {
	all, err := h.Waits.Approvals(r.Context(), me)
	if err != nil {
		return err
	}
	f, status := h.Pages.frame(h.Pages.language(r), "approve_title").flash(r.URL.Query().Get("done")), http.StatusOK
	if why.words != "" {
		f, status = f.fails(f.say(why.words)), http.StatusUnprocessableEntity
	}
	v := h.Pages.approvePage(f, all, profile.MayApprove(me, h.Pages.options.Now()))
	for i := range v.Rows {
		v.Rows[i].Wrong = v.Rows[i].ID == why.of
	}
	return h.Pages.show(w, status, v)
}

func (p *Pages) approvePage(f frame, all []approval.Request, may profile.Approver) approveView {
	f.SignedIn = true
	v := approveView{frame: f, Recognised: may.Recognised, Recent: may.Recent, Origin: p.options.Origin}
	for _, r := range all {
		v.Rows = append(v.Rows, approvalRow{
			ID: r.ID, Name: f.name(r.Device), Place: f.whereabouts(r.Source), Since: f.instant(r.AskedAt), Until: f.instant(r.ExpiresAt),
		})
	}
	return v
}

func (h *Approve) postApprove(w http.ResponseWriter, r *http.Request, me session.Session) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	id, number := approval.ID(r.PathValue("id")), digits(form.Get("number"))
	if number == "" { // nothing was tried, so nothing is counted
		return h.showWaiting(w, r, me, refused{"approve_missing", id})
	}
	signature, _ := base64.RawURLEncoding.DecodeString(form.Get("signature")) // no proof is not a mistake
	right, err := h.Waits.Approve(r.Context(), me, h.Client(r), profile.Approval{
		ID: id, Number: secret.Of(number), Proof: device.Proof{Handles: deviceHandles(r), Signature: signature},
	})
	switch code := fault.Of(err).Code; {
	case err == nil && right:
		return seeOther(w, r, signin.ApprovePath+"?done=approved")
	case err == nil:
		return h.showWaiting(w, r, me, refused{"approve_wrong", id})
	case code == "not_found":
		return h.showWaiting(w, r, me, refused{words: "approve_gone"})
	case code == "device_unproved":
		return h.showWaiting(w, r, me, refused{words: "approve_unproved"})
	case code == "reauthentication_required":
		return seeOther(w, r, toAgain("approve"))
	}
	return err
}

func (h *Approve) postRefuse(w http.ResponseWriter, r *http.Request, me session.Session) error {
	ok, err := h.Waits.RefuseSignIn(r.Context(), me, h.Client(r), approval.ID(r.PathValue("id")))
	if err != nil {
		return err
	}
	if !ok {
		return h.showWaiting(w, r, me, refused{words: "approve_gone"})
	}
	return seeOther(w, r, signin.ApprovePath+"/refused")
}

// refusedView says what to do next: somebody has the password.
type refusedView struct{ frame }

func (refusedView) template() string { return "refused" }

func (h *Approve) getRefused(w http.ResponseWriter, r *http.Request, _ session.Session) error {
	return h.Pages.show(w, http.StatusOK, refusedPage(h.Pages.frame(h.Pages.language(r), "approve_refused_title")))
}

func refusedPage(f frame) refusedView {
	f.SignedIn = true
	return refusedView{f}
}
