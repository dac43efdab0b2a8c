package passkey_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"maps"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"countersign/internal/account"
	"countersign/internal/passkey"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

const (
	flow = "a flow"
	rpID = "id.example.com"
)

// kit is a database with two people.
type kit struct {
	*passkey.Service

	t        *testing.T
	db       *sqldb.DB
	clock    *dbtest.Clock
	ada, bob account.ID
}

func each(t *testing.T, f func(t *testing.T, k *kit)) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		m := testkit.NewMachine(t, db, testkit.Ring(t))
		f(t, &kit{m.Passkeys, t, db, clock, m.Account("ada@example.org"), m.Account("bob@example.org")})
	})
}

func (k *kit) write(f func(tx *sqldb.Tx) error) {
	k.t.Helper()
	if err := k.db.Write(k.t.Context(), f); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kit) beginEnrol(e passkey.Enrol) (b passkey.Begun) {
	k.t.Helper()
	k.write(func(tx *sqldb.Tx) (err error) {
		var r passkey.Refusal
		if b, r, err = k.BeginEnrol(k.t.Context(), tx, e); r != "" {
			k.t.Fatalf("refused: %s", r)
		}
		return err
	})
	return b
}

func (k *kit) finishEnrol(a passkey.Answer, name string) (p passkey.Passkey, r passkey.Refusal) {
	k.t.Helper()
	k.write(func(tx *sqldb.Tx) (err error) {
		p, r, err = k.FinishEnrol(k.t.Context(), tx, a, name)
		return err
	})
	return p, r
}

// enrol enrols a passkey of an authenticator's.
func (k *kit) enrol(who account.ID, a *authenticator) passkey.Passkey {
	k.t.Helper()
	b := k.beginEnrol(passkey.Enrol{Bound: flow, Account: who, Name: "ada@example.org", Shown: "Ada"})
	p, r := k.finishEnrol(passkey.Answer{Bound: flow, State: b.State, Response: a.creates(b.Options)}, "Phone")
	if r != "" {
		k.t.Fatalf("refused: %s", r)
	}
	return p
}

func (k *kit) beginSignin(q passkey.Signin) (b passkey.Begun) {
	k.t.Helper()
	q.Bound = flow
	k.write(func(tx *sqldb.Tx) (err error) {
		b, err = k.BeginSignin(k.t.Context(), tx, q)
		return err
	})
	return b
}

func (k *kit) verify(a passkey.Answer) (v passkey.Verdict, r passkey.Refusal) {
	k.t.Helper()
	k.write(func(tx *sqldb.Tx) (err error) {
		v, r, err = k.Verify(k.t.Context(), tx, a)
		return err
	})
	return v, r
}

// signIn signs in with an authenticator.
func (k *kit) signIn(q passkey.Signin, a *authenticator) (passkey.Verdict, passkey.Refusal) {
	k.t.Helper()
	b := k.beginSignin(q)
	return k.verify(passkey.Answer{Bound: flow, State: b.State, Response: a.signs(b.Options)})
}

func (k *kit) list(who account.ID) (all []passkey.Passkey) {
	k.t.Helper()
	k.write(func(tx *sqldb.Tx) (err error) {
		all, err = k.List(k.t.Context(), tx, who)
		return err
	})
	return all
}

// options are what of them tests look at.
type options struct {
	Challenge string `json:"challenge"`
	RPID      string `json:"rpId"`
	RP        struct {
		ID, Name string
	} `json:"rp"`
	User struct {
		ID, Name, DisplayName string
	} `json:"user"`
	Allow   []listed `json:"allowCredentials"`
	Exclude []listed `json:"excludeCredentials"`
	UV      string   `json:"userVerification"`
	Conveys string   `json:"attestation"`
	Wants   struct {
		UV string `json:"userVerification"`
	} `json:"authenticatorSelection"`
}

type listed struct {
	Type       string   `json:"type"`
	ID         string   `json:"id"`
	Transports []string `json:"transports"`
}

func read(t *testing.T, raw json.RawMessage) (o options) {
	t.Helper()
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// authenticator is one with a single passkey, for answers that no honest one gives too; testkit.Passkey is one that is not ours.
type authenticator struct {
	t      *testing.T
	id     []byte
	key    crypto.Signer
	public map[int]any // COSE_Key
	make   []byte

	rpID, origin string
	user         []byte
	flags        byte
	count        uint32
	transports   []string
	client       map[string]any                         // more client data
	attests      func(object, clientData []byte) []byte // its maker's statement; nil makes none
	extensions   map[string]any
	spoil        bool // signs something else
}

const (
	present  = 1
	verified = 1 << 2
	eligible = 1 << 3
	backedUp = 1 << 4
	attested = 1 << 6
)

func newAuthenticator(t *testing.T) *authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return &authenticator{
		t: t, id: random(32), key: key, public: map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]}, make: random(16),
		rpID: rpID, origin: testkit.Origin, flags: present | verified, transports: []string{"internal", "hybrid", "unheard"},
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func (a *authenticator) clientData(kind, challenge string) []byte {
	all := map[string]any{"type": kind, "challenge": challenge, "origin": a.origin, "crossOrigin": false}
	maps.Copy(all, a.client)
	return a.json(all)
}

func (a *authenticator) json(v any) []byte {
	a.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

func (a *authenticator) data(flags byte) []byte {
	hash := sha256.Sum256([]byte(a.rpID))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), a.count)
}

func (a *authenticator) credential(response map[string]any) []byte {
	extensions := a.extensions
	if extensions == nil {
		extensions = map[string]any{}
	}
	return a.json(map[string]any{"type": "public-key", "id": b64(a.id), "rawId": b64(a.id), "response": response, "clientExtensionResults": extensions})
}

// creates answers creation options.
func (a *authenticator) creates(raw json.RawMessage) []byte {
	a.t.Helper()
	o := read(a.t, raw)
	if a.user == nil {
		var err error
		if a.user, err = base64.RawURLEncoding.DecodeString(o.User.ID); err != nil {
			a.t.Fatal(err)
		}
	}
	key, err := cbor.Marshal(a.public)
	if err != nil {
		a.t.Fatal(err)
	}
	data := append(a.data(a.flags|attested), a.make...)
	data = append(binary.BigEndian.AppendUint16(data, uint16(len(a.id))), a.id...)
	object, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": append(data, key...)})
	if err != nil {
		a.t.Fatal(err)
	}
	client := a.clientData("webauthn.create", o.Challenge)
	if a.attests != nil {
		object = a.attests(object, client)
	}
	return a.credential(map[string]any{"clientDataJSON": b64(client), "attestationObject": b64(object), "transports": a.transports})
}

// signs answers request options.
func (a *authenticator) signs(raw json.RawMessage) []byte {
	a.t.Helper()
	client, data := a.clientData("webauthn.get", read(a.t, raw).Challenge), a.data(a.flags)
	hash := sha256.Sum256(client)
	sum := sha256.Sum256(append(bytes.Clone(data), hash[:]...))
	if a.spoil {
		sum[0] ^= 1
	}
	signature, err := a.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		a.t.Fatal(err)
	}
	response := map[string]any{"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature)}
	if len(a.user) > 0 {
		response["userHandle"] = b64(a.user)
	}
	return a.credential(response)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
