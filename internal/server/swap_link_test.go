package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/servertest"
)

// A letter's link ends every session, stops the password and takes back what the holder has just changed: whoever had the number
// moved to their card must not get one either.
func TestNoLinkGoesToANumberWithANewCard(t *testing.T) {
	const number = "+4915112345678"
	operator := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/token" {
			_, _ = io.WriteString(w, `{"access_token": "ein-token", "token_type": "Bearer", "expires_in": 3600}`)
			return
		}
		_, _ = io.WriteString(w, `{"swapped": true}`)
	}))
	defer operator.Close()
	n := servertest.Start(t, servertest.Options{Config: func(s *config.Config) {
		s.SIMSwap.URL, s.SIMSwap.TokenURL, s.SIMSwap.ClientID, s.SIMSwap.ClientSecret = operator.URL, operator.URL+"/token", "id", config.NewSecret("geheim")
	}})
	core, id := n.Core(), n.Account("ada@example.org", number)
	err := core.DB.Write(t.Context(), func(tx *sqldb.Tx) error { // the holder, warned, has changed the password
		return core.Notices.Tell(t.Context(), tx, notice.Event{Kind: message.PasswordChanged, Account: id, Device: "Firefox"})
	})
	if err != nil {
		t.Fatal(err)
	}
	waiting := func() (n int) {
		_ = core.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
			return tx.QueryRow(t.Context(), `SELECT count(*) FROM outbox_letter WHERE state = 'waiting'`).Scan(&n)
		})
		return n
	}
	eventually(t, func() bool { return waiting() == 0 })
	for _, l := range n.Inbox().Messages() {
		if l.To == number && strings.Contains(l.Text, "http") {
			t.Errorf("the thief reads: %s", l.Text)
		}
	}
}
