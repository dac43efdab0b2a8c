// Package server is the wiring: settings in, one http.Handler out; start and stop.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"countersign/internal/courier"
	"countersign/internal/courier/inbox"
	"countersign/internal/courier/webhook"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/oidc"
	"countersign/internal/platform/config"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/registration"
	"countersign/internal/signin"
	"countersign/internal/web"
	"countersign/internal/web/api"
	"countersign/internal/web/hooks"
	"countersign/internal/web/oidcweb"
	"countersign/internal/web/pages"
)

// Server is a node.
type Server struct {
	core     *Core
	deps     Deps
	handler  http.Handler
	gate     http.Handler // nil unless proxies ask
	mtls     http.Handler // nil unless applications show certificates
	courier  *courier.Courier
	ways     map[message.Channel]courier.Route
	receipts *receipts
	inbox    *inbox.Inbox
	registry *prometheus.Registry
	stopping atomic.Bool
	lacked   string // the key that the log was last told is missing
}

// Demo is the demonstration's pages and the people in them.
type Demo struct{ Accounts []pages.DemoAccount }

// New opens the database and wires everything; nothing runs yet. Close it, or Serve it.
func New(ctx context.Context, c config.Config, d Deps) (*Server, error) {
	core, err := Open(ctx, c, d)
	if err != nil {
		return nil, err
	}
	if err := core.Models.Load(ctx); err != nil { // without it nobody knows which passkeys to take
		return nil, errors.Join(err, core.Close())
	}
	if err := core.EnsureSigningKeys(ctx); err != nil {
		return nil, errors.Join(err, core.Close())
	}
	core.Places.Load(ctx)
	if d.Demo != nil { // no text costs anybody anything, and who tries things out sends many
		core.SignIn.Limits.SendName.Burst, core.SignIn.Limits.SendAccount.Burst = 100, 100
		core.Recovery.Limits.SendName.Burst, core.Recovery.Limits.SendOwner.Burst = 100, 100
		core.Registration.Limits.SendName.Burst = 100
		core.Guard.Rules.Off = true
	}
	if err := core.Clients.Poll(ctx); err != nil { // rules hold from the first request on
		return nil, errors.Join(err, core.Close())
	}
	s := &Server{core: core, deps: d, inbox: &inbox.Inbox{Now: d.Now}}
	if err := errors.Join(s.letters(), s.doors()); err != nil {
		return nil, errors.Join(err, core.Close())
	}
	return s, nil
}

// Core returns the domain the server works on.
func (s *Server) Core() *Core { return s.core }

// Inbox returns what the provider inbox received.
func (s *Server) Inbox() *inbox.Inbox { return s.inbox }

// Handler returns what the public listener serves.
func (s *Server) Handler() http.Handler { return s.handler }

// Gate returns what proxies ask; nil if they are not to.
func (s *Server) Gate() http.Handler { return s.gate }

// Close closes the database of a server that is not served.
func (s *Server) Close() error { return s.core.Close() }

func (s *Server) letters() error {
	words, err := catalog(s.core.Config)
	if err != nil {
		return err
	}
	s.receipts = newReceipts(s.core, newTally(s.core.Config, s.core.Guard.Rules.Prices), s.deps.Log)
	if s.ways, err = routes(s.core.Config, s.deps.Log, s.deps.Now, s.inbox, back{at: reportsAt(s.core.Config), mail: mailAt(s.core.Config), take: s.receipts.take, topic: s.deps.Topic}); err != nil {
		return err
	}
	s.receipts.ways = s.ways
	if b := s.core.Config.Bounces; !b.Secret.Empty() {
		if s.receipts.bounced, err = webhook.NewReader(s.core.Config.Email.Provider, []secret.Token{b.Secret.Token}, s.deps.Now); err != nil {
			return fmt.Errorf("bounces: %w", err)
		}
	}
	suspect, err := s.core.suspects(s.deps.Log, s.receipts.swaps)
	if err != nil {
		return err
	}
	s.courier = courier.New(courier.Options{
		Box: s.core.Outbox, Catalog: words, Routes: s.ways, Log: s.deps.Log, Drain: s.core.Config.HTTP.StopAfter.D(),
		Guard: s.core.Guard, Suspect: suspect, Took: s.receipts.tally.took,
	})
	s.core.Outbox.Wake, s.core.Outbox.Typed = s.courier.Wake, s.receipts.tally.back
	return nil
}

