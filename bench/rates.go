package main

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"time"
)

// rated are the nodes whose rates are measured. many is nil when only one database is.
type rated struct {
	*bench

	few, many *place
	nodes     map[*place]*node
}

const (
	checkClients  = 32
	signInClients = 16
)

func (r rated) load(name string, p *place, j job) contender {
	n := r.nodes[p]
	return contender{name: name, pid: n.cmd.Process.Pid, run: func(d time.Duration) (outcome, error) {
		j.For, j.Addr = d, n.addr
		if j.Kind == kindGate {
			j.Gate = p.config.Forward.Listen
		}
		return p.helper.do(j)
	}}
}

// checks measures session checks against a handler that does nothing but write the same answer.
func (r rated) checks() error {
	bare, _, err := r.bare()
	if err != nil {
		return err
	}
	all := []contender{
		bare,
		r.load("session check, bearer", r.few, job{Kind: kindCheck, Clients: checkClients}),
		r.load("session check, cookie", r.few, job{Kind: kindCheck, Clients: checkClients, Cookie: true}),
		r.load("forward-auth", r.few, job{Kind: kindGate, Clients: checkClients}),
	}
	if r.many != nil {
		all = append(all, r.load("session check, large database", r.many, job{Kind: kindCheck, Clients: checkClients}))
	}
	for _, c := range all { // warm, and not measured
		if _, err := c.run(r.check / 3); err != nil {
			return err
		}
	}
	got, err := r.turns(r.Rounds, r.check, all)
	if err != nil {
		return err
	}
	r.table.rate("session check, bearer", "/s", compare(got[1].rates, got[0].rates), .7)
	r.table.rate("session check, cookie", "/s", compare(got[2].rates, got[0].rates), .7)
	r.table.rate("forward-auth, a site's pass", "/s", compare(got[3].rates, got[0].rates), .6)
	r.table.cost("processor time of the server for a check", "µs", 1e6, compare(got[0].cost, got[1].cost))
	if r.many != nil {
		r.table.rate(fmt.Sprintf("session check, %d accounts (ceiling: %d)", r.many.accounts, r.few.accounts), "/s", compare(got[4].rates, got[1].rates), .8)
	}
	return nil
}

// bare is the ceiling of whatever answers requests, and where it listens.
func (r rated) bare() (_ contender, addr string, err error) {
	server, err := newHelper(r.ctx)
	if err != nil {
		return contender{}, "", err
	}
	r.onEnd(server.close)
	header, body, err := r.sample()
	if err != nil {
		return contender{}, "", err
	}
	o, err := server.do(job{Kind: kindBare, Header: header, Body: body})
	return contender{"bare net/http handler", server.cmd.Process.Pid, func(d time.Duration) (outcome, error) {
		return r.few.helper.do(job{Kind: kindCheck, For: d, Addr: o.Addr, Clients: checkClients})
	}}, o.Addr, err
}

// passkeys measures sign-ins by passkey, two requests each, against a handler that does nothing but write an answer.
func (r rated) passkeys() error {
	bare, _, err := r.bare()
	if err != nil {
		return err
	}
	if _, err := r.few.helper.do(job{Kind: kindEnrol, Addr: r.nodes[r.few].addr}); err != nil {
		return err
	}
	all := []contender{bare, r.load("sign-in by passkey", r.few, job{Kind: kindPasskey, Clients: checkClients})}
	for _, c := range all { // warm, and not measured
		if _, err := c.run(r.check / 3); err != nil {
			return err
		}
	}
	got, err := r.turns(r.Rounds, r.check, all)
	if err != nil {
		return err
	}
	const requests = 2 // of a flow
	for i := range got[1].rates {
		got[1].rates[i] *= requests
	}
	r.table.rate("sign-in by passkey, its requests", "/s", compare(got[1].rates, got[0].rates), .4)
	return nil
}

// sample asks once, and returns what the bare handler is to write: every header but those that
// net/http writes itself.
func (r rated) sample() (http.Header, []byte, error) {
	addr := r.nodes[r.few].addr
	core, err := open(r.ctx, r.few.config, r.now)
	if err != nil {
		return nil, nil, err
	}
	p, err := enrol(r.ctx, core, nameOf(0))
	if err != nil {
		return nil, nil, err
	}
	if err := core.Close(); err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, "http://"+addr+"/api/v1/session", nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.Session)
	res, err := newClient().Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("a session check: %s", res.Status)
	}
	res.Header.Del("Date")
	res.Header.Del("Content-Length")
	return res.Header, body, err
}

// signIns measures whole sign-ins against argon2id alone.
func (r rated) signIns() error {
	all := []contender{
		{"argon2id alone", r.hasher.cmd.Process.Pid, func(d time.Duration) (outcome, error) {
			return r.hasher.do(job{Kind: kindHash, For: d, Clients: runtime.GOMAXPROCS(0)})
		}},
		r.load("sign-in, known device", r.few, job{Kind: kindSignIn, Clients: signInClients}),
		r.load("sign-in, second door", r.few, job{Kind: kindDoor, Clients: signInClients}),
	}
	if r.many != nil {
		all = append(all, r.load("sign-in, large database", r.many, job{Kind: kindSignIn, Clients: signInClients}))
	}
	for _, c := range all {
		if _, err := c.run(r.longs / 8); err != nil {
			return err
		}
	}
	got, err := r.turns(r.Rounds, r.longs, all)
	if err != nil {
		return err
	}
	r.table.rate("password sign-in, known device (ceiling: argon2id)", "/s", compare(got[1].rates, got[0].rates), .9)
	r.table.rate("password sign-in, code by e-mail (ceiling: argon2id)", "/s", compare(got[2].rates, got[0].rates), 0)
	r.table.cost("processor time of the server for a sign-in, known device", "ms", 1e3, compare(got[0].cost, got[1].cost))
	if r.many != nil {
		r.table.rate(fmt.Sprintf("sign-in, %d accounts (ceiling: %d)", r.many.accounts, r.few.accounts), "/s", compare(got[3].rates, got[1].rates), .8)
	}
	return nil
}

// crowd has a thousand people sign in at the same moment, on a node that has done nothing before.
func (b *bench) crowd(p *place) error {
	n, err := b.start(p)
	if err != nil {
		return err
	}
	defer func() { _ = n.stop() }()
	j := job{Kind: kindBurst, Addr: n.addr, Clients: 1000, Wrong: 50, Again: 2000}
	if b.Quick {
		j.Again = 64
	}
	b.note("%d sign-ins at once, %d accounts", j.Clients, p.accounts)
	o, err := p.helper.do(j)
	if err != nil {
		return err
	}
	for _, line := range slices.Compact(slices.Sorted(slices.Values(o.Strange))) {
		b.note("should not be: %s", line)
	}
	most, err := n.memory("VmHWM")
	if err != nil {
		return err
	}
	b.table.judged(o.Odd == 0, row{
		what: fmt.Sprintf("%d sign-ins at once, %d with a wrong password, %d accounts: wrong or lost", j.Clients, j.Wrong, p.accounts),
		ours: fmt.Sprint(o.Odd), target: "0",
	})
	b.table.add(row{
		what: "… signed in / refused / 503 and Retry-After / of those tried again and signed in",
		ours: fmt.Sprintf("%d / %d / %d / %d", o.Done, o.Denied, o.Told, o.Again),
	})
	b.table.below("… most memory the server had", "MiB", most, 200)
	return nil
}
