package password_test

import (
	"context"
	"encoding/hex"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/account"
	"countersign/internal/password"
	"countersign/internal/password/foreign"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// Hashes of the password good, by htpasswd, passlib and hashlib.
const (
	itsBcrypt = "$2y$05$pVbiloiZSqUu8DozRtCOxOHCg7Twjj0.E/Meo.xoTA6cr1oVpGwty"
	itsPHPass = "$H$6GhvxgL1ONsnfoPn3uwwi741q.G1Jr1"
	itsMD5    = "md5$$9cc2ae8a1ba7a93da39b46fc1019c481"
	itsSSHA   = "{SSHA}1t6rIVZjbS10jfkpNP8NQghD0pn3Pkco"
	itsWeak   = "$pbkdf2-sha256$1000$Rgjh/D8HIMR4r7UW4vx/jw$vLiWMCNuuZwilfNjWFa12wYikdKp99mMR9Z/QDE0Has"
	itsScrypt = "$scrypt$ln=11,r=8,p=1$lfKe0/ofw1jLWQvBeE+J8Q$glaKFmevcWOG0DOznItDuNz5aHC96EZWyt162yYw8NA"
)

// adopt gives an account another system's hash, as an import does.
func adopt(t testing.TB, db *sqldb.DB, s *password.Service, id account.ID, text string) {
	t.Helper()
	h, err := foreign.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	take := s.Keep
	if !h.Slow() {
		take = func(h foreign.Hash) (password.Hash, error) { return s.Wrap(t.Context(), h) }
	}
	ready, err := take(h)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(tx *sqldb.Tx) error {
		return s.SetAll(t.Context(), tx, []password.Setting{{Account: id, Hash: ready, At: tx.Now()}})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func families(t testing.TB, db *sqldb.DB) string {
	t.Helper()
	var all []string
	err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.Each(t.Context(), `SELECT family FROM password_kind ORDER BY family`, func(scan func(...any) error) error {
			var family string
			err := scan(&family)
			all = append(all, family)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

// every row of the table, as whoever has the database reads it.
func dump(t testing.TB, db *sqldb.DB) string {
	t.Helper()
	var b strings.Builder
	err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.Each(t.Context(), `SELECT hash, sealed, family FROM password`, func(scan func(...any) error) error {
			var hash, family string
			var sealed []byte
			err := scan(&hash, &sealed, &family)
			b.WriteString(hash + " " + string(sealed) + " " + hex.EncodeToString(sealed) + " " + family + "\n")
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAnotherSystemsHashOpensAndIsReplaced(t *testing.T) {
	for _, text := range []string{itsBcrypt, itsPHPass, itsMD5, itsSSHA, itsWeak, itsScrypt} {
		dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
			s := newService(t, func(o *password.Options) { o.DB = db })
			ada, none, _ := people(t, db)
			adopt(t, db, s, ada, text)
			for _, wrong := range []string{"", good + "x", strings.ToUpper(good), text} {
				if got := verify(t, db, s, ada, wrong); got != (password.Verdict{}) {
					t.Errorf("%s: %q is %+v", text, wrong, got)
				}
			}
			if got := verify(t, db, s, none, good); got != (password.Verdict{}) {
				t.Errorf("whoever has no password: %+v", got)
			}
			if got := verify(t, db, s, ada, good); !got.OK || !got.Stale || got.Unusable || got.Stopped {
				t.Fatalf("%s: the right one is %+v", text, got)
			}
			if err := s.Rehash(t.Context(), load(t, db, s, ada), good); err != nil {
				t.Fatal(err)
			}
			if got := verify(t, db, s, ada, good); got != (password.Verdict{OK: true}) {
				t.Errorf("%s: once it is ours the right one is %+v", text, got)
			}
			if got := dump(t, db); strings.Contains(got, "\x00") || strings.HasSuffix(strings.TrimRight(got, "\n"), "digest") {
				t.Error("something of the other system's hash is left")
			}
		})
	}
}

func TestAnotherSystemsHashIsReplacedByANewPassword(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, func(o *password.Options) { o.DB = db })
		ada, _, _ := people(t, db)
		const next = "another horse and its battery"
		h, err := s.Hash(t.Context(), next)
		if err != nil {
			t.Fatal(err)
		}
		for how, set := range map[string]func(tx *sqldb.Tx, verified password.Stored) (bool, error){
			"SetHash": func(tx *sqldb.Tx, _ password.Stored) (bool, error) { return true, s.SetHash(t.Context(), tx, ada, h) },
			"Replace": func(tx *sqldb.Tx, verified password.Stored) (bool, error) {
				return s.Replace(t.Context(), tx, verified, h)
			},
		} {
			for _, text := range []string{itsBcrypt, itsMD5} {
				adopt(t, db, s, ada, text)
				verified, done := load(t, db, s, ada), false
				err := db.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
					done, err = set(tx, verified)
					return err
				})
				if err != nil || !done {
					t.Fatal(how, done, err)
				}
				if verify(t, db, s, ada, good).OK || verify(t, db, s, ada, next) != (password.Verdict{OK: true}) {
					t.Errorf("%s, %s: the old password still opens, or the new one does not", how, text)
				}
			}
		}
	})
}

// Where the password is not at hand any more, what the check has made of it replaces a hash that was kept.
func TestARenewalReplacesAKeptHash(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, func(o *password.Options) { o.DB = db })
		ada, eve, _ := people(t, db)
		renew := func(id account.ID, plain string) string {
			t.Helper()
			renewal := s.Renewal(verify(t, db, s, id, plain))
			if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return s.Renew(t.Context(), tx, id, renewal) }); err != nil {
				t.Fatal(err)
			}
			return renewal
		}
		adopt(t, db, s, ada, itsBcrypt)
		wrong := renew(ada, "wrong")
		if verify(t, db, s, ada, "wrong").OK || !verify(t, db, s, ada, good).OK {
			t.Fatal("a wrong password replaced the hash")
		}
		right := renew(ada, good)
		if got := verify(t, db, s, ada, good); got != (password.Verdict{OK: true}) || verify(t, db, s, ada, "wrong").OK {
			t.Errorf("renewed: %+v", got)
		}
		adopt(t, db, s, eve, itsMD5)
		quick, none := renew(eve, good), renew("nobody", good)
		if got := verify(t, db, s, eve, good); !got.OK || !got.Stale {
			t.Errorf("a wrapped one: %+v", got)
		}
		if len(wrong) != len(right) || len(quick) != len(right) || len(none) != len(right) {
			t.Errorf("their lengths tell: %d %d %d %d", len(wrong), len(right), len(quick), len(none))
		}
		// A password that was set meanwhile wins.
		adopt(t, db, s, ada, itsPHPass)
		late := s.Renewal(verify(t, db, s, ada, good))
		if err := s.Set(t.Context(), ada, "another horse and its battery", nil); err != nil {
			t.Fatal(err)
		}
		if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return s.Renew(t.Context(), tx, ada, late) }); err != nil {
			t.Fatal(err)
		}
		if verify(t, db, s, ada, good).OK || !verify(t, db, s, ada, "another horse and its battery").OK {
			t.Error("the old password is back")
		}
	})
}

