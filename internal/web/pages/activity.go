package pages

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"countersign/internal/audit"
	links "countersign/internal/notice"
	"countersign/internal/platform/fault"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// past is what the signed-in may know of what was done in their account, and say of it.
type past interface {
	Activity(ctx context.Context, me session.Session, before audit.Mark) (profile.Activity, error)
	Deed(ctx context.Context, me session.Session, id string) (profile.Deed, bool, error)
	DisavowDeed(ctx context.Context, me session.Session, c signin.Client, id string) (bool, error)
	Self(ctx context.Context, me session.Session) (profile.Self, error)
}

// Activity shows the signed-in what was done in their account, and lets them say that it was not them.
// All fields are required.
type Activity struct {
	Pages    *Pages
	Log      *slog.Logger
	Sessions Sessions
	Past     past
	Client   func(*http.Request) signin.Client
}

// Mount registers the routes; nobody else knows these paths.
func (h *Activity) Mount(mux *http.ServeMux) {
	for pattern, handler := range map[string]func(http.ResponseWriter, *http.Request, session.Session) error{
		"GET " + activityPath:                  h.get,
		"GET " + activityPath + "/{id}/notme":  h.getNotMe,
		"POST " + activityPath + "/{id}/notme": h.postNotMe,
	} {
		mux.Handle(pattern, web.Handle(h.Log, h.Pages.keepLanguage(h.Pages.signedIn(h.Sessions, handler))))
	}
}

const activityPath = "/activity"

func (h *Activity) get(w http.ResponseWriter, r *http.Request, me session.Session) error {
	from, _ := audit.ParseMark(r.URL.Query().Get("before")) // what is none is the newest page
	a, err := h.Past.Activity(r.Context(), me, from)
	if err != nil {
		return err
	}
	f := h.Pages.frame(h.Pages.language(r), "activity_title")
	return h.Pages.show(w, http.StatusOK, activityPage(f, a, from != audit.Mark{}))
}

type activityView struct {
	frame

	Rows   []deedRow
	Older  string // where the next page begins; empty on the last
	Newest bool   // this is not the first page
}

func (activityView) template() string { return "activity" }

type deedRow struct {
	ID          string
	Words       string
	Colon       string // and its space, between the words and
	Subject     string // what it was done to
	Times       int    // how often in a row
	Name, Place string
	At          instant
	Foreign     bool // it may have been somebody else
}

func activityPage(f frame, a profile.Activity, further bool) activityView {
	v := activityView{frame: f.at(activityPath), Newest: further}
	for _, d := range a.Deeds {
		if row, ok := f.deed(d); ok {
			v.Rows = append(v.Rows, row)
		}
	}
	if a.Further {
		v.Older = a.Older.String()
	}
	return v
}

// deed says what was done; ok is false for what this release has no words for.
func (f frame) deed(d profile.Deed) (row deedRow, ok bool) {
	key := "did_" + string(d.What)
	if _, special := f.words[key+"_"+d.Way]; special {
		key += "_" + d.Way
	}
	if _, ok := f.words[key]; !ok {
		return deedRow{}, false
	}
	text := f.say(key, "name", "\u2068"+d.Subject+"\u2069")
	if strings.Contains(f.words[key], "{name}") { // isolated: it may be written the other way
		d.Subject = ""
	}
	if methods := f.methodList(d.Methods); d.What == profile.SignedIn && len(methods) > 0 {
		text = f.say("did_signed_in_with", "methods", f.and(methods))
	}
	row = deedRow{
		ID: d.ID, Words: text, Colon: f.say("list_colon"), Times: d.Times, Place: f.whereabouts(d.Source), At: f.instant(d.At), Foreign: d.Foreign(),
	}
	if d.Subject != "" {
		row.Subject = f.name(d.Subject)
	}
	if d.Name != "" {
		row.Name = f.name(d.Name)
	}
	return row, true
}

// disavowView asks whether it really was not them: it ends everything.
type disavowView struct {
	frame

	Row   deedRow
	Fresh bool   // what has changed since is taken back
	Back  string // and that far
}

func (disavowView) template() string { return "disavow" }

func disavowPage(f frame, d profile.Deed, recent, fresh bool) disavowView {
	f.SignedIn = true
	row, _ := f.deed(d)
	back := either(recent, "disavow_undo", "disavow_undo_month")
	return disavowView{frame: f, Row: row, Fresh: fresh, Back: f.say(back)}
}

// getNotMe does nothing yet.
func (h *Activity) getNotMe(w http.ResponseWriter, r *http.Request, me session.Session) error {
	d, found, err := h.Past.Deed(r.Context(), me, r.PathValue("id"))
	if err != nil {
		return err
	}
	if !found || !d.Foreign() {
		return noDeed()
	}
	self, err := h.Past.Self(r.Context(), me)
	if err != nil {
		return err
	}
	f := h.Pages.frame(h.Pages.language(r), "notme_ask_title")
	return h.Pages.show(w, http.StatusOK, disavowPage(f, d, d.Recent(h.Pages.options.Now()), self.Fresh))
}

func (h *Activity) postNotMe(w http.ResponseWriter, r *http.Request, me session.Session) error {
	ok, err := h.Past.DisavowDeed(r.Context(), me, h.Client(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	if !ok {
		return noDeed()
	}
	forget(w)
	return seeOther(w, r, links.PathNotMe+"/done") // the same page as after a letter's link
}

func noDeed() error {
	return fault.New(fault.NotFound, "not_found", errors.New("nothing of the account's that somebody else may have done"))
}
