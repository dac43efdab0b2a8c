package pubkey_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/big"
	"strconv"
	"testing"

	"countersign/internal/platform/pubkey"
)

// What stands before a key of either kind in a SubjectPublicKeyInfo.
const (
	p256 = "3059301306072a8648ce3d020106082a8648ce3d030107034200"
	ed   = "302a300506032b6570032100"
)

func raw(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func spki(t *testing.T, public any) []byte {
	t.Helper()
	b, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 6979 A.2.5 (P-256, SHA-256, "sample") and RFC 8032 section 7.1, TEST 2.
func TestSignaturesOfTheStandards(t *testing.T) {
	for name, v := range map[string]struct{ key, message, signature string }{
		"P-256": {
			p256 + "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
			hex.EncodeToString([]byte("sample")),
			"efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
		},
		"Ed25519": {
			ed + "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
			"72",
			"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
		},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := pubkey.Parse(raw(t, v.key))
			if err != nil {
				t.Fatal(err)
			}
			message, signature := raw(t, v.message), raw(t, v.signature)
			if !key.Verify(message, signature) {
				t.Error("refused")
			}
			if key.Verify(append(message, '.'), signature) {
				t.Error("another message")
			}
			for _, cut := range [][]byte{nil, signature[:63], append(bytes.Clone(signature), 0), make([]byte, 64)} {
				if key.Verify(message, cut) {
					t.Errorf("taken: %x", cut)
				}
			}
			signature[40] ^= 1
			if key.Verify(message, signature) {
				t.Error("another signature")
			}
			if again, err := key.SPKI(); err != nil || !bytes.Equal(again, raw(t, v.key)) {
				t.Errorf("%x, %v", again, err)
			}
		})
	}
	// ASN.1, as OpenSSL, Android's Signature and iOS's SecKeyCreateSignature write it, is not r‖s.
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := ecdsa.SignASN1(rand.Reader, private, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if key, err := pubkey.Of(&private.PublicKey); err != nil || key.Verify(nil, der) {
		t.Error("ASN.1 is taken", err)
	}
}

func TestOnlyTwoKindsOfKeys(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const point = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
	good := raw(t, p256+"04"+point)
	for name, c := range map[string]struct {
		key  []byte
		want error
	}{
		"P-384":                         {spki(t, &p384.PublicKey), pubkey.ErrUnsupported},
		"RSA":                           {spki(t, &large.PublicKey), pubkey.ErrUnsupported},
		"X25519":                        {spki(t, x25519.PublicKey()), pubkey.ErrUnsupported},
		"nothing":                       {nil, pubkey.ErrMalformed},
		"rubbish":                       {[]byte("rubbish"), pubkey.ErrMalformed},
		"huge":                          {make([]byte, 1<<20), pubkey.ErrMalformed},
		"something behind it":           {append(bytes.Clone(good), 0), pubkey.ErrMalformed},
		"cut":                           {good[:90], pubkey.ErrMalformed},
		"not on the curve":              {raw(t, p256+"04"+point[:126]+"98"), pubkey.ErrMalformed},
		"at infinity":                   {raw(t, "3019301306072a8648ce3d020106082a8648ce3d03010703020000"), pubkey.ErrMalformed},
		"compressed":                    {raw(t, "3039301306072a8648ce3d020106082a8648ce3d030107032200"+"03"+point[:64]), pubkey.ErrMalformed},
		"Ed25519 of 31 bytes":           {raw(t, "3029300506032b6570032000"+point[:62]), pubkey.ErrMalformed},
		"Ed25519 with needless NULL":    {raw(t, "302c300706032b65700500032100"+point[:64]), pubkey.ErrMalformed},
		"P-256 in a long form of DER":   {append([]byte{0x30, 0x81, 0x59}, good[2:]...), pubkey.ErrMalformed},
		"the private half of a key":     {pkcs8(t, p384), pubkey.ErrMalformed},
		"Ed25519, another than the one": {raw(t, ed+"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"), pubkey.ErrMalformed}, // p+1: the same point as 1
	} {
		if _, err := pubkey.Parse(c.key); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	nowhere := &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int), Y: new(big.Int)} //nolint:staticcheck // a parser that does not look could make it
	for _, other := range []any{nil, private(t), []byte("secret"), ed25519.PublicKey("short"), nowhere} {
		if _, err := pubkey.Of(other); err == nil {
			t.Errorf("%T is taken", other)
		}
	}
}

func private(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func pkcs8(t *testing.T, k *ecdsa.PrivateKey) []byte {
	t.Helper()
	b, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Each of these keys, and its twins that crypto/ed25519 reads as the same point, has a signature that anybody can make without
// any private key: a point of a small order as R, and zero as S.
func TestNobodySignsWithoutAPrivateKey(t *testing.T) {
	const order8, other8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03"
	weak := []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		order8 + "05", order8 + "85", other8 + "7a", other8 + "fa",
	}
	forged := make([]byte, 64)
	forged[0] = 1 // R is the neutral element, S is zero
	for _, text := range weak {
		key := ed25519.PublicKey(raw(t, text))
		fits := false
		for i := range 200 {
			fits = fits || ed25519.Verify(key, []byte(strconv.Itoa(i)), forged)
		}
		if !fits {
			t.Errorf("%s: the forgery does not work: not a key of this test", text)
		}
		if _, err := pubkey.Parse(append(raw(t, ed), key...)); !errors.Is(err, pubkey.ErrMalformed) {
			t.Errorf("%s: %v", text, err)
		}
		if _, err := pubkey.Of(key); !errors.Is(err, pubkey.ErrMalformed) {
			t.Errorf("%s from elsewhere: %v", text, err)
		}
	}
}
