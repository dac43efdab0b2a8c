package appkey_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"slices"
	"strconv"
	"testing"
	"time"

	"countersign/internal/appkey"
	"countersign/internal/testkit"
)

var now = time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func spkiOf(t *testing.T, k *ecdsa.PrivateKey) []byte {
	t.Helper()
	b, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func digest(text string) []byte {
	d := sha256.Sum256([]byte(text))
	return d[:]
}

func TestAndroidKeysAreJudged(t *testing.T) {
	google, other := testkit.NewMaker(t, now), testkit.NewMaker(t, now)
	key, statement, challenge := newKey(t), []byte("a statement"), digest("a statement")
	policy := appkey.Policy{AndroidRoots: google.Roots(), AndroidApps: map[string][][]byte{testkit.AndroidApp: {testkit.AppSigner()}}}
	judge := func(p appkey.Policy, chain [][]byte) (appkey.Kind, error) {
		return p.Judge(appkey.Attestation{Format: appkey.Android, Chain: chain}, spkiOf(t, key), statement, now)
	}
	good := google.Chain(&key.PublicKey, testkit.KeyDescription(), testkit.HonestKeystore(challenge).Describe(t))
	if kind, err := judge(policy, good); err != nil || kind != appkey.TEE {
		t.Fatalf("%q, %v", kind, err)
	}
	if kind, err := judge(policy, good[:2]); err != nil || kind != appkey.TEE { // the root need not be sent
		t.Errorf("%q, %v", kind, err)
	}
	chip := testkit.HonestKeystore(challenge)
	chip.Level, chip.KeystoreLevel = 2, 2
	if kind, err := judge(policy, google.Chain(&key.PublicKey, testkit.KeyDescription(), chip.Describe(t))); err != nil || kind != appkey.StrongBox {
		t.Errorf("%q, %v", kind, err)
	}
	for name, change := range map[string]func(*testkit.Keystore){
		"another challenge":             func(k *testkit.Keystore) { k.Challenge = []byte("another") },
		"no challenge":                  func(k *testkit.Keystore) { k.Challenge = nil },
		"described by software":         func(k *testkit.Keystore) { k.Level = 0 },
		"kept in software":              func(k *testkit.Keystore) { k.KeystoreLevel = 0 },
		"a level that we do not know":   func(k *testkit.Keystore) { k.Level, k.KeystoreLevel = 3, 3 },
		"to decrypt":                    func(k *testkit.Keystore) { k.Purposes = []int{1} },
		"to sign and more":              func(k *testkit.Keystore) { k.Purposes = []int{2, 7} },
		"brought into the keystore":     func(k *testkit.Keystore) { k.Origin = 2 },
		"an unlocked phone":             func(k *testkit.Keystore) { k.Locked = false },
		"another system's key":          func(k *testkit.Keystore) { k.Boot = 1 },
		"a system that nobody verified": func(k *testkit.Keystore) { k.Boot = 2 },
		"another app":                   func(k *testkit.Keystore) { k.Packages = []string{"org.evil.app"} },
		"two apps":                      func(k *testkit.Keystore) { k.Packages = []string{"org.example.app", "org.example.apq"} },
		"no app":                        func(k *testkit.Keystore) { k.Packages = nil },
		"signed by somebody else":       func(k *testkit.Keystore) { k.Digests = [][]byte{make([]byte, 32)} },
		"signed by somebody else too":   func(k *testkit.Keystore) { k.Digests = [][]byte{testkit.AppSigner(), make([]byte, 32)} },
		"signed by nobody":              func(k *testkit.Keystore) { k.Digests = nil },
		"said by software alone":        func(k *testkit.Keystore) { k.InSoftware = true },
		"something behind it":           func(k *testkit.Keystore) { k.Behind = []byte{5, 0} },
	} {
		k := testkit.HonestKeystore(challenge)
		change(&k)
		if kind, err := judge(policy, google.Chain(&key.PublicKey, testkit.KeyDescription(), k.Describe(t))); err == nil {
			t.Errorf("%s: %s", name, kind)
		}
	}

	revoked, noRoots := policy, policy
	revoked.Revoked, noRoots.AndroidRoots = func() map[string]bool { return map[string]bool{"abc": true} }, nil
	for name, p := range map[string]appkey.Policy{"a revoked certificate": revoked, "no roots": noRoots} {
		if _, err := judge(p, good); err == nil {
			t.Error(name)
		}
	}
	for name, chain := range map[string][][]byte{
		"another root":          other.Chain(&key.PublicKey, testkit.KeyDescription(), testkit.HonestKeystore(challenge).Describe(t)),
		"another key":           google.Chain(&newKey(t).PublicKey, testkit.KeyDescription(), testkit.HonestKeystore(challenge).Describe(t)),
		"the root of ours sent": {other.Chain(&key.PublicKey, testkit.KeyDescription(), testkit.HonestKeystore(challenge).Describe(t))[0], google.Between.Raw, google.Root.Raw},
		"not described":         google.Chain(&key.PublicKey, asn1.ObjectIdentifier{1, 2, 3}, []byte{5, 0}),
		"nothing":               nil,
		"rubbish":               {[]byte("rubbish")},
		"the key's alone":       good[:1],
	} {
		if kind, err := judge(policy, chain); err == nil {
			t.Errorf("%s: %s", name, kind)
		}
	}
	if _, err := policy.Judge(appkey.Attestation{Format: appkey.Android, Chain: good}, spkiOf(t, key), statement, now.Add(2*time.Hour)); err == nil {
		t.Error("certificates that are over")
	}
}

// A key that is attested can sign anything, certificates of its owner's own make among them.
func TestAnAttestedKeyAttestsNoOther(t *testing.T) {
	google := testkit.NewMaker(t, now)
	attested, soft, statement, challenge := newKey(t), newKey(t), []byte("c"), digest("c")
	chain := google.Chain(&attested.PublicKey, testkit.KeyDescription(), testkit.HonestKeystore(challenge).Describe(t))
	parent, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	forged := google.Sign(&x509.Certificate{
		SerialNumber: big.NewInt(8), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: testkit.KeyDescription(), Value: testkit.HonestKeystore(challenge).Describe(t)}},
	}, parent, &soft.PublicKey, attested)
	policy := appkey.Policy{AndroidRoots: google.Roots(), AndroidApps: map[string][][]byte{testkit.AndroidApp: {testkit.AppSigner()}}}
	judged := func(p appkey.Policy, chain [][]byte) (appkey.Kind, error) {
		return p.Judge(appkey.Attestation{Format: appkey.Android, Chain: chain}, spkiOf(t, soft), statement, now)
	}
	if kind, err := judged(policy, append([][]byte{forged.Raw}, chain...)); err == nil {
		t.Errorf("taken: %s", kind)
	}
	// Nor where the maker's own certificate is described as a key, as a careless one might be that may sign others.
	careless := testkit.NewMaker(t, now)
	ca := careless.Authority("Careless", 9)
	ca.ExtraExtensions = []pkix.Extension{{Id: testkit.KeyDescription(), Value: testkit.HonestKeystore(challenge).Describe(t)}}
	careless.Between = careless.Sign(ca, careless.Root, &careless.Key.PublicKey, careless.RootKey)
	policy.AndroidRoots = careless.Roots()
	if kind, err := judged(policy, careless.Chain(&soft.PublicKey, testkit.KeyDescription(), testkit.HonestKeystore(challenge).Describe(t))); err == nil {
		t.Errorf("taken: %s", kind)
	}
}

