package server_test

import (
	"errors"
	"strings"

	"countersign/internal/audit"
	"countersign/internal/platform/sqldb"
	"countersign/internal/seconddoor"
	"countersign/internal/totp"
)

// equipped gives Ada a hardware token, and backup codes; and the installation a key for applications, a webhook, and a call that may be repeated.
func (l *life) equipped() {
	l.t.Helper()
	ctx := l.t.Context()
	_, err := l.core.Authenticators.Import(ctx, strings.NewReader("serial,secret\nT1,GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n"), totp.Import{Format: totp.CSV})
	if err == nil {
		err = l.core.DB.Write(ctx, func(tx *sqldb.Tx) error {
			_, err := l.core.BackupCodes.Reissue(ctx, tx, l.ada)
			return errors.Join(err, l.core.Authenticators.Assign(ctx, tx, "T1", l.ada))
		})
	}
	if err == nil {
		_, _, err = l.core.Subscribers.Add(ctx, "https://hooks.example.org/", []audit.Kind{audit.EraseStopped}) // which nobody does here
	}
	if err == nil {
		_, err = l.core.SecondDoor().Once(ctx, seconddoor.Call{App: "shop", Name: "1", Asked: "a"}, func() ([]byte, error) { return []byte("an answer"), nil })
	}
	if err = errors.Join(err, l.core.Applications.EnsureKeys(ctx, "ES256")); err != nil {
		l.t.Fatal(err)
	}
}
