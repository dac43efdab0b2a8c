package totp_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"countersign/internal/audit"
	"countersign/internal/keyring"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/totp"
)

func file(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var preShared, _ = hex.DecodeString("12345678901234567890123456789012")

// RFC 6030: figures 6 (a key that both sides have) and 7 (a passphrase), and a file without encryption. Each has the
// secret of RFC 4226.
func TestTokensOfTheStandardsFiles(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		for name, o := range map[string]totp.Import{
			"plain.xml": {}, "figure6.xml": {Key: preShared}, "figure7.xml": {Passphrase: secret.Of("qwerty")},
		} {
			if sum, refused, err := d.bring(totp.PSKC, file(t, name), o); err != nil || sum.Imported+sum.Already == 0 || len(refused) > 0 {
				t.Errorf("%s: %+v, %v, %v", name, sum, refused, err)
			}
		}
		all, err := d.Tokens(t.Context(), "", 10)
		if err != nil || len(all) != 2 { // the same token is in all three
			t.Fatalf("%+v, %v", all, err)
		}
		for _, serial := range []string{"987654321", " t-1"} {
			d.write(func(ctx context.Context, tx *sqldb.Tx) error { return d.Assign(ctx, tx, serial, d.ada) })
		}
		if d.verify(d.ada, "84755224") != totp.Right || d.verify(d.ada, "94287082") != totp.Right {
			t.Error("the codes of RFC 4226 are refused")
		}
		a := app{raw: []byte("12345678901234567890123456789012"), shape: totp.Shape{Kind: totp.TOTP, Algorithm: totp.SHA256, Digits: 6, Period: 60}, d: d}
		if d.verify(d.ada, a.shows(0)) != totp.Right {
			t.Error("the clock's code is refused")
		}
	})
}

// The program pskctool reads the same from a file.
func TestPskctoolReadsTheSame(t *testing.T) {
	pskctool := tool(t, "pskctool")
	out, err := exec.CommandContext(t.Context(), pskctool, "--info", "testdata/plain.xml").Output()
	if err != nil {
		t.Fatal(err)
	}
	if valid, err := exec.CommandContext(t.Context(), pskctool, "--validate", "testdata/plain.xml").CombinedOutput(); err != nil || !strings.Contains(string(valid), "OK") {
		t.Fatalf("the file is not valid: %s", valid)
	}
	var theirs []string
	for _, m := range regexp.MustCompile(`SerialNo: (\S+)|pskc:(hotp|totp)\n|Suite: HMAC-(\S+)|TimeInterval: (\d+)|Format Length: (\d)`).FindAllStringSubmatch(string(out), -1) {
		theirs = append(theirs, strings.Join(m[1:], ""))
	}
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := totp.Service{DB: db, Ring: testkit.Ring(t), Audit: &audit.Log{Ring: testkit.Ring(t)}}
		d := desk{Service: &s, t: t, db: db}
		if sum, _, err := d.bring(totp.PSKC, file(t, "plain.xml"), totp.Import{}); err != nil || sum.Imported != 2 {
			t.Fatalf("%+v, %v", sum, err)
		}
		all, err := s.Tokens(t.Context(), "", 10)
		if err != nil || len(all) != 2 {
			t.Fatal(err)
		}
		ours := []string{all[0].Serial, string(all[0].Shape.Kind), "8", all[1].Serial, string(all[1].Shape.Kind), "60", string(all[1].Shape.Algorithm), "6"}
		if all[0].Shape.Digits != 8 || all[1].Shape.Digits != 6 || all[1].Shape.Period != 60 || strings.Join(ours, " ") != strings.Join(theirs, " ") {
			t.Errorf("%+v, and pskctool %v", all, theirs)
		}
	})
}

