package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	second "countersign/client"
	"countersign/internal/certificate"
	apps "countersign/internal/client"
	"countersign/internal/oidc"
	"countersign/internal/platform/config"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

func ofHost(host string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = []string{host} }
}

// presenting is a client of a node that shows certificates, which may be none.
func presenting(ca *testkit.Authority, own ...tls.Certificate) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate())
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: own}, ForceAttemptHTTP2: true}}
}

// sent is an answer to a call.
type sent struct {
	status int
	body   string
	header http.Header
}

func send(t *testing.T, c *http.Client, method, to string, change func(*http.Request), pairs ...string) sent {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequestWithContext(t.Context(), method, to, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return answerTo(t, c, r, change)
}

func answerTo(t *testing.T, c *http.Client, r *http.Request, change func(*http.Request)) sent {
	t.Helper()
	if change != nil {
		change(r)
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return sent{res.StatusCode, string(text), res.Header}
}

func bearing(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// claiming says in the headers that proxies write that a certificate was shown (RFC 9440, nginx, Envoy, and others).
func claiming(c tls.Certificate, then func(*http.Request)) func(*http.Request) {
	whole := url.QueryEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Leaf.Raw})))
	return func(r *http.Request) {
		r.Header.Set("Client-Cert", ":"+strings.TrimSpace(strings.Join(strings.Fields(whole), ""))+":")
		for _, name := range []string{"X-SSL-Client-Cert", "Ssl-Client-Cert", "X-Client-Cert", "X-Forwarded-Tls-Client-Cert", "X-ARR-ClientCert"} {
			r.Header.Set(name, whole)
		}
		r.Header.Set("X-Forwarded-Client-Cert", `Cert="`+whole+`"`)
		r.Header.Set("X-SSL-Client-Verify", "SUCCESS")
		if then != nil {
			then(r)
		}
	}
}