// doors mounts every door on one mux, behind one Front.
func (s *Server) doors() error {
	c, log := s.core.Config, s.deps.Log
	registry, metrics := newRegistry(s.core, log, s.receipts.works)
	s.registry = registry
	registry.MustRegister(s.receipts, s.receipts.total, s.receipts.took, s.receipts.swaps, s.receipts.tally.sent, s.receipts.tally.typed)
	flows, newcomers := count(s.core.SignIn, registry), countNewcomers(s.core.Registration, registry)
	countRecoveries(s.core.Recovery, registry)
	countRefusals(s.core.Guard, registry)
	countTold(s.core.Subscribers, registry)
	clients := c.Clients()
	client := func(r *http.Request) signin.Client {
		return signin.Client{Source: clients.Of(r), UserAgent: r.UserAgent()}
	}
	p, err := pages.New(pages.Options{
		Site: c.Site.Name, Origin: c.Public().String(), Now: s.deps.Now,
		RememberDays: int(c.Device.RememberFor.D() / (24 * time.Hour)), HidePasswordResult: c.SignIn.HidePasswordResult,
		Where: s.core.Notices.Where, EraseDays: int(c.Account.EraseAfter.D() / (24 * time.Hour)),
		Register: s.core.Registration.Admits() == nil, RPID: passkeyHost(s.core.Passkeys.RPID),
		Around: len(c.SMS.Providers()) > 1,
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+web.HealthPath, alive)
	web.MountReports(mux, metrics)
	hooks.Mount(mux, log, s.receipts.arrived)
	p.Mount(mux, log)
	p.MountPasskeys(mux, c.Passkey.Origins)
	way := pages.SignIn{Pages: p, Log: log, Flows: flows, Sessions: s.core.Sessions, Owner: s.core.Owner, Client: client, Bindings: flows, Requests: s.core.Applications}
	if c.Forward.Listen != "" {
		gate := newGate(s.core)
		(&pages.Access{Pages: p, Log: log, Sessions: s.core.Sessions, Gate: gate}).Mount(mux)
		way.Gate, s.gate = gate, gateHandler(c, gate, registry, log)
	}
	way.Mount(mux)
	provider := s.provide(mux, way)
	(&pages.Security{
		Pages: p, Log: log, Sessions: s.core.Sessions, Protection: s.core.Owner, Addresses: s.core.Owner, Factors: s.core.Owner, Ways: s.core.SignIn.Ways, Client: client,
	}).Mount(mux)
	(&pages.Again{SignIn: way}).Mount(mux)
	(&pages.Approve{SignIn: way, Asks: flows, Waits: s.core.Owner}).Mount(mux)
	(&pages.Recover{Pages: p, Log: log, Flows: s.core.Recovery, Client: client, Requests: s.core.Applications}).Mount(mux)
	(&pages.Register{SignIn: way, Registrations: newcomers, Asks: asks(c, s.core.Registration)}).Mount(mux)
	home := &pages.Home{Pages: p, Log: log, Sessions: s.core.Sessions, Owner: s.core.Owner, Holder: s.core.Owner, Client: client}
	home.Mount(mux)
	home.MountApplications(mux, s.core.Applications)
	(&pages.Protect{Pages: p, Log: log, Owner: s.core.Protect, Client: client}).Mount(mux)
	(&pages.Activity{Pages: p, Log: log, Sessions: s.core.Sessions, Past: s.core.Owner, Client: client}).Mount(mux)
	(&pages.Account{Pages: p, Log: log, Sessions: s.core.Sessions, Owner: s.core.Owner, Client: client}).Mount(mux)
	if s.deps.Demo != nil {
		(&pages.Demo{Pages: p, Log: log, Accounts: s.deps.Demo.Accounts, Messages: s.received}).Mount(mux)
	}
	a := &api.API{
		Log: log, Flows: flows, Recovery: s.core.Recovery, Sessions: s.core.Sessions, Proofs: s.core.Proofs, Owner: s.core.Owner, Protect: s.core.Protect,
		Client: client, Now: s.deps.Now, Public: c.Public().String(), Where: s.core.Notices.Where,
		Newcomers: api.Newcomers{Registrations: newcomers, Asks: s.core.Registration.Rules, MinPassword: c.Password.MinLength},
		Door:      s.secondDoor(entrance{source: clients.Of}),
	}
	a.Mount(mux)
	front := &web.Front{
		Log: log, Mux: mux, PublicURL: c.Public(), InternalHosts: c.HTTP.InternalHosts,
		Page: p.Failure, Metrics: metrics, Now: s.deps.Now,
		Apps: &web.Apps{Clients: s.core.Clients, Say: p.AppOutdated, More: c.API.DeprecationURL},
	}
	front.Open("POST "+string(oidc.AuthorizePath), oidcweb.Open)
	s.handler, s.mtls = front, s.mutual(provider, front, flows)
	return nil
}

// asks are what newcomers are asked for.
func asks(c config.Config, r *registration.Service) pages.Asks {
	return pages.Asks{
		Invitation: r.Rules.Mode == registration.Invited, Ways: r.Ways, TermsURL: r.Rules.Terms.URL, TermsVersion: r.Rules.Terms.Version,
		Claims: r.Rules.Claims, MinPassword: c.Password.MinLength, Always: factor.Policy(c.Factor.Policy) != factor.Unrecognised,
	}
}

func (s *Server) received() []pages.Message {
	letters := s.inbox.Messages()
	out := make([]pages.Message, len(letters))
	for i, l := range letters {
		out[i] = pages.Message{At: l.At, Channel: string(l.Channel), To: l.To, Subject: l.Subject, Text: l.Text}
	}
	return out
}

// Work runs what goes on behind the requests until ctx ends: the courier, the sessions' memory,
// the rules for applications, the files that operators replace, pruning, the watchdog. Letters under way are given time to finish.
func (s *Server) Work(ctx context.Context) {
	var wg sync.WaitGroup
	loop := func(name string, run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				s.deps.Log.LogAttrs(ctx, slog.LevelError, "background work ended", slog.String("loop", name), slog.Any("error", err))
			}
		})
	}
	loop("courier", s.deliver)
	loop("receipts", s.receipts.run)
	loop("bounces", s.receipts.returned)
	loop("returns", s.receipts.returns)
	loop("sessions", s.core.Sessions.Run)
	loop("clients", s.core.Clients.Run)
	loop("files", s.files)
	loop("countries", s.countries)
	loop("prune", s.prune)
	loop("notices", s.notices)
	loop("keys", s.keys)
	loop("erasures", s.erasures)
	loop("webhooks", s.core.Subscribers.Run)
	loop("logouts", s.core.Applications.Run)
	if s.deps.Notify != nil && s.deps.Watchdog > 0 {
		loop("watchdog", s.watchdog)
	}
	wg.Wait()
}

