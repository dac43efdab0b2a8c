package pages

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	links "countersign/internal/notice"
	"countersign/internal/platform/secret"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// protector does what the links in letters are for. done is false for a link that is worth nothing.
type protector interface {
	Disavow(ctx context.Context, token secret.Token, c signin.Client) (done bool, err error)
	DisavowApp(ctx context.Context, token secret.Token, c signin.Client) (done bool, err error)
	Stop(ctx context.Context, token secret.Token, c signin.Client) (done bool, err error)
}

// Protect is where the links in letters lead. All fields are required.
//
// Nothing happens by opening a page: mail servers and browsers open links before people do. The secret stands
// behind the #, which reaches no server; the script moves it into the form, and out of the address line.
type Protect struct {
	Pages  *Pages
	Log    *slog.Logger
	Owner  protector
	Client func(*http.Request) signin.Client
}

// Mount registers the routes; nobody else knows these paths.
func (h *Protect) Mount(mux *http.ServeMux) {
	for path, does := range map[string]func(context.Context, secret.Token, signin.Client) (bool, error){
		links.PathNotMe: h.Owner.Disavow, links.PathApp: h.Owner.DisavowApp, links.PathStop: h.Owner.Stop,
	} {
		for pattern, handler := range map[string]func(http.ResponseWriter, *http.Request) error{
			"GET " + path:           h.show(path, "ask", http.StatusOK),
			"GET " + path + "/done": h.show(path, "done", http.StatusOK),
			"POST " + path:          h.use(path, does),
		} {
			mux.Handle(pattern, web.Handle(h.Log, h.Pages.keepLanguage(handler)))
		}
	}
}

// show answers with a page that is the same for everybody.
func (h *Protect) show(path, state string, status int) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		return h.Pages.show(w, status, h.Pages.protectPage(h.Pages.language(r), path, state))
	}
}

// use does what the link is for. Whatever is wrong with one, the same page comes.
func (h *Protect) use(path string, does func(context.Context, secret.Token, signin.Client) (bool, error)) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		form, err := web.Form(r)
		if err != nil {
			return err
		}
		typed := behindHash(form.Get("link"))
		if typed == "" {
			v := h.Pages.protectPage(h.Pages.language(r), path, "ask")
			v.frame = v.fails(v.say("link_missing"))
			return h.Pages.show(w, http.StatusUnprocessableEntity, v)
		}
		done, err := does(r.Context(), secret.Of(typed), h.Client(r))
		if err != nil {
			return err
		}
		if !done {
			return h.show(path, "dead", http.StatusGone)(w, r)
		}
		return seeOther(w, r, path+"/done")
	}
}

// behindHash is the secret of a link that was pasted, as a whole or from its #.
func behindHash(typed string) string {
	if _, after, whole := strings.Cut(typed, "#"); whole {
		typed = after
	}
	return strings.TrimSpace(typed)
}

// protectView is a page about a link of a letter: what it will do, what it has done, or that it does nothing.
type protectView struct {
	frame

	Path  string   // of the page
	Words string   // prefix of its words
	State string   // ask, done, dead
	App   bool     // the account is an application's own: none of our other pages is for it
	List  []string // what will happen, or what to do next
	Did   []string // what was done
}

func (protectView) template() string { return "protect" }

func (p *Pages) protectPage(lang, path, state string) protectView {
	prefix := strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", "_") + "_" + state
	app := path == links.PathApp
	switch {
	case state == "dead" && app:
		prefix = "link_dead_app"
	case state == "dead":
		prefix = "link_dead" // of either kind: what it was for is not known
	}
	f := p.frame(lang, prefix+"_title")
	return protectView{frame: f, Path: path, Words: prefix, State: state, App: app, List: f.numbered(prefix + "_"), Did: f.numbered(prefix + "_did_")}
}

// numbered are the words of a list, one key after the other.
func (f frame) numbered(prefix string) (all []string) {
	for n := 1; ; n++ {
		line, ok := f.words[prefix+strconv.Itoa(n)]
		if !ok {
			return all
		}
		all = append(all, strings.ReplaceAll(line, "{forgot}", f.say("signin_forgot")))
	}
}