// RFC 8705 through a whole server: golang.org/x/oauth2, unmodified, gets tokens by a certificate, and they are good with it alone.
func TestCertificatesAtTheirDoor(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			ca := testkit.NewAuthority(t, "Our CA")
			n := servertest.Start(t, servertest.Options{Database: dbtest.NewURL(t, engine), MTLS: ca})
			n.Account("ada@example.org")
			own, other, plain := presenting(ca, ca.Issue(ofHost("shop.example.com"))), presenting(ca, ca.Issue(ofHost("till.example.com"))), presenting(ca)
			right := ca.Issue(ofHost("shop.example.com"))

			c := shopClient()
			c.FirstParty, c.Auth, c.Subject, c.CertificateBound, c.OwnScopes = true, oidc.ByAuthority, certificate.Subject{DNS: "shop.example.com"}, true, []string{"orders:read"}
			s := newShop(t, n, c)
			s.config.Endpoint.TokenURL, s.config.Endpoint.AuthStyle = n.Alias+"/oauth/token", oauth2.AuthStyleInParams
			request := s.to(s.signIn(s.to(s.get(s.config.AuthCodeURL("state-1", oauth2.S256ChallengeOption(s.verifier))), "/signin?for=app"), "ada@example.org", "ada@example.org"), "/authorize/")
			code := s.back(s.get(request)).Get("code")
			token, err := s.config.Exchange(context.WithValue(t.Context(), oauth2.HTTPClient, own), code, oauth2.VerifierOption(s.verifier))
			if err != nil || token.Type() != "Bearer" {
				t.Fatalf("%v %v", token, err)
			}
			token, err = s.config.TokenSource(context.WithValue(t.Context(), oauth2.HTTPClient, own), &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
			if err != nil {
				t.Fatal(err)
			}
			const info, ask = "/oauth/userinfo", "/oauth/token"
			for _, method := range []string{"GET", "POST"} {
				if got := send(t, own, method, n.Alias+info, bearing(token.AccessToken)); got.status != 200 || !strings.Contains(got.body, `"sub"`) {
					t.Errorf("%s with its own: %+v", method, got)
				}
			}
			for what, got := range map[string]sent{
				"with another":                   send(t, other, "GET", n.Alias+info, bearing(token.AccessToken)),
				"without":                        send(t, plain, "GET", n.Alias+info, bearing(token.AccessToken)),
				"without, and a header":          send(t, plain, "GET", n.Alias+info, claiming(right, bearing(token.AccessToken))),
				"at the main door":               send(t, own, "GET", n.URL+info, bearing(token.AccessToken)),
				"at the main door, and a header": send(t, own, "GET", n.URL+info, claiming(right, bearing(token.AccessToken))),
			} {
				if got.status != 401 || !strings.Contains(got.body, "invalid_token") || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer") {
					t.Errorf("userinfo %s: %+v", what, got)
				}
			}
			machine := []string{"grant_type", "client_credentials", "client_id", "shop"}
			for what, got := range map[string]sent{
				"with another":                   send(t, other, "POST", n.Alias+ask, nil, machine...),
				"with another, and a header":     send(t, other, "POST", n.Alias+ask, claiming(right, nil), machine...),
				"without":                        send(t, plain, "POST", n.Alias+ask, nil, machine...),
				"without, and a header":          send(t, plain, "POST", n.Alias+ask, claiming(right, nil), machine...),
				"at the main door":               send(t, own, "POST", n.URL+ask, nil, machine...),
				"at the main door, and a header": send(t, own, "POST", n.URL+ask, claiming(right, nil), machine...),
				"with a secret":                  send(t, own, "POST", n.Alias+ask, nil, append(machine, "client_secret", "x")...),
			} {
				if got.status != 401 || !strings.Contains(got.body, "invalid_client") {
					t.Errorf("a token %s: %+v", what, got)
				}
			}
			got := send(t, own, "POST", n.Alias+ask, nil, machine...)
			var made struct {
				Access string `json:"access_token"`
			}
			if err := json.Unmarshal([]byte(got.body), &made); err != nil || got.status != 200 {
				t.Fatalf("%+v %v", got, err)
			}
			x5t := certificate.Shown{own.Transport.(*http.Transport).TLSClientConfig.Certificates[0].Leaf}.Thumbprint()
			if got = send(t, own, "POST", n.Alias+"/oauth/introspect", nil, "client_id", "shop", "token", made.Access); !strings.Contains(got.body, fmt.Sprintf(`"cnf":{"x5t#S256":%q}`, x5t)) || !strings.Contains(got.body, `"token_type":"Bearer"`) {
				t.Errorf("introspected: %+v", got)
			}
			if got = send(t, own, "POST", n.Alias+"/oauth/revoke", nil, "client_id", "shop", "token", made.Access); got.status != 200 {
				t.Errorf("revoked: %+v", got)
			}
			if got = send(t, own, "POST", n.Alias+"/oauth/introspect", nil, "client_id", "shop", "token", made.Access); got.body != "{\"active\":false}\n" {
				t.Errorf("revoked, introspected: %+v", got)
			}
		})
	}
}

