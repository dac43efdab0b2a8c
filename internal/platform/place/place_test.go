package place_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/platform/place"
	"countersign/internal/platform/place/placetest"
)

var (
	built = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	here  = netip.MustParseAddr("203.0.113.9")
)

// finder returns a Finder of a file in which 203.0.113.0/24 is Graz, and what it logs.
func finder(t *testing.T) (*place.Finder, string, *bytes.Buffer) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "places.mmdb")
	placetest.Write(t, file, built, map[string]placetest.Record{"203.0.113.0/24": placetest.Graz()})
	var log bytes.Buffer
	f := place.New(file, slog.New(slog.NewTextHandler(&log, nil)))
	f.Load(t.Context())
	return f, file, &log
}

func TestAPlaceHasANameInEachLanguage(t *testing.T) {
	f, _, _ := finder(t)
	for lang, want := range map[string]string{
		"en": "Graz, Austria",
		"de": "Graz, Österreich",
		"fr": "Graz, Autriche",
		"es": "Graz, Austria",
		"ar": "Graz، النمسا", // the file has no Arabic: the country's name is ours, the city's English
	} {
		if got := f.Of(here).In(lang); got != want {
			t.Errorf("%s: %q, want %q", lang, got, want)
		}
	}
	if got := f.Of(here).Country; got != "AT" {
		t.Errorf("country %q", got)
	}
}

func TestWhatAFileMayLack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "places.mmdb")
	placetest.Write(t, file, built, map[string]placetest.Record{
		"192.0.2.0/28":   {ISO: "AT", Country: placetest.Names{"en": "Austria"}},
		"192.0.2.16/28":  {ISO: "AT", Country: placetest.Names{"en": "Austria"}, Flat: true},
		"192.0.2.32/28":  {City: placetest.Names{"en": "Graz"}},
		"192.0.2.48/28":  {ISO: "ZZZ", Country: placetest.Names{"en": "Utopia"}},
		"192.0.2.64/28":  {ISO: "AT", Country: placetest.Names{"en": "Aus\r\ntria", "fr": "\u202eAutriche"}, City: placetest.Names{"en": strings.Repeat("x", 81)}},
		"2001:db8::/32":  {ISO: "DE"},
		"192.0.2.128/28": {City: placetest.Names{"ja": "グラーツ"}},
	})
	f := place.New(file, slog.New(slog.DiscardHandler))
	f.Load(t.Context())
	for addr, want := range map[string]string{
		"192.0.2.1":          "Österreich",
		"192.0.2.17":         "Österreich",
		"192.0.2.33":         "Graz",
		"192.0.2.49":         "Utopia",
		"192.0.2.65":         "Österreich", // a name that would break a line, turn it round or fill it is none
		"2001:db8::1":        "Deutschland",
		"::ffff:192.0.2.1":   "Österreich",
		"2001:db8::1%eth0":   "Deutschland",
		"192.0.2.129":        "",
		"198.51.100.1":       "",
		"2001:4860:4860::88": "",
	} {
		if got := f.Of(netip.MustParseAddr(addr)).In("de"); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}

// What has no place is nowhere, even if the file says otherwise.
func TestAddressesThatAreNowhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "places.mmdb")
	placetest.Write(t, file, built, map[string]placetest.Record{"0.0.0.0/0": placetest.Graz(), "::/1": placetest.Graz(), "8000::/1": placetest.Graz()})
	f := place.New(file, slog.New(slog.DiscardHandler))
	f.Load(t.Context())
	if !f.Of(here).Known() || !f.Of(netip.MustParseAddr("2001:db8::1")).Known() {
		t.Fatal("the file is not what this test thinks")
	}
	for _, addr := range []string{
		"10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "100.64.0.1", "169.254.1.1", "0.0.0.0", "255.255.255.255", "224.0.0.1",
		"::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1",
	} {
		if f.Of(netip.MustParseAddr(addr)).Known() {
			t.Errorf("%s has a place", addr)
		}
	}
	if f.Of(netip.Addr{}).Known() {
		t.Error("no address has a place")
	}
}

func TestWithoutAFileNothingIsKnown(t *testing.T) {
	var none *place.Finder
	none.Load(t.Context())
	if _, ok := none.Built(); ok || none.Of(here).Known() || (place.Place{}).In("en") != "" {
		t.Error("something is known")
	}
}

func TestCountries(t *testing.T) {
	for lang, want := range map[string]string{"en": "Switzerland", "de": "Schweiz", "fr": "Suisse", "es": "Suiza", "ar": "سويسرا"} {
		if got := place.OfCountry("CH").In(lang); got != want {
			t.Errorf("%s: %q, want %q", lang, got, want)
		}
	}
	for _, iso := range []string{"", "C", "CHE", "756", "ZZ", "001", "EU", "C\n", "日本"} {
		if p := place.OfCountry(iso); p.Known() || p.Country != "" {
			t.Errorf("%q is %q", iso, p.In("en"))
		}
	}
}