// deliver sends letters until ctx ends, and then says goodbye to providers that a connection is kept to.
func (s *Server) deliver(ctx context.Context) error {
	return errors.Join(s.courier.Run(ctx), hangUp(s.ways))
}

// files reads again what operators replace, once a minute.
func (s *Server) files(ctx context.Context) error {
	each(ctx, time.Minute, func() { s.core.ReadFiles(ctx, s.deps.Log) })
	return nil
}

func (s *Server) watchdog(ctx context.Context) error {
	each(ctx, s.deps.Watchdog, func() { s.deps.Notify("WATCHDOG=1") })
	return nil
}

// prune deletes what is over, once a minute: in small transactions, so that none holds SQLite's
// one writer for long, and as many as it takes, so that a flood's rows do not pile up.
func (s *Server) prune(ctx context.Context) error {
	c := s.core
	each(ctx, time.Minute, func() {
		for name, prune := range map[string]func(context.Context, *sqldb.Tx) (int64, error){
			"signin": c.SignIn.Prune, "onetime": c.Codes.Prune, "throttle": c.Throttle.Prune,
			"session": c.Sessions.Prune, "device": c.Devices.Prune, "dpop": c.Proofs.Prune, "passkey": c.Passkeys.Prune, "profile": c.Owner.Prune, "notice": c.Notices.Prune, "account": c.Accounts.Prune,
			"recovery": c.Recovery.Prune, "client": c.Clients.Prune,
			"password": c.Passwords.Prune, "transfer": c.Moves.Prune,
			"registration": c.Registration.Prune, "totp": c.Authenticators.Prune, "approval": c.SignIn.Approvals.Prune,
			"guard": c.Guard.Prune, "oidc": c.Applications.Prune, "subscriber": c.Subscribers.Prune, "seconddoor": c.SecondDoor().Prune,
		} {
			err := c.emptyOut(ctx, prune)
			if err != nil && ctx.Err() == nil {
				s.deps.Log.LogAttrs(ctx, slog.LevelWarn, "prune", slog.String("table", name), slog.Any("error", err))
			}
		}
	})
	return nil
}