// The second door takes a certificate where certificates are shown (RFC 8705), from whom it was registered with, and no header or id alone.
func TestTheSecondDoorByACertificate(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			ca, others := testkit.NewAuthority(t, "Our CA"), testkit.NewAuthority(t, "Our CA")
			n := servertest.Start(t, servertest.Options{Database: dbtest.NewURL(t, engine), MTLS: ca})
			n.Guard.Add("ada@example.org")
			add := func(c oidc.Client) secret.Token {
				t.Helper()
				token, err := n.Core().Applications.Add(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				return token
			}
			add(oidc.Client{ID: "photos", Name: "Photos", Auth: oidc.ByAuthority, Subject: certificate.Subject{DNS: "photos.example.net"}, SecondDoor: []string{photosPage}})
			add(oidc.Client{ID: "till", Name: "Till", Auth: oidc.ByAuthority, Subject: certificate.Subject{DNS: "till.example.com"}, OwnScopes: []string{"orders:read"}})
			// Which no registration takes.
			n.Core().Applications.Listed = append(n.Core().Applications.Listed, oidc.Client{ID: "page", Name: "Page", Auth: oidc.ByNothing, SecondDoor: []string{photosPage}})
			films := add(oidc.Client{ID: "films", Name: "Films", SecondDoor: []string{"https://films.example.net"}})
			right := ca.Issue(ofHost("photos.example.net"))
			own, plain := presenting(ca, right), presenting(ca)
			call := func(c *http.Client, at, id string, change func(*http.Request)) sent {
				t.Helper()
				r, err := http.NewRequestWithContext(t.Context(), "PUT", at+"/api/v1/door/accounts/u-17", strings.NewReader(`{"email":"ada@example.org","language":"en"}`))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", "application/json")
				r.SetBasicAuth(id, "")
				return answerTo(t, c, r, change)
			}
			if got := call(own, n.Alias, "photos", nil); got.status != 200 || !strings.Contains(got.body, `"opened":true`) {
				t.Fatalf("with its own: %+v", got)
			}
			for what, got := range map[string]sent{
				"without":               call(plain, n.Alias, "photos", nil),
				"without, and a header": call(plain, n.Alias, "photos", claiming(right, nil)),
				"with another's":        call(presenting(ca, ca.Issue(ofHost("till.example.com"))), n.Alias, "photos", nil),
				"with the same name by another authority":    call(presenting(ca, others.Issue(ofHost("photos.example.net"))), n.Alias, "photos", nil),
				"at the main door":                           call(own, n.URL, "photos", nil),
				"at the main door, and a header":             call(own, n.URL, "photos", claiming(right, nil)),
				"of nobody":                                  call(own, n.Alias, "", nil),
				"of one that is not registered for the door": call(presenting(ca, ca.Issue(ofHost("till.example.com"))), n.Alias, "till", nil),
				"of one that proves itself by nothing":       call(own, n.Alias, "page", nil),
				"of one with a secret, which is not there":   call(own, n.Alias, "films", nil),
				"with a secret beside":                       call(own, n.Alias, "photos", func(r *http.Request) { r.SetBasicAuth("photos", "x") }),
			} {
				if got.status != 401 || !strings.Contains(got.body, "client_unproved") {
					t.Errorf("%s: %+v", what, got)
				}
			}
			// A secret is good there as well, and of what the listener is for there is the second door alone.
			if got := call(plain, n.Alias, "", func(r *http.Request) { r.SetBasicAuth("films", films.Reveal()) }); got.status != 200 {
				t.Errorf("with a secret: %+v", got)
			}
			c, err := second.New(second.Config{URL: n.Alias, ID: "photos", HTTP: own, Now: n.Clock.Now})
			if err != nil {
				t.Fatal(err)
			}
			who := second.Person{Address: "192.0.2.7"}
			begun, err := c.Begin(t.Context(), second.Arrival{Reference: "u-17", Person: who})
			if err != nil || begun.Step != "second" {
				t.Fatalf("%+v %v", begun, err)
			}
			if err := c.SendCode(t.Context(), begun.Flow, who, "email"); err != nil {
				t.Fatal(err)
			}
			if passed, err := c.ProveCode(t.Context(), begun.Flow, who, second.Code{Code: n.Code("ada@example.org")}); err != nil || !passed.Allowed {
				t.Errorf("%+v %v", passed, err)
			}
		})
	}
}

