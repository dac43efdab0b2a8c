package dbsc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/dbsc"
	"countersign/internal/testkit"
)

func spki(t *testing.T, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// say signs the challenge c with a key that no browser would have, or in a way that none does.
func say(t *testing.T, by jose.SigningKey, jwk any) string {
	t.Helper()
	o := (&jose.SignerOptions{}).WithType("dbsc+jwt")
	if jwk != nil {
		o = o.WithHeader("jwk", jwk)
	}
	signer, err := jose.NewSigner(by, o)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(`{"jti":"c"}`))
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// longRSA is a key of 4484 bits that takes no time to find: its primes are Mersenne's.
func longRSA() *rsa.PrivateKey {
	one := big.NewInt(1)
	mersenne := func(n uint) *big.Int { return new(big.Int).Sub(new(big.Int).Lsh(one, n), one) }
	p, q := mersenne(2203), mersenne(2281)
	k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, Primes: []*big.Int{p, q}}
	k.D = new(big.Int).ModInverse(big.NewInt(65537), new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)))
	return k
}

// Chromium makes P-256 keys where it can, and RSA keys where the security chip has no others.
func TestProofsOfBothKinds(t *testing.T) {
	for name, k := range map[string]testkit.BoundKey{"P-256": testkit.NewBoundKey(t), "RSA": testkit.NewBoundRSAKey(t, 2048)} {
		challenge, key, err := dbsc.Enrolment(k.Enrol("c-1"))
		if err != nil || challenge != "c-1" || string(key) != string(spki(t, k.Public())) {
			t.Errorf("%s: enrolment of %q: %v", name, challenge, err)
		}
		if challenge, err = dbsc.Challenge(k.Sign("c-2"), key); err != nil || challenge != "c-2" {
			t.Errorf("%s: proof over %q: %v", name, challenge, err)
		}
	}
}

func TestWhatIsNoProof(t *testing.T) {
	k, other, chip := testkit.NewBoundKey(t), testkit.NewBoundKey(t), testkit.NewBoundRSAKey(t, 2048)
	key := spki(t, k.Public())
	good := k.Sign("c")
	head, rest, _ := strings.Cut(good, ".")
	for name, proof := range map[string]string{
		"none":              "",
		"rubbish":           "a.b.c",
		"another's key":     other.Sign("c"),
		"a key of its own":  other.Enrol("c"), // which a proof that brings one must not put in place of ours
		"another algorithm": chip.Sign("c"),
		"no signature":      head + "." + strings.Split(rest, ".")[0] + ".",
		"unsigned":          "eyJhbGciOiJub25lIiwidHlwIjoiZGJzYytqd3QifQ.eyJqdGkiOiJjIn0.",
		"another kind":      k.Say("JWT", `{"jti":"c"}`, nil),
		"no challenge":      k.Say("dbsc+jwt", `{}`, nil),
		"no object":         k.Say("dbsc+jwt", `"c"`, nil),
		"huge":              k.Sign(strings.Repeat("c", 1<<20)),
	} {
		if challenge, err := dbsc.Challenge(proof, key); err == nil {
			t.Errorf("%s: taken for a proof over %q", name, challenge)
		}
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, by := range map[string]struct {
		algorithm jose.SignatureAlgorithm
		key       *rsa.PrivateKey
	}{"PS256": {jose.PS256, private}, "a long RSA key": {jose.RS256, longRSA()}} {
		proof := say(t, jose.SigningKey{Algorithm: by.algorithm, Key: by.key}, nil)
		if challenge, err := dbsc.Challenge(proof, spki(t, by.key.Public())); err == nil {
			t.Errorf("%s: taken for a proof over %q", name, challenge)
		}
	}
	if _, err := dbsc.Challenge(good, []byte("rubbish")); err == nil {
		t.Error("a key that is none proves something")
	}
}

func TestWhatIsNoEnrolment(t *testing.T) {
	k, other := testkit.NewBoundKey(t), testkit.NewBoundKey(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	with := func(public any) string { return k.Say("dbsc+jwt", `{"jti":"c"}`, jose.JSONWebKey{Key: public}) }
	for name, proof := range map[string]string{
		"no key":         k.Sign("c"),
		"another's key":  with(other.Public()),
		"P-384":          with(p384.Public()),
		"a private key":  say(t, jose.SigningKey{Algorithm: jose.ES256, Key: p256}, jose.JSONWebKey{Key: p256}),
		"a short RSA":    testkit.NewBoundRSAKey(t, 1024).Enrol("c"),
		"a secret":       with([]byte("a secret of thirty-two bytes, all told")),
		"another kind":   k.Say("JWT", `{"jti":"c"}`, jose.JSONWebKey{Key: k.Public()}),
		"the wrong form": k.Say("dbsc+jwt", `{"jti":7}`, jose.JSONWebKey{Key: k.Public()}),
	} {
		if _, _, err := dbsc.Enrolment(proof); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
