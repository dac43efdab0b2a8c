package smtp_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"countersign/internal/courier"
	"countersign/internal/courier/couriertest"
	"countersign/internal/courier/smtp"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
)

// server is a mail server in a mood.
type server struct {
	t    *testing.T
	over chan struct{}

	mu     sync.Mutex
	mood   couriertest.Mood
	got    []courier.Message
	heads  []mail.Header
	stage  string // where a refusal comes: "from", "rcpt" or "data"
	code   int    // of a refusal; 0 means by the mood
	once   bool   // refuse one letter
	logins int
	utf8   int // letters that asked for SMTPUTF8

	mechanisms []string              // empty means PLAIN
	bounces    string                // where letters are to come back to; empty means their sender
	token      string                // that is taken; empty means "ein-token"
	open       map[*gosmtp.Conn]bool // that there were, and whether they still are
}

type session struct {
	s        *server
	conn     *gosmtp.Conn
	from, to string
}

func (s *server) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = true // again after STARTTLS
	return &session{s: s, conn: c}, nil
}

// talks returns how many connections there were, and how many there are.
func (s *server) talks() (dials, open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, is := range s.open {
		if dials++; is {
			open++
		}
	}
	return dials, open
}

// hangUp closes every connection without a word.
func (s *server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Conn().Close()
	}
}

func (s *server) refuseOnce(stage string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood, s.stage, s.code, s.once = couriertest.RefuseForGood, stage, code, true
}

func (s *server) set(m couriertest.Mood) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood = m
}

func (s *server) arrived() []courier.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]courier.Message(nil), s.got...)
}

// react plays the mood at its stage, quoting what a letter must not have in the log.
func (x *session) react(stage string) error {
	x.s.mu.Lock()
	mood, code, at := x.s.mood, x.s.code, x.s.stage
	x.s.mu.Unlock()
	if at == "" {
		at = "rcpt"
	}
	if at != stage {
		return nil
	}
	x.s.mu.Lock()
	if x.s.once {
		x.s.mood, x.s.once = couriertest.Accept, false
	}
	x.s.mu.Unlock()
	text := "not for <" + x.to + "> with 482913"
	switch mood {
	case couriertest.Hang:
		<-x.s.over
	case couriertest.CutOff:
		_ = x.conn.Conn().Close()
	case couriertest.RefuseForGood:
		if code == 0 {
			code = 550
		}
		return &gosmtp.SMTPError{Code: code, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: text}
	case couriertest.RefuseForNow:
		return &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 3, 0}, Message: text}
	case couriertest.Accept:
	}
	return nil
}

func (x *session) Mail(from string, o *gosmtp.MailOptions) error {
	x.from = from
	if o.UTF8 {
		x.s.utf8++
	}
	return x.react("from")
}

func (x *session) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	x.to = to
	return x.react("rcpt")
}

