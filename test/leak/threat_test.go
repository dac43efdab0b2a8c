package leak_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The threat model names the test that holds each promise, and the one that shows each flaw of others to be none of ours.
// A name that is no test promises nothing.
func TestTheThreatModelNamesTests(t *testing.T) {
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, "docs", "threat-model.md"))
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(source, -1) {
			there[packageOf(path)+"."+string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z]+\\.Test\\w+)`").FindAllSubmatch(text, -1)
	if len(named) < 20 {
		t.Fatalf("%d tests are named", len(named))
	}
	for _, m := range named {
		if !there[string(m[1])] {
			t.Errorf("docs/threat-model.md names %s, which is no test", m[1])
		}
	}
	_, flaws, _ := strings.Cut(string(text), "\n## Flaws that others had")
	flaws, _, _ = strings.Cut(flaws, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| [^w-].*$`).FindAllString(flaws, -1)
	if len(rows) < 25 {
		t.Fatalf("%d flaws are told", len(rows))
	}
	for _, row := range rows {
		if !strings.Contains(row, ".Test") {
			t.Errorf("no test shows that we do not have this: %s", row)
		}
	}
}

// packageOf is the name of a file's package, as the threat model gives it: its folder's, and "main" for the program.
func packageOf(path string) string {
	name := filepath.Base(filepath.Dir(path))
	if strings.Contains(path, "/cmd/") {
		return "main"
	}
	return name
}