// P4: the database alone does not give a hash that can be guessed at.
func TestNoHashOfAnotherSystemStandsInTheDatabase(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, func(o *password.Options) { o.DB = db })
		ada, eve, _ := people(t, db)
		for _, text := range []string{itsBcrypt, itsPHPass, itsMD5, itsSSHA} {
			adopt(t, db, s, ada, text)
			rows := dump(t, db)
			sum := text[strings.LastIndexByte(text, '$')+1:]
			for _, part := range []string{text, sum, text[len(text)-22:], hex.EncodeToString([]byte(sum)), hex.EncodeToString([]byte(text))} {
				if strings.Contains(rows, part) {
					t.Errorf("%s stands in the database", part)
				}
			}
		}
		// What is sealed for one account is worth nothing beside another.
		adopt(t, db, s, ada, itsBcrypt)
		adopt(t, db, s, eve, itsPHPass)
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec(t.Context(), `UPDATE password SET sealed = (SELECT sealed FROM password WHERE account_id = $1) WHERE account_id = $2`, string(ada), string(eve))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := verify(t, db, s, eve, good); got != (password.Verdict{Unusable: true}) {
			t.Errorf("with somebody else's hash: %+v", got)
		}
	})
}

// Whoever stole the sums elsewhere cannot sign in with one.
func TestTheSumItselfDoesNotOpen(t *testing.T) {
	db := dbtest.SQLite(t)
	s := newService(t, func(o *password.Options) { o.DB = db })
	ada, _, _ := people(t, db)
	adopt(t, db, s, ada, itsMD5)
	sum, err := hex.DecodeString(strings.TrimPrefix(itsMD5, "md5$$"))
	if err != nil {
		t.Fatal(err)
	}
	for _, plain := range []string{string(sum), "\x00sum\x00" + string(sum), strings.TrimPrefix(itsMD5, "md5$$"), itsMD5} {
		if verify(t, db, s, ada, plain).OK {
			t.Errorf("%q opens", plain)
		}
	}
}

