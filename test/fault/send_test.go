package fault_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/testkit/dbtest"
)

// late is when somebody who waits for a code begins to wonder.
const late = 5 * time.Second

// exchange is a provider of text messages that takes its time, and knows when each letter came.
type exchange struct {
	*httptest.Server

	hangs atomic.Bool

	mu   sync.Mutex
	came map[string][]time.Time // by letter
}

func newExchange(t testing.TB) *exchange {
	x := &exchange{came: map[string][]time.Time{}}
	x.Server = httptest.NewServer(x)
	t.Cleanup(func() { x.CloseClientConnections(); x.Server.Close() }) // what hangs is let go first
	return x
}

// die ends it as a power cut does.
func (x *exchange) die() { _ = x.Listener.Close(); x.CloseClientConnections() }

// ServeHTTP takes a letter, by whichever of the two ways.
func (x *exchange) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that a client has gone
	if x.hangs.Load() {
		<-r.Context().Done()
		return
	}
	id := r.Header.Get("Webhook-Id") + r.URL.Query().Get("id")
	x.mu.Lock()
	x.came[id] = append(x.came[id], time.Now())
	x.mu.Unlock()
	time.Sleep(100 * time.Millisecond)
	w.WriteHeader(http.StatusNoContent)
}

// arrived is how many different letters came.
func arrived(all ...*exchange) int {
	ids := map[string]bool{}
	for _, x := range all {
		x.mu.Lock()
		for id := range x.came {
			ids[id] = true
		}
		x.mu.Unlock()
	}
	return len(ids)
}

// codes puts letters with codes into the outbox, as a sign-in does, and returns when each was put there. They come in tens, and every is between two of those.
func codes(t *testing.T, core *server.Core, n int, every time.Duration, meanwhile func(put int)) map[string]time.Time {
	t.Helper()
	put := map[string]time.Time{}
	for len(put) < n {
		meanwhile(len(put))
		var ids []string
		err := core.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			ids = nil // it may be run again
			for i := range 10 {
				l := message.Sample(message.SigninCode, message.SMS, "en", message.Site{Name: "Example"})
				l.To = fmt.Sprintf("+49151%08d", 20_000_000+len(put)+i)
				id, err := core.Outbox.Put(t.Context(), tx, outbox.Letter{Letter: l, ExpiresAt: tx.Now().Add(10 * time.Minute)})
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			put[id] = time.Now()
		}
		time.Sleep(every)
	}
	return put
}

// fates says what became of letters: how many came after late, how many came twice, and how long the slowest took. One that did not come fails the test.
func fates(t *testing.T, put map[string]time.Time, all ...*exchange) (tardy, twice int, slowest time.Duration) {
	t.Helper()
	lost := 0
	for id, at := range put {
		var came []time.Time
		for _, x := range all {
			came = append(came, x.came[id]...)
		}
		if len(came) == 0 {
			lost++
			continue
		}
		took := slices.MinFunc(came, time.Time.Compare).Sub(at)
		slowest = max(slowest, took)
		if took > late {
			tardy++
		}
		twice += len(came) - 1
	}
	if lost > 0 {
		t.Errorf("%d of %d letters are lost", lost, len(put))
	}
	return tardy, twice, slowest.Round(time.Millisecond)
}

// The first of two providers dies while a hundred codes a second leave by it. The other takes over; what nobody knows of is tried again.
func TestAProviderThatDiesUnderLoad(t *testing.T) {
	for name, c := range map[string]struct {
		ill         func(*exchange)
		tardy, most int
	}{
		"refuses": {(*exchange).die, 0, 10},
		"hangs":   {func(x *exchange) { x.hangs.Store(true) }, 64, 80}, // as many as are with one provider, and wait for its places
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := newExchange(t), newExchange(t)
			s := newSite(t, dbtest.NewURL(t, sqldb.SQLite), "COUNTERSIGN_SMS_THEN=http", "COUNTERSIGN_SMS_WEBHOOK_URL="+a.URL, "COUNTERSIGN_SMS_HTTP_METHOD=GET",
				"COUNTERSIGN_SMS_HTTP_URL="+b.URL+"/?to={to}&text={text}&id={id}")
			p := s.start()
			defer p.stop()
			core := s.open()
			defer func() { _ = core.Close() }()
			put := codes(t, core, 1000, 100*time.Millisecond, func(put int) {
				if put == 300 {
					c.ill(a)
				}
			})
			eventually(t, 30*time.Second, "all letters came", func() bool { return arrived(a, b) == len(put) })
			time.Sleep(time.Second) // for what comes twice
			tardy, twice, slowest := fates(t, put, a, b)
			t.Logf("%d codes, %d of them by the first provider: %d came after more than %v, the slowest after %v; none lost, %d twice", len(put), arrived(a), tardy, late, slowest, twice)
			if tardy > c.most || arrived(a) < 200 {
				t.Errorf("%d were late, want at most %d; %d went by the first provider", tardy, c.most, arrived(a))
			}
		})
	}
}

// P11: nodes are killed while as many letters as they can send are under way. None is lost, and only those may come twice.
func TestKilledInMidSend(t *testing.T) {
	const (
		letters = 2000
		workers = 256 // courier's
	)
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			far := newExchange(t)
			s := newSite(t, dbtest.NewURL(t, engine), "COUNTERSIGN_SMS_WEBHOOK_URL="+far.URL)
			core := s.open()
			put := codes(t, core, letters, 0, func(int) {})
			_ = core.Close()
			nodes := []*process{s.start()}
			if engine == sqldb.Postgres {
				nodes = append(nodes, s.twin().start())
			}
			for kill := range 2 {
				eventually(t, time.Minute, "letters leave", func() bool { return arrived(far) >= (kill+1)*letters/4 })
				nodes[0].kill()
				nodes = append(nodes[1:], s.twin().start())
			}
			took := eventually(t, 2*time.Minute, "all letters came", func() bool { return arrived(far) == letters })
			var left, again int
			look := func() bool {
				core := s.open()
				defer func() { _ = core.Close() }()
				if err := core.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
					return tx.QueryRow(t.Context(), `SELECT count(CASE WHEN state <> 'sent' THEN 1 END), count(CASE WHEN attempts > 1 THEN 1 END) FROM outbox_letter`).Scan(&left, &again)
				}); err != nil {
					t.Fatal(err)
				}
				return left == 0
			}
			eventually(t, time.Minute, "each is written down as sent", look)
			for _, n := range nodes {
				n.stop()
			}
			_, twice, _ := fates(t, put, far)
			t.Logf("%d letters, 2 kills with up to %d letters under way each: none lost; %d were taken by another, the last of them %v after the last kill: %d came twice, and %d late",
				letters, workers, again, took.Round(time.Second), twice, again-twice)
			if again > 2*workers || twice > again {
				t.Errorf("%d were taken again, %d came twice", again, twice)
			}
		})
	}
}