func TestAppAttestIsJudged(t *testing.T) {
	apple, other := testkit.NewMaker(t, now), testkit.NewMaker(t, now)
	mine, key, statement := spkiOf(t, newKey(t)), newKey(t), []byte("a statement")
	challenge := digest("a statement\n" + base64.RawURLEncoding.EncodeToString(mine))
	policy := appkey.Policy{AppleRoots: apple.Roots(), AppleApp: testkit.AppleApp}
	honest := testkit.HonestApple()
	judge := func(p appkey.Policy, object []byte) error {
		kind, err := p.Judge(appkey.Attestation{Format: appkey.Apple, Object: object}, mine, statement, now)
		if err == nil && kind != appkey.AppAttest {
			t.Error(kind)
		}
		return err
	}
	good := honest.Attest(t, apple, key, challenge)
	if err := judge(policy, good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*testkit.ApplePhone){
		"another app":           func(p *testkit.ApplePhone) { p.App = "TEAM123456.org.evil.app" },
		"in development":        func(p *testkit.ApplePhone) { p.Model = "appattestdevelop" },
		"another authenticator": func(p *testkit.ApplePhone) { p.Model = "0123456789abcdef" },
		"used before":           func(p *testkit.ApplePhone) { p.Count = 1 },
		"another name":          func(p *testkit.ApplePhone) { p.ID = make([]byte, 32) },
		"a short name":          func(p *testkit.ApplePhone) { p.ID = make([]byte, 16) },
		"another format":        func(p *testkit.ApplePhone) { p.Format = "packed" },
	} {
		p := honest
		change(&p)
		if err := judge(policy, p.Attest(t, apple, key, challenge)); err == nil {
			t.Error(name)
		}
	}
	for name, object := range map[string][]byte{
		"another root":      honest.Attest(t, other, key, challenge),
		"another key named": honest.Attest(t, apple, key, digest("a statement\n"+base64.RawURLEncoding.EncodeToString(spkiOf(t, key)))),
		"no key named":      honest.Attest(t, apple, key, digest("a statement")),
		"another challenge": honest.Attest(t, apple, key, []byte("another")),
		"nothing":           nil,
		"rubbish":           []byte("rubbish"),
		"huge":              make([]byte, 1<<20),
		"something behind":  append(slices.Clone(good), 0),
	} {
		if err := judge(policy, object); err == nil {
			t.Error(name)
		}
	}
	revoked := policy
	revoked.Revoked = func() map[string]bool { return map[string]bool{"abc": true} }
	if err := judge(revoked, good); err == nil {
		t.Error("a revoked certificate")
	}
}

