package server_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/web"
)

// Whoever makes a new code says in web.Codes what it means.
func TestEveryCodeInTheSourceIsDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, c := range web.Codes() {
		if documented[c.Code] {
			t.Errorf("%s is listed twice", c.Code)
		}
		documented[c.Code] = true
	}
	made := regexp.MustCompile(`(?:fault\.(?:New|Later)\(\s*fault\.\w+,\s*|Refuse\(\s*[\w.]+,\s*|refuse\(|Code: )"([a-z][a-z0-9_]*)"`)
	found := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			strings.Contains(path, "courier") || strings.Contains(path, "testkit") { // couriers' codes are for the operator's log
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range made.FindAllStringSubmatch(string(text), -1) {
			found[m[1]] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 20 {
		t.Fatalf("found only %v: does the pattern still fit the source?", found)
	}
	for code, path := range found {
		if !documented[code] {
			t.Errorf("%s (in %s) is not in web.Codes", code, path)
		}
	}
	for code := range documented {
		if found[code] == "" && code != "client_gone" && code != "internal" {
			t.Errorf("%s is documented and nobody makes it", code)
		}
	}
}

func TestTheListOfCodesIsInStep(t *testing.T) {
	text, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(web.ErrorsMarkdown(), string(text)); d != "" {
		t.Errorf("run: go generate ./internal/web\n%s", d)
	}
}
