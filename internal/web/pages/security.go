package pages

import (
	"context"
	"log/slog"
	"net/http"

	"countersign/internal/factor"
	"countersign/internal/passkey"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// Protection is what protects the account of the signed-in, and nobody else's.
type Protection interface {
	Overview(ctx context.Context, me session.Session) (profile.Overview, error)
	Review(ctx context.Context, me session.Session) error
	ChangePassword(ctx context.Context, me session.Session, c signin.Client, p profile.PasswordChange) (session.Started, bool, error)
	NewSavedCode(ctx context.Context, me session.Session, c signin.Client) (secret.Token, error)
	DropSavedCode(ctx context.Context, me session.Session, c signin.Client) error
	AddContact(ctx context.Context, me session.Session, c signin.Client, n profile.NewContact) error
	RemoveContact(ctx context.Context, me session.Session, c signin.Client, id string) error
}

// Security shows the signed-in what protects their account, and lets them change it. All fields are required.
//
// It is the one page that has contact data, and only by GET: whatever is refused is said elsewhere, or by a
// word in the query that leads back here.
type Security struct {
	Pages      *Pages
	Log        *slog.Logger
	Sessions   Sessions
	Protection Protection
	Addresses  addresses
	Factors    ownFactors
	Ways       []factor.Way // by which an address can be proved
	Client     func(*http.Request) signin.Client
}

const securityPath = "/security"

// Mount registers the routes; nobody else knows these paths.
func (h *Security) Mount(mux *http.ServeMux) {
	for pattern, handler := range map[string]func(http.ResponseWriter, *http.Request, session.Session) error{
		"GET /security":                        h.get,
		"POST /security/review":                h.postReview,
		"GET /security/password":               h.getPassword,
		"POST /security/password":              h.postPassword,
		"GET /security/addresses/new":          h.getAddress,
		"POST /security/addresses":             h.postAddress,
		"GET /security/addresses/{flow}":       h.getFlow,
		"POST /security/addresses/{flow}/send": h.postSend,
		"POST /security/addresses/{flow}/code": h.postCode,
		"POST /security/addresses/{id}/remove": h.postRemove,
		"POST /security/addresses/{id}/uses":   h.postUses,
		"GET /security/contacts/new":           h.getContact,
		"POST /security/contacts":              h.postContact,
		"POST /security/contacts/{id}/remove":  h.postRemoveContact,
		"POST /security/saved-code":            h.postSavedCode,
		"POST /security/saved-code/remove":     h.postDropSavedCode,
		"POST /security/passkeys/{id}/rename":  h.postRenamePasskey,
		"POST /security/passkeys/{id}/remove":  h.postRemovePasskey,
		"POST /security/second/{what}":         h.postSecond,
		"POST /security/apps/{id}/rename":      h.postRenameApp,
		"POST /security/apps/{id}/remove":      h.postRemoveApp,
		"POST /security/backup-codes":          h.postBackup,
		// A form's address, opened again from the address bar or a bookmark.
		"GET /security/addresses":             toSecurity,
		"GET /security/addresses/{flow}/send": toAddressFlow,
		"GET /security/addresses/{flow}/code": toAddressFlow,
		"GET /security/contacts":              toSecurity,
		"GET /security/saved-code":            toSecurity,
		"GET /security/second/{what}":         toSecurity,
		"GET /security/passkeys":              toSecurity,
		"GET /security/apps":                  toSecurity,
		"GET /security/apps/confirm":          toSecurity,
		"GET /security/backup-codes":          toSecurity,
		// Where password managers look (A well-known URL for changing passwords, W3C).
		"GET /.well-known/change-password": func(w http.ResponseWriter, r *http.Request, _ session.Session) error {
			return seeOther(w, r, securityPath+"/password")
		},
	} {
		mux.Handle(pattern, web.Handle(h.Log, h.Pages.keepLanguage(h.Pages.signedIn(h.Sessions, handler))))
	}
	for pattern, handler := range map[string]func(http.ResponseWriter, *http.Request, session.Session) error{
		"GET " + enrolPath:            h.getEnrol,
		"POST /security/passkeys":     h.postAddPasskey,
		"POST /security/apps":         h.postApp,
		"POST /security/apps/confirm": h.postConfirmApp,
	} {
		mux.Handle(pattern, web.Handle(h.Log, h.Pages.keepLanguage(h.Pages.enrolling(h.Sessions, handler))))
	}
}

func toSecurity(w http.ResponseWriter, r *http.Request, _ session.Session) error {
	return seeOther(w, r, securityPath)
}

func (h *Security) get(w http.ResponseWriter, r *http.Request, me session.Session) error {
	o, err := h.Protection.Overview(r.Context(), me)
	if err != nil {
		return err
	}
	own, err := h.Factors.Factors(r.Context(), me)
	if err != nil {
		return err
	}
	f := h.Pages.frame(h.Pages.language(r), "security_title").flash(r.URL.Query().Get("done"))
	if key, ok := securityProblems[r.URL.Query().Get("problem")]; ok {
		f = f.fails(f.say(key))
	}
	v := securityPage(f, o, own, h.Pages.options.Now())
	if v.Open && len(own.Passkeys) < passkey.MaxPerAccount {
		b, err := h.Factors.BeginPasskey(r.Context(), me)
		if err != nil {
			return err
		}
		v.Passkey = h.Pages.ceremony(b)
	}
	return h.Pages.show(w, http.StatusOK, v)
}

// securityProblems are all that a "problem" in the query may say, by the code of the fault.
var securityProblems = map[string]string{ //nolint:gochecknoglobals // a table that is only read
	"account_frozen":          "security_frozen",
	"last_notice_address":     "security_last_notice",
	"last_signin_address":     "security_last_signin",
	"identifier_uses_invalid": "security_uses_invalid",
	"identifier_taken":        "security_taken",
	"not_found":               "security_gone",

	"passkey_refused":       "security_passkey_refused",
	"passkey_model_refused": "security_passkey_model_refused",
	"passkey_taken":         "security_passkey_taken",
	"passkey_name_empty":    "security_app_nameless",
	"last_passkey":          "security_last_passkey",

	"factor_choice_invalid": "security_choice_refused",

	"app_late":                 "security_app_late",
	"too_many_authenticators":  "security_too_many_apps",
	"authenticator_name_empty": "security_app_nameless",
}

// after leads back to the overview once something was done or refused, or through a proof if it takes one.
func after(w http.ResponseWriter, r *http.Request, done string, err error) error {
	if err == nil {
		return seeOther(w, r, securityPath+"?done="+done)
	}
	if code := fault.Of(err).Code; securityProblems[code] != "" {
		return seeOther(w, r, securityPath+"?problem="+code)
	}
	return staleIs(w, r, "security", err)
}

// staleIs leads whoever signed in too long ago through a new proof and back, and passes on every other error.
func staleIs(w http.ResponseWriter, r *http.Request, name string, err error) error {
	if err != nil && fault.Of(err).Code == "reauthentication_required" {
		return seeOther(w, r, toAgain(name))
	}
	return err
}

func (h *Security) postReview(w http.ResponseWriter, r *http.Request, me session.Session) error {
	return after(w, r, "reviewed", h.Protection.Review(r.Context(), me))
}

func (h *Security) getPassword(w http.ResponseWriter, r *http.Request, _ session.Session) error {
	f := h.Pages.frame(h.Pages.language(r), "password_title")
	return h.Pages.show(w, http.StatusOK, h.passwordPage(f))
}

func (h *Security) passwordPage(f frame) passwordView {
	f.SignedIn = true
	return passwordView{frame: f, Min: h.Pages.options.MinPassword}
}

func (h *Security) postPassword(w http.ResponseWriter, r *http.Request, me session.Session) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	v := h.passwordPage(h.Pages.frame(h.Pages.language(r), "password_title"))
	if form.Get("current") == "" || form.Get("new") == "" {
		v.CurrentProblem = either(form.Get("current") == "", v.say("wrong_claim_missing"), "")
		v.NewProblem = either(form.Get("new") == "", v.say("wrong_claim_missing"), "")
		v.frame = v.fails(v.say("password_missing"))
		return h.Pages.show(w, http.StatusUnprocessableEntity, v)
	}
	started, ok, err := h.Protection.ChangePassword(r.Context(), me, h.Client(r), profile.PasswordChange{
		Current: form.Get("current"), New: form.Get("new"), Handles: deviceHandles(r),
	})
	switch f := fault.Of(err); {
	case err != nil && f.Kind == fault.Invalid:
		v.NewProblem = v.say("wrong_"+f.Code, "n", v.Min)
		v.frame = v.fails(v.say("password_new_refused"))
	case err != nil:
		return err
	case !ok:
		v.CurrentProblem = v.say("again_refused")
		v.frame = v.fails(v.say("password_current_refused"))
	default:
		web.SetCookie(w, web.SessionCookie, started.Token, 0)
		return seeOther(w, r, securityPath+"?done=password-changed")
	}
	return h.Pages.show(w, http.StatusUnprocessableEntity, v)
}

