package server_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/assurance"
	"countersign/internal/attestation/attestationtest"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/session"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

// vets sets a node up to take passkeys of models in a file.
func vets(m *attestationtest.Metadata) func(c *config.Config) {
	return func(c *config.Config) {
		s := m.Settings("certified")
		c.Passkey = config.Passkey{Attestation: s.Require, MetadataFile: s.File, MetadataRoot: s.Root, MetadataSigner: s.Signer, DenyStatuses: s.DenyStatuses}
	}
}

func metadataOf(t *testing.T, makers ...*attestationtest.Maker) *attestationtest.Metadata {
	t.Helper()
	m := attestationtest.New(t)
	for _, maker := range makers {
		m.Models = append(m.Models, attestationtest.Model{Maker: maker, Statuses: []string{"FIDO_CERTIFIED_L1"}})
	}
	m.Write()
	return m
}

func text(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

type asksPasskey struct {
	Options json.RawMessage
	State   string
}

func (a *app) options(path string) (o asksPasskey) {
	a.t.Helper()
	body := ""
	if a.token == "" {
		body = "{}"
	}
	if err := json.Unmarshal([]byte(a.want(200, a.call("POST", path, body)).text), &o); err != nil {
		a.t.Fatal(err)
	}
	return o
}

func (a *app) adds(p *testkit.Passkey) answer {
	a.t.Helper()
	o := a.options("/api/v1/account/passkeys/options")
	return a.call("POST", "/api/v1/account/passkeys", text(a.t, map[string]string{"state": o.State, "credential": string(p.Create(o.Options)), "name": "Key"}))
}

func (a *app) signsIn(p *testkit.Passkey) answer {
	a.t.Helper()
	a.token = ""
	o := a.options("/api/v1/signin/passkey/options")
	return a.call("POST", "/api/v1/signin/passkey", text(a.t, map[string]string{"state": o.State, "credential": string(p.Sign(o.Options))}))
}

// An app adds a passkey whose model is taken, and is told why another is not. What it signs in is the highest level, for half a day.
// When the model is revoked the answer is that to a wrong one, and the list says why.
func TestAnAppAddsPasskeysOfAttestedModels(t *testing.T) {
	maker, other := attestationtest.NewMaker(t, "<b>Example</b> Key 5"), attestationtest.NewMaker(t, "Other")
	m := metadataOf(t, maker)
	n := servertest.Start(t, servertest.Options{Config: vets(m)})
	ada := n.Account("ada@example.org")
	a := &app{t: t, node: n}
	a.signIn("ada@example.org", nothing)
	made := func(by *attestationtest.Maker) *testkit.Passkey {
		p := testkit.NewPasskey(t, "127.0.0.1", n.URL, "ec2")
		if by != nil {
			p.MadeBy(by)
		}
		return p
	}
	for name, bad := range map[string]*testkit.Passkey{"another model": made(other), "nobody's": made(nil)} {
		if got := a.adds(bad); got.status != 422 || got.Code != "passkey_model_refused" {
			t.Errorf("%s: %d %s", name, got.status, got.text)
		}
	}
	if !strings.Contains(n.Log.String(), other.AAGUID.String()) {
		t.Error("the operator is not told which model was refused")
	}
	key := made(maker)
	a.want(204, a.adds(key))
	if got := a.want(200, a.call("GET", "/api/v1/account/factors", "")); !strings.Contains(got.text, `"attested":true`) || strings.Contains(got.text, "denied") || !strings.Contains(got.text, "Key 5") {
		t.Error(got.text)
	}
	in := a.want(200, a.signsIn(key)).Session
	a.assured(in.Token, "passkey_attested_verified aal3 hwk,user,mfa")
	n.Clock.Advance(12 * time.Hour)
	a.token = in.Token
	if got := a.call("GET", "/api/v1/session", ""); got.status != 401 {
		t.Errorf("after half a day: %d %s", got.status, got.text)
	}

	m.Models[0].Statuses = append(m.Models[0].Statuses, "REVOKED")
	m.Write()
	if err := n.Core().Models.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	denied := a.signsIn(key)
	o := a.options("/api/v1/signin/passkey/options")
	wrong := a.call("POST", "/api/v1/signin/passkey", text(t, map[string]string{"state": o.State, "credential": string(key.Sign(a.options("/api/v1/signin/passkey/options").Options))}))
	if denied.Code != "passkey_refused" || denied.status != wrong.status || denied.Code != wrong.Code {
		t.Errorf("%d %s, a wrong one %d %s", denied.status, denied.text, wrong.status, wrong.text)
	}
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		st, err := n.Core().Sessions.Start(t.Context(), tx, session.New{Account: ada, Methods: []assurance.Method{assurance.Password}})
		a.token = st.Token.Reveal()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := a.want(200, a.call("GET", "/api/v1/account/factors", "")); !strings.Contains(got.text, `"denied":"reported"`) {
		t.Error(got.text)
	}
}

// Without a good file nobody knows which passkeys to take: the server does not start, and says what to do.
func TestMetadataThatNobodyCanTrustStopsTheStart(t *testing.T) {
	m := metadataOf(t, attestationtest.NewMaker(t, "Example Key 5"))
	c := settings(t, "sqlite:"+filepath.Join(t.TempDir(), "countersign.db"))
	vets(m)(&c)
	if err := start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	m.Put([]byte("a.b.c"))
	if err := start(t.Context(), c); err == nil || !strings.Contains(err.Error(), "passkey.metadata_file: "+m.File) {
		t.Errorf("%v", err)
	}
	c.Passkey.MetadataFile = ""
	if err := start(t.Context(), c); err == nil || !strings.Contains(err.Error(), "name the file") {
		t.Errorf("%v", err)
	}
}

func TestTheDoctorLooksAtTheMetadata(t *testing.T) {
	m := metadataOf(t, attestationtest.NewMaker(t, "Example Key 5"))
	clock := dbtest.NewClock()
	look := func() server.Finding {
		t.Helper()
		c := config.Default()
		vets(m)(&c)
		for _, f := range server.Examine(t.Context(), c, server.Deps{Now: clock.Now}) {
			if f.Part == "passkeys" {
				return f
			}
		}
		t.Fatal("not looked at")
		return server.Finding{}
	}
	if f := look(); f.State != server.Fine {
		t.Errorf("%+v", f)
	}
	clock.Advance(40 * 24 * time.Hour)
	if f := look(); f.State != server.Warning || !strings.Contains(f.Words, "newer metadata since") {
		t.Errorf("%+v", f)
	}
	m.Put(nil)
	if f := look(); f.State != server.Broken {
		t.Errorf("%+v", f)
	}
}
