// Command go-oidc is an application without accounts of its own: people sign in at Countersign, by OpenID Connect.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

func main() {
	self := env("SHOP_URL", "http://localhost:3001")
	s, err := newShop(context.Background(), config{
		issuer: env("COUNTERSIGN_URL", "http://localhost:8080"), id: "shop", self: self,
		secret: env("COUNTERSIGN_SECRET", "the-secret-of-the-demo-and-of-nothing-else"),
	})
	if err != nil {
		slog.Error("is Countersign there?", slog.Any("error", err))
		os.Exit(1)
	}
	slog.Info("the shop is open", slog.String("at", self))
	server := &http.Server{Addr: env("SHOP_LISTEN", "localhost:3001"), Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	slog.Error("closed", slog.Any("error", server.ListenAndServe()))
	os.Exit(1)
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

type config struct{ issuer, id, secret, self string }

// shop has its sessions in memory: an application of yours has them where they outlive it.
type shop struct {
	oauth    oauth2.Config
	verifier *oidc.IDTokenVerifier

	mu       sync.Mutex
	begun    map[string]attempt  // by the browser's cookie
	sessions map[string]customer // by the browser's cookie
}

// attempt is a sign-in under way. It is the browser's that began it: what comes back must fit (RFC 9700 section 2.1).
type attempt struct {
	state, nonce, verifier string
	until                  time.Time
}

type customer struct{ ID, ACR string }

const (
	attemptFor = 10 * time.Minute
	most       = 10_000 // attempts at once; more are nobody's customers
)

func newShop(ctx context.Context, c config) (*shop, error) {
	provider, err := oidc.NewProvider(ctx, c.issuer)
	if err != nil {
		return nil, err
	}
	return &shop{
		oauth: oauth2.Config{
			ClientID: c.id, ClientSecret: c.secret, Endpoint: provider.Endpoint(), RedirectURL: c.self + "/callback", Scopes: []string{oidc.ScopeOpenID},
		},
		verifier: provider.Verifier(&oidc.Config{ClientID: c.id}),
		begun:    map[string]attempt{}, sessions: map[string]customer{},
	}, nil
}

func (s *shop) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("GET /signin", s.signIn)
	mux.HandleFunc("GET /callback", s.callback)
	mux.HandleFunc("POST /signout", s.signOut)
	return http.NewCrossOriginProtection().Handler(mux)
}

var page = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Corner Shop</title><h1>Corner Shop</h1>
{{if .ID}}<p>Hello {{.ID}}. What you proved: {{.ACR}}.</p><form method="post" action="/signout"><button>Sign out here</button></form>
{{else}}<p><a href="/signin">Sign in</a></p>{{end}}`))

func (s *shop) home(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	who := s.sessions[cookie(r, "shop")]
	s.mu.Unlock()
	_ = page.Execute(w, who)
}

// signIn leads to Countersign.
func (s *shop) signIn(w http.ResponseWriter, r *http.Request) {
	a := attempt{rand.Text(), rand.Text(), oauth2.GenerateVerifier(), time.Now().Add(attemptFor)}
	browser := rand.Text()
	s.mu.Lock()
	for k, old := range s.begun {
		if time.Now().After(old.until) || len(s.begun) >= most {
			delete(s.begun, k)
		}
	}
	s.begun[browser] = a
	s.mu.Unlock()
	setCookie(w, "shop_attempt", browser, attemptFor)
	http.Redirect(w, r, s.oauth.AuthCodeURL(a.state, oidc.Nonce(a.nonce), oauth2.S256ChallengeOption(a.verifier)), http.StatusFound)
}

// callback takes what Countersign says, once, in the browser that asked.
func (s *shop) callback(w http.ResponseWriter, r *http.Request) {
	browser := cookie(r, "shop_attempt")
	s.mu.Lock()
	a, known := s.begun[browser]
	delete(s.begun, browser)
	s.mu.Unlock()
	setCookie(w, "shop_attempt", "", -1)
	if !known || time.Now().After(a.until) || r.FormValue("state") != a.state {
		http.Error(w, "This sign-in was not begun here, or is too old.", http.StatusBadRequest)
		return
	}
	if r.FormValue("error") != "" { // the person said no
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	who, err := s.customer(r.Context(), a, r.FormValue("code"))
	if err != nil {
		slog.Warn("sign-in", slog.Any("error", err))
		http.Error(w, "That did not work. Please try again.", http.StatusBadGateway)
		return
	}
	session := rand.Text()
	s.mu.Lock()
	s.sessions[session] = who
	s.mu.Unlock()
	setCookie(w, "shop", session, 0)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *shop) customer(ctx context.Context, a attempt, code string) (who customer, err error) {
	token, err := s.oauth.Exchange(ctx, code, oauth2.VerifierOption(a.verifier))
	if err != nil {
		return customer{}, err
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := s.verifier.Verify(ctx, raw)
	if err != nil {
		return customer{}, err
	}
	if id.Nonce != a.nonce {
		return customer{}, errors.New("another sign-in's nonce")
	}
	var claims struct{ ACR string }
	if err := id.Claims(&claims); err != nil {
		return customer{}, err
	}
	return customer{id.Subject, claims.ACR}, nil
}

func (s *shop) signOut(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	delete(s.sessions, cookie(r, "shop"))
	s.mu.Unlock()
	setCookie(w, "shop", "", -1)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func cookie(r *http.Request, name string) string {
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

// setCookie sets a cookie for as long as the browser is open if age is 0. Behind https, set Secure and call it __Host-….
func setCookie(w http.ResponseWriter, name, value string, age time.Duration) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: max(-1, int(age/time.Second))})
}