// notices tells holders what must not be told in the request that it happened in.
func (s *Server) notices(ctx context.Context) error {
	each(ctx, 5*time.Second, func() {
		err := s.core.DB.Write(ctx, func(tx *sqldb.Tx) error {
			_, err := s.core.SignIn.TellFailures(ctx, tx)
			return err
		})
		if err != nil && ctx.Err() == nil {
			s.deps.Log.LogAttrs(ctx, slog.LevelWarn, "tell holders of failed sign-ins", slog.Any("error", err))
		}
	})
	return nil
}

// keys has this node say that it lacks a key that is about to be used, so that it is not.
func (s *Server) keys(ctx context.Context) error {
	name, err := os.Hostname()
	if err != nil {
		name = "a node without a name"
	}
	node := name + " (process " + strconv.Itoa(os.Getpid()) + ")"
	each(ctx, hear/8, func() {
		_ = s.core.Ring.Object(ctx, s.core.DB, node) // the next one comes at once
		if id := s.core.Ring.Lacking(); id != "" && id != s.lacked {
			s.lacked = id
			s.deps.Log.LogAttrs(ctx, slog.LevelError, "the key file lacks a key that is about to be used: copy it here", slog.String("key", id))
		}
	})
	return nil
}

// erasures erases accounts whose time has come, at once those whose time came while no node ran.
func (s *Server) erasures(ctx context.Context) error {
	erase := func() {
		for n := 1; n > 0; {
			var err error
			if n, err = s.core.Owner.EraseDue(ctx); err != nil {
				if ctx.Err() == nil {
					s.deps.Log.LogAttrs(ctx, slog.LevelWarn, "erase accounts", slog.Any("error", err))
				}
				return
			}
		}
	}
	erase()
	each(ctx, time.Minute, erase)
	return nil
}

// emptyOut calls prune until nothing is left to delete.
func (c *Core) emptyOut(ctx context.Context, prune func(context.Context, *sqldb.Tx) (int64, error)) error {
	for left := int64(1); left > 0; {
		err := c.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
			left, err = prune(ctx, tx)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// each calls f every d until ctx ends.
func each(ctx context.Context, d time.Duration, f func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f()
		}
	}
}

// Listeners are where a server is reached. Watch, Gate, which is for proxies, and MTLS, which is for applications with certificates, may be nil.
type Listeners struct{ Public, Watch, Gate, MTLS net.Listener }

// attrs say in the log where the server is reached.
func (l Listeners) attrs() (out []slog.Attr) {
	for _, one := range []struct {
		name string
		at   net.Listener
	}{{"listen", l.Public}, {"forward_auth_listen", l.Gate}, {"mtls_listen", l.MTLS}} {
		if one.at != nil {
			out = append(out, slog.String(one.name, one.at.Addr().String()))
		}
	}
	return out
}

