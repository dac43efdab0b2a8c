package leak_test

import (
	"testing"

	"countersign/internal/testkit/servertest"
)

// A server that compares no hash for an empty password answers one sooner, and tells who exists by
// which of two answers it skips. Ours looks at nobody's: the form alone decides, and no row is touched.
func TestAnEmptyPasswordIsRefusedUnseen(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		n := servertest.Start(t, servertest.Options{Database: url, Idle: true})
		n.Account(ada)
		rows := newReader(t, n.Core().DB)
		var seen []string
		for _, name := range []string{ada, nobody} {
			app, person := newVisitor(t, n, "198.51.100.7"), newVisitor(t, n, "198.51.100.7")
			app.call("/signin", "identifier", name)
			before := rows.take(t)
			answers := app.call("/signin/password", "flow", app.flow, "password", "").masked() + person.form("/signin", "username", name, "password", "").masked()
			if left := changes(before, rows.take(t), rows.columns); left != "" {
				t.Errorf("an empty password leaves rows:\n%s", left)
			}
			seen = append(seen, answers)
		}
		if seen[0] != seen[1] {
			t.Errorf("answers differ:\n%s\n%s", seen[0], seen[1])
		}
	})
}