// A file that was changed, or whose key is another, is refused whole, and before anything of it is decrypted.
func TestFilesThatAreRefusedWhole(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		plain, six, seven := file(t, "plain.xml"), file(t, "figure6.xml"), file(t, "figure7.xml")
		changed := strings.Replace(six, "AAECAwQF", "AAECAwQG", 1) // a bit of the IV: of the secret's first block
		key := totp.Import{Key: preShared}
		for name, c := range map[string]struct {
			text string
			o    totp.Import
			want string
		}{
			"no key":              {six, totp.Import{}, "is encrypted"},
			"no passphrase":       {seven, key, "is encrypted"},
			"another key":         {six, totp.Import{Key: bytes.Repeat([]byte{7}, 16)}, "MAC"},
			"a short key":         {six, totp.Import{Key: []byte("short")}, "length"},
			"another passphrase":  {seven, totp.Import{Passphrase: secret.Of("qwertz")}, "MAC"},
			"a changed secret":    {changed, key, "MAC"},
			"a changed MAC":       {strings.Replace(six, "Su+N", "Su+O", 1), key, "MAC"},
			"no MAC":              {regexp.MustCompile(`<ValueMAC>.*</ValueMAC>`).ReplaceAllString(six, ""), key, "without a MAC"},
			"no MAC method":       {regexp.MustCompile(`(?s)<MACMethod.*</MACMethod>`).ReplaceAllString(six, ""), key, "without a MAC"},
			"an unknown MAC":      {strings.Replace(six, "hmac-sha1", "hmac-md5", 1), key, "not known"},
			"another encryption":  {strings.ReplaceAll(six, "aes128-cbc", "tripledes-cbc"), key, "not known"},
			"too many rounds":     {strings.Replace(seven, "1000", "100000000", 1), totp.Import{Passphrase: secret.Of("qwerty")}, "not known"},
			"a document type":     {strings.Replace(plain, "<KeyContainer", `<!DOCTYPE a [<!ENTITY b "c">]><KeyContainer`, 1), totp.Import{}, "document type"},
			"an entity":           {strings.Replace(plain, "T-1<", "&b;<", 1), totp.Import{}, "entity"},
			"another kind of XML": {"<html/>", totp.Import{}, "no PSKC"},
			"nothing":             {"", totp.Import{}, "no PSKC"},
			"half a file":         {plain[:len(plain)/2], totp.Import{}, "EOF"},
		} {
			if sum, _, err := d.bring(totp.PSKC, c.text, c.o); err == nil || !strings.Contains(err.Error(), c.want) || sum.Imported > 0 {
				t.Errorf("%s: %+v, %v; want %q", name, sum, err, c.want)
			}
		}
		if all, err := d.Tokens(t.Context(), "", 10); err != nil || len(all) > 0 {
			t.Errorf("%+v was taken, %v", all, err)
		}
	})
}

func TestAFileHasAnEnd(t *testing.T) {
	s := totp.Service{DB: dbtest.SQLite(t), Ring: testkit.Ring(t)}
	endless := &repeated{text: []byte(strings.Repeat("x", 1<<20) + "\n"), head: []byte("serial,secret\n")}
	_, err := s.Import(t.Context(), endless, totp.Import{Format: totp.CSV, DryRun: true, Refused: func(totp.Refused) error { return nil }})
	if err == nil || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Errorf("%v", err)
	}
	endless = &repeated{text: []byte("a,b\n"), head: []byte("serial,secret\n")}
	_, err = s.Import(t.Context(), endless, totp.Import{Format: totp.CSV, DryRun: true, Refused: func(totp.Refused) error { return nil }})
	if err == nil || !strings.Contains(err.Error(), "more than 100000 tokens") {
		t.Errorf("%v", err)
	}
}

// repeated is a file without an end.
type repeated struct {
	head, text []byte
	at         int
}