func (h *Security) getContact(w http.ResponseWriter, r *http.Request, me session.Session) error {
	if to, err := h.closed(r, me, "contact"); err != nil || to != "" {
		return goTo(w, r, to, err)
	}
	f := h.Pages.frame(h.Pages.language(r), "contact_title")
	return h.Pages.show(w, http.StatusOK, h.contactPage(f))
}

// closed says where to go instead of to a form that could not be sent: through a proof, or back to the overview.
func (h *Security) closed(r *http.Request, me session.Session, name string) (to string, err error) {
	o, err := h.Protection.Overview(r.Context(), me)
	switch {
	case err != nil:
		return "", err
	case o.Frozen:
		return securityPath + "?problem=account_frozen", nil
	case !o.Fresh:
		return toAgain(name), nil
	}
	return "", nil
}

func goTo(w http.ResponseWriter, r *http.Request, to string, err error) error {
	if err != nil {
		return err
	}
	return seeOther(w, r, to)
}

func (h *Security) contactPage(f frame) contactView {
	f.SignedIn = true
	return contactView{frame: f, Field: registerPage(f, Asks{Ways: h.Ways})}
}

// contactProblems are what is said of a contact that is refused; the form stays.
var contactProblems = map[string]string{ //nolint:gochecknoglobals // a table that is only read
	"identifier_malformed": "contact_malformed_address",
	"contact_malformed":    "contact_malformed",
	"contact_unreachable":  "contact_malformed_address",
	"contact_known":        "contact_known",
	"contact_is_own":       "contact_is_own",
	"too_many_contacts":    "contact_too_many",
}

