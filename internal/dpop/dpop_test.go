package dpop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/dpop"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/testkit"
)

const url = testkit.Origin + "/api/v1/session"

// The proof of RFC 9449 section 4.1 (figure 2), and the one with a token of section 7.1 (figure 12).
func TestProofsOfTheStandard(t *testing.T) {
	const (
		key   = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" // section 6.1
		token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
	)
	const first = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik" +
		"VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR" +
		"nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE" +
		"QSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIj" +
		"oiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwia" +
		"WF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg" +
		"4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
	p, err := dpop.Read(first, dpop.Request{Method: "POST", URL: "https://server.example.com/token"}, time.Unix(1562262616, 0))
	if err != nil || p.Key != key {
		t.Errorf("%+v, %v", p, errors.Unwrap(err))
	}
	const second = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik" +
		"VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR" +
		"nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE" +
		"QSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIj" +
		"oiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0Z" +
		"WRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNF" +
		"c05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71E" +
		"OptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	p, err = dpop.Read(second, dpop.Request{Method: "GET", URL: "https://resource.example.org/protectedresource", Token: secret.Of(token)}, time.Unix(1562262618, 0))
	if err != nil || p.Key != key {
		t.Errorf("%+v, %v", p, errors.Unwrap(err))
	}
}

func TestAProofIsForOneRequest(t *testing.T) {
	now := time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)
	const token = "css_mine"
	want := dpop.Request{Method: "GET", URL: url, Token: secret.Of(token)}
	for name, key := range map[string]testkit.Key{"P-256": testkit.NewKey(t), "Ed25519": testkit.NewEdKey(t)} {
		t.Run(name, func(t *testing.T) {
			d := testkit.NewDPoP(t, key)
			p, err := dpop.Read(d.Proof(testkit.About(now, "GET", url, token, "n")), want, now)
			if err != nil || len(p.Key) != 43 || p.Nonce != "n" {
				t.Fatalf("%+v, %v", p, err)
			}
			for name, c := range map[string]struct {
				claim string
				value any
				fine  bool
			}{
				"another method":            {"htm", "POST", false},
				"a method in other letters": {"htm", "get", false},
				"another path":              {"htu", testkit.Origin + "/api/v1/sessions", false},
				"a path behind it":          {"htu", url + "/x", false},
				"the path escaped":          {"htu", testkit.Origin + "/api/v1/%73ession", false},
				"another host":              {"htu", "https://evil.example/api/v1/session", false},
				"a host within another":     {"htu", "https://id.example.com.evil.example/api/v1/session", false},
				"our host as a user":        {"htu", "https://id.example.com@evil.example/api/v1/session", false},
				"a user at ours":            {"htu", "https://x@id.example.com/api/v1/session", false},
				"another port":              {"htu", "https://id.example.com:444/api/v1/session", false},
				"without TLS":               {"htu", "http://id.example.com/api/v1/session", false},
				"without a host":            {"htu", "/api/v1/session", false},
				"no URL":                    {"htu", "https://%", false},
				"no htu":                    {"htu", "", false},
				"the port that is meant":    {"htu", "https://id.example.com:443/api/v1/session", true},
				"in other letters":          {"htu", "HTTPS://ID.example.com/api/v1/session", true},
				"with a query":              {"htu", url + "?lang=de#x", true},
				"too old":                   {"iat", now.Add(-6 * time.Minute).Unix(), false},
				"from tomorrow":             {"iat", now.Add(24 * time.Hour).Unix(), false},
				"a clock that is late":      {"iat", now.Add(-4 * time.Minute).Unix(), true},
				"a clock that is ahead":     {"iat", now.Add(4 * time.Minute).Unix(), true},
				"no time":                   {"iat", 0, false},
				"a time in words":           {"iat", "now", false},
				"over":                      {"exp", now.Unix(), false},
				"not yet":                   {"nbf", now.Add(time.Hour).Unix(), false},
				"another token":             {"ath", base64.RawURLEncoding.EncodeToString(make([]byte, 32)), false},
				"no token":                  {"ath", "", false},
				"the token itself":          {"ath", token, false},
				"no name":                   {"jti", "", false},
				"a long name":               {"jti", strings.Repeat("j", 129), false},
			} {
				claims := testkit.About(now, "GET", url, token, "n")
				claims[c.claim] = c.value
				if _, err := dpop.Read(d.Proof(claims), want, now); (err == nil) != c.fine {
					t.Errorf("%s: %v", name, err)
				} else if err != nil && fault.Of(err).Code != "dpop_proof_refused" {
					t.Errorf("%s: %v", name, err)
				}
			}
			signin := testkit.About(now, "POST", url, "", "n")
			if _, err := dpop.Read(d.Proof(signin), dpop.Request{Method: "POST", URL: url}, now); err != nil {
				t.Errorf("at a sign-in: %v", err)
			}
			if _, err := dpop.Read(d.Proof(signin), dpop.Request{Method: "POST", URL: url, Token: secret.Of(token)}, now); err == nil {
				t.Error("a sign-in's proof with a token")
			}
		})
	}
}

