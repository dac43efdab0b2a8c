package factor_test

import (
	"strings"
	"testing"

	"countersign/internal/account"
	"countersign/internal/factor"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// P2: whether there is a passkey, an app or a list is answered by an index alone. To read their rows takes a time that
// decoys, which have none, do not take.
func TestWhetherSomethingIsEnrolledIsReadFromAnIndex(t *testing.T) {
	db := dbtest.SQLite(t)
	for table, asked := range map[string]string{
		"passkey":            `SELECT EXISTS (SELECT 1 FROM passkey WHERE account_id = $1 AND ended_at IS NULL)`,
		"totp_authenticator": `SELECT COUNT(*) FROM totp_authenticator WHERE account_id = $1 AND confirmed_at IS NOT NULL`,
		"backup_code":        `SELECT EXISTS (SELECT 1 FROM backup_code WHERE account_id = $1 AND used_at IS NULL)`,
	} {
		var plan string
		err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
			return tx.Each(t.Context(), "EXPLAIN QUERY PLAN "+asked, func(scan func(...any) error) error {
				var id, parent, unused int
				var detail string
				err := scan(&id, &parent, &unused, &detail)
				plan += detail + "\n"
				return err
			}, "a")
		})
		if err != nil || !strings.Contains(plan, "SEARCH "+table+" USING COVERING INDEX") {
			t.Errorf("%s: %v\n%s", table, err, plan)
		}
	}
}

// P2: an account that has chosen nothing reads a row as well, and has chosen nothing all the same.
func TestWhoChoseNothingReadsSomebodyElsesChoice(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		m := testkit.NewMachine(t, db, testkit.Ring(t))
		ada, bob := m.Account("ada@example.org"), m.Account("bob@example.org")
		first, second := min(ada, bob), max(ada, bob)
		read := func(who account.ID) (c factor.Choice) {
			err := db.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
				c, err = m.Choices.Of(t.Context(), tx, who)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			return m.Choices.Choose(t.Context(), tx, second, factor.Choice{Holder: factor.Always, Order: []factor.Way{factor.Email}})
		})
		if err != nil {
			t.Fatal(err)
		}
		if c := read(first); c.Holder != "" || len(c.Order) != 0 {
			t.Errorf("who chose nothing has %+v", c)
		}
		if c := read(second); c.Holder != factor.Always {
			t.Errorf("who chose has %+v", c)
		}
		if c := read(account.Last); c.Holder != "" {
			t.Errorf("the last of all has %+v", c)
		}
	})
}
