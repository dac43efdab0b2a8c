package attestation_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-webauthn/webauthn/metadata"

	"countersign/internal/attestation"
	"countersign/internal/attestation/attestationtest"
	"countersign/internal/testkit"
)

const certified = "FIDO_CERTIFIED_L1"

func published(t *testing.T) (*attestationtest.Metadata, *attestationtest.Maker) {
	t.Helper()
	m, maker := attestationtest.New(t), attestationtest.NewMaker(t, "Example Key 5")
	m.Models = []attestationtest.Model{{Maker: maker, Statuses: []string{certified}}}
	m.Write()
	return m, maker
}

func model(m *attestationtest.Maker) attestation.Model {
	return attestation.Model(m.AAGUID.String())
}

func load(t *testing.T, s attestation.Settings, now time.Time) error {
	t.Helper()
	a, err := attestation.New(s, func() time.Time { return now }, attestationtest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	return a.Load(t.Context())
}

// The certificate that the library has is the one that the FIDO Alliance names: https://valid.r46.roots.globalsign.com.
func TestTheRootIsThatOfTheMetadataService(t *testing.T) {
	der, err := base64.StdEncoding.DecodeString(metadata.ProductionMDSRoot)
	if err != nil {
		t.Fatal(err)
	}
	const want = "4fa3126d8d3a11d1c4855a4f807cbad6cf919d3a5a88b03bea2c6372d93c40c9"
	if got := sha256.Sum256(der); hex.EncodeToString(got[:]) != want {
		t.Errorf("%x", got)
	}
}

// Whoever can put a file where ours is must not make models up.
func TestAFileThatTheServiceDidNotSignIsRefused(t *testing.T) {
	stranger := attestationtest.New(t)
	part := func(text []byte, n int) []string { return strings.SplitN(string(text), ".", n) }
	for name, spoil := range map[string]func(m *attestationtest.Metadata) []byte{
		"another root": func(m *attestationtest.Metadata) []byte { m.Signs = stranger.Signs; return m.Text() },
		"another's key": func(m *attestationtest.Metadata) []byte {
			c := m.Signs.Cert
			m.Signs = stranger.Signs
			m.Signs.Cert = c
			return m.Text()
		},
		"another's name": func(m *attestationtest.Metadata) []byte { m.Sign("shop.example", time.Time{}); return m.Text() },
		"expired": func(m *attestationtest.Metadata) []byte {
			m.Sign(attestationtest.Signer, time.Now().Add(-time.Hour))
			return m.Text()
		},
		"no certificate": func(m *attestationtest.Metadata) []byte {
			m.Header = map[string]any{"x5c": []string{}}
			return m.Text()
		},
		"asks elsewhere": func(m *attestationtest.Metadata) []byte {
			m.Header = map[string]any{"x5u": "https://metadata.example/c"}
			return m.Text()
		},
		"no models": func(m *attestationtest.Metadata) []byte { m.Models = nil; return m.Text() },
		"nothing":   func(*attestationtest.Metadata) []byte { return nil },
		"half":      func(m *attestationtest.Metadata) []byte { text := m.Text(); return text[:len(text)/2] },
		"another's payload": func(m *attestationtest.Metadata) []byte {
			old := part(m.Text(), 3)
			m.Number++
			return []byte(old[0] + "." + part(m.Text(), 3)[1] + "." + old[2])
		},
		"not signed": func(m *attestationtest.Metadata) []byte {
			return []byte(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + part(m.Text(), 3)[1] + ".")
		},
	} {
		m, _ := published(t)
		m.Put(spoil(m))
		err := load(t, m.Settings(attestation.Known), time.Now())
		if err == nil || !strings.Contains(err.Error(), "passkey.metadata_file") || !strings.Contains(err.Error(), "https://mds.fidoalliance.org") {
			t.Errorf("%s: %v", name, err)
		}
	}
	m, _ := published(t)
	if err := load(t, m.Settings(attestation.Known), time.Now()); err != nil {
		t.Error(err)
	}
	own := m.Settings(attestation.Known)
	own.Signer = ""
	m.Sign("mds.lan", time.Time{})
	m.Write()
	if err := load(t, own, time.Now()); err != nil {
		t.Errorf("a root of one's own: %v", err)
	}
	own.Root = ""
	if err := load(t, own, time.Now()); err == nil {
		t.Error("taken under the FIDO Alliance's root")
	}
}

// Nobody who has fetched no file for a while is kept from starting, though what signed it has expired.
func TestAFileThatIsPastItsTimeIsTakenWithAWarning(t *testing.T) {
	m, _ := published(t)
	m.Next = time.Now().AddDate(0, 0, -30)
	m.Sign(attestationtest.Signer, time.Now().AddDate(0, 0, -10))
	m.Write()
	var log bytes.Buffer
	a, err := attestation.New(m.Settings(attestation.Known), time.Now, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := a.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Count(log.String(), "past their time") != 1 {
		t.Error(log.String())
	}
	if next, ok := a.Next(); !ok || time.Since(next) < 28*24*time.Hour {
		t.Errorf("next %s, %v", next, ok)
	}
}

// What is in use stays in use until there is a better file.
func TestAWorseFileLeavesTheOldOneInUse(t *testing.T) {
	m, maker := published(t)
	var log testkit.Log
	s := m.Settings(attestation.Known)
	a, err := attestation.New(s, time.Now, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	look := func(wantTold string, want attestation.Denial) {
		t.Helper()
		log.Take()
		var told []string // three times looked at
		for range 3 {
			if err := a.Load(t.Context()); err != nil {
				told = append(told, err.Error())
			}
		}
		if logged := log.Take(); logged != "" {
			told = append(told, logged)
		}
		if got := a.Of(model(maker)); got.Name != maker.Name || got.Denied != want {
			t.Errorf("%+v, want %q", got, want)
		}
		if len(told) != min(1, len(wantTold)) || !strings.Contains(strings.Join(told, "\n"), wantTold) {
			t.Errorf("told %q, want %q", told, wantTold)
		}
	}
	look("", "")
	m.Models[0].Statuses = []string{certified, "REVOKED"}
	m.Number--
	m.Write()
	look("its number is 6, and that in use has 7", "")
	m.Put([]byte("a.b.c"))
	look("metadata_file", "")
	if err := os.Remove(m.File); err != nil {
		t.Fatal(err)
	}
	look("no such file", "")
	m.Number += 2
	m.Write()
	look("metadata of authenticators loaded", attestation.Reported)
	m.Models[0].Statuses = []string{certified}
	m.Write()
	look("metadata of authenticators loaded", "")
}

// One entry that nobody can read must not cost the others.
func TestAnEntryThatCannotBeReadCostsNoOther(t *testing.T) {
	m, maker := published(t)
	m.More = []any{
		map[string]any{"aaguid": 7},
		map[string]any{"aaguid": "x"},
		"text", nil,
		map[string]any{"aaid": "4e4e#4005", "metadataStatement": map[string]any{}},
		map[string]any{"aaguid": "00000000-0000-0000-0000-000000000001", "metadataStatement": map[string]any{"attestationRootCertificates": []string{"AAAA"}}},
	}
	m.Write()
	if got := m.Service(m.Settings(attestation.Known), time.Now).Of(model(maker)); got.Name != maker.Name {
		t.Errorf("%+v", got)
	}
}

func TestHowAModelStands(t *testing.T) {
	day := func(d int) string { return time.Now().AddDate(0, 0, d).Format(time.DateOnly) }
	for name, c := range map[string]struct {
		model attestationtest.Model
		want  attestation.Standing
	}{
		"certified":              {attestationtest.Model{Statuses: []string{certified}}, attestation.Standing{Hardware: true}},
		"and an update":          {attestationtest.Model{Statuses: []string{certified, "UPDATE_AVAILABLE"}}, attestation.Standing{Hardware: true}},
		"not certified":          {attestationtest.Model{Statuses: []string{"NOT_FIDO_CERTIFIED"}}, attestation.Standing{}},
		"no longer":              {attestationtest.Model{Statuses: []string{certified, "NOT_FIDO_CERTIFIED"}}, attestation.Standing{}},
		"retired":                {attestationtest.Model{Statuses: []string{certified, "RETIRED"}}, attestation.Standing{}},
		"nothing said":           {attestationtest.Model{}, attestation.Standing{}},
		"software":               {attestationtest.Model{Statuses: []string{certified}, Keeps: []string{"software"}}, attestation.Standing{}},
		"and software":           {attestationtest.Model{Statuses: []string{certified}, Keeps: []string{"hardware", "software"}}, attestation.Standing{}},
		"elsewhere":              {attestationtest.Model{Statuses: []string{certified}, Keeps: []string{"remote_handle"}}, attestation.Standing{}},
		"revoked":                {attestationtest.Model{Statuses: []string{certified, "REVOKED"}}, attestation.Standing{Denied: attestation.Reported}},
		"certified again":        {attestationtest.Model{Statuses: []string{"REVOKED", certified}}, attestation.Standing{Denied: attestation.Reported}},
		"revoked from tomorrow":  {attestationtest.Model{Statuses: []string{"REVOKED"}, Since: day(2)}, attestation.Standing{}},
		"not one that is denied": {attestationtest.Model{Statuses: []string{certified, "USER_KEY_PHYSICAL_COMPROMISE"}}, attestation.Standing{Hardware: true}},
	} {
		m, maker := published(t)
		c.model.Maker = maker
		m.Models = []attestationtest.Model{c.model}
		m.Write()
		c.want.Name = maker.Name
		if got := m.Service(m.Settings(attestation.Known), time.Now).Of(model(maker)); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		if got := m.Service(m.Settings(attestation.None), time.Now).Of(model(maker)); got != (attestation.Standing{Name: maker.Name}) {
			t.Errorf("%s: without attestation %+v", name, got)
		}
	}
	m, maker := published(t)
	s := m.Settings(attestation.Known)
	s.Deny = []string{strings.ToUpper(maker.AAGUID.String())}
	if got := m.Service(s, time.Now).Of(model(maker)); got != (attestation.Standing{Name: maker.Name, Denied: attestation.Listed}) {
		t.Errorf("%+v", got)
	}
	if got := (*attestation.Service)(nil).Of(model(maker)); got != (attestation.Standing{}) {
		t.Errorf("nobody knows %+v", got)
	}
}

func TestSettingsThatMakeNoSense(t *testing.T) {
	m, maker := published(t)
	text := maker.AAGUID.String()
	for want, change := range map[string]func(s *attestation.Settings){
		"passkey.metadata_file: passkey.attestation is known: name the file": func(s *attestation.Settings) { s.File = "" },
		"set that to known or certified":                                     func(s *attestation.Settings) { s.Require, s.Deny = attestation.None, []string{text} },
		`passkey.allow_models: "x": want an AAGUID`:                          func(s *attestation.Settings) { s.Allow = []string{text, "x"} },
		`passkey.deny_models: "00000000-0000-0000-0000-000000000000": want`:  func(s *attestation.Settings) { s.Deny = []string{"00000000-0000-0000-0000-000000000000"} },
		`passkey.deny_statuses: there is no status "REVOKD"`:                 func(s *attestation.Settings) { s.DenyStatuses = []string{"REVOKD"} },
		"passkey.metadata_root":                                              func(s *attestation.Settings) { s.Root = m.File },
	} {
		s := m.Settings(attestation.Known)
		change(&s)
		if _, err := attestation.New(s, time.Now, attestationtest.Log(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if a, err := attestation.New(attestation.Settings{Require: attestation.None}, time.Now, attestationtest.Log(t)); a != nil || err != nil || a.Asks() || a.Load(t.Context()) != nil {
		t.Errorf("%v, %v", a, err)
	}
}
