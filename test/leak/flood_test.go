package leak_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"countersign/internal/platform/config"
	"countersign/internal/testkit/servertest"
)

// C-FP-04, I-07: three seconds of 200 recoveries a second over the wire, sixteen at a time, from one source and for
// many people, send no more letters than one source may, by either door; and whom they are for makes no difference.
func TestAFloodOfRecoveriesSendsWhatOneSourceMay(t *testing.T) {
	const requests, people = 600, 40
	for _, door := range []string{"API", "pages"} {
		t.Run(door, func(t *testing.T) {
			each(t, func(t *testing.T, url string) {
				n := servertest.Start(t, servertest.Options{Database: url, Idle: true, Config: func(c *config.Config) {
					c.HTTP.TrustedProxies = []string{"127.0.0.0/8"}
				}})
				for i := range people {
					n.Account(fmt.Sprintf("floodedperson%02d@maildomain.example", i))
				}
				allowed := n.Core().Recovery.Limits.SendSource.Burst
				known := flood(t, n, door, "198.51.100.7", "floodedperson%02d@maildomain.example", requests, people)
				courierWorks(t, n)
				if got := len(n.Inbox().Messages()); got != allowed {
					t.Errorf("%d letters came, and one source may send %d", got, allowed)
				}
				unknown := flood(t, n, door, "203.0.113.7", "nobody%02d@elsewhere.example", requests, people)
				if fmt.Sprint(known) != fmt.Sprint(unknown) {
					t.Errorf("answers by status: %v for people, %v for nobody", known, unknown)
				}
				courierWorks(t, n)
				if got := len(n.Inbox().Messages()); got != allowed {
					t.Errorf("%d letters came in the end, want %d", got, allowed)
				}
			})
		})
	}
}

// flood asks for recoveries from one source, and counts the answers by status. The clock moves on by 5 ms with each.
func flood(t *testing.T, n *servertest.Node, door, from, name string, requests, people int) map[int]int {
	t.Helper()
	const atOnce = 16
	seen := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		all.Go(func() {
			for i := range next {
				v, who := newVisitor(t, n, from), fmt.Sprintf(name, i%people)
				var got answer
				if door == "API" {
					got = v.call("/recovery", "identifier", who)
				} else {
					got = v.form("/recover", "username", who)
				}
				mu.Lock()
				seen[got.status]++
				mu.Unlock()
			}
		})
	}
	for i := range requests {
		n.Clock.Advance(5 * time.Millisecond)
		next <- i
	}
	close(next)
	all.Wait()
	if seen[http.StatusTooManyRequests] < requests/2 {
		t.Errorf("answers by status: %v: nothing was limited", seen)
	}
	return seen
}
