package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/account"
	"countersign/internal/password"
	"countersign/internal/password/foreign"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/transfer"
)

const horse = "correct horse battery staple"

// bring imports a text and returns what it says.
func bring(t testing.TB, s *transfer.Service, text string, change func(*transfer.Options)) (transfer.Summary, []transfer.Refused) {
	t.Helper()
	var refused []transfer.Refused
	o := transfer.Options{Format: transfer.Lines, Workers: 2, Scratch: t.TempDir(), Refused: func(r transfer.Refused) error {
		refused = append(refused, r)
		return nil
	}}
	if change != nil {
		change(&o)
	}
	sum, err := s.Import(t.Context(), strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return sum, refused
}

// who is signed in to by a name.
func who(t testing.TB, s *transfer.Service, name string) (w account.Whole) {
	t.Helper()
	err := s.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
		ident, err := account.Parse(name)
		if err != nil {
			return err
		}
		a, err := s.Accounts.ByIdentifier(t.Context(), tx, ident)
		if err != nil {
			return err
		}
		w, err = s.Accounts.Whole(t.Context(), tx, a.ID)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return w
}

func opens(t testing.TB, s *transfer.Service, name, plain string) bool {
	t.Helper()
	var stored password.Stored
	id := who(t, s, name).ID
	err := s.DB.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
		stored, err = s.Passwords.Load(t.Context(), tx, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Passwords.Verify(t.Context(), stored, plain)
	if err != nil {
		t.Fatal(err)
	}
	return v.OK
}

func count(t testing.TB, db *sqldb.DB, table string) (n int) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestALineOfEachFormatBecomesAnAccount(t *testing.T) {
	const hash = "$2y$05$pVbiloiZSqUu8DozRtCOxOHCg7Twjj0.E/Meo.xoTA6cr1oVpGwty"
	created := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	for format, text := range map[transfer.Format]string{
		transfer.CSV: "\ufeffExternal_ID,email,email_verified,phone,phone_verified,username,language,created_at,password_hash,claim.name,claim.town\r\n" +
			"\r\n" +
			`7,"Ada@Example.org",yes,+4915112345678,false,ada,de-AT,2020-01-02 03:04:05,` + hash + `,"Ada, ""Countess""",` + "\r\n",
		transfer.Lines: `{"external_id":7,"email":"Ada@Example.org","email_verified":true,"phone":"+4915112345678","phone_verified":"false","username":"ada",` +
			`"language":"de-at","created_at":1577934245,"password_hash":"` + hash + `","claims":{"name":"Ada, \"Countess\""}}`, // and no line end
	} {
		dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
			s := newService(t, db)
			sum, refused := bring(t, s, text, func(o *transfer.Options) { o.Format = format })
			if sum.Lines != 1 || sum.Imported != 1 || sum.NoPassword != 0 || sum.Unreachable != 0 || len(refused) > 0 {
				t.Fatalf("%+v, %v", sum, refused)
			}
			got := who(t, s, "ada@example.org")
			if got.Language != "de-AT" || !got.CreatedAt.Equal(created) || got.State != account.Active || got.ID != who(t, s, "ada").ID || got.ID != who(t, s, "+4915112345678").ID {
				t.Errorf("%+v", got.Account)
			}
			if diff := cmp.Diff(map[string]string{"external_id": "7", "name": `Ada, "Countess"`}, got.Claims); diff != "" {
				t.Error(diff)
			}
			for _, a := range got.Addresses {
				verified, reachable := a.Kind == account.Email, a.Kind != account.Username
				if a.Verified != verified || a.Recovers != verified || a.Notices != reachable || !a.SignsIn || !a.AddedAt.Equal(created) {
					t.Errorf("%s: %t %t %t %t %v", a.Kind, a.Verified, a.Recovers, a.Notices, a.SignsIn, a.AddedAt)
				}
			}
			if !opens(t, s, "ada", horse) || opens(t, s, "ada", horse+"x") {
				t.Error("the password is another")
			}
		})
	}
}

