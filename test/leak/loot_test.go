package leak_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"countersign/internal/testkit"
)

// loot looks for secrets in what a thief took, in every disguise that testkit knows.
type loot struct {
	needles map[uint64][]needle // by their first eight bytes
	quick   [1 << 16]bool       // whether any needle begins like that: nearly always not
	codes   map[string]bool
}

type needle struct{ text, what string }

// shortest is the shortest needle: shorter ones occur by chance among random bytes.
const shortest = 8

func newLoot() *loot { return &loot{needles: map[uint64][]needle{}, codes: map[string]bool{}} }

// hide adds secrets.
func (l *loot) hide(kind string, secrets ...string) {
	for _, s := range secrets {
		for text, disguise := range testkit.Disguises(s) {
			l.add(text, kind+" "+disguise)
		}
	}
}

// contact adds an address or a number, its parts, and the number without its plus.
func (l *loot) contact(contacts ...string) {
	for _, c := range contacts {
		l.hide("address", c)
		if local, domain, ok := strings.Cut(c, "@"); ok {
			l.hide("part of an address", local, domain)
		} else {
			l.hide("number", strings.TrimPrefix(c, "+"), strings.TrimPrefix(c, "+49"))
		}
	}
}

// tokens adds every token in what somebody was sent: whole, without its prefix, and its bytes.
func (l *loot) tokens(heard []byte) (n int) {
	for _, m := range token.FindAllSubmatch(heard, -1) {
		l.hide("token", string(m[0]), string(m[1]))
		if raw, err := base64.RawURLEncoding.DecodeString(string(m[1])); err == nil {
			l.hide("token's bytes", string(raw))
		}
		n++
	}
	return n
}

var token = regexp.MustCompile(`\bcs[a-z]_([A-Za-z0-9_-]{43})[A-Za-z0-9_-]{6}`)

// code adds a one-time code. Six digits are in many numbers; as a code they stand alone.
func (l *loot) code(code string) {
	l.codes[code] = true
	l.hide("code", code)
}

var sixDigits = regexp.MustCompile(`\b\d{6}\b`)

func (l *loot) add(text, what string) {
	if len(text) >= shortest {
		start := window([]byte(text[:shortest]))
		l.needles[start] = append(l.needles[start], needle{text, what})
		l.quick[slot(start)] = true
	}
}

func window(b []byte) (x uint64) {
	for _, c := range b {
		x = x<<8 | uint64(c)
	}
	return x
}

func slot(x uint64) uint64 { return x * 0x9e3779b97f4a7c15 >> 48 }

// find says what is in text, as it is or as bytes.
func (l *loot) find(text []byte) (found []string) {
	for _, m := range sixDigits.FindAll(text, -1) {
		if l.codes[string(m)] {
			found = append(found, "code in clear: "+string(m))
		}
	}
	for _, form := range [][]byte{bytes.ToLower(text), []byte(hex.EncodeToString(text))} {
		var x uint64
		for i, c := range form {
			x = x<<8 | uint64(c)
			if !l.quick[slot(x)] || i < shortest-1 {
				continue
			}
			for _, n := range l.needles[x] {
				if bytes.HasPrefix(form[i-shortest+1:], []byte(n.text)) {
					found = append(found, fmt.Sprintf("%s: %q", n.what, n.text))
				}
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// none fails for everything that is found.
func (l *loot) none(t *testing.T, where string, text []byte) {
	t.Helper()
	if len(text) == 0 {
		t.Errorf("%s: empty, so nothing was searched", where)
	}
	for _, f := range l.find(text) {
		t.Errorf("%s holds a secret: %s", where, f)
	}
}

// steal copies a database as a thief would: SQLite's files, or PostgreSQL's dump as text.
func steal(t *testing.T, url string) (all []byte) {
	t.Helper()
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		for _, suffix := range []string{"", "-wal"} {
			file, err := os.ReadFile(path + suffix)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, file...)
		}
		return all
	}
	dump, err := exec.CommandContext(t.Context(), pgDump(t), "--dbname", url).Output()
	if err != nil {
		t.Fatalf("pg_dump: %v", err)
	}
	return dump
}

// pgDump finds the newest pg_dump: Debian keeps those of every server out of PATH.
func pgDump(t *testing.T) string {
	t.Helper()
	if all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_dump"); len(all) > 0 {
		return all[len(all)-1]
	}
	path, err := exec.LookPath("pg_dump")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip("no pg_dump: run scripts/install-test-tools")
	}
	if err != nil {
		t.Fatal("no pg_dump: scripts/install-test-tools installs it")
	}
	return path
}

// A search that finds nothing may be blind: each disguise of each kind is planted among bytes of chance.
func TestLootIsFoundInEveryDisguise(t *testing.T) {
	const mail, number, password, code = "quillfeather@mailhaven.example", "+4915112345678", "orbit lantern meadow 42", "492817"
	const session = "css_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8ABCDEF"
	l := newLoot()
	l.contact(mail, number)
	l.hide("password", password)
	l.code(code)
	if l.tokens([]byte("Set-Cookie: __Host-cs_session="+session+"; Path=/")) != 1 {
		t.Fatal("the token was not seen")
	}
	noise := bytes.Repeat([]byte("INSERT 1795470100123 0b5e9a7c \x00\x01\xfe"), 50)
	l.none(t, "noise", noise)
	plant := func(what, leak string) {
		if len(l.find(slices.Concat(noise, []byte(leak), noise))) == 0 {
			t.Errorf("%s: not seen in %q", what, leak)
		}
	}
	for _, s := range []string{mail, number, password, session, "quillfeather", "mailhaven.example", "4915112345678"} {
		for leak, disguise := range testkit.Disguises(s) {
			if len(leak) >= shortest {
				plant(disguise, leak)
			}
			if raw, err := hex.DecodeString(leak); err == nil && len(raw) > shortest {
				plant(disguise+", as bytes", string(raw))
			}
		}
	}
	plant("code", "\x00"+code+"\x00")
	plant("code", `{"code":"`+code+`"}`)
	plant("code in hex", hex.EncodeToString([]byte(code)))
	raw, _ := base64.RawURLEncoding.DecodeString(session[4:47])
	plant("a token's bytes", string(raw))
}
