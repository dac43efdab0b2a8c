package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"time"
)

// job is what a helper is asked to do: a line of JSON. Load comes from processes of its own, so that
// the server's is the server's alone.
type job struct {
	Kind    kind
	For     time.Duration
	Clients int
	Addr    string // the node's
	Gate    string // where its proxies ask
	Proof   string // what proves an application
	Rate    float64
	Cookie  bool // sessions are shown in a cookie and not as a bearer's
	Wrong   int  // how many give a wrong password
	Again   int  // how many of those told to come back do
	People  []person
	Header  http.Header
	Body    []byte
}

type kind string

const (
	kindPeople  kind = "people"  // here is whom you sign in; keep them
	kindLetters kind = "letters" // take letters in, and say where
	kindBare    kind = "bare"    // serve a fixed answer, and say where
	kindCheck   kind = "check"   // check sessions
	kindGate    kind = "gate"    // ask as a proxy does
	kindSignIn  kind = "signin"  // sign in from known devices
	kindDoor    kind = "door"    // sign in from unknown devices
	kindEnrol   kind = "enrol"   // give everybody a passkey
	kindPasskey kind = "passkey" // sign in by passkey
	kindHash    kind = "hash"    // hash passwords, and nothing else
	kindCount   kind = "count"   // take letters slowly from now on, and count them
	kindCounted kind = "counted" // say how many there were: different ones, and again
	kindBurst   kind = "burst"   // sign everybody in at once

	kindUserInfo  kind = "userinfo"  // ask as an application who somebody is
	kindExchange  kind = "exchange"  // exchange codes for tokens
	kindSignature kind = "signature" // sign as for an ID token, and nothing else
	kindBegin     kind = "begin"     // come to the second door alone
	kindKnock     kind = "knock"     // ask the same of a handler that does nothing
)

// outcome is how a job ended.
type outcome struct {
	Done    int      // how often it was done
	Seconds float64  // in all
	Told    int      // told to come back later, and when
	Denied  int      // wrong passwords found wrong
	Odd     int      // whatever should not happen
	Again   int      // came back as told, and were signed in
	Strange []string // what the odd ones were told
	P99     float64  // seconds that 99 of 100 took at most
	Addr    string
	Error   string
}

func (o outcome) rate() float64 { return float64(o.Done) / o.Seconds }

// helper is a process that makes load, as its parent sees it.
type helper struct {
	cmd *exec.Cmd
	in  *json.Encoder
	out *json.Decoder
	end func() error // closes its input, at which it goes
}

func newHelper(ctx context.Context) (*helper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "helper")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h := &helper{cmd: cmd, in: json.NewEncoder(in), out: json.NewDecoder(out), end: in.Close}
	return h, cmd.Start()
}

func (h *helper) do(j job) (outcome, error) {
	var o outcome
	if err := h.in.Encode(j); err != nil {
		return o, err
	}
	if err := h.out.Decode(&o); err != nil {
		return o, fmt.Errorf("%s: the helper has gone: %w", j.Kind, err)
	}
	if o.Error != "" {
		return o, fmt.Errorf("%s: %s", j.Kind, o.Error)
	}
	return o, nil
}

func (h *helper) close() {
	_ = h.end()
	_ = h.cmd.Wait() // it was only there to help
}

type helperCmd struct{}

// Run does jobs until there are no more.
func (helperCmd) Run(w *world) error {
	l := &load{now: w.now, letters: newLetters(), client: newClient()}
	in, out := json.NewDecoder(w.in), json.NewEncoder(w.out)
	for {
		var j job
		if err := in.Decode(&j); err != nil {
			return nil //nolint:nilerr // the parent is done, or gone
		}
		o, err := l.do(w.ctx, j)
		if err != nil {
			o.Error = err.Error()
		}
		if err := out.Encode(o); err != nil {
			return err
		}
	}
}

// load is a helper from the inside.
type load struct {
	now     func() time.Time
	people  []person
	free    chan *person // nobody signs in twice at once
	letters *letters
	client  *http.Client
}

func (l *load) do(ctx context.Context, j job) (outcome, error) {
	switch j.Kind {
	case kindPeople:
		l.people, l.free = j.People, make(chan *person, len(j.People))
		for i := range l.people {
			l.free <- &l.people[i]
		}
		return outcome{}, nil
	case kindLetters:
		addr, err := serve(ctx, l.letters)
		return outcome{Addr: addr}, err
	case kindBare:
		addr, err := serve(ctx, bare(j.Header, j.Body))
		return outcome{Addr: addr}, err
	case kindCheck:
		return l.check(ctx, j)
	case kindGate:
		return l.ask(ctx, j)
	case kindSignIn:
		return l.repeat(j, func() error { return l.known(ctx, j.Addr) })
	case kindDoor:
		return l.repeat(j, func() error { return l.unknown(ctx, j.Addr) })
	case kindEnrol:
		return outcome{}, l.withPasskeys(ctx, j.Addr)
	case kindPasskey:
		return l.repeat(j, func() error { return l.byPasskey(ctx, j.Addr) })
	case kindHash:
		return l.repeat(j, hashOnce)
	case kindCount:
		l.letters.count(j.For)
		return outcome{}, nil
	case kindCounted:
		return l.letters.counted(), nil
	case kindBurst:
		return l.burst(ctx, j)
	case kindUserInfo:
		return l.userInfo(ctx, j)
	case kindExchange:
		return l.exchange(ctx, j)
	case kindSignature:
		return l.repeat(j, signatureOnce())
	case kindBegin, kindKnock:
		return l.doors(ctx, j)
	}
	return outcome{}, errors.New("no such job")
}
