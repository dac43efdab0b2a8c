package transfer_test

import (
	"testing"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/keyring"
	"countersign/internal/password"
	"countersign/internal/platform/sqldb"
	"countersign/internal/transfer"
)

func newRing(t testing.TB) *keyring.Ring {
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

func newService(t testing.TB, db *sqldb.DB) *transfer.Service {
	t.Helper()
	return serviceOf(t, db, newRing(t))
}

func serviceOf(t testing.TB, db *sqldb.DB, ring *keyring.Ring) *transfer.Service {
	t.Helper()
	passwords, err := password.New(password.Options{
		DB: db, Ring: ring, Params: password.Params{MemoryKiB: 8, Time: 1, Lanes: 1}, WeakForTests: true, Parallel: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	accounts := &account.Service{DB: db, Ring: ring, Decoys: 16}
	decoys, err := accounts.EnsureDecoys(t.Context())
	if err == nil {
		err = passwords.EnsureDummies(t.Context(), decoys)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &transfer.Service{DB: db, Ring: ring, Accounts: accounts, Passwords: passwords, Audit: &audit.Log{Ring: ring}}
}
