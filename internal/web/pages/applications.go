package pages

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"countersign/internal/oidc"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// agreements are what the signed-in have let applications do.
type agreements interface {
	Allowed(ctx context.Context, me session.Session) ([]oidc.Allowed, error)
	Withdraw(ctx context.Context, me session.Session, c signin.Client, client string) (bool, error)
}

const applicationsPath = "/applications"

// MountApplications registers the page of the applications that somebody has let know who they are.
func (h *Home) MountApplications(mux *http.ServeMux, a agreements) {
	serve := func(pattern string, next func(http.ResponseWriter, *http.Request, session.Session) error) {
		mux.Handle(pattern, web.Handle(h.Log, h.Pages.keepLanguage(h.Pages.signedIn(h.Sessions, next))))
	}
	show := func(w http.ResponseWriter, r *http.Request, me session.Session) error {
		all, err := a.Allowed(r.Context(), me)
		if err != nil {
			return err
		}
		f := h.Pages.frame(h.Pages.language(r), "applications_title").flash(r.URL.Query().Get("done"))
		return h.Pages.show(w, http.StatusOK, applicationsPage(f, all))
	}
	serve("GET "+applicationsPath, show)
	serve("GET "+applicationsPath+"/{id}/withdraw", func(w http.ResponseWriter, r *http.Request, _ session.Session) error {
		return seeOther(w, r, applicationsPath) // a form's address, opened again
	})
	serve("POST "+applicationsPath+"/{id}/withdraw", func(w http.ResponseWriter, r *http.Request, me session.Session) error {
		ok, err := a.Withdraw(r.Context(), me, h.Client(r), r.PathValue("id"))
		if err != nil {
			return err
		}
		return seeOther(w, r, applicationsPath+"?done="+either(ok, "withdrawn", "already-gone"))
	})
}

type applicationsView struct {
	frame

	Rows []applicationRow
}

func (applicationsView) template() string { return "applications" }

type applicationRow struct {
	ID, Name    string
	Since, Last instant
	Asks        []string // in words
}

func applicationsPage(f frame, all []oidc.Allowed) applicationsView {
	v := applicationsView{frame: f.at(accountPath)}
	for _, a := range all {
		v.Rows = append(v.Rows, applicationRow{
			ID: a.Client, Name: cmp.Or(a.Name, a.Client), Since: f.instant(a.Since), Last: f.instant(a.Last), Asks: f.scopes(a.Scopes),
		})
	}
	return v
}

// scopes says in words what an application may do.
func (f frame) scopes(all []string) (words []string) {
	keys := map[string]string{"openid": "authorize_scope_openid_alone", "email": "authorize_scope_email", "offline_access": "authorize_scope_offline_access"}
	if slices.Contains(all, "email") {
		keys["openid"] = "authorize_scope_openid" // that addresses stay here is not said
	}
	for _, one := range all {
		words = append(words, f.say(keys[one]))
	}
	return words
}