func (r *repeated) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	n := copy(p, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

func TestPSKCTokensThatAreNotTaken(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		plain := file(t, "plain.xml")
		for name, c := range map[string]struct {
			from, to string
			want     totp.Reason
		}{
			"expired":              {"<KeyUsage>", "<ExpiryDate>2020-01-01T00:00:00Z</ExpiryDate><KeyUsage>", totp.KeyExpired},
			"not yet":              {"2006-05-01", "2106-05-01", totp.PolicyUnknown},
			"for something else":   {"OTP</KeyUsage>", "CR</KeyUsage>", totp.PolicyUnknown},
			"an unknown policy":    {"<KeyUsage>", "<Moon>full</Moon><KeyUsage>", totp.PolicyUnknown},
			"a PIN in the code":    {"<KeyUsage>", `<PINPolicy PINUsageMode="Append"/><KeyUsage>`, totp.PolicyUnknown},
			"a few times only":     {"<KeyUsage>", "<NumberOfTransactions>3</NumberOfTransactions><KeyUsage>", totp.PolicyUnknown},
			"another algorithm":    {"pskc:totp", "pskc:ocra", totp.KindUnknown},
			"another hash":         {"HMAC-SHA256", "HMAC-MD5", totp.AlgorithmUnknown},
			"five digits":          {`Length="6"`, `Length="5"`, totp.DigitsInvalid},
			"letters":              {`Length="6" Encoding="DECIMAL"`, `Length="6" Encoding="ALPHANUMERIC"`, totp.DigitsInvalid},
			"another epoch":        {"<Time><PlainValue>0", "<Time><PlainValue>42", totp.PeriodInvalid},
			"steps of an hour":     {"60</PlainValue>", "3600</PlainValue>", totp.PeriodInvalid},
			"no secret":            {"<Secret><PlainValue>MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=</PlainValue></Secret>", "", totp.SecretMissing},
			"no base64":            {"MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=", "***", totp.SecretInvalid},
			"104 bits":             {"MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=", "MTIzNDU2Nzg5MDEyMw==", totp.SecretShort},
			"twice the same token": {">T-1<", ">987654321<", totp.SerialTaken},
		} {
			text := strings.Replace(plain, c.from, c.to, 1)
			sum, refused, err := d.bring(totp.PSKC, text, totp.Import{DryRun: true})
			if text == plain || err != nil || sum.Imported != 1 || len(refused) != 1 || refused[0].Why != c.want || refused[0].Line != 15 {
				t.Errorf("%s: %+v, %+v, %v; want %s", name, sum, refused, err, c.want)
			}
		}
	})
}

const tokens = "Serial, secret ,KIND,digits,algorithm,period,counter\n" +
	"A1,GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ,totp,8,sha-256,60,\n" +
	"A2,gezd gnbv gy3t qojq gezd gnbv gy3t qojq,hotp,6,HmacSHA1,,7\n" +
	"A3,GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ,,,,,\n" +
	"a1,GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ,,,,,\n" +
	"A5,GEZDGNBVGY3TQ,,,,,\n" +
	"A6,not base32!,,,,,\n" +
	"A7,GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ,ocra,,,,\n" +
	"A8,GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ,,nine,,,\n" +
	"A9,GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ,,,md5,,\n" +
	"B1,GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ,,,,3600,\n" +
	"B2,GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ,hotp,,,,-1\n" +
	",GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ,,,,,\n" +
	"B4,GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n"

