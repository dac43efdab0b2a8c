package pages

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"countersign/internal/platform/qrcode"
	"countersign/internal/platform/secret"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/totp"
	"countersign/internal/web"
)

// ownFactors are what the signed-in have set up to be asked for beside the password.
type ownFactors interface {
	ownPasskeys
	ownApps
	ownSecond

	NewBackupCodes(ctx context.Context, me session.Session, c signin.Client) ([]secret.Token, error)
}

type ownApps interface {
	BeginApp(ctx context.Context, me session.Session) (totp.Enrolment, error)
	BegunApp(ctx context.Context, me session.Session, id totp.ID) (e totp.Enrolment, ok bool, err error)
	ConfirmApp(ctx context.Context, me session.Session, c signin.Client, n totp.Confirmation) (bool, error)
	RenameApp(ctx context.Context, me session.Session, c signin.Client, id totp.ID, name string) error
	RemoveApp(ctx context.Context, me session.Session, c signin.Client, id totp.ID) error
}

// appView shows an app's secret and asks for its first code.
type appView struct {
	frame

	ID, Key, Name string
	QR            qrcode.Drawing // in the page itself: no address has it
}

func (appView) template() string { return "app" }

// postApp shows the secret in its own answer: there is no address at which to see it.
func (h *Security) postApp(w http.ResponseWriter, r *http.Request, me session.Session) error {
	e, err := h.Factors.BeginApp(r.Context(), me)
	if err != nil {
		return after(w, r, "", err)
	}
	v, err := appPage(h.Pages.frame(h.Pages.language(r), "app_title"), e)
	if err != nil {
		return err
	}
	return h.Pages.show(w, http.StatusOK, v)
}

func appPage(f frame, e totp.Enrolment) (appView, error) {
	f.SignedIn = true
	code, err := e.QR()
	return appView{frame: f, ID: string(e.ID), Key: e.Key.Reveal(), QR: code}, err
}

func (h *Security) postConfirmApp(w http.ResponseWriter, r *http.Request, me session.Session) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	n := totp.Confirmation{ID: totp.ID(form.Get("id")), Code: secret.Of(digits(form.Get("code"))), Name: form.Get("name")}
	problem := "app_code_missing"
	if !n.Code.Empty() {
		ok, err := h.Factors.ConfirmApp(r.Context(), me, h.Client(r), n)
		if err != nil || ok {
			return after(w, r, "app-added", err)
		}
		problem = "app_code_refused"
	}
	e, ok, err := h.Factors.BegunApp(r.Context(), me, n.ID)
	if err != nil {
		return after(w, r, "", err)
	}
	if !ok {
		return seeOther(w, r, securityPath+"?problem=app_late")
	}
	f := h.Pages.frame(h.Pages.language(r), "app_title")
	v, err := appPage(f.fails(f.say(problem)), e)
	if err != nil {
		return err
	}
	v.Name = strings.TrimSpace(n.Name)
	return h.Pages.show(w, http.StatusUnprocessableEntity, v)
}

func (h *Security) postRenameApp(w http.ResponseWriter, r *http.Request, me session.Session) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	return after(w, r, "app-renamed", h.Factors.RenameApp(r.Context(), me, h.Client(r), totp.ID(r.PathValue("id")), form.Get("name")))
}

func (h *Security) postRemoveApp(w http.ResponseWriter, r *http.Request, me session.Session) error {
	return after(w, r, "app-removed", h.Factors.RemoveApp(r.Context(), me, h.Client(r), totp.ID(r.PathValue("id"))))
}

// backupView shows the codes, once.
type backupView struct {
	frame

	Codes []string
}

func (backupView) template() string { return "backup" }

// All is every code, to be copied.
func (v backupView) All() string { return strings.Join(v.Codes, "\n") }

func (h *Security) postBackup(w http.ResponseWriter, r *http.Request, me session.Session) error {
	codes, err := h.Factors.NewBackupCodes(r.Context(), me, h.Client(r))
	if err != nil {
		return after(w, r, "", err)
	}
	f := h.Pages.frame(h.Pages.language(r), "backup_title")
	f.SignedIn = true
	v := backupView{frame: f}
	for _, c := range codes {
		v.Codes = append(v.Codes, c.Reveal())
	}
	return h.Pages.show(w, http.StatusOK, v)
}

// appsView are the apps and the list of codes on the page Security.
type appsView struct {
	Apps     []appRow
	MoreApps bool // there is room for another
	Backup   int  // codes left
}

type appRow struct {
	owned

	Serial string
	Added  instant
	Used   *instant
}

func (f frame) appRows(apps []totp.Authenticator) (all []appRow) {
	for _, a := range apps {
		all = append(all, appRow{
			owned:  f.owned("apps", string(a.ID), cmp.Or(strings.TrimSpace(a.Name), f.say("app_unnamed")), "app_remove_ask"),
			Serial: a.Serial, Added: f.instant(a.AddedAt), Used: f.later(a.LastUsedAt, time.Time{}),
		})
	}
	return all
}
