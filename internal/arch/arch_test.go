// Package arch_test holds the shape of the program: who may import whom, where SQL stands,
// which package owns which table, and how large anything may become. docs/architecture.md
// gives the reasons.
package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "countersign"

// source is one Go file.
type source struct {
	path    string // from the root of the repository
	test    bool
	lines   int
	imports []string
	fset    *token.FileSet
	ast     *ast.File
}

// dir returns the package's folder.
func (s *source) dir() string { return path.Dir(s.path) }

// area returns the part of the program: "keyring", "web", "platform" of internal/, or "cmd", "test".
func (s *source) area() string { return area(s.dir()) }

func area(dir string) string {
	first, rest, _ := strings.Cut(dir, "/")
	if first != "internal" {
		if first == "client" { // the package for applications: the domain has one of that name
			return "clients"
		}
		return first
	}
	second, _, _ := strings.Cut(rest, "/")
	return second
}

// kit reports whether the file is there for tests alone.
func (s *source) kit() bool { return s.test || kit(s.dir()) }

// kit reports whether the folder is: testkit, test and bench, and any package called …test,
// as net/http/httptest is.
func kit(dir string) bool {
	return strings.HasSuffix(dir, "test") || slices.Contains([]string{"testkit", "arch", "test", "bench"}, area(dir))
}

func (s *source) at(pos token.Pos) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(pos).Line)
}

// tree is what the rules look at.
type tree struct {
	files fs.FS
	code  []*source
}

// A rule returns what breaks it, one line each.
type rule func(t tree) []string

func rules() map[string]rule {
	return map[string]rule{
		"knowledge flows one way":          importOrder,
		"the domain knows no transport":    domainTransport,
		"web reaches no database":          webDatabase,
		"platform is a shelf":              platformShelf,
		"only cmd and tests wire a server": serverImports,
		"the test kit stays in tests":      kitImports,
		"SQL stands in store.go":           sqlPlace,
		"one package owns a table":         tableOwner,
		"packages have names":              packageNames,
		"files are short":                  fileSize,
		"functions are short":              functionSize,
		"parameters are few":               parameterCount,
		"interfaces are small":             interfaceSize,
		"structs are small":                structSize,
		"packages show little":             exportedNames,
		"the README is short":              readmeSize,
		"links lead somewhere":             links,
	}
}

func TestTheShapeHolds(t *testing.T) {
	whole := load(t, os.DirFS("../.."))
	if len(whole.code) < 20 {
		t.Fatalf("found %d Go files: this test looks in the wrong place", len(whole.code))
	}
	for name, r := range rules() {
		t.Run(name, func(t *testing.T) {
			for _, broken := range r(whole) {
				t.Error(broken)
			}
		})
	}
}

func load(t *testing.T, files fs.FS) tree {
	t.Helper()
	out := tree{files: files}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"node_modules", "testdata", "bin", "tmp", "tools", "vendor"}, d.Name())) {
			return fs.SkipDir
		}
		if d.IsDir() || path.Ext(name) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		s := &source{path: name, test: strings.HasSuffix(name, "_test.go"), lines: strings.Count(string(text), "\n"), fset: token.NewFileSet()}
		if s.ast, err = parser.ParseFile(s.fset, name, text, parser.ParseComments); err != nil {
			return err
		}
		for _, i := range s.ast.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, p)
		}
		if !ast.IsGenerated(s.ast) {
			out.code = append(out.code, s)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sample is a tree that breaks a rule, or, with want empty, one that only seems to.
type sample struct {
	rule  string
	files map[string]string
	want  string // in the finding
}

func samples() []sample {
	return slices.Concat(importSamples(), sqlSamples(), sizeSamples(), linkSamples())
}

// A rule that finds nothing in the tree may have stopped looking: each must find its bad sample.
func TestEveryRuleFires(t *testing.T) {
	fired := map[string]bool{}
	for _, s := range samples() {
		r, known := rules()[s.rule]
		if !known {
			t.Errorf("a sample for %q, which is no rule", s.rule)
			continue
		}
		files := fstest.MapFS{}
		for name, text := range s.files {
			files[name] = &fstest.MapFile{Data: []byte(text)}
		}
		found := strings.Join(r(load(t, files)), "\n")
		switch {
		case s.want == "" && found != "":
			t.Errorf("%s: found %q in %v, which is allowed", s.rule, found, slices.Collect(maps.Keys(s.files)))
		case !strings.Contains(found, s.want):
			t.Errorf("%s: found %q in %v, want %q", s.rule, found, slices.Collect(maps.Keys(s.files)), s.want)
		case s.want != "":
			fired[s.rule] = true
		}
	}
	for name := range rules() {
		if !fired[name] {
			t.Errorf("%s: no sample breaks it", name)
		}
	}
}