func TestPasswordsOfAllSortsOpen(t *testing.T) {
	firebase := func(o *transfer.Options) {
		o.Hash = "firebase"
		o.Firebase = foreign.Firebase{
			SignerKey:     "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==",
			SaltSeparator: "Bw==", Rounds: 8, MemCost: 14,
		}
	}
	for _, c := range []struct {
		fields, plain string
		hashed        int64
		change        func(*transfer.Options)
	}{
		{`"password":"` + horse + `"`, horse, 1, nil},
		{`"password_hash":"$H$6GhvxgL1ONsnfoPn3uwwi741q.G1Jr1"`, horse, 0, nil},
		{`"password_hash":"{SSHA}1t6rIVZjbS10jfkpNP8NQghD0pn3Pkco"`, horse, 1, nil},
		{`"password_hash":"$pbkdf2-sha256$1000$Rgjh/D8HIMR4r7UW4vx/jw$vLiWMCNuuZwilfNjWFa12wYikdKp99mMR9Z/QDE0Has"`, horse, 1, nil},
		{
			`"password_hash":"lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==","password_salt":"42xEC+ixf3L2lw=="`,
			"user1password", 0, firebase,
		},
		{
			`"password_hash":"dee66120a5aefe5788b3e9658e52c1a549254edd1ab7674d8d09efc02d4423de","password_salt":"pepper&salt"`, horse, 1,
			func(o *transfer.Options) { o.Hash = "sha256(salt+password)" },
		},
		{
			`"password_hash":"dee66120a5aefe5788b3e9658e52c1a549254edd1ab7674d8d09efc02d4423de","password_salt":"7065707065722673616c74"`, horse, 1,
			func(o *transfer.Options) { o.Hash, o.Salt = "sha256(salt+password)", "hex" },
		},
		{
			`"password_hash":"dee66120a5aefe5788b3e9658e52c1a549254edd1ab7674d8d09efc02d4423de","password_salt":"cGVwcGVyJnNhbHQ="`, horse, 1,
			func(o *transfer.Options) { o.Hash, o.Salt = "sha256(salt+password)", "base64" },
		},
		{`"password_hash":"9cc2ae8a1ba7a93da39b46fc1019c481"`, horse, 1, func(o *transfer.Options) { o.Hash = "md5(password)" }},
	} {
		s := newService(t, dbtest.SQLite(t))
		sum, refused := bring(t, s, `{"username":"ada",`+c.fields+`}`, c.change)
		if sum.Imported != 1 || sum.Hashed != c.hashed || sum.Unreachable != 1 {
			t.Errorf("%s: %+v %v", c.fields, sum, refused)
			continue
		}
		if !opens(t, s, "ada", c.plain) || opens(t, s, "ada", c.plain+"!") {
			t.Errorf("%s: does not open, or too easily", c.fields)
		}
	}
	s := newService(t, dbtest.SQLite(t))
	for i, none := range []string{"", "!unusable", "*"} {
		sum, _ := bring(t, s, fmt.Sprintf(`{"username":"nobody%d","password_hash":%q}`, i, none), nil)
		if sum.NoPassword != 1 {
			t.Errorf("%q is taken for a password", none)
		}
	}
}

