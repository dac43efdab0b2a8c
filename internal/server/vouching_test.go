package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/internal/device"
	"countersign/internal/platform/config"
	"countersign/internal/server"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

// vouched is a node that believes two made-up makers, and an app on its way into an account.
type vouched struct {
	*app

	google, apple *testkit.Maker
	flow, nonce   string
	code          string
	key           testkit.Key
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func rootFile(t *testing.T, m *testkit.Maker) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.Root.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// believing has a node believe both.
func (v *vouched) believing(t *testing.T) func(*config.Config) {
	android, apple := rootFile(t, v.google), rootFile(t, v.apple)
	return func(c *config.Config) {
		c.App.AndroidPackage, c.App.AndroidRoots, c.App.AndroidDigests = testkit.AndroidApp, android, []string{hex.EncodeToString(testkit.AppSigner())}
		c.App.AppleAppID, c.App.AppleRoot = testkit.AppleApp, apple
	}
}

func vouching(t *testing.T, change func(*vouched) func(*config.Config)) *vouched {
	t.Helper()
	clock := dbtest.NewClock()
	v := &vouched{google: testkit.NewMaker(t, clock.Now()), apple: testkit.NewMaker(t, clock.Now())}
	v.app = &app{t: t, node: servertest.Start(t, servertest.Options{Clock: clock, Config: change(v)})}
	v.node.Account("ada@example.org")
	v.begun()
	return v
}

// begun begins a sign-in, up to the code.
func (v *vouched) begun() {
	v.t.Helper()
	v.key, v.flow = testkit.NewKey(v.t), v.begin("ada@example.org").Flow
	second := v.want(200, v.call("POST", "/api/v1/signin/password", `{"flow":"`+v.flow+`","password":"`+servertest.Password+`"}`))
	v.want(202, v.call("POST", "/api/v1/signin/code/send", `{"flow":"`+v.flow+`","way":"email"}`))
	v.nonce, v.code = second.Nonce, v.node.Code("ada@example.org")
}

// challenge is what an app has its phone attest: the digest of a statement.
func (v *vouched) challenge(nonce string, more ...string) []byte {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{"countersign-device-v1", "attest", v.node.URL, nonce}, more...), "\n")))
	return sum[:]
}

// android is what a phone says of the app's key.
func (v *vouched) android(m *testkit.Maker, of testkit.Key, change func(*testkit.Keystore)) map[string]any {
	k := testkit.HonestKeystore(v.challenge(v.nonce))
	change(&k)
	public, err := x509.ParsePKIXPublicKey(of.Public())
	if err != nil {
		v.t.Fatal(err)
	}
	var chain []string
	for _, der := range m.Chain(public, testkit.KeyDescription(), k.Describe(v.t)) {
		chain = append(chain, b64(der))
	}
	return map[string]any{"format": "android-key", "chain": chain}
}

// onApple is what a phone says of the app, and the app of its key.
func (v *vouched) onApple(m *testkit.Maker, nonce string, named testkit.Key) map[string]any {
	app, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		v.t.Fatal(err)
	}
	return map[string]any{"format": "apple-appattest", "object": b64(testkit.HonestApple().Attest(v.t, m, app, v.challenge(nonce, b64(named.Public()))))}
}

// remember is the last call of the sign-in.
func (v *vouched) remember(attestation map[string]any) answer {
	v.t.Helper()
	remember := map[string]any{"public_key": b64(v.key.Public()), "signature": b64(v.key.Sign("remember", v.node.URL, v.nonce)), "name": "Ada's phone"}
	if attestation != nil {
		remember["attestation"] = attestation
	}
	body, err := json.Marshal(map[string]any{"flow": v.flow, "code": v.code, "remember": remember})
	if err != nil {
		v.t.Fatal(err)
	}
	return v.call("POST", "/api/v1/signin/code", string(body))
}

func honestly(*testkit.Keystore) {}

// refused fails unless the attestation is turned away. Each of a test has the same code: none is spent.
func (v *vouched) refused(name, code string, attestation map[string]any) {
	v.t.Helper()
	if got := v.remember(attestation); got.status != 422 || got.Code != code {
		v.t.Errorf("%s: %d %s", name, got.status, got.text)
	}
}

// shown fails unless the account's one device proves itself with something.
func (v *vouched) shown(strength string) {
	v.t.Helper()
	if all := v.want(200, v.call("GET", "/api/v1/devices", "")); !strings.Contains(all.text, `"strength":"`+strength+`"`) {
		v.t.Errorf("want %s: %s", strength, all.text)
	}
}

