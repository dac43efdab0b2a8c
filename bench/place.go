package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/device"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/session"
)

// place is a database with so many accounts, and the settings of a node on it.
type place struct {
	accounts int
	settings string // file
	config   config.Config
	helper   *helper // makes the load on it, and takes its letters in
	letters  string  // where it takes them in
}

// newPlace finds or fills a database with so many accounts, and begins a helper for it.
func (b *bench) newPlace(accounts int) (p *place, err error) {
	p = &place{accounts: accounts, settings: filepath.Join(b.temp, fmt.Sprintf("%d.toml", accounts))}
	if p.helper, err = newHelper(b.ctx); err != nil {
		return nil, err
	}
	b.onEnd(p.helper.close)
	letters, err := p.helper.do(job{Kind: kindLetters})
	if err != nil {
		return nil, err
	}
	p.letters = letters.Addr
	at, key, err := b.database(accounts)
	if err != nil {
		return nil, err
	}
	if err := b.configure(p, at, key); err != nil {
		return nil, err
	}
	people, err := b.populate(p)
	if err != nil {
		return nil, err
	}
	_, err = p.helper.do(job{Kind: kindPeople, People: people})
	return p, err
}

// configure writes a node's settings.
func (b *bench) configure(p *place, at, key string) error {
	public, err := freePort(b.ctx)
	if err != nil {
		return err
	}
	watch, err := freePort(b.ctx)
	if err != nil {
		return err
	}
	gate, err := freePort(b.ctx)
	if err != nil {
		return err
	}
	text := strings.NewReplacer("PUBLIC", public, "WATCH", watch, "GATE", gate, "SITE", siteHost, "LETTERS", p.letters, "DATABASE", at, "KEYS", key).Replace(settings)
	if err := os.WriteFile(p.settings, []byte(text), 0o600); err != nil {
		return err
	}
	p.config, err = config.Load(config.Source{File: p.settings, ReadFile: os.ReadFile})
	return err
}

// settings are an operator's, but for the exemption: one application server signs everybody in.
const settings = `
[site]
name = "Example"
public_url = "http://PUBLIC"
[http]
listen = "PUBLIC"
[database]
url = "DATABASE"
[keys]
file = "KEYS"
[throttle]
exempt_sources = ["127.0.0.1/32"]
[email]
provider = "webhook"
webhook_url = "http://LETTERS/"
webhook_secret = "whsec_Y291bnRlcnNpZ24gYmVuY2ggd2ViaG9vaw=="
[sms]
provider = "none"
[metrics]
listen = "WATCH"
[forward_auth]
listen = "GATE"
rules = ["https://SITE/admin/ group:admins aal2", "https://SITE/ signed-in"]
`

func freePort(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// database names the database with so many accounts and its key file. A PostgreSQL database is made
// anew on the server given; a file is kept in the folder for the next run.
func (b *bench) database(accounts int) (at, key string, err error) {
	name := fmt.Sprintf("countersign-%d", accounts)
	if b.Database == "" {
		if err := os.MkdirAll(b.Dir, 0o700); err != nil {
			return "", "", err
		}
		file := filepath.Join(b.Dir, name)
		return "sqlite:" + file + ".db", file + ".key", nil
	}
	u, err := url.Parse(b.Database)
	if err != nil {
		return "", "", errors.New("--database: want postgres://… of a server to make databases on")
	}
	db, err := sql.Open("pgx", b.Database)
	if err != nil {
		return "", "", err
	}
	name = strings.ReplaceAll(name, "-", "_") + "_" + strings.ToLower(rand.Text()[:8])
	if _, err := db.ExecContext(b.ctx, "CREATE DATABASE "+name); err != nil {
		return "", "", errors.Join(err, db.Close())
	}
	b.onEnd(func() {
		_, err := db.ExecContext(context.WithoutCancel(b.ctx), "DROP DATABASE "+name+" WITH (FORCE)")
		if err = errors.Join(err, db.Close()); err != nil {
			b.note("%s stays: %s", name, err)
		}
	})
	u.Path = "/" + name
	return u.String(), filepath.Join(b.temp, name+".key"), nil
}

// populate fills the database up and gives some of its people, from all over it, a device and a
// session of which the helper has the secrets.
func (b *bench) populate(p *place) (people []person, err error) {
	core, err := open(b.ctx, p.config, b.now)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, core.Close()) }()
	if err := fill(b.world, core, p.accounts); err != nil {
		return nil, err
	}
	if err := core.DB.Write(b.ctx, func(tx *sqldb.Tx) error { return forget(b.ctx, tx) }); err != nil {
		return nil, err
	}
	n := min(b.people, p.accounts)
	for i := range n {
		who, err := enrol(b.ctx, core, nameOf(int(int64(i)*int64(p.accounts)/int64(n))))
		if err != nil {
			return nil, err
		}
		people = append(people, who)
	}
	return people, nil
}

func enrol(ctx context.Context, core *server.Core, name string) (p person, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return p, err
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return p, err
	}
	p.Name = name
	if p.Key, err = key.Bytes(); err != nil {
		return p, err
	}
	ident, err := account.Parse(name)
	if err != nil {
		return p, err
	}
	return p, core.DB.Write(ctx, func(tx *sqldb.Tx) error {
		who, err := core.Accounts.ByIdentifier(ctx, tx, ident)
		if err != nil {
			return err
		}
		kept, err := core.Devices.Remember(ctx, tx, who.ID, device.Enrolment{PublicKey: spki, Name: "bench"}, nil)
		if err != nil {
			return err
		}
		st, err := core.Sessions.Start(ctx, tx, session.New{Account: who.ID, Device: kept.ID, Name: "bench", Methods: []assurance.Method{assurance.Password, assurance.Email}})
		p.Account, p.Handle, p.Session = string(who.ID), kept.Handle.Reveal(), st.Token.Reveal()
		return err
	})
}
