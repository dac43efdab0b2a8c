package pages

import (
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"countersign/internal/access"
	"countersign/internal/assurance"
	"countersign/internal/platform/secret"
	"countersign/internal/session"
	"countersign/internal/web"
	"countersign/internal/web/forwardauth"
)

// wishCookie keeps where somebody wants to go, sealed, while they sign in.
const (
	wishCookie = "__Host-cs_wish"
	wishFor    = 15 * time.Minute // what is in it is good no longer
)

type gate interface {
	Wished(wish string) (access.Need, error)
	Weak(me session.Session, n access.Need) bool
	Ticket(wish string, me session.Session) (string, error)
}

// Access leads people on to sites behind a proxy, signed in as it takes there. All fields are required.
type Access struct {
	Pages    *Pages
	Log      *slog.Logger
	Sessions Sessions
	Gate     gate
}

// Mount registers the routes; nobody else knows these paths.
func (h *Access) Mount(mux *http.ServeMux) {
	for pattern, handler := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET " + forwardauth.WishPath:   h.get,
		"GET " + forwardauth.DeniedPath: h.says("access_denied", http.StatusForbidden),
		"GET " + forwardauth.OverPath:   h.says("access_over", http.StatusGone),
	} {
		mux.Handle(pattern, web.Handle(h.Log, h.Pages.keepLanguage(handler)))
	}
}

// get is reached from a site's host, with a wish, and after a sign-in, when the cookie has it.
func (h *Access) get(w http.ResponseWriter, r *http.Request) error {
	wish := r.URL.Query().Get("wish")
	direct := wish != ""
	if !direct {
		wish = web.Cookie(r, wishCookie).Reveal()
	}
	need, err := h.Gate.Wished(wish)
	if err != nil {
		web.SetCookie(w, wishCookie, secret.Token{}, -1)
		return h.says("access_over", http.StatusGone)(w, r)
	}
	web.SetCookie(w, wishCookie, secret.Of(wish), wishFor)
	return h.Pages.signedIn(h.Sessions, func(w http.ResponseWriter, r *http.Request, me session.Session) error {
		if h.Gate.Weak(me, need) {
			return h.prove(w, r, me, need)
		}
		to, err := h.Gate.Ticket(wish, me)
		if err != nil {
			return err
		}
		web.SetCookie(w, wishCookie, secret.Token{}, -1)
		if direct {
			return seeOther(w, r, to)
		}
		return h.onward(w, r, to)
	})(w, r)
}

// prove has whoever is signed in prove more, unless they have just done so: then they have nothing that proves enough.
func (h *Access) prove(w http.ResponseWriter, r *http.Request, me session.Session, need access.Need) error {
	const just = 2 * time.Minute
	if assurance.Of(me.Methods).Level < need.Level && h.Pages.options.Now().Sub(me.AuthenticatedAt) < just {
		return h.Pages.show(w, http.StatusForbidden, accessWeak(h.Pages.frame(h.Pages.language(r), "access_weak_title")))
	}
	return seeOther(w, r, toAgain("access"))
}

func (h *Access) onward(w http.ResponseWriter, r *http.Request, to string) error {
	site, err := url.Parse(to)
	if err != nil {
		return err
	}
	return h.Pages.onward(w, accessOnward(h.Pages.frame(h.Pages.language(r), "access_onward_title"), site))
}

func accessOnward(f frame, site *url.URL) noticeView {
	f.SignedIn = true
	return noticeView{
		frame: f, Heading: f.say("access_onward_title"), Lead: f.say("access_onward_lead", "site", site.Host), Action: site.String(), ActionLabel: f.say("access_onward_action"),
	}
}

func accessWeak(f frame) noticeView {
	f.SignedIn = true
	return noticeView{frame: f, Heading: f.say("access_weak_title"), Lead: f.say("access_weak_lead"), Action: securityPath, ActionLabel: f.say("access_weak_action")}
}

func accessSays(f frame, key string) noticeView {
	f.SignedIn = key == "access_denied" // or nobody would have been denied
	return noticeView{frame: f, Heading: f.say(key + "_title"), Lead: f.say(key + "_lead"), Action: "/", ActionLabel: f.say("to_start")}
}

func (p *Pages) accessShots() []Shot {
	site := &url.URL{Scheme: "https", Host: "wiki.example.org"}
	return []Shot{
		p.shot("access-onward", "access_onward_title", func(f frame) view { return accessOnward(f, site) }),
		p.shot("access-weak", "access_weak_title", func(f frame) view { return accessWeak(f) }),
		p.shot("access-denied", "access_denied_title", func(f frame) view { return accessSays(f, "access_denied") }),
		p.shot("access-over", "access_over_title", func(f frame) view { return accessSays(f, "access_over") }),
	}
}

func (h *Access) says(key string, status int) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		return h.Pages.show(w, status, accessSays(h.Pages.frame(h.Pages.language(r), key+"_title"), key))
	}
}

// afterwards is where somebody goes on who is signed in now: to the site that they wanted to open, if there is one.
func afterwards(r *http.Request, back string) string {
	if name := returnName(back); name != "home" || web.Cookie(r, wishCookie).Empty() {
		return returnPath(name)
	}
	return forwardauth.WishPath
}