func TestQuickHashesAreNotKeptAndSlowOnesNotWrapped(t *testing.T) {
	s := newService(t, func(o *password.Options) { o.DB = dbtest.SQLite(t) })
	for _, text := range []string{itsMD5, itsSSHA, itsWeak} {
		h, _ := foreign.Parse(text)
		if _, err := s.Keep(h); err == nil {
			t.Errorf("%s was kept", text)
		}
	}
	h, _ := foreign.Parse(itsBcrypt)
	if _, err := s.Wrap(t.Context(), h); err == nil {
		t.Error("bcrypt was wrapped")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	quick, _ := foreign.Parse(itsMD5)
	if _, err := s.Wrap(gone, quick); !errors.Is(err, context.Canceled) {
		t.Errorf("Wrap = %v", err)
	}
}

// P2: as long as anybody has a hash of a kind, everybody's check does that kind's work, known or
// not. Memory shows it: the two kinds of scrypt take 2 MiB and 4 MiB.
func TestEverybodyDoesTheWorkOfEveryKind(t *testing.T) {
	db := dbtest.SQLite(t)
	s := newService(t, func(o *password.Options) { o.DB = db })
	ada, none, decoy := people(t, db)
	taken := func(id account.ID) uint64 {
		stored := load(t, db, s, id)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := s.Verify(t.Context(), stored, "wrong"); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) >> 20
	}
	all := map[string]account.ID{"ada": ada, "who has no password": none, "a decoy": decoy, "nobody": "nobody"}
	expect := func(why string, want uint64) {
		t.Helper()
		for who, id := range all {
			if got := taken(id); got != want {
				t.Errorf("%s: %s takes %d MiB, want %d", why, who, got, want)
			}
		}
	}
	if err := s.Set(t.Context(), ada, good, nil); err != nil {
		t.Fatal(err)
	}
	taken(ada) // whatever is made once
	expect("with no other system's hashes", 0)
	adopt(t, db, s, ada, itsScrypt)
	expect("with one kind", 2)
	dear := strings.Replace(itsScrypt, "ln=11", "ln=12", 1)
	adopt(t, db, s, none, dear)
	expect("with two kinds", 6)
}

