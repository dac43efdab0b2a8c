package pages

import (
	"context"
	"net/http"
	"net/url"

	"countersign/internal/account"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// addresses are the signed-in's own.
type addresses interface {
	BeginAddress(ctx context.Context, me session.Session, c signin.Client, typed string) (profile.AddressFlow, error)
	SendAddress(ctx context.Context, me session.Session, c signin.Client, flow secret.Token) (profile.AddressFlow, error)
	AddressAt(ctx context.Context, me session.Session, flow secret.Token) (profile.AddressFlow, error)
	ProveAddress(ctx context.Context, me session.Session, c signin.Client, flow, code secret.Token) (profile.AddressFlow, error)
	RemoveAddress(ctx context.Context, me session.Session, c signin.Client, id string) error
	SetAddressUses(ctx context.Context, me session.Session, c signin.Client, id string, u account.Uses) error
}

func (h *Security) getAddress(w http.ResponseWriter, r *http.Request, me session.Session) error {
	if to, err := h.closed(r, me, "address"); err != nil || to != "" {
		return goTo(w, r, to, err)
	}
	f := h.Pages.frame(h.Pages.language(r), "address_title")
	return h.Pages.show(w, http.StatusOK, h.addressPage(f))
}

func (h *Security) addressPage(f frame) addressView {
	f.SignedIn = true
	return addressView{frame: f, Field: registerPage(f, Asks{Ways: h.Ways})}
}

// addressProblems are what is said of an address that is refused; the form stays.
var addressProblems = map[string]string{ //nolint:gochecknoglobals // a table that is only read
	"identifier_malformed": "address_malformed",
	"way_unknown":          "address_malformed",
	"address_known":        "address_known",
	"too_many_addresses":   "address_too_many",
}

func (h *Security) postAddress(w http.ResponseWriter, r *http.Request, me session.Session) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	started, err := h.Addresses.BeginAddress(r.Context(), me, h.Client(r), form.Get("address"))
	if err == nil {
		return seeOther(w, r, addressPath(started.Handle))
	}
	if key := addressProblems[fault.Of(err).Code]; key != "" {
		f := h.Pages.frame(h.Pages.language(r), "address_title")
		return h.Pages.show(w, http.StatusUnprocessableEntity, h.addressPage(f.fails(f.say(key))))
	}
	if fault.Of(err).Code == "account_frozen" {
		return after(w, r, "", err)
	}
	return staleIs(w, r, "address", err)
}

func addressPath(flow secret.Token) string {
	return securityPath + "/addresses/" + url.PathEscape(flow.Reveal())
}

func addressFlow(r *http.Request) secret.Token { return secret.Of(r.PathValue("flow")) }

func toAddressFlow(w http.ResponseWriter, r *http.Request, _ session.Session) error {
	return seeOther(w, r, addressPath(addressFlow(r)))
}

func (h *Security) getFlow(w http.ResponseWriter, r *http.Request, me session.Session) error {
	at, err := h.Addresses.AddressAt(r.Context(), me, addressFlow(r))
	if err != nil {
		return ended(w, r, err)
	}
	f := h.Pages.frame(h.Pages.language(r), "address_code_title").flash(r.URL.Query().Get("done"))
	return h.Pages.show(w, http.StatusOK, h.addressCode(f, r, at))
}

// ended leads whoever asks for a flow that is over to the overview, which says whether the address is there.
func ended(w http.ResponseWriter, r *http.Request, err error) error {
	if fault.Of(err).Kind == fault.Gone {
		return seeOther(w, r, securityPath+"?problem=not_found")
	}
	return err
}

func (h *Security) addressCode(f frame, r *http.Request, at profile.AddressFlow) addressCodeView {
	f.SignedIn = true
	path := addressPath(addressFlow(r))
	pause := wait(h.Pages.options.Now(), at.ResendAt)
	if f.Problem == "" && pause > 0 && r.URL.Query().Has("soon") {
		f.Flash = f.say("code_too_soon", "wait", f.span(pause))
	}
	return addressCodePage(f, path, at, pause)
}

func (h *Security) postSend(w http.ResponseWriter, r *http.Request, me session.Session) error {
	sent, err := h.Addresses.SendAddress(r.Context(), me, h.Client(r), addressFlow(r))
	if err != nil {
		return ended(w, r, err)
	}
	return seeOther(w, r, addressPath(addressFlow(r))+either(sent.TooSoon, "?soon", "?done=code-sent"))
}

func (h *Security) postCode(w http.ResponseWriter, r *http.Request, me session.Session) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	code, key := digits(form.Get("code")), "code_missing"
	var at profile.AddressFlow
	if code == "" { // nothing was tried, so nothing is counted
		at, err = h.Addresses.AddressAt(r.Context(), me, addressFlow(r))
	} else {
		key = "code_refused"
		at, err = h.Addresses.ProveAddress(r.Context(), me, h.Client(r), addressFlow(r), secret.Of(code))
	}
	switch {
	case err != nil && fault.Of(err).Kind == fault.Gone:
		return ended(w, r, err)
	case err != nil || at.Done:
		return after(w, r, "address-added", err)
	}
	f := h.Pages.frame(h.Pages.language(r), "address_code_title")
	return h.Pages.show(w, http.StatusUnprocessableEntity, h.addressCode(f.fails(f.say(key)), r, at))
}

func (h *Security) postRemove(w http.ResponseWriter, r *http.Request, me session.Session) error {
	return after(w, r, "address-removed", h.Addresses.RemoveAddress(r.Context(), me, h.Client(r), r.PathValue("id")))
}

func (h *Security) postUses(w http.ResponseWriter, r *http.Request, me session.Session) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	u := account.Uses{SignsIn: form.Get("signs_in") == "on", Notices: form.Get("notices") == "on", Recovers: form.Get("recovers") == "on"}
	return after(w, r, "address-changed", h.Addresses.SetAddressUses(r.Context(), me, h.Client(r), r.PathValue("id"), u))
}
