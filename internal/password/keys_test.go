package password_test

import (
	"testing"
	"time"

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

// When keys change everybody's hash is to be made anew. That waits for a sign-in that keeps nobody waiting; another
// system's hash does not, since it costs everybody as long as it is there.
func TestHashesOfOursAreMadeAnewWhenNobodyWaits(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		keys := testkit.NewKeys(t, db, "")
		ada, eve, _ := people(t, db)
		s := newService(t, func(o *password.Options) { o.DB, o.Ring = db, keys.Ring })
		if err := s.Set(t.Context(), ada, good, nil); err != nil {
			t.Fatal(err)
		}
		adopt(t, db, s, eve, itsBcrypt)
		keys.Change()
		rehash := func(id account.ID) (stale bool) {
			t.Helper()
			if err := s.Rehash(t.Context(), load(t, db, s, id), good); err != nil {
				t.Fatal(err)
			}
			return verify(t, db, s, id, good).Stale
		}
		giveBack := password.Crowd(t, s)
		before := stored(t, db, ada)
		if err := s.Rehash(t.Context(), load(t, db, s, ada), good); err != nil || stored(t, db, ada) != before {
			t.Errorf("made anew while others wait: %v", err)
		}
		verified, done := load(t, db, s, eve), make(chan error)
		go func() { done <- s.Rehash(t.Context(), verified, good) }()
		select {
		case err := <-done:
			t.Errorf("another system's hash was not waited for: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		giveBack()
		if err := <-done; err != nil || verify(t, db, s, eve, good).Stale {
			t.Errorf("another system's hash is still there: %v", err)
		}
		if rehash(ada) {
			t.Error("not made anew although nobody waits")
		}
	})
}
