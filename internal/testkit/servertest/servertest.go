// Package servertest runs whole nodes in a test, as served to the world: real handlers on a
// real loopback port, a real database, letters in the inbox twin, and every answer watched.
package servertest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/courier/amazon"
	"countersign/internal/courier/inbox"
	"countersign/internal/dpop"
	"countersign/internal/keyring"
	"countersign/internal/notice"
	"countersign/internal/oidc"
	"countersign/internal/platform/config"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/web"
	"countersign/internal/web/bound"
)

// Password is the password of every account made here.
const Password = testkit.Password

// Options shape a node. The zero Options is a node on a fresh SQLite database with a clock of its own.
type Options struct {
	Database string // URL; nodes that share one share Keys too
	Keys     string // as in the key file
	Clock    *dbtest.Clock
	Config   func(*config.Config)
	Wrap     func(http.Handler) http.Handler // around the handler, inside the guard
	TLS      bool                            // https://localhost, with a certificate that only Pin vouches for
	Idle     bool                            // no background work: nothing is sent, polled or pruned
	RealCost bool                            // hash passwords at the configured cost, not at a token one
	Decoys   int                             // testkit.FewDecoys by default
	Topic    func(arn string) (*amazon.Topic, error)
	MTLS     *testkit.Authority // there is a listener for certificates, whose own this one vouches for, and those of applications
}

// Node is a running node.
type Node struct {
	*server.Server

	URL   string // the site's public URL, and where it listens
	Pin   string // of the certificate, as Chromium takes it
	Alias string // where applications show certificates
	Guard *testkit.Guard
	Clock *dbtest.Clock
	Log   *Log
	t     testing.TB
	seen  sync.Map // ids of letters that Wait returned
}

// Start runs a node until the test ends.
func Start(t testing.TB, o Options) *Node {
	t.Helper()
	if o.Database == "" {
		o.Database = dbtest.NewURL(t, sqldb.SQLite)
	}
	if o.Keys == "" {
		o.Keys = keyring.Generate()
	}
	if o.Decoys == 0 {
		o.Decoys = testkit.FewDecoys
	}
	if o.Clock == nil {
		o.Clock = dbtest.NewClock()
	}
	n := &Node{Guard: &testkit.Guard{}, Clock: o.Clock, Log: &Log{}, t: t}
	site := httptest.NewUnstartedServer(nil)
	n.URL = "http://" + site.Listener.Addr().String()
	if o.TLS {
		_, port, _ := net.SplitHostPort(site.Listener.Addr().String())
		n.URL = "https://localhost:" + port
	}
	mutual := n.mutual(&o)
	n.Server = n.open(o)
	if mutual != nil {
		n.serveMutual(mutual)
	}
	n.Guard.SignedIn = n.signedIn
	handler := n.Handler()
	if o.Wrap != nil {
		handler = o.Wrap(handler)
	}
	site.Config.Handler = n.Guard.Watch(t, handler)
	if o.TLS {
		site.StartTLS()
		pin := sha256.Sum256(site.Certificate().RawSubjectPublicKeyInfo)
		n.Pin = base64.StdEncoding.EncodeToString(pin[:])
	} else {
		site.Start()
	}
	working, rest := context.WithCancel(context.Background())
	var work sync.WaitGroup
	if !o.Idle {
		work.Go(func() { n.Work(working) })
	}
	t.Cleanup(func() {
		site.Close()
		rest()
		work.Wait()
		_ = n.Close()
	})
	return n
}

