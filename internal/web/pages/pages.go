// Package pages is what people see: sign-in, code, home, notices, and the demo's inbox.
//
// A page is one struct (views.go), one template and no logic in it. All words stand in words/, once
// per language. Every page works without JavaScript; assets/app.js adds only what a form cannot do,
// such as proving the key of a remembered device. Nothing that was typed is ever sent back.
package pages

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"countersign/internal/factor"
	"countersign/internal/web"
)

//go:embed templates/*.html
var templateFiles embed.FS

// Options are what the pages know of the installation. Origin and Now are required.
type Options struct {
	// Site is the name of what people sign in to; empty leaves it out.
	Site string
	// Origin is the configured public origin ("https://id.example"). Devices sign it; it never comes from a request.
	Origin string
	// RememberDays is how long a device is remembered, as told to people. 0 means 30.
	RememberDays int
	// EraseDays is how long an account is kept whose holder wants it erased, as told to people. 0 means 14.
	EraseDays int
	// Where says in a language roughly where an address of the network is; empty if that is not known. nil knows nothing.
	Where func(from netip.Addr, lang string) string
	Now   func() time.Time
	// MinPassword is the fewest characters of a new password, as told to people. 0 means 15.
	MinPassword int
	// Ways are those a code can leave by; none means all.
	Ways []factor.Way
	// HidePasswordResult is as in the sign-in machine: nobody is told whether the password was right.
	HidePasswordResult bool
	// Around says that there are several providers of text messages, so that another code goes by another.
	Around bool
	// RPID is the host that passkeys are for (WebAuthn). Empty asks for none: they are not for bare IP addresses.
	RPID string
	// Register says that accounts can be opened, so that the sign-in leads there.
	Register bool
}

// Pages renders every page. It is safe for concurrent use.
type Pages struct {
	options   Options
	templates map[string]*template.Template
	words     map[string]words
	assets    assets
}

// New parses all templates and catalogues; a fault in any of them shows here and not at midnight.
func New(o Options) (*Pages, error) {
	if o.RememberDays == 0 {
		o.RememberDays = 30
	}
	if o.MinPassword == 0 {
		o.MinPassword = 15
	}
	if o.EraseDays == 0 {
		o.EraseDays = 14
	}
	p := &Pages{options: o, templates: map[string]*template.Template{}}
	var err error
	if p.words, err = readWords(); err != nil {
		return nil, err
	}
	if p.assets, err = readAssets(); err != nil {
		return nil, err
	}
	all := []view{
		signInView{},
		deviceView{},
		codeView{},
		passkeyView{},
		enrolView{},
		askedView{},
		approveView{},
		refusedView{},
		registerView{},
		registerCodeView{},
		aboutView{},
		welcomeView{},
		homeView{},
		activityView{},
		disavowView{},
		accountView{},
		againView{},
		authorizeView{},
		logoutView{},
		pairView{},
		applicationsView{},
		securityView{},
		passwordView{},
		addressView{},
		addressCodeView{},
		contactView{},
		savedView{},
		appView{},
		backupView{},
		noticeView{},
		protectView{},
		demoView{},
		inboxView{},
	}
	for _, v := range append(all, recoverViews()...) {
		name := v.template()
		t, err := template.New(name).ParseFS(templateFiles, "templates/layout.html", "templates/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("parse page %s: %w", name, err)
		}
		p.templates[name] = t
	}
	return p, nil
}

// Mount registers the style sheet, the script and the pictures.
func (p *Pages) Mount(mux *http.ServeMux, log *slog.Logger) {
	mux.Handle("GET "+assetRoot+"{hash}/{name}", web.Handle(log, p.assets.serve))
}

// render writes one page.
func (p *Pages) render(w io.Writer, v view) error {
	return p.templates[v.template()].ExecuteTemplate(w, "layout", v)
}

// show answers with a page. It is rendered to the end first: a fault half-way is an error and not half a page.
// That it is not to be stored, the Front has said.
func (p *Pages) show(w http.ResponseWriter, status int, v view) error {
	var page bytes.Buffer
	if err := p.render(&page, v); err != nil {
		return fmt.Errorf("render page %s: %w", v.template(), err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.language())
	h.Set("Vary", "Accept-Language")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w) // the browser may have gone; there is nobody to tell
	return nil
}

// frame begins a page in one of our languages.
func (p *Pages) frame(lang, title string) frame {
	f := frame{words: p.words[lang], Lang: lang, Dir: p.words[lang]["language.dir"], Site: p.options.Site, Assets: p.assets.base, Shape: "narrow", where: p.options.Where}
	f.Title = f.say(title)
	if f.Site != "" {
		f.Title += " – " + f.Site
	}
	return f
}
