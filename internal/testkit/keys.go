package testkit

import (
	"path/filepath"
	"testing"

	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
)

// Keys are a node's keys on a database: a ring from a key file, which follows the database.
type Keys struct {
	*keyring.Ring

	t    testing.TB
	db   *sqldb.DB
	file string
}

// NewKeys makes the keys of a new database, or with a file, which other nodes share, those of one that has some.
func NewKeys(t testing.TB, db *sqldb.DB, file string) *Keys {
	t.Helper()
	if file == "" {
		file = filepath.Join(t.TempDir(), "countersign.key")
	}
	ring, err := keyring.LoadOrCreate(t.Context(), db, file, false)
	if err == nil {
		err = ring.Claim(t.Context(), db)
	}
	if err != nil {
		t.Fatal(err)
	}
	db.Before(ring.Follow)
	return &Keys{ring, t, db, file}
}

// File is the key file.
func (k *Keys) File() string { return k.file }

// Change has a new key take over, and returns the old one. Rows stay as they are.
func (k *Keys) Change() (old string) {
	k.t.Helper()
	old = k.ID()
	next, err := keyring.AddToFile(k.file)
	if err == nil {
		err = (&keyring.Rotation{DB: k.db, Ring: k.Ring}).Begin(k.t.Context(), next)
	}
	if err != nil {
		k.t.Fatal(err)
	}
	return old
}

// Renew makes rows anew, and fails if any cannot be.
func (k *Keys) Renew(holdings []keyring.Holding) {
	k.t.Helper()
	ro := &keyring.Rotation{DB: k.db, Ring: k.Ring, Holdings: holdings}
	if odd, err := ro.Renew(k.t.Context(), func(keyring.Progress) {}); err != nil || len(odd) > 0 {
		k.t.Fatalf("renew: %v, %v", odd, err)
	}
}

// Drop drops a key, whatever needs it.
func (k *Keys) Drop(id string) {
	k.t.Helper()
	if _, err := (&keyring.Rotation{DB: k.db, Ring: k.Ring}).Drop(k.t.Context(), id, nil); err != nil {
		k.t.Fatal(err)
	}
	if err := k.db.Read(k.t.Context(), func(*sqldb.Tx) error { return nil }); err != nil {
		k.t.Fatal(err)
	}
}
