package server_test

import (
	"crypto/x509"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/certificate"
	"countersign/internal/oidc"
	"countersign/internal/platform/secret"
	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
)

// said is a line of the log.
type said struct {
	Msg    string
	Code   string
	ID     string `json:"request_id"`
	Why    string
	Client string
}

// refusalOf is what the log says of an answer's refusal.
func refusalOf(t *testing.T, n *servertest.Node, a sent) said {
	t.Helper()
	for line := range strings.Lines(n.Log.String()) {
		var s said
		if err := json.Unmarshal([]byte(line), &s); err == nil && s.ID == a.header.Get("X-Request-Id") && strings.HasSuffix(s.Msg, "refused") {
			return s
		}
	}
	t.Errorf("the log says nothing of %+v", a)
	return said{}
}

// sameFor is an answer without what differs each time.
func sameFor(a sent) string {
	return strings.ReplaceAll(a.body, a.header.Get("X-Request-Id"), "") + a.header.Get("Www-Authenticate") + a.header.Get("Content-Length")
}

// The log says why a client was refused, and which it was, if there is one; whoever calls hears the same whatever it was.
func TestTheLogSaysWhyAClientWasRefused(t *testing.T) {
	ca, others := testkit.NewAuthority(t, "Our CA"), testkit.NewAuthority(t, "Our CA")
	n := servertest.Start(t, servertest.Options{MTLS: ca})
	_, photos := photos(t, n)
	assert := asserting(t, n)
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: testkit.SelfSigned(t, ofHost("till")).Leaf.PublicKey}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []oidc.Client{
		{ID: "films", Name: "Films", Auth: oidc.ByAuthority, Subject: certificate.Subject{DNS: "films.example.net"}, SecondDoor: []string{"https://films.example.net"}},
		{ID: "shop", Name: "Shop", RedirectURIs: []string{"https://shop.example.com/callback"}, Auth: oidc.ByAuthority, Subject: certificate.Subject{DNS: "shop.example.com"}},
		{ID: "till", Name: "Till", Auth: oidc.BySelfSigned, SecondDoor: []string{"https://till.example.net"}, Keys: string(keys)},
	} {
		if _, err := n.Core().Applications.Add(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	n.Core().Applications.Listed = append(n.Core().Applications.Listed, oidc.Client{ID: "page", Name: "Page", Auth: oidc.ByNothing, SecondDoor: []string{photosPage}})
	plain := presenting(ca)
	films := func(a *testkit.Authority, change func(*x509.Certificate)) *http.Client {
		return presenting(ca, a.Issue(func(c *x509.Certificate) {
			c.DNSNames = []string{"films.example.net"}
			change(c)
		}))
	}
	as := func(id string) string { return basicOf(id, secret.Of("")) }
	used := assert(func(map[string]any) {})
	over := n.Clock.Now().Add(-48 * time.Hour)
	foreign := strings.Split(assert(func(map[string]any) {}), ".")
	foreign[2] = strings.Split(used, ".")[2]
	call := func(c *http.Client, at, authorization string) sent {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "PUT", at+"/api/v1/door/accounts/u-17", strings.NewReader(`{"email":"ada@example.org","language":"en"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		return answerTo(t, c, r, nil)
	}
	if got := call(plain, n.URL, used); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	claim := func(name string, value any) string { return assert(func(c map[string]any) { c[name] = value }) }
	var answers []string
	for why, one := range map[string]struct {
		client        *http.Client
		at            string
		authorization string
		id            string
	}{
		"the call names no client":                     {plain, n.URL, "", ""},
		"no client of this id is registered":           {plain, n.URL, basicOf("nobody-knows-me", secret.Of("typed-secret")), ""},
		"the secret is another":                        {plain, n.URL, basicOf("photos", secret.Of("typed-secret")), "photos"},
		"registered for another way (private_key_jwt)": {plain, n.URL, basicOf("bank", secret.Of("typed-secret")), "bank"},
		"registered for another way (none)":            {plain, n.Alias, as("page"), "page"},
		"the assertion cannot be read, is of an algorithm that is not taken, or has no iss": {plain, n.URL, "Bearer css_AAAA", ""},
		"its signature fits none of the client's keys":                                      {plain, n.URL, strings.Join(foreign, "."), "bank"},
		"the assertion was used before":                                                     {plain, n.URL, used, "bank"},
		"the assertion is for another audience":                                             {plain, n.URL, claim("aud", "https://elsewhere.example"), "bank"},
		"the assertion is for no audience, or for several":                                  {plain, n.URL, claim("aud", []string{n.URL, "https://elsewhere.example"}), "bank"},
		"the assertion has expired":                                                         {plain, n.URL, claim("exp", over.Unix()), "bank"},
		"the assertion has no exp":                                                          {plain, n.URL, claim("exp", 0), "bank"},
		"the assertion lasts too long":                                                      {plain, n.URL, claim("exp", n.Clock.Now().Add(time.Hour).Unix()), "bank"},
		"the assertion's nbf or iat is to come: is a clock wrong?":                          {plain, n.URL, claim("iat", n.Clock.Now().Add(time.Hour).Unix()), "bank"},
		"the assertion's iss and sub are not both the client's id":                          {plain, n.URL, claim("sub", "photos"), "bank"},
		"no jti":                          {plain, n.URL, claim("jti", ""), "bank"},
		"the assertion's jti is too long": {plain, n.URL, claim("jti", strings.Repeat("x", 129)), "bank"},
		"this listener asks for no certificates: oidc.mtls_url":                  {plain, n.URL, as("films"), "films"},
		"no certificate was shown":                                               {plain, n.Alias, as("films"), "films"},
		"the certificate has expired (" + over.UTC().Format(time.DateOnly) + ")": {films(ca, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = over.Add(-time.Hour), over }), n.Alias, as("films"), "films"},
		"no authority of oidc.mtls_roots vouches for the certificate":            {films(others, func(*x509.Certificate) {}), n.Alias, as("films"), "films"},
		"the certificate is not for clients (clientAuth)":                        {films(ca, testkit.ForLoopback), n.Alias, as("films"), "films"},
		"the certificate has not the name that was registered":                   {presenting(ca, ca.Issue(ofHost("shop.example.com"))), n.Alias, as("films"), "films"},
		"the certificate is none of the client's jwks":                           {presenting(ca, testkit.SelfSigned(t, ofHost("till"))), n.Alias, as("till"), "till"},
		"not registered for the second door":                                     {presenting(ca, ca.Issue(ofHost("shop.example.com"))), n.Alias, as("shop"), "shop"},
	} {
		got := call(one.client, one.at, one.authorization)
		answers = append(answers, sameFor(got))
		if s := refusalOf(t, n, got); got.status != 401 || s.Code != "client_unproved" || s.Why != why || s.Client != one.id {
			t.Errorf("%s: %d %s: the log has %+v", why, got.status, got.body, s)
		}
	}
	if len(slices.Compact(answers)) != 1 || !strings.Contains(answers[0], `Basic realm="countersign", Bearer realm="countersign"`) {
		t.Errorf("a stranger is told what it was, or not how to call:\n%s", strings.Join(answers, ""))
	}
	for _, typed := range []string{"nobody-knows-me", "typed-secret", "css_AAAA", photos, strings.TrimPrefix(used, "Bearer "), "elsewhere.example"} {
		if strings.Contains(n.Log.String(), typed) {
			t.Errorf("the log repeats %s", typed)
		}
	}
}

// So it is where tokens are asked for.
func TestTheLogSaysWhyAClientGotNoToken(t *testing.T) {
	ca := testkit.NewAuthority(t, "Our CA")
	n := servertest.Start(t, servertest.Options{MTLS: ca})
	assert := asserting(t, n)
	if _, err := n.Core().Applications.Add(t.Context(), oidc.Client{ID: "till", Name: "Till", Auth: oidc.ByAuthority, Subject: certificate.Subject{DNS: "till.example.com"}, OwnScopes: []string{"orders:write"}}); err != nil {
		t.Fatal(err)
	}
	n.Core().Applications.Listed = append(n.Core().Applications.Listed, oidc.Client{ID: "page", Name: "Page", Auth: oidc.ByNothing})
	plain := presenting(ca)
	claim := func(name string, value any) []string {
		return []string{"client_assertion_type", oidc.AssertionType, "client_assertion", strings.TrimPrefix(assert(func(c map[string]any) { c[name] = value }), "Bearer ")}
	}
	var answers []string
	for why, one := range map[string]struct {
		at, id string
		form   []string
	}{
		"the call names no client":                           {n.URL, "", nil},
		"no client of this id is registered":                 {n.URL, "", []string{"client_id", "nobody-knows-me", "client_secret", "typed-secret"}},
		"registered for another way (private_key_jwt)":       {n.URL, "bank", []string{"client_id", "bank", "client_secret", "typed-secret"}},
		"client_id and the assertion's iss differ":           {n.URL, "", append(claim("aud", "x"), "client_id", "till")},
		"client_assertion_type is not " + oidc.AssertionType: {n.URL, "bank", append(claim("aud", "x")[2:], "client_assertion_type", "typed-type")},
		"no jti": {n.URL, "bank", claim("jti", nil)},
		"this listener asks for no certificates: oidc.mtls_url": {n.URL, "till", []string{"client_id", "till"}},
		"no certificate was shown":                              {n.Alias, "till", []string{"client_id", "till"}},
	} {
		got := send(t, plain, "POST", one.at+"/oauth/token", nil, append([]string{"grant_type", "client_credentials"}, one.form...)...)
		answers = append(answers, sameFor(got))
		if s := refusalOf(t, n, got); got.status != 401 || s.Code != "invalid_client" || s.Why != why || s.Client != one.id {
			t.Errorf("%s: %d %s: the log has %+v", why, got.status, got.body, s)
		}
	}
	if len(slices.Compact(answers)) != 1 {
		t.Errorf("a stranger is told what it was:\n%s", strings.Join(answers, ""))
	}
	if log := n.Log.String(); strings.Contains(log, "typed-") || strings.Contains(log, "nobody-knows-me") {
		t.Error("the log repeats what was typed")
	}
	// Of other refusals it says what is answered, as before, and by which id the log knows the request.
	got := send(t, plain, "POST", n.URL+"/oauth/token", nil, "client_id", "page", "grant_type", "nothing")
	if s := refusalOf(t, n, got); s.Code != "unsupported_grant_type" || s.Why == "" {
		t.Errorf("%+v", s)
	}
	got = send(t, plain, "POST", n.URL+"/oauth/introspect", nil, "client_id", "page", "token", "x")
	if s := refusalOf(t, n, got); s.Client != "page" || s.Why != "registered for another way (none)" {
		t.Errorf("%+v", s)
	}
}

// What cannot be answered to an application is said on a page to whoever makes it, and why in the log.
func TestTheLogSaysWhyARequestWasRefused(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Idle: true})
	for _, c := range []oidc.Client{
		{ID: "shop", Name: "Shop", RedirectURIs: []string{"https://shop.example.com/callback"}},
		{ID: "till", Name: "Till", RedirectURIs: []string{"https://till.example.com/callback"}, RequirePAR: true},
	} {
		if _, err := n.Core().Applications.Add(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	const nobody = "client_id is missing, repeated, or of no application that is registered"
	for query, want := range map[string]struct{ code, why, client, page string }{
		"client_id=nobody-knows-me":          {"oidc_request_invalid", nobody, "", "there is no application with this client_id here"},
		"":                                   {"oidc_request_invalid", nobody, "", "there is no application with this client_id here"},
		"client_id=shop&client_id=shop":      {"oidc_request_invalid", nobody, "", "there is no application with this client_id here"},
		"client_id=till":                     {"oidc_request_invalid", "the client pushes its requests", "till", "or its request is not in order"},
		"client_id=shop&redirect_uri=typed-": {"oidc_redirect_unregistered", "the redirect URI is missing, or none of the client's", "shop", "redirect_uri is missing"},
	} {
		got := send(t, &http.Client{Timeout: 10 * time.Second}, "GET", n.URL+"/authorize?response_type=code&"+query, nil)
		s := refusalOf(t, n, got)
		if got.status != 422 || s.Code != want.code || s.Why != want.why || s.Client != want.client || !strings.Contains(got.body, "For them: ") || !strings.Contains(got.body, want.page) {
			t.Errorf("%s: %d, the log has %+v:\n%s", query, got.status, s, got.body)
		}
	}
	if log := n.Log.String(); strings.Contains(log, "typed-") || strings.Contains(log, "nobody-knows-me") {
		t.Error("the log repeats what was typed")
	}
}
