package arch_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// order is the domain, lowest first. A package imports those before it, never those after.
func order() []string {
	return []string{
		"keyring", "audit", "message",
		"outbox", "throttle", "guard", "client",
		"account", "subscriber",
		"assurance",
		"attestation", "password", "passkey", "totp", "onetime", "backup", "push", "certificate", "dbsc", "dpop", "appkey", "device",
		"factor", "session", "access", "notice", "approval",
		"risk",
		"signin", "registration", "recovery", "protect", "profile", "seconddoor", "transfer", "breach",
		"oidc", "radius",
	}
}

// around are the parts of internal/ that are not the domain.
func around() []string {
	return []string{"platform", "courier", "web", "server", "arch", "testkit"}
}

// own returns the area of an import of our own, or "".
func own(imported string) string {
	dir, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		return ""
	}
	return area(dir)
}

func importOrder(t tree) (broken []string) {
	for _, s := range t.code {
		here := slices.Index(order(), s.area())
		if here < 0 {
			if strings.HasPrefix(s.path, "internal/") && !slices.Contains(around(), s.area()) {
				broken = append(broken, fmt.Sprintf("%s: %q has no place in the order of the domain: give it one", s.path, s.area()))
			}
			continue
		}
		for _, i := range s.imports {
			if s.test {
				continue
			}
			if there := slices.Index(order(), own(i)); there > here {
				broken = append(broken, fmt.Sprintf("%s: %s must not know %s, which stands above it", s.path, s.area(), own(i)))
			}
		}
	}
	return broken
}

func domainTransport(t tree) (broken []string) {
	for _, s := range t.code {
		if s.test || !slices.Contains(order(), s.area()) {
			continue
		}
		for _, i := range s.imports {
			if i == "net/http" || strings.HasPrefix(i, "net/http/") || slices.Contains([]string{"courier", "web", "server"}, own(i)) {
				broken = append(broken, fmt.Sprintf("%s: the domain must not import %s", s.path, i))
			}
		}
	}
	return broken
}

func webDatabase(t tree) (broken []string) {
	for _, s := range t.code {
		if s.test || s.area() != "web" && s.area() != "courier" {
			continue
		}
		for _, i := range s.imports {
			switch {
			case s.area() == "web" && (i == "database/sql" || i == module+"/internal/platform/sqldb"):
				broken = append(broken, fmt.Sprintf("%s: web must not import %s: ask the domain", s.path, i))
			case s.area() == "web" && own(i) == "courier", s.area() == "courier" && own(i) == "web":
				broken = append(broken, fmt.Sprintf("%s: web and courier must not know one another", s.path))
			}
		}
	}
	return broken
}

func platformShelf(t tree) (broken []string) {
	for _, s := range t.code {
		if s.test || s.area() != "platform" {
			continue
		}
		for _, i := range s.imports {
			if a := own(i); a != "" && a != "platform" {
				broken = append(broken, fmt.Sprintf("%s: platform must not import %s", s.path, i))
			}
		}
	}
	return broken
}

func serverImports(t tree) (broken []string) {
	for _, s := range t.code {
		if slices.Contains([]string{"cmd", "server", "testkit", "test", "bench"}, s.area()) {
			continue
		}
		for _, i := range s.imports {
			if own(i) == "server" && (!s.test || i != module+"/internal/server/schema") {
				broken = append(broken, fmt.Sprintf("%s: only cmd and the test kit may import %s", s.path, i))
			}
		}
	}
	return broken
}

func kitImports(t tree) (broken []string) {
	for _, s := range t.code {
		if s.kit() {
			continue
		}
		for _, i := range s.imports {
			dir, ours := strings.CutPrefix(i, module+"/")
			if ours && kit(dir) || i == "testing" || strings.HasPrefix(i, "testing/") {
				broken = append(broken, fmt.Sprintf("%s: %s is for tests", s.path, i))
			}
		}
	}
	return broken
}

