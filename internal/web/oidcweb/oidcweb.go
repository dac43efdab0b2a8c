// Package oidcweb is the OpenID provider's door for programs: metadata, keys, tokens. The pages that people see on the way are in
// package pages.
//
// Nothing here looks at a cookie, so any site's page may call it: a public client that is a page has nowhere else to ask.
package oidcweb

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"countersign/internal/certificate"
	"countersign/internal/dpop"
	"countersign/internal/oidc"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/web"
)

// provider is the OpenID provider.
type provider interface {
	Authenticate(context.Context, oidc.Caller) (oidc.Client, error)
	Exchange(context.Context, oidc.Client, url.Values, oidc.Caller) (oidc.Tokens, error)
	Introspect(context.Context, oidc.Client, secret.Token) (oidc.Fact, error)
	Revoke(context.Context, oidc.Client, secret.Token, netip.Addr) error
	UserInfo(context.Context, secret.Token, oidc.Caller) (map[string]any, error)
	JWKS(context.Context) ([]byte, error)
	Describe() ([]byte, error)
}

// Door is the provider's endpoints. All fields are required but Alias.
type Door struct {
	Log      *slog.Logger
	Provider provider
	Devices  devices
	Requests requests
	Registry registry
	Proofs   *dpop.Service
	Now      func() time.Time
	Issuer   string
	Alias    string // the origin at which clients show certificates, where this is that door
	Source   func(*http.Request) netip.Addr
}

// Open is what other sites' pages may send.
const Open = "/oauth/"

// Mount registers the routes.
func (d *Door) Mount(mux *http.ServeMux) {
	for _, name := range []string{"openid-configuration", "oauth-authorization-server"} {
		mux.Handle("GET /.well-known/"+name, web.Handle(d.Log, d.describe))
	}
	mux.Handle("GET "+string(oidc.JWKSPath), web.Handle(d.Log, d.answering(d.keys)))
	d.mountCalls(mux)
	d.mountRegistry(mux)
	for _, e := range []oidc.Endpoint{oidc.PushPath, oidc.TokenPath, oidc.UserInfoPath, oidc.RevokePath} {
		mux.HandleFunc("OPTIONS "+string(e), preflight)
	}
}

// mountCalls registers what clients call that prove who they are, or show a token.
func (d *Door) mountCalls(mux *http.ServeMux) {
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"POST " + string(oidc.PushPath):       d.push,
		"POST " + string(oidc.TokenPath):      d.token,
		"POST " + string(oidc.IntrospectPath): d.introspect,
		"POST " + string(oidc.RevokePath):     d.revoke,
		"POST " + string(oidc.PairPath):       d.pair,
		"GET " + string(oidc.UserInfoPath):    d.userInfo,
		"POST " + string(oidc.UserInfoPath):   d.userInfo,
	} {
		mux.Handle(pattern, web.Handle(d.Log, d.answering(h)))
	}
}

// preflight lets pages of other sites call: without credentials, for there are none that a browser would add.
func preflight(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	shared(h)
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP")
	h.Set("Access-Control-Max-Age", "3600")
	w.WriteHeader(http.StatusNoContent)
}

func shared(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, DPoP-Nonce")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
}

// answering writes refusals in the words of OAuth. What is not the caller's doing is answered as everywhere.
func (d *Door) answering(h func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if d.Alias == "" {
			shared(w.Header())
		}
		err := h(w, r)
		no, ok := errors.AsType[*oidc.Refusal](err)
		if err != nil && fault.Of(err).Kind == fault.Invalid {
			no, ok = &oidc.Refusal{Word: "invalid_request", Why: "the form has a repeated field, a NUL, or is not UTF-8"}, true
		}
		if of, other := errors.AsType[*web.Refusal](err); other && of.Status == http.StatusUnsupportedMediaType { // RFC 6749 section 5.2 has 400
			no, ok = &oidc.Refusal{Word: "invalid_request", Why: "what was sent is no form"}, true
		}
		if !ok {
			no, ok = unproved(err)
		}
		if !ok {
			return err
		}
		note := fault.NoteOf(err)
		if note == nil { // what is answered says it
			note = []slog.Attr{slog.String("why", no.Why)}
		}
		d.Log.LogAttrs(r.Context(), slog.LevelInfo, "provider refused", append([]slog.Attr{slog.String("request_id", w.Header().Get("X-Request-Id")), slog.String("code", no.Word)}, note...)...)
		return refuse(w, r, no)
	}
}

