package fault_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Killed at any moment, a backup is whole or not there, and a restore leaves the one database or the other.
func TestKilledBackupsAndRestoresLeaveNothingHalfDone(t *testing.T) {
	s := newSite(t, "")
	s.seed(2000)
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	run := func(kill time.Duration, args ...string) (string, error) {
		c := exec.CommandContext(t.Context(), bin, append([]string{"--config", s.file}, args...)...)
		c.Env = s.settings()
		text := &strings.Builder{}
		c.Stdout, c.Stderr = text, text
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if kill > 0 {
			time.AfterFunc(kill, func() { _ = c.Process.Kill() })
		}
		err := c.Wait()
		return text.String(), err
	}
	must := func(args ...string) {
		t.Helper()
		if out, err := run(0, args...); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	dir := t.TempDir()
	early, late := filepath.Join(dir, "early.db"), filepath.Join(dir, "late.db")
	must("backup", early)
	must("account", "create", "late@example.org", "--no-password")
	must("backup", late)
	began := time.Now()
	must("restore", late)
	took := int(time.Since(began))
	for range 5 {
		name := filepath.Join(dir, "killed.db")
		if _, err := run(time.Duration(1+below(took)), "backup", name); err != nil {
			_, there := os.Stat(name)
			if there == nil {
				must("restore", name) // whole, or it would be refused
			} else if !errors.Is(there, fs.ErrNotExist) {
				t.Fatal(there)
			}
		}
		_ = os.Remove(name)
		must("restore", late)
		_, _ = run(time.Duration(1+below(took)), "restore", early)
		must("account", "show", "person01999@example.org")
		out, err := run(0, "account", "show", "late@example.org")
		if err != nil && !strings.Contains(out, "account_unknown") && !strings.Contains(out, "no such") && !strings.Contains(out, "not_found") {
			t.Fatalf("neither one database nor the other: %v\n%s", err, out)
		}
		must("backup", "--force", filepath.Join(dir, "after.db"))
		must("restore", filepath.Join(dir, "after.db")) // which examines every page
	}
}
