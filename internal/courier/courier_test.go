package courier_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/inbox"
	"countersign/internal/keyring"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

const (
	phone   = "+4915112345678"
	mailbox = "ada@example.org"
	digits  = "482913"
)

func ring(t testing.TB) *keyring.Ring {
	t.Helper()
	r, err := keyring.New([]keyring.Root{{ID: "ktest001", Key: bytes.Repeat([]byte{7}, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func code(ch message.Channel) outbox.Letter {
	to := phone
	if ch == message.Email {
		to = mailbox
	}
	return outbox.Letter{Letter: message.Letter{
		Kind: message.SigninCode, Channel: ch, To: to, Language: "en",
		Params: map[string]string{"code": digits, "minutes": "10", "site": "Fotoalbum"},
	}}
}

// node is one server's outbox and courier.
type node struct {
	box  *outbox.Box
	log  *testkit.Log
	stop func() error // ends Run and returns what it returned
}

// start runs a courier until stop is called or the test ends. Its log must tell nothing (P1).
func start(t *testing.T, db *sqldb.DB, change func(*courier.Options)) *node {
	t.Helper()
	catalog, err := message.New("id.example.org")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{box: &outbox.Box{DB: db, Ring: ring(t)}, log: &testkit.Log{}}
	o := courier.Options{
		Box: n.box, Catalog: catalog, Poll: 20 * time.Millisecond,
		Log: slog.New(slog.NewJSONHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	change(&o)
	c := courier.New(o)
	n.box.Wake = c.Wake
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	n.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		_ = n.stop()
		for _, private := range []string{phone, phone[1:], mailbox, "ada@", digits, "Fotoalbum"} {
			if strings.Contains(n.log.String(), private) {
				t.Errorf("the log tells %q:\n%s", private, n.log)
			}
		}
	})
	return n
}

// everywhere routes both channels to one provider.
func everywhere(p courier.Provider) func(*courier.Options) {
	return func(o *courier.Options) {
		o.Routes = map[message.Channel]courier.Route{
			message.SMS: {Provider: p, From: "+1500"}, message.Email: {Provider: p, From: "no-reply@id.example.org"},
		}
	}
}

func (n *node) put(t *testing.T, l outbox.Letter) (id string) {
	t.Helper()
	err := n.box.DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
		id, err = n.box.Put(t.Context(), tx, l)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// states counts rows by state.
func states(t *testing.T, db *sqldb.DB) map[string]int {
	t.Helper()
	out := map[string]int{}
	err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.Each(t.Context(), "SELECT state, COUNT(*) FROM outbox_letter GROUP BY state", func(scan func(...any) error) error {
			var state string
			var n int
			err := scan(&state, &n)
			out[state] = n
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func wait(t *testing.T, b *inbox.Inbox, to string) inbox.Received {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := b.Wait(ctx, to)
	if err != nil {
		t.Fatalf("no letter: %v", err)
	}
	return r
}

func TestALetterIsSentAtOnceAfterItsTransaction(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		in := &inbox.Inbox{Now: time.Now}
		n := start(t, db, func(o *courier.Options) { everywhere(in)(o); o.Poll = time.Hour })
		eventually(t, "idle", func() bool { return n.box.DB.Ping(t.Context()) == nil })
		for range 3 { // the first may be found by the first look, the next only by being woken
			id := n.put(t, code(message.SMS))
			r := wait(t, in, phone)
			if r.ID != id || r.Channel != message.SMS || r.From != "+1500" || !strings.HasSuffix(r.Text, "\n@id.example.org #"+digits) || r.Subject+r.HTML != "" {
				t.Errorf("%+q", []string{r.ID, r.From, r.Text})
			}
			id = n.put(t, code(message.Email))
			r = wait(t, in, mailbox)
			if r.ID != id || r.Channel != message.Email || r.Subject == "" || !strings.Contains(r.HTML, digits) || r.From != "no-reply@id.example.org" {
				t.Errorf("%+q", []string{r.ID, r.From, r.Subject, r.Text})
			}
		}
		eventually(t, "all done", func() bool { return states(t, db)["sent"] == 6 })
	})
}

func TestALetterPutByAnotherNodeIsFound(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		in := &inbox.Inbox{Now: time.Now}
		n := start(t, db, everywhere(in))
		n.box.Wake = nil
		n.put(t, code(message.SMS))
		wait(t, in, phone)
	})
}

// P2: a withheld letter takes the whole way but for the provider.
func TestAWithheldLetterReachesNobody(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		in := &inbox.Inbox{Now: time.Now}
		n := start(t, db, everywhere(in))
		for range 5 {
			ghost := code(message.SMS)
			ghost.Withhold = true
			n.put(t, ghost)
		}
		n.put(t, code(message.SMS))
		eventually(t, "all done", func() bool { s := states(t, db); return s["withheld"] == 5 && s["sent"] == 1 })
		if got := in.Messages(); len(got) != 1 {
			t.Errorf("%d letters went out", len(got))
		}
	})
}

func TestTwoCouriersOnOneDatabaseSendEachLetterOnce(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, clock, in := dbtest.NewURL(t, engine), dbtest.NewClock(), &inbox.Inbox{Now: time.Now}
			nodes := []*node{start(t, dbtest.Open(t, url, clock), everywhere(in)), start(t, dbtest.Open(t, url, clock), everywhere(in))}
			const total = 40
			for i := range total {
				nodes[i%2].put(t, code(message.SMS))
			}
			eventually(t, "all done", func() bool { return states(t, nodes[0].box.DB)["sent"] == total })
			ids := map[string]int{}
			for _, m := range in.Messages() {
				ids[m.ID]++
			}
			if len(ids) != total || len(in.Messages()) != total {
				t.Errorf("%d letters, %d of them different", len(in.Messages()), len(ids))
			}
		})
	}
}

