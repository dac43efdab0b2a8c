package browser_test

import (
	"fmt"
	"html"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"golang.org/x/oauth2"

	"countersign/internal/oidc"
	"countersign/internal/testkit/servertest"
)

// application is one on another site: it sends people to sign in, and shows who came back.
func application(t *testing.T, n *servertest.Node) string {
	t.Helper()
	var config oauth2.Config
	verifier := oauth2.GenerateVerifier()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		say := "Who are you?"
		switch r.URL.Path {
		case "/":
			http.Redirect(w, r, config.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)), http.StatusFound)
			return
		case "/form": // OpenID Connect Core section 3.1.2.1: by a form instead of a link
			link, _ := url.Parse(config.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("prompt", "none")))
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,"><main><form method="post" action="%s/authorize">`, n.URL)
			for name, values := range link.Query() {
				_, _ = fmt.Fprintf(w, `<input type="hidden" name="%s" value="%s">`, html.EscapeString(name), html.EscapeString(values[0]))
			}
			_, _ = fmt.Fprint(w, `<button>Sign in by a form</button></form></main>`)
			return
		case "/callback":
			say = "Refused: " + r.URL.Query().Get("error")
			if code := r.URL.Query().Get("code"); code != "" {
				if token, err := config.Exchange(r.Context(), code, oauth2.VerifierOption(verifier)); err != nil {
					say = err.Error()
				} else if token.Extra("id_token") != nil {
					say = "Welcome to the shop"
				}
			}
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,"><main><h1>%s</h1></main>`, html.EscapeString(say))
	}))
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	origin := "http://localhost:" + port // another site than the server's
	token, err := n.Core().Applications.Add(t.Context(), oidc.Client{ID: "shop", Name: "Corner Shop", RedirectURIs: []string{origin + "/callback"}})
	if err != nil {
		t.Fatal(err)
	}
	config = oauth2.Config{
		ClientID: "shop", ClientSecret: token.Reveal(), RedirectURL: origin + "/callback", Scopes: []string{"openid"},
		Endpoint: oauth2.Endpoint{AuthURL: n.URL + "/authorize", TokenURL: n.URL + "/oauth/token", AuthStyle: oauth2.AuthStyleInHeader},
	}
	return origin
}

// Somebody comes from an application on another site, signs in, agrees, and is back there: though what they sent last was a form,
// whose answer browsers let lead to no other site. The second time nothing is asked.
func TestAnApplicationOnAnotherSite(t *testing.T) {
	for name, script := range map[string]bool{"with JavaScript": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			n := site(t)
			b := visit(t, application(t, n))
			if !script {
				b.noScript()
			}
			b.open("/")
			b.signIn(ada, servertest.Password)
			b.write(code, codeFor(n, ada))
			b.press("Continue")
			b.see("Corner Shop")
			b.press("Allow")
			b.see("Welcome to the shop")
			b.open("/")
			b.see("Welcome to the shop")
			b.open("/form")
			b.press("Sign in by a form")
			b.see("Welcome to the shop")
		})
	}
}
