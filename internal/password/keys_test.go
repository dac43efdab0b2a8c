package password_test

import (
	"testing"

	"countersign/internal/account"
	"countersign/internal/password"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// A password needs its old key until its owner signs in; without it, it is wrong, as any password of nobody's is.
func TestPasswordsMoveToTheNewKeyAtTheNextSignIn(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		keys := testkit.NewKeys(t, db, "")
		m := testkit.NewMachine(t, db, keys.Ring)
		ada, bob, none := m.Account("ada@example.org"), m.Account("bob@example.org"), m.Bare("none@example.org")
		verify := func(id account.ID) (password.Stored, password.Verdict) {
			t.Helper()
			var stored password.Stored
			err := db.Read(ctx, func(tx *sqldb.Tx) (err error) {
				stored, err = m.Passwords.Load(ctx, tx, id)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			v, err := m.Passwords.Verify(ctx, stored, testkit.Password)
			if err != nil {
				t.Fatal(err)
			}
			return stored, v
		}
		old := keys.Change()
		stored, v := verify(ada)
		if want := (password.Verdict{OK: true, Stale: true}); v != want {
			t.Fatalf("under the old key: %+v", v)
		}
		if err := m.Passwords.Rehash(ctx, stored, testkit.Password); err != nil {
			t.Fatal(err)
		}
		count := func(key string) (n int64) {
			t.Helper()
			err := db.Read(ctx, func(tx *sqldb.Tx) error {
				for _, h := range m.Passwords.Holdings() {
					rows, err := h.Count(ctx, tx)
					if err != nil {
						return err
					}
					n += rows[key]
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		decoys, err := m.Accounts.EnsureDecoys(ctx)
		if err == nil {
			err = m.Passwords.EnsureDummies(ctx, decoys)
		}
		if err != nil || count(old) != 1 {
			t.Fatalf("%d passwords need the old key, want Bob's alone (%v)", count(old), err)
		}
		keys.Drop(old)
		for who, want := range map[account.ID]password.Verdict{ada: {OK: true}, bob: {Unusable: true}, none: {}, decoys[0]: {}} {
			if _, v := verify(who); v != want {
				t.Errorf("%s without the old key: %+v, want %+v", who, v, want)
			}
		}
	})
}

// Nothing is written with a key that is not the current one any more: it may be given up meanwhile, and then the
// password would be nobody's.
func TestARenewalFromBeforeTheKeysChangedIsNotUsed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		keys := testkit.NewKeys(t, db, "")
		ada, _, _ := people(t, db)
		s := newService(t, func(o *password.Options) { o.DB, o.Ring = db, keys.Ring })
		adopt(t, db, s, ada, itsBcrypt)
		renewal := s.Renewal(verify(t, db, s, ada, good))
		old := keys.Change()
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return s.Renew(t.Context(), tx, ada, renewal) }); err != nil {
			t.Fatal(err)
		}
		keys.Renew(s.Holdings())
		keys.Drop(old)
		if got := verify(t, db, s, ada, good); !got.OK {
			t.Errorf("without the old key: %+v", got)
		}
	})
}