// far is a provider that a test steers.
type far struct {
	inbox.Inbox

	do func(ctx context.Context, m courier.Message, try int) error

	mu    sync.Mutex
	tries []time.Time
}

func (f *far) Send(ctx context.Context, m courier.Message) (courier.Receipt, error) {
	f.mu.Lock()
	f.tries = append(f.tries, time.Now())
	n := len(f.tries)
	f.mu.Unlock()
	if err := f.do(ctx, m, n); err != nil {
		return courier.Receipt{}, err
	}
	return f.Inbox.Send(ctx, m)
}

func (f *far) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.tries)
}

func newFar(do func(ctx context.Context, m courier.Message, try int) error) *far {
	return &far{Inbox: inbox.Inbox{Now: time.Now}, do: do}
}

func TestAProviderThatHangsDelaysNoOtherChannel(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		hanging := newFar(func(ctx context.Context, _ courier.Message, _ int) error {
			<-ctx.Done()
			return ctx.Err()
		})
		in := &inbox.Inbox{Now: time.Now}
		n := start(t, db, func(o *courier.Options) {
			o.Routes = map[message.Channel]courier.Route{
				message.Email: {Provider: hanging, From: "x@y.z", Workers: 2, Timeout: time.Minute}, message.SMS: {Provider: in, From: "+1"},
			}
			o.Drain = 10 * time.Millisecond
		})
		for range 10 {
			n.put(t, code(message.Email))
		}
		eventually(t, "both mail workers hang", func() bool { return hanging.count() == 2 })
		for range 10 {
			n.put(t, code(message.SMS))
			wait(t, in, phone)
		}
		if hanging.count() != 2 {
			t.Errorf("%d letters claimed by 2 workers", hanging.count())
		}
		if err := n.stop(); err != nil {
			t.Errorf("stopped with: %v", err)
		}
	})
}

// slowly is everywhere for tests in fake time, where each look at the database is real work.
func slowly(p courier.Provider) func(*courier.Options) {
	return func(o *courier.Options) { everywhere(p)(o); o.Poll = time.Second }
}