func TestTokensOfALineEach(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		want := "5 serial_taken, 6 secret_short, 7 secret_invalid, 8 kind_unknown, 9 digits_invalid, 10 algorithm_unknown, " +
			"11 period_invalid, 12 counter_invalid, 13 serial_invalid, 14 line_malformed, "
		for i, dry := range []bool{true, false, true, false} {
			sum, refused, err := d.bring(totp.CSV, tokens, totp.Import{DryRun: dry})
			got := ""
			for _, r := range refused {
				got += strings.TrimSpace(strings.Join([]string{itoa(r.Line), string(r.Why)}, " ")) + ", "
			}
			already := map[bool]int64{true: 3}[i > 1]
			if err != nil || got != want || sum.Read != 13 || sum.Imported != 3-already || sum.Already != already {
				t.Errorf("run %d: %+v, %v, %s", i, sum, err, got)
			}
		}
		all, err := d.Tokens(t.Context(), "", 10)
		if err != nil || len(all) != 3 || all[0].Shape != (totp.Shape{Kind: totp.TOTP, Algorithm: totp.SHA256, Digits: 8, Period: 60}) ||
			all[1].Shape != counterShape || all[2].Shape != totp.Default() {
			t.Errorf("%+v, %v", all, err)
		}
		if some, err := d.Tokens(t.Context(), all[0].ID, 1); err != nil || len(some) != 1 || some[0].Serial != "A2" {
			t.Errorf("a page of them: %+v, %v", some, err)
		}
		d.write(func(ctx context.Context, tx *sqldb.Tx) error { return d.Assign(ctx, tx, "A2", d.ada) })
		two := app{raw: []byte("12345678901234567890"), shape: counterShape, d: d}
		if d.verify(d.ada, two.press(5)) != totp.Wrong || d.verify(d.ada, two.press(7)) != totp.Right {
			t.Error("the counter was not taken along")
		}
		// The same number with another secret is another token.
		if _, refused, err := d.bring(totp.CSV, "secret,serial\n3132333435363738393031323334353637383931,A1\n", totp.Import{SecretsAs: "hex"}); err != nil || len(refused) != 1 || refused[0].Why != totp.SerialTaken {
			t.Errorf("%+v, %v", refused, err)
		}
		for _, bad := range []string{"", "serial\nA\n", "serial,secret,colour\nA,B,C\n"} {
			if _, _, err := d.bring(totp.CSV, bad, totp.Import{}); err == nil {
				t.Errorf("%q was read", bad)
			}
		}
	})
}

func itoa(n int64) string {
	return strings.TrimLeft(string([]byte{byte('0' + n/10), byte('0' + n%10)}), "0")
}

// an operator gives tokens to people and takes them back. Whoever has a token next cannot use a code that
// the last one saw.
func TestTokensAreAssignedAndUnassigned(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		bob := d.m.Bare("bob@example.org")
		h := d.token(counterShape, "H 1", "12345678901234567890")
		assign := func(serial string) func(ctx context.Context, tx *sqldb.Tx) error {
			return func(ctx context.Context, tx *sqldb.Tx) error { return d.Assign(ctx, tx, serial, bob) }
		}
		if got := d.refused(assign("h1")); got != "token_assigned" {
			t.Errorf("somebody else's: %q", got)
		}
		if got := d.refused(assign("H2")); got != "token_unknown" {
			t.Errorf("an unknown one: %q", got)
		}
		if d.verify(bob, h.press(0)) != totp.Wrong || d.verify(d.ada, h.press(0)) != totp.Right {
			t.Error("want it Ada's")
		}
		d.write(func(ctx context.Context, tx *sqldb.Tx) error {
			was, err := d.Unassign(ctx, tx, "H1")
			if was != d.ada {
				t.Errorf("taken from %q", was)
			}
			return err
		})
		if d.verify(d.ada, h.press(1)) != totp.Wrong {
			t.Error("still Ada's")
		}
		d.write(assign("H1"))
		if d.verify(bob, h.press(0)) != totp.Used || d.verify(bob, h.press(1)) != totp.Right {
			t.Error("want the counter to go on")
		}
		for range totp.MaxPerAccount {
			d.app()
		}
		d.write(func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := d.Unassign(ctx, tx, "H1")
			return err
		})
		if got := d.refused(func(ctx context.Context, tx *sqldb.Tx) error { return d.Assign(ctx, tx, "H1", d.ada) }); got != "too_many_authenticators" {
			t.Errorf("one too many: %q", got)
		}
	})
}

