package pages

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"

	"countersign/internal/approval"
	"countersign/internal/device"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
	"countersign/internal/web/bound"
)

// Sessions knows who is signed in.
type Sessions interface {
	Stands(context.Context, secret.Token, []secret.Token) (session.Session, session.Standing, error)
}

// Owner is what the signed-in may do about their own sessions and devices, and nobody else's.
type Owner interface {
	ListSessions(ctx context.Context, me session.Session) ([]session.Session, error)
	ListDevices(ctx context.Context, me session.Session) ([]device.Device, error)
	EndSession(ctx context.Context, me session.Session, c signin.Client, id session.ID) (bool, error)
	EndOtherSessions(ctx context.Context, me session.Session, c signin.Client) error
	EndAllSessions(ctx context.Context, me session.Session, c signin.Client) error
	ForgetDevice(ctx context.Context, me session.Session, c signin.Client, id device.ID) (bool, error)
	ForgetAllDevices(ctx context.Context, me session.Session, c signin.Client) error
}

// holder is what else the signed-in may do at home.
type holder interface {
	RenameDevice(ctx context.Context, me session.Session, c signin.Client, id device.ID, name string) (bool, error)
	Self(ctx context.Context, me session.Session) (profile.Self, error)
	Approvals(ctx context.Context, me session.Session) ([]approval.Request, error)
}

// Home is what the signed-in see: where they are signed in and which devices are remembered. All
// fields are required.
type Home struct {
	Pages    *Pages
	Log      *slog.Logger
	Sessions Sessions
	Owner    Owner
	Holder   holder
	Client   func(*http.Request) signin.Client
}

// Mount registers the routes; nobody else knows these paths.
func (h *Home) Mount(mux *http.ServeMux) {
	for pattern, handler := range map[string]func(http.ResponseWriter, *http.Request, session.Session) error{
		"GET /{$}":                  h.getHome,
		"POST /devices/{id}/forget": h.postForget,
		"POST /devices/{id}/rename": h.postRename,
		"POST /devices/forget-all":  h.postForgetAll,
		"POST /sessions/{id}/end":   h.postEnd,
		"POST /sessions/end-others": h.postEndOthers,
		"POST /sessions/end-all":    h.postEndAll,
	} {
		mux.Handle(pattern, web.Handle(h.Log, h.Pages.keepLanguage(h.Pages.signedIn(h.Sessions, handler))))
	}
	// Out goes anybody, from a browser that cannot prove its key, too.
	mux.Handle("POST /signout", web.Handle(h.Log, h.Pages.keepLanguage(holding(h.Sessions, func(w http.ResponseWriter, r *http.Request, at held) error {
		return h.postSignOut(w, r, at.Session)
	}))))
}

// signedIn lets in only whoever has a session, from where it is bound, and leads everybody else to the sign-in.
func (p *Pages) signedIn(sessions Sessions, next func(http.ResponseWriter, *http.Request, session.Session) error) func(http.ResponseWriter, *http.Request) error {
	return p.enrolling(sessions, func(w http.ResponseWriter, r *http.Request, me session.Session) error {
		if me.Enrol {
			to := enrolPath
			if r.URL.Query().Has("problem") {
				to += "?problem=" + url.QueryEscape(r.URL.Query().Get("problem"))
			}
			return seeOther(w, r, to)
		}
		return next(w, r, me)
	})
}

// held is a session whose token came, and how the request stands.
type held struct {
	session.Session
	session.Standing
}

// holding lets in whoever has a session's token.
func holding(sessions Sessions, next func(http.ResponseWriter, *http.Request, held) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		s, stands, err := sessions.Stands(r.Context(), web.Cookie(r, web.SessionCookie), bound.Cookies(r))
		if err != nil && fault.Of(err).Kind == fault.Unauthenticated {
			web.SetCookie(w, web.SessionCookie, secret.Token{}, -1)
			return seeOther(w, r, towards("/signin", errand(r)))
		}
		if err != nil {
			return err
		}
		return next(w, r, held{s, stands})
	}
}

func (h *Home) getHome(w http.ResponseWriter, r *http.Request, mine session.Session) error {
	return h.showHome(w, r, mine, "")
}

// showHome shows the page, with a problem if something is to be put right.
func (h *Home) showHome(w http.ResponseWriter, r *http.Request, mine session.Session, problem string) error {
	sessions, err := h.Owner.ListSessions(r.Context(), mine)
	if err != nil {
		return err
	}
	devices, err := h.Owner.ListDevices(r.Context(), mine)
	if err != nil {
		return err
	}
	self, err := h.Holder.Self(r.Context(), mine)
	if err != nil {
		return err
	}
	waiting, err := h.Holder.Approvals(r.Context(), mine)
	if err != nil {
		return err
	}
	f, status := h.Pages.frame(h.Pages.language(r), "home_title").flash(r.URL.Query().Get("done")), http.StatusOK
	if problem != "" {
		f, status = f.fails(f.say(problem)), http.StatusUnprocessableEntity
	}
	v := homePage(f, mine, sessions, devices)
	v.erasure, v.Waits = f.erasureOf(self), len(waiting) > 0
	return h.Pages.show(w, status, v)
}

