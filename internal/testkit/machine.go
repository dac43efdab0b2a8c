// Package testkit gives tests a whole sign-in machine, and a whole server, on a real database.
package testkit

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/approval"
	"countersign/internal/audit"
	"countersign/internal/backup"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/keyring"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/onetime"
	"countersign/internal/outbox"
	"countersign/internal/passkey"
	"countersign/internal/password"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/profile"
	"countersign/internal/protect"
	"countersign/internal/recovery"
	"countersign/internal/registration"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/throttle"
	"countersign/internal/totp"
)

// Password is the password of every account that Machine.Account makes.
const Password = "orbit lantern meadow 42"

// FewDecoys is how many decoys there are in tests of anything but the time they take.
const FewDecoys = 16

// Origin is the site's scheme and host in tests.
const Origin = "https://id.example.com"

// Machine is one node's sign-in machine on a database, with passwords hashed at a token cost.
type Machine struct {
	*signin.Service

	Profile      *profile.Service
	Recovery     *recovery.Service
	Protect      *protect.Service
	Registration *registration.Service // open to everybody, asking for nothing but a password
	Client       signin.Client
	t            testing.TB
}

// Ring returns a ring with one random key. Nodes on one database share it.
func Ring(t testing.TB) *keyring.Ring {
	t.Helper()
	roots, err := keyring.Parse(keyring.Generate())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.New(roots)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// NewMachine wires a node.
func NewMachine(t testing.TB, db *sqldb.DB, ring *keyring.Ring) *Machine {
	t.Helper()
	passwords, err := password.New(password.Options{
		DB: db, Ring: ring, WeakForTests: true, MaxWait: time.Minute,
		Params: password.Params{MemoryKiB: 64, Time: 1, Lanes: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	accounts := &account.Service{DB: db, Ring: ring, Decoys: FewDecoys}
	decoys, err := accounts.EnsureDecoys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := passwords.EnsureDummies(t.Context(), decoys); err != nil {
		t.Fatal(err)
	}
	devices := &device.Service{DB: db, Ring: ring, Origin: Origin, RememberFor: 30 * 24 * time.Hour}
	p := signin.Parts{
		DB: db, Ring: ring, Audit: &audit.Log{Ring: ring}, Outbox: &outbox.Box{DB: db, Ring: ring},
		Throttle: &throttle.Service{Ring: ring}, Accounts: accounts, Passwords: passwords,
		Codes:   &onetime.Service{Ring: ring, Digits: 6, TTL: 10 * time.Minute},
		Devices: devices,
		Sessions: &session.Service{
			DB: db, Ring: ring, Accounts: accounts, Devices: devices,
			Idle: 12 * time.Hour, Absolute: 7 * 24 * time.Hour, MaxStale: time.Minute,
		},
	}
	p.Own = factor.Own{
		Choices:        &factor.Choices{Accounts: accounts},
		Authenticators: &totp.Service{DB: db, Ring: ring, Audit: p.Audit}, BackupCodes: &backup.Service{Ring: ring},
		Passkeys: &passkey.Service{Ring: ring, Site: "Example", RPID: "id.example.com", Origins: []string{Origin}},
	}
	if err := errors.Join(p.Authenticators.EnsureDummies(t.Context()), p.Choices.EnsureDummies(t.Context(), decoys)); err != nil {
		t.Fatal(err)
	}
	p.Notices = &notice.Service{
		Ring: ring, Accounts: accounts, Outbox: p.Outbox, Base: Origin, Site: "Example", Channels: []message.Channel{message.SMS, message.Email},
		Apps: func(_ context.Context, _ *sqldb.Tx, id string) (notice.App, error) {
			return notice.App{Name: strings.ToUpper(id[:1]) + id[1:], Site: "https://" + id + ".example.net"}, nil
		},
	}
	machine := &signin.Service{Parts: p, Approvals: &approval.Service{Ring: ring}, Limits: signin.DefaultLimits(), FlowTTL: 15 * time.Minute, Site: "Example", Ways: []factor.Way{factor.SMS, factor.Email}}
	back := &recovery.Service{
		Parts: p, SignIn: machine, Limits: recovery.DefaultLimits(), Site: machine.Site, Ways: machine.Ways, Wait: 24 * time.Hour,
	}
	if err := back.EnsureDummies(t.Context(), decoys); err != nil {
		t.Fatal(err)
	}
	entry := &registration.Service{
		Parts: p, Rules: registration.Rules{Mode: registration.Open}, Limits: registration.DefaultLimits(), FlowTTL: 15 * time.Minute,
		Site: "Example", Ways: []factor.Way{factor.SMS, factor.Email},
	}
	guard := &protect.Service{Parts: p, Recovery: back, Limits: protect.DefaultLimits()}
	return &Machine{
		Service: machine, Recovery: back, Protect: guard,
		Profile: &profile.Service{
			DB: db, Audit: p.Audit, Accounts: accounts, Devices: p.Devices, Sessions: p.Sessions, SignIn: machine, Recovery: back,
			Protect: guard, Entry: entry, EraseAfter: 14 * 24 * time.Hour, Erasers: []profile.Eraser{
				p.Passwords.Erase, p.Passkeys.Erase, p.Sessions.Erase, p.Devices.Erase, p.Notices.Erase, p.Authenticators.Erase, p.BackupCodes.Erase, machine.Approvals.Erase, back.Erase, entry.Erase,
				func(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
					return p.Outbox.Erase(ctx, tx, string(id))
				},
			},
		},
		Registration: entry,
		Client:       signin.Client{Source: netip.MustParseAddr("192.0.2.7"), UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
		t:            t,
	}
}

// Account makes an account that signs in with any of the names, each verified, with Password.
func (m *Machine) Account(names ...string) account.ID {
	m.t.Helper()
	id := m.Bare(names...)
	if err := m.Passwords.Set(m.t.Context(), id, Password, nil); err != nil {
		m.t.Fatal(err)
	}
	return id
}

// Bare makes an account without a password.
func (m *Machine) Bare(names ...string) (id account.ID) {
	m.t.Helper()
	n := account.New{Language: "en"}
	for _, name := range names {
		ident, err := account.Parse(name)
		if err != nil {
			m.t.Fatal(err)
		}
		reachable := ident.Kind() != account.Username
		n.Identifiers = append(n.Identifiers, account.NewIdentifier{Identifier: ident, SignsIn: true, Verified: reachable, Notices: reachable, Recovers: reachable})
	}
	err := m.DB.Write(m.t.Context(), func(tx *sqldb.Tx) (err error) {
		id, err = m.Accounts.Create(m.t.Context(), tx, n)
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return id
}

// Letters takes what is waiting in the outbox, as a courier would that sends all of it.
func (m *Machine) Letters(ch message.Channel) []outbox.Claimed {
	m.t.Helper()
	letters, err := m.Outbox.Claim(context.Background(), ch, 100, time.Minute)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, l := range letters {
		if err := m.Outbox.Finish(context.Background(), l, outbox.Receipt{}); err != nil {
			m.t.Fatal(err)
		}
	}
	return letters
}

// LastCode takes the newest code waiting in the outbox. It is empty if none waits.
func (m *Machine) LastCode(ch message.Channel) secret.Token {
	m.t.Helper()
	var code string
	for _, l := range m.Letters(ch) {
		if l.Kind == message.SigninCode && !l.Withhold {
			code = l.Params["code"]
		}
	}
	return secret.Of(code)
}

// Key is a device's key pair.
type Key struct{ private crypto.Signer }

// NewKey makes a P-256 key, as a browser does.
func NewKey(t testing.TB) Key {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return Key{k}
}

// NewEdKey makes an Ed25519 key, as some apps do.
func NewEdKey(t testing.TB) Key {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return Key{k}
}

// Public is the key's SubjectPublicKeyInfo.
func (k Key) Public() []byte {
	spki, err := x509.MarshalPKIXPublicKey(k.private.Public())
	if err != nil {
		panic(err) // such a key always marshals
	}
	return spki
}

// Sign signs the statement for a purpose over a flow's nonce: with P-256 as r and s of its SHA-256.
func (k Key) Sign(purpose, origin, nonce string) []byte {
	statement := device.Statement(purpose, origin, nonce)
	private, ok := k.private.(*ecdsa.PrivateKey)
	if !ok {
		return ed25519.Sign(k.private.(ed25519.PrivateKey), statement)
	}
	sum := sha256.Sum256(statement)
	r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return sig
}
