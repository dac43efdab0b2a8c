package courier_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/inbox"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

const victimOf = "COURIER_TEST_DATABASE"

// P11: the process is killed (SIGKILL) after the provider has taken the letter and before
// the outbox knows. The next node sends it again, under the same id.
func TestALetterSurvivesAKillBetweenSendAndFinish(t *testing.T) {
	if url := os.Getenv(victimOf); url != "" {
		victim(t, url)
		return
	}
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, clock := dbtest.NewURL(t, engine), dbtest.NewClock()
			db := dbtest.Open(t, url, clock)
			box := &outbox.Box{DB: db, Ring: ring(t)}
			var id string
			err := db.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
				id, err = box.Put(t.Context(), tx, code(message.SMS))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestALetterSurvivesAKillBetweenSendAndFinish$")
			cmd.Env = append(os.Environ(), victimOf+"="+url)
			out, err := cmd.Output()
			if died, ok := errors.AsType[*exec.ExitError](err); !ok || died.Exited() || string(out) != id {
				t.Fatalf("the victim was to be killed while sending %s: %v\n%s", id, err, out)
			}
			if s := states(t, db); s["waiting"] != 1 {
				t.Fatalf("%v", s)
			}
			clock.Advance(2 * time.Minute) // past the lease, by the database's clock
			in := &inbox.Inbox{Now: clock.Now}
			start(t, db, everywhere(in))
			if r := wait(t, in, phone); r.ID != id {
				t.Errorf("came back as %s, was %s", r.ID, id)
			}
			eventually(t, "done", func() bool { return states(t, db)["sent"] == 1 })
		})
	}
}

// victim sends the one letter and kills itself with the receipt in its hand.
func victim(t *testing.T, url string) {
	t.Helper()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	start(t, dbtest.Open(t, url, dbtest.NewClock()), everywhere(newFar(func(_ context.Context, m courier.Message, _ int) error {
		_, _ = os.Stdout.WriteString(m.ID)
		return self.Kill()
	})))
	time.Sleep(time.Minute)
}
