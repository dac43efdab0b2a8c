package transfer_test

import (
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// An export with microseconds, or a wrong year, makes accounts of the future: the addresses that came with them
// are not yet settled, so that nobody recovers; and each that is added later, by a thief with a stolen session, is
// older than the account and so counts as the holder's own at once.
func TestNoAccountComesFromTheFuture(t *testing.T) {
	for _, created := range []string{"1577934245000000", `"2126-01-02"`} { // 2020 in microseconds; a typing mistake
		dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
			s := newService(t, db)
			_, refused := bring(t, s, `{"email":"ada@example.org","email_verified":true,"created_at":`+created+`}`, nil)
			if len(refused) == 1 {
				return // as it should be
			}
			w := who(t, s, "ada@example.org")
			thief, err := account.Parse("thief@example.net")
			if err != nil {
				t.Fatal(err)
			}
			var by []account.Address
			err = db.Write(t.Context(), func(tx *sqldb.Tx) error {
				n := account.NewIdentifier{Identifier: thief, Verified: true, SignsIn: true, Notices: true, Recovers: true}
				if err := s.Accounts.Add(t.Context(), tx, w.ID, n); err != nil {
					return err
				}
				by, err = s.Accounts.Recovers(t.Context(), tx, w.Account)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, a := range by {
				names = append(names, a.Normal)
			}
			t.Errorf("created_at %s is taken (%s); the account is recovered by %v", created, w.CreatedAt.UTC().Format(time.DateOnly), names)
		})
	}
}