func refuse(w http.ResponseWriter, r *http.Request, no *oidc.Refusal) error {
	status, scheme := http.StatusBadRequest, ""
	switch no.Word {
	case "invalid_client":
		status = http.StatusUnauthorized
		if scheme = "Basic"; r.Header.Get("Authorization") == "" {
			scheme = ""
		}
	case "invalid_token":
		status, scheme = http.StatusUnauthorized, "Bearer"
	case "insufficient_scope":
		status, scheme = http.StatusForbidden, "Bearer"
	case "invalid_request":
		if r.URL.Path == string(oidc.UserInfoPath) { // RFC 6750 section 3.1
			scheme = "Bearer"
		}
	case "invalid_dpop_proof", "use_dpop_nonce":
		if r.URL.Path == string(oidc.UserInfoPath) { // where tokens are shown, and not asked for (RFC 9449 sections 5 and 7.1)
			status = http.StatusUnauthorized
		}
	}
	if _, proved := shown(r); proved && status != http.StatusBadRequest && no.Word != "invalid_client" {
		scheme = "DPoP"
	}
	if scheme != "" || status == http.StatusUnauthorized {
		if scheme == "" {
			scheme = "Basic" // RFC 9110 wants one with every 401
		}
		challenge := scheme + ` realm="countersign", error="` + no.Word + `", error_description="` + no.Why + `"`
		if scheme == "DPoP" {
			challenge += `, algs="` + dpop.Algorithms + `"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
	}
	return answer(w, status, map[string]string{"error": no.Word, "error_description": no.Why})
}

func answer(w http.ResponseWriter, status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the client may have gone; there is nobody to tell
	return nil
}

// describe is the metadata, and keys the set of public keys. Clients may keep either for five minutes: a new key is published ten
// minutes before it signs.
func (d *Door) describe(w http.ResponseWriter, _ *http.Request) error {
	text, err := d.Provider.Describe()
	return d.public(w, text, err)
}

func (d *Door) keys(w http.ResponseWriter, r *http.Request) error {
	text, err := d.Provider.JWKS(r.Context())
	return d.public(w, text, err)
}

func (d *Door) public(w http.ResponseWriter, text []byte, err error) error {
	if err != nil {
		return err
	}
	shared(w.Header())
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(text)
	return nil
}

// call is a form that a client has sent, with the client.
func (d *Door) call(r *http.Request) (oidc.Client, url.Values, error) {
	form, err := web.Form(r)
	if err != nil {
		return oidc.Client{}, nil, err
	}
	by, err := caller(r, form)
	if err != nil {
		return oidc.Client{}, nil, err
	}
	by.Source, by.Certificate, by.Asked = d.Source(r), d.certificate(r), d.Alias != ""
	c, err := d.Provider.Authenticate(r.Context(), by)
	return c, form, err
}

// caller says in which way a call proves whose it is. In two ways at once is no way (RFC 6749 section 2.3).
func caller(r *http.Request, form url.Values) (oidc.Caller, error) {
	var ways []oidc.Caller
	if id, password, ok := r.BasicAuth(); ok {
		// RFC 6749 section 2.3.1 has both escaped as in a form.
		user, err1 := url.QueryUnescape(id)
		pass, err2 := url.QueryUnescape(password)
		if err := errors.Join(err1, err2); err != nil || form.Get("client_id") != "" && form.Get("client_id") != user {
			return oidc.Caller{}, &oidc.Refusal{Word: "invalid_request", Why: "the client is named in two ways that differ, or not in the form that it takes"}
		}
		ways = append(ways, oidc.Caller{Method: oidc.ByBasic, ID: user, Secret: secret.Of(pass)})
	}
	if form.Has("client_secret") {
		ways = append(ways, oidc.Caller{Method: oidc.ByPost, ID: form.Get("client_id"), Secret: secret.Of(form.Get("client_secret"))})
	}
	if form.Has("client_assertion") {
		ways = append(ways, oidc.Caller{
			Method: oidc.ByAssertion, ID: form.Get("client_id"), Assertion: form.Get("client_assertion"), AssertionType: form.Get("client_assertion_type"),
		})
	}
	switch len(ways) {
	case 0:
		return oidc.Caller{Method: oidc.ByNothing, ID: form.Get("client_id")}, nil
	case 1:
		return ways[0], nil
	}
	return oidc.Caller{}, &oidc.Refusal{Word: "invalid_request", Why: "the client proves who it is in more than one way"}
}

// granted is what the token endpoint answers (RFC 6749 section 5.1).
type granted struct {
	Access  string `json:"access_token"`
	Type    string `json:"token_type"`
	For     int    `json:"expires_in"`
	Refresh string `json:"refresh_token,omitempty"`
	ID      string `json:"id_token,omitempty"`
	Scope   string `json:"scope"`
}

func (d *Door) token(w http.ResponseWriter, r *http.Request) error {
	c, form, by, err := d.proving(w, r)
	if err != nil {
		return err
	}
	t, err := d.Provider.Exchange(r.Context(), c, form, by)
	if err != nil {
		return err
	}
	w.Header().Set("Pragma", "no-cache") // RFC 6749 section 5.1
	return answer(w, http.StatusOK, granted{
		Access: t.Access.Reveal(), Type: tokenType(t.Key), For: int(t.For.Seconds()), Refresh: t.Refresh.Reveal(), ID: t.ID, Scope: strings.Join(t.Scopes, " "),
	})
}

var errToken = &oidc.Refusal{Word: "invalid_request", Why: "token is missing"}

func (d *Door) introspect(w http.ResponseWriter, r *http.Request) error {
	c, form, err := d.call(r)
	if err != nil {
		return err
	}
	if c.Auth == oidc.ByNothing {
		return c.Refused(&oidc.Refusal{Word: "invalid_client", Why: "a client that asks about tokens has to prove who it is"}, "registered for another way (none)")
	}
	if form.Get("token") == "" {
		return errToken
	}
	f, err := d.Provider.Introspect(r.Context(), c, secret.Of(form.Get("token")))
	if err != nil {
		return err
	}
	if !f.Active {
		return answer(w, http.StatusOK, map[string]bool{"active": false})
	}
	var bound *confirmation
	if f.Key != "" || f.Bound != "" {
		bound = &confirmation{f.Key, f.Bound}
	}
	return answer(w, http.StatusOK, known{
		Active: true, Issuer: d.Issuer, Client: f.Client, Audience: f.Client, Scope: strings.Join(f.Scopes, " "), Type: tokenType(f.Key), Bound: bound, Kind: f.Kind + "_token",
		From: f.From.Unix(), To: f.To.Unix(), Subject: f.About.Subject, Time: f.About.Time, ACR: string(f.About.ACR), AMR: f.About.AMR,
	})
}

// confirmation is the key or the certificate that a token is bound to (RFC 7800): who takes the token has to see it proved.
type confirmation struct {
	Key         dpop.Thumbprint        `json:"jkt,omitempty"`
	Certificate certificate.Thumbprint `json:"x5t#S256,omitempty"`
}

// known is what is known of a token (RFC 7662, RFC 9470).
//
//arch:wire
type known struct {
	Active   bool     `json:"active"`
	Issuer   string   `json:"iss"`
	Client   string   `json:"client_id"`
	Audience string   `json:"aud"`
	Scope    string   `json:"scope"`
	Type     string   `json:"token_type"`
	Kind     string   `json:"token_use"`
	From     int64    `json:"iat"`
	To       int64    `json:"exp"`
	Subject  string   `json:"sub"`
	Time     int64    `json:"auth_time,omitempty"` // neither is there of a token that is about nobody
	ACR      string   `json:"acr,omitempty"`
	AMR      []string `json:"amr,omitempty"`

	Bound *confirmation `json:"cnf,omitempty"`
}

func (d *Door) revoke(w http.ResponseWriter, r *http.Request) error {
	c, form, err := d.call(r)
	if err == nil && form.Get("token") == "" {
		err = errToken
	}
	if err == nil {
		err = d.Provider.Revoke(r.Context(), c, secret.Of(form.Get("token")), d.Source(r))
	}
	if err == nil {
		w.WriteHeader(http.StatusOK)
	}
	return err
}

// userInfo takes the token from the header, or from a posted form; never from the query, which ends up in logs (RFC 9700 section 4.3.2).
func (d *Door) userInfo(w http.ResponseWriter, r *http.Request) error {
	token, proved := shown(r)
	if r.Method == http.MethodPost && r.ContentLength != 0 {
		form, err := web.Form(r)
		switch {
		case err != nil:
			return err
		case r.Header.Get("Authorization") == "":
			token = secret.Of(form.Get("access_token"))
		case form.Has("access_token"): // RFC 6750 section 2
			return &oidc.Refusal{Word: "invalid_request", Why: "the access token comes in more than one way"}
		}
	}
	var p dpop.Proof
	if proved {
		var err error
		if p, err = d.proof(r, token); err == nil && p.Key == "" {
			err = &oidc.Refusal{Word: "invalid_dpop_proof", Why: "the DPoP proof is missing"}
		}
		if err != nil {
			return err
		}
	}
	claims, err := d.Provider.UserInfo(r.Context(), token, oidc.Caller{Key: p.Key, Certificate: d.certificate(r)})
	if err == nil {
		err = d.spend(w, r, p)
	}
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, claims)
}
