package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// callers is how many connections come to the second door at a rate: enough that one is nearly always free; if none is, the wait counts.
const callers = 64

// knock comes to the second door from a device that is remembered, or asks the same of a handler that does nothing. It is written by hand:
// net/http's client would take more of the machine than the server does.
func knock(conn net.Conn, r *bufio.Reader, j job, i int64) error {
	p := j.People[int(i)%len(j.People)]
	body := fmt.Sprintf(`{"reference":%q,"devices":[%q],"person":{"address":"10.%d.%d.%d"}}`, p.Name, p.Handle, i>>16&255, i>>8&255, i&255) // each at a network of their own
	_, err := fmt.Fprintf(conn, "POST /api/v1/door/begin HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		j.Addr, j.Proof, len(body), body)
	if err != nil {
		return err
	}
	if j.Kind == kindKnock {
		return answer(r, "200")
	}
	return answer(r, "201") // where handles are shown, the step is the device's
}

// doors comes to the second door as often as it can or, with a rate, so often, and says how long the slowest of a hundred took. A wait for
// one that came before counts: people do not wait for one another before they come.
func (l *load) doors(ctx context.Context, j job) (outcome, error) {
	if j.Rate == 0 {
		return l.doorsAtMost(ctx, j)
	}
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // its own pauses are not the server's; each call leaves it some kB
	first := int(j.Rate)                             // of the first second, in which connections are opened, nothing is counted
	n := first + int(j.Rate*j.For.Seconds())
	took := make([]float64, n)
	began := l.now()
	due := func(k int) time.Time { return began.Add(time.Duration(float64(k) / j.Rate * float64(time.Second))) }
	come := make(chan int, n)
	ended := each(ctx, j.Addr, callers, func(conn net.Conn, r *bufio.Reader) error {
		for k := range come {
			if err := knock(conn, r, j, int64(k)); err != nil {
				return err
			}
			took[k] = l.now().Sub(due(k)).Seconds()
		}
		return nil
	})
	for k := range n {
		pause(ctx, due(k).Sub(l.now()))
		come <- k
	}
	close(come)
	err := ended()
	return outcome{Done: n - first, Seconds: (l.now().Sub(began) - time.Second).Seconds(), P99: quantile(took[first:], .99)}, err
}

// doorsAtMost comes as often as it can, each client again once it has been answered.
func (l *load) doorsAtMost(ctx context.Context, j job) (outcome, error) {
	var n atomic.Int64
	began := l.now()
	err := each(ctx, j.Addr, j.Clients, func(conn net.Conn, r *bufio.Reader) error {
		for l.now().Sub(began) < j.For {
			if err := knock(conn, r, j, n.Add(1)); err != nil {
				return err
			}
		}
		return nil
	})()
	return outcome{Done: int(n.Load()), Seconds: l.now().Sub(began).Seconds()}, err
}

// each has so many clients run, with a connection of its own for each, and returns what waits for them.
func each(ctx context.Context, addr string, clients int, run func(net.Conn, *bufio.Reader) error) (wait func() error) {
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", addr)
			if err == nil {
				err = errors.Join(run(conn, bufio.NewReader(conn)), conn.Close())
			}
			errs[c] = err
		})
	}
	return func() error {
		wg.Wait()
		return errors.Join(errs...)
	}
}

// doorsAtHalf measures the second door's begin at half of the rate that it reaches, turn by turn with a handler that does nothing at the same.
func (r rated) doorsAtHalf(bareAddr, proof string, known []person) error {
	door := job{Kind: kindBegin, Addr: r.nodes[r.few].addr, Clients: signInClients, For: r.check, Proof: proof, People: known}
	most, err := r.few.helper.do(door)
	if err != nil {
		return err
	}
	door.Rate = most.rate() / 2
	nothing := door
	nothing.Kind, nothing.Addr = kindKnock, bareAddr
	var ours, least []float64
	for range 3 {
		mine, err := r.few.helper.do(door)
		if err != nil {
			return err
		}
		theirs, err := r.few.helper.do(nothing)
		if err != nil {
			return err
		}
		ours, least = append(ours, mine.P99), append(least, theirs.P99)
	}
	slices.Sort(ours)
	slices.Sort(least)
	r.table.judged(ours[1] < .005, row{
		rate: true, what: fmt.Sprintf("second door, begin for a known device, at %.0f of %.0f/s: 99 of 100 take at most (ceiling: bare handler)", door.Rate, most.rate()),
		ours: fmt.Sprintf("%.1f (%.1f–%.1f) ms", 1e3*ours[1], 1e3*ours[0], 1e3*ours[2]), ceiling: fmt.Sprintf("%.1f ms", 1e3*least[1]), target: "< 5 ms",
	})
	return nil
}