// I-05: a version of an app that is refused is refused at this door as well, whatever it shows.
func TestTheRulesForAppsAtTheDoorForCertificates(t *testing.T) {
	ca := testkit.NewAuthority(t, "Our CA")
	n := servertest.Start(t, servertest.Options{MTLS: ca})
	below, err := apps.ParseBound("all")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Core().Clients.Set(t.Context(), "ios", apps.Change{RefuseBelow: &below}); err != nil {
		t.Fatal(err)
	}
	if err := n.Core().Clients.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"ios/2": http.StatusUpgradeRequired, "other/1": http.StatusUnauthorized} {
		got := send(t, presenting(ca), "POST", n.Alias+"/api/v1/door/begin", func(r *http.Request) { r.Header.Set("Countersign-Client", name) })
		if got.status != want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Where certificates are shown there is what the metadata names and the second door, and nothing else; no browser is led there by another site's page; and no header says where a call is from.
func TestTheDoorForCertificates(t *testing.T) {
	ca := testkit.NewAuthority(t, "Our CA")
	n := servertest.Start(t, servertest.Options{MTLS: ca, Config: func(c *config.Config) { c.HTTP.TrustedProxies = []string{"127.0.0.1/32"} }})
	bound := oidc.Client{ID: "till", Name: "Till", Auth: oidc.ByAuthority, Subject: certificate.Subject{DNS: "till.example.com"}, OwnScopes: []string{"orders:write"}}
	if _, err := n.Core().Applications.Add(t.Context(), bound); err != nil {
		t.Fatal(err)
	}
	c := presenting(ca, ca.Issue(ofHost("till.example.com")))
	for _, path := range []string{
		"/", "/signin", "/authorize", "/oauth/logout", "/oauth/jwks", "/oauth/register", "/.well-known/openid-configuration", "/healthz", "/metrics", "/api/v1/session", "/device", "/account", "/reports/csp",
	} {
		for _, method := range []string{"GET", "POST"} {
			if got := send(t, c, method, n.Alias+path, nil); got.status != 404 {
				t.Errorf("%s %s: %d", method, path, got.status)
			}
		}
	}
	ask := []string{"grant_type", "client_credentials", "client_id", "till"}
	good := send(t, c, "POST", n.Alias+"/oauth/token", nil, ask...)
	if good.status != 200 || good.header.Get("Access-Control-Allow-Origin") != "" || good.header.Get("Cross-Origin-Resource-Policy") != "same-origin" {
		t.Errorf("%+v", good)
	}
	for what, change := range map[string]func(*http.Request){
		"another site's page": func(r *http.Request) {
			r.Header.Set("Origin", "https://evil.example")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		},
		"another host":         func(r *http.Request) { r.Host = "evil.example" },
		"the main door's host": func(r *http.Request) { r.Host = strings.TrimPrefix(n.URL, "http://") },
	} {
		if got := send(t, c, "POST", n.Alias+"/oauth/token", change, ask...); got.status != 403 && got.status != 421 {
			t.Errorf("%s: %+v", what, got)
		}
	}
	// A proof names the door that it was sent to (RFC 9449 section 4.2).
	key := testkit.NewDPoP(t, testkit.NewKey(t))
	nonce := ""
	for _, at := range []string{n.Alias, n.Alias, n.URL} {
		got := send(t, c, "POST", n.Alias+"/oauth/token", func(r *http.Request) {
			r.Header.Set("DPoP", key.Proof(testkit.About(n.Clock.Now(), "POST", at+"/oauth/token", "", nonce)))
		}, ask...)
		want := `"token_type":"DPoP"`
		switch {
		case at == n.URL:
			want = "invalid_dpop_proof"
		case nonce == "":
			want = "use_dpop_nonce"
		}
		if nonce = got.header.Get("DPoP-Nonce"); !strings.Contains(got.body, want) {
			t.Errorf("a proof for %s: %+v", at, got)
		}
	}
	limited := false
	for i := range 80 {
		got := send(t, presenting(ca), "POST", n.Alias+"/oauth/token", func(r *http.Request) { r.Header.Set("X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i)) }, ask...)
		limited = limited || got.status == 429
	}
	if !limited {
		t.Error("who guesses names another address with each call, and is not limited")
	}
}

// It is there when the server runs, lets calls under way finish, and is gone with it. Without its certificate the server does not start.
func TestTheDoorForCertificatesComesAndGoes(t *testing.T) {
	ca := testkit.NewAuthority(t, "Our CA")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	_ = free.Close()
	certFile, keyFile := testkit.CertificateFiles(t, ca.Issue(testkit.ForLoopback))
	n := serve(t, func(c *config.Config) {
		c.OIDC.MTLSListen, c.OIDC.MTLSURL, c.OIDC.MTLSCertFile, c.OIDC.MTLSKeyFile = at, "https://"+at, certFile, keyFile
	})
	if got := send(t, presenting(ca), "POST", "https://"+at+"/oauth/token", nil); got.status != 401 {
		t.Errorf("%+v", got)
	}
	if _, text := get(t, client(), n.public+"/.well-known/openid-configuration"); !strings.Contains(text, `"token_endpoint":"https://`+at+`/oauth/token"`) || strings.Contains(text, `"tls_client_auth"`) {
		t.Error(text)
	}
	conf := &tls.Config{RootCAs: presenting(ca).Transport.(*http.Transport).TLSClientConfig.RootCAs, Certificates: []tls.Certificate{testkit.SelfSigned(t, nil)}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for range 2 {
		conn, err := tls.Dial("tcp", at, conf)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: "+at+"\r\nConnection: close\r\n\r\n")
		if _, err := io.ReadAll(conn); err != nil || conn.ConnectionState().DidResume {
			t.Errorf("resumed: %v %v", conn.ConnectionState().DidResume, err)
		}
		_ = conn.Close()
	}
	if err := n.stop(); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", at); err == nil {
		_ = conn.Close()
		t.Error("still listening")
	}
	lost := serve(t, func(c *config.Config) {
		c.OIDC.MTLSListen, c.OIDC.MTLSURL, c.OIDC.MTLSCertFile, c.OIDC.MTLSKeyFile = "127.0.0.1:0", "https://"+at, certFile+"x", keyFile
	})
	if err := lost.stop(); err == nil || !strings.Contains(err.Error(), "oidc.mtls_cert_file") {
		t.Errorf("without its certificate: %v", err)
	}
}

// The file of clients names certificates as RFC 8705 does. What cannot be here keeps the server from starting, and not the client from signing in.
func TestTheFileOfClientsNamesCertificates(t *testing.T) {
	dir := t.TempDir()
	file, roots := filepath.Join(dir, "clients.toml"), filepath.Join(dir, "roots.pem")
	const till = "[[client]]\nid = \"till\"\nname = \"Till\"\nauth = \"tls_client_auth\"\nown_scopes = [\"orders:write\"]\ntls_client_auth_subject_dn = \"CN=till,O=Example\"\ncertificate_bound = true\n"
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(roots, string(testkit.NewAuthority(t, "Our CA").PEM()))
	with := func(change func(*config.Config)) (oidc.Client, error) {
		t.Helper()
		c := settings(t, dbtest.NewURL(t, sqldb.SQLite))
		c.OIDC.ClientsFile, c.OIDC.MTLSListen, c.OIDC.MTLSURL, c.OIDC.MTLSRoots = file, "127.0.0.1:0", "https://mtls.example.org", roots
		change(&c)
		s, err := server.New(t.Context(), c, deps())
		if err != nil {
			return oidc.Client{}, err
		}
		defer func() { _ = s.Close() }()
		return s.Core().Applications.Listed[0], nil
	}
	write(file, till)
	if c, err := with(func(*config.Config) {}); err != nil || c.Auth != oidc.ByAuthority || c.Subject.DN != "CN=till,O=Example" || !c.CertificateBound {
		t.Errorf("%+v %v", c, err)
	}
	write(filepath.Join(dir, "shop.secret"), strings.Repeat("5", 64))
	write(file, "[[client]]\nid = \"shop\"\nname = \"Shop\"\nredirect_uris = [\"https://shop.example.com/callback\"]\nsecret_file = \"shop.secret\"\n")
	if c, err := with(func(c *config.Config) { c.OIDC.MTLSListen, c.OIDC.MTLSRoots = "", "" }); err != nil || c.Auth != oidc.ByBasic {
		t.Errorf("one that names no way, where there are no certificates: %+v %v", c, err)
	}
	write(file, till)
	for want, change := range map[string]func(*config.Config){
		"set oidc.mtls_listen":        func(c *config.Config) { c.OIDC.MTLSListen = "" },
		"set oidc.mtls_roots":         func(c *config.Config) { c.OIDC.MTLSRoots = "" },
		"oidc.mtls_roots: want":       func(c *config.Config) { c.OIDC.MTLSRoots = file },
		"one name of the certificate": func(*config.Config) { write(file, till+"tls_client_auth_san_dns = \"till.example.org\"\n") },
	} {
		if _, err := with(change); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
