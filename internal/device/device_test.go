package device_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"countersign/internal/device"
	"countersign/internal/message"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

func TestNamesAreCoarseAndHarmless(t *testing.T) {
	for agent, want := range map[string]string{
		"": "Unknown device",
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                                  "Firefox on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36":                         "Chrome on Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1": "Safari on iOS",
	} {
		if got := device.NameOf(agent); got != want {
			t.Errorf("%q: %q, want %q", agent, got, want)
		}
	}
	for _, agent := range []string{"\u202egnp.exe", "a\x00b\r\nSet-Cookie: x", strings.Repeat("é", 5000), "\xff\xfe"} {
		got := device.NameOf(agent)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > 60 || strings.ContainsAny(got, "\r\n\x00\u202e") {
			t.Errorf("%q became %q", agent[:min(len(agent), 20)], got)
		}
	}
}

// A name that we made is one that can be said in other languages; one that somebody typed stays as it is.
func TestNamesThatWeMadeAreSaidInTheReadersLanguage(t *testing.T) {
	const webkit = "AppleWebKit/537.36 (KHTML, like Gecko) "
	for agent, want := range map[string]string{
		"": "Unbekannt",
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                                  "Firefox unter Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + webkit + "Chrome/142.0.0.0 Safari/537.36":                                                  "Chrome unter Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + webkit + "Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0":                                    "Edge unter Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + webkit + "Chrome/142.0.0.0 Safari/537.36 OPR/126.0.0.0":                                    "Opera unter Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15":                   "Safari unter macOS",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1": "Safari unter iOS",
		"Mozilla/5.0 (Linux; Android 10; K) " + webkit + "Chrome/142.0.0.0 Mobile Safari/537.36":                                                  "Chrome unter Android",
		"Mozilla/5.0 (Linux; Android 10; K) " + webkit + "SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36":                              "Samsung Browser unter Android",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) " + webkit + "Chrome/142.0.0.0 Safari/537.36":                                                   "Chrome unter ChromeOS",
	} {
		if got := message.DeviceName(device.NameOf(agent), "{browser} unter {system}", "Unbekannt"); got != want {
			t.Errorf("%q: %q, want %q", agent, got, want)
		}
	}
	for _, typed := range []string{"Kitchen", "Photos on Linux", "Firefox on the desk", "My Firefox on Linux", "{browser} on {system}", "firefox on linux", ""} {
		if got := message.DeviceName(typed, "{browser} unter {system}", "Unbekannt"); got != typed {
			t.Errorf("%q became %q", typed, got)
		}
	}
}

// Only a P-256 or Ed25519 key that signed this nonce for this site may be remembered.
func TestEnrolmentProvesItsKey(t *testing.T) {
	for name, made := range map[string]func(testing.TB) testkit.Key{"P-256": testkit.NewKey, "Ed25519": testkit.NewEdKey} {
		t.Run(name, func(t *testing.T) { enrolmentProves(t, made(t), made(t)) })
	}
}

func enrolmentProves(t *testing.T, key, other testkit.Key) {
	t.Helper()
	s := &device.Service{Origin: testkit.Origin}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	spki := func(pub any) []byte {
		b, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sign := func(nonce string) []byte { return key.Sign("remember", testkit.Origin, nonce) }
	if err := s.Check(&device.Enrolment{PublicKey: key.Public(), Signature: sign("n")}, "n"); err != nil {
		t.Fatal(err)
	}
	for name, public := range map[string]any{"P-384": &p384.PublicKey, "RSA": &rsaKey.PublicKey} {
		if err := s.Check(&device.Enrolment{PublicKey: spki(public), Signature: sign("n")}, "n"); fault.Of(err).Code != "device_key_unsupported" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, e := range map[string]device.Enrolment{
		"other nonce":   {PublicKey: key.Public(), Signature: sign("m")},
		"other key":     {PublicKey: other.Public(), Signature: sign("n")},
		"other purpose": {PublicKey: key.Public(), Signature: key.Sign("recognise", testkit.Origin, "n")},
		"no key":        {Signature: sign("n")},
		"no signature":  {PublicKey: key.Public()},
		"zeros":         {PublicKey: key.Public(), Signature: make([]byte, 64)},
		"rubbish":       {PublicKey: []byte("rubbish"), Signature: sign("n")},
		"huge":          {PublicKey: make([]byte, 1<<20), Signature: sign("n")},
	} {
		if err := s.Check(&e, "n"); fault.Of(err).Code != "device_key_malformed" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoMoreDevicesThanAPersonReads(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		m := testkit.NewMachine(t, db, testkit.Ring(t))
		who := m.Account("ada@example.org")
		for range device.MaxPerAccount + 3 {
			clock.Advance(1e9)
			err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
				_, err := m.Devices.Remember(t.Context(), tx, who, device.Enrolment{PublicKey: testkit.NewKey(t).Public(), Name: "Phone"}, nil)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if all, err := m.Devices.List(t.Context(), who); err != nil || len(all) != device.MaxPerAccount {
			t.Fatalf("%d devices, %v; want %d", len(all), err, device.MaxPerAccount)
		}
	})
}

// A device goes a month after its time was over, with its handles; until then its row stays, ended or not.
func TestPruneDeletesWhatIsLongOver(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		m := testkit.NewMachine(t, db, testkit.Ring(t))
		who := m.Account("ada@example.org")
		ctx := t.Context()
		write := func(fn func(tx *sqldb.Tx) error) {
			t.Helper()
			if err := db.Write(ctx, fn); err != nil {
				t.Fatal(err)
			}
		}
		remember := func() (id device.ID) {
			write(func(tx *sqldb.Tx) error {
				r, err := m.Devices.Remember(ctx, tx, who, device.Enrolment{PublicKey: testkit.NewKey(t).Public(), Name: "Phone"}, nil)
				if err == nil {
					id = r.ID
				}
				return err
			})
			return id
		}
		rows := func(what string, devices, handles int) {
			t.Helper()
			var got [2]int
			write(func(tx *sqldb.Tx) error {
				if _, err := m.Devices.Prune(ctx, tx); err != nil {
					return err
				}
				return tx.QueryRow(ctx, "SELECT (SELECT count(*) FROM device), (SELECT count(*) FROM device_handle)").Scan(&got[0], &got[1])
			})
			if got != [2]int{devices, handles} {
				t.Errorf("%s: %d devices and %d handles left, want %d and %d", what, got[0], got[1], devices, handles)
			}
		}
		forgotten := remember()
		remember()
		write(func(tx *sqldb.Tx) error { _, err := m.Devices.Forget(ctx, tx, who, forgotten); return err })
		clock.Advance(31 * 24 * time.Hour)
		remember()
		rows("over for a day", 3, 3)
		clock.Advance(29*24*time.Hour + time.Minute)
		rows("two of them over for a month", 1, 1)
	})
}