func packageNames(t tree) (broken []string) {
	says := []string{"util", "utils", "common", "model", "models", "type", "types", "dto", "helper", "helpers", "misc"}
	for _, s := range t.code {
		for _, name := range []string{s.ast.Name.Name, path.Base(s.dir())} {
			if slices.Contains(says, name) {
				broken = append(broken, fmt.Sprintf("%s: %q says nothing about what is inside", s.path, name))
			}
		}
	}
	return broken
}

func importing(pkg string, paths ...string) string {
	text := "package " + pkg + "\n"
	for _, p := range paths {
		text += "import _ \"" + p + "\"\n"
	}
	return text
}

func importSamples() []sample {
	one := func(rule, want, name string, imports ...string) sample {
		return sample{rule: rule, want: want, files: map[string]string{name: importing("x", imports...)}}
	}
	const (
		flow, transport, database     = "knowledge flows one way", "the domain knows no transport", "web reaches no database"
		shelf, wiring, tests, wording = "platform is a shelf", "only cmd and tests wire a server", "the test kit stays in tests", "packages have names"
	)
	return []sample{
		one(flow, "account must not know session", "internal/account/a.go", "countersign/internal/session"),
		one(flow, "keyring must not know audit", "internal/keyring/deep/a.go", "countersign/internal/audit"),
		one(flow, `"newcomer" has no place`, "internal/newcomer/a.go"),
		one(flow, "", "internal/session/a.go", "countersign/internal/account", "countersign/internal/session/deep"),
		one(flow, "", "internal/account/a_test.go", "countersign/internal/session"),
		one(transport, "must not import net/http", "internal/signin/a.go", "net/http"),
		one(transport, "must not import net/http/cookiejar", "internal/signin/a.go", "net/http/cookiejar"),
		one(transport, "internal/web/pages", "internal/session/a.go", "countersign/internal/web/pages"),
		one(transport, "internal/courier", "internal/outbox/a.go", "countersign/internal/courier"),
		one(transport, "", "internal/web/a.go", "net/http"),
		one(database, "ask the domain", "internal/web/pages/a.go", "countersign/internal/platform/sqldb"),
		one(database, "ask the domain", "internal/web/a.go", "database/sql"),
		one(database, "must not know one another", "internal/web/a.go", "countersign/internal/courier/smtp"),
		one(database, "must not know one another", "internal/courier/a.go", "countersign/internal/web"),
		one(database, "", "internal/web/a_test.go", "countersign/internal/platform/sqldb"),
		one(shelf, "platform must not import", "internal/platform/sqldb/a.go", "countersign/internal/keyring"),
		one(shelf, "", "internal/platform/sqldb/a.go", "countersign/internal/platform/fault"),
		one(wiring, "only cmd", "internal/web/a.go", "countersign/internal/server"),
		one(wiring, "only cmd", "internal/account/a_test.go", "countersign/internal/server"),
		one(wiring, "only cmd", "internal/account/a.go", "countersign/internal/server/schema"),
		one(wiring, "", "internal/account/a_test.go", "countersign/internal/server/schema"),
		one(wiring, "", "cmd/countersign/a.go", "countersign/internal/server"),
		one(wiring, "", "test/story/a.go", "countersign/internal/server"),
		one(tests, "is for tests", "cmd/countersign/a.go", "countersign/internal/testkit/dbtest"),
		one(tests, "is for tests", "internal/web/a.go", "testing"),
		one(tests, "is for tests", "internal/courier/smtp/a.go", "countersign/internal/courier/couriertest"),
		one(tests, "", "internal/courier/couriertest/a.go", "testing"),
		one(tests, "", "internal/web/a_test.go", "countersign/internal/testkit/dbtest"),
		one(wording, "says nothing", "internal/util/a.go"),
		{rule: wording, want: "says nothing", files: map[string]string{"internal/web/a.go": "package helpers\n"}},
	}
}
