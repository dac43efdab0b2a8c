// Package forwardauth is where proxies ask whether a request may pass (forward-auth), and the few addresses on the sites' own hosts by which
// browsers get there. It is served on a listener of its own, which the public does not reach: what a proxy says of a request is believed.
package forwardauth

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"countersign/internal/access"
	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/session"
	"countersign/internal/web"
)

// Gate decides.
type Gate interface {
	Decide(ctx context.Context, a access.Asked, p access.Proof) (access.Decision, error)
	Wish(host, to string, entry secret.Token) (string, error)
	Enter(host, ticket string, entry secret.Token) (pass secret.Token, to string, err error)
}

// Door answers proxies and the browsers behind them. All fields are required but Count.
type Door struct {
	Gate   Gate
	Log    *slog.Logger
	Public string // our origin, where people sign in
	// Count is told each verdict; "failed" is trouble of ours.
	Count func(verdict string)
}

// The paths where proxies ask.
const (
	// Path takes X-Forwarded-Method, X-Forwarded-Host and X-Forwarded-Uri, as Traefik and Caddy send them.
	Path = "/forward-auth"
	// Bare is Path for proxies that pass no redirect on, nginx and HAProxy: what they make of 401 and 403 is theirs, and Location says where
	// a person goes on, if it is one who asks.
	Bare = "/forward-auth/bare"
	// Envoy takes the request's own method and host, and its path behind this one.
	Envoy = "/forward-auth/envoy"
)

// Where the public host has a page for who is turned away, and for who carries what is no good any more.
const (
	WishPath   = "/access"
	DeniedPath = "/access/denied"
	OverPath   = "/access/over"
)

const (
	passCookie  = "__Host-cs_pass"  // of a site's host
	entryCookie = "__Host-cs_entry" // there too, while its browser is on the way
	entryFor    = 20 * time.Minute  // longer than a wish is good for
)

// Headers are what an application is told. Each is in every answer that lets a request pass, empty where there is nothing to say: so what a
// client sent by these names is overwritten.
var Headers = []string{"Remote-User", "Remote-Groups", "Remote-Email", "Remote-Assurance"} //nolint:gochecknoglobals // a constant

// Handler serves the listener.
func (d *Door) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(Path, func(w http.ResponseWriter, r *http.Request) { d.ask(w, r, forwarded, false) })
	mux.HandleFunc(Bare, func(w http.ResponseWriter, r *http.Request) { d.ask(w, r, forwarded, true) })
	mux.HandleFunc(Envoy+"/", func(w http.ResponseWriter, r *http.Request) { d.ask(w, r, prefixed, false) })
	mux.HandleFunc("GET "+access.BeginPath, d.begin)
	mux.HandleFunc("GET "+access.EnterPath, d.enter)
	mux.HandleFunc("GET "+access.LeavePath, d.leave)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer") // wishes and tickets stand in addresses
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		mux.ServeHTTP(w, r)
	})
}

// forwarded reads what Traefik and Caddy say of a request. Each header must stand there once: two are the client's and the proxy's.
func forwarded(r *http.Request) (a access.Asked, ok bool) {
	one := func(name string) string {
		v := r.Header[name]
		if len(v) != 1 || strings.Contains(v[0], ",") && name != "X-Forwarded-Uri" {
			return ""
		}
		return v[0]
	}
	a = access.Asked{Method: one("X-Forwarded-Method"), Host: one("X-Forwarded-Host"), Path: one("X-Forwarded-Uri")}
	return a, a.Method != "" && a.Host != "" && a.Path != ""
}

func prefixed(r *http.Request) (access.Asked, bool) {
	return access.Asked{Method: r.Method, Host: r.Host, Path: strings.TrimPrefix(r.RequestURI, Envoy)}, true
}

