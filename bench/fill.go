package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/keyring"
	"countersign/internal/password"
	"countersign/internal/platform/config"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/session"
)

// secretWord is the password of every account made here.
const secretWord = "orbit lantern meadow 42"

type fillCmd struct {
	Accounts int    `default:"10000" help:"How many accounts the database is to have."`
	Database string `required:"" help:"As database.url. A database that has some of them is filled up."`
	KeyFile  string `required:"" help:"As keys.file; made if the database is new."`
}

// Help is shown after the flags.
func (fillCmd) Help() string {
	return `Each account has a verified address, a password (one hash for all: ` + secretWord + `), a remembered device and a session.

  go run ./bench fill --accounts 1000000 --database sqlite:/var/tmp/million.db --key-file /var/tmp/million.key
  go run ./bench fill --accounts 10000 --database postgres://postgres@localhost/filled --key-file /var/tmp/filled.key`
}

// Run fills.
func (f fillCmd) Run(w *world) error {
	c := config.Default()
	c.Database.URL, c.Keys.File = config.NewSecret(f.Database), f.KeyFile
	core, err := open(w.ctx, c, w.now)
	if err != nil {
		return err
	}
	return errors.Join(fill(w, core, f.Accounts), core.Close())
}

func open(ctx context.Context, c config.Config, now func() time.Time) (*server.Core, error) {
	return server.Open(ctx, c, server.Deps{Log: slog.New(slog.DiscardHandler), Now: now})
}

// batch is how many accounts one transaction writes: enough that on SQLite the pages of the
// random indexes are written seldom, few enough to show progress and to end within the time that a
// transaction may take, on a slow disk too.
const batch = 4_000

// fill brings the database to n accounts.
func fill(w *world, core *server.Core, n int) error {
	have, err := count(w.ctx, core)
	if err != nil || have >= n {
		return err
	}
	f := filler{core: core}
	if f.hash, err = core.Passwords.Hash(w.ctx, secretWord); err != nil {
		return err
	}
	if f.keys, err = publicKeys(64); err != nil {
		return err
	}
	if err := core.DB.Write(w.ctx, func(tx *sqldb.Tx) error { return widen(w.ctx, tx, core.DB.Engine()) }); err != nil {
		return err
	}
	began, first := w.now(), have
	told := began
	for have < n {
		size := min(batch-have%batch, n-have)
		if err := core.DB.Write(w.ctx, func(tx *sqldb.Tx) error { return f.write(w.ctx, tx, have, size) }); err != nil {
			return fmt.Errorf("fill from %d: %w", have, err)
		}
		have += size
		took := w.now().Sub(began)
		rate := float64(have-first) / took.Seconds()
		if w.now().Sub(told) < 5*time.Second {
			continue
		}
		told = w.now()
		w.note("filled %d of %d accounts, %.0f/s, %s left", have, n, rate, time.Duration(float64(n-have)/rate*float64(time.Second)).Round(time.Second))
	}
	w.note("filled %d accounts in %s", n-first, w.now().Sub(began).Round(time.Second))
	return nil
}

func count(ctx context.Context, core *server.Core) (n int, err error) {
	err = core.DB.Read(ctx, func(tx *sqldb.Tx) error {
		all, err := core.Accounts.Count(ctx, tx)
		n = int(all[account.Active])
		return err
	})
	return n, err
}

type filler struct {
	core *server.Core
	hash password.Hash
	keys [][]byte
}

// write writes accounts as they are after their first sign-in. A test signs one of them in, so that
// what is written here stays what the domain would have written.
func (f filler) write(ctx context.Context, tx *sqldb.Tx, from, size int) error {
	all := tables()
	for i := from; i < from+size; i++ {
		f.one(all, i, tx.Now())
	}
	for i := range all {
		if err := all[i].write(ctx, tx); err != nil {
			return fmt.Errorf("%s: %w", all[i].name, err)
		}
	}
	return nil
}

// one gathers one account's rows. The accounts that a run signs in with get devices and sessions of
// their own; these are there to be many, and nobody has their tokens.
func (f filler) one(all []bulk, i int, now time.Time) {
	ring, ms := f.core.Ring, now.UnixMilli()
	id, address, dev := newID(), newID(), newID()
	sealed := ring.Seal([]byte(nameOf(i)), keyring.Place{Table: "account_identifier", Row: address, Column: "sealed"})
	all[0].add(id, string(account.Active), "en", ms, ms)
	all[1].add(address, id, string(account.Email), sealed, true, true, true, ms, ms)
	all[2].add(ring.Index(string(account.Email), nameOf(i)), id)
	all[3].add(id, f.hash.PHC, f.hash.KeyID, ms)
	all[4].add(dev, id, "Firefox on Linux", f.keys[i%len(f.keys)], ms, ms, now.Add(30*24*time.Hour).UnixMilli())
	all[5].add(ring.Digest("device", secret.NewToken(device.HandlePrefix)), dev, ms)
	all[6].add(newID(), ring.Digest("session", secret.NewToken(session.Prefix)), id, dev, "Firefox on Linux", "password,email",
		ms, ms, ms, now.Add(7*24*time.Hour).UnixMilli())
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func nameOf(i int) string { return fmt.Sprintf("person%d@bench.example.org", i) }

// publicKeys makes keys whose private halves nobody keeps.
func publicKeys(n int) (all [][]byte, err error) {
	for range n {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		spki, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
		if err != nil {
			return nil, err
		}
		all = append(all, spki)
	}
	return all, nil
}
