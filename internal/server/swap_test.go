package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/servertest"
)

// N-3.1.3.3-02: a code does not go to a number whose SIM card changed lately. Its holder is told at the other addresses, once.
func TestNoCodeGoesToANumberWithANewCard(t *testing.T) {
	const number = "+4915112345678"
	var swapped, asked atomic.Int32
	operator := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/token" {
			_, _ = io.WriteString(w, `{"access_token": "ein-token", "token_type": "Bearer", "expires_in": 3600}`)
			return
		}
		asked.Add(1)
		switch swapped.Load() {
		case 0:
			_, _ = io.WriteString(w, `{"swapped": false}`)
		case 1:
			_, _ = io.WriteString(w, `{"swapped": true}`)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer operator.Close()
	for name, c := range map[string]struct {
		says    int32
		refuse  bool
		kind    message.Kind
		want    outbox.Fate
		letters int // that say so
		asks    int32
	}{
		"not swapped":                 {0, false, message.SigninCode, "", 0, 1},
		"swapped":                     {1, false, message.SigninCode, outbox.NotDelivered, 1, 1},
		"swapped, recovery":           {1, false, message.RecoveryCode, outbox.NotDelivered, 1, 1},
		"swapped, an address's proof": {1, false, message.AddressCode, "", 0, 0}, // a new number has a new card
		"no answer":                   {2, false, message.SigninCode, "", 0, 1},
		"no answer, refused":          {2, true, message.SigninCode, outbox.NotDelivered, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			n := servertest.Start(t, servertest.Options{Config: func(s *config.Config) {
				s.SIMSwap.URL, s.SIMSwap.TokenURL, s.SIMSwap.ClientID, s.SIMSwap.ClientSecret = operator.URL, operator.URL+"/token", "id", config.NewSecret("geheim")
				s.SIMSwap.Refuse = c.refuse
			}})
			core, id := n.Core(), n.Account("ada@example.org", number)
			swapped.Store(c.says)
			asked.Store(0)
			put := func() (letter string) {
				t.Helper()
				err := core.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
					letter, err = core.Outbox.Put(t.Context(), tx, outbox.Letter{
						Letter:  message.Letter{Channel: message.SMS, Kind: c.kind, To: number, Language: "de", Params: map[string]string{"code": "482913", "minutes": "10", "site": "Fotoalbum"}},
						Account: string(id), ExpiresAt: tx.Now().Add(10 * time.Minute),
					})
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return letter
			}
			done := func(letter string) (state string, fate outbox.Fate) {
				err := core.DB.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
					if err = tx.QueryRow(t.Context(), `SELECT state FROM outbox_letter WHERE id = $1`, letter).Scan(&state); err == nil {
						fate, err = core.Outbox.Fate(t.Context(), tx, letter)
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return state, fate
			}
			wanted := map[bool]string{true: "sent", false: "withheld"}[c.want == ""]
			for range 2 {
				letter := put()
				eventually(t, func() bool { state, _ := done(letter); return state != "waiting" })
				if state, fate := done(letter); state != wanted || fate != c.want {
					t.Errorf("%s, %q; want %s, %q", state, fate, wanted, c.want)
				}
			}
			told := 0
			eventually(t, func() bool {
				told = 0
				for _, l := range n.Inbox().Messages() {
					if strings.Contains(l.Text, "SIM") {
						told++
						if l.To != "ada@example.org" {
							t.Errorf("told at %s", l.To)
						}
					}
				}
				return told >= c.letters
			})
			if told != c.letters || c.says < 2 && asked.Load() != c.asks {
				t.Errorf("%d letters say so, want %d; the operator was asked %d times, want %d", told, c.letters, asked.Load(), c.asks)
			}
			if log := n.Log.String(); strings.Contains(log, "15112345678") || strings.Contains(log, "geheim") {
				t.Errorf("the log says:\n%s", log)
			}
		})
	}
}
