package bounce

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"countersign/internal/courier"
	"countersign/internal/courier/token"
	"countersign/internal/platform/secret"
)

// Mailbox is where notifications arrive, read over IMAP with TLS (RFC 8314). It must be theirs alone: all that is in
// it is marked as read.
type Mailbox struct {
	Host     string
	Port     int // 0 means 993
	User     string
	Password secret.Token
	Tokens   *token.Source  // in the place of a password; nil shows the password
	Folder   string         // empty means INBOX
	Roots    *x509.CertPool // nil means the system's
	Log      *slog.Logger
	// Report is told of each notification. One that fails is read again the next time.
	Report func(context.Context, courier.Report) error
}

const (
	// lookEvery is how long a notification waits at most. People who wait for a code look at it before.
	lookEvery = 30 * time.Second

	// lookFor bounds one look. Whoever answers slower is asked again the next time.
	lookFor = time.Minute

	// batch is how many are read at once, which bounds the memory: maxSize each.
	batch = 20
)

// Run reads the mailbox until ctx ends.
func (b *Mailbox) Run(ctx context.Context) {
	troubled := false
	for {
		n, err := b.Look(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil != troubled { // say it once, not twice a minute
			troubled = err != nil
			level := slog.LevelInfo
			if troubled {
				level = slog.LevelError
			}
			b.Log.LogAttrs(ctx, level, "mailbox of bounces", slog.Bool("readable", !troubled), slog.Any("error", err))
		}
		wait := lookEvery
		if n == batch && err == nil { // there may be more
			wait = time.Second
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// Look reads as many as a batch of what is unread, and returns how many it read. Its errors hold nothing that the server said.
func (b *Mailbox) Look(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	c, err := b.open(ctx)
	if err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	defer func() { _ = c.Close() }()
	n, err := b.read(ctx, c)
	if err != nil {
		return n, err
	}
	_ = c.Logout().Wait() // nothing is lost with it
	return n, nil
}

// Check signs in and looks for the folder.
func (b *Mailbox) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	c, err := b.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return b.selects(c)
}

// open connects and signs in.
func (b *Mailbox) open(ctx context.Context) (*imapclient.Client, error) {
	port := b.Port
	if port == 0 {
		port = 993
	}
	d := &tls.Dialer{Config: &tls.Config{ServerName: b.Host, RootCAs: b.Roots, MinVersion: tls.VersionTLS12}}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(b.Host, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("connect to the mailbox: %w", err)
	}
	end, _ := ctx.Deadline()
	_ = conn.SetDeadline(end)
	c := imapclient.New(conn, nil)
	if err := b.signIn(ctx, c, port); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (b *Mailbox) signIn(ctx context.Context, c *imapclient.Client, port int) error {
	if b.Tokens == nil {
		if c.Login(b.User, b.Password.Reveal()).Wait() != nil {
			return errors.New("the mailbox's server refused user and password")
		}
		return nil
	}
	got, err := b.Tokens.Get(ctx)
	if err != nil {
		return errors.New("the mailbox's token: " + token.Code(err))
	}
	mechanism, first := token.SignIn(c.Caps().AuthMechanisms(), b.User, b.Host, port, got.AccessToken)
	if c.Authenticate(&bearer{mechanism, first}) != nil {
		return errors.New("the mailbox's server refused the token")
	}
	return nil
}

// bearer is a sasl.Client.
type bearer struct {
	mechanism string
	first     []byte
}

func (b *bearer) Start() (string, []byte, error) { return b.mechanism, b.first, nil }
func (b *bearer) Next(_ []byte) ([]byte, error)  { return []byte(token.Again), nil }

func (b *Mailbox) selects(c *imapclient.Client) error {
	if _, err := c.Select(cmp.Or(b.Folder, "INBOX"), nil).Wait(); err != nil {
		return errors.New("the mailbox has no such folder")
	}
	return nil
}

func (b *Mailbox) read(ctx context.Context, c *imapclient.Client) (int, error) {
	if err := b.selects(c); err != nil {
		return 0, err
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{NotFlag: []imap.Flag{imap.FlagSeen}}, nil).Wait()
	if err != nil {
		return 0, errors.New("the mailbox cannot be searched")
	}
	unread := found.AllUIDs()
	if len(unread) == 0 {
		return 0, nil
	}
	unread = unread[:min(len(unread), batch)]
	whole := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: maxSize}}
	messages, err := c.Fetch(imap.UIDSetNum(unread...), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
	if err != nil {
		return 0, errors.New("the mailbox cannot be read")
	}
	var read imap.UIDSet
	var failed error
	for _, m := range messages {
		report, err := Parse(bytes.NewReader(m.FindBodySection(whole)))
		if err == nil {
			if failed = b.Report(ctx, report); failed != nil {
				break // those before it are read
			}
		}
		read.AddNum(m.UID)
	}
	if len(read) == 0 {
		return 0, failed
	}
	if err := c.Store(read, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen}, Silent: true}, nil).Close(); err != nil {
		return 0, errors.New("the mailbox cannot be written to")
	}
	return len(messages), failed
}
