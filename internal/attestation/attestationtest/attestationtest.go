// Package attestationtest makes up a metadata service and makers of authenticators for tests.
package attestationtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"countersign/internal/attestation"
)

// Signer is the host name in the certificate that signs.
const Signer = "metadata.example"

// CA signs certificates.
type CA struct {
	Cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes one that nobody knows yet.
func NewCA(t testing.TB) CA {
	t.Helper()
	return issue(t, CA{}, x509.Certificate{Subject: pkix.Name{CommonName: "A root"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign})
}

func issue(t testing.TB, by CA, c x509.Certificate) CA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.BasicConstraintsValid = big.NewInt(time.Now().UnixNano()), true
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().AddDate(-2, 0, 0), time.Now().AddDate(10, 0, 0)
	}
	if by.Cert == nil {
		by = CA{&c, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, &c, by.Cert, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return CA{cert, key}
}

// Metadata is a file under way. Its fields may be changed before Write.
type Metadata struct {
	Number int
	Next   time.Time
	Header map[string]any // more of it, or other
	Models []Model
	More   []any // further entries, as they stand

	Signs CA
	File  string
	t     testing.TB
	dir   string
	root  CA
}

// New makes a metadata service with a root of its own, which has published nothing yet.
func New(t testing.TB) *Metadata {
	t.Helper()
	m := &Metadata{Number: 7, Next: time.Now().AddDate(0, 1, 0), t: t, dir: t.TempDir(), root: NewCA(t)}
	m.File = filepath.Join(m.dir, "blob.jwt")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.root.Cert.Raw})
	if err := os.WriteFile(filepath.Join(m.dir, "root.pem"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	m.Sign(Signer, time.Time{})
	return m
}

// Sign gives the service a certificate of another name, or of another time.
func (m *Metadata) Sign(host string, until time.Time) {
	c := x509.Certificate{Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotAfter: until}
	if !until.IsZero() {
		c.NotBefore = until.AddDate(-1, 0, 0)
	}
	m.Signs = issue(m.t, m.root, c)
}

// Settings are those of somebody who takes this service's word.
func (m *Metadata) Settings(require string) attestation.Settings {
	return attestation.Settings{
		Require: require, File: m.File, Root: filepath.Join(m.dir, "root.pem"), Signer: Signer,
		DenyStatuses: []string{"REVOKED", "USER_KEY_REMOTE_COMPROMISE"},
	}
}

// Service is one that has read the file.
func (m *Metadata) Service(s attestation.Settings, now func() time.Time) *attestation.Service {
	m.t.Helper()
	out, err := attestation.New(s, now, Log(m.t))
	if err == nil {
		err = out.Load(m.t.Context())
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

// Model is an entry.
type Model struct {
	*Maker

	Statuses  []string
	Keeps     []string          // keyProtection
	Since     string            // the date of the last status
	Extra     map[string]any    // of the statement
	OtherRoot *x509.Certificate // in place of the maker's
}

// Text is the file.
func (m *Metadata) Text() []byte {
	m.t.Helper()
	entries := slices.Clone(m.More)
	for _, one := range m.Models {
		entries = append(entries, one.entry())
	}
	payload, err := json.Marshal(map[string]any{
		"legalHeader": "For tests.", "no": m.Number, "nextUpdate": m.Next.UTC().Format(time.DateOnly), "entries": entries,
	})
	if err != nil {
		m.t.Fatal(err)
	}
	o := (&jose.SignerOptions{}).WithHeader("x5c", []string{base64.StdEncoding.EncodeToString(m.Signs.Cert.Raw)})
	for k, v := range m.Header {
		o = o.WithHeader(jose.HeaderKey(k), v)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: m.Signs.key}, o)
	if err != nil {
		m.t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		m.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		m.t.Fatal(err)
	}
	return []byte(text)
}

// Write publishes the file, at once and in one piece, as who fetches it does.
func (m *Metadata) Write() {
	m.t.Helper()
	m.Put(m.Text())
}

// Put publishes something else.
func (m *Metadata) Put(text []byte) {
	m.t.Helper()
	draft := m.File + ".draft"
	if err := os.WriteFile(draft, text, 0o600); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(draft, m.File); err != nil {
		m.t.Fatal(err)
	}
}

func (o Model) entry() map[string]any {
	root := o.root.Cert
	if o.OtherRoot != nil {
		root = o.OtherRoot
	}
	keeps := o.Keeps
	if keeps == nil {
		keeps = []string{"hardware", "secure_element"}
	}
	statement := map[string]any{
		"description": o.Name, "aaguid": o.AAGUID.String(), "authenticatorVersion": 5, "protocolFamily": "fido2", "schema": 3,
		"upv": []any{map[string]int{"major": 1, "minor": 1}}, "authenticationAlgorithms": []string{"secp256r1_ecdsa_sha256_raw"},
		"publicKeyAlgAndEncodings": []string{"cose"}, "attestationTypes": []string{"basic_full"}, "keyProtection": keeps,
		"attestationRootCertificates": []string{base64.StdEncoding.EncodeToString(root.Raw)}, "icon": "data:image/png;base64,AAAA",
	}
	for k, v := range o.Extra {
		statement[k] = v
	}
	reports := []any{}
	for _, status := range o.Statuses {
		report := map[string]string{"status": status}
		if o.Since != "" {
			report["effectiveDate"] = o.Since
		}
		reports = append(reports, report)
	}
	return map[string]any{
		"aaguid": o.AAGUID.String(), "metadataStatement": statement, "statusReports": reports, "timeOfLastStatusChange": "2026-01-01",
	}
}

// Maker makes authenticators of one model.
type Maker struct {
	Name   string
	AAGUID uuid.UUID

	t     testing.TB
	root  CA
	batch CA
}

// NewMaker founds one.
func NewMaker(t testing.TB, name string) *Maker {
	t.Helper()
	m := &Maker{Name: name, AAGUID: uuid.New(), t: t, root: NewCA(t)}
	m.batch = m.issue()
	return m
}

// As is another maker whose authenticators say that they are of this model.
func (m *Maker) As(t testing.TB) *Maker {
	t.Helper()
	other := &Maker{Name: m.Name, AAGUID: m.AAGUID, t: t, root: NewCA(t)}
	other.batch = other.issue()
	return other
}

func (m *Maker) issue() CA {
	m.t.Helper()
	id, err := asn1.Marshal(m.AAGUID[:])
	if err != nil {
		m.t.Fatal(err)
	}
	return issue(m.t, m.root, x509.Certificate{
		Subject: pkix.Name{
			Country: []string{"NO"}, Organization: []string{"Maker"}, OrganizationalUnit: []string{"Authenticator Attestation"}, CommonName: "Batch 1",
		},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 45724, 1, 1, 4}, Value: id}},
	})
}

// Attest puts the maker's statement in place of the one in an attestation object.
func (m *Maker) Attest(object, clientData []byte) []byte {
	m.t.Helper()
	return m.state(object, clientData, m.batch.key, map[string]any{"x5c": [][]byte{m.batch.Cert.Raw}})
}

// AttestWith signs with a key, and names no certificate: with that of the passkey it is self attestation.
func (m *Maker) AttestWith(key *ecdsa.PrivateKey, object, clientData []byte) []byte {
	m.t.Helper()
	return m.state(object, clientData, key, map[string]any{})
}

func (m *Maker) state(object, clientData []byte, key *ecdsa.PrivateKey, statement map[string]any) []byte {
	m.t.Helper()
	var was struct {
		Data []byte `cbor:"authData"`
	}
	if err := cbor.Unmarshal(object, &was); err != nil {
		m.t.Fatal(err)
	}
	hash := sha256.Sum256(clientData)
	sum := sha256.Sum256(append(slices.Clone(was.Data), hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		m.t.Fatal(err)
	}
	statement["alg"], statement["sig"] = -7, signature
	out, err := cbor.Marshal(map[string]any{"fmt": "packed", "attStmt": statement, "authData": was.Data})
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

// Log writes to a test's own.
func Log(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }
