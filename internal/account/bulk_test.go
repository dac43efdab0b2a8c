package account_test

import (
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

func whole(t testing.TB, names ...string) (w account.Whole) {
	t.Helper()
	for _, name := range names {
		ident, err := account.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		w.Addresses = append(w.Addresses, account.Address{Kind: ident.Kind(), Normal: ident.Normal(), SignsIn: true})
	}
	return w
}

// Somebody registers a name while an import that has seen it free is about to write it: nobody
// gets half an account, and the import may look again.
func TestABulkThatLosesARaceWritesNothing(t *testing.T) {
	db := dbtest.Postgres(t) // SQLite has one writer, so nothing can come between
	s := &account.Service{DB: db, Ring: newRing(t), Decoys: 16}
	prepare := func(names ...string) account.Prepared {
		t.Helper()
		p, err := s.Prepare(whole(t, names...))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	mine := []account.Prepared{prepare("first@example.org"), prepare("second@example.org", "wanted")}
	looked, taken := make(chan bool), make(chan error)
	go func() {
		taken <- db.Write(t.Context(), func(tx *sqldb.Tx) error {
			if _, err := s.CreateAll(t.Context(), tx, []account.Prepared{prepare("wanted")}); err != nil {
				return err
			}
			looked <- true // the other sees nothing of it yet
			time.Sleep(300 * time.Millisecond)
			return nil
		})
	}()
	<-looked
	err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := s.CreateAll(t.Context(), tx, mine)
		return err
	})
	if !account.Raced(err) {
		t.Fatalf("CreateAll = %v", err)
	}
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	var got []bool
	err = db.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
		got, err = s.CreateAll(t.Context(), tx, mine)
		return err
	})
	if err != nil || got[0] || !got[1] {
		t.Errorf("once more: %v, taken %v", err, got)
	}
}

func TestWholeAccountsAreChecked(t *testing.T) {
	s := &account.Service{DB: dbtest.SQLite(t), Ring: newRing(t), Decoys: 16}
	erased := account.Whole{Account: account.Account{State: account.Closed}}
	if _, err := s.Prepare(erased); err != nil {
		t.Errorf("a closed account without addresses: %v", err)
	}
	unreachable := whole(t, "a@example.org")
	unreachable.Addresses[0].SignsIn = false
	unreachable.State = account.Closed
	for why, w := range map[string]account.Whole{
		"nobody can sign in": {}, "not even to a closed one": unreachable, "twice the same": whole(t, "a@example.org", "A@example.org"),
	} {
		if _, err := s.Prepare(w); fault.Of(err).Code != "identifier_uses_invalid" {
			t.Errorf("%s: %v", why, err)
		}
	}
}