func (x *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := x.react("data"); err != nil {
		return err
	}
	m, head, err := decode(raw)
	if err != nil {
		x.s.t.Errorf("on the wire: %v\n%s", err, raw)
	}
	sender := cmp.Or(x.s.bounces, strings.Trim(m.From[strings.LastIndexByte(m.From, '<'):], "<>"))
	if x.to != m.To || x.from != sender {
		x.s.t.Errorf("envelope %s to %s, letter %s to %s", x.from, x.to, m.From, m.To)
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.s.got, x.s.heads = append(x.s.got, m), append(x.s.heads, head)
	return nil
}

func (x *session) Reset() {}
func (x *session) Logout() error {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.s.open[x.conn] = false
	return nil
}

func (x *session) AuthMechanisms() []string {
	if len(x.s.mechanisms) > 0 {
		return x.s.mechanisms
	}
	return []string{sasl.Plain}
}

func (x *session) Auth(mechanism string) (sasl.Server, error) {
	login := func(right bool) error {
		x.s.mu.Lock()
		defer x.s.mu.Unlock()
		x.s.logins++
		if !right {
			return errors.New("no")
		}
		return nil
	}
	token := cmp.Or(x.s.token, "ein-token")
	switch mechanism {
	case sasl.OAuthBearer:
		return sasl.NewOAuthBearerServer(func(o sasl.OAuthBearerOptions) *sasl.OAuthBearerError {
			// The library of the server leaves the name as it was written.
			if login(o.Token == token && o.Username == "no-reply=2C=3D@example.org" && o.Host == "localhost" && o.Port > 0) != nil {
				return &sasl.OAuthBearerError{Status: "invalid_token", Schemes: "bearer"}
			}
			return nil
		}), nil
	case "XOAUTH2":
		return xoauth2(func(answer string) error {
			return login(answer == "user=no-reply,=@example.org\x01auth=Bearer "+token+"\x01\x01")
		}), nil
	}
	return sasl.NewPlainServer(func(_, user, pass string) error { return login(user == "countersign" && pass == "geheim") }), nil
}

// xoauth2 is that mechanism, which is its inventors' alone.
type xoauth2 func(answer string) error

func (x xoauth2) Next(answer []byte) (challenge []byte, done bool, err error) {
	return nil, true, x(string(answer))
}

// decode reads a letter from its wire form, as a mail program would.
func decode(raw []byte) (m courier.Message, head mail.Header, err error) {
	letter, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return m, nil, err
	}
	h := letter.Header
	id, domain, _ := strings.Cut(strings.Trim(h.Get("Message-Id"), "<>"), "@")
	to, err := mail.ParseAddress(h.Get("To"))
	if err != nil {
		return m, h, err
	}
	from, err := mail.ParseAddress(h.Get("From"))
	if err != nil || !strings.HasSuffix(from.Address, "@"+domain) {
		return m, h, errors.Join(err, errors.New("Message-ID is not of the sender's domain: "+domain))
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(h.Get("Subject"))
	m = courier.Message{ID: id, Channel: message.Email, To: to.Address, From: from.String(), Subject: subject}
	kind, params, kindErr := mime.ParseMediaType(h.Get("Content-Type"))
	if err := errors.Join(err, kindErr); err != nil || kind != "multipart/alternative" {
		return m, h, errors.Join(err, errors.New("is "+kind))
	}
	parts := multipart.NewReader(letter.Body, params["boundary"])
	for _, into := range []struct {
		kind string
		body *string
	}{{"text/plain", &m.Text}, {"text/html", &m.HTML}} {
		part, err := parts.NextRawPart()
		if err != nil {
			return m, h, err
		}
		if kind, params, _ := mime.ParseMediaType(part.Header.Get("Content-Type")); kind != into.kind || !strings.EqualFold(params["charset"], "utf-8") {
			return m, h, errors.New("a part is " + kind)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			return m, h, err
		}
		*into.body = strings.ReplaceAll(string(body), "\r\n", "\n")
	}
	return m, h, nil
}

// serve starts a server; security says how it is reached.
func serve(t *testing.T, security smtp.Security, options ...func(*gosmtp.Server)) (*server, smtp.Config) {
	t.Helper()
	cert, roots := couriertest.Certificate(t)
	s := &server{t: t, over: make(chan struct{}), open: map[*gosmtp.Conn]bool{}}
	srv := gosmtp.NewServer(s)
	for _, o := range options {
		o(srv)
	}
	srv.Domain, srv.AllowInsecureAuth, srv.ErrorLog = "localhost", false, quiet{}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	switch security {
	case smtp.StartTLS:
		srv.TLSConfig = conf
	case smtp.Implicit:
		l = tls.NewListener(l, conf)
	case smtp.None:
	}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { close(s.over); _ = srv.Close() })
	return s, smtp.Config{
		Host: "localhost", Port: l.Addr().(*net.TCPAddr).Port, Security: security, Roots: roots, Now: time.Now,
	}
}

func beyondASCII(s *gosmtp.Server) { s.EnableSMTPUTF8 = true }

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func provider(t *testing.T, c smtp.Config) *smtp.Provider {
	t.Helper()
	p, err := smtp.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func letter() courier.Message {
	return courier.Message{
		ID: "0189-1", Channel: message.Email, To: "ada@example.org", From: "Fotoalbum <no-reply@id.example.org>",
		Subject: "Hallo", Text: "Text\n", HTML: "<p>Text</p>",
	}
}

func TestSMTPIsAProvider(t *testing.T) {
	for _, security := range []smtp.Security{smtp.StartTLS, smtp.Implicit, smtp.None} {
		t.Run(string(security), func(t *testing.T) {
			couriertest.Run(t, func(t *testing.T) couriertest.Bench {
				s, c := serve(t, security)
				if security != smtp.None {
					c.User, c.Password = "countersign", secret.Of("geheim")
				}
				gone := c
				_, port, err := net.SplitHostPort(couriertest.Nowhere(t))
				if err != nil {
					t.Fatal(err)
				}
				gone.Port, err = net.LookupPort("tcp", port)
				if err != nil {
					t.Fatal(err)
				}
				return couriertest.Bench{Provider: provider(t, c), Channel: message.Email, Set: s.set, Got: s.arrived, Gone: provider(t, gone), Secrets: []string{"geheim"}}
			})
		})
	}
}

// R: RFC 3834, and nothing that tells of our software or machine.
func TestHeadersSayWhatIsNeededAndNoMore(t *testing.T) {
	s, c := serve(t, smtp.StartTLS)
	c.Now = func() time.Time { return time.Date(2026, 11, 23, 18, 49, 0, 0, time.UTC) }
	if _, err := provider(t, c).Send(t.Context(), letter()); err != nil {
		t.Fatal(err)
	}
	h := s.heads[0]
	if h.Get("Auto-Submitted") != "auto-generated" || h.Get("Message-Id") != "<0189-1@id.example.org>" || h.Get("Date") != "Mon, 23 Nov 2026 18:49:00 +0000" {
		t.Errorf("%v", h)
	}
	for name := range h {
		if !strings.Contains(" From To Subject Date Message-Id Mime-Version Content-Type Auto-Submitted X-Auto-Response-Suppress ", " "+name+" ") {
			t.Errorf("header %s: %s", name, h.Get(name))
		}
	}
}

func TestWithoutStartTLSNothingIsSaid(t *testing.T) {
	for _, user := range []string{"", "countersign"} {
		s, c := serve(t, smtp.None) // offers no STARTTLS, as if somebody had taken the offer out
		c.Security = smtp.StartTLS
		c.User, c.Password = user, secret.Of("geheim")
		_, err := provider(t, c).Send(t.Context(), letter())
		if e, ok := errors.AsType[*courier.Error](err); !ok || e.Permanent || len(s.arrived()) != 0 || s.logins != 0 {
			t.Errorf("user %q: %v, %d letters, %d logins", user, err, len(s.arrived()), s.logins)
		}
	}
}

func TestACertificateNobodyVouchesForIsRefused(t *testing.T) {
	for _, security := range []smtp.Security{smtp.StartTLS, smtp.Implicit} {
		s, c := serve(t, security)
		c.Roots = x509.NewCertPool()
		c.User, c.Password = "countersign", secret.Of("geheim")
		_, err := provider(t, c).Send(t.Context(), letter())
		if e, ok := errors.AsType[*courier.Error](err); !ok || e.Permanent || len(s.got) != 0 || s.logins != 0 || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", security, err)
		}
	}
}

