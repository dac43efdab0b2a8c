package server

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/platform/config"
	"countersign/internal/testkit"
)

// certified are settings with a certificate for 127.0.0.1 at either listener, made an hour ago, and an authority that vouches for applications.
func certified(t *testing.T, lasts time.Duration) config.Config {
	t.Helper()
	ca := testkit.NewAuthority(t, "Our CA")
	certFile, keyFile := testkit.CertificateFiles(t, ca.Issue(func(c *x509.Certificate) {
		testkit.ForLoopback(c)
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(lasts)
	}))
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, append(ca.PEM(), testkit.NewAuthority(t, "Their CA").PEM()...), 0o600); err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Site.PublicURL = "https://127.0.0.1:8443"
	c.HTTP.TLSCertFile, c.HTTP.TLSKeyFile = certFile, keyFile
	c.OIDC.MTLSListen, c.OIDC.MTLSURL, c.OIDC.MTLSCertFile, c.OIDC.MTLSKeyFile, c.OIDC.MTLSRoots = "127.0.0.1:0", "https://127.0.0.1:9443", certFile, keyFile, roots
	return c
}

const month = 30 * 24 * time.Hour

// What keeps the server from starting is said before, and all at once.
func TestFilesThatAreMissingOrDoNotFitAreSaidAtOnce(t *testing.T) {
	check := func(c config.Config) error {
		t.Helper()
		_, err := Check(t.Context(), c, time.Now)
		return err
	}
	good := certified(t, month)
	if err := check(good); err != nil {
		t.Error(err)
	}
	bad, other := good, certified(t, month)
	bad.HTTP.TLSCertFile, bad.OIDC.MTLSKeyFile, bad.OIDC.MTLSRoots, bad.Place.Database = "nowhere.pem", other.OIDC.MTLSKeyFile, "nowhere-either.pem", "nowhere.mmdb"
	err := check(bad)
	for _, want := range []string{
		"http.tls_cert_file, http.tls_key_file: open nowhere.pem: no such file", "oidc.mtls_cert_file, oidc.mtls_key_file: tls: private key does not match public key",
		"oidc.mtls_roots: stat nowhere-either.pem", "place.database: ",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q among\n%v", want, err)
		}
	}
}

func TestTheDoctorLooksAtCertificates(t *testing.T) {
	part := func(name string, all []Finding) Finding {
		t.Helper()
		for _, f := range all {
			if f.Part == name {
				return f
			}
		}
		t.Fatalf("not looked at: %s", name)
		return Finding{}
	}
	day := time.Now().Add(month).UTC().Format(time.DateOnly)
	if f := part("mtls", Examine(t.Context(), certified(t, month), Deps{Now: time.Now})); f.State != Fine ||
		f.Words != "at 127.0.0.1:0; its certificate is good until "+day+"; authorities that vouch for applications: 2" {
		t.Errorf("%+v", f)
	}
	if all := shown(config.Default(), Deps{Now: time.Now}); len(all) > 0 {
		t.Errorf("there is no such listener: %+v", all)
	}
	elsewhere := func(c *config.Config) { c.Site.PublicURL = "https://id.example.org" }
	for what, c := range map[string]struct {
		lasts  time.Duration
		change func(*config.Config)
		mtls   State
		says   string
		state  State // of the address
	}{
		"the public one is for another":    {month, elsewhere, Fine, "good until " + day, Warning},
		"one that lasts days":              {3 * 24 * time.Hour, nil, Fine, "good until ", Warning},
		"one that ends soon":               {10 * time.Minute, nil, Warning, "good until ", Warning},
		"one that has ended":               {-time.Minute, nil, Broken, "was good until ", Broken},
		"no authority":                     {month, func(c *config.Config) { c.OIDC.MTLSRoots = "" }, Fine, "vouch for applications: 0", Warning},
		"for another host":                 {month, func(c *config.Config) { c.OIDC.MTLSURL = "https://mtls.example.org" }, Warning, "and not for mtls.example.org", Warning},
		"a file of authorities that lacks": {month, func(c *config.Config) { c.OIDC.MTLSRoots = "nowhere.pem" }, Broken, "nowhere.pem", Warning},
		"a key that lacks":                 {month, func(c *config.Config) { c.OIDC.MTLSKeyFile, c.HTTP.TLSKeyFile = "nowhere.pem", "nowhere.pem" }, Broken, "nowhere.pem", Broken},
	} {
		conf := certified(t, c.lasts)
		if c.change != nil {
			c.change(&conf)
		}
		if f := part("mtls", shown(conf, Deps{Now: time.Now})); f.State != c.mtls || !strings.Contains(f.Words, c.says) {
			t.Errorf("%s: %+v", what, f)
		}
		if f := public(conf, Deps{Now: time.Now}); f.State != c.state {
			t.Errorf("%s: %+v", what, f)
		}
	}
	later := func() time.Time { return time.Now().Add(9 * 365 * 24 * time.Hour) }
	if f := part("mtls", shown(certified(t, 100*365*24*time.Hour), Deps{Now: later})); f.State != Warning || !strings.Contains(f.Words, "applications: 0, and 2 whose time it is not") {
		t.Errorf("authorities that are over: %+v", f)
	}
}

// The log says where a server is reached: at the listeners that there are.
func TestTheLogSaysWhereAServerIsReached(t *testing.T) {
	for _, all := range []bool{true, false} {
		c, log := certified(t, month), bytes.Buffer{}
		c.HTTP.TLSCertFile, c.HTTP.TLSKeyFile, c.HTTP.Listen, c.Metrics.Listen = "", "", "127.0.0.1:0", ""
		c.Database.URL, c.Keys.File = config.NewSecret("sqlite:"+filepath.Join(t.TempDir(), "a.db")), filepath.Join(t.TempDir(), "a.key")
		c.Forward.Listen, c.Forward.Rules = "127.0.0.1:0", []string{"https://wiki.example.org/ signed-in"}
		if !all {
			c.Forward.Listen, c.Forward.Rules, c.OIDC.MTLSListen = "", nil, ""
		}
		l, err := Listen(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(t.Context(), c, Deps{Log: slog.New(slog.NewTextHandler(&log, nil)), Now: time.Now, TokenCost: true, Decoys: testkit.FewDecoys})
		if err != nil {
			t.Fatal(err)
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if err := s.Serve(stopped, l); err != nil {
			t.Error(err)
		}
		want := " msg=ready public_url=https://127.0.0.1:8443 listen=" + l.Public.Addr().String()
		if all {
			want += " forward_auth_listen=" + l.Gate.Addr().String() + " mtls_listen=" + l.MTLS.Addr().String()
		}
		if !strings.Contains(log.String(), want+"\n") {
			t.Errorf("the log says\n%s\nwant%s", log.String(), want)
		}
	}
}