// bubble opens a database whose clock is the bubble's.
func bubble(t *testing.T, url string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), sqldb.Options{URL: url, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestAPassingFailureIsTriedAgainLaterAndLater(t *testing.T) {
	url := dbtest.NewURL(t, sqldb.SQLite)
	synctest.Test(t, func(t *testing.T) {
		db := bubble(t, url)
		p := newFar(func(_ context.Context, _ courier.Message, try int) error {
			if try < 8 {
				return courier.Temporary("far_http_503", nil)
			}
			return nil
		})
		n := start(t, db, slowly(p))
		id := n.put(t, code(message.SMS))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if r, err := p.Wait(ctx, phone); err != nil || r.ID != id {
			t.Fatalf("%v, %v", r, err)
		}
		for i := 1; i < 8; i++ {
			nominal := time.Second << (i - 1)
			if gap := p.tries[i].Sub(p.tries[i-1]); gap < nominal*3/4 || gap > nominal*5/4+2*time.Second {
				t.Errorf("try %d came after %v, want about %v", i+1, gap, nominal)
			}
		}
	})
}

func TestATimeoutIsTriedAgainUnderTheSameID(t *testing.T) {
	url := dbtest.NewURL(t, sqldb.SQLite)
	synctest.Test(t, func(t *testing.T) {
		var ids []string
		p := newFar(func(ctx context.Context, m courier.Message, try int) error {
			ids = append(ids, m.ID)
			if try == 1 {
				<-ctx.Done()
				return courier.Temporary("far_timeout", nil)
			}
			return nil
		})
		n := start(t, bubble(t, url), slowly(p))
		id := n.put(t, code(message.SMS))
		if _, err := p.Wait(t.Context(), phone); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(ids, []string{id, id}) || p.tries[1].Sub(p.tries[0]) > 13*time.Second {
			t.Errorf("%v, %v apart", ids, p.tries[1].Sub(p.tries[0]))
		}
	})
}

func TestARefusalForGoodIsNotTriedAgain(t *testing.T) {
	url := dbtest.NewURL(t, sqldb.SQLite)
	synctest.Test(t, func(t *testing.T) {
		p := newFar(func(context.Context, courier.Message, int) error { return courier.Permanent("far_http_400_21211") })
		n := start(t, bubble(t, url), slowly(p))
		id := n.put(t, code(message.SMS))
		time.Sleep(10 * time.Minute)
		dead, err := n.box.Dead(t.Context(), 10)
		if err != nil || len(dead) != 1 || dead[0].ID != id || dead[0].Why != "far_http_400_21211" || p.count() != 1 {
			t.Errorf("%+v, %v, %d tries", dead, err, p.count())
		}
		// An operator puts the cause right and revives it.
		p.do = func(context.Context, courier.Message, int) error { return nil }
		if found, err := n.box.Revive(t.Context(), id); found != 1 || err != nil {
			t.Fatal(found, err)
		}
		if _, err := p.Wait(t.Context(), phone); err != nil {
			t.Error(err)
		}
	})
}

func TestACodePastItsLifeIsNotSent(t *testing.T) {
	url := dbtest.NewURL(t, sqldb.SQLite)
	synctest.Test(t, func(t *testing.T) {
		db := bubble(t, url)
		p := newFar(func(context.Context, courier.Message, int) error { return courier.Temporary("far_http_503", nil) })
		n := start(t, db, slowly(p))
		l := code(message.SMS)
		l.ExpiresAt = time.Now().Add(10 * time.Minute)
		n.put(t, l)
		end := l.ExpiresAt
		time.Sleep(12 * time.Minute)
		if last := p.tries[len(p.tries)-1]; last.After(end) || len(p.tries) < 8 {
			t.Errorf("%d tries, the last %v after its end", len(p.tries), last.Sub(end))
		}
		if s := states(t, db); s["expired"] != 1 {
			t.Errorf("%v", s)
		}
	})
}

func TestAPanicOrAProvidersOwnErrorEndsNothingAndTellsNothing(t *testing.T) {
	url := dbtest.NewURL(t, sqldb.SQLite)
	synctest.Test(t, func(t *testing.T) {
		p := newFar(func(_ context.Context, m courier.Message, try int) error {
			switch try {
			case 1:
				panic("cannot send " + m.Text + " to " + m.To)
			case 2:
				return fmt.Errorf("no such number %s", m.To)
			}
			return nil
		})
		n := start(t, bubble(t, url), slowly(p))
		n.put(t, code(message.SMS))
		if _, err := p.Wait(t.Context(), phone); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(n.log.String(), `"reason":"panic"`) || !strings.Contains(n.log.String(), `"reason":"unclassified"`) {
			t.Errorf("log: %s", n.log)
		}
	})
}

func TestShutdownLetsLettersUnderWayFinishWithinABound(t *testing.T) {
	for _, tc := range []struct {
		name           string
		takes          time.Duration
		heedsCancel    bool
		sent           int
		stopsIn, atMax time.Duration
		fails          bool
	}{
		{"finishes in time", 8 * time.Second, true, 1, 7 * time.Second, 9 * time.Second, false},
		{"is cancelled", time.Minute, true, 0, 12 * time.Second, 13 * time.Second, false},
		{"is left behind", time.Minute, false, 0, 12 * time.Second, 15 * time.Second, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url := dbtest.NewURL(t, sqldb.SQLite)
			synctest.Test(t, func(t *testing.T) {
				db := bubble(t, url)
				p := newFar(func(ctx context.Context, _ courier.Message, _ int) error {
					done := ctx.Done()
					if !tc.heedsCancel {
						done = nil
					}
					select {
					case <-time.After(tc.takes):
						return nil
					case <-done:
						return courier.Temporary("far_timeout", nil)
					}
				})
				n := start(t, db, func(o *courier.Options) {
					slowly(p)(o)
					r := o.Routes[message.SMS]
					r.Timeout = time.Hour
					o.Routes[message.SMS] = r
				})
				n.put(t, code(message.SMS))
				time.Sleep(time.Second)
				n.put(t, code(message.SMS)) // claimed too, or left for another node: never lost
				began := time.Now()
				err := n.stop()
				if took := time.Since(began); (err != nil) != tc.fails || took < tc.stopsIn || took > tc.atMax {
					t.Errorf("stopped in %v: %v", took, err)
				}
				s := states(t, db)
				if s["sent"] < tc.sent || s["sent"]+s["waiting"] != 2 {
					t.Errorf("%v", s)
				}
				time.Sleep(2 * time.Minute) // let the one left behind end inside the bubble
			})
		})
	}
}

func TestAMessagePrintsAsItsID(t *testing.T) {
	m := courier.Message{ID: "0189-1", To: phone, Text: digits}
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).LogAttrs(t.Context(), slog.LevelInfo, "x", slog.Any("m", m))
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s %q %d", m, m, m, m, m, m), b.String()} {
		if strings.Contains(s, phone) || strings.Contains(s, digits) || !strings.Contains(s, "0189-1") {
			t.Errorf("%s", s)
		}
	}
}
