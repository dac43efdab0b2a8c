package testkit

import (
	"context"
	"strings"

	"github.com/descope/virtualwebauthn"
	otp "github.com/pquerna/otp/totp"

	"countersign/internal/account"
	"countersign/internal/passkey"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/totp"
)

// App is an authenticator app that an account has.
type App struct {
	ID totp.ID

	m   *Machine
	key string
}

// Code is what the app shows now.
func (a App) Code() string {
	a.m.t.Helper()
	code, err := otp.GenerateCode(a.key, a.m.DB.Now())
	if err != nil {
		a.m.t.Fatal(err)
	}
	return code
}

// App enrols an authenticator app. Its next code is good in half a minute: the first has confirmed it.
func (m *Machine) App(id account.ID) (a App) {
	m.t.Helper()
	m.write(func(ctx context.Context, tx *sqldb.Tx) error {
		e, err := m.Authenticators.Begin(ctx, tx, id, totp.Label{Issuer: "Example", Account: "Example"})
		if err != nil {
			return err
		}
		a = App{e.ID, m, strings.ReplaceAll(e.Key.Reveal(), " ", "")}
		ok, err := m.Authenticators.Confirm(ctx, tx, id, totp.Confirmation{ID: e.ID, Code: secret.Of(a.Code()), Name: "My phone"})
		if err == nil && !ok {
			m.t.Fatal("the first code was refused")
		}
		return err
	})
	return a
}

// BackupCodesOf makes an account's list.
func (m *Machine) BackupCodesOf(id account.ID) (codes []secret.Token) {
	m.t.Helper()
	m.write(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		codes, err = m.BackupCodes.Reissue(ctx, tx, id)
		return err
	})
	return codes
}

// PasskeyOf enrols a passkey, made as the changes say.
func (m *Machine) PasskeyOf(id account.ID, changes ...func(*Passkey)) *Passkey {
	m.t.Helper()
	p := NewPasskey(m.t, m.Passkeys.RPID, m.Passkeys.Origins[0], virtualwebauthn.KeyTypeEC2)
	for _, change := range changes {
		change(p)
	}
	m.write(func(ctx context.Context, tx *sqldb.Tx) error {
		begun, _, err := m.Passkeys.BeginEnrol(ctx, tx, passkey.Enrol{Bound: "test", Account: id})
		if err != nil {
			return err
		}
		_, refused, err := m.Passkeys.FinishEnrol(ctx, tx, passkey.Answer{Bound: "test", State: begun.State, Response: p.Create(begun.Options)}, "Phone")
		if refused != "" {
			m.t.Fatalf("a passkey was not enrolled: %s", refused)
		}
		return err
	})
	return p
}

func (m *Machine) write(f func(context.Context, *sqldb.Tx) error) {
	m.t.Helper()
	if err := m.DB.Write(m.t.Context(), func(tx *sqldb.Tx) error { return f(m.t.Context(), tx) }); err != nil {
		m.t.Fatal(err)
	}
}
