package fault_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
)

// wire lies between a server and its database. It can be cut, as when the database dies, and it
// can fall silent, as when the database hangs or its machine vanishes: nothing answers, and
// nothing says so.
type wire struct {
	url, server string
	mu          sync.Mutex
	listener    net.Listener
	links       []*link
	silent      bool // new connections are
}

// link is one connection through the wire.
type link struct {
	ends   [2]net.Conn
	silent atomic.Bool // for ever
}

func newWire(t *testing.T, database string) *wire {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{server: u.Host}
	w.listen(t, "127.0.0.1:0")
	u.Host = w.listener.Addr().String()
	w.url = u.String()
	t.Cleanup(w.cut)
	return w
}

func (w *wire) listen(t *testing.T, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	w.listener = listener
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", w.server)
			if err != nil {
				_ = in.Close()
				continue
			}
			l := &link{ends: [2]net.Conn{in, out}}
			w.mu.Lock()
			l.silent.Store(w.silent)
			w.links = append(w.links, l)
			w.mu.Unlock()
			go l.carry(in, out)
			go l.carry(out, in)
		}
	}()
}

func (l *link) carry(from, to net.Conn) {
	defer l.close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if l.silent.Load() {
			n = 0 // swallowed
		}
		if _, wrong := to.Write(buffer[:n]); wrong != nil || err != nil {
			return
		}
	}
}

func (l *link) close() {
	for _, c := range l.ends {
		_ = c.Close()
	}
}

func (w *wire) cut() {
	_ = w.listener.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.links {
		l.close()
	}
	w.links = nil
}

func (w *wire) mend(t *testing.T) {
	t.Helper()
	w.listen(t, w.listener.Addr().String())
}

// hush silences everything.
func (w *wire) hush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = true
	for _, l := range w.links {
		l.silent.Store(true)
	}
}

// speak lets new connections through. Those that fell silent stay so.
func (w *wire) speak() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = false
}

// While the database is away the node answers from memory for as long as it was told to, and
// then says that it cannot know; strangers are told to come back; and nobody has to restart
// anything afterwards.
func TestALostDatabase(t *testing.T) {
	for name, lose := range map[string]struct{ away, back func(*testing.T, *wire) }{
		"cut":    {func(_ *testing.T, w *wire) { w.cut() }, func(t *testing.T, w *wire) { w.mend(t) }},
		"silent": {func(_ *testing.T, w *wire) { w.hush() }, func(_ *testing.T, w *wire) { w.speak() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := dbtest.EmptyURL(t, sqldb.Postgres)
			w := newWire(t, database)
			const trusted = 4 * time.Second
			watch := testkit.FreeAddress(t)
			s := newSite(t, w.url, append(quick, "COUNTERSIGN_DATABASE_MAX_STALENESS="+trusted.String(), "COUNTERSIGN_METRICS_LISTEN="+watch)...)
			people := s.seed(6)
			p := s.start()
			defer func() {
				if t.Failed() {
					t.Log(p.log)
				}
			}()
			a, stranger := s.app(), s.app()
			a.signIn(s, people[0])
			a.want(200, "GET", "/session", "")
			under := s.app().toSecond(people[1].email) // a sign-in under way

			stop := load(t, s, people[2:])
			time.Sleep(200 * time.Millisecond)
			lost := time.Now()
			lose.away(t, w)

			var from time.Duration // the last answer from memory
			for time.Since(lost) < trusted-time.Second {
				began := time.Now()
				got, err := a.try(t.Context(), "GET", "/session", "")
				if err != nil || got.status != 200 {
					t.Fatalf("%v after the database was lost: %d %s %v", time.Since(lost), got.status, got.text, err)
				}
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("a check took %v", took)
				}
				from = time.Since(lost)
				time.Sleep(50 * time.Millisecond)
			}
			began := time.Now()
			if got, err := stranger.try(t.Context(), "POST", "/signin", jsonOf("identifier", people[0].email)); err != nil || !got.is(503, "database_unavailable") {
				t.Errorf("a sign-in: %d %s %v", got.status, got.text, err)
			}
			signIn := time.Since(began)
			refused := time.Duration(0)
			eventually(t, trusted+12*time.Second, "memory is too old to be trusted", func() bool {
				asked := time.Since(lost)
				got, err := a.try(t.Context(), "GET", "/session", "")
				if asked > trusted && got.status == 200 {
					t.Errorf("answered from memory when it was %v old", asked)
				}
				refused = time.Since(lost)
				return err == nil && got.is(503, "database_unavailable")
			})
			if status := ready(t, watch); status != http.StatusServiceUnavailable {
				t.Errorf("readyz says %d", status)
			}

			lose.back(t, w)
			back := eventually(t, 20*time.Second, "the session is known again", func() bool {
				got, err := a.try(t.Context(), "GET", "/session", "")
				return err == nil && got.status == 200
			})
			stop()
			// The server may still believe in transactions that the wire swallowed; their locks last for seconds.
			b, returned := s.app(), time.Now()
			b.insist(t, 202, "/signin/code/send", jsonOf("flow", under.handle, "way", "sms"))
			b.insist(t, 200, "/signin/code", jsonOf("flow", under.handle, "code", s.mail.waitCode(t, people[1].phone, 0)))
			goesOn := time.Since(returned)
			eventually(t, 5*time.Second, "readyz", func() bool { return ready(t, watch) == http.StatusOK })
			t.Logf("from memory until %v, refused after %v (told to trust %v), a sign-in was refused after %v; once the database was back, the session was known after %v and a sign-in under way done after %v more",
				from.Round(time.Millisecond), refused.Round(time.Millisecond), trusted, signIn.Round(time.Millisecond), back.Round(time.Millisecond), goesOn.Round(time.Millisecond))
		})
	}
}