// refusals are lines that must not be taken, each with its reason.
func refusals() map[string]transfer.Reason {
	long := strings.Repeat("x", 1<<20)
	var many strings.Builder
	for i := range 11 {
		fmt.Fprintf(&many, `,{"kind":"username","value":"name%d","signs_in":true}`, i)
	}
	return map[string]transfer.Reason{
		`{"email":"a@example.org"`: transfer.LineMalformed,
		`["a@example.org"]`:        transfer.LineMalformed,
		`a@example.org`:            transfer.LineMalformed,
		`{"email":"a@example.org"} {"email":"b@example.org"}`:                   transfer.LineMalformed,
		`{"email":["a@example.org"]}`:                                           transfer.LineMalformed,
		`{"email":"a@example.org","email_verified":"perhaps"}`:                  transfer.LineMalformed,
		`{"email":"a@example.org","external_id":{}}`:                            transfer.LineMalformed,
		`{"email":"a@example.org","claims":{"x":"` + long + `"}}`:               transfer.LineTooLong,
		`{"email":"a@example.org","admin":true}`:                                transfer.FieldUnknown,
		`{"email":"a@example.org","id":"7"}`:                                    transfer.IDInvalid,
		`{"email":"a@example.org","id":"` + string(account.Last) + `"}`:         transfer.IDInvalid,
		`{"email":"a@example.org","id":"0196F0C1-0000-7000-8000-000000000000"}`: transfer.IDInvalid,
		`{}`:                           transfer.IdentifierMissing,
		`{"email":""}`:                 transfer.IdentifierMissing,
		`{"email":"not an address"}`:   transfer.IdentifierMalformed,
		`{"email":"+4915112345678"}`:   transfer.IdentifierMalformed,
		`{"phone":"a@example.org"}`:    transfer.IdentifierMalformed,
		`{"phone":"015112345678"}`:     transfer.IdentifierMalformed,
		`{"username":"a@example.org"}`: transfer.IdentifierMalformed,
		`{"identifiers":[{"kind":"email","value":"a@example.org","recovers":true,"signs_in":true}]}`:                transfer.IdentifierUses,
		`{"identifiers":[{"kind":"username","value":"ada","verified":true,"signs_in":true}]}`:                       transfer.IdentifierUses,
		`{"identifiers":[{"kind":"email","value":"a@example.org"}]}`:                                                transfer.IdentifierUses,
		`{"email":"a@example.org","identifiers":[{"kind":"email","value":"A@example.org"}]}`:                        transfer.IdentifierUses,
		`{"identifiers":[` + many.String()[1:] + `]}`:                                                               transfer.TooManyAddresses,
		`{"email":"a@example.org","language":"german please"}`:                                                      transfer.LanguageInvalid,
		`{"email":"a@example.org","created_at":"yesterday"}`:                                                        transfer.TimeInvalid,
		`{"email":"a@example.org","password_set_at":"2999-01-01"}`:                                                  transfer.TimeInvalid,
		`{"identifiers":[{"kind":"email","value":"a@example.org","signs_in":true,"added_at":"2999-01-01"}]}`:        transfer.TimeInvalid,
		`{"email":"a@example.org","created_at":-5}`:                                                                 transfer.TimeInvalid,
		`{"email":"a@example.org","state":"decoy"}`:                                                                 transfer.StateInvalid,
		`{"email":"a@example.org","claims":{"":"x"}}`:                                                               transfer.ClaimInvalid,
		`{"email":"a@example.org","claims":{"x":""}}`:                                                               transfer.ClaimInvalid,
		`{"email":"a@example.org","claims":{"x":"` + long[:5000] + `"}}`:                                            transfer.ClaimInvalid,
		`{"email":"a@example.org","password":"a","password_hash":"$1$saltsalt$BsXyQbZiQujHkdhwPwdol."}`:             transfer.PasswordInvalid,
		`{"email":"a@example.org","password":"` + long[:1025] + `"}`:                                                transfer.PasswordInvalid,
		`{"email":"a@example.org","password_hash":"9cc2ae8a1ba7a93da39b46fc1019c481"}`:                              transfer.Reason(foreign.Unsupported),
		`{"email":"a@example.org","password_hash":"$2b$10$short"}`:                                                  transfer.Reason(foreign.Malformed),
		`{"email":"a@example.org","password_hash":"$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"}`:  transfer.Reason(foreign.TooCostly),
		`{"email":"a@example.org","password_hash":"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"}`: transfer.Reason(foreign.TooWeak),
		`{"email":"a@example.org","password_hash":"$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","password_pepper":"elsewher"}`: transfer.PepperUnknown,
	}
}

// A hostile or foolish line is that line's problem, and no other's.
func TestLinesThatAreNotTaken(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, db)
		var file strings.Builder
		var want []transfer.Refused
		fmt.Fprintln(&file, `{"username":"first"}`)
		for line, why := range refusals() {
			fmt.Fprintln(&file, line)
			r := transfer.Refused{Line: int64(len(want)) + 2, Why: why}
			if strings.Contains(line, `"id":"7"`) {
				r.ID = "7"
			}
			want = append(want, r)
		}
		fmt.Fprintln(&file, `{"username":"last"}`)
		before := count(t, db, "account_identifier")
		sum, got := bring(t, s, file.String(), nil)
		for i := range got {
			if !strings.HasPrefix(got[i].ID, "7") {
				got[i].ID = ""
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if sum.Imported != 2 || count(t, db, "account_identifier") != before+2 || sum.Refused[transfer.LineMalformed] != 7 {
			t.Errorf("%+v", sum)
		}
	})
}

