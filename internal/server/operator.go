package server

import (
	"context"
	"io/fs"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/password"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server/schema"
)

// NewAccount is an account an operator makes.
type NewAccount struct {
	Identifiers []account.NewIdentifier
	Password    string // empty makes an account that nobody can sign in to yet
	Language    string
}

// CreateAccount makes an account with its password, all or nothing, and records that an operator did.
func (c *Core) CreateAccount(ctx context.Context, n NewAccount) (id account.ID, err error) {
	var hash password.Hash
	if n.Password != "" {
		var personal []string
		for _, ident := range n.Identifiers {
			personal = append(personal, ident.Normal())
		}
		if err := c.Passwords.Check(n.Password, personal); err != nil {
			return "", err
		}
		if hash, err = c.Passwords.Hash(ctx, n.Password); err != nil {
			return "", err
		}
	}
	err = c.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		if id, err = c.Accounts.Create(ctx, tx, account.New{Identifiers: n.Identifiers, Language: n.Language}); err != nil {
			return err
		}
		if n.Password != "" {
			if err := c.Passwords.SetHash(ctx, tx, id, hash); err != nil {
				return err
			}
		}
		if err := c.learn(ctx, tx, n.Identifiers); err != nil {
			return err
		}
		return c.Audit.Append(ctx, tx, audit.Event{Kind: audit.AccountCreated, Account: string(id), Actor: "operator"})
	})
	return id, err
}

// Pending says how many migrations a database lacks, and changes nothing.
func Pending(ctx context.Context, c config.Config, now func() time.Time) (int, error) {
	if _, missing := newFile(c); missing { // opening it would make it
		all, err := fs.Glob(schema.Migrations().Files, "*.sql")
		return len(all), err
	}
	db, err := sqldb.Open(ctx, sqldb.Options{URL: c.Database.URL.Reveal(), MaxConns: 2, Now: now})
	if err != nil {
		return 0, err
	}
	defer func() { _ = db.Close() }()
	missing, _, err := schema.Migrations().Pending(ctx, db)
	return missing, err
}