// insist comes back for as long as it is told to come back, for half a minute.
func (a *app) insist(t *testing.T, status int, path, body string) {
	t.Helper()
	eventually(t, 30*time.Second, path, func() bool {
		got, err := a.try(t.Context(), "POST", path, body)
		if err != nil || got.status != status && !got.is(503, "database_unavailable") {
			t.Fatalf("%s: %d %s %v", path, got.status, got.text, err)
		}
		return got.status == status
	})
}

func ready(t *testing.T, watch string) int {
	t.Helper()
	res, err := (&http.Client{Timeout: 5 * time.Second}).Get("http://" + watch + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode
}

// load signs people in over and over until stop is called. Whatever is answered is one of ours:
// done, or 503 with Retry-After, and never an internal error.
func load(t *testing.T, s *site, people []person) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for _, p := range people {
		clients.Go(func() {
			a := s.app()
			for ctx.Err() == nil {
				begun, err := a.try(ctx, "POST", "/signin", jsonOf("identifier", p.email))
				if err == nil && begun.status == 201 {
					begun, err = a.try(ctx, "POST", "/signin/password", jsonOf("flow", begun.Flow, "password", password))
				}
				if err == nil && begun.status >= 400 && begun.status != 503 {
					t.Errorf("got %d %s", begun.status, begun.text)
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	return func() { cancel(); clients.Wait() }
}

// A full disk costs nothing that was acknowledged, and once there is room all goes on by itself.
func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=32m"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("no small disk can be mounted here (%v): TestAFullFile stands in for it", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s := newSite(t, "sqlite:"+filepath.Join(dir, "countersign.db"), quick...)
	people := s.seed(3)
	p := s.start()
	a := s.app()
	a.signIn(s, people[0])
	under := s.app().toSecond(people[1].email)

	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(f, endless{})
	if err == nil {
		t.Fatal("the disk does not fill")
	}
	_ = f.Close()

	full := fillUp(t, s.app(), people[2])
	t.Logf("full after %d sign-ins begun", full)
	a.want(200, "GET", "/session", "")
	if got := a.want(503, "DELETE", "/session", ""); got.Code != "database_unavailable" {
		t.Error(got.text)
	}
	a.want(200, "GET", "/session", "") // not half-ended

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	b := s.app()
	eventually(t, 5*time.Second, "sign-ins begin again", func() bool {
		got, err := b.try(t.Context(), "POST", "/signin", jsonOf("identifier", people[2].email))
		return err == nil && got.status == 201
	})
	b.want(202, "POST", "/signin/code/send", jsonOf("flow", under.handle, "way", "email"))
	b.want(200, "POST", "/signin/code", jsonOf("flow", under.handle, "code", s.mail.waitCode(t, people[1].email, 0)))
	a.want(204, "DELETE", "/session", "")
	p.stop()
	core := s.open()
	defer func() { _ = core.Close() }()
	damaged(t, core.DB)
}

// endless fills a disk.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// fillUp begins sign-ins until the database takes no more.
func fillUp(t *testing.T, a *app, p person) int {
	t.Helper()
	for i := range 5000 {
		got, err := a.try(t.Context(), "POST", "/signin", jsonOf("identifier", p.email))
		switch {
		case err != nil || got.status != 201 && !got.is(503, "database_unavailable"):
			t.Fatalf("got %d %s %v", got.status, got.text, err)
		case got.status == 503:
			return i
		}
	}
	t.Fatal("the disk is full, and everything is accepted")
	return 0
}

// The same where no small disk can be made: SQLite may use no more pages than it has.
func TestAFullFile(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Config: func(c *config.Config) { c.Throttle.ExemptSources = []string{"127.0.0.0/8"} }})
	n.Account("ada@example.org")
	a := nodeApp(t, n)
	f := a.toSecond("ada@example.org")
	pages := func(most int) {
		if err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", most))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	pages(1) // as many as there are
	fillUp(t, a, person{email: "ghost"})
	pages(1 << 30)
	a.want(202, "POST", "/signin/code/send", jsonOf("flow", f.handle, "way", "email"))
	a.want(200, "POST", "/signin/code", jsonOf("flow", f.handle, "code", n.Code("ada@example.org")))
	damaged(t, n.Core().DB)
}

func damaged(t *testing.T, db *sqldb.DB) {
	t.Helper()
	var text string
	if err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT integrity_check FROM pragma_integrity_check`).Scan(&text)
	}); err != nil || text != "ok" {
		t.Errorf("the file is damaged: %s %v", text, err)
	}
}