// Whoever sends certificates chooses what we verify.
func TestAChainThatCostsMuchIsRefused(t *testing.T) {
	google, key, challenge := testkit.NewMaker(t, now), newKey(t), digest("s")
	policy := appkey.Policy{AndroidRoots: google.Roots(), AndroidApps: map[string][][]byte{testkit.AndroidApp: {testkit.AppSigner()}}}
	good := google.Chain(&key.PublicKey, testkit.KeyDescription(), testkit.HonestKeystore(challenge).Describe(t))
	judge := func(more ...*x509.Certificate) error {
		chain := slices.Clone(good)
		for _, c := range more {
			chain = append(chain, c.Raw)
		}
		_, err := policy.Judge(appkey.Attestation{Format: appkey.Android, Chain: chain}, spkiOf(t, key), []byte("s"), now)
		return err
	}
	another := google.Sign(google.Authority("Another", 3), google.Root, &google.Key.PublicKey, google.RootKey)
	if err := judge(another); err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 4104)
	if err != nil {
		t.Fatal(err)
	}
	var many []*x509.Certificate
	for i := range int64(6) {
		many = append(many, google.Sign(google.Authority(strconv.FormatInt(i, 10), 20+i), google.Root, &google.Key.PublicKey, google.RootKey))
	}
	for name, more := range map[string][]*x509.Certificate{
		"two of one name": {google.Sign(google.Authority("Between", 4), google.Root, &google.Key.PublicKey, google.RootKey)},
		"a huge key":      {google.Sign(google.Authority("Huge", 5), google.Root, &large.PublicKey, google.RootKey)},
		"many":            many,
	} {
		if err := judge(more...); err == nil {
			t.Error(name)
		}
	}
}

func TestOnlyRootsAreReadAsRoots(t *testing.T) {
	google := testkit.NewMaker(t, now)
	text := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	root := text("CERTIFICATE", google.Root.Raw)
	if p, err := appkey.ReadRoots(append([]byte("Google's\n"), root...)); err != nil || !p.Equal(google.Roots()) {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{
		"nothing": nil, "DER": google.Root.Raw, "a key beside it": append(slices.Clone(root), text("PRIVATE KEY", []byte("k"))...),
		"rubbish": text("CERTIFICATE", []byte("rubbish")), "one that is cut off": append(slices.Clone(root), root[:100]...),
	} {
		if _, err := appkey.ReadRoots(file); err == nil {
			t.Error(name)
		}
	}
}

func TestOnlyTheListOfRevokedIsReadAsOne(t *testing.T) {
	got, err := appkey.ReadRevoked([]byte(`{"entries":{"0ABC":{"status":"REVOKED","reason":"KEY_COMPROMISE"},"7":{"status":"SUSPENDED"}}}`))
	if err != nil || len(got) != 2 || !got["abc"] || !got["7"] {
		t.Fatal(got, err)
	}
	for _, text := range []string{"", "[]", "{}", `{"entries":[]}`, `{"entries":{"x":{}}}`, `{"entries":{"":{}}}`} {
		if got, err := appkey.ReadRevoked([]byte(text)); err == nil {
			t.Error(text, got)
		}
	}
}