func homePage(f frame, mine session.Session, sessions []session.Session, devices []device.Device) homeView {
	v := homeView{frame: f.at("/")}
	for _, s := range sessions {
		row := sessionRow{
			ID: s.ID, Name: f.name(s.Name), This: s.ID == mine.ID,
			Since: f.instant(s.CreatedAt), Seen: f.instant(s.LastSeenAt), Methods: f.methods(s.Methods), Place: f.whereabouts(s.Source),
			Bound: !s.BoundAt.IsZero(), BoundToApp: s.Key != "",
		}
		for _, d := range devices {
			if d.ID == s.Device && d.Name != s.Name {
				row.Device = f.name(d.Name)
			}
		}
		v.Sessions = append(v.Sessions, row)
		v.OtherSessions = v.OtherSessions || !row.This
	}
	slices.SortStableFunc(v.Sessions, func(a, b sessionRow) int { return first(a.This, b.This) })
	for _, d := range devices {
		v.Devices = append(v.Devices, deviceRow{
			ID: string(d.ID), Name: f.name(d.Name), This: mine.Device != "" && d.ID == mine.Device,
			Since: f.instant(d.CreatedAt), Seen: f.instant(d.LastSeenAt), Until: f.instant(d.ExpiresAt),
			Place: f.whereabouts(d.Source), Strength: f.strength(d.Strength),
		})
	}
	slices.SortStableFunc(v.Devices, func(a, b deviceRow) int { return first(a.This, b.This) })
	return v
}

// first puts what is true first.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// postForget needs no look at whose device it is: the owner's is all that ForgetDevice finds.
func (h *Home) postForget(w http.ResponseWriter, r *http.Request, mine session.Session) error {
	found, err := h.Owner.ForgetDevice(r.Context(), mine, h.Client(r), device.ID(r.PathValue("id")))
	if err != nil {
		return err
	}
	return seeOther(w, r, "/?done="+either(found, "device-forgotten", "already-gone"))
}

func (h *Home) postRename(w http.ResponseWriter, r *http.Request, mine session.Session) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	found, err := h.Holder.RenameDevice(r.Context(), mine, h.Client(r), device.ID(r.PathValue("id")), form.Get("name"))
	if err != nil && fault.Of(err).Code == "device_name_empty" {
		return h.showHome(w, r, mine, "device_name_missing")
	}
	if err != nil {
		return err
	}
	return seeOther(w, r, "/?done="+either(found, "device-renamed", "already-gone"))
}

func (h *Home) postForgetAll(w http.ResponseWriter, r *http.Request, mine session.Session) error {
	if err := h.Owner.ForgetAllDevices(r.Context(), mine, h.Client(r)); err != nil {
		return err
	}
	// The cookie stays: it may hold handles of another account, and this one's are worth nothing now.
	return seeOther(w, r, "/?done=devices-forgotten")
}

func (h *Home) postEnd(w http.ResponseWriter, r *http.Request, mine session.Session) error {
	id := session.ID(r.PathValue("id"))
	if id == mine.ID {
		return h.postSignOut(w, r, mine)
	}
	found, err := h.Owner.EndSession(r.Context(), mine, h.Client(r), id)
	if err != nil {
		return err
	}
	return seeOther(w, r, "/?done="+either(found, "session-ended", "already-gone"))
}

func (h *Home) postEndOthers(w http.ResponseWriter, r *http.Request, mine session.Session) error {
	if err := h.Owner.EndOtherSessions(r.Context(), mine, h.Client(r)); err != nil {
		return err
	}
	return seeOther(w, r, "/?done=others-ended")
}

func (h *Home) postEndAll(w http.ResponseWriter, r *http.Request, mine session.Session) error {
	if err := h.Owner.EndAllSessions(r.Context(), mine, h.Client(r)); err != nil {
		return err
	}
	return leave(w, r, "all-ended")
}

func (h *Home) postSignOut(w http.ResponseWriter, r *http.Request, mine session.Session) error {
	if _, err := h.Owner.EndSession(r.Context(), mine, h.Client(r), mine.ID); err != nil {
		return err
	}
	return leave(w, r, "signed-out")
}

// leave clears what the browser keeps of the pages seen, back button included. Cookies and storage
// as a whole stay, for they hold the remembered device; of the cookies, only the session's goes.
func leave(w http.ResponseWriter, r *http.Request, done string) error {
	forget(w)
	return seeOther(w, r, "/signin?done="+done)
}

func forget(w http.ResponseWriter) {
	w.Header().Set("Clear-Site-Data", `"cache"`)
	web.SetCookie(w, web.SessionCookie, secret.Token{}, -1)
}

func either(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}