// mutual opens the listener for certificates, and writes it into the settings; nil without one.
func (n *Node) mutual(o *Options) net.Listener {
	n.t.Helper()
	if o.MTLS == nil {
		return nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	n.Alias = "https://" + l.Addr().String()
	certFile, keyFile := testkit.CertificateFiles(n.t, o.MTLS.Issue(testkit.ForLoopback))
	roots := filepath.Join(n.t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, o.MTLS.PEM(), 0o600); err != nil {
		n.t.Fatal(err)
	}
	change := o.Config
	o.Config = func(c *config.Config) {
		c.OIDC.MTLSListen, c.OIDC.MTLSURL, c.OIDC.MTLSCertFile, c.OIDC.MTLSKeyFile, c.OIDC.MTLSRoots = l.Addr().String(), n.Alias, certFile, keyFile, roots
		if change != nil {
			change(c)
		}
	}
	return l
}

func (n *Node) serveMutual(l net.Listener) {
	n.t.Helper()
	srv, err := n.MTLS(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	srv.Handler = n.Guard.Watch(n.t, srv.Handler)
	go func() { _ = srv.ServeTLS(l, "", "") }()
	n.t.Cleanup(func() { _ = srv.Close() })
}

// signedIn is the account whose session a request carries.
func (n *Node) signedIn(r *http.Request) string {
	token := web.Cookie(r, web.SessionCookie)
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token = secret.Of(bearer)
	}
	if shown, ok := strings.CutPrefix(r.Header.Get("Authorization"), "DPoP "); ok {
		token = secret.Of(shown)
		proof, _ := dpop.Read(r.Header.Get("DPoP"), dpop.Request{Method: r.Method, URL: n.URL + r.URL.EscapedPath(), Token: token}, n.Clock.Now()) // or none
		s, _ := n.Core().Sessions.CheckKey(r.Context(), token, proof.Key)
		return string(s.Account)
	}
	if token.WellFormed("cst") { // of an application's, which may know her address: to one that knows her by her id
		claims, _ := n.Core().Applications.UserInfo(r.Context(), token, oidc.Caller{}) // or none
		sub, _ := claims["sub"].(string)
		return sub
	}
	// One that must enrol something first is its owner's too: what they set up has their name on it.
	s, err := n.Core().Sessions.CheckEnrolling(r.Context(), token, bound.Cookies(r)...)
	if err != nil {
		return ""
	}
	return string(s.Account)
}

func (n *Node) open(o Options) *server.Server {
	n.t.Helper()
	c := config.Default()
	c.Site.Name, c.Site.PublicURL = "Example", n.URL
	c.Database.URL = config.NewSecret(o.Database)
	c.Keys.File, c.Keys.Value = filepath.Join(n.t.TempDir(), "unused.key"), config.NewSecret(o.Keys)
	c.Email.Provider, c.Email.From, c.SMS.Provider, c.SMS.From = "inbox", "Example <no-reply@example.com>", "inbox", "+15550100100"
	c.Metrics.Listen = ""
	if o.Config != nil {
		o.Config(&c)
	}
	if err := c.Validate(); err != nil {
		n.t.Fatal(err)
	}
	s, err := server.New(n.t.Context(), c, server.Deps{Log: slog.New(slog.NewJSONHandler(n.Log, nil)), Now: o.Clock.Now, TokenCost: !o.RealCost, Decoys: o.Decoys, Topic: o.Topic})
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// Account makes an account that signs in with any of the names, with Password, and has the guard
// watch for its contact data.
func (n *Node) Account(names ...string) account.ID {
	n.t.Helper()
	id := n.Bare(names...)
	if err := n.Core().Passwords.Set(n.t.Context(), id, Password, nil); err != nil {
		n.t.Fatal(err)
	}
	return id
}

// Bare makes an account without a password.
func (n *Node) Bare(names ...string) (id account.ID) {
	n.t.Helper()
	m := account.New{Language: "en"}
	var reach []string
	for _, name := range names {
		ident, err := account.Parse(name)
		if err != nil {
			n.t.Fatal(err)
		}
		reachable := ident.Kind() != account.Username
		if reachable {
			reach = append(reach, ident.Normal())
		}
		m.Identifiers = append(m.Identifiers, account.NewIdentifier{Identifier: ident, SignsIn: true, Verified: reachable, Notices: reachable, Recovers: reachable})
	}
	err := n.Core().DB.Write(n.t.Context(), func(tx *sqldb.Tx) (err error) {
		id, err = n.Core().Accounts.Create(n.t.Context(), tx, m)
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	for _, contact := range reach {
		n.Guard.AddOf(string(id), contact)
	}
	return id
}

// Wait returns the next letter to an address, as its owner would read it. One that came twice is one: when a test moves the clock past a
// lease before the courier has written down that it sent a letter, the courier sends it again.
func (n *Node) Wait(to string) inbox.Received {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), 10*time.Second)
	defer cancel()
	for {
		got, err := n.Inbox().Wait(ctx, to)
		if err != nil {
			n.t.Fatalf("no letter came: %v", err)
		}
		if _, again := n.seen.LoadOrStore(got.ID, nil); !again {
			return got
		}
	}
}

var sixDigits = regexp.MustCompile(`\b\d{6}\b`)

// Code returns the code in the next letter to an address that has one. Notices, which have a link
// instead, are passed over.
func (n *Node) Code(to string) string {
	n.t.Helper()
	for {
		text := n.Wait(to).Text
		if strings.Contains(text, "#"+notice.LinkPrefix+"_") {
			continue
		}
		if code := sixDigits.FindString(text); code != "" {
			return code
		}
	}
}

// Browser returns a client with a cookie jar of its own that does not follow redirects.
func (n *Node) Browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return &http.Client{Jar: plainJar{jar}, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Log holds what the node logged.
type Log struct {
	mu  sync.Mutex
	all strings.Builder
}

// Write appends.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

// String returns everything logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

var _ io.Writer = (*Log)(nil)
