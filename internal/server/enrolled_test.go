package server_test

import (
	"net/netip"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/google/uuid"
	"golang.org/x/crypto/bcrypt"

	"countersign/internal/account"
	"countersign/internal/approval"
	"countersign/internal/passkey"
	"countersign/internal/password/foreign"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/signin"
	"countersign/internal/testkit"
)

// enrolled gives Ada a passkey, and has another device asked to let a sign-in of hers in.
func (l *life) enrolled() {
	l.t.Helper()
	l.passkey = testkit.NewPasskey(l.t, l.c.Public().Hostname(), l.c.Public().String(), virtualwebauthn.KeyTypeEC2)
	err := l.core.DB.Write(l.t.Context(), func(tx *sqldb.Tx) error {
		begun, _, err := l.core.Passkeys.BeginEnrol(l.t.Context(), tx, passkey.Enrol{Bound: "a flow", Account: l.ada})
		if err != nil {
			return err
		}
		_, refused, err := l.core.Passkeys.FinishEnrol(l.t.Context(), tx, passkey.Answer{Bound: "a flow", State: begun.State, Response: l.passkey.Create(begun.Options)}, "Phone")
		if refused != "" {
			l.t.Errorf("a passkey: %s", refused)
		}
		if err != nil {
			return err
		}
		_, err = l.core.SignIn.Approvals.Ask(l.t.Context(), tx, approval.New{
			ID: approval.ID(uuid.Must(uuid.NewV7()).String()), Account: l.ada, Source: netip.MustParseAddr("192.0.2.7"), Device: "Firefox on Linux",
			FlowEnds: tx.Now().Add(15 * time.Minute),
		})
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// imported makes an account with a hash that another system made.
func (l *life) imported() {
	l.t.Helper()
	ctx := l.t.Context()
	made, err := bcrypt.GenerateFromPassword([]byte("hopper"), 5)
	if err != nil {
		l.t.Fatal(err)
	}
	h, err := foreign.Parse(string(made))
	if err != nil {
		l.t.Fatal(err)
	}
	kept, err := l.core.Passwords.Keep(h)
	if err != nil {
		l.t.Fatal(err)
	}
	l.grace, err = l.core.CreateAccount(ctx, server.NewAccount{Language: "en", Identifiers: []account.NewIdentifier{l.name("grace@example.org")}})
	if err == nil {
		err = l.core.DB.Write(ctx, func(tx *sqldb.Tx) error { return l.core.Passwords.SetHash(ctx, tx, l.grace, kept) })
	}
	if err != nil {
		l.t.Fatal(err)
	}
	c := l.c
	c.SignIn.HidePasswordResult = true // such a flow keeps what will replace the hash
	shy, err := server.Open(ctx, c, deps())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = shy.Close() })
	begun, err := shy.SignIn.Begin(ctx, signin.Begin{Identifier: "grace@example.org", Browser: browser, Client: here})
	if err == nil {
		_, err = shy.SignIn.Password(ctx, signin.Ref{Flow: begun.Flow, Browser: browser}, here, signin.PasswordProof{Password: "hopper"})
	}
	if err != nil {
		l.t.Fatal(err)
	}
}
