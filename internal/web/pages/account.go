package pages

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// ownAccount is what the signed-in may do with all of their account.
type ownAccount interface {
	Self(ctx context.Context, me session.Session) (profile.Self, error)
	SetLanguage(ctx context.Context, me session.Session, c signin.Client, language string) error
	Data(ctx context.Context, me session.Session, c signin.Client) ([]byte, error)
	AskErase(ctx context.Context, me session.Session, c signin.Client) (time.Time, error)
	Keep(ctx context.Context, me session.Session, c signin.Client) (bool, error)
}

// Account is where the signed-in set the language of letters, get their data and have the account erased.
// All fields are required.
type Account struct {
	Pages    *Pages
	Log      *slog.Logger
	Sessions Sessions
	Owner    ownAccount
	Client   func(*http.Request) signin.Client
}

const accountPath = "/account"

// Mount registers the routes; nobody else knows these paths.
func (h *Account) Mount(mux *http.ServeMux) {
	for pattern, handler := range map[string]func(http.ResponseWriter, *http.Request, session.Session) error{
		"GET " + accountPath:                h.get,
		"POST " + accountPath + "/language": h.postLanguage,
		"POST " + accountPath + "/data":     h.postData, // a post: it is recorded, and no other site's link starts it
		"POST " + accountPath + "/erase":    h.postErase,
		"POST " + accountPath + "/keep":     h.postKeep,
		// A form's address, opened again from the address bar or a bookmark.
		"GET " + accountPath + "/language": toAccount,
		"GET " + accountPath + "/data":     toAccount,
		"GET " + accountPath + "/erase":    toAccount,
		"GET " + accountPath + "/keep":     toAccount,
	} {
		mux.Handle(pattern, web.Handle(h.Log, h.Pages.keepLanguage(h.Pages.signedIn(h.Sessions, handler))))
	}
}

func toAccount(w http.ResponseWriter, r *http.Request, _ session.Session) error {
	return seeOther(w, r, accountPath)
}

// erasure is what pages say of an account that is to be erased.
type erasure struct {
	EraseAt *instant // nil: it is not to be erased
}

func (f frame) erasureOf(self profile.Self) erasure {
	return erasure{EraseAt: f.later(self.EraseAt, time.Time{})}
}

type accountView struct {
	frame
	erasure

	Language string // of letters
	Fresh    bool   // nothing here asks for another proof first
	Wait     string // from the wish to the erasure
}

func (accountView) template() string { return "account" }

// LanguageName is the language of letters by the name that those who speak it know it by.
func (v accountView) LanguageName() string {
	for _, t := range tongues {
		if t.Code == v.Language {
			return t.Name
		}
	}
	return v.Language
}

func (p *Pages) accountPage(f frame, self profile.Self) accountView {
	return accountView{
		frame: f.at(accountPath), erasure: f.erasureOf(self), Language: self.Language, Fresh: self.Fresh, Wait: f.count("day", p.options.EraseDays),
	}
}

func (h *Account) get(w http.ResponseWriter, r *http.Request, me session.Session) error {
	self, err := h.Owner.Self(r.Context(), me)
	if err != nil {
		return err
	}
	f := h.Pages.frame(h.Pages.language(r), "account_title").flash(r.URL.Query().Get("done"))
	return h.Pages.show(w, http.StatusOK, h.Pages.accountPage(f, self))
}

func (h *Account) postLanguage(w http.ResponseWriter, r *http.Request, me session.Session) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	if err := h.Owner.SetLanguage(r.Context(), me, h.Client(r), form.Get("language")); err != nil {
		return staleIs(w, r, "account", err)
	}
	return seeOther(w, r, accountPath+"?done=language-set")
}

func (h *Account) postData(w http.ResponseWriter, r *http.Request, me session.Session) error {
	data, err := h.Owner.Data(r.Context(), me, h.Client(r))
	if err != nil {
		return staleIs(w, r, "account", err)
	}
	head := w.Header()
	head.Set("Content-Type", "application/json; charset=utf-8")
	head.Set("Content-Disposition", `attachment; filename="countersign-account-`+h.Pages.options.Now().UTC().Format("2006-01-02")+`.json"`)
	_, _ = w.Write(data) // the browser may have gone; there is nobody to tell
	return nil
}

func (h *Account) postErase(w http.ResponseWriter, r *http.Request, me session.Session) error {
	if _, err := h.Owner.AskErase(r.Context(), me, h.Client(r)); err != nil {
		return staleIs(w, r, "account", err)
	}
	return seeOther(w, r, accountPath+"?done=erase-asked")
}

func (h *Account) postKeep(w http.ResponseWriter, r *http.Request, me session.Session) error {
	if _, err := h.Owner.Keep(r.Context(), me, h.Client(r)); err != nil {
		return err
	}
	return seeOther(w, r, accountPath+"?done=kept")
}