func TestANewFileComesIntoUse(t *testing.T) {
	f, file, _ := finder(t)
	vienna := placetest.Graz()
	vienna.City = placetest.Names{"en": "Vienna", "de": "Wien"}
	placetest.Write(t, file, built.Add(24*time.Hour), map[string]placetest.Record{"203.0.113.0/24": vienna})
	f.Load(t.Context())
	if got := f.Of(here).In("de"); got != "Wien, Österreich" {
		t.Errorf("found %s", got)
	}
	if at, ok := f.Built(); !ok || !at.Equal(built.Add(24*time.Hour)) {
		t.Errorf("built %v %v", at, ok)
	}
}

// Whatever becomes of the file, what was read before stays in use; the trouble is told once, and the
// next good file is used.
func TestADamagedFileLeavesTheOldOneInUse(t *testing.T) {
	whole := placetest.Bytes(t, built, map[string]placetest.Record{"203.0.113.0/24": placetest.Graz()})
	owners := placetest.Bytes(t, built, map[string]placetest.Record{"203.0.113.0/24": {}})
	for name, spoil := range map[string]func(file string) error{
		"cut short in place":     func(file string) error { return os.Truncate(file, int64(len(whole)/2)) },
		"emptied":                func(file string) error { return os.WriteFile(file, nil, 0o600) },
		"something else":         func(file string) error { return os.WriteFile(file, []byte("<html>Sign in to download</html>"), 0o600) },
		"places of no kind":      func(file string) error { return os.WriteFile(file, owners, 0o600) },
		"gone":                   os.Remove,
		"a folder":               func(file string) error { _ = os.Remove(file); return os.Mkdir(file, 0o700) },
		"its tree all of ones":   func(file string) error { return os.WriteFile(file, spoiled(whole, 0xff), 0o600) },
		"its tree all of zeroes": func(file string) error { return os.WriteFile(file, spoiled(whole, 0), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			f, file, log := finder(t)
			log.Reset()
			if err := spoil(file); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				f.Load(t.Context())
			}
			if got := f.Of(here).In("en"); got != "Graz, Austria" {
				t.Errorf("found %q", got)
			}
			if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
				t.Errorf("told %d times:\n%s", n, log)
			}
			if _, _, err := place.Check(file); err == nil {
				t.Error("the check finds it fine")
			}
			_ = os.Remove(file)
			vienna := placetest.Record{ISO: "AT", City: placetest.Names{"en": "Vienna"}}
			placetest.Write(t, file, built, map[string]placetest.Record{"203.0.113.0/24": vienna})
			f.Load(t.Context())
			if got := f.Of(here).In("en"); got != "Vienna, Austria" {
				t.Errorf("the good file after it: %q", got)
			}
		})
	}
}

// spoiled is a file whose search tree was overwritten, and whose end, where readers look first, is whole.
func spoiled(whole []byte, with byte) []byte {
	out := bytes.Clone(whole)
	for i := range len(out) / 2 {
		out[i] = with
	}
	return out
}

// A file that has a good end and bad insides finds nothing and ends nothing.
func TestNoByteOfAFileEndsTheProcess(t *testing.T) {
	whole := placetest.Bytes(t, built, map[string]placetest.Record{"203.0.113.0/24": placetest.Graz(), "2001:db8::/32": placetest.Graz()})
	dir := t.TempDir()
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 0xff
		file := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		f := place.New(file, slog.New(slog.DiscardHandler))
		f.Load(t.Context())
		for _, addr := range []string{"203.0.113.9", "198.51.100.1", "2001:db8::1"} {
			_ = f.Of(netip.MustParseAddr(addr)).In("ar")
		}
		_ = os.Remove(file)
	}
}

func TestLookingUpWhileFilesChange(t *testing.T) {
	f, file, _ := finder(t)
	vienna := placetest.Graz()
	vienna.City = placetest.Names{"en": "Vienna"}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got := f.Of(here).In("en"); got != "Graz, Austria" && got != "Vienna, Austria" {
					t.Errorf("found %q", got)
					return
				}
			}
		})
	}
	for i := range 50 {
		r := placetest.Graz()
		if i%2 == 0 {
			r = vienna
		}
		placetest.Write(t, file, built.Add(time.Duration(i)*time.Hour), map[string]placetest.Record{"203.0.113.0/24": r})
		f.Load(t.Context())
	}
	close(stop)
	wg.Wait()
	if at, _ := f.Built(); !at.Equal(built.Add(49 * time.Hour)) {
		t.Errorf("the last file is not in use: %v", at)
	}
}

func TestTheCheckSaysWhatAFileIs(t *testing.T) {
	_, file, _ := finder(t)
	kind, at, err := place.Check(file)
	if kind != "Test-City" || !at.Equal(built) || err != nil {
		t.Errorf("%q %v %v", kind, at, err)
	}
}

func BenchmarkOf(b *testing.B) {
	file := filepath.Join(b.TempDir(), "places.mmdb")
	placetest.Write(b, file, built, map[string]placetest.Record{"203.0.113.0/24": placetest.Graz()})
	f := place.New(file, slog.New(slog.DiscardHandler))
	f.Load(b.Context())
	for b.Loop() {
		if f.Of(here).In("de") == "" {
			b.Fatal("nowhere")
		}
	}
}