// Listen opens the addresses in the settings.
func Listen(ctx context.Context, c config.Config) (l Listeners, err error) {
	var lc net.ListenConfig
	var open []net.Listener
	for _, one := range []struct {
		setting, address string
		into             *net.Listener
	}{
		{"http.listen", c.HTTP.Listen, &l.Public},
		{"metrics.listen", c.Metrics.Listen, &l.Watch},
		{"forward_auth.listen", c.Forward.Listen, &l.Gate},
		{"oidc.mtls_listen", c.OIDC.MTLSListen, &l.MTLS},
	} {
		if one.address == "" {
			continue
		}
		if *one.into, err = lc.Listen(ctx, "tcp", one.address); err != nil {
			err = fmt.Errorf("%s: %w", one.setting, err)
			for _, other := range open {
				err = errors.Join(err, other.Close())
			}
			return Listeners{}, err
		}
		open = append(open, *one.into)
	}
	return l, nil
}

// Serve serves until ctx ends. Then it takes no more requests, lets those under way finish (at most
// http.stop_after), lets the courier finish what it has in hand, and closes the database.
func (s *Server) Serve(ctx context.Context, l Listeners) error {
	public, err := s.public(ctx)
	mtls, err2 := s.MTLS(ctx)
	if err = errors.Join(err, err2); err != nil {
		return errors.Join(err, s.Close())
	}
	working, rest := context.WithCancel(context.WithoutCancel(ctx))
	defer rest()
	var work sync.WaitGroup
	work.Go(func() { s.Work(working) })
	failed := make(chan error, 4)
	serve := func(srv *http.Server, l net.Listener) {
		run := srv.Serve
		if srv.TLSConfig != nil {
			run = func(l net.Listener) error { return srv.ServeTLS(l, "", "") }
		}
		if err := run(l); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}
	watch := &http.Server{Handler: s.Watch(), ReadHeaderTimeout: 5 * time.Second, ErrorLog: public.ErrorLog}
	if l.Watch != nil {
		go serve(watch, l.Watch)
	}
	gate := s.gateServer()
	if l.Gate != nil {
		go serve(gate, l.Gate)
	}
	if l.MTLS != nil {
		go serve(mtls, l.MTLS)
	}
	go serve(public, l.Public)
	s.tell("READY=1")
	s.deps.Log.LogAttrs(ctx, slog.LevelInfo, "ready", append([]slog.Attr{slog.String("public_url", s.core.Config.Public().String())}, l.attrs()...)...)
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.stopping.Store(true)
	s.tell("STOPPING=1")
	s.deps.Log.LogAttrs(ctx, slog.LevelInfo, "stopping")
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.core.Config.HTTP.StopAfter.D())
	defer cancel()
	for _, srv := range []*http.Server{public, mtls, gate} {
		if srv.Shutdown(drain) != nil {
			_ = srv.Close() // whoever is left has had their time
		}
	}
	rest()
	work.Wait()
	_ = watch.Close()
	return errors.Join(err, s.Close())
}

func (s *Server) tell(state string) {
	if s.deps.Notify != nil {
		s.deps.Notify(state)
	}
}

// guarded makes the server of a listener that anybody may come to. Its limits keep slow senders from holding it.
func (s *Server) guarded(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(quiet{s.deps.Log.Handler()}, slog.LevelDebug),
	}
}

// public makes the server of the public listener.
func (s *Server) public(ctx context.Context) (*http.Server, error) {
	srv, files := s.guarded(s.handler), publicFiles(s.core.Config)
	if files == nil {
		return srv, nil
	}
	return srv, s.encrypt(ctx, srv, files)
}

// encrypt has a server speak TLS by the certificate in files.
func (s *Server) encrypt(ctx context.Context, srv *http.Server, cert *tlsFiles) error {
	cert.now, cert.complain = s.deps.Now, func(err error) {
		s.deps.Log.LogAttrs(ctx, slog.LevelError, "certificate not renewed; the old one stays in use", slog.String("setting", cert.setting), slog.Any("error", err))
	}
	if _, err := cert.get(nil); err != nil { // now, and not at the first visitor
		return err
	}
	srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.get}
	return nil
}

// passkeyHost is the host that pages may ask for passkeys with: browsers take names alone (WebAuthn, "relying party identifier").
func passkeyHost(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	return host
}
