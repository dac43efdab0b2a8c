package oidc_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/certificate"
	"countersign/internal/dpop"
	"countersign/internal/oidc"
	"countersign/internal/platform/reread"
	"countersign/internal/platform/secret"
	"countersign/internal/testkit"
)

const alias = "https://mtls.example.org"

// mutual has the kit believe an authority. That whoever shows a certificate has its key is the handshake's to prove; what it is good for is decided here.
func (k *kit) mutual() *testkit.Authority {
	k.t.Helper()
	a := testkit.NewAuthority(k.t, "Our CA")
	k.MTLS = certificate.Door{Origin: alias, Roots: &reread.File[*x509.CertPool]{Path: filepath.Join(k.t.TempDir(), "roots.pem"), Parse: certificate.Roots}}
	k.must(os.WriteFile(k.MTLS.Roots.Path, a.PEM(), 0o600))
	_, err := k.MTLS.Roots.Load()
	k.must(err)
	k.m.Throttle.Exempt = append(k.m.Throttle.Exempt, prefix("192.0.2.0/24"))
	return a
}

func shows(c tls.Certificate) certificate.Shown { return certificate.Shown{c.Leaf} }

func named(name, host string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: name, Organization: []string{"Example"}, Country: []string{"DE"}}
		c.DNSNames = []string{host}
	}
}

