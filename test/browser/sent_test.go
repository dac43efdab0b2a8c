package browser_test

import (
	"testing"

	"countersign/internal/outbox"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/servertest"
)

const phone = "+4915112345678"

// told has the provider report of the newest text message.
func told(t *testing.T, n *servertest.Node, fate outbox.Fate) {
	t.Helper()
	n.Wait(phone)
	for done := false; !done; { // the letter is in the inbox a moment before that is written down
		var id string
		err := n.Core().DB.Read(t.Context(), func(tx *sqldb.Tx) error {
			return tx.QueryRow(t.Context(), `SELECT id FROM outbox_letter WHERE channel = 'sms' AND kind = 'signin_code' ORDER BY created_at DESC, id DESC LIMIT 1`).Scan(&id)
		})
		if err == nil {
			_, done, err = n.Core().Outbox.Report(t.Context(), outbox.Told{Letter: id, Provider: "inbox", State: fate})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestThePageSaysWhetherTheMessageArrived(t *testing.T) {
	t.Parallel()
	n := site(t)
	n.Account(phone)
	p := visit(t, n.URL)
	p.open("/signin")
	p.signIn(phone, servertest.Password)
	p.see("The message is on its way.")
	p.lack("Look again")
	told(t, n, outbox.NotDelivered)
	p.see("The message could not be delivered. Try another way below.") // by itself
	p.reload()
	p.see("The message could not be delivered. Try another way below.")

	q := visit(t, n.URL)
	q.noScript()
	q.open("/signin")
	q.signIn(phone, servertest.Password)
	q.see("The message is on its way.")
	told(t, n, outbox.Delivered)
	q.click("Look again")
	q.see("The message has been delivered to your phone.")
}
