package arch_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// owners says which package owns each table: only its SQL may name it. The schema's
// comments must say the same.
func owners() map[string]string {
	return map[string]string{
		"keyring_check":          "keyring",
		"keyring_lack":           "keyring",
		"audit_event":            "audit",
		"outbox_letter":          "outbox",
		"outbox_pause":           "outbox",
		"throttle_bucket":        "throttle",
		"throttle_failure":       "throttle",
		"account":                "account",
		"account_identifier":     "account",
		"account_lookup":         "account",
		"account_address_change": "account",
		"account_claim":          "account",
		"password":               "password",
		"password_kind":          "password",
		"transfer_line":          "transfer",
		"device":                 "device",
		"device_challenge":       "device",
		"dpop_proof":             "dpop",
		"device_handle":          "device",
		"passkey":                "passkey",
		"passkey_spent":          "passkey",
		"client_rule":            "client",
		"client_api":             "client",
		"client_revision":        "client",
		"client_usage":           "client",
		"session":                "session",
		"session_change":         "session",
		"onetime_code":           "onetime",
		"notice_link":            "notice",
		"signin_flow":            "signin",
		"profile_address_flow":   "profile",
		"profile_review":         "profile",
		"recovery_flow":          "recovery",
		"recovery_contact":       "recovery",
		"recovery_contact_code":  "recovery",
		"recovery_saved_code":    "recovery",

		"approval": "approval",

		"door_former": "seconddoor",
		"door_call":   "seconddoor",

		"subscriber":        "subscriber",
		"subscriber_kind":   "subscriber",
		"subscriber_secret": "subscriber",
		"subscriber_event":  "subscriber",

		"guard_country":  "guard",
		"guard_spend":    "guard",
		"account_group":  "account",
		"factor_choice":  "factor",
		"factor_stopped": "factor",

		"totp_authenticator": "totp",
		"backup_code":        "backup",

		"oidc_client":     "oidc",
		"oidc_invitation": "oidc",
		"oidc_key":        "oidc",
		"oidc_request":    "oidc",
		"oidc_pushed":     "oidc",
		"oidc_grant":      "oidc",
		"oidc_token":      "oidc",
		"oidc_consent":    "oidc",
		"oidc_assertion":  "oidc",
		"oidc_logout":     "oidc",
		"oidc_own_token":  "oidc",
		"oidc_device":     "oidc",

		"registration_flow":       "registration",
		"registration_consent":    "registration",
		"registration_invitation": "registration",
	}
}

const schemaFolder = "internal/server/schema"

// isStore reports whether a file is its package's store.go, or a part of it with a name of its own, such as consent_store.go.
func isStore(file string) bool {
	return path.Base(file) == "store.go" || strings.HasSuffix(file, "_store.go")
}

func mayHoldSQL(s *source) bool {
	return s.kit() || isStore(s.path) || s.dir() == "internal/platform/sqldb" || s.dir() == schemaFolder
}

func sqlPlace(t tree) (broken []string) {
	for _, s := range t.code {
		if mayHoldSQL(s) {
			continue
		}
		for text, pos := range literals(s) {
			if isSQL(text) {
				broken = append(broken, s.at(pos)+": SQL belongs into store.go")
			}
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"Exec", "QueryRow", "Each"}, sel.Sel.Name) {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "tx" {
					broken = append(broken, s.at(n.Pos())+": tx."+sel.Sel.Name+" belongs into store.go")
				}
			}
			return true
		})
	}
	return broken
}

func isSQL(text string) bool {
	shouted := regexp.MustCompile(`(?s)\b(SELECT\s.*|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|(CREATE|ALTER|DROP)\s+TABLE\s)`)
	whispered := regexp.MustCompile(`(?s)^\s*(select\s.*\sfrom\s|insert\s+into\s|update\s+\w+\s+set\s|delete\s+from\s)`)
	return shouted.MatchString(text) || whispered.MatchString(text)
}

func tableOwner(t tree) (broken []string) {
	broken = schemaOwners(t)
	named := regexp.MustCompile(`(?i)\b(?:from|join|into|update|table|references|using)\s+((?:[a-z_]+(?:\s+(?:as\s+)?[a-z]+)?\s*,\s*)*[a-z_]+)`)
	for _, s := range t.code {
		if s.kit() || s.dir() == schemaFolder {
			continue
		}
		for text, pos := range literals(s) {
			if !isSQL(text) && !isStore(s.path) {
				continue
			}
			for _, list := range named.FindAllStringSubmatch(text, -1) {
				for one := range strings.SplitSeq(list[1], ",") {
					table, _, _ := strings.Cut(strings.TrimSpace(one), " ")
					if owner, known := owners()[strings.ToLower(table)]; known && owner != s.area() {
						broken = append(broken, fmt.Sprintf("%s: the table %s belongs to %s", s.at(pos), table, owner))
					}
				}
			}
		}
	}
	return broken
}

