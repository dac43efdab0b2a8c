//go:build !race

package leak_test

import (
	"testing"

	passwords "countersign/internal/password"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

// adopt makes the node one that accounts were imported to, some with bcrypt and some with MD5, and returns
// the hash that the others are to have: "bcrypt", "md5", or "ours" for those who came later.
func (c *clocked) adopt(kind string) passwords.Hash {
	c.t.Helper()
	p := c.node.Core().Passwords
	all := foreignHashes(c.t, c.node)
	var err error
	if all["ours"], err = p.Hash(c.t.Context(), servertest.Password); err != nil {
		c.t.Fatal(err)
	}
	for _, name := range []string{"bcrypt", "md5"} {
		id := c.node.Bare(name + "@imported.example")
		err := c.node.Core().DB.Write(c.t.Context(), func(tx *sqldb.Tx) error { return p.SetHash(c.t.Context(), tx, id, all[name]) })
		if err != nil {
			c.t.Fatal(err)
		}
	}
	return all[kind]
}

// P2 where accounts were imported: the time of a wrong password says neither that a name has an account nor
// that the account came from elsewhere, or has come since.
func TestTimesAreAlikeForTheImported(t *testing.T) {
	n, tries := pairs(t)
	kinds := []string{"bcrypt", "md5", "ours"}
	if n == few {
		kinds = kinds[:1]
	}
	for _, kind := range kinds {
		m := modes(sqldb.SQLite, false)[0]
		m.label, m.imported = "API, imported, "+kind, kind
		t.Run(kind, func(t *testing.T) { alike(t, newNodes(t), m, n, tries) })
	}
	m := modes(sqldb.SQLite, true)[0]
	m.label, m.imported = "real cost, API, imported, bcrypt", "bcrypt"
	t.Run("real cost", func(t *testing.T) { alike(t, newNodes(t), m, max(60, n*3/100), tries) })
}

// P2: whoever signs in with an imported password has one of ours from then on, also where no answer says
// that it was right.
func TestAnImportedPasswordIsOursAfterTheFirstSignIn(t *testing.T) {
	for _, m := range modes(sqldb.SQLite, false)[:2] {
		t.Run(m.label, func(t *testing.T) {
			n := servertest.Start(t, servertest.Options{
				Database: dbtest.NewURL(t, m.engine), Config: func(c *config.Config) { c.SignIn.HidePasswordResult = m.hidden },
			})
			c := &clocked{t: t, node: n, handler: n.Handler()}
			core, hash := n.Core(), c.adopt("bcrypt")
			const name = "returning@imported.example"
			id := c.node.Account(name)
			family := func() (f string) {
				t.Helper()
				err := core.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
					return tx.QueryRow(t.Context(), `SELECT family FROM password WHERE account_id = $1`, string(id)).Scan(&f)
				})
				if err != nil {
					t.Fatal(err)
				}
				return f
			}
			err := core.DB.Write(t.Context(), func(tx *sqldb.Tx) error { return core.Passwords.SetHash(t.Context(), tx, id, hash) })
			if err != nil || family() != "bcrypt" {
				t.Fatal(err, family())
			}
			post := func(p *person, path, key, value string, want int) {
				t.Helper()
				c.time(timed{want: want, ask: func(p *person) (string, string, string) {
					return "/api/v1/signin" + path, "application/json", `{"flow":"` + p.flow + `","` + key + `":"` + value + `"}`
				}}, p)
			}
			stranger := &person{name: name}
			c.time(m.steps[0], stranger)
			c.time(m.steps[1], stranger) // a wrong password
			owner := &person{name: name}
			c.time(m.steps[0], owner)
			post(owner, "/password", "password", servertest.Password, 200)
			if m.hidden {
				if family() != "bcrypt" {
					t.Error("the hash changes before the code: its row tells that the password was right")
				}
				post(owner, "/code/send", "way", "email", 202)
				post(owner, "/code", "code", c.node.Code(name), 200)
			}
			if got := family(); got != "" {
				t.Errorf("the hash is still %s", got)
			}
			var stored passwords.Stored
			err = core.DB.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
				stored, err = core.Passwords.Load(t.Context(), tx, id)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if v, err := core.Passwords.Verify(t.Context(), stored, servertest.Password); err != nil || v != (passwords.Verdict{OK: true}) {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
}
