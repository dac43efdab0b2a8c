package courier_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/inbox"
	"countersign/internal/guard"
	"countersign/internal/message"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/throttle"
)

// A text message that the guard refuses ends as one to nobody does; the log says why and not to whom. E-mail, and numbers that an
// account has proved, are not asked about.
func TestAPumpedMessageIsWithheld(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		in := &inbox.Inbox{Now: time.Now}
		n := start(t, db, func(o *courier.Options) {
			everywhere(in)(o)
			o.Guard = &guard.Guard{DB: db, Throttle: &throttle.Service{Ring: ring(t)}, Log: slog.New(slog.DiscardHandler), Rules: guard.Rules{Countries: []string{"NO"}}}
		})
		pumped := code(message.SMS)
		pumped.Kind = message.AddressCode
		n.put(t, pumped)
		eventually(t, "withheld", func() bool { return states(t, db)["withheld"] == 1 })
		n.put(t, code(message.Email))
		n.put(t, code(message.SMS))
		eventually(t, "the others sent", func() bool { return states(t, db)["sent"] == 2 })
		eventually(t, "the log says so", func() bool { return strings.Contains(n.log.String(), `"why":"country"`) })
		if got := len(in.Messages()); got != 2 {
			t.Errorf("%d letters left", got)
		}
	})
}
