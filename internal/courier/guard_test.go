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
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/throttle"
)

// A text message that the guard refuses ends as one to nobody does; the log says why and not to whom. E-mail, and numbers that an
// account has proved, are not asked about.
func TestAPumpedMessageIsWithheld(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		in, said := &inbox.Inbox{Now: time.Now}, &testkit.Log{}
		n := start(t, db, func(o *courier.Options) {
			everywhere(in)(o)
			o.Guard = &guard.Guard{DB: db, Throttle: &throttle.Service{Ring: ring(t)}, Log: slog.New(slog.NewJSONHandler(said, nil)), Rules: guard.Rules{Countries: []string{"NO"}}}
		})
		pumped := code(message.SMS)
		pumped.Kind = message.AddressCode
		n.put(t, pumped)
		eventually(t, "withheld", func() bool { return states(t, db)["withheld"] == 1 })
		n.put(t, code(message.Email))
		n.put(t, code(message.SMS))
		eventually(t, "the others sent", func() bool { return states(t, db)["sent"] == 2 })
		eventually(t, "the log says so", func() bool { return strings.Contains(said.String(), `"why":"country","letter":"`) })
		if strings.Contains(n.log.String(), "withheld by the guard") || strings.Count(said.String(), "\n") != 1 {
			t.Errorf("one message withheld, and the log has it so often:\n%s%s", said.String(), n.log.String())
		}
		if got := len(in.Messages()); got != 2 {
			t.Errorf("%d letters left", got)
		}
	})
}
