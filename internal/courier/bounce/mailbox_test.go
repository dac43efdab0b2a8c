package bounce_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"countersign/internal/courier"
	"countersign/internal/courier/bounce"
	"countersign/internal/courier/couriertest"
	"countersign/internal/platform/secret"
)

// mailbox is one at a server that keeps it in memory, and how to put mail into it.
func mailbox(t *testing.T) (*bounce.Mailbox, func(text string)) {
	t.Helper()
	return mailboxWith(t, func(s imapserver.Session) imapserver.Session { return s })
}

// mailboxWith is one whose sessions are others, at a server that can do more.
func mailboxWith(t *testing.T, session func(imapserver.Session) imapserver.Session, caps ...imap.Cap) (*bounce.Mailbox, func(text string)) {
	t.Helper()
	can := imap.CapSet{imap.CapIMAP4rev1: {}}
	for _, c := range caps {
		can[c] = struct{}{}
	}
	cert, roots := couriertest.Certificate(t)
	user := imapmemserver.NewUser("bounces@example.org", "geheim")
	if err := user.Create("INBOX", nil); err != nil {
		t.Fatal(err)
	}
	users := imapmemserver.New()
	users.AddUser(user)
	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return session(users.NewSession()), &imapserver.GreetingData{}, nil
		},
		Caps: can,
	})
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	b := &bounce.Mailbox{
		Host: "localhost", Port: l.Addr().(*net.TCPAddr).Port, User: "bounces@example.org", Password: secret.Of("geheim"), Roots: roots,
		Log: slog.New(slog.DiscardHandler),
	}
	return b, func(text string) {
		t.Helper()
		if _, err := user.Append("INBOX", literal{strings.NewReader(text)}, &imap.AppendOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

type literal struct{ *strings.Reader }

func (l literal) Size() int64 { return l.Reader.Size() }

func TestAMailboxIsReadOnce(t *testing.T) {
	b, put := mailbox(t)
	var got []courier.Report
	b.Report = func(_ context.Context, r courier.Report) error {
		got = append(got, r)
		return nil
	}
	look := func(want int) {
		t.Helper()
		if n, err := b.Look(t.Context()); err != nil || n != want {
			t.Errorf("%d read, %v; want %d", n, err, want)
		}
	}
	look(0)
	if err := b.Check(t.Context()); err != nil {
		t.Error(err)
	}
	put(notification("", ""))
	put("Subject: buy this\r\n\r\nnow\r\n")
	put(notification("Subject: Your code", "Subject: "+strings.Repeat("long ", 100_000)))
	look(3)
	look(0)
	want := courier.Report{Provider: "smtp", Letter: letter, State: courier.NotDelivered, Code: "5.1.1"}
	if !slices.Equal(got, []courier.Report{want, want}) {
		t.Errorf("%+v", got)
	}
	for range 45 {
		put(notification("", ""))
	}
	look(20)
	look(20)
	look(5)
	if len(got) != 47 {
		t.Errorf("%d reports", len(got))
	}
}

// What could not be written down is read again.
func TestAReportThatFailsIsReadAgain(t *testing.T) {
	b, put := mailbox(t)
	put(notification("", ""))
	away, told := errors.New("the database is away"), 0
	b.Report = func(context.Context, courier.Report) error {
		if told++; told == 1 {
			return away
		}
		return nil
	}
	if _, err := b.Look(t.Context()); !errors.Is(err, away) {
		t.Errorf("%v", err)
	}
	if n, err := b.Look(t.Context()); n != 1 || err != nil || told != 2 {
		t.Errorf("%d, %v, told %d times", n, err, told)
	}
}

func TestAMailboxThatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(b *bounce.Mailbox)
		want  string
	}{
		"wrong password": {func(b *bounce.Mailbox) { b.Password = secret.Of("falsch") }, "refused user and password"},
		"no folder":      {func(b *bounce.Mailbox) { b.Folder = "Bounces" }, "no such folder"},
		"nobody vouches": {func(b *bounce.Mailbox) { b.Roots = nil }, "certificate"},
		"nobody there": {func(b *bounce.Mailbox) {
			_, port, _ := net.SplitHostPort(couriertest.Nowhere(t))
			_, _ = fmt.Sscan(port, &b.Port)
		}, "refused"},
	} {
		b, put := mailbox(t)
		put(notification("", ""))
		b.Report = func(context.Context, courier.Report) error { t.Errorf("%s: read", name); return nil }
		c.spoil(b)
		if err := b.Check(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Check: %v", name, err)
		}
		if _, err := b.Look(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "falsch") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
