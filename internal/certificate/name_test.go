package certificate_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"net/url"
	"strings"
	"testing"

	"countersign/internal/certificate"
	"countersign/internal/testkit"
)

func made(t *testing.T, change func(*x509.Certificate)) certificate.Shown {
	t.Helper()
	return certificate.Shown{testkit.SelfSigned(t, change).Leaf}
}

// encoded is a name in parts, each a kind with a value in an encoding of its own.
func encoded(t *testing.T, parts ...pkix.AttributeTypeAndValue) func(*x509.Certificate) {
	t.Helper()
	var n pkix.RDNSequence
	for _, p := range parts {
		n = append(n, pkix.RelativeDistinguishedNameSET{p})
	}
	raw, err := asn1.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *x509.Certificate) { c.RawSubject = raw }
}

func text(kind asn1.ObjectIdentifier, tag int, value string) pkix.AttributeTypeAndValue {
	return pkix.AttributeTypeAndValue{Type: kind, Value: asn1.RawValue{Tag: tag, Bytes: []byte(value)}}
}

// RFC 8705 section 2.1.2: the name in the certificate is that which was registered, part by part. How it was encoded and written does not count; everything else does.
func TestDistinguishedNames(t *testing.T) {
	var (
		cn, c, org = asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{2, 5, 4, 6}, asn1.ObjectIdentifier{2, 5, 4, 10}
		shop       = made(t, func(x *x509.Certificate) {
			x.Subject = pkix.Name{CommonName: "shop", Organization: []string{"Example"}, Country: []string{"DE"}}
		})
		utf8 = made(t, encoded(t, text(c, asn1.TagPrintableString, "DE"), text(org, asn1.TagUTF8String, "Example"), text(cn, asn1.TagUTF8String, "shop")))
		wide = made(t, encoded(t, text(c, asn1.TagPrintableString, "DE"), text(org, asn1.TagPrintableString, "Example"), text(cn, asn1.TagBMPString, "\x00s\x00h\x00o\x00p")))
	)
	for _, s := range []certificate.Shown{shop, utf8, wide} {
		for _, same := range []string{
			"CN=shop,O=Example,C=DE", "cn=shop, o = Example , c=DE", "2.5.4.3=shop,O=Example,C=DE", "CN=#0c0473686f70,O=Example,C=DE", `CN=s\68\6Fp,O=Example,C=DE`,
		} {
			if err := certificate.CheckSubject(certificate.Subject{DN: same}); err != nil || !s.Names(certificate.Subject{DN: same}) {
				t.Errorf("%s is not the same: %v", same, err)
			}
		}
		for _, other := range []string{
			"C=DE,O=Example,CN=shop", "O=Example,CN=shop,C=DE", "CN=Shop,O=Example,C=DE", "CN=shop ,O=Example Inc,C=DE", "CN=shop,O=Example", "CN=shop", "O=Example,C=DE", "CN=shop+O=Example,C=DE",
			"CN=shop,O=Example,C=DE,C=DE", "CN=shop,CN=shop,O=Example,C=DE", "OU=shop,O=Example,C=DE", `CN=shop\00,O=Example,C=DE`, `CN=shop\ ,O=Example,C=DE`, `CN=shop\,O=Example,C=DE`,
			"CN=ѕhop,O=Example,C=DE", // Cyrillic
		} {
			if err := certificate.CheckSubject(certificate.Subject{DN: other}); err != nil || s.Names(certificate.Subject{DN: other}) {
				t.Errorf("%s is taken for the same, or for no name: %v", other, err)
			}
		}
	}
	// An authority that writes what it is sent vouches for a value with a comma in it: that is one value.
	forged := made(t, encoded(t, text(c, asn1.TagPrintableString, "DE"), text(cn, asn1.TagUTF8String, "shop,O=Example")))
	if forged.Names(certificate.Subject{DN: "CN=shop,O=Example,C=DE"}) || !forged.Names(certificate.Subject{DN: `CN=shop\,O=Example,C=DE`}) {
		t.Error("a comma in a value is taken for one between parts")
	}
	both := made(t, func(x *x509.Certificate) {
		raw, err := asn1.Marshal(pkix.RDNSequence{{text(cn, asn1.TagUTF8String, "shop"), text(org, asn1.TagUTF8String, "Example")}})
		if err != nil {
			t.Fatal(err)
		}
		x.RawSubject = raw
	})
	if !both.Names(certificate.Subject{DN: "O=Example+CN=shop"}) || !both.Names(certificate.Subject{DN: "CN=shop+O=Example"}) || both.Names(certificate.Subject{DN: "CN=shop,O=Example"}) {
		t.Error("a part of two attributes")
	}
	for what, s := range map[string]certificate.Shown{
		"no certificate": nil, "without a name": made(t, func(x *x509.Certificate) { x.Subject = pkix.Name{} }),
		"a value that is no text": made(t, encoded(t, text(cn, asn1.TagT61String, "sh\xf6p"))),
	} {
		if s.Names(certificate.Subject{DN: "CN=shop"}) || s.Names(certificate.Subject{}) {
			t.Error(what)
		}
	}
	for _, none := range []string{"CN", "=x", "CN=", "XX=y", "CN=a;O=b", `CN="a"`, `CN=\zz`, `CN=a\`, "CN=a,", "CN=a+", ",CN=a", "CN=#", "CN=#zz", "CN=#0201", "CN=#020101", `CN=\ff`, "1=a", "2.5.4.03=a", " "} {
		if certificate.CheckSubject(certificate.Subject{DN: none}) == nil {
			t.Errorf("%q is taken for a name", none)
		}
	}
}

// One kind of name is never taken for another, and of several of one kind each counts: who vouches for the certificate vouches for each.
func TestAlternativeNames(t *testing.T) {
	uri, _ := url.Parse("spiffe://example.org/shop")
	two := made(t, func(c *x509.Certificate) {
		c.DNSNames, c.URIs, c.EmailAddresses = []string{"api.example.org", "*.shop.example.org", "Till.example.org"}, []*url.URL{uri}, []string{"Shop@example.org"}
		c.IPAddresses = []net.IP{net.ParseIP("192.0.2.7"), net.ParseIP("2001:db8::7")}
	})
	for _, is := range []certificate.Subject{
		{DNS: "api.example.org"}, {DNS: "till.EXAMPLE.org"}, {URI: "spiffe://example.org/shop"}, {IP: "192.0.2.7"}, {IP: "::ffff:192.0.2.7"}, {IP: "2001:db8:0::7"}, {Email: "Shop@example.org"},
	} {
		if !two.Names(is) {
			t.Errorf("%+v is not in it", is)
		}
	}
	for _, not := range []certificate.Subject{
		{},
		{DNS: "example.org"},
		{DNS: "a.shop.example.org"},
		{DNS: "spiffe://example.org/shop"},
		{DNS: "192.0.2.7"},
		{URI: "https://api.example.org"},
		{URI: "spiffe://example.org/Shop"},
		{IP: "192.0.2.8"},
		{Email: "shop@example.org"},
		{Email: "api.example.org"},
		{DN: "CN=api.example.org"},
		{DNS: "api.example.org", IP: "192.0.2.7"},
	} {
		if two.Names(not) {
			t.Errorf("%+v is taken to be in it", not)
		}
	}
}

// An operator reads the name that is compared, whatever way it was typed in.
func TestANameIsWrittenAsItIsCompared(t *testing.T) {
	for typed, want := range map[string]string{
		"CN = photos, O = Photos Ltd": "CN=photos,O=Photos Ltd", "cn=shop,2.5.4.10=Example,1.2.3=x": "CN=shop,O=Example,1.2.3=x", "O=b+CN=a": "O=b+CN=a", "CN=a+O=b": "O=b+CN=a",
		`CN=\20a\, b\20,O=\#1`: `CN=\ a\, b\ ,O=\#1`, `CN=a\0a\e2\80\ae`: `CN=a\0a\e2\80\ae`, "CN=#0c0473686f70": "CN=shop", `CN=\20`: `CN=\ `,
	} {
		got, ok := certificate.Written(typed)
		if again, _ := certificate.Written(got); !ok || got != want && !strings.Contains(typed, "+") || again != got {
			t.Errorf("%s is written %s, and that %s", typed, got, again)
		}
	}
	if got, ok := certificate.Written("photos"); ok || got != "" {
		t.Error(got)
	}
}

func FuzzDistinguishedName(f *testing.F) {
	for _, one := range []string{"CN=shop,O=Example,C=DE", `CN=s\68op+O=\,`, "CN=#0c0473686f70"} {
		f.Add(one)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_ = certificate.CheckSubject(certificate.Subject{DN: text})
		if got, ok := certificate.Written(text); ok {
			if again, ok := certificate.Written(got); !ok || again != got {
				t.Errorf("%q is written %q, and that %q", text, got, again)
			}
		}
	})
}