// schemaOwners compares owners with the comments of the migrations: "-- account: …" stands
// before the tables of account.
func schemaOwners(t tree) (broken []string) {
	comment := regexp.MustCompile(`^-- ([a-z]+)(:|$)`)
	table := regexp.MustCompile(`(?i)^\s*CREATE TABLE (?:IF NOT EXISTS )?([a-z_]+)`)
	names, err := fs.Glob(t.files, schemaFolder+"/*.sql")
	if err != nil {
		return []string{err.Error()}
	}
	if len(names) == 0 {
		return nil
	}
	said := map[string]string{}
	for _, name := range names {
		text, err := fs.ReadFile(t.files, name)
		if err != nil {
			return []string{err.Error()}
		}
		owner := ""
		for line := range strings.Lines(string(text)) {
			if m := comment.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
				owner = m[1]
			}
			if m := table.FindStringSubmatch(line); m != nil {
				said[m[1]] = owner
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(said)) {
		if owners()[name] != said[name] {
			broken = append(broken, fmt.Sprintf("the schema says that %q owns %s, and the test says %q", said[name], name, owners()[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(owners())) {
		if _, there := said[name]; !there {
			broken = append(broken, fmt.Sprintf("the test gives %s an owner, and the schema has no such table", name))
		}
	}
	return broken
}

// literals yields every string of the file.
func literals(s *source) func(func(string, token.Pos) bool) {
	return func(yield func(string, token.Pos) bool) {
		more := true
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && more && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil {
					more = yield(text, lit.Pos())
				}
			}
			return more
		})
	}
}

func sqlSamples() []sample {
	const place, owner = "SQL stands in store.go", "one package owns a table"
	in := func(rule, want, name, text string) sample {
		return sample{rule: rule, want: want, files: map[string]string{name: "package x\nvar q = " + strconv.Quote(text) + "\n"}}
	}
	migration := func(text string) sample {
		return sample{rule: owner, files: map[string]string{schemaFolder + "/0001_x.sql": text}}
	}
	missing, wrong := migration("-- keyring: x\nCREATE TABLE keyring_check (\n"), migration("-- audit: x\nCREATE TABLE keyring_check (\n")
	missing.want, wrong.want = "the schema has no such table", `"audit" owns keyring_check, and the test says "keyring"`
	unknown := migration("-- audit: x\n-- more about it\nCREATE TABLE audit_new (\n")
	unknown.want = `"audit" owns audit_new, and the test says ""`
	return []sample{
		in(place, "belongs into store.go", "internal/account/account.go", "SELECT id FROM account"),
		in(place, "belongs into store.go", "internal/account/account.go", "\n\tinsert into account (id) values ($1)"),
		in(place, "belongs into store.go", "internal/account/account.go", "UPDATE account\nSET state = $1"),
		in(place, "belongs into store.go", "cmd/countersign/main.go", "DELETE FROM session"),
		in(place, "belongs into store.go", "internal/account/mystore.go", "WITH x AS (SELECT 1) SELECT * FROM x"),
		in(place, "", "internal/account/store.go", "SELECT id FROM account"),
		in(place, "", "internal/account/account_test.go", "SELECT id FROM account"),
		in(place, "", "internal/message/text.go", "Select one from the list, or update your address. DELETE is final."),
		{rule: place, want: "tx.Exec belongs", files: map[string]string{
			"internal/account/account.go": "package x\nfunc f(tx T) { tx.Exec(query) }\n",
		}},
		in(owner, "account_identifier belongs to account", "internal/session/store.go", "SELECT 1 FROM session s JOIN account_identifier i ON true"),
		in(owner, "account belongs to account", "internal/session/store.go", "SELECT 1 FROM session s, account a"),
		in(owner, "session belongs to session", "internal/device/store.go", "UPDATE session SET ended_at = 1"),
		in(owner, "device belongs to device", "internal/session/store.go", "DELETE FROM device"),
		in(owner, "throttle_bucket belongs to throttle", "internal/signin/store.go", "INSERT INTO throttle_bucket (key) VALUES ($1)"),
		in(owner, "session belongs to session", "internal/platform/sqldb/x.go", "SELECT 1 FROM session"),
		in(owner, "account belongs to account", "internal/session/store.go", " FROM account"), // half a statement
		in(owner, "", "internal/session/store.go", "SELECT device, account FROM session WHERE account = $1 ON CONFLICT DO UPDATE SET device = $2"),
		missing, wrong, unknown,
	}
}
