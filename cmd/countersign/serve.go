package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/config"
	"countersign/internal/server"
	"countersign/internal/web/pages"
)

type serveCmd struct {
	Listen    string `placeholder:"ADDRESS" help:"As http.listen."`
	PublicURL string `name:"public-url" placeholder:"URL" help:"As site.public_url."`
	Database  string `placeholder:"URL" help:"As database.url."`
	KeyFile   string `placeholder:"FILE" help:"As keys.file."`
}

// Help is shown after the flags.
func (serveCmd) Help() string {
	return `Stops on SIGTERM after requests and letters under way are finished.

  countersign serve
  countersign serve --config /etc/countersign.toml
  COUNTERSIGN_DATABASE_URL_FILE=/run/secrets/db countersign serve --listen 0.0.0.0:8080`
}

// Run serves until the context ends.
func (s serveCmd) Run(ctx context.Context, w world, c *cli) error {
	cfg, err := c.settings(w, map[string]string{
		"http.listen": s.Listen, "site.public_url": s.PublicURL, "database.url": s.Database, "keys.file": s.KeyFile,
	})
	if err != nil {
		return err
	}
	return serve(ctx, w, cfg)
}

func serve(ctx context.Context, w world, cfg config.Config) error {
	log, flush := server.NewLog(cfg.Log, w.stderr)
	defer flush()
	notify, watchdog := server.Notifier(w.getenv)
	srv, err := server.New(ctx, cfg, server.Deps{Log: log, Now: w.now, Notify: notify, Watchdog: watchdog})
	if err != nil {
		return err
	}
	if cfg.Email.Provider == "inbox" || cfg.SMS.Provider == "inbox" {
		log.WarnContext(ctx, "letters stay in memory and reach nobody: set email.provider and sms.provider")
	}
	listeners, err := server.Listen(ctx, cfg)
	if err != nil {
		return errors.Join(err, srv.Close())
	}
	go paceCollector(ctx, cfg.Password)
	return srv.Serve(ctx, listeners)
}

type demoCmd struct {
	Port int `default:"8080" help:"Port on localhost; if it is taken, the next free one."`
}

// Help is shown after the flags.
func (demoCmd) Help() string {
	return `Needs no settings and leaves nothing behind.

  countersign demo
  countersign demo --port 9000`
}

// demoPeople are the accounts of the demonstration.
func demoPeople() []person {
	return []person{
		{pages.DemoAccount{Name: "Ada", SignsIn: "ada@example.org", Password: "violet harbour engine 7", Texts: true}, "Codes by text message or e-mail.", []string{"ada@example.org", "+4915123456789"}},
		{pages.DemoAccount{Name: "Grace", SignsIn: "grace@example.org", Password: "compiler moth lighthouse 9"}, "Codes by e-mail only.", []string{"grace@example.org"}},
	}
}

type person struct {
	pages.DemoAccount

	about string
	names []string
}

// Run serves the demonstration until the context ends.
func (d demoCmd) Run(ctx context.Context, w world) error {
	dir, err := os.MkdirTemp("", "countersign-demo-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	public, err := freePort(ctx, d.Port)
	if err != nil {
		return err
	}
	cfg := config.Default()
	cfg.Site.PublicURL = "http://localhost:" + strconv.Itoa(public.Addr().(*net.TCPAddr).Port) //nolint:forcetypeassert // we asked for TCP
	cfg.Database.URL = config.NewSecret("sqlite:" + filepath.Join(dir, "countersign.db"))
	cfg.Keys.File = filepath.Join(dir, "countersign.key")
	cfg.Registration.Mode, cfg.Registration.Claims = "open", []string{"name"}
	if cfg.OIDC.ClientsFile, err = demoApplications(dir); err != nil {
		return errors.Join(err, public.Close())
	}
	listeners := server.Listeners{Public: public}
	if listeners.Gate, err = (&net.ListenConfig{}).Listen(ctx, "tcp", demoGate); err == nil { // another demonstration may have it
		defer func() { _ = listeners.Gate.Close() }()
		cfg.Forward.Listen = demoGate
		cfg.Forward.Rules = []string{"http://notes.localhost:3002/public/ anyone", "http://notes.localhost:3002/ signed-in"}
	} else {
		w.say("countersign: %s is taken, so no proxy can ask this demonstration (examples/caddy-static)", demoGate)
	}
	cfg.Log = config.Log{Format: "text", Level: "warn"}
	log, flush := server.NewLog(cfg.Log, w.stderr)
	defer flush()
	demo := &server.Demo{}
	for _, p := range demoPeople() {
		demo.Accounts = append(demo.Accounts, p.DemoAccount)
	}
	srv, err := server.New(ctx, cfg, server.Deps{Log: log, Now: w.now, Demo: demo})
	if err != nil {
		return errors.Join(err, public.Close())
	}
	for _, p := range demoPeople() {
		if err := seed(ctx, srv.Core(), p); err != nil {
			return errors.Join(err, public.Close(), srv.Close())
		}
	}
	w.say("%s", greeting(cfg.Site.PublicURL))
	return srv.Serve(ctx, listeners)
}

// demoGate is where the proxy of examples/caddy-static asks.
const demoGate = "127.0.0.1:9091"

// demoApplications lists the applications of examples/, whose secret everybody knows.
func demoApplications(dir string) (file string, err error) {
	file = filepath.Join(dir, "applications.toml")
	return file, errors.Join(
		os.WriteFile(filepath.Join(dir, "application.secret"), []byte("the-secret-of-the-demo-and-of-nothing-else"), 0o600),
		os.WriteFile(file, []byte(`[[client]]
id = "photos"
name = "Photos"
second_door = ["http://localhost:3000"]
secret_file = "application.secret"

[[client]]
id = "shop"
name = "Corner Shop"
redirect_uris = ["http://localhost:3001/callback"]
secret_file = "application.secret"
`), 0o600))
}

func seed(ctx context.Context, core *server.Core, p person) error {
	parser := account.Parser{}
	idents, err := vouched(parser, p.names)
	if err != nil {
		return err
	}
	_, err = core.CreateAccount(ctx, server.NewAccount{Identifiers: idents, Password: p.Password, Language: "en"})
	return err
}

func greeting(url string) string {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "\n  Countersign is ready: %s\n\n  Sign in as\n", url)
	for _, p := range demoPeople() {
		_, _ = fmt.Fprintf(&b, "    %-18s  %-27s %s\n", p.SignsIn, p.Password, p.about)
	}
	_, _ = fmt.Fprintf(&b, "\n  Start here:             %s/demo\n  Codes and letters:      %s/demo/inbox\n\n"+
		"  Everything is forgotten when you stop it with Ctrl-C.\n", url, url)
	return b.String()
}

