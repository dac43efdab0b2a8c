package bounce_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-sasl"

	"countersign/internal/courier"
	"countersign/internal/courier/token"
	"countersign/internal/platform/secret"
)

// tokened is a session at a server that takes tokens by one mechanism, and no password.
type tokened struct {
	imapserver.Session

	mechanism, token string
}

func (s *tokened) AuthenticateMechanisms() []string { return []string{s.mechanism} }

func (s *tokened) Login(_, _ string) error { return imapserver.ErrAuthFailed }

func (s *tokened) Authenticate(mechanism string) (sasl.Server, error) {
	if mechanism != s.mechanism {
		return nil, errors.New("another mechanism")
	}
	return answers(func(first string) error {
		want := "user=bounces,=@example.org\x01auth=Bearer " + s.token + "\x01\x01"
		if mechanism == "OAUTHBEARER" {
			// RFC 7628: the name as RFC 5801 has it, the host and the port.
			head, rest, _ := strings.Cut(first, "\x01port=")
			_, rest, _ = strings.Cut(rest, "\x01")
			first, want = head+"\x01"+rest, "n,a=bounces=2C=3D@example.org,\x01host=localhost\x01auth=Bearer "+s.token+"\x01\x01"
		}
		if first != want {
			return imapserver.ErrAuthFailed
		}
		return s.Session.Login("bounces@example.org", "geheim") // the mailbox in memory knows no tokens
	}), nil
}

// answers looks at what a client says first.
type answers func(first string) error

func (a answers) Next(answer []byte) (challenge []byte, done bool, err error) {
	if answer == nil {
		return []byte{}, false, nil
	}
	return nil, true, a(string(answer))
}

func TestAMailboxThatTakesTokens(t *testing.T) {
	var status, asked atomic.Int64
	var takes atomic.Value
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		status := int(status.Load())
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if status != http.StatusOK {
			_, _ = w.Write([]byte(`{"error":"invalid_client","error_description":"hunter2"}`))
			return
		}
		_, _ = w.Write([]byte(`{"access_token":"ein-token","token_type":"Bearer","expires_in":3600}`))
	}))
	defer endpoint.Close()
	for _, mechanism := range []string{"OAUTHBEARER", "XOAUTH2"} {
		status.Store(http.StatusOK)
		takes.Store("ein-token")
		b, put := mailboxWith(t, func(s imapserver.Session) imapserver.Session {
			return &tokened{Session: s, mechanism: mechanism, token: takes.Load().(string)} //nolint:forcetypeassert // stored above
		}, imap.CapSASLIR)
		b.User = "bounces,=@example.org"
		b.Password = secret.Token{}
		source := func() *token.Source {
			return token.New(token.Config{URL: endpoint.URL, ClientID: "client", ClientSecret: secret.Of("hunter2")})
		}
		b.Tokens = source()
		var got []courier.Report
		b.Report = func(_ context.Context, r courier.Report) error { got = append(got, r); return nil }
		put(notification("", ""))
		before := asked.Load()
		for range 2 { // the token is kept
			if _, err := b.Look(t.Context()); err != nil {
				t.Fatalf("%s: %v", mechanism, err)
			}
		}
		if len(got) != 1 || asked.Load() != before+1 {
			t.Errorf("%s: %d reports, %d tokens", mechanism, len(got), asked.Load()-before)
		}
		takes.Store("another")
		if err := b.Check(t.Context()); err == nil || err.Error() != "the mailbox's server refused the token" {
			t.Errorf("%s: %v", mechanism, err)
		}
		status.Store(http.StatusUnauthorized)
		b.Tokens = source()
		if err := b.Check(t.Context()); err == nil || err.Error() != "the mailbox's token: invalid_client" {
			t.Errorf("%s: %v", mechanism, err)
		}
	}
}