func TestAPhoneVouchesForAnAppsKey(t *testing.T) {
	v := vouching(t, func(v *vouched) func(*config.Config) { return v.believing(t) })
	another := testkit.NewMaker(t, v.node.Clock.Now())
	for name, wrong := range map[string]map[string]any{
		"another challenge":                  v.android(v.google, v.key, func(k *testkit.Keystore) { k.Challenge = v.challenge("another") }),
		"another's package":                  v.android(v.google, v.key, func(k *testkit.Keystore) { k.Packages = []string{"org.evil.app"} }),
		"signed by another":                  v.android(v.google, v.key, func(k *testkit.Keystore) { k.Digests = [][]byte{make([]byte, 32)} }),
		"kept in software":                   v.android(v.google, v.key, func(k *testkit.Keystore) { k.Level, k.KeystoreLevel = 0, 0 }),
		"another root":                       v.android(another, v.key, honestly),
		"Apple's root":                       v.android(v.apple, v.key, honestly),
		"another key":                        v.android(v.google, testkit.NewKey(t), honestly),
		"nothing":                            {"format": "android-key"},
		"Apple, another root":                v.onApple(another, v.nonce, v.key),
		"Apple, another challenge":           v.onApple(v.apple, "another", v.key),
		"Apple, an app that names other key": v.onApple(v.apple, v.nonce, testkit.NewKey(t)),
		"Apple, nothing":                     {"format": "apple-appattest"},
	} {
		v.refused(name, "attestation_refused", wrong)
	}
	v.refused("another format", "input_invalid", map[string]any{"format": "packed"})
	v.refused("not base64", "input_invalid", map[string]any{"format": "android-key", "chain": []string{"A"}})

	done := v.want(200, v.remember(v.android(v.google, v.key, honestly)))
	v.token = done.Session.Token
	v.shown("android_tee")
	// It is recognised by the key that was attested.
	flow := v.begin("ada@example.org")
	proof := `{"flow":"` + flow.Flow + `","password":"` + servertest.Password + `","device":{"handle":"` + done.Device.Handle + `","signature":"` +
		b64(v.key.Sign("recognise", v.node.URL, flow.Nonce)) + `"}}`
	if got := v.want(200, v.call("POST", "/api/v1/signin/password", proof)); got.Step != "done" {
		t.Error(got.text)
	}

	for strength, says := range map[string]func() map[string]any{
		"android_strongbox": func() map[string]any {
			return v.android(v.google, v.key, func(k *testkit.Keystore) { k.Level, k.KeystoreLevel = 2, 2 })
		},
		"app_attest":   func() map[string]any { return v.onApple(v.apple, v.nonce, v.key) },
		"software_key": func() map[string]any { return nil }, // none is needed here
	} {
		v.begun()
		v.want(200, v.remember(says()))
		v.shown(strength)
	}
}

func TestAnAttestationMayBeRequired(t *testing.T) {
	v := vouching(t, func(v *vouched) func(*config.Config) {
		believing := v.believing(t)
		return func(c *config.Config) { believing(c); c.App.RequireAttestation = true }
	})
	v.refused("none", "attestation_required", nil)
	v.refused("a wrong one", "attestation_refused", v.onApple(v.google, v.nonce, v.key))
	done := v.want(200, v.remember(v.onApple(v.apple, v.nonce, v.key)))
	v.token = done.Session.Token
	v.shown("app_attest")
	// A browser on our own pages has nobody to vouch for its key.
	devices := v.node.Core().Devices
	key := testkit.NewKey(t)
	page := &device.Enrolment{PublicKey: key.Public(), Signature: key.Sign("remember", v.node.URL, "n"), Browser: true}
	if err := devices.Check(page, "n"); err != nil {
		t.Error(err)
	}
}

func TestAnAttestationThatNobodyLooksAtIsRefused(t *testing.T) {
	v := vouching(t, func(*vouched) func(*config.Config) { return nil })
	v.refused("Android", "attestation_unsupported", v.android(v.google, v.key, honestly))
	v.refused("Apple", "attestation_unsupported", v.onApple(v.apple, v.nonce, v.key))
	one := vouching(t, func(v *vouched) func(*config.Config) {
		believing := v.believing(t)
		return func(c *config.Config) { believing(c); c.App.AppleAppID, c.App.AppleRoot = "", "" }
	})
	one.refused("the other platform's", "attestation_unsupported", one.onApple(one.apple, one.nonce, one.key))
}

func TestARevokedKeystoreIsNotBelieved(t *testing.T) {
	list := filepath.Join(t.TempDir(), "status.json")
	revoke := func(serial string) {
		t.Helper()
		if err := os.WriteFile(list, []byte(`{"entries":{"`+serial+`":{"status":"REVOKED"}}}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	revoke("ffff")
	v := vouching(t, func(v *vouched) func(*config.Config) {
		believing := v.believing(t)
		return func(c *config.Config) { believing(c); c.App.AndroidStatus = list }
	})
	v.want(200, v.remember(v.android(v.google, v.key, honestly)))
	// A newer list comes into use without a restart.
	revoke(v.google.Between.SerialNumber.Text(16))
	v.node.Core().ReadFiles(t.Context(), slog.New(slog.DiscardHandler))
	v.begun()
	v.refused("revoked", "attestation_refused", v.android(v.google, v.key, honestly))
}

func TestFilesAboutAppsAreReadAtStart(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	v := &vouched{google: testkit.NewMaker(t, dbtest.NewClock().Now()), apple: testkit.NewMaker(t, dbtest.NewClock().Now())}
	believing := v.believing(t)
	for setting, change := range map[string]func(*config.Config){
		"":                                   func(*config.Config) {},
		"app.android_roots: " + bad:          func(c *config.Config) { c.App.AndroidRoots = bad },
		"app.android_status: " + bad:         func(c *config.Config) { c.App.AndroidStatus = bad },
		"app.apple_root: " + bad:             func(c *config.Config) { c.App.AppleRoot = bad },
		"app.apple_root: open /nowhere/root": func(c *config.Config) { c.App.AppleRoot = "/nowhere/root" },
	} {
		c := config.Default()
		believing(&c)
		change(&c)
		_, err := server.Check(t.Context(), c, dbtest.NewClock().Now)
		if setting == "" && err != nil || setting != "" && (err == nil || !strings.Contains(err.Error(), setting)) {
			t.Errorf("%q: %v", setting, err)
		}
	}
}
