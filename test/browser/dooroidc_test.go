package browser_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"countersign/internal/oidc"
	"countersign/internal/platform/secret"
	"countersign/internal/seconddoor"
	"countersign/internal/testkit/servertest"
)

// bank is an application on another site, with accounts of its own: whoever opens it has just given the right password of u-17. It signs and pushes that, sends
// the browser here, and shows who came back.
func bank(t *testing.T, n *servertest.Node) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, (&jose.SignerOptions{}).WithType("oauth-authz-req+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	var config oauth2.Config
	verifier := oauth2.GenerateVerifier()
	begin := func(ctx context.Context) (string, error) {
		now := time.Now().Unix()
		asks, err := json.Marshal(map[string]any{
			"iss": "bank", "aud": n.URL, "nbf": now, "exp": now + 60, "jti": rand.Text(), "response_type": "code", "redirect_uri": config.RedirectURL, "scope": "openid", "state": "s",
			"code_challenge": oauth2.S256ChallengeFromVerifier(verifier), "code_challenge_method": "S256",
			"login_hint": "u-17", "first_factor": map[string]any{"amr": []string{"pwd"}, "auth_time": now},
		})
		if err != nil {
			return "", err
		}
		signed, err := signer.Sign(asks)
		if err != nil {
			return "", err
		}
		object, err := signed.CompactSerialize()
		if err != nil {
			return "", err
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.URL+"/oauth/par", strings.NewReader(url.Values{"request": {object}}.Encode()))
		if err != nil {
			return "", err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("bank", config.ClientSecret)
		res, err := http.DefaultClient.Do(r) //nolint:forbidigo // a server of the test's own
		if err != nil {
			return "", err
		}
		defer func() { _ = res.Body.Close() }()
		var pushed struct {
			URI string `json:"request_uri"`
		}
		err = json.NewDecoder(res.Body).Decode(&pushed)
		return n.URL + "/authorize?" + url.Values{"client_id": {"bank"}, "request_uri": {pushed.URI}}.Encode(), err
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		say := "Nothing is here"
		switch r.URL.Path {
		case "/":
			link, err := begin(r.Context())
			if err == nil {
				http.Redirect(w, r, link, http.StatusFound)
				return
			}
			say = err.Error()
		case "/callback":
			token, err := config.Exchange(r.Context(), r.URL.Query().Get("code"), oauth2.VerifierOption(verifier))
			if err == nil {
				text, _ := token.Extra("id_token").(string)
				signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
				if err == nil {
					var claims struct {
						Reference string
						AMR       []string
					}
					_ = json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &claims)
					say = "Welcome " + claims.Reference + " by " + strings.Join(claims.AMR, " ")
				}
			} else {
				say = err.Error()
			}
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Bank</title><link rel="icon" href="data:,"><main><h1>%s</h1></main>`, html.EscapeString(say))
	}))
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	origin := "http://localhost:" + port
	token, err := n.Core().Applications.Add(t.Context(), oidc.Client{ID: "bank", Name: "Bank of Ada", RedirectURIs: []string{origin + "/callback"}, Keys: string(keys), SecondDoor: []string{origin}})
	if err != nil {
		t.Fatal(err)
	}
	config = oauth2.Config{
		ClientID: "bank", ClientSecret: token.Reveal(), RedirectURL: origin + "/callback",
		Endpoint: oauth2.Endpoint{AuthURL: n.URL + "/authorize", TokenURL: n.URL + "/oauth/token", AuthStyle: oauth2.AuthStyleInHeader},
	}
	if _, err := n.Core().SecondDoor().Put(t.Context(), seconddoor.Named{App: "bank", Reference: "u-17"}, seconddoor.Contact{Email: theirs, Language: "en"}, secret.Token{}); err != nil {
		t.Fatal(err)
	}
	return origin
}

// An application's own person comes from another site, meets our code once, and the next time is back without having seen anything to do.
func TestTheSecondDoorOnOurPages(t *testing.T) {
	t.Parallel()
	n := site(t)
	b := visit(t, bank(t, n))
	b.open("/")
	b.see("Bank of Ada")
	b.write(code, codeFor(n, theirs))
	b.tick(rememberMe)
	b.press("Continue")
	b.see("Welcome u-17 by pwd")
	b.open("/")
	b.see("Welcome u-17 by pwd swk")
}
