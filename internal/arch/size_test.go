package arch_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// The budgets. The median takes care of itself, the tail does not.
const (
	maxFile       = 600
	maxFunction   = 100
	maxParameters = 5
	maxMethods    = 7
	maxFields     = 15
	maxExported   = 25
	maxReadme     = 120
)

func fileSize(t tree) (broken []string) {
	for _, s := range t.code {
		if s.lines > maxFile {
			broken = append(broken, fmt.Sprintf("%s has %d lines, %d at most", s.path, s.lines, maxFile))
		}
	}
	return broken
}

func functionSize(t tree) (broken []string) {
	eachFunction(t, func(s *source, f *ast.FuncDecl) {
		if n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1; n > maxFunction {
			broken = append(broken, fmt.Sprintf("%s: %s has %d lines, %d at most", s.at(f.Pos()), f.Name.Name, n, maxFunction))
		}
	})
	return broken
}

func parameterCount(t tree) (broken []string) {
	eachFunction(t, func(s *source, f *ast.FuncDecl) {
		if n := f.Type.Params.NumFields(); n > maxParameters {
			broken = append(broken, fmt.Sprintf("%s: %s has %d parameters, %d at most", s.at(f.Pos()), f.Name.Name, n, maxParameters))
		}
	})
	return broken
}

func eachFunction(t tree, look func(*source, *ast.FuncDecl)) {
	for _, s := range t.code {
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && !s.test {
				look(s, f)
			}
		}
	}
}

func interfaceSize(t tree) (broken []string) {
	for _, s := range t.code {
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if i, ok := n.(*ast.InterfaceType); ok && i.Methods.NumFields() > maxMethods {
				broken = append(broken, fmt.Sprintf("%s: an interface of %d methods, %d at most", s.at(n.Pos()), i.Methods.NumFields(), maxMethods))
			}
			return true
		})
	}
	return broken
}

// structSize leaves out the configuration, and what a comment "//arch:wire" marks: types
// whose fields somebody else's format decides.
func structSize(t tree) (broken []string) {
	for _, s := range t.code {
		if s.test || s.dir() == "internal/platform/config" {
			continue
		}
		for _, d := range s.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE || marked(g.Doc) {
				continue
			}
			for _, spec := range g.Specs {
				named, _ := spec.(*ast.TypeSpec)
				st, ok := named.Type.(*ast.StructType)
				if ok && !marked(named.Doc) && st.Fields.NumFields() > maxFields {
					broken = append(broken, fmt.Sprintf("%s: %s has %d fields, %d at most", s.at(named.Pos()), named.Name.Name, st.Fields.NumFields(), maxFields))
				}
			}
		}
	}
	return broken
}

func marked(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return c.Text == "//arch:wire" })
}

// exportedNames counts what a reader of the package meets: types, functions and variables.
// Methods and the constants of a named type belong to their type.
func exportedNames(t tree) (broken []string) {
	names := map[string]int{}
	for _, s := range t.code {
		if s.kit() || s.ast.Name.Name == "main" {
			continue
		}
		for _, d := range s.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.IsExported() {
					names[s.dir()]++
				}
			case *ast.GenDecl:
				names[s.dir()] += exportedIn(d)
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(names)) {
		if names[dir] > maxExported {
			broken = append(broken, fmt.Sprintf("%s exports %d names, %d at most", dir, names[dir], maxExported))
		}
	}
	return broken
}

func exportedIn(d *ast.GenDecl) (n int) {
	typed := false // a constant without type and value repeats the line before it
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Name.IsExported() {
				n++
			}
		case *ast.ValueSpec:
			if d.Tok == token.CONST && (spec.Type != nil || len(spec.Values) > 0) {
				typed = spec.Type != nil
			}
			for _, name := range spec.Names {
				if name.IsExported() && !typed {
					n++
				}
			}
		}
	}
	return n
}

func readmeSize(t tree) []string {
	text, err := fs.ReadFile(t.files, "README.md")
	if err != nil {
		return nil
	}
	if n := strings.Count(string(text), "\n"); n > maxReadme {
		return []string{fmt.Sprintf("README.md has %d lines, %d at most", n, maxReadme)}
	}
	return nil
}

func sizeSamples() []sample {
	const a = "internal/account/a.go"
	one := func(rule, want, name, text string) sample {
		return sample{rule: rule, want: want, files: map[string]string{name: text}}
	}
	fields := func(n int) string { return "type T struct {\n" + strings.Repeat("\t_ int\n", n) + "}\n" }
	body := func(n int) string {
		return "package x\nfunc f() {\n" + strings.Repeat("\tg()\n", n-2) + "}\nfunc g() {}\n"
	}
	numbered := func(format string, n int) (text string) {
		for i := range n {
			text += fmt.Sprintf(format, i)
		}
		return "package x\n" + text
	}
	return []sample{
		one("files are short", "601 lines", a, "package x\n"+strings.Repeat("// x\n", 600)),
		one("files are short", "", a, "package x\n"+strings.Repeat("// x\n", 599)),
		one("functions are short", "f has 101 lines", a, body(101)),
		one("functions are short", "", a, body(100)),
		one("functions are short", "", "internal/account/a_test.go", body(101)),
		one("parameters are few", "f has 6 parameters", a, "package x\nfunc f(a, b, c, d int, e, g string) {}\n"),
		one("parameters are few", "", a, "package x\nfunc f(a, b, c, d int, e string) {}\n"),
		one("interfaces are small", "8 methods", a, "package x\ntype T interface { A(); B(); C(); D(); E(); F(); G(); H() }\n"),
		one("interfaces are small", "", a, "package x\ntype T interface { A(); B(); C(); D(); E(); F(); G() }\n"),
		one("structs are small", "T has 16 fields", a, "package x\n"+fields(16)),
		one("structs are small", "", a, "package x\n"+fields(15)),
		one("structs are small", "", a, "package x\n\n// T is theirs.\n//\n//arch:wire\n"+fields(16)),
		one("structs are small", "", "internal/platform/config/a.go", "package x\n"+fields(16)),
		one("packages show little", "exports 26 names", a, numbered("func F%d() {}\n", 26)),
		one("packages show little", "exports 26 names", a, numbered("type T%d int\n", 20)+"var A, B, C, D int\nconst (\n\tE = iota\n\tF\n)\n"),
		one("packages show little", "", a, numbered("func F%d() {}\n", 25)+"func f() {}\nfunc (T) M() {}\n"),
		one("packages show little", "", a, numbered("func F%d() {}\n", 24)+"type K int\nconst (\n\tA K = iota\n\tB\n\tC\n)\n"),
		one("the README is short", "121 lines", "README.md", strings.Repeat("x\n", 121)),
		one("the README is short", "", "README.md", strings.Repeat("x\n", 120)),
	}
}