func TestCSVThatIsNotTaken(t *testing.T) {
	s := newService(t, dbtest.SQLite(t))
	for text, want := range map[string]string{
		"":                       "empty",
		"email,mail\n":           `"mail"`,
		"email,Email\n":          "twice",
		"email,\"x\n":            "columns",
		"email,claim.\n":         `"claim."`,
		"email,identifiers\n":    `"identifiers"`,
		"a@example.org,secret\n": "columns",
	} {
		_, err := s.Import(t.Context(), strings.NewReader(text), transfer.Options{Format: transfer.CSV})
		if err == nil || text != "a@example.org,secret\n" && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	sum, refused := bring(t, s, "email,shoe\na@example.org\na@example.org,1,2\n\"a@example.org,1\nb@example.org,42\n\"c@example.org\",\"4\"\"2\"\n",
		func(o *transfer.Options) { o.Format, o.IgnoreUnknown = transfer.CSV, true })
	if sum.Imported != 2 || sum.Refused[transfer.LineMalformed] != 3 || len(refused) != 3 || refused[2].Line != 4 {
		t.Errorf("%+v %v", sum, refused)
	}
	for _, bad := range []transfer.Options{
		{Hash: "md5"},
		{Hash: "rot13(password)"},
		{Hash: "md5(user+password)"},
		{Hash: "firebase"},
		{Hash: "firebase", Firebase: foreign.Firebase{SignerKey: "jxspr8Ki0RYycVU8zykbdA==", Rounds: 8, MemCost: 31}},
	} {
		bad.Format = transfer.Lines
		if _, err := s.Import(t.Context(), strings.NewReader(""), bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// taken is a file whose lines want what others have, over several batches, and the lines that get nothing.
func taken(n int) (file string, refused []int64) {
	var b strings.Builder
	for i := range n {
		name := i
		if i%10 == 7 { // what the line before it has
			name = i - 1
			refused = append(refused, int64(i)+1)
		}
		fmt.Fprintf(&b, `{"external_id":%d,"username":"person%d","email":"mail%d@example.org"}`+"\n", i, name, i)
	}
	fmt.Fprintln(&b, `{"email":"new@example.org","username":"existing"}`, "\n", `{"email":"removed@example.org"}`, "\n", `{"email":"mail0@example.org"}`)
	return b.String(), append(refused, int64(n)+1, int64(n)+2, int64(n)+3)
}

// N-4.1.1, I-12: a name that somebody has goes to nobody else, and the first in the file gets a new one, however many workers
// there are. A dry run says the same and writes nothing.
func TestNamesThatAreTaken(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, db)
		bring(t, s, `{"username":"existing","email":"removed@example.org","email_verified":true,"identifiers":[{"kind":"email","value":"kept@example.org","verified":true,"notices":true}]}`, nil)
		existing := who(t, s, "existing")
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error { // held for a while
			for _, a := range existing.Addresses {
				if a.Normal == "removed@example.org" {
					return s.Accounts.Remove(t.Context(), tx, existing.ID, a.ID)
				}
			}
			return errors.New("nothing to remove")
		})
		if err != nil {
			t.Fatal(err)
		}
		file, lines := taken(1200)
		numbers := func(all []transfer.Refused) (out []int64) {
			for _, r := range all {
				if r.Why != transfer.IdentifierTaken {
					t.Errorf("line %d: %s", r.Line, r.Why)
				}
				out = append(out, r.Line)
			}
			return out
		}
		tables := []string{"account", "account_identifier", "account_claim", "password", "audit_event", "transfer_line"}
		var before []int
		for _, table := range tables {
			before = append(before, count(t, db, table))
		}
		folder := t.TempDir()
		dry, wouldRefuse := bring(t, s, file, func(o *transfer.Options) { o.DryRun, o.Scratch = true, folder })
		for i, table := range tables {
			if got := count(t, db, table); got != before[i] {
				t.Errorf("a dry run left %d rows in %s", got-before[i], table)
			}
		}
		if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
			t.Errorf("a dry run left %v, %v", left, err)
		}
		sum, refused := bring(t, s, file, func(o *transfer.Options) { o.Workers = 5 })
		if diff := cmp.Diff(lines, numbers(refused)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(refused, wouldRefuse); diff != "" {
			t.Error("a dry run says otherwise:", diff)
		}
		sum.Took, dry.Took = 0, 0
		if diff := cmp.Diff(sum, dry); diff != "" || sum.Imported != 1203-int64(len(lines)) {
			t.Error(sum, diff)
		}
		if got := who(t, s, "person6"); got.Claims["external_id"] != "6" {
			t.Errorf("the second line got the name: %v", got.Claims)
		}
	})
}