func (h *Security) postContact(w http.ResponseWriter, r *http.Request, me session.Session) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	n := profile.NewContact{Label: form.Get("label"), Holder: form.Get("holder"), Address: form.Get("address")}
	key := "contact_missing"
	if n.Label != "" && n.Holder != "" && n.Address != "" {
		err := h.Protection.AddContact(r.Context(), me, h.Client(r), n)
		if key = contactProblems[fault.Of(err).Code]; err == nil || key == "" {
			return after(w, r, "contact-added", err)
		}
	}
	v := h.contactPage(h.Pages.frame(h.Pages.language(r), "contact_title"))
	return h.Pages.show(w, http.StatusUnprocessableEntity, v.wrong(key))
}

func (h *Security) postRemoveContact(w http.ResponseWriter, r *http.Request, me session.Session) error {
	return after(w, r, "contact-removed", h.Protection.RemoveContact(r.Context(), me, h.Client(r), r.PathValue("id")))
}

// postSavedCode shows the code in its own answer: there is no other time, and no address, at which to see it.
func (h *Security) postSavedCode(w http.ResponseWriter, r *http.Request, me session.Session) error {
	code, err := h.Protection.NewSavedCode(r.Context(), me, h.Client(r))
	if err != nil {
		return after(w, r, "", err)
	}
	f := h.Pages.frame(h.Pages.language(r), "saved_title")
	f.SignedIn = true
	return h.Pages.show(w, http.StatusOK, savedView{frame: f, Code: code.Reveal()})
}

func (h *Security) postDropSavedCode(w http.ResponseWriter, r *http.Request, me session.Session) error {
	return after(w, r, "saved-removed", h.Protection.DropSavedCode(r.Context(), me, h.Client(r)))
}