func TestKindsAreForgottenWhenNobodyHasThem(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		s := newService(t, func(o *password.Options) { o.DB = db })
		ada, eve, _ := people(t, db)
		work := func() (w int64) {
			t.Helper()
			err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
				return tx.QueryRow(t.Context(), `SELECT work FROM password_kind WHERE family = 'bcrypt'`).Scan(&w)
			})
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		prune := func() {
			t.Helper()
			err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
				n, err := s.Prune(t.Context(), tx)
				if n != 0 {
					t.Errorf("Prune wants to be called again: %d", n)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		adopt(t, db, s, ada, itsBcrypt)
		adopt(t, db, s, eve, strings.Replace(itsBcrypt, "$05$", "$07$", 1))
		adopt(t, db, s, ada, itsBcrypt)
		if work() != 1<<7 {
			t.Errorf("the most work is %d", work())
		}
		if err := s.Set(t.Context(), eve, "another horse and its battery", nil); err != nil {
			t.Fatal(err)
		}
		prune()
		if work() != 1<<7 {
			t.Error("work was forgotten that an import may be about to need")
		}
		clock.Advance(2 * time.Hour)
		prune()
		if work() != 1<<5 {
			t.Errorf("when nobody's is more, the most work is %d", work())
		}
		if err := s.Rehash(t.Context(), load(t, db, s, ada), good); err != nil {
			t.Fatal(err)
		}
		prune()
		if got := families(t, db); got != "" {
			t.Errorf("nobody has %s any more", got)
		}
	})
}

func TestAnOperatorCanForgetAFamily(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, func(o *password.Options) { o.DB = db })
		ada, eve, _ := people(t, db)
		adopt(t, db, s, ada, itsBcrypt)
		adopt(t, db, s, eve, itsMD5)
		var got []password.Family
		var gone, none int64
		err := db.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
			if got, err = s.Families(t.Context(), tx); err != nil {
				return err
			}
			if gone, err = s.ForgetFamily(t.Context(), tx, "bcrypt"); err != nil {
				return err
			}
			none, err = s.ForgetFamily(t.Context(), tx, "")
			return err
		})
		want := []password.Family{
			{Kind: foreign.Kind{Family: "bcrypt", Work: 1 << 5}, Accounts: 1},
			{Kind: foreign.Kind{Family: "digest", Work: 1}, Accounts: 1},
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" || gone != 1 || none != 0 {
			t.Errorf("%v, %d and %d forgotten, %s", err, gone, none, diff)
		}
		if verify(t, db, s, ada, good).OK || !verify(t, db, s, eve, good).OK {
			t.Error("the wrong ones were forgotten")
		}
	})
}

// What an export writes, an import reads, with the same keys and with no others.
func TestHashesAreWrittenDownAndReadAgain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ring := newRing(t, 1)
		s := newService(t, func(o *password.Options) { o.DB, o.Ring = db, ring })
		other := newService(t, func(o *password.Options) { o.DB = db })
		ada, eve, _ := people(t, db)
		between := func() (all []password.Setting) {
			t.Helper()
			err := db.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
				all, err = s.Between(t.Context(), tx, "", account.Last)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		for _, text := range []string{"", itsBcrypt, itsMD5} {
			if text == "" {
				if err := s.Set(t.Context(), ada, good, nil); err != nil {
					t.Fatal(err)
				}
			} else {
				adopt(t, db, s, ada, text)
			}
			all := between()
			if len(all) != 1 || all[0].Account != ada {
				t.Fatalf("%d passwords", len(all))
			}
			w := all[0].Hash.Write()
			if slow := text == itsBcrypt; slow != (w.Pepper == "") || slow && w.Hash != text || (text == itsMD5) != (w.Inner != "") {
				t.Errorf("%q is written as %+v", text, w)
			}
			if text == itsBcrypt {
				continue
			}
			if _, err := other.Read(w); !errors.Is(err, password.ErrPepper) {
				t.Errorf("with other keys: %v", err)
			}
			h, err := s.Read(w)
			if err != nil {
				t.Fatal(err)
			}
			err = db.Write(t.Context(), func(tx *sqldb.Tx) error { return s.SetHash(t.Context(), tx, eve, h) })
			if err != nil {
				t.Fatal(err)
			}
			if got := verify(t, db, s, eve, good); !got.OK || verify(t, db, s, eve, good+"x").OK {
				t.Errorf("%q, read again: %+v", text, got)
			}
			if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return s.Stop(t.Context(), tx, eve) }); err != nil {
				t.Fatal(err)
			}
		}
	})
}
