package fault_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
)

// person has an account.
type person struct{ email, phone string }

func (p person) reach(way string) string {
	if way == "sms" {
		return p.phone
	}
	return p.email
}

// open opens the site's database as the operator's commands do. Close it before a kill.
func (s *site) open() *server.Core {
	s.t.Helper()
	c, err := config.Load(config.Source{File: s.file, Environ: s.settings(), ReadFile: os.ReadFile})
	if err != nil {
		s.t.Fatal(err)
	}
	core, err := server.Open(s.t.Context(), c, server.Deps{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		s.t.Fatal(err)
	}
	return core
}

// seed makes n people. They share one hash of one password, which is what hashing would make but slower.
func (s *site) seed(n int) []person {
	s.t.Helper()
	core := s.open()
	defer func() { _ = core.Close() }()
	hash, err := core.Passwords.Hash(s.t.Context(), password)
	if err != nil {
		s.t.Fatal(err)
	}
	people := make([]person, n)
	for i := range people {
		people[i] = person{fmt.Sprintf("person%05d@example.org", i), fmt.Sprintf("+49151%08d", 20_000_000+i)}
	}
	for batch := range (n + 499) / 500 {
		err := core.DB.Write(s.t.Context(), func(tx *sqldb.Tx) error {
			for _, p := range people[batch*500 : min(n, batch*500+500)] {
				id, err := create(s.t.Context(), tx, core, p)
				if err != nil {
					return err
				}
				if err := core.Passwords.SetHash(s.t.Context(), tx, id, hash); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return people
}

func create(ctx context.Context, tx *sqldb.Tx, core *server.Core, p person) (account.ID, error) {
	m := account.New{Language: "en"}
	for _, name := range []string{p.email, p.phone} {
		ident, err := account.Parse(name)
		if err != nil {
			return "", err
		}
		m.Identifiers = append(m.Identifiers, account.NewIdentifier{Identifier: ident, SignsIn: true, Verified: true, Notices: true, Recovers: true})
	}
	return core.Accounts.Create(ctx, tx, m)
}
