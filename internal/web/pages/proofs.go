package pages

import (
	"net/http"

	"countersign/internal/factor"
	"countersign/internal/platform/secret"
	"countersign/internal/recovery"
	"countersign/internal/web"
)

// proofPage is a page of a recovery with one field: its name in the path and in the keys of its words.
type proofPage string

const (
	savedProof   proofPage = "saved"
	contactProof proofPage = "contacts"
	oldProof     proofPage = "old"
	otpProof     proofPage = "otp"
	backupProof  proofPage = "backup"
)

// prove tries what was typed.
func (h *Recover) prove(r *http.Request, what proofPage, typed string) (recovery.Next, error) {
	ref, from := recoverRef(r), h.Client(r)
	switch what {
	case savedProof:
		return h.Flows.SavedCode(r.Context(), ref, from, secret.Of(typed))
	case contactProof:
		return h.Flows.ContactCode(r.Context(), ref, from, secret.Of(digits(typed)))
	case otpProof, backupProof:
		return h.Flows.OwnCode(r.Context(), ref, from, factor.Way(what), secret.Of(digits(typed)))
	case oldProof:
	}
	return h.Flows.OldPassword(r.Context(), ref, from, typed)
}

// stands reports whether the page can be used at a step.
func (what proofPage) stands(at recovery.Step) bool {
	return at == recovery.StepMore || at == recovery.StepWaiting || at == recovery.StepCode && what == savedProof
}

func (h *Recover) getProof(what proofPage) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		return h.showProof(w, r, what, "")
	}
}

func (h *Recover) postProof(what proofPage) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		form, err := web.Form(r)
		if err != nil {
			return err
		}
		typed := form.Get("proof")
		if typed == "" { // nothing was tried, so nothing is counted
			return h.showProof(w, r, what, "recover_"+string(what)+"_missing")
		}
		next, err := h.prove(r, what, typed)
		switch {
		case err != nil:
			return outOfRecovery(w, r, err)
		case next.Refused:
			return h.showProof(w, r, what, "recover_"+string(what)+"_refused")
		case next.OneMore:
			return seeOther(w, r, recoveryPath(recoverRef(r))+"/contacts?done=one-more")
		}
		return toRecovery(w, r)
	}
}

// showProof shows the page, with a problem if there is one.
func (h *Recover) showProof(w http.ResponseWriter, r *http.Request, what proofPage, problem string) error {
	ref := recoverRef(r)
	next, err := h.Flows.At(r.Context(), ref)
	if err != nil {
		return err
	}
	if !what.stands(next.Step) {
		return toRecovery(w, r)
	}
	f := h.Pages.frame(h.Pages.language(r), "recover_"+string(what)+"_title").flash(r.URL.Query().Get("done"))
	status := http.StatusOK
	if problem != "" {
		status, f = http.StatusUnprocessableEntity, f.fails(f.say(problem))
	}
	return h.Pages.show(w, status, proofPageOf(f, recoveryPath(ref), next, what))
}

func proofPageOf(f frame, path string, next recovery.Next, what proofPage) proofView {
	key := "recover_" + string(what)
	v := proofView{
		frame: f, Path: path, Page: string(what), Asked: next.Asked,
		Heading: f.say(key + "_title"), Lead: f.say(key + "_lead"), Label: f.say(key + "_label"), Back: path,
	}
	if next.Step != recovery.StepCode {
		v.Back += "/more"
	}
	if what == contactProof && next.Asked {
		v.Lead = f.say("recover_asked")
	}
	return v
}
