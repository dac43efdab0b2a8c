package transfer_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/account"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/transfer"
)

func export(t testing.TB, s *transfer.Service, what transfer.What) string {
	t.Helper()
	var out bytes.Buffer
	n, err := s.Export(t.Context(), &out, what)
	if err != nil || n != int64(strings.Count(out.String(), "\n")) {
		t.Fatalf("%d accounts, %v", n, err)
	}
	return out.String()
}

// dueNow has an account erased now.
func dueNow(t testing.TB, s *transfer.Service, tx *sqldb.Tx, id account.ID) account.ID {
	t.Helper()
	if err := s.Accounts.EraseAt(t.Context(), tx, id, tx.Now()); err != nil {
		t.Fatal(err)
	}
	return id
}

// crowd imports people of all sorts, and does to some what holders and operators do.
func crowd(t testing.TB, s *transfer.Service, clock *dbtest.Clock) {
	t.Helper()
	bring(t, s, `{"email":"ada@example.org","email_verified":true,"phone":"+4915112345678","phone_verified":true,"username":"ada","language":"fr","created_at":"2019-05-06T07:08:09.123Z","password":"`+horse+`","claims":{"name":"Ada <&> \"L\""},"external_id":"a-1"}
{"email":"bcrypt@example.org","email_verified":true,"password_hash":"$2y$05$pVbiloiZSqUu8DozRtCOxOHCg7Twjj0.E/Meo.xoTA6cr1oVpGwty","password_set_at":"2018-01-01"}
{"email":"md5@example.org","password_hash":"md5$$9cc2ae8a1ba7a93da39b46fc1019c481"}
{"email":"locked@example.org","state":"locked","password_hash":"$H$6GhvxgL1ONsnfoPn3uwwi741q.G1Jr1"}
{"email":"closed@example.org","state":"closed"}
{"email":"leaving@example.org","email_verified":true,"password":"`+horse+`"}
{"email":"gone@example.org"}
{"email":"stopped@example.org","email_verified":true,"password":"`+horse+`"}
`+people(600), nil)
	err := s.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		leaving, gone, stopped := who(t, s, "leaving@example.org"), who(t, s, "gone@example.org"), who(t, s, "stopped@example.org")
		extra, err := account.Parse("second@example.org")
		_, erase := s.Accounts.Erase(t.Context(), tx, dueNow(t, s, tx, gone.ID))
		return errors.Join(
			err,
			s.Accounts.EraseAt(t.Context(), tx, leaving.ID, clock.Now().Add(30*24*time.Hour)),
			s.Accounts.Freeze(t.Context(), tx, leaving.ID, clock.Now().Add(72*time.Hour)),
			erase,
			s.Passwords.Stop(t.Context(), tx, stopped.ID),
			s.Accounts.Add(t.Context(), tx, leaving.ID, account.NewIdentifier{Identifier: extra, Verified: true, Notices: true}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsExportedIsImportedTheSame(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		ring := newRing(t)
		s := serviceOf(t, db, ring)
		crowd(t, s, clock)
		file := export(t, s, transfer.What{Hashes: true})
		if got := strings.Count(file, "\n"); got != 608 || strings.Contains(file, "decoy") {
			t.Errorf("%d accounts", got)
		}
		there := dbtest.Open(t, dbtest.NewURL(t, db.Engine()), clock)
		other := serviceOf(t, there, ring)
		sum, refused := bring(t, other, file, nil)
		if sum.Imported != 608 || len(refused) > 0 {
			t.Fatalf("%+v %v", sum, refused)
		}
		if diff := cmp.Diff(strings.Split(file, "\n"), strings.Split(export(t, other, transfer.What{Hashes: true}), "\n")); diff != "" {
			t.Error(diff)
		}
		for name, opened := range map[string]bool{
			"ada@example.org": true, "bcrypt@example.org": true, "md5@example.org": true, "locked@example.org": true,
			"person599@example.org": true, "closed@example.org": false, "stopped@example.org": false,
		} {
			if opens(t, other, name, horse) != opened {
				t.Errorf("%s opens: %t", name, !opened)
			}
		}
		if again, _ := bring(t, s, file, nil); again.Imported != 0 || again.Refused[transfer.IdentifierTaken] != 608 {
			t.Errorf("into where it came from: %+v", again)
		}
	})
}

func TestAnExportHasNoHashesUnasked(t *testing.T) {
	clock := dbtest.NewClock()
	s := serviceOf(t, dbtest.Open(t, dbtest.NewURL(t, sqldb.SQLite), clock), newRing(t))
	crowd(t, s, clock)
	file := export(t, s, transfer.What{})
	if strings.Contains(file, "password") || strings.Contains(file, "argon2") || strings.Contains(file, "$2y$") || !strings.Contains(file, "ada@example.org") {
		t.Error("hashes, or no addresses")
	}
	if file = export(t, s, transfer.What{Hashes: true}); strings.Contains(file, "9cc2ae8a1ba7a93da39b46fc1019c481") || !strings.Contains(file, "$2y$05$pVb") {
		t.Error("a quick hash was kept, or a slow one was not")
	}
}

func TestOneAccountIsExported(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		s := serviceOf(t, db, newRing(t))
		crowd(t, s, clock)
		id := who(t, s, "ada").ID
		one := export(t, s, transfer.What{ID: id, Hashes: true})
		if strings.Count(one, "\n") != 1 || !strings.Contains(export(t, s, transfer.What{Hashes: true}), one) {
			t.Errorf("%s", one)
		}
		for _, nobody := range []account.ID{"0196f0c1-0000-7000-8000-000000000000", account.Last} {
			if _, err := s.Export(t.Context(), &bytes.Buffer{}, transfer.What{ID: nobody}); fault.Of(err).Code != "account_unknown" {
				t.Errorf("%s: %v", nobody, err)
			}
		}
	})
}

// who reads everybody's contact data leaves a trace, even if what was read never arrived.
func TestExportIsRecordedFirst(t *testing.T) {
	s := newService(t, dbtest.SQLite(t))
	bring(t, s, people(1), nil)
	before := count(t, s.DB, "audit_event")
	full := errors.New("the disk is full")
	if _, err := s.Export(t.Context(), writes{full}, transfer.What{Hashes: true}); !errors.Is(err, full) {
		t.Errorf("Export = %v", err)
	}
	if got := count(t, s.DB, "audit_event"); got != before+1 {
		t.Errorf("%d events more", got-before)
	}
}

type writes struct{ err error }

func (w writes) Write([]byte) (int, error) { return 0, w.err }