func b64(v any) string {
	b, ok := v.([]byte)
	if !ok {
		b, _ = json.Marshal(v)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// Whatever is no signature by the private half of the key that is brought along.
func TestOnlyTheKeysHolderMakesProofs(t *testing.T) {
	now := time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)
	key := testkit.NewKey(t)
	d, other := testkit.NewDPoP(t, key), testkit.NewDPoP(t, testkit.NewKey(t))
	claims := testkit.About(now, "GET", url, "t", "n")
	good := d.Proof(claims)
	parts := strings.Split(good, ".")
	header := map[string]any{}
	raw, _ := base64.RawURLEncoding.DecodeString(parts[0])
	if err := json.Unmarshal(raw, &header); err != nil {
		t.Fatal(err)
	}
	with := func(name string, value any) map[string]any {
		h := maps.Clone(header)
		h[name] = value
		return h
	}
	hmacBy := func(h any, secret []byte) string {
		signed := b64(h) + "." + parts[1]
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(signed))
		return signed + "." + b64(mac.Sum(nil))
	}
	public, _ := json.Marshal(header["jwk"])
	private := jose.JSONWebKey{Key: d.Private()}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	by := func(a jose.SignatureAlgorithm, key any, jwk any) string {
		o := (&jose.SignerOptions{}).WithType("dpop+jwt").WithHeader("jwk", jwk)
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: a, Key: key}, o)
		if err != nil {
			t.Fatal(err)
		}
		payload, _ := json.Marshal(claims)
		signed, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := signed.CompactSerialize()
		return text
	}
	oct := map[string]any{"kty": "oct", "k": b64([]byte("a secret of thirty-two characters"))}
	read := func(text string) error {
		_, err := dpop.Read(text, dpop.Request{Method: "GET", URL: url, Token: secret.Of("t")}, now)
		return err
	}
	if err := read(good); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"alg none":                       b64(with("alg", "none")) + "." + parts[1] + ".",
		"alg none, signature kept":       b64(with("alg", "none")) + "." + parts[1] + "." + parts[2],
		"HMAC with the public key":       hmacBy(with("alg", "HS256"), key.Public()),
		"HMAC with the jwk":              hmacBy(with("alg", "HS256"), public),
		"HMAC with its own secret":       hmacBy(map[string]any{"typ": "dpop+jwt", "alg": "HS256", "jwk": oct}, []byte("a secret of thirty-two characters")),
		"no signature":                   parts[0] + "." + parts[1] + ".",
		"another's signature":            parts[0] + "." + parts[1] + "." + strings.Split(other.Proof(claims), ".")[2],
		"other claims":                   parts[0] + "." + b64(testkit.About(now, "GET", url, "t", "m")) + "." + parts[2],
		"another's key beside mine":      other.Say("dpop+jwt", header["jwk"], claims),
		"no key":                         d.Say("dpop+jwt", nil, claims),
		"the private key":                d.Say("dpop+jwt", private, claims),
		"P-384":                          by(jose.ES384, p384, jose.JSONWebKey{Key: &p384.PublicKey}),
		"RSA":                            by(jose.PS256, large, jose.JSONWebKey{Key: &large.PublicKey}),
		"a P-256 key as EdDSA's":         b64(with("alg", "EdDSA")) + "." + parts[1] + "." + parts[2],
		"a JWT for something else":       d.Say("JWT", header["jwk"], claims),
		"a proof of a browser's":         d.Say("dbsc+jwt", header["jwk"], claims),
		"no typ":                         b64(map[string]any{"alg": "ES256", "jwk": header["jwk"]}) + "." + parts[1] + "." + parts[2],
		"something critical":             b64(with("crit", []string{"x"})) + "." + parts[1] + "." + parts[2],
		"huge":                           d.Proof(testkit.Claims{"jti": "j", "htm": "GET", "htu": url, "iat": now.Unix(), "ath": claims["ath"], "x": strings.Repeat("x", 4<<10)}),
		"nothing":                        "",
		"rubbish":                        "a.b.c",
		"claims that are no object":      parts[0] + "." + b64([]byte(`[]`)) + "." + parts[2],
		"two in one":                     good + ", " + good,
		"a signature of another kind":    by(jose.ES256, d.Private(), map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(make([]byte, 32))}),
		"a point that is not on a curve": d.Say("dpop+jwt", map[string]any{"kty": "EC", "crv": "P-256", "x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}, claims),
	} {
		if err := read(text); fault.Of(err).Code != "dpop_proof_refused" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