func (d *Door) ask(w http.ResponseWriter, r *http.Request, read func(*http.Request) (access.Asked, bool), bare bool) {
	a, ok := read(r)
	if !ok {
		d.Log.LogAttrs(r.Context(), slog.LevelWarn, "a proxy's question cannot be read: it must set X-Forwarded-Method, X-Forwarded-Host and X-Forwarded-Uri, once each")
		say(w, http.StatusBadRequest, "X-Forwarded-Method, X-Forwarded-Host and X-Forwarded-Uri are wanted, once each")
		return
	}
	got, err := d.Gate.Decide(r.Context(), a, access.Proof{Pass: web.Cookie(r, passCookie), Token: bearer(r)})
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.count(string(got.Verdict))
	switch got.Verdict {
	case access.Allowed:
		h := w.Header()
		h.Set(Headers[0], string(got.Account))
		h.Set(Headers[1], strings.Join(got.Groups, ","))
		h.Set(Headers[2], got.Email)
		h.Set(Headers[3], string(got.Level))
		w.WriteHeader(http.StatusOK)
	case access.Unsigned, access.Weak:
		d.turn(w, r, turned{status: http.StatusUnauthorized, to: got.Mend, bare: bare, navigates: navigates(r, a)})
	case access.Odd:
		say(w, http.StatusBadRequest, "this path can be read in two ways; ask for the plain one")
	default:
		d.turn(w, r, turned{status: http.StatusForbidden, to: d.Public + DeniedPath, bare: bare, navigates: navigates(r, a)})
	}
}

// turned is how a request is turned away.
type turned struct {
	status    int
	to        string // where a person goes on
	bare      bool
	navigates bool
}

func (d *Door) turn(w http.ResponseWriter, r *http.Request, t turned) {
	if t.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer`) // RFC 9110 section 15.5.2
	}
	switch {
	case t.navigates && t.bare:
		w.Header().Set("Location", t.to)
	case t.navigates:
		http.Redirect(w, r, t.to, http.StatusFound)
		return
	}
	say(w, t.status, http.StatusText(t.status))
}

// say answers with a line, which a proxy may show or replace.
func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}

// navigates reports whether a browser would show what it gets: a script, a socket or a form that was sent must not be led elsewhere.
func navigates(r *http.Request, a access.Asked) bool {
	if a.Method != http.MethodGet && a.Method != http.MethodHead || r.Header.Get("Upgrade") != "" {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

func (d *Door) count(verdict string) {
	if d.Count != nil {
		d.Count(verdict)
	}
}

func (d *Door) fail(w http.ResponseWriter, r *http.Request, err error) {
	d.count("failed")
	d.Log.LogAttrs(r.Context(), slog.LevelWarn, "a request behind a proxy could not be judged", slog.String("code", fault.Of(err).Code), slog.Any("error", err))
	w.Header().Set("Retry-After", "5")
	say(w, http.StatusServiceUnavailable, "try again in a moment")
}

// begin sends a browser that is on a site's host to ours.
func (d *Door) begin(w http.ResponseWriter, r *http.Request) {
	entry := secret.NewToken(access.EntryPrefix)
	wish, err := d.Gate.Wish(r.Host, r.URL.Query().Get("to"), entry)
	if err != nil {
		d.misdirected(w, r, err)
		return
	}
	web.SetCookie(w, entryCookie, entry, entryFor)
	http.Redirect(w, r, d.Public+WishPath+"?wish="+wish, http.StatusFound) // our origin, by configuration
}

// enter lets a browser in that comes back.
func (d *Door) enter(w http.ResponseWriter, r *http.Request) {
	pass, to, err := d.Gate.Enter(r.Host, r.URL.Query().Get("ticket"), web.Cookie(r, entryCookie))
	if errors.Is(err, access.ErrOver) {
		http.Redirect(w, r, d.Public+OverPath, http.StatusFound)
		return
	}
	if err != nil {
		d.misdirected(w, r, err)
		return
	}
	web.SetCookie(w, entryCookie, secret.Token{}, -1)
	web.SetCookie(w, passCookie, pass, 0)
	http.Redirect(w, r, to, http.StatusFound) // a path of this site: see access.Wish
}

// leave forgets the pass at this site, and leads to where people are asked whether they want to sign out: as long as they have not, the site
// opens again at once.
func (d *Door) leave(w http.ResponseWriter, r *http.Request) {
	web.SetCookie(w, passCookie, secret.Token{}, -1)
	http.Redirect(w, r, d.Public+string(oidc.LogoutPath), http.StatusFound)
}

func (d *Door) misdirected(w http.ResponseWriter, r *http.Request, err error) {
	if !errors.Is(err, access.ErrUnknown) {
		d.fail(w, r, err)
		return
	}
	say(w, http.StatusMisdirectedRequest, "no rule of forward_auth.rules names this host")
}

// bearer returns an app's token of ours. Applications have tokens of their own in the same header, which are not looked at.
func bearer(r *http.Request) secret.Token {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token := secret.Of(text); ok && token.WellFormed(session.Prefix) {
		return token
	}
	return secret.Token{}
}