// P4, N-3.1.4.2-01: whoever has the database has no secret, name or serial number.
func TestAStolenDatabaseHasNoSecret(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		a, e := d.begin(d.ada, totp.Shape{})
		if !d.confirm(d.ada, a, a.shows(0), "Grandmother's tablet") {
			t.Fatal("not confirmed")
		}
		d.token(counterShape, "SN-48151623", "12345678901234567890")
		var all bytes.Buffer
		d.write(func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.Each(ctx, `SELECT id, COALESCE(account_id, ''), serial_key, serial, kind, algorithm, secret, name FROM totp_authenticator`, func(scan func(...any) error) error {
				row := make([][]byte, 8)
				into := make([]any, 8)
				for i := range row {
					into[i] = &row[i]
				}
				err := scan(into...)
				all.Write(bytes.Join(row, []byte{'\n'}))
				return err
			})
		})
		for name, value := range map[string]string{
			"secret": string(a.raw), "key": strings.ReplaceAll(e.Key.Reveal(), " ", ""), "hex": hex.EncodeToString(a.raw), "token's": "12345678901234567890",
			"name": "Grandmother", "serial": "48151623",
		} {
			if bytes.Contains(all.Bytes(), []byte(value)) {
				t.Errorf("the %s is in the database", name)
			}
		}
		if all.Len() < 1000 {
			t.Errorf("%d bytes were looked at", all.Len())
		}
	})
}

// A key takes over from another: codes, names and serial numbers stay what they are, and nothing needs the old key.
func TestAuthenticatorsOutliveKeys(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		keys := testkit.NewKeys(t, db, "")
		m := testkit.NewMachine(t, db, keys.Ring)
		d := desk{m.Authenticators, t, m, db, clock, m.Bare("ada@example.org")}
		a, h := d.app(), d.token(counterShape, "H1", "12345678901234567890")
		old := keys.Change()
		if d.verify(d.ada, a.shows(0)) != totp.Right {
			t.Error("refused while the new key comes")
		}
		keys.Renew(d.Holdings())
		for _, holding := range d.Holdings() {
			d.write(func(ctx context.Context, tx *sqldb.Tx) error {
				left, err := holding.Count(ctx, tx)
				if left[old] != 0 || left[keys.ID()] == 0 {
					t.Errorf("%v: %v", holding.Columns, left)
				}
				return err
			})
		}
		keys.Drop(old)
		clock.Advance(30e9)
		all := d.list(d.ada)
		if d.verify(d.ada, a.shows(0)) != totp.Right || d.verify(d.ada, h.press(0)) != totp.Right || len(all) != 2 || all[0].Name+all[1].Name != "Phone" || all[0].Serial+all[1].Serial != "H1" {
			t.Errorf("something is lost with the old key: %+v", all)
		}
		if _, refused, err := d.bring(totp.CSV, "serial,secret\nH1,GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJR\n", totp.Import{}); err != nil || len(refused) != 1 {
			t.Errorf("a serial number is not found again: %+v, %v", refused, err)
		}
	})
}

// A secret that was moved to another row, by whoever can write to the database, is none.
func TestASecretThatWasMovedDoesNotOpen(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		bob := d.m.Bare("bob@example.org")
		a := d.app()
		theirs, _ := d.begin(bob, totp.Shape{})
		if !d.confirm(bob, theirs, theirs.shows(0), "") {
			t.Fatal("not confirmed")
		}
		d.write(func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE totp_authenticator SET secret = (SELECT secret FROM totp_authenticator WHERE id = $1) WHERE id = $2`, theirs.id, a.id)
			return err
		})
		err := d.db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, v, err := d.Verify(t.Context(), tx, d.ada, secret.Of(theirs.shows(1)))
			if v != totp.Wrong {
				t.Errorf("worth %d", v)
			}
			return err
		})
		if !errors.Is(err, keyring.ErrSealed) {
			t.Errorf("%v", err)
		}
	})
}