// cut is a file that breaks off.
type cut struct {
	io.Reader

	left int
	err  error
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, c.err
	}
	n, err := c.Reader.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func people(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"external_id":%d,"email":"person%d@example.org","email_verified":true,"password_hash":"$H$6GhvxgL1ONsnfoPn3uwwi741q.G1Jr1"}`+"\n", i, i)
	}
	return b.String()
}

func TestAnImportThatWasStoppedGoesOn(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := newService(t, db)
		before := count(t, db, "account")
		const n = 3000
		file, broken := people(n), errors.New("the disk is gone")
		o := transfer.Options{Format: transfer.Lines, Workers: 2}
		first, err := s.Import(t.Context(), &cut{strings.NewReader(file), len(file) / 3, broken}, o)
		if !errors.Is(err, broken) || first.Imported < 500 {
			t.Fatalf("%v, %+v", err, first)
		}
		ctx, cancel := context.WithCancel(t.Context())
		o.Progress = func(now transfer.Summary) {
			if now.Imported > 200 {
				cancel()
			}
		}
		second, err := s.Import(ctx, strings.NewReader(file), o)
		cancel()
		if !errors.Is(err, context.Canceled) || second.Already < first.Imported {
			t.Fatalf("%v, %+v", err, second)
		}
		o.Progress = nil
		third, err := s.Import(t.Context(), strings.NewReader(file), o)
		if err != nil || third.Already+third.Imported != n || third.Already < second.Already || len(third.Refused) > 0 {
			t.Errorf("%v, %+v", err, third)
		}
		if got := count(t, db, "account") - before; got != n {
			t.Errorf("%d accounts of %d lines", got, n)
		}
		last, _ := bring(t, s, strings.Replace(file, "$H$6", "$H$7", 1), nil) // the line says the same, but for the password
		if last.Already != n || !opens(t, s, "person0@example.org", horse) {
			t.Errorf("once more: %+v", last)
		}
	})
}

// Two lines that say the same are two lines: the second wants what the first has.
func TestTheSameLineTwiceIsOneAccount(t *testing.T) {
	for _, dry := range []bool{true, false} {
		s := newService(t, dbtest.SQLite(t))
		sum, refused := bring(t, s, people(1)+people(1), func(o *transfer.Options) { o.DryRun = dry })
		if want := []transfer.Refused{{Line: 2, Why: transfer.IdentifierTaken, ID: "0"}}; sum.Imported != 1 || !slices.Equal(refused, want) {
			t.Errorf("dry %t: %+v %v", dry, sum, refused)
		}
	}
}

// What was erased does not come back when an old file is imported once more.
func TestTheErasedDoNotComeBack(t *testing.T) {
	s := newService(t, dbtest.SQLite(t))
	bring(t, s, people(1), nil)
	id := who(t, s, "person0@example.org").ID
	err := s.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		erased, err := s.Accounts.Erase(t.Context(), tx, dueNow(t, s, tx, id))
		if !erased {
			t.Error("not erased")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if sum, _ := bring(t, s, people(1), nil); sum.Already != 1 {
		t.Errorf("%+v", sum)
	}
}

func TestNotedLinesAreForgottenInTime(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		s := newService(t, db)
		bring(t, s, people(600), nil)
		prune := func() (n int64) {
			t.Helper()
			err := db.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
				n, err = s.Prune(t.Context(), tx)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := prune(); n != 0 {
			t.Errorf("%d at once", n)
		}
		clock.Advance(91 * 24 * time.Hour)
		if a, b, c := prune(), prune(), prune(); a != 500 || b != 100 || c != 0 {
			t.Errorf("after 91 days: %d, %d, %d", a, b, c)
		}
	})
}

// Every kind in use is work for every sign-in.
func TestOneKindOfHashTooMany(t *testing.T) {
	for _, dry := range []bool{true, false} {
		s := newService(t, dbtest.SQLite(t))
		var b strings.Builder
		for i := range 10 {
			fmt.Fprintf(&b, `{"username":"crypt%dperson","password_hash":"$scrypt$ln=11,r=8,p=%d$lfKe0/ofw1jLWQvBeE+J8Q$glaKFmevcWOG0DOznItDuNz5aHC96EZWyt162yYw8NA"}`+"\n", i, i+1)
		}
		b.WriteString(`{"username":"late","password_hash":"$scrypt$ln=11,r=8,p=1$lfKe0/ofw1jLWQvBeE+J8Q$glaKFmevcWOG0DOznItDuNz5aHC96EZWyt162yYw8NA"}`)
		sum, refused := bring(t, s, b.String(), func(o *transfer.Options) { o.DryRun = dry })
		want := []transfer.Refused{{Line: 9, Why: transfer.TooManyHashKinds}, {Line: 10, Why: transfer.TooManyHashKinds}}
		if diff := cmp.Diff(want, refused); diff != "" || sum.Imported != 9 {
			t.Errorf("dry %t: %+v %s", dry, sum, diff)
		}
	}
}

// endless is a file that never ends a line, or has ever the same.
type endless struct {
	text string
	left int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && e.left > 0 {
		c := copy(p[n:], e.text)
		n, e.left = n+c, e.left-c
		if c < len(e.text) {
			e.text = e.text[c:] + e.text[:c]
		}
	}
	return n, nil
}

func TestMemoryStaysFlat(t *testing.T) {
	s := newService(t, dbtest.SQLite(t))
	const mib = 1 << 20
	for name, file := range map[string]io.Reader{
		"one line without end":  &endless{strings.Repeat("x", 1024), 256 * mib},
		"long lines":            &endless{strings.Repeat("x", 1023) + strings.Repeat(" ", 900*1024) + "\n", 256 * mib},
		"an unclosed quotation": io.MultiReader(strings.NewReader("email\n\""), &endless{"x@example.org\n", mib / 4}),
		"one line, many times":  io.MultiReader(strings.NewReader("email\n"), &endless{"x@example.org\n", mib / 2}),
	} {
		var peak uint64
		o := transfer.Options{Format: transfer.CSV, Workers: 2, IgnoreUnknown: true, Progress: func(transfer.Summary) {
			var m runtime.MemStats
			runtime.GC() // what was thrown away is not taken
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}}
		most := uint64(40 * mib)
		if name == "one line without end" || name == "long lines" {
			o.Format, most = transfer.Lines, 96*mib // what is read while it is looked counts, too
		}
		runtime.GC()
		if _, err := s.Import(t.Context(), file, o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		t.Logf("%s: %d MiB", name, peak/mib)
		if peak > most {
			t.Errorf("%s took %d MiB", name, peak/mib)
		}
	}
}

// What docs/import.md says is all there is.
func TestTheReasonsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/import.md")
	if err != nil {
		t.Fatal(err)
	}
	all := []transfer.Reason{transfer.IdentifierTaken, transfer.TooManyHashKinds}
	for _, why := range refusals() {
		all = append(all, why)
	}
	for _, why := range all {
		if !strings.Contains(string(doc), "`"+string(why)+"`") {
			t.Errorf("docs/import.md does not say what %s is", why)
		}
	}
}
