package subscriber_test

import (
	"strings"
	"testing"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/platform/sqldb"
)

// Who calls its account by a name of its own finds that in the body.
func TestABodyNamesAnApplicationsAccountAsItDoes(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.add()
		ident, err := account.NewReference("photos", "u-17")
		h.must(err)
		var who account.ID
		h.must(h.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
			who, err = h.Accounts.Create(t.Context(), tx, account.New{Identifiers: []account.NewIdentifier{{Identifier: ident, SignsIn: true}}})
			return err
		}))
		h.happens(string(who), audit.Protected)
		h.happens("a", audit.Protected)
		h.works(func() bool { return len(h.heard()) == 2 })
		for _, m := range h.got {
			if theirs := strings.Contains(string(m.Body), string(who)); theirs != strings.Contains(string(m.Body), `"application":"photos","reference":"u-17"`) {
				t.Error(string(m.Body))
			}
		}
	})
}
