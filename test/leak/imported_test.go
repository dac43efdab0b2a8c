//go:build !race

package leak_test

import (
	"crypto/md5"
	"encoding/hex"
	"testing"

	"golang.org/x/crypto/bcrypt"

	passwords "countersign/internal/password"
	"countersign/internal/password/foreign"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/servertest"
)

// adopt makes the node one that accounts were imported to, some with bcrypt and some with MD5, and returns
// the hash that the others are to have: "bcrypt", "md5", or "ours" for those who came later.
func (c *clocked) adopt(kind string) passwords.Hash {
	c.t.Helper()
	p := c.node.Core().Passwords
	plain := []byte(servertest.Password)
	slow, err := bcrypt.GenerateFromPassword(plain, bcrypt.MinCost)
	if err != nil {
		c.t.Fatal(err)
	}
	sum := md5.Sum(plain)
	all := map[string]passwords.Hash{}
	for name, text := range map[string]string{"bcrypt": string(slow), "md5": "md5$$" + hex.EncodeToString(sum[:])} {
		h, err := foreign.Parse(text)
		if err != nil {
			c.t.Fatal(err)
		}
		if h.Slow() {
			all[name], err = p.Keep(h)
		} else {
			all[name], err = p.Wrap(c.t.Context(), h)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
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
	for _, kind := range []string{"bcrypt", "md5", "ours"} {
		m := modes(sqldb.SQLite, false)[0]
		m.label, m.imported = "API, imported, "+kind, kind
		t.Run(kind, func(t *testing.T) { alike(t, m, n, tries) })
	}
	m := modes(sqldb.SQLite, true)[0]
	m.label, m.imported = "real cost, API, imported, bcrypt", "bcrypt"
	t.Run("real cost", func(t *testing.T) { alike(t, m, max(60, n*3/100), tries) })
}

// P2: whoever signs in with an imported password has one of ours from then on.
func TestAnImportedPasswordIsOursAfterTheFirstSignIn(t *testing.T) {
	m := modes(sqldb.SQLite, false)[0]
	c := newClocked(t, m)
	hash := c.adopt("bcrypt")
	id := c.node.Account("returning@imported.example")
	family := func() (f string) {
		t.Helper()
		err := c.node.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			return tx.QueryRow(t.Context(), `SELECT family FROM password WHERE account_id = $1`, string(id)).Scan(&f)
		})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	err := c.node.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error { return c.node.Core().Passwords.SetHash(t.Context(), tx, id, hash) })
	if err != nil || family() != "bcrypt" {
		t.Fatal(err, family())
	}
	p := &person{name: "returning@imported.example"}
	c.time(m.steps[0], p)
	c.time(m.steps[1], p) // a wrong password
	if family() != "bcrypt" {
		t.Error("a wrong password replaced the hash")
	}
	right := m.steps[1]
	right.ask = func(p *person) (string, string, string) {
		return "/api/v1/signin/password", "application/json", `{"flow":"` + p.flow + `","password":"` + servertest.Password + `"}`
	}
	right.want = 200
	c.time(right, p)
	if got := family(); got != "" {
		t.Errorf("the hash is still %s", got)
	}
	var stored passwords.Stored
	err = c.node.Core().DB.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
		stored, err = c.node.Core().Passwords.Load(t.Context(), tx, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := c.node.Core().Passwords.Verify(t.Context(), stored, servertest.Password); err != nil || v != (passwords.Verdict{OK: true}) {
		t.Errorf("%+v, %v", v, err)
	}
}