// freePort listens on localhost at port, or at the next free one.
func freePort(ctx context.Context, port int) (l net.Listener, err error) {
	var lc net.ListenConfig
	for p := port; p < port+20; p++ {
		if l, err = lc.Listen(ctx, "tcp", "localhost:"+strconv.Itoa(p)); err == nil {
			return l, nil
		}
	}
	return nil, err
}

type migrateCmd struct {
	DryRun bool `help:"Only say what is missing."`
}

// Help is shown after the flags.
func (migrateCmd) Help() string {
	return `Any number of nodes may run it at once. It refuses a database that the keys do not fit.

  countersign migrate
  countersign migrate --dry-run`
}

// Run migrates.
func (m migrateCmd) Run(ctx context.Context, w world, c *cli) error {
	cfg, err := c.settings(w, nil)
	if err != nil {
		return err
	}
	if m.DryRun {
		missing, err := server.Pending(ctx, cfg, w.now)
		if err != nil {
			return err
		}
		w.say("%d migrations are missing", missing)
		return nil
	}
	cfg.Database.MigrateAtStart = true
	core, flush, err := openCore(ctx, w, cfg)
	if err != nil {
		return err
	}
	defer flush()
	w.say("the schema is up to date")
	return core.Close()
}

// openCore opens the domain for a command. Warnings of its log go to stderr.
func openCore(ctx context.Context, w world, cfg config.Config) (*server.Core, func(), error) {
	cfg.Log = config.Log{Format: "text", Level: "warn"}
	log, flush := server.NewLog(cfg.Log, w.stderr)
	core, err := server.Open(ctx, cfg, server.Deps{Log: log, Now: w.now})
	if err != nil {
		flush()
		return nil, nil, err
	}
	return core, flush, nil
}

type pagesCmd struct {
	Listen string `default:"127.0.0.1:8090" help:"Where to show them."`
}

// Help is shown after the flags.
func (pagesCmd) Help() string {
	return `For whoever changes a page or its words.

  countersign pages
  countersign pages --listen 127.0.0.1:9000`
}

// Run serves the gallery.
func (p pagesCmd) Run(ctx context.Context, w world) error {
	gallery, err := pages.New(pages.Options{Site: "Example", Origin: "https://id.demo.invalid", RPID: "id.demo.invalid", Now: w.now})
	if err != nil {
		return err
	}
	log, flush := server.NewLog(config.Log{Format: "text", Level: "warn"}, w.stderr)
	defer flush()
	mux := http.NewServeMux()
	gallery.Mount(mux, log)
	showGallery(mux, gallery.Gallery())
	return show(ctx, w, p.Listen, "every page", mux)
}

// show serves something to look at until ctx ends.
func show(ctx context.Context, w world, listen, what string, h http.Handler) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	w.say("%s: http://%s/", what, l.Addr())
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() { <-ctx.Done(); _ = srv.Close() }()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// showGallery serves a list of the pages, and each of them.
func showGallery(mux *http.ServeMux, shots []pages.Shot) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprint(w, "<!doctype html><meta charset=utf-8><title>Pages</title><h1>Pages</h1><ul>")
		for _, s := range shots {
			_, _ = fmt.Fprintf(w, "<li>%s:", s.Name)
			for _, lang := range pages.Languages() {
				_, _ = fmt.Fprintf(w, ` <a href="/page/%s/%s">%s</a>`, lang, s.Name, lang)
			}
		}
	})
	mux.HandleFunc("GET /page/{lang}/{name}", func(w http.ResponseWriter, r *http.Request) {
		i := slices.IndexFunc(shots, func(s pages.Shot) bool { return s.Name == r.PathValue("name") })
		if lang := r.PathValue("lang"); i >= 0 && slices.Contains(pages.Languages(), lang) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_ = shots[i].Write(w, lang) // looked at by whoever made it
			return
		}
		http.NotFound(w, r)
	})
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(w world) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("this program was built without its version")
	}
	revision := ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = " " + s.Value[:min(12, len(s.Value))]
		}
	}
	w.say("countersign %s%s %s", info.Main.Version, revision, info.GoVersion)
	return nil
}
