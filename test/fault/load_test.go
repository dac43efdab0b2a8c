package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// Asked to stop under load, the server answers everything that it had begun, leaves nothing
// behind and says nothing of trouble; whatever it acknowledged is there after the next start.
func TestStoppingUnderLoad(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, dbtest.EmptyURL(t, engine), quick...)
			people := s.seed(200)
			var took time.Duration
			begun, refused := 0, 0
			for range 3 {
				p := s.start()
				flows, errs := stopUnder(t, s, p, people, &took)
				begun += len(flows)
				refused += errs
				again, next := s.start(), s.app()
				if len(flows) == 0 {
					t.Fatal("there was no load")
				}
				for _, f := range last(flows, 10) {
					next.want(200, "POST", "/signin/password", jsonOf("flow", f, "password", password))
				}
				again.stop()
			}
			t.Logf("stopped 3 times: %d sign-ins acknowledged and there after the start, %d connections refused, at most %v to stop", begun, refused, took.Round(time.Millisecond))
		})
	}
}

func stopUnder(t *testing.T, s *site, p *process, people []person, took *time.Duration) (flows []string, refused int) {
	t.Helper()
	var mu sync.Mutex
	var clients sync.WaitGroup
	stopping := make(chan struct{})
	for i := range 8 {
		clients.Go(func() {
			a := s.app()
			defer a.http.CloseIdleConnections()
			for n := i; ; n++ {
				time.Sleep(4 * time.Millisecond) // the limit over all, 5,000 at once, is for faster clients
				got, err := a.try(t.Context(), "POST", "/signin", jsonOf("identifier", people[n%len(people)].email))
				mu.Lock()
				switch {
				case err == nil && got.status == 201:
					flows = append(flows, got.Flow)
				case err == nil:
					t.Errorf("got %d %s", got.status, got.text)
				case !isClosed(stopping):
					t.Errorf("nobody had stopped it: %v", err)
				default:
					refused++
					if !gone(err) {
						t.Errorf("a request under way was dropped: %v", err)
					}
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	close(stopping)
	*took = max(*took, p.stop())
	clients.Wait()
	if trouble := regexp.MustCompile(`"level":"ERROR".*|panic.*|goroutine .*`).FindString(p.log.String()); trouble != "" {
		t.Errorf("the log: %s", trouble)
	}
	return flows, refused
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// gone reports whether the server had already stopped taking requests: the connection was refused,
// or an idle one was closed before the request was read.
func gone(err error) bool {
	for _, e := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, io.EOF} {
		if errors.Is(err, e) {
			return true
		}
	}
	return strings.Contains(err.Error(), "server closed idle connection") // net/http exports no value for it
}

// P10: a thousand people sign in at once. Nobody is told anything wrong; whoever is too many is told to come back, and can;
// memory stays what it was set to.
func TestAThousandSignInsAtOnce(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			const crowd = 1000
			s := newSite(t, dbtest.EmptyURL(t, engine)) // at the real cost
			people := s.seed(crowd)
			p := s.start()
			began := time.Now()
			in, wrong, later := rush(t, s, people)
			t.Logf("%d at once: %d let in, %d refused for their password, %d told to come back, in %v; at its peak the process had %d MiB", crowd, in, wrong, later, time.Since(began).Round(time.Millisecond), peak(t, p)>>20)
			if in+wrong+later != crowd || in == 0 {
				t.Error("not everybody got an answer, or nobody was let in")
			}
			if most := peak(t, p); most > 200<<20 {
				t.Errorf("the process had %d MiB", most>>20)
			}
			s.app().toSecond(people[0].email) // and all is as before
			p.stop()
			core := s.open()
			defer func() { _ = core.Close() }()
			var second int
			if err := core.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
				return tx.QueryRow(t.Context(), `SELECT count(*) FROM signin_flow WHERE step = 'second'`).Scan(&second)
			}); err != nil || second != in+1 {
				t.Errorf("%d flows are at the second door, and %d were told so; %v", second, in+1, err)
			}
		})
	}
}

// rush begins a sign-in for everybody, then sends all the passwords at once; whoever is not
// admitted is told so by 503 and Retry-After (which try looks for).
func rush(t *testing.T, s *site, people []person) (in, wrong, later int) {
	t.Helper()
	a := s.app()
	defer a.http.CloseIdleConnections()
	a.http.Timeout = time.Minute
	flows := make([]string, len(people))
	var begun sync.WaitGroup
	room := make(chan struct{}, 50)
	for i := range people {
		begun.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			flows[i] = a.begin(t.Context(), people[i])
		})
	}
	begun.Wait()
	a.http.CloseIdleConnections() // on a slow machine the server will have, too
	var mu sync.Mutex
	var crowd sync.WaitGroup
	gate := make(chan struct{})
	for i := range people {
		crowd.Go(func() {
			<-gate
			word := password
			if i%10 == 9 {
				word = "not the password at all"
			}
			got, err := a.try(t.Context(), "POST", "/signin/password", jsonOf("flow", flows[i], "password", word))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && (got.status == 503 || got.status == 429): // hardly ever for another reason than "busy", and then after long
				later++
			case err == nil && got.status == 200 && got.Step == "second" && word == password:
				in++
			case err == nil && got.is(401, "password_refused") && word != password:
				wrong++
			default:
				t.Errorf("person %d: %d %s %v", i, got.status, got.text, err)
			}
		})
	}
	close(gate)
	crowd.Wait()
	return in, wrong, later
}

func (a *app) begin(ctx context.Context, p person) string {
	got, err := a.try(ctx, "POST", "/signin", jsonOf("identifier", p.email))
	if err != nil || got.status != 201 {
		a.t.Errorf("%d %s %v", got.status, got.text, err)
	}
	return got.Flow
}

var peakLine = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak is the most memory that a process ever had, in bytes.
func peak(t *testing.T, p *process) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		t.Fatalf("only Linux says how much memory a process had: %v", err)
	}
	m := peakLine.FindSubmatch(text)
	if m == nil {
		t.Fatalf("no VmHWM in %s", text)
	}
	kib, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
