package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Maker is a made-up Google or Apple: a root and what it signed.
type Maker struct {
	t             testing.TB
	now           time.Time
	Root, Between *x509.Certificate
	RootKey, Key  *ecdsa.PrivateKey
}

// NewMaker makes one whose certificates hold for an hour before and after now.
func NewMaker(t testing.TB, now time.Time) *Maker {
	t.Helper()
	m := &Maker{t: t, now: now, RootKey: ecdsaKey(t), Key: ecdsaKey(t)}
	m.Root = m.Sign(m.Authority("Root", 1), nil, &m.RootKey.PublicKey, m.RootKey)
	m.Between = m.Sign(m.Authority("Between", 0xabc), m.Root, &m.Key.PublicKey, m.RootKey)
	return m
}

// Authority is what a certificate of one that signs others says.
func (m *Maker) Authority(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: m.now.Add(-time.Hour), NotAfter: m.now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

// Sign makes a certificate; without by it signs itself.
func (m *Maker) Sign(c, by *x509.Certificate, public any, key *ecdsa.PrivateKey) *x509.Certificate {
	m.t.Helper()
	if by == nil {
		by = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, public, key)
	if err != nil {
		m.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		m.t.Fatal(err)
	}
	return made
}

// Roots are what is believed of the maker.
func (m *Maker) Roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(m.Root)
	return p
}

// Chain is of a key, with an extension in its own certificate.
func (m *Maker) Chain(public any, id asn1.ObjectIdentifier, value []byte) [][]byte {
	leaf := m.Sign(&x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Key"}, NotBefore: m.now.Add(-time.Hour), NotAfter: m.now.Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: id, Value: value}},
	}, m.Between, public, m.Key)
	return [][]byte{leaf.Raw, m.Between.Raw, m.Root.Raw}
}

func der(t testing.TB, v any, params string) []byte {
	t.Helper()
	b, err := asn1.MarshalWithParams(v, params)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// KeyDescription is the extension in which Android describes a key.
func KeyDescription() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 1, 17}
}

// AndroidApp and AppleApp are our own app.
const (
	AndroidApp = "org.example.app"
	AppleApp   = "TEAM123456.org.example.app"
)

// AppSigner is the digest of the certificate that signs our app.
func AppSigner() []byte {
	d := sha256.Sum256([]byte("the certificate that signs the app"))
	return d[:]
}

// Keystore is what an Android phone says of a key.
type Keystore struct {
	Level, KeystoreLevel asn1.Enumerated
	Challenge            []byte
	Purposes             []int
	Origin               int
	Locked               bool
	Boot                 asn1.Enumerated
	Packages             []string
	Digests              [][]byte
	InSoftware           bool // what hardware should say
	Behind               []byte
}

// HonestKeystore is of a key of AndroidApp that an Android phone made for a challenge.
func HonestKeystore(challenge []byte) Keystore {
	return Keystore{
		Level: 1, KeystoreLevel: 1, Challenge: challenge, Purposes: []int{2}, Locked: true,
		Packages: []string{AndroidApp}, Digests: [][]byte{AppSigner()},
	}
}

type list []asn1.RawValue

func (l list) with(t testing.TB, tag int, inner []byte) list {
	return append(l, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, IsCompound: true, Bytes: inner})
}

// Describe is the extension of the key.
func (k Keystore) Describe(t testing.TB) []byte {
	t.Helper()
	type pkg struct {
		Name    []byte
		Version int
	}
	type app struct {
		Packages []pkg    `asn1:"set"`
		Digests  [][]byte `asn1:"set"`
	}
	a := app{Digests: k.Digests}
	for _, name := range k.Packages {
		a.Packages = append(a.Packages, pkg{[]byte(name), 4})
	}
	trust := struct {
		Key    []byte
		Locked bool
		State  asn1.Enumerated
		Hash   []byte
	}{make([]byte, 32), k.Locked, k.Boot, make([]byte, 32)}
	hard := list{}.with(t, 1, der(t, k.Purposes, "set")).with(t, 2, der(t, 3, "")).with(t, 702, der(t, k.Origin, "")).with(t, 704, der(t, trust, ""))
	soft := list{}.with(t, 701, der(t, 1234567890, "")).with(t, 709, der(t, der(t, a, ""), ""))
	if k.InSoftware {
		soft, hard = slices.Concat(hard, soft), list{}
	}
	type description struct {
		Version         int
		Level           asn1.Enumerated
		KeystoreVersion int
		KeystoreLevel   asn1.Enumerated
		Challenge       []byte
		UniqueID        []byte
		Software        list
		Hardware        list
	}
	return append(der(t, description{200, k.Level, 200, k.KeystoreLevel, k.Challenge, []byte{}, soft, hard}, ""), k.Behind...)
}

// ApplePhone is one of Apple's, as it answers for an app's key.
type ApplePhone struct {
	App, Model string
	Count      uint32
	ID         []byte
	Format     string
}

// HonestApple is one with our app, which was never used.
func HonestApple() ApplePhone {
	return ApplePhone{App: AppleApp, Model: "appattest\x00\x00\x00\x00\x00\x00\x00", Format: "apple-appattest"}
}

func (p ApplePhone) data(key *ecdsa.PrivateKey) []byte {
	point, _ := key.PublicKey.Bytes()
	id := sha256.Sum256(point)
	if p.ID == nil {
		p.ID = id[:]
	}
	rp := sha256.Sum256([]byte(p.App))
	d := append(rp[:], 0x40)
	d = binary.BigEndian.AppendUint32(d, p.Count)
	d = append(d, p.Model...)
	d = binary.BigEndian.AppendUint16(d, uint16(len(p.ID)))
	return append(append(d, p.ID...), 0xa0)
}

// Attest is what Apple says of an app's key. challenge is the clientDataHash.
func (p ApplePhone) Attest(t testing.TB, apple *Maker, key *ecdsa.PrivateKey, challenge []byte) []byte {
	t.Helper()
	data := p.data(key)
	nonce := sha256.Sum256(slices.Concat(data, challenge))
	value := der(t, struct {
		Nonce []byte `asn1:"explicit,tag:1"`
	}{nonce[:]}, "")
	chain := apple.Chain(&key.PublicKey, asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 8, 2}, value)
	b, err := cbor.Marshal(map[string]any{"fmt": p.Format, "attStmt": map[string]any{"x5c": chain[:2], "receipt": []byte("r")}, "authData": data})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ecdsaKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