func TestAWrongPasswordIsOursToPutRight(t *testing.T) {
	s, c := serve(t, smtp.StartTLS)
	c.User, c.Password = "countersign", secret.Of("falsch")
	_, err := provider(t, c).Send(t.Context(), letter())
	if e, ok := errors.AsType[*courier.Error](err); !ok || e.Permanent || len(s.got) != 0 || strings.Contains(err.Error(), "falsch") {
		t.Errorf("%v", err)
	}
}

func TestRefusalsAreClassedByStageAndCode(t *testing.T) {
	s, c := serve(t, smtp.None)
	p := provider(t, c)
	for _, tc := range []struct {
		stage     string
		mood      couriertest.Mood
		code      int
		permanent bool
		want      string
	}{
		{"rcpt", couriertest.RefuseForGood, 0, true, "smtp_550_5.1.1"},
		{"rcpt", couriertest.RefuseForNow, 0, false, "smtp_451_4.3.0"},
		{"data", couriertest.RefuseForGood, 554, true, "smtp_554_5.1.1"},
		{"data", couriertest.RefuseForNow, 0, false, "smtp_451_4.3.0"},
		{"from", couriertest.RefuseForGood, 553, false, "smtp_553_5.1.1"},
		{"data", couriertest.CutOff, 0, false, "smtp_interrupted"},
	} {
		s.mu.Lock()
		s.stage, s.mood, s.code = tc.stage, tc.mood, tc.code
		s.mu.Unlock()
		_, err := p.Send(t.Context(), letter())
		e, ok := errors.AsType[*courier.Error](err)
		if !ok || e.Permanent != tc.permanent || e.Code != tc.want || strings.Contains(err.Error(), "ada") {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}

func TestAHeaderCannotBeInjected(t *testing.T) {
	s, c := serve(t, smtp.None)
	p := provider(t, c)
	for _, change := range []func(*courier.Message){
		func(m *courier.Message) { m.To = "ada@example.org\r\nBcc: eve@example.org" },
		func(m *courier.Message) { m.To = "ada@example.org, eve@example.org" },
		func(m *courier.Message) { m.To = "Ada <ada@example.org>" },
		func(m *courier.Message) { m.To = "" },
		func(m *courier.Message) { m.Subject = "x\r\nBcc: eve@example.org" },
	} {
		m := letter()
		change(&m)
		_, err := p.Send(t.Context(), m)
		if e, ok := errors.AsType[*courier.Error](err); !ok || !e.Permanent || len(s.arrived()) != 0 {
			t.Errorf("%q: %v", m.To, err)
		}
	}
}

// Each hanging server would otherwise cost a file descriptor for ever.
func TestAConnectionThatHangsIsClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	closed := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, err = io.ReadAll(conn) // says nothing, not even hello
		closed <- err
	}()
	p := provider(t, smtp.Config{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Security: smtp.None, Now: time.Now})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = p.Send(ctx, letter())
	if e, ok := errors.AsType[*courier.Error](err); !ok || e.Code != "smtp_timeout" {
		t.Errorf("%v", err)
	}
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Error("the connection is still open")
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	for _, c := range []smtp.Config{
		{},
		{Host: "mail.example.org"},
		{Host: "mail.example.org", Now: time.Now, Security: "maybe"},
		{Host: "mail.example.org", Now: time.Now, Security: smtp.None},
		{Host: "192.0.2.1", Now: time.Now, Security: smtp.None},
	} {
		if _, err := smtp.New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
