package fault_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// importer runs the command against a site.
type importer struct {
	t    *testing.T
	s    *site
	file string
}

func (i importer) run(kill time.Duration, args ...string) (text string, err error) {
	i.t.Helper()
	bin, err := built()
	if err != nil {
		i.t.Fatal(err)
	}
	c := exec.CommandContext(i.t.Context(), bin, append([]string{"--config", i.s.file}, args...)...)
	c.Env = i.s.settings()
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		i.t.Fatal(err)
	}
	if kill > 0 {
		time.AfterFunc(kill, func() { _ = c.Process.Kill() })
	}
	err = c.Wait()
	return out.String(), err
}

// whole counts the accounts, and fails if one is there without its address, its name or its password.
func (i importer) whole() int {
	i.t.Helper()
	text, err := i.run(0, "account", "export", "--with-hashes", "-")
	if err != nil {
		i.t.Fatalf("export: %v\n%s", err, text)
	}
	n := 0
	for line := range strings.Lines(text) {
		var a struct {
			Identifiers  []struct{ Value string }
			Claims       map[string]string
			PasswordHash string `json:"password_hash"`
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			i.t.Fatal(err)
		}
		n++
		if len(a.Identifiers) != 2 || a.Claims["external_id"] == "" || a.PasswordHash == "" {
			i.t.Errorf("half an account is there: %d addresses, claims %v, a password: %t", len(a.Identifiers), a.Claims, a.PasswordHash != "")
		}
	}
	return n
}

func importFile(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("external_id,email,email_verified,username,password_hash\n")
	for i := range n {
		hash := "$2y$10$pVbiloiZSqUu8DozRtCOxOHCg7Twjj0.E/Meo.xoTA6cr1oVpGwty"
		if i%16 == 7 {
			hash = "md5$$9cc2ae8a1ba7a93da39b46fc1019c481" // hashed here, which takes longer
		}
		fmt.Fprintf(&b, "%d,old%05d@example.org,true,old%05d,%s\n", i, i, i, hash)
	}
	file := filepath.Join(t.TempDir(), "old.csv")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Killed at any moment, an import has written whole accounts or none; run again it goes on, takes no line
// twice and misses none.
func TestKilledImportsGoOnAndLeaveNothingHalfDone(t *testing.T) {
	const n = 4000
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			database := ""
			if engine == sqldb.Postgres {
				database = dbtest.EmptyURL(t, engine)
			}
			i := importer{t, newSite(t, database, quick...), importFile(t, n)}
			if text, err := i.run(0, "migrate"); err != nil { // so that there is a database to look into, however soon the first is killed
				t.Fatalf("%v\n%s", err, text)
			}
			before, kills, done := 0, 0, false
			for life := 400 * time.Millisecond; kills < 3 && !done; {
				text, err := i.run(life/2+time.Duration(below(int(life))), "account", "import", i.file)
				now := i.whole()
				if now < before || now > n {
					t.Fatalf("%d accounts, and before there were %d\n%s", now, before, text)
				}
				switch {
				case err == nil && kills == 0:
					t.Fatalf("it was done before any kill:\n%s", text)
				case err == nil: // the machine is quick
					done = true
				case now > before:
					kills++
				default: // the machine is slow, and nothing was written yet
					life += life / 2
				}
				before = now
			}
			text, err := i.run(0, "account", "import", i.file)
			want := fmt.Sprintf("%d of %d lines imported", n-before, n)
			if now := i.whole(); err != nil || !strings.HasPrefix(text, want) || now != n {
				t.Errorf("run to its end: %d accounts, %v\n%s", now, err, text)
			}
			text, err = i.run(0, "account", "import", i.file)
			if err != nil || !strings.HasPrefix(text, fmt.Sprintf("0 of %d lines imported", n)) {
				t.Errorf("once more: %v\n%s", err, text)
			}
		})
	}
}
