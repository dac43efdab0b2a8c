package passkey_test

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"countersign/internal/attestation"
	"countersign/internal/attestation/attestationtest"
	"countersign/internal/passkey"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// vector is one of the specification's.
type vector struct {
	Section      string `json:"section"`
	Title        string `json:"title"`
	CredentialID string `json:"credential_id"`
	Registration struct {
		Challenge         string `json:"challenge"`
		ClientDataJSON    string `json:"client_data_json"`
		AttestationObject string `json:"attestation_object"`
	} `json:"registration"`
	Authentication struct {
		Challenge         string `json:"challenge"`
		ClientDataJSON    string `json:"client_data_json"`
		AuthenticatorData string `json:"authenticator_data"`
		Signature         string `json:"signature"`
	} `json:"authentication"`
}

// R-WA-14: the vectors of WebAuthn Level 3 section 16, but for Ed448, which nobody here knows. We refuse those that
// use what we do not offer, and pages in somebody's frame.
func TestTheVectorsOfTheSpecification(t *testing.T) {
	refused := map[string]string{
		"16.4": "a frame", "16.5": "a frame",
		"16.8": "an algorithm that we do not offer", "16.9": "an algorithm that we do not offer",
	}
	all := vectors(t)
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		m := testkit.NewMachine(t, db, testkit.Ring(t))
		k := &kit{m.Passkeys, t, db, clock, m.Account("ada@example.org"), ""}
		k.RPID, k.Origins = "example.org", []string{"https://example.org"}
		for _, v := range all {
			want, signs := passkey.Refusal(""), passkey.Refusal("")
			if refused[v.Section] != "" {
				want, signs = passkey.Wrong, passkey.Unknown
			}
			a := v.registers(t, k)
			p, r := k.finishEnrol(a, v.Title)
			if r != want {
				t.Errorf("%s %s: enrolled: %q, want %q", v.Section, v.Title, r, want)
			}
			a.Response = v.answer(t, map[string]string{
				"clientDataJSON": v.Authentication.ClientDataJSON, "authenticatorData": v.Authentication.AuthenticatorData, "signature": v.Authentication.Signature,
			})
			a.Account = k.ada
			k.write(func(tx *sqldb.Tx) error {
				a.State = k.Asked(tx, flow, unhex(t, v.Authentication.Challenge), k.ada)
				return nil
			})
			got, r := k.verify(a)
			if r != signs || r == "" && got.Passkey != p.ID {
				t.Errorf("%s %s: signed in: %+v, %q, want %q", v.Section, v.Title, got, r, signs)
			}
		}
	})
}

// The vectors with statements of a maker are attested, where the metadata have the certificate of section 16.1 for their models; those
// without are not taken then.
func TestTheVectorsThatAreAttested(t *testing.T) {
	want := map[string]passkey.Refusal{
		"16.2": passkey.Untaken, "16.3": passkey.Untaken, "16.7": "", "16.10": "", "16.11": "", "16.16": "",
		"16.13": passkey.Wrong, "16.14": passkey.Wrong, "16.15": passkey.Wrong, // the library takes none but real makers of TPMs, phones and Apples
	}
	text, err := os.ReadFile("testdata/vectors-ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	all, file := vectors(t), attestationtest.New(t)
	for _, v := range all {
		maker := attestationtest.NewMaker(t, v.Title)
		copy(maker.AAGUID[:], v.aaguid(t))
		file.Models = append(file.Models, attestationtest.Model{Maker: maker, OtherRoot: ca})
	}
	file.Write()
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		m := testkit.NewMachine(t, db, testkit.Ring(t))
		k := &kit{m.Passkeys, t, db, clock, m.Account("ada@example.org"), ""}
		k.RPID, k.Origins, k.Models = "example.org", []string{"https://example.org"}, file.Service(file.Settings(attestation.Known), clock.Now)
		for _, v := range all {
			refusal, tried := want[v.Section]
			if !tried {
				continue
			}
			if p, r := k.finishEnrol(v.registers(t, k), v.Title); r != refusal || p.Attested != (r == "") {
				t.Errorf("%s %s: %q, want %q: %+v", v.Section, v.Title, r, refusal, p)
			}
		}
	})
}

// aaguid is the model that the authenticator says it is: the first bytes after the fixed ones of its data.
func (v vector) aaguid(t *testing.T) []byte {
	t.Helper()
	var object struct {
		Data []byte `cbor:"authData"`
	}
	if err := cbor.Unmarshal(unhex(t, v.Registration.AttestationObject), &object); err != nil {
		t.Fatal(err)
	}
	return object.Data[37:53]
}

func vectors(t *testing.T) (all []vector) {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &all); err != nil || len(all) != 14 {
		t.Fatalf("%d vectors, %v", len(all), err)
	}
	return all
}

// registers is the answer to an enrolment of Ada's.
func (v vector) registers(t *testing.T, k *kit) passkey.Answer {
	t.Helper()
	a := passkey.Answer{Bound: flow, Response: v.answer(t, map[string]string{
		"clientDataJSON": v.Registration.ClientDataJSON, "attestationObject": v.Registration.AttestationObject,
	})}
	k.write(func(tx *sqldb.Tx) error {
		a.State = k.Began(tx, flow, unhex(t, v.Registration.Challenge), k.ada)
		return nil
	})
	return a
}

func (v vector) answer(t *testing.T, response map[string]string) []byte {
	t.Helper()
	for name, value := range response {
		response[name] = b64(unhex(t, value))
	}
	id := b64(unhex(t, v.CredentialID))
	out, err := json.Marshal(map[string]any{"id": id, "rawId": id, "type": "public-key", "response": response})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