// jwksOf are the keys of certificates, with the certificates themselves or without.
func jwksOf(t *testing.T, whole bool, all ...tls.Certificate) string {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, c := range all {
		k := jose.JSONWebKey{Key: c.Leaf.PublicKey}
		if whole {
			k.Certificates = []*x509.Certificate{c.Leaf}
		}
		set.Keys = append(set.Keys, k)
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// is has somebody call as a client, and reports the word of the refusal; empty for none.
func (k *kit) is(id string, by oidc.Caller) string {
	k.t.Helper()
	if by.ID, by.Source = id, from; by.Method == "" {
		by.Method = oidc.ByNothing
	}
	_, err := k.Authenticate(k.t.Context(), by)
	return word(err)
}

// RFC 8705 section 2.1: a client is who shows a certificate of its name, that a root of the operator's vouches for now.
func TestAClientByACertificateThatIsVouchedFor(t *testing.T) {
	each(t, func(k *kit) {
		ca, impostor := k.mutual(), testkit.NewAuthority(t, "Our CA")
		for _, c := range []oidc.Client{
			{ID: "by-name", Subject: certificate.Subject{DN: "CN=till,O=Example,C=DE"}},
			{ID: "by-host", Subject: certificate.Subject{DNS: "till.example.com"}},
		} {
			c.Name, c.Auth, c.OwnScopes = "Till", oidc.ByAuthority, []string{"orders:write"}
			k.add(&c)
			right := named("till", "till.example.com")
			if got := k.is(c.ID, oidc.Caller{Certificate: shows(ca.Issue(right))}); got != "" {
				t.Errorf("%s: its own certificate is refused: %s", c.ID, got)
			}
			for what, by := range map[string]oidc.Caller{
				"none":                             {},
				"another client's":                 {Certificate: shows(ca.Issue(named("shop", "shop.example.com")))},
				"over":                             {Certificate: shows(ca.Issue(func(c *x509.Certificate) { right(c); c.NotAfter = time.Now().Add(-time.Minute) }))},
				"of another root of the same name": {Certificate: shows(impostor.Issue(right))},
				"of its own making":                {Certificate: shows(testkit.SelfSigned(t, right))},
				"a server's":                       {Certificate: shows(ca.Issue(func(c *x509.Certificate) { right(c); c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))},
				"that another one vouches for":     {Certificate: certificate.Shown{testkit.SelfSigned(t, right).Leaf, ca.Issue(right).Leaf}},
				"behind another's":                 {Certificate: certificate.Shown{ca.Issue(named("shop", "shop.example.com")).Leaf, ca.Issue(right).Leaf}},
				"the name in a value": {Certificate: shows(ca.Issue(func(c *x509.Certificate) {
					c.Subject = pkix.Name{CommonName: "till,O=Example", Country: []string{"DE"}}
				}))},
				"the name in another kind": {Certificate: shows(ca.Issue(func(c *x509.Certificate) {
					c.Subject, c.EmailAddresses = pkix.Name{CommonName: "till.example.com"}, []string{"till.example.com"}
				}))},
				"with a secret":     {Certificate: shows(ca.Issue(right)), Method: oidc.ByPost, Secret: secret.NewToken("csk")},
				"with an assertion": {Certificate: shows(ca.Issue(right)), Method: oidc.ByAssertion, Assertion: "x", AssertionType: oidc.AssertionType},
			} {
				if got := k.is(c.ID, by); got != "invalid_client" {
					t.Errorf("%s: %s: %q", c.ID, what, got)
				}
			}
		}
		// Two names that the authority has vouched for: both clients' it is.
		both := shows(ca.Issue(func(c *x509.Certificate) {
			named("till", "shop.example.com")(c)
			c.DNSNames = append(c.DNSNames, "till.example.com")
		}))
		if got := k.is("by-host", oidc.Caller{Certificate: both}); got != "" {
			t.Errorf("one of two names: %s", got)
		}
		// The operator stops believing the authority.
		k.must(os.WriteFile(k.MTLS.Roots.Path, impostor.PEM(), 0o600))
		k.must(os.Chtimes(k.MTLS.Roots.Path, time.Time{}, time.Now().Add(time.Hour)))
		if _, err := k.MTLS.Roots.Load(); err != nil || k.is("by-host", oidc.Caller{Certificate: both}) != "invalid_client" {
			t.Errorf("an authority is believed that was taken away: %v", err)
		}
	})
}

// A client that was registered for a certificate is nobody without: neither by the secret that it had before, nor by saying who it is.
func TestNoWayBackFromACertificateToASecret(t *testing.T) {
	each(t, func(k *kit) {
		ca := k.mutual()
		c := oidc.Client{ID: "till", Name: "Till", RedirectURIs: []string{callback}}
		token := k.add(&c)
		if got := k.is("till", oidc.Caller{Method: oidc.ByBasic, Secret: token}); got != "" {
			t.Fatal(got)
		}
		c.Auth, c.Subject = oidc.ByAuthority, certificate.Subject{DNS: "till.example.com"}
		if !k.add(&c).Empty() {
			t.Error("it was given a secret")
		}
		own := shows(ca.Issue(named("till", "till.example.com")))
		for _, m := range []oidc.AuthMethod{oidc.ByBasic, oidc.ByPost, oidc.ByAuthority} {
			if got := k.is("till", oidc.Caller{Method: m, Secret: token, Certificate: own}); got != "invalid_client" {
				t.Errorf("%s: %q", m, got)
			}
		}
		if got := k.is("till", oidc.Caller{}); got != "invalid_client" {
			t.Errorf("by saying so: %q", got)
		}
		if got := k.is("till", oidc.Caller{Certificate: own}); got != "" {
			t.Errorf("by its certificate: %q", got)
		}
		if _, err := k.Renew(t.Context(), "till"); err == nil {
			t.Error("it is given a secret when it asks")
		}
		// And a client with a secret is not who shows a certificate.
		if got := k.is("shop", oidc.Caller{Certificate: own}); got != "invalid_client" {
			t.Errorf("a client with a secret: %q", got)
		}
	})
}

// RFC 8705 section 2.2: a client is who shows the certificate that it has registered, or one of the key that it has, while that is good.
func TestAClientByACertificateOfItsOwn(t *testing.T) {
	each(t, func(k *kit) {
		ca := k.mutual()
		till, shop, next := testkit.SelfSigned(t, named("till", "x")), testkit.SelfSigned(t, named("till", "x")), testkit.SelfSigned(t, named("till", "x"))
		again := ca.Vouch(till.Leaf.PublicKey, named("till", "x")) // of the same key
		over := ca.Vouch(till.Leaf.PublicKey, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
		for _, whole := range []bool{true, false} {
			k.add(&oidc.Client{ID: "till", Name: "Till", Auth: oidc.BySelfSigned, OwnScopes: []string{"orders:write"}, Keys: jwksOf(t, whole, till, next)})
			k.add(&oidc.Client{ID: "other", Name: "Other", Auth: oidc.BySelfSigned, OwnScopes: []string{"orders:write"}, Keys: jwksOf(t, whole, shop)})
			for _, c := range []tls.Certificate{till, next} {
				if got := k.is("till", oidc.Caller{Certificate: shows(c)}); got != "" {
					t.Errorf("its own, with x5c %v: %q", whole, got)
				}
			}
			if got := k.is("till", oidc.Caller{Certificate: certificate.Shown{again}}); (got == "") == whole {
				t.Errorf("another certificate of its key, with x5c %v: %q", whole, got)
			}
			for what, by := range map[string]oidc.Caller{
				"none": {}, "another client's": {Certificate: shows(shop)}, "its own behind another's": {Certificate: certificate.Shown{shop.Leaf, till.Leaf}},
				"that the authority vouches for": {Certificate: shows(ca.Issue(named("till", "x")))}, "over": {Certificate: certificate.Shown{over}},
				"with a secret": {Certificate: shows(till), Method: oidc.ByBasic},
			} {
				if got := k.is("till", by); got != "invalid_client" {
					t.Errorf("%s, with x5c %v: %q", what, whole, got)
				}
			}
		}
		k.clock.Advance(25 * time.Hour)
		if got := k.is("till", oidc.Caller{Certificate: shows(till)}); got != "invalid_client" {
			t.Errorf("one that was good yesterday: %q", got)
		}
	})
}

func (k *kit) exchangeBy(v url.Values, c certificate.Shown, key dpop.Thumbprint) (oidc.Tokens, error) {
	k.t.Helper()
	return k.Exchange(k.t.Context(), k.client, v, oidc.Caller{Certificate: c, Key: key, Source: from})
}

func (k *kit) certified(v url.Values, c certificate.Shown) oidc.Tokens {
	k.t.Helper()
	out, err := k.exchangeBy(v, c, "")
	if err != nil || out.Key != "" {
		k.t.Fatalf("%+v %v", out, err)
	}
	return out
}

// RFC 8705 section 3: a token is bound to the certificate that its client has shown. Without it, or with another, it is worth nothing, whatever else is shown; and resource servers
// are told.
func TestATokenBoundToACertificate(t *testing.T) {
	each(t, func(k *kit) {
		ca := k.mutual()
		own, other := shows(ca.Issue(named("till", "till.example.com"))), shows(ca.Issue(named("till", "till.example.com")))
		files := oidc.Client{ID: "files", Name: "Files", Introspects: true}
		k.add(&files)
		k.client.CertificateBound, k.client.OwnScopes = true, []string{"orders:write"}
		k.add(&k.client)
		code := k.code()
		for what, no := range map[string]struct {
			c    certificate.Shown
			key  dpop.Thumbprint
			word string
		}{"without": {nil, "", "invalid_request"}, "with a key in its place": {nil, mine, "invalid_dpop_proof"}, "with a key beside": {own, mine, "invalid_dpop_proof"}} {
			for _, v := range []url.Values{redeeming(code), inItsOwnName("")} {
				if _, err := k.exchangeBy(v, no.c, no.key); word(err) != no.word {
					t.Errorf("%s, %s: %v", v.Get("grant_type"), what, err)
				}
			}
		}
		out, machine := k.certified(redeeming(code), own), k.certified(inItsOwnName(""), own)
		for _, token := range []oidc.Tokens{out, machine} {
			if f, err := k.Introspect(t.Context(), files, token.Access); err != nil || f.Bound != own.Thumbprint() || f.Key != "" {
				t.Errorf("introspected as %+v, %v", f, err)
			}
		}
		for what, by := range map[string]oidc.Caller{
			"without": {}, "with another": {Certificate: other}, "with a key": {Key: mine}, "with a key beside": {Certificate: own, Key: mine},
			"with its thumbprint as a key": {Key: dpop.Thumbprint(own.Thumbprint())}, "with its mark as a key": {Key: dpop.Thumbprint("x5t#S256:" + own.Thumbprint())},
			"behind another": {Certificate: append(slices.Clone(other), own...)},
		} {
			if _, err := k.UserInfo(t.Context(), out.Access, by); word(err) != "invalid_token" {
				t.Errorf("%s: %v", what, err)
			}
			if info, err := k.UserInfo(t.Context(), out.Access, oidc.Caller{Certificate: own}); err != nil || info["sub"] == "" {
				t.Errorf("with its own: %v %v", info, err)
			}
			if _, err := k.UserInfo(t.Context(), out.Access, by); word(err) != "invalid_token" {
				t.Errorf("%s, from memory: %v", what, err)
			}
			k.clock.Advance(time.Second)
		}
		// This client has a secret: its certificates change, and its refresh tokens take turns. What began to be bound is given to no bearer.
		next := k.certified(refreshing(out.Refresh), other)
		if _, err := k.UserInfo(t.Context(), next.Access, oidc.Caller{Certificate: other}); err != nil || next.Refresh.Empty() {
			t.Errorf("after a new certificate: %+v %v", next, err)
		}
		k.client.CertificateBound = false
		k.add(&k.client)
		k.exchangeRefused("invalid_grant", refreshing(next.Refresh))
		if _, err := k.UserInfo(t.Context(), next.Access, oidc.Caller{}); word(err) != "invalid_token" {
			t.Errorf("what was bound is shown by a bearer: %v", err)
		}
		// One that is bound to nothing, or to a key, stays what it is where a certificate is shown beside.
		plain := k.tokens(redeeming(k.code()))
		if _, err := k.UserInfo(t.Context(), plain.Access, oidc.Caller{Certificate: own}); err != nil {
			t.Error(err)
		}
		keyed := k.bound(redeeming(k.code()))
		if _, err := k.UserInfo(t.Context(), keyed.Access, oidc.Caller{Certificate: own}); word(err) != "invalid_token" {
			t.Errorf("a certificate in the place of a key: %v", err)
		}
		if _, err := k.UserInfo(t.Context(), keyed.Access, oidc.Caller{Certificate: own, Key: mine}); err != nil {
			t.Error(err)
		}
	})
}

// RFC 8705 section 4, A-10.4.5: an app's refresh token is bound to the certificate that it had made for itself, which nobody vouches for, and stays.
func TestARefreshTokenBoundToACertificate(t *testing.T) {
	each(t, func(k *kit) {
		k.mutual()
		k.app()
		k.client.CertificateBound = true
		k.add(&k.client)
		own, thieves := shows(testkit.SelfSigned(t, nil)), shows(testkit.SelfSigned(t, nil))
		first := k.certified(redeeming(k.agreed()), own)
		for what, c := range map[string]certificate.Shown{"without": nil, "with another": thieves} {
			if _, err := k.exchangeBy(refreshing(first.Refresh), c, ""); err == nil {
				t.Errorf("%s it is taken", what)
			}
		}
		for range 2 {
			if next := k.certified(refreshing(first.Refresh), own); !next.Refresh.Empty() {
				t.Error("it takes turns")
			}
		}
		k.tv()
		k.client.CertificateBound = true
		k.add(&k.client)
		p := k.pair()
		k.decide(k.typed(p.User), true)
		if _, err := k.exchangeBy(polling(p), nil, ""); word(err) != "invalid_request" {
			t.Errorf("a device without: %v", err)
		}
		out := k.certified(polling(p), own)
		if _, err := k.exchangeBy(refreshing(out.Refresh), thieves, ""); word(err) != "invalid_grant" {
			t.Errorf("a device's, with another: %v", err)
		}
		k.certified(refreshing(out.Refresh), own)
	})
}

// A key is not announced for a code of a client whose tokens are bound to a certificate: nobody could use it.
func TestNoKeyBesideACertificate(t *testing.T) {
	each(t, func(k *kit) {
		k.mutual()
		k.client.CertificateBound = true
		k.add(&k.client)
		_, _, err := k.Push(t.Context(), k.client, k.query(), oidc.Caller{Key: mine, Source: from})
		k.refused("invalid_request", err)
		if v := k.answer("dpop_jkt", string(mine)); v.Get("error") != "invalid_request" {
			t.Errorf("%v", v)
		}
	})
}

func TestClientsWithCertificatesThatCannotBe(t *testing.T) {
	till := testkit.SelfSigned(t, nil)
	host := certificate.Subject{DNS: "till.example.com"}
	for what, c := range map[string]oidc.Client{
		"without a name":           {Auth: oidc.ByAuthority},
		"with two names":           {Auth: oidc.ByAuthority, Subject: certificate.Subject{DNS: "a.example", IP: "192.0.2.7"}},
		"with a name that is none": {Auth: oidc.ByAuthority, Subject: certificate.Subject{DN: "till"}},
		"a name, and a secret":     {Subject: host},
		"a name, and its own":      {Auth: oidc.BySelfSigned, Keys: jwksOf(t, true, till), Subject: host},
		"without its own":          {Auth: oidc.BySelfSigned},
		"bound to two things":      {Auth: oidc.ByAuthority, Subject: host, DPoP: true, CertificateBound: true},
		"FAPI, bound to two":       {Auth: oidc.ByAuthority, Subject: host, DPoP: true, CertificateBound: true, FAPI: true},
		"nothing, at the door":     {Auth: oidc.ByNothing, SecondDoor: []string{"https://till.example.com"}},
	} {
		c.ID, c.Name, c.RedirectURIs = "till", "Till", []string{callback}
		if c.Check() == nil {
			t.Errorf("%s: taken", what)
		}
	}
	each(t, func(k *kit) {
		bound := oidc.Client{ID: "till", Name: "Till", RedirectURIs: []string{callback}, CertificateBound: true}
		vouched := oidc.Client{ID: "till", Name: "Till", RedirectURIs: []string{callback}, Auth: oidc.ByAuthority, Subject: host}
		for _, c := range []oidc.Client{bound, vouched} {
			if _, err := k.Add(t.Context(), c); word(err) != "oidc_client_invalid" {
				t.Errorf("%s, where nobody is asked for a certificate: %v", c.Auth, err)
			}
		}
		k.MTLS.Origin = alias
		if _, err := k.Add(t.Context(), vouched); word(err) != "oidc_client_invalid" {
			t.Errorf("where no authority is believed: %v", err)
		}
		if _, err := k.Add(t.Context(), bound); err != nil {
			t.Error(err)
		}
	})
}

// FAPI 2.0 section 5.3: both alternatives of each pair. What the profile wants beside holds for either.
func TestFAPIByCertificates(t *testing.T) {
	each(t, func(k *kit) {
		ca := k.mutual()
		own := ca.Issue(named("bank", "bank.example.com"))
		_, jwks := keyPair(t, jose.ES256)
		for name, c := range map[string]oidc.Client{
			"vouched for, bound to it":  {Auth: oidc.ByAuthority, Subject: certificate.Subject{DNS: "bank.example.com"}, CertificateBound: true},
			"vouched for, bound to key": {Auth: oidc.ByAuthority, Subject: certificate.Subject{DNS: "bank.example.com"}},
			"its own, bound to it":      {Auth: oidc.BySelfSigned, Keys: jwksOf(t, true, own), CertificateBound: true},
			"asserted, bound to it":     {Auth: oidc.ByAssertion, Keys: jwks, CertificateBound: true},
		} {
			c.ID, c.Name, c.RedirectURIs, c.Scopes, c.FirstParty, c.FAPI = "bank", "Bank", []string{callback}, []string{"openid", "offline_access"}, true, true
			k.client = c
			k.add(&k.client)
			if k.client.DPoP == k.client.CertificateBound || !k.client.RequirePAR {
				t.Errorf("%s: held to %+v", name, k.client)
			}
			if c.Auth != oidc.ByAssertion {
				if got := k.is("bank", oidc.Caller{Certificate: shows(own)}); got != "" {
					t.Errorf("%s: %s", name, got)
				}
			}
			f := fapi{bank{kit: k}}
			code := f.answered(f.pushes(f.query(), "")).Get("code")
			key := dpop.Thumbprint("")
			if k.client.DPoP {
				key = mine
			}
			if _, err := k.exchangeBy(redeeming(code), nil, ""); err == nil {
				t.Errorf("%s: a bearer's token", name)
			}
			out, err := k.exchangeBy(redeeming(code), shows(own), key)
			k.must(err)
			for range 2 {
				if next, err := k.exchangeBy(refreshing(out.Refresh), shows(own), key); err != nil || !next.Refresh.Empty() {
					t.Errorf("%s: refreshed: %+v %v", name, next, err)
				}
			}
		}
	})
}

// RFC 8705 sections 2.1.2 and 3.4: an application may say so itself where it registers itself, as far as there is such a thing here.
func TestAnApplicationRegistersItsCertificate(t *testing.T) {
	each(t, func(k *kit) {
		m := wiki()
		m.Auth, m.Subject, m.Bound = oidc.ByAuthority, certificate.Subject{DNS: "wiki.example.com"}, true
		_, err := k.Register(t.Context(), k.invited(), m, from)
		k.refused("invalid_client_metadata", err)
		ca := k.mutual()
		e, err := k.Register(t.Context(), k.invited(), m, from)
		k.must(err)
		if text, err := json.Marshal(e.Metadata); err != nil || !e.Secret.Empty() || !strings.Contains(string(text), `"tls_client_auth_san_dns":"wiki.example.com"`) ||
			!strings.Contains(string(text), `"tls_client_certificate_bound_access_tokens":true`) {
			t.Errorf("%s %v", text, err)
		}
		if got := k.is(e.ID, oidc.Caller{Certificate: shows(ca.Issue(named("x", "wiki.example.com")))}); got != "" {
			t.Error(got)
		}
		m.Auth, m.Subject, m.Keys = oidc.BySelfSigned, certificate.Subject{}, json.RawMessage(jwksOf(t, true, testkit.SelfSigned(t, nil)))
		_, err = k.Register(t.Context(), k.invited(), m, from)
		k.must(err)
	})
}

// RFC 8705 section 5: what the metadata says, where there is such a listener and where there is none.
func TestMetadataOfCertificates(t *testing.T) {
	read := func(s *oidc.Service) (m struct {
		Methods []string          `json:"token_endpoint_auth_methods_supported"`
		Bound   bool              `json:"tls_client_certificate_bound_access_tokens"`
		Aliases map[string]string `json:"mtls_endpoint_aliases"`
	},
	) {
		t.Helper()
		text, err := s.Describe()
		if err == nil {
			err = json.Unmarshal(text, &m)
		}
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := read(&oidc.Service{Issuer: issuer}); m.Bound || m.Aliases != nil || slices.Contains(m.Methods, "tls_client_auth") || slices.Contains(m.Methods, "self_signed_tls_client_auth") {
		t.Errorf("without: %+v", m)
	}
	if m := read(&oidc.Service{Issuer: issuer, MTLS: certificate.Door{Origin: alias}}); !m.Bound || slices.Contains(m.Methods, "tls_client_auth") || !slices.Contains(m.Methods, "self_signed_tls_client_auth") {
		t.Errorf("without roots: %+v", m)
	}
	m := read(&oidc.Service{Issuer: issuer, MTLS: certificate.Door{Origin: alias, Roots: &reread.File[*x509.CertPool]{}}})
	if !slices.Contains(m.Methods, "tls_client_auth") || len(m.Aliases) != 6 {
		t.Errorf("with all: %+v", m)
	}
	for name, at := range m.Aliases {
		if !strings.HasPrefix(at, alias+"/oauth/") {
			t.Errorf("%s is at %s", name, at)
		}
	}
}
